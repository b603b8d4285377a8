/*
 * Ranked locks over pthread.
 *
 * Rules
 * 1. A lock may be waited for only if its rank is further inside than that of every lock that the
 *    thread holds (equal only for RANK_INODE through _nested). trylock never waits, so it is free
 *    of the rule, but what it takes counts from then on.
 * 2. The held locks are a thread-local stack; locks may be released in any order.
 * 3. A pthread call that fails here means a broken program (EDEADLK, EINVAL): it is asserted, never
 *    returned.
 *
 * Without FOLIOFS_LOCK_RANKS the stack does not exist and every check is empty.
 */
#include "base/lock.h"

#include <errno.h>
#include <time.h>

#include "base/block.h"
#include "base/err.h"
#include "base/log.h"
#include "base/time.h"

static const char *const rank_names[RANK_NR] = {
	[RANK_CTL] = "CTL",
	[RANK_RENAME] = "RENAME",
	[RANK_INODE] = "INODE",
	[RANK_MAPPING_INVAL] = "MAPPING_INVAL",
	[RANK_HANDLE] = "HANDLE",
	[RANK_META] = "META",
	[RANK_JNL] = "JNL",
	[RANK_INODE_STATE] = "INODE_STATE",
	[RANK_INODE_TABLE] = "INODE_TABLE",
	[RANK_SPACE] = "SPACE",
	[RANK_FLUSHER] = "FLUSHER",
	[RANK_BLK] = "BLK",
	[RANK_MAPPING] = "MAPPING",
	[RANK_POLICY] = "POLICY",
	[RANK_MEM] = "MEM",
	[RANK_RING] = "RING",
	[RANK_RING_STORE] = "RING_STORE",
	[RANK_STAT] = "STAT",
	[RANK_LOG] = "LOG",
};

const char *lock_rank_name(enum lock_rank rank)
{
	return (size_t)rank < RANK_NR && rank_names[rank] ? rank_names[rank] : "?";
}

#ifdef FOLIOFS_LOCK_RANKS

#define HELD_MAX 16

struct held {
	const void *lock;
	enum lock_rank rank;
};

static __thread struct held held[HELD_MAX];
static __thread unsigned nr_held;

/* Says which ranks are involved, which an assertion alone does not. */
static void rank_check(enum lock_rank rank, bool nested)
{
	for (unsigned i = 0; i < nr_held; i++) {
		bool fine = held[i].rank < rank ||
			    (nested && rank == RANK_INODE && held[i].rank == RANK_INODE);

		/* The log's own lock can't be reported through the log. */
		if (!fine && held[i].rank != RANK_LOG)
			log_err("lock order: %s wanted while %s is held", lock_rank_name(rank),
				lock_rank_name(held[i].rank));
		ASSERT(fine);
	}
}

static void rank_push(const void *lock, enum lock_rank rank)
{
	ASSERT(nr_held < HELD_MAX);
	held[nr_held++] = (struct held){ lock, rank };
}

static void rank_pop(const void *lock)
{
	unsigned i = nr_held;

	while (i > 0 && held[i - 1].lock != lock)
		i--;
	ASSERT(i > 0);
	for (; i < nr_held; i++)
		held[i - 1] = held[i];
	nr_held--;
}

void lock_assert_none_held_from(enum lock_rank rank)
{
	for (unsigned i = 0; i < nr_held; i++) {
		if (held[i].rank >= rank)
			log_err("lock order: %s is held where nothing from %s on may be",
				lock_rank_name(held[i].rank), lock_rank_name(rank));
		ASSERT(held[i].rank < rank);
	}
}

void lock_assert_held(enum lock_rank rank)
{
	bool found = false;

	for (unsigned i = 0; i < nr_held; i++)
		found = found || held[i].rank == rank;
	ASSERT(found);
}

/* A wait gives up its mutex only: what else is held must be further out, and stays held. */
static void rank_check_wait(const struct mutex *m)
{
	for (unsigned i = 0; i < nr_held; i++)
		ASSERT(held[i].lock == m || held[i].rank < m->rank);
}

#else

static inline void rank_check(enum lock_rank rank UNUSED, bool nested UNUSED)
{
}

static inline void rank_push(const void *lock UNUSED, enum lock_rank rank UNUSED)
{
}

static inline void rank_pop(const void *lock UNUSED)
{
}

static inline void rank_check_wait(const struct mutex *m UNUSED)
{
}

void lock_assert_none_held_from(enum lock_rank rank UNUSED)
{
}

void lock_assert_held(enum lock_rank rank UNUSED)
{
}

#endif

void lock_assert_may_io(void)
{
	lock_assert_none_held_from(RANK_HANDLE);
}

static void must(int pthread_error)
{
	ASSERT(pthread_error == 0);
}

void mutex_init(struct mutex *m, enum lock_rank rank)
{
	must(pthread_mutex_init(&m->m, NULL));
	m->rank = rank;
}

