/*
 * What rings register with the kernel: chunks of the arena and files.
 *
 * The process has one arena and one table of files, each entry with a generation. A ring remembers
 * the generation that it registered and compares it at every use, so it registers late, once, and
 * again after a change, without anybody having to know all rings.
 *
 * Invariants:
 * 1. A generation is never 0 while its entry is in use; 0 in a ring means "nothing registered".
 * 2. A chunk is used as registered memory only if the ring's generation equals the arena's: pages
 *    that were replaced since are never reached through an old registration.
 * 3. A file handle that was deleted leaves a ring at the ring's next request.
 *
 * Locking: set_lock for changes of the arena and the file table; readers use atomics, which is
 * enough because the callers promise that no I/O is under way to what changes. The fields in
 * struct ring belong to the ring's owner (its thread, or the shared ring's mutex).
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/lock.h"
#include "base/log.h"
#include "ring/ring_priv.h"

static struct mutex set_lock = MUTEX_INIT(RANK_RING);

static struct {
	_Atomic uintptr_t base;
	_Atomic size_t len;
	_Atomic u32 epoch;                      /* of ring_memory_set() calls */
	_Atomic u32 gen[RING_MAX_CHUNKS];
} arena;

static struct {
	_Atomic u32 epoch;                      /* of ring_file_del() calls */
	_Atomic int fd[RING_MAX_FILES];
	_Atomic u32 gen[RING_MAX_FILES];        /* 0: free */
	u32 last_gen;                           /* guarded by set_lock */
} files;

#define LOAD(x) atomic_load_explicit(&(x), memory_order_acquire)
#define STORE(x, v) atomic_store_explicit(&(x), (v), memory_order_release)

/* ------------------------------------------------------------------- memory */

static u32 arena_chunks(void)
{
	return (u32)MIN_T(size_t, DIV_ROUND_UP(LOAD(arena.len), RING_CHUNK_SIZE), RING_MAX_CHUNKS);
}

int ring_memory_set(void *base, size_t len)
{
	if ((uintptr_t)base % SECTOR_SIZE)
		return -EINVAL;
	mutex_lock(&set_lock);
	STORE(arena.len, 0);
	STORE(arena.base, (uintptr_t)base);
	STORE(arena.len, len);
	for (u32 i = 0; i < arena_chunks(); i++)
		STORE(arena.gen[i], 1);
	STORE(arena.epoch, LOAD(arena.epoch) + 1);
	mutex_unlock(&set_lock);
	ring_store_drop();
	return 0;
}

void ring_memory_changed(const void *addr, size_t len)
{
	uintptr_t base = LOAD(arena.base), a = (uintptr_t)addr;
	u32 last, nr = arena_chunks();

	if (!len || a + len <= base || a >= base + LOAD(arena.len))
		return;
	a = MAX(a, base);
	last = (u32)MIN_T(size_t, ((uintptr_t)addr + len - 1 - base) / RING_CHUNK_SIZE, nr - 1);
	mutex_lock(&set_lock);
	for (u32 i = (u32)((a - base) / RING_CHUNK_SIZE); i <= last; i++)
		STORE(arena.gen[i], LOAD(arena.gen[i]) + 1);
	mutex_unlock(&set_lock);
}

static void drop_arena(struct ring *r)
{
	if (r->fixed_ready)
		io_uring_unregister_buffers(&r->u);
	r->fixed_ready = false;
	r->fixed_refused = false;
	free(r->chunk_gen);
	r->chunk_gen = NULL;
}

/* Makes the empty table for the arena of today. */
static void prepare_arena(struct ring *r)
{
	u32 nr = arena_chunks();
	int err;

	drop_arena(r);
	r->arena_epoch = LOAD(arena.epoch);
	r->arena_nr = nr;
	r->fixed_refused = true;
	if (!nr || r->opts.no_fixed || !ring_feature_ok(RING_F_FIXED))
		return;
	r->chunk_gen = calloc(nr, sizeof(*r->chunk_gen));
	if (!r->chunk_gen)
		return;
	err = io_uring_register_buffers_sparse(&r->u, nr);
	if (err) {
		ring_feature_lost(RING_F_FIXED, err);
		return;
	}
	r->fixed_ready = true;
	r->fixed_refused = false;
}

/* For this ring alone. 0 or -errno. */
static int register_alone(struct ring *r, u32 chunk, const struct iovec *iov, u32 gen)
{
	int ret = io_uring_register_buffers_update_tag(&r->u, chunk, iov, NULL, 1);

	if (ret == 1)
		ring_count(RING_CHUNKS);
	else if (ret != -EFAULT)
		return ret < 0 ? ret : -EINVAL;
	/* EFAULT: part of the chunk is not accessible memory now. The others may well be. */
	r->chunk_gen[chunk] = ret == 1 ? gen : gen | CHUNK_FAILED;
	return 0;
}

