/*
 * Threads that serve FUSE requests from io_uring.
 *
 * Rules
 * 1. A thread has one entry, so a request that blocks (a miss, fsync, a lock) blocks nothing but
 *    its own entry: the kernel gives the next request of that CPU to another entry, and keeps what
 *    finds none in its queue. It takes the entry that became free last, so one thread does all
 *    while none blocks.
 * 2. The answer is committed by the thread that ran the request, with the system call that takes
 *    the next one.
 * 3. An answer is never undone: the kernel refuses a commit only when the connection is over, and
 *    tells that with the same result with which it ends a wait for the next request. All that is
 *    open is closed then anyway.
 * 4. Handlers see a request as /dev/fuse would have delivered it (entry.h).
 * 5. Everything that can fail is done before INIT is answered. A registration that fails after
 *    that makes the kernel use /dev/fuse; it is logged.
 * 6. The kernel drops an entry when the thread that sent its command ends: threads stay to the end.
 *
 * Locking: start_lock guards the count of threads that have reported; state is an atomic futex
 * word. Everything else of a thread is its own.
 */
#include "front/uring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/futex.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/time.h"
#include "front/awake.h"
#include "front/entry.h"
#include "front/front.h"
#include "front/pace.h"
#include "front/req.h"
#include "front/session.h"
#include "ring/cmd.h"
#include "stat/stat.h"

#define REGISTER_STEP_NS NS_PER_MS

enum state { WAITING, GOING, STOPPING, FINISHING };

struct lane {
	struct uring *uring;
	pthread_t thread;
	bool running;
	u32 done;                       /* atomic: the thread has left its loop */
	unsigned cpu;
	struct ring_cmd *ring;
	struct entry entry;
	u8 *out;                        /* REQ_OUT_SIZE */
	bool answered;
	struct pace pace;
};

struct uring {
	struct front *front;
	u32 state;                      /* atomic, futex: enum state */
	u32 refused;                    /* atomic: threads that the kernel refused */
	struct mutex start_lock;
	struct cond start_cond;
	unsigned nr_reported;           /* under start_lock */
	int start_err;                  /* under start_lock */
	unsigned nr;
	struct lane lanes[];
};

static u32 state_of(const struct uring *u)
{
	return __atomic_load_n(&u->state, __ATOMIC_ACQUIRE);
}

static void set_state(struct uring *u, enum state s)
{
	__atomic_store_n(&u->state, s, __ATOMIC_RELEASE);
	futex_wake(&u->state, INT32_MAX);
}

/* ---- commands ---- */

static void fill_command(const struct lane *l, struct ring_cmd_args *a, u32 op)
{
	const struct proto_ring_cmd cmd = {
		.qid = (u16)l->cpu, .commit_id = l->entry.head->ent.commit_id,
	};

	*a = (struct ring_cmd_args){ .fd = l->uring->front->fuse_fd, .op = op };
	memcpy(a->data, &cmd, sizeof(cmd));
}

/* A result, or -EINTR when this thread is to end. */
static int wait_on(struct lane *l, int res)
{
	while (res == -EINTR && state_of(l->uring) == GOING)
		res = ring_cmd_wait(l->ring);
	return res;
}

/* Returns with the first request. INIT may be answered but not yet be seen by the kernel. */
static int lane_register(struct lane *l)
{
	const struct iovec iov[2] = {
		{ .iov_base = l->entry.head, .iov_len = sizeof(*l->entry.head) },
		{ .iov_base = l->entry.payload, .iov_len = l->entry.len },
	};
	struct ring_cmd_args a;
	int res;

	fill_command(l, &a, PROTO_RING_REGISTER);
	a.iov = iov;
	a.nr_iov = 2;
	while ((res = wait_on(l, ring_cmd_run(l->ring, &a))) == -EAGAIN &&
	       state_of(l->uring) == GOING)
		sleep_ns(REGISTER_STEP_NS);
	return res;
}

static int lane_commit(struct lane *l)
{
	struct ring_cmd_args a;

	fill_command(l, &a, PROTO_RING_COMMIT_AND_FETCH);
	return wait_on(l, ring_cmd_run(l->ring, &a));
}

/* ---- requests ---- */

/*
 * What one request has done is seen by the next that depends on it, in whatever thread: the kernel
 * sends that only after the answer. The thread sanitizer can't know this of memory that the
 * kernel writes.
 */
static inline void passed_the_kernel(void)
{
#ifdef __SANITIZE_THREAD__
	static u32 order;

	__atomic_fetch_add(&order, 1, __ATOMIC_ACQ_REL);
#endif
}

static int lane_send(struct req *rq, const struct iovec *iov, unsigned nr_iov, size_t len)
{
	struct lane *l = rq->via;
	int err = entry_answer(&l->entry, iov, nr_iov, len);

	l->answered = err == 0;
	return err;
}

/* Runs the request that lies in the entry. */
static void lane_serve(struct lane *l)
{
	const struct fuse_in_header *in = entry_request(&l->entry);
	struct req rq = { .front = l->uring->front, .send = lane_send, .via = l, .fd = -1,
			  .in = in, .out = l->out };
	u64 now = now_ns();

	passed_the_kernel();
	l->answered = false;
	if (!in) {
		log_err("a request of the kernel does not add up: refused");
		entry_answer_error(&l->entry, -EIO);
		l->answered = true;
		return;
	}
	rq.arg = in + 1;
	rq.arg_len = in->len - sizeof(*in);
	pace_received(&l->pace, now, in->len);
	awake_pace(&l->pace);
	stat_inc(STAT_REQUESTS_URING);
	pace_answered(&l->pace, req_dispatch(&rq, now));
	passed_the_kernel();
}

