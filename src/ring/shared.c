/*
 * The shared ring: requests that outlive the call that made them, reaped by a thread of its own.
 *
 * Invariants:
 * 1. Only the reaper touches the completion queue; the submission queue and the counts are
 *    touched under shared.lock.
 * 2. done() runs without shared.lock held. The reaper takes up to REAP_MAX completions at a time:
 *    one hold of the lock and one system call for what they make room for.
 * 3. The reaper ends on a completion without a request, sent by ring_shutdown() after everything
 *    else has come back.
 *
 * Locking: shared.lock has RANK_RING; start and shutdown are serialised by start_lock, which is
 * taken outside everything and held while the reaper is waited for, so it is a plain pthread
 * mutex: nobody may hold a ranked lock that done() takes when calling ring_shutdown().
 */
#include <pthread.h>
#include <signal.h>

#include "base/err.h"
#include "base/lock.h"
#include "base/log.h"
#include "ring/ring_priv.h"

#define REAP_MAX 64u

static struct mutex start_lock = MUTEX_INIT(RANK_BLK);

static struct {
	struct mutex lock;
	struct cond idle;               /* nothing is under way, no done() is running */
	bool reaping;                   /* guarded by lock: done() of some are still to be run */
	struct ring ring;               /* guarded by lock, but see invariant 1 */
	pthread_t reaper;
	_Atomic bool running;           /* written under start_lock */
} shared = {
	.lock = MUTEX_INIT(RANK_RING),
};

/* Sends everything queued. Called with shared.lock held. */
static void submit_all(void)
{
	int ret;

	do {
		ring_count(RING_ENTERS);
		ret = io_uring_submit(&shared.ring.u);
		/* The kernel is short of memory: nobody else would send this, so stay. */
		if (ret < 0)
			sched_yield();
		ASSERT(ret >= 0 || ret == -EINTR || ret == -EAGAIN || ret == -EBUSY ||
		       ret == -ENOMEM);
	} while (io_uring_sq_ready(&shared.ring.u));
}

struct reaped {
	struct ring_req *req;
	s32 res;
};

/* Puts into `out` what has come back, at least one. */
static unsigned take_ready(struct reaped *out)
{
	struct io_uring_cqe *cqe[REAP_MAX];
	unsigned nr;
	int err;

	do {
		err = io_uring_wait_cqe(&shared.ring.u, cqe);
	} while (err == -EINTR || err == -EAGAIN);
	ASSERT(err == 0);
	nr = io_uring_peek_batch_cqe(&shared.ring.u, cqe, REAP_MAX);
	for (unsigned i = 0; i < nr; i++)
		out[i] = (struct reaped){ io_uring_cqe_get_data(cqe[i]), cqe[i]->res };
	io_uring_cq_advance(&shared.ring.u, nr);
	return nr;
}

/* Moves the requests that are complete to the front; their number. */
static unsigned absorb(struct reaped *r, unsigned nr)
{
	unsigned complete = 0;

	mutex_lock(&shared.lock);
	for (unsigned i = 0; i < nr; i++) {
		if (!ring_absorb(&shared.ring, r[i].req, r[i].res))
			continue;
		ring_slot_freed(&shared.ring);
		r[complete++].req = r[i].req;
	}
	shared.reaping = complete > 0;
	if (io_uring_sq_ready(&shared.ring.u))
		submit_all();
	mutex_unlock(&shared.lock);
	return complete;
}

static void finish(struct reaped *r, unsigned nr)
{
	if (!nr)
		return;
	for (unsigned i = 0; i < nr; i++)
		ring_finish(r[i].req);
	mutex_lock(&shared.lock);
	shared.reaping = false;
	if (!shared.ring.in_flight)
		cond_broadcast(&shared.idle);
	mutex_unlock(&shared.lock);
}

static void *reaper_main(void *arg)
{
	struct reaped r[REAP_MAX];

	for (;;) {
		unsigned nr = take_ready(r);

		/* Invariant 3: it comes alone. */
		if (!r[0].req)
			return arg;
		finish(r, absorb(r, nr));
	}
}

/* Signals are for the threads that expect them. */
static int start_reaper(void)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&shared.reaper, NULL, reaper_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

static int start_locked(void)
{
	int err;

	if (shared.running)
		return 0;
	err = ring_setup(&shared.ring, RING_SHARED_DEPTH, false);
	if (err)
		return err;
	cond_init(&shared.idle);
	err = start_reaper();
	if (err) {
		cond_fini(&shared.idle);
		ring_teardown(&shared.ring);
		return err;
	}
	pthread_setname_np(shared.reaper, "folio-reaper");
	atomic_store_explicit(&shared.running, true, memory_order_release);
	return 0;
}

int ring_shared_start(void)
{
	int err;

	if (atomic_load_explicit(&shared.running, memory_order_acquire))
		return 0;
	mutex_lock(&start_lock);
	err = start_locked();
	mutex_unlock(&start_lock);
	return err;
}

void ring_shared_submit_list(struct ring_req_list *list)
{
	struct ring_req *req;

	mutex_lock(&shared.lock);
	while ((req = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		ring_req_start(req);
		ring_send(&shared.ring, req);
	}
	if (io_uring_sq_ready(&shared.ring.u))
		submit_all();
	mutex_unlock(&shared.lock);
}

void ring_shared_submit(struct ring_req *req)
{
	struct ring_req_list list = STAILQ_HEAD_INITIALIZER(list);

	STAILQ_INSERT_TAIL(&list, req, link);
	ring_shared_submit_list(&list);
}

static void stop_reaper(void)
{
	struct io_uring_sqe *sqe;

	mutex_lock(&shared.lock);
	while (shared.ring.in_flight || shared.reaping)
		cond_wait(&shared.idle, &shared.lock);
	sqe = io_uring_get_sqe(&shared.ring.u);
	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data(sqe, NULL);
	submit_all();
	mutex_unlock(&shared.lock);
	pthread_join(shared.reaper, NULL);
}

void ring_shared_place(const cpu_set_t *cpus)
{
	mutex_lock(&start_lock);
	if (shared.running)
		pthread_setaffinity_np(shared.reaper, sizeof(*cpus), cpus);
	mutex_unlock(&start_lock);
}

void ring_shutdown(void)
{
	mutex_lock(&start_lock);
	if (shared.running) {
		stop_reaper();
		cond_fini(&shared.idle);
		ring_teardown(&shared.ring);
		atomic_store_explicit(&shared.running, false, memory_order_release);
	}
	mutex_unlock(&start_lock);
}