static bool register_chunk(struct ring *r, u32 chunk, u32 gen)
{
	bool shared = !r->opts.no_clone && ring_feature_ok(RING_F_CLONE);
	size_t start = chunk * RING_CHUNK_SIZE;
	struct iovec iov = {
		.iov_base = (u8 *)LOAD(arena.base) + start, /* NOLINT: an address, not a number */
		.iov_len = MIN(RING_CHUNK_SIZE, LOAD(arena.len) - start),
	};
	int err;

	if (!ring_feature_ok(RING_F_FIXED))
		return false;
	err = shared ? ring_store_take(r, chunk, &iov, gen) : 0;
	if (err && err != -ENOMEM) {
		ring_feature_lost(RING_F_CLONE, err);
		shared = false;
	}
	if (!shared)
		err = register_alone(r, chunk, &iov, gen);
	if (err) {
		ring_feature_lost(RING_F_FIXED, err);
		r->chunk_gen[chunk] = gen | CHUNK_FAILED;
	}
	return r->chunk_gen[chunk] == gen;
}

int ring_reg_chunk_of(const void *base, size_t len)
{
	uintptr_t off = (uintptr_t)base - LOAD(arena.base);
	size_t size = LOAD(arena.len);

	if (off >= size || len > size - off || off / RING_CHUNK_SIZE >= RING_MAX_CHUNKS)
		return -1;
	if (off / RING_CHUNK_SIZE != (off + len - 1) / RING_CHUNK_SIZE)
		return -1;
	return (int)(off / RING_CHUNK_SIZE);
}

int ring_reg_buffer(struct ring *r, const void *base, size_t len)
{
	int chunk = ring_reg_chunk_of(base, len);
	u32 gen;

	if (chunk < 0)
		return -1;
	if (r->arena_epoch != LOAD(arena.epoch))
		prepare_arena(r);
	if (r->fixed_refused)
		return -1;
	gen = LOAD(arena.gen[chunk]) & ~CHUNK_FAILED;
	if (likely(r->chunk_gen[chunk] == gen))
		return chunk;
	if (r->chunk_gen[chunk] == (gen | CHUNK_FAILED))
		return -1;
	return register_chunk(r, (u32)chunk, gen) ? chunk : -1;
}

/* -------------------------------------------------------------------- files */

int ring_file_add(int fd, int *handle)
{
	int err = -ENFILE;

	mutex_lock(&set_lock);
	for (int i = 0; i < RING_MAX_FILES && err; i++) {
		if (LOAD(files.gen[i]))
			continue;
		if (++files.last_gen == 0)
			files.last_gen = 1;
		STORE(files.fd[i], fd);
		STORE(files.gen[i], files.last_gen);
		*handle = i;
		err = 0;
	}
	mutex_unlock(&set_lock);
	return err;
}

void ring_file_del(int handle)
{
	mutex_lock(&set_lock);
	ASSERT(LOAD(files.gen[handle]));
	STORE(files.gen[handle], 0);
	STORE(files.fd[handle], -1);
	STORE(files.epoch, LOAD(files.epoch) + 1);
	mutex_unlock(&set_lock);
}

static void prepare_files(struct ring *r)
{
	int err;

	r->files_refused = r->opts.no_files || !ring_feature_ok(RING_F_FILES);
	if (r->files_refused)
		return;
	err = io_uring_register_files_sparse(&r->u, RING_MAX_FILES);
	if (err) {
		ring_feature_lost(RING_F_FILES, err);
		r->files_refused = true;
		return;
	}
	r->files_ready = true;
}

/* Lets go of files that nobody uses any more, so that they can really be closed. */
static void drop_stale_files(struct ring *r)
{
	int none = -1;

	r->files_epoch = LOAD(files.epoch);
	for (unsigned i = 0; i < RING_MAX_FILES; i++) {
		if (!r->file_gen[i] || r->file_gen[i] == LOAD(files.gen[i]))
			continue;
		io_uring_register_files_update(&r->u, i, &none, 1);
		r->file_gen[i] = 0;
	}
}

bool ring_reg_file(struct ring *r, int handle, int *fd_or_index)
{
	u32 gen = LOAD(files.gen[handle]);
	int fd = LOAD(files.fd[handle]);

	ASSERT(gen);
	if (unlikely(!r->files_ready && !r->files_refused))
		prepare_files(r);
	*fd_or_index = fd;
	if (r->files_refused)
		return false;
	if (unlikely(r->files_epoch != LOAD(files.epoch)))
		drop_stale_files(r);
	if (unlikely(r->file_gen[handle] != gen)) {
		if (io_uring_register_files_update(&r->u, (unsigned)handle, &fd, 1) != 1)
			return false;
		r->file_gen[handle] = gen;
	}
	*fd_or_index = handle;
	return true;
}

void ring_reg_fini(struct ring *r)
{
	free(r->chunk_gen);
	r->chunk_gen = NULL;
}