/* DESTROY: its answer waits until everything is on the disk. */
static void hold_answer(struct lane *l)
{
	u32 s;

	while ((s = state_of(l->uring)) != FINISHING)
		futex_wait(&l->uring->state, s, -1);
	entry_answer_error(&l->entry, 0);
}

/* ---- threads ---- */

static void lane_pin(const struct lane *l)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(l->cpu, &set);
	/* A CPU that is off, or not ours to use: its few requests are served from elsewhere. */
	sched_setaffinity(0, sizeof(set), &set);
}

static void report(struct uring *u, int err)
{
	mutex_lock(&u->start_lock);
	u->nr_reported++;
	if (err && !u->start_err)
		u->start_err = err;
	cond_signal(&u->start_cond);
	mutex_unlock(&u->start_lock);
}

static bool wait_for_go(const struct uring *u)
{
	while (state_of(u) == WAITING)
		futex_wait((u32 *)(uintptr_t)&u->state, WAITING, -1);
	return state_of(u) == GOING;
}

static void lane_loop(struct lane *l)
{
	struct uring *u = l->uring;
	int res = lane_register(l);

	if (res && state_of(u) == GOING && res != -ENOTCONN && res != -ECONNABORTED) {
		if (__atomic_fetch_add(&u->refused, 1, __ATOMIC_SEQ_CST) == 0)
			log_warn("transport: io_uring refused: %s; /dev/fuse serves",
				 err_text(res));
		return;
	}
	while (res == 0) {
		lane_serve(l);
		if (!l->answered)
			hold_answer(l);
		res = lane_commit(l);
		if (state_of(u) != GOING)
			break;
	}
}

static void *lane_main(void *arg)
{
	struct lane *l = arg;
	int err;

	pthread_setname_np(pthread_self(), "folio-uring");
	lane_pin(l);
	pace_init(&l->pace, l->uring->front->opts.poll_us);
	err = ring_cmd_new(&l->ring);
	report(l->uring, err);
	if (!err && wait_for_go(l->uring))
		lane_loop(l);
	ring_cmd_free(l->ring);
	__atomic_store_n(&l->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static int lane_start(struct lane *l)
{
	int err = entry_init(&l->entry, front_max_bytes(l->uring->front));

	if (err)
		return err;
	l->out = malloc(REQ_OUT_SIZE);
	if (!l->out)
		return -ENOMEM;
	err = pthread_create(&l->thread, NULL, lane_main, l);
	l->running = err == 0;
	return -err;
}

unsigned uring_per_cpu(u64 threads, unsigned cpus)
{
	if (threads)
		return (unsigned)MAX(threads / cpus, (u64)1);
	return cpus <= 4 ? 8 : cpus <= 16 ? 4 : 2;
}

/* All threads that were started have said whether they have a ring. */
static int wait_for_reports(struct uring *u, unsigned nr)
{
	int err;

	mutex_lock(&u->start_lock);
	while (u->nr_reported < nr)
		cond_wait(&u->start_cond, &u->start_lock);
	err = u->start_err;
	mutex_unlock(&u->start_lock);
	return err;
}

int uring_new(struct front *fr, unsigned per_cpu, struct uring **out)
{
	unsigned cpus = (unsigned)sysconf(_SC_NPROCESSORS_CONF), nr = cpus * per_cpu, started = 0;
	struct uring *u = calloc(1, sizeof(*u) + nr * sizeof(u->lanes[0]));
	int err = 0;

	if (!u)
		return -ENOMEM;
	u->front = fr;
	u->nr = nr;
	mutex_init(&u->start_lock, RANK_STAT);
	cond_init(&u->start_cond);
	for (; started < nr && !err; started++) {
		u->lanes[started].uring = u;
		u->lanes[started].cpu = started % cpus;
		err = lane_start(&u->lanes[started]);
		if (err)
			break;
	}
	if (!err)
		err = wait_for_reports(u, nr);
	if (err) {
		uring_stop(u);
		uring_free(u);
		return err;
	}
	*out = u;
	return 0;
}

void uring_go(struct uring *u)
{
	set_state(u, GOING);
}

bool uring_serves(const struct uring *u)
{
	return u && !__atomic_load_n(&u->refused, __ATOMIC_SEQ_CST) && state_of(u) == GOING;
}

static bool holds_destroy(const struct lane *l)
{
	const struct front *fr = l->uring->front;

	return fr->destroy_via == l &&
	       __atomic_load_n(&fr->destroy_unique, __ATOMIC_ACQUIRE) != 0;
}

static void lane_join(struct lane *l)
{
	if (!l->running)
		return;
	while (!__atomic_load_n(&l->done, __ATOMIC_ACQUIRE)) {
		pthread_kill(l->thread, SESSION_WAKE_SIGNAL);
		sleep_ns(5 * NS_PER_MS);
	}
	pthread_join(l->thread, NULL);
	l->running = false;
}

void uring_stop(struct uring *u)
{
	set_state(u, STOPPING);
	for (unsigned i = 0; i < u->nr; i++)
		if (!holds_destroy(&u->lanes[i]))
			lane_join(&u->lanes[i]);
}

void uring_free(struct uring *u)
{
	set_state(u, FINISHING);
	for (unsigned i = 0; i < u->nr; i++) {
		lane_join(&u->lanes[i]);
		entry_fini(&u->lanes[i].entry);
		free(u->lanes[i].out);
	}
	cond_fini(&u->start_cond);
	mutex_fini(&u->start_lock);
	free(u);
}

u64 uring_memory(const struct uring *u)
{
	size_t entry = entry_memory(front_max_bytes(u->front));

	return (u64)u->nr * (entry + REQ_OUT_SIZE + sizeof(struct lane));
}

unsigned uring_threads(const struct uring *u)
{
	return u->nr;
}
