/*
 * Worlds of given operations. The start: files 0 (three sectors, an xattr), 1 (100 bytes, in its
 * inode) and 3 (two sectors), an empty directory 2, all durable. Then the steps; a sync is about
 * what the operation before it was about. Some scripts end with a checkpoint, so that writes in
 * place are among the events.
 */
#include "act.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "blk/sim.h"

enum { A, B, D, G, NEW, MOVED, LINKED, DIR, SYM, FIFO, TMP };

static struct world_entry *entry(struct world *w, u32 name)
{
	return world_entry_find(w, 0, name);
}

static struct world_node *node(struct world *w, u32 name)
{
	struct world_entry *e = entry(w, name);

	return e ? w->node[e->id] : NULL;
}

static void make(struct world *w, u32 name, u32 mode)
{
	if (!entry(w, name))
		act_make(w, 0, name, mode);
}

static void put(struct world *w, u32 name, u64 pos, u64 len)
{
	struct world_node *n = node(w, name);

	if (n)
		act_write(w, n, pos, len);
}

static void cut(struct world *w, u64 size)
{
	struct world_node *n = node(w, A);

	if (n)
		act_truncate(w, n, size);
}

static void allocate(struct world *w, int mode, u64 pos, u64 len)
{
	struct world_node *n = node(w, A);

	if (n)
		act_fallocate(w, n, mode, pos, len);
}

static void op_create(struct world *w) { make(w, NEW, S_IFREG | 0644); }
static void op_mkdir(struct world *w) { make(w, DIR, S_IFDIR | 0755); }
static void op_mkfifo(struct world *w) { make(w, FIFO, S_IFIFO | 0600); }
static void op_overwrite(struct world *w) { put(w, A, 4096, 4096); }
static void op_partial(struct world *w) { put(w, A, 100, 50); }
static void op_grow_inline(struct world *w) { put(w, B, 0, 5000); }
static void op_write_inline(struct world *w) { put(w, B, 50, 100); }
static void op_far(struct world *w) { put(w, A, 40000, 3000); }
static void op_shrink(struct world *w) { cut(w, 5000); }
static void op_empty(struct world *w) { cut(w, 0); }
static void op_extend(struct world *w) { cut(w, 50000); }

static void op_append(struct world *w)
{
	struct world_node *n = node(w, A);

	if (n)
		act_write(w, n, n->size, 5000);
}

static void op_punch(struct world *w)
{
	allocate(w, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096);
}

static void op_zero(struct world *w)
{
	allocate(w, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 2000, 9000);
}

static void op_allocate(struct world *w) { allocate(w, 0, 8000, 40000); }
static void op_keep_size(struct world *w) { allocate(w, FALLOC_FL_KEEP_SIZE, 0, 45056); }

static void op_rename(struct world *w)
{
	if (entry(w, A) && !entry(w, MOVED))
		act_rename(w, entry(w, A), 0, MOVED);
}

static void op_into_dir(struct world *w)
{
	struct world_node *d = node(w, D);

	if (d && entry(w, A) && !world_entry_find(w, d->id, MOVED))
		act_rename(w, entry(w, A), d->id, MOVED);
}

static void op_replace(struct world *w)
{
	if (entry(w, A) && entry(w, G))
		act_rename(w, entry(w, G), 0, A);
}

/* As programs do that never call fsync. */
static void op_write_and_replace(struct world *w)
{
	if (!entry(w, TMP))
		act_make(w, 0, TMP, S_IFREG | 0644);
	put(w, TMP, 0, 9000);
	if (entry(w, A))
		act_rename(w, entry(w, TMP), 0, A);
}

static void op_exchange(struct world *w)
{
	if (entry(w, A) && entry(w, B))
		act_exchange(w, entry(w, A), entry(w, B));
}

static void op_link(struct world *w)
{
	if (entry(w, A) && !entry(w, LINKED))
		act_link(w, entry(w, A), 0, LINKED);
}

static void op_unlink(struct world *w)
{
	if (entry(w, A))
		act_remove(w, entry(w, A));
}

static void op_rmdir(struct world *w)
{
	struct world_node *d = node(w, D);

	if (d && !world_entry_find(w, d->id, MOVED))
		act_remove(w, entry(w, D));
}

static void op_setxattr(struct world *w)
{
	if (node(w, A))
		act_setxattr(w, node(w, A), 1, 30);
}

static void op_large_xattr(struct world *w)
{
	if (node(w, A))
		act_setxattr(w, node(w, A), 0, 5000);
}

static void op_removexattr(struct world *w)
{
	if (node(w, A) && node(w, A)->xattr[0])
		act_removexattr(w, node(w, A), 0);
}

static void op_chmod(struct world *w)
{
	if (node(w, A))
		act_setattr(w, node(w, A), 0600, 7);
}

static void op_symlink(struct world *w)
{
	if (!entry(w, SYM))
		act_symlink(w, 0, SYM, 300);
}

/* O_TMPFILE: it never had a name that anybody saw for long, and is written while it has none. */
static void op_tmpfile(struct world *w)
{
	struct world_node *n;

	if (entry(w, TMP))
		return;
	act_release(w);
	n = act_make(w, 0, TMP, S_IFREG | 0600);
	act_hold(w, n);
	act_remove(w, entry(w, TMP));
	act_write(w, n, 0, 9000);
}

static void op_name_tmpfile(struct world *w)
{
	if (!entry(w, TMP))
		act_name_tmpfile(w, 0, TMP);
}

static void op_copy(struct world *w)
{
	struct world_node *from = node(w, A), *to = node(w, B);

	if (from && to && from != to)
		act_copy(w, from, to, 2 * SECTOR_SIZE);
}

