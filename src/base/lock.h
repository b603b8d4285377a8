/*
 * Locks with ranks. A thread takes locks in the order of enum lock_rank, outermost first; with
 * FOLIOFS_LOCK_RANKS (option lock_ranks) a thread-local stack asserts it at every acquisition.
 *
 * Two locks of the same rank are never held together, except RANK_INODE through the _nested calls,
 * whose caller orders them itself (by inode number).
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <pthread.h>

#include "base/types.h"

enum lock_rank {
	RANK_CTL,           /* control socket, mount and unmount */
	RANK_RENAME,        /* directory renames of one file system */
	RANK_INODE,         /* content and size of one inode */
	RANK_MAPPING_INVAL, /* truncate and punch against fills of one mapping */
	RANK_HANDLE,        /* the one open handle */
	RANK_META,          /* published metadata buffers */
	RANK_JNL,           /* transactions, commit, checkpoint */
	RANK_INODE_STATE,   /* in-memory fields of one inode */
	RANK_INODE_TABLE,   /* the hash of inodes in memory */
	RANK_SPACE,         /* reservations and pending bits of one file system */
	RANK_FLUSHER,       /* queues of dirty inodes */
	RANK_BLK,           /* a block device */
	RANK_MAPPING,       /* index of one mapping */
	RANK_POLICY,        /* eviction queues */
	RANK_MEM,           /* folio allocator */
	RANK_RING,          /* the shared ring */
	RANK_RING_STORE,    /* memory that is registered for all rings */
	RANK_STAT,          /* registration of gauges, rendering */
	RANK_LOG,           /* log sink */
	RANK_NR,
};

struct mutex {
	pthread_mutex_t m;
	enum lock_rank rank;
};

struct rwlock {
	pthread_rwlock_t rw; /* prefers writers, so readers must not nest it */
	enum lock_rank rank;
};

struct cond {
	pthread_cond_t c; /* on CLOCK_MONOTONIC */
};

/* For static storage; a dynamic mutex is set up with mutex_init(). */
#define MUTEX_INIT(rank_) { .m = PTHREAD_MUTEX_INITIALIZER, .rank = (rank_) }

const char *lock_rank_name(enum lock_rank rank);

void mutex_init(struct mutex *m, enum lock_rank rank);
void mutex_fini(struct mutex *m);
void mutex_lock(struct mutex *m);
/* Takes the lock and returns true if that needs no waiting. Allowed against the rank order. */
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);

void rwlock_init(struct rwlock *rw, enum lock_rank rank);
void rwlock_fini(struct rwlock *rw);
void rwlock_rdlock(struct rwlock *rw);
void rwlock_wrlock(struct rwlock *rw);
bool rwlock_tryrdlock(struct rwlock *rw);
bool rwlock_trywrlock(struct rwlock *rw);
void rwlock_unlock(struct rwlock *rw);

/* As above, with another lock of the same rank held; only for RANK_INODE. */
void rwlock_rdlock_nested(struct rwlock *rw);
void rwlock_wrlock_nested(struct rwlock *rw);

void cond_init(struct cond *c);
void cond_fini(struct cond *c);
/* The innermost lock held must be @m; may wake without reason. */
void cond_wait(struct cond *c, struct mutex *m);
/* Returns false if @ms milliseconds passed without a wake-up. */
bool cond_timedwait_ms(struct cond *c, struct mutex *m, u64 ms);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);

/*
 * The three checks below do nothing without FOLIOFS_LOCK_RANKS.
 *
 * No lock of @rank or further inside is held: the caller is about to take such a lock, or to wait
 * for somebody who does.
 */
void lock_assert_none_held_from(enum lock_rank rank);
/* The caller is about to wait for I/O: no lock of RANK_HANDLE or further inside is held. */
void lock_assert_may_io(void);
/* A lock of @rank is held by this thread (any one of that rank). */
void lock_assert_held(enum lock_rank rank);

#endif
