/*
 * Gauges: free memory of the arena, memory outside of it, open files, inodes. The cache adds its
 * own.
 *
 * Rules
 * 1. A gauge reads atomics only: it runs under RANK_STAT, inside of everything.
 */
#include <errno.h>

#include "front/front.h"
#include "front/gauge.h"
#include "front/session.h"
#include "front/uring.h"
#include "mem/mem.h"
#include "stat/stat.h"

static u64 cache_free(void *arg)
{
	(void)arg;
	return mem_free_bytes();
}

static u64 memory_buffers(void *arg)
{
	struct front *fr = arg;

	return session_memory(fr->session) + (fr->uring ? uring_memory(fr->uring) : 0);
}

static u64 open_files(void *arg)
{
	struct front *fr = arg;

	return __atomic_load_n(&fr->nr_files, __ATOMIC_RELAXED);
}

static u64 inodes_memory(void *arg)
{
	const struct front *fr = arg;
	struct fs_memory m;

	fs_memory(fr->fs, &m);
	return m.bytes;
}

static u64 inodes_cached(void *arg)
{
	const struct front *fr = arg;
	struct fs_memory m;

	fs_memory(fr->fs, &m);
	return m.inodes;
}

static u64 inodes_known(void *arg)
{
	const struct front *fr = arg;
	struct fs_memory m;

	fs_memory(fr->fs, &m);
	return m.known;
}

static const struct {
	const char *name, *unit, *help;
	stat_gauge_fn fn;
} rows[] = {
	{ "cache_free", "bytes", "bytes of the budget that are free", cache_free },
	{ "memory_buffers", "bytes", "buffers of requests outside the cache", memory_buffers },
	{ "open_files", "", "files and directories that are open", open_files },
	{ "inodes_cached", "", "inodes in the daemon's memory", inodes_cached },
	{ "inodes_known", "", "inodes that the kernel remembers", inodes_known },
	{ "memory_inodes", "bytes", "memory of both", inodes_memory },
};

static struct stat_gauge *gauges[ARRAY_LEN(rows)];

int gauges_add(struct front *fr)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows) && !err; i++)
		err = stat_gauge_add(rows[i].name, "", rows[i].unit, rows[i].help, rows[i].fn, fr,
				     &gauges[i]);
	if (err)
		gauges_del();
	return err;
}

void gauges_del(void)
{
	for (size_t i = 0; i < ARRAY_LEN(gauges); i++) {
		stat_gauge_del(gauges[i]);
		gauges[i] = NULL;
	}
}