static void op_unlink_open(struct world *w)
{
	struct world_node *n = node(w, A);

	if (!n)
		return;
	act_release(w);
	act_hold(w, n);
	act_remove(w, entry(w, A));
	act_write(w, n, 8192, 8192);
}

static void op_close(struct world *w) { act_release(w); }

static void sync_file(struct world *w, bool datasync)
{
	/* Nobody can call it for a file without names that is not open. */
	if (w->focus->links || w->focus == w->held.node || w->focus->id == 0)
		act_fsync(w, w->focus, datasync);
}

static void sync_fsync(struct world *w) { sync_file(w, false); }
static void sync_fdatasync(struct world *w) { sync_file(w, true); }

static void sync_dir(struct world *w)
{
	if (w->focus_dir->links || w->focus_dir->id == 0)
		act_fsync(w, w->focus_dir, false);
}

struct step {
	const char *name;
	void (*fn)(struct world *w);
};

static const struct step ops[] = {
	{ "create", op_create }, { "mkdir", op_mkdir }, { "mkfifo", op_mkfifo },
	{ "overwrite", op_overwrite }, { "overwrite of a part", op_partial },
	{ "growth of an inline file", op_grow_inline }, { "inline write", op_write_inline },
	{ "write far behind the end", op_far }, { "append", op_append },
	{ "truncate", op_shrink }, { "truncate to nothing", op_empty }, { "extend", op_extend },
	{ "punch", op_punch }, { "zero range", op_zero }, { "fallocate", op_allocate },
	{ "fallocate keep size", op_keep_size }, { "rename", op_rename },
	{ "rename into a directory", op_into_dir }, { "rename over", op_replace },
	{ "write and rename over", op_write_and_replace }, { "exchange", op_exchange },
	{ "link", op_link }, { "unlink", op_unlink }, { "rmdir", op_rmdir },
	{ "setxattr", op_setxattr }, { "large xattr", op_large_xattr },
	{ "removexattr", op_removexattr }, { "chmod", op_chmod }, { "symlink", op_symlink },
	{ "tmpfile", op_tmpfile }, { "unlink of an open file", op_unlink_open },
	{ "close", op_close }, { "name for a temporary file", op_name_tmpfile },
	{ "copy", op_copy },
};

static const struct step syncs[WORLD_SCRIPT_SYNCS] = {
	[WORLD_FSYNC] = { "fsync", sync_fsync },
	[WORLD_FDATASYNC] = { "fdatasync", sync_fdatasync },
	[WORLD_FSYNC_DIR] = { "fsync of the directory", sync_dir },
	[WORLD_SYNC] = { "sync", act_sync },
};

unsigned world_script_ops(void)
{
	return ARRAY_LEN(ops);
}

static const struct step *step_of(unsigned step)
{
	return step < ARRAY_LEN(ops) ? &ops[step] : &syncs[step - ARRAY_LEN(ops)];
}

const char *world_script_text(const struct world_script *s, char *buf)
{
	int at = 0;

	buf[0] = 0;
	for (unsigned i = 0; i < s->nr; i++)
		at += snprintf(buf + at, 200 - (size_t)at, "%s%s", i ? ", " : "",
			       step_of(s->step[i])->name);
	return buf;
}

const char *world_script_code(const struct world_script *s, char *buf)
{
	int at = 0;

	for (unsigned i = 0; i < s->nr; i++)
		at += sprintf(buf + at, "%s%u", i ? "." : "", s->step[i]);
	sprintf(buf + at, "@%u%s", s->block_bytes, s->no_sums ? "n" : "");
	return buf;
}

int world_script_parse(const char *code, struct world_script *out)
{
	char *end = (char *)(uintptr_t)code;

	*out = (struct world_script){ 0 };
	do {
		unsigned long n = strtoul(code, &end, 10);

		if (end == code || n >= ARRAY_LEN(ops) + WORLD_SCRIPT_SYNCS ||
		    out->nr == WORLD_SCRIPT_MAX)
			return -EINVAL;
		out->step[out->nr++] = (u8)n;
		code = end + 1;
	} while (*end == '.');
	out->block_bytes = *end == '@' ? (u32)strtoul(end + 1, &end, 10) : 0;
	out->no_sums = *end == 'n';
	end += out->no_sums;
	return *end || !out->block_bytes ? -EINVAL : 0;
}

static void start(struct world *w)
{
	w->op_name = "start";
	act_make(w, 0, A, S_IFREG | 0644);
	act_make(w, 0, B, S_IFREG | 0644);
	act_make(w, 0, D, S_IFDIR | 0755);
	act_make(w, 0, G, S_IFREG | 0644);
	put(w, A, 0, 12288);
	put(w, B, 0, 100);
	put(w, G, 0, 8000);
	act_setxattr(w, node(w, A), 0, 20);
	act_sync(w);
	w->focus = node(w, A);
	w->focus_dir = w->node[0];
}

static void checkpoint(struct world *w)
{
	w->op_name = "checkpoint";
	act_checkpoint(w);
}

void world_make_script(struct world *w, const struct world_script *s)
{
	u32 sectors = s->block_bytes == FMT_BLOCK_MAX ? 8192 : 1024;
	struct world_geo geo = { s->block_bytes, sectors, FMT_JNL_MIN_SECTORS,
				 s->no_sums ? WORLD_NO_SUMS : WORLD_SUMS };
	u64 seed = hash64(s, sizeof(*s));

	world_open(w, seed, &geo, s->nr + 2);
	world_step(w, start);
	w->base = sim_nr_events(w->dev);
	for (unsigned i = 0; i < s->nr; i++) {
		w->op_name = step_of(s->step[i])->name;
		world_step(w, step_of(s->step[i])->fn);
	}
	if (seed % 4 == 0)
		world_step(w, checkpoint);
	world_crash(w);
}