void mutex_fini(struct mutex *m)
{
	must(pthread_mutex_destroy(&m->m));
}

/* Locks inside the handle are held for moments only: waiting for one is no reason to hand over. */
static void announce(enum lock_rank rank)
{
	if (rank < RANK_HANDLE)
		block_announce();
}

void mutex_lock(struct mutex *m)
{
	int err;

	rank_check(m->rank, false);
	err = pthread_mutex_trylock(&m->m);
	if (err == EBUSY) {
		announce(m->rank);
		err = pthread_mutex_lock(&m->m);
	}
	must(err);
	rank_push(m, m->rank);
}

bool mutex_trylock(struct mutex *m)
{
	int err = pthread_mutex_trylock(&m->m);

	if (err == EBUSY)
		return false;
	must(err);
	rank_push(m, m->rank);
	return true;
}

void mutex_unlock(struct mutex *m)
{
	rank_pop(m);
	must(pthread_mutex_unlock(&m->m));
}

void rwlock_init(struct rwlock *rw, enum lock_rank rank)
{
	pthread_rwlockattr_t attr;

	must(pthread_rwlockattr_init(&attr));
	must(pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP));
	must(pthread_rwlock_init(&rw->rw, &attr));
	must(pthread_rwlockattr_destroy(&attr));
	rw->rank = rank;
}

void rwlock_fini(struct rwlock *rw)
{
	must(pthread_rwlock_destroy(&rw->rw));
}

static void rwlock_rd(struct rwlock *rw)
{
	int err = pthread_rwlock_tryrdlock(&rw->rw);

	if (err == EBUSY) {
		announce(rw->rank);
		err = pthread_rwlock_rdlock(&rw->rw);
	}
	must(err);
}

static void rwlock_wr(struct rwlock *rw)
{
	int err = pthread_rwlock_trywrlock(&rw->rw);

	if (err == EBUSY) {
		announce(rw->rank);
		err = pthread_rwlock_wrlock(&rw->rw);
	}
	must(err);
}

void rwlock_rdlock(struct rwlock *rw)
{
	rank_check(rw->rank, false);
	rwlock_rd(rw);
	rank_push(rw, rw->rank);
}

void rwlock_wrlock(struct rwlock *rw)
{
	rank_check(rw->rank, false);
	rwlock_wr(rw);
	rank_push(rw, rw->rank);
}

void rwlock_rdlock_nested(struct rwlock *rw)
{
	rank_check(rw->rank, true);
	rwlock_rd(rw);
	rank_push(rw, rw->rank);
}

void rwlock_wrlock_nested(struct rwlock *rw)
{
	rank_check(rw->rank, true);
	rwlock_wr(rw);
	rank_push(rw, rw->rank);
}

static bool rwlock_try_result(struct rwlock *rw, int err)
{
	if (err == EBUSY || err == EAGAIN)
		return false;
	must(err);
	rank_push(rw, rw->rank);
	return true;
}

bool rwlock_tryrdlock(struct rwlock *rw)
{
	return rwlock_try_result(rw, pthread_rwlock_tryrdlock(&rw->rw));
}

bool rwlock_trywrlock(struct rwlock *rw)
{
	return rwlock_try_result(rw, pthread_rwlock_trywrlock(&rw->rw));
}

void rwlock_unlock(struct rwlock *rw)
{
	rank_pop(rw);
	must(pthread_rwlock_unlock(&rw->rw));
}

void cond_init(struct cond *c)
{
	pthread_condattr_t attr;

	must(pthread_condattr_init(&attr));
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	must(pthread_cond_init(&c->c, &attr));
	must(pthread_condattr_destroy(&attr));
}

void cond_fini(struct cond *c)
{
	must(pthread_cond_destroy(&c->c));
}

void cond_wait(struct cond *c, struct mutex *m)
{
	u64 began;

	rank_check_wait(m);
	began = block_begin();
	must(pthread_cond_wait(&c->c, &m->m));
	block_end(BLOCK_OTHERS, began);
}

bool cond_timedwait_ms(struct cond *c, struct mutex *m, u64 ms)
{
	u64 until = now_ns() + ms * NS_PER_MS;
	struct timespec ts = {
		.tv_sec = (time_t)(until / NS_PER_SEC),
		.tv_nsec = (long)(until % NS_PER_SEC),
	};
	u64 began;
	int err;

	rank_check_wait(m);
	began = block_begin();
	err = pthread_cond_timedwait(&c->c, &m->m, &ts);
	block_end(BLOCK_OTHERS, began);
	if (err == ETIMEDOUT)
		return false;
	must(err);
	return true;
}

void cond_signal(struct cond *c)
{
	must(pthread_cond_signal(&c->c));
}

void cond_broadcast(struct cond *c)
{
	must(pthread_cond_broadcast(&c->c));
}
