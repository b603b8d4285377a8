/*
 * Registered memory that rings share: one ring that does no I/O holds every chunk of the arena that
 * any ring has needed, and the others take clones of its table. So the pages of a chunk are pinned,
 * and counted against the limit on locked memory, once in the process and not once a ring, and a
 * new thread has all that is registered with one system call.
 *
 * Invariants:
 * 1. gen[chunk] is the generation that was read before the chunk's pages were pinned, so a label is
 *    never newer than the pages (register.c compares it with the arena's at every use).
 * 2. The store belongs to one arena (epoch) and one process: a child's memory is another.
 * 3. A clone keeps the pages pinned by itself: the store may go first.
 *
 * The kernel clones from a ring only if that has no single issuer (6.12, into part of a table
 * 6.13). Where it can't, each ring registers by itself as before.
 *
 * Locking: store_lock (RANK_RING_STORE), held across the system calls of one registration and
 * one clone: a few hundred microseconds for a chunk that is new, a few for one that is there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/lock.h"
#include "ring/ring_priv.h"

/* Not in the headers of liburing 2.3. */
#define REGISTER_CLONE_BUFFERS 30u
#define CLONE_REPLACE 2u

struct clone_buffers {
	u32 src_fd;
	u32 flags;
	u32 src_off;
	u32 dst_off;
	u32 nr;
	u32 pad[3];
};

static struct mutex store_lock = MUTEX_INIT(RANK_RING_STORE);
static struct {
	bool ready;
	u32 epoch;
	pid_t owner;
	u32 nr;
	u32 *gen;               /* registered, or it failed (CHUNK_FAILED); 0 none */
	struct io_uring u;
} store;                        /* under store_lock */

static void drop(void)
{
	if (!store.ready)
		return;
	io_uring_queue_exit(&store.u);
	free(store.gen);
	store.ready = false;
}

void ring_store_drop(void)
{
	mutex_lock(&store_lock);
	drop();
	mutex_unlock(&store_lock);
}

static int prepare(u32 epoch, u32 nr)
{
	int err;

	if (store.ready && store.epoch == epoch && store.owner == getpid())
		return 0;
	drop();
	store.gen = calloc(nr, sizeof(*store.gen));
	if (!store.gen)
		return -ENOMEM;
	err = io_uring_queue_init(1, &store.u, 0);
	if (!err) {
		err = io_uring_register_buffers_sparse(&store.u, nr);
		if (err)
			io_uring_queue_exit(&store.u);
	}
	if (err) {
		free(store.gen);
		return err;
	}
	store.epoch = epoch;
	store.owner = getpid();
	store.nr = nr;
	store.ready = true;
	return 0;
}

static int clone_all(struct ring *r)
{
	struct clone_buffers arg = { .src_fd = (u32)store.u.ring_fd, .flags = CLONE_REPLACE,
				     .nr = store.nr };

	if (syscall(SYS_io_uring_register, r->u.ring_fd, REGISTER_CLONE_BUFFERS, &arg, 1))
		return -errno;
	memcpy(r->chunk_gen, store.gen, store.nr * sizeof(*store.gen));
	ring_count(RING_CLONES);
	return 0;
}

int ring_store_take(struct ring *r, u32 chunk, const struct iovec *iov, u32 gen)
{
	int ret;

	mutex_lock(&store_lock);
	ret = prepare(r->arena_epoch, r->arena_nr);
	if (!ret && store.gen[chunk] != gen && store.gen[chunk] != (gen | CHUNK_FAILED)) {
		ret = io_uring_register_buffers_update_tag(&store.u, chunk, iov, NULL, 1);
		if (ret == 1 || ret == -EFAULT)
			store.gen[chunk] = ret == 1 ? gen : gen | CHUNK_FAILED;
		if (ret == 1)
			ring_count(RING_CHUNKS);
		ret = ret == 1 || ret == -EFAULT ? 0 : ret < 0 ? ret : -EINVAL;
	}
	if (!ret)
		ret = clone_all(r);
	mutex_unlock(&store_lock);
	return ret;
}
