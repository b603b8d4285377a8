/*
 * The threads that serve requests from /dev/fuse.
 *
 * Rules
 * 1. A request is answered by the thread that read it, through the device that it was read from:
 *    the kernel keeps requests in flight per device.
 * 2. A thread sleeps in read() while it is on duty and nothing is there (one call for a request,
 *    and the kernel wakes one thread only), in its ring while reads are under way (rule 4), parked
 *    while it is not on duty (duty.h), or in the work of its request. It ends when the kernel has
 *    ended the connection, or when it is told to: then a signal interrupts its sleep, again and
 *    again until it has seen the flag (the signal may come just before).
 * 3. A device that can't be cloned is no reason to fail: threads then share the mount's own.
 * 4. While reads wait for the disk (req_later) the thread goes on receiving, with a device that
 *    does not make it wait; when nothing is there it waits in its ring for the disk and for the
 *    device. Before any other sleep it waits for what the disk owes it (ring_settle()): others may
 *    need what those reads have locked, and it may itself.
 *
 * Locking: none. Each thread owns its struct worker; flags are atomic.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/block.h"
#include "base/err.h"
#include "base/log.h"
#include "base/time.h"
#include "front/awake.h"
#include "front/duty.h"
#include "front/follow.h"
#include "front/front.h"
#include "front/pace.h"
#include "front/req.h"
#include "front/session.h"
#include "ring/ring.h"
#include "stat/stat.h"

/* The head of a WRITE lies at the end of the buffer's first page, so that its data is aligned. */
#define BUF_LEAD (4096u - PROTO_WRITE_HEAD)
/* Requests between two looks at the ring while more are there. */
#define REAP_EVERY 4u

struct worker {
	struct session *session;
	pthread_t thread;
	bool running;
	bool done;       /* atomic: the thread has left its loop */
	bool own_fd;
	bool nonblock;   /* the device's present mode */
	int fd;
	struct ring *ring;      /* NULL: none; every read is answered at once */
	struct req_later later;
	unsigned unreaped;      /* requests since the ring was looked at */
	bool readable;          /* with reads under way: more requests may be there */
	bool slept;             /* with reads under way: since the last request */
	u8 *buf;         /* buf_size(), page aligned */
	u8 *out;         /* REQ_OUT_SIZE */
	struct duty_share share;
	struct pace pace;
	struct follow follow;
};

struct session {
	struct front *front;
	int fd;
	unsigned nr;
	bool stopping;   /* atomic */
	bool ended;      /* atomic */
	struct duty duty;
	u64 followed;    /* atomic: the follow_mark() of the receiver that slept last */
	struct worker workers[];
};

static void on_wake(int sig)
{
	(void)sig;
}

/* Without SA_RESTART: read() returns EINTR. */
static void install_wake_signal(void)
{
	struct sigaction sa = { .sa_handler = on_wake };

	sigaction(SESSION_WAKE_SIGNAL, &sa, NULL);
}

static void session_set_ended(struct session *s)
{
	__atomic_store_n(&s->ended, true, __ATOMIC_RELEASE);
	front_wake(s->front);
}

/* Looks for a request for a while, without sleeping. */
static void worker_spin(struct worker *w)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	u64 spin_ns = pace_spin_ns(&w->pace, follow_bound(&w->follow), awake_crowded()), end;

	if (!spin_ns)
		return;
	end = now_ns() + spin_ns;
	do {
		if (poll(&p, 1, 0) != 0) {
			pace_spun(&w->pace, true);
			return;
		}
	} while (now_ns() < end);
	pace_spun(&w->pace, false);
}

/* Shared devices stay as they are. */
static void worker_set_nonblock(struct worker *w, bool on)
{
	if (w->nonblock == on)
		return;
	if (fcntl(w->fd, F_SETFL, O_RDWR | (on ? O_NONBLOCK : 0)) == 0)
		w->nonblock = on;
}

static size_t buf_size(const struct session *s)
{
	return FRONT_PAGE + front_max_bytes(s->front) + FRONT_PAGE;
}

/* Bytes read, 0 when interrupted or nothing is there, -errno when the connection is over. */
static ssize_t worker_read(struct worker *w)
{
	ssize_t n = read(w->fd, w->buf + BUF_LEAD, buf_size(w->session) - BUF_LEAD);

	if (n >= (ssize_t)sizeof(struct fuse_in_header))
		return n;
	if (n >= 0)
		return -EIO;
	/* ENOENT: the request was withdrawn before it was read. */
	if (errno == EINTR || errno == EAGAIN || errno == ENOENT)
		return 0;
	return -errno;
}

static int worker_send(struct req *rq, const struct iovec *iov, unsigned nr_iov, size_t len)
{
	return writev(rq->fd, iov, (int)nr_iov) == (ssize_t)len ? 0 : -errno;
}

static void worker_serve(struct worker *w, size_t len)
{
	const struct fuse_in_header *in = (const void *)(w->buf + BUF_LEAD);
	struct req rq = {
		.front = w->session->front, .send = worker_send, .fd = w->fd, .in = in,
		.arg = in + 1, .arg_len = len - sizeof(*in), .out = w->out,
		.later = w->ring ? &w->later : NULL,
	};
	u64 now = now_ns();
	bool queued = pace_received(&w->pace, now, len);

	/* With reads under way the time since the last answer is that of other answers. */
	if (w->later.nr)
		queued = !w->slept;
	w->slept = false;
	if (queued)
		duty_busy(&w->share);
	else
		duty_quiet(&w->share);
	awake_pace(&w->pace);
	stat_inc(STAT_REQUESTS_DEV);
	pace_answered(&w->pace, req_dispatch(&rq, now));
	/* Who waits for the disk is not met on a CPU of its caller's. */
	follow_request(&w->follow, in->pid, queued || rq.answered_later, now);
}

/* Before any sleep in the middle of a request. */
static void worker_sleeps(void *arg)
{
	struct worker *w = arg;

	if (w->share.on)
		__atomic_store_n(&w->session->followed, follow_mark(&w->follow), __ATOMIC_RELAXED);
	duty_hand_over(&w->share);
	ring_settle();
}

/* Only who has a device of its own may change its mode. */
static void worker_ring_init(struct worker *w)
{
	req_later_init(&w->later);
	if (!w->own_fd || ring_local(&w->ring))
		w->ring = NULL;
}

/* Whoever goes on in the place of a receiver that sleeps follows whom that one followed. */
static void worker_take_duty(struct worker *w)
{
	if (w->share.on)
		return;
	duty_take(&w->share);
	follow_adopt(&w->follow, __atomic_exchange_n(&w->session->followed, 0, __ATOMIC_RELAXED));
}

/* Waits for the next request; with reads under way also for the disk. As worker_read(). */
static ssize_t worker_next(struct worker *w)
{
	ssize_t n;

	if (!w->later.nr) {
		worker_take_duty(w);
		worker_set_nonblock(w, false);
		worker_spin(w);
		return worker_read(w);
	}
	if (!w->share.on) {
		ring_reap(w->ring, true);
		return 0;
	}
	if (!w->readable) {
		ring_reap_or_readable(w->ring, w->fd, &w->readable, &w->slept);
		return 0;
	}
	worker_set_nonblock(w, true);
	n = worker_read(w);
	w->readable = n > 0;
	return n;
}

/* Reads that the disk has brought; those just begun go to it. */
static void worker_settle(struct worker *w)
{
	if (!w->later.nr)
		return;
	if (++w->unreaped >= REAP_EVERY) {
		w->unreaped = 0;
		ring_reap(w->ring, false);
	}
	req_later_finish(&w->later, w->out);
}

static void worker_drain(struct worker *w)
{
	while (w->later.nr) {
		ring_reap(w->ring, true);
		req_later_finish(&w->later, w->out);
	}
}

static void worker_lost(struct worker *w, int err)
{
	if (err != -ENODEV && err != -ECONNABORTED)
		log_err("/dev/fuse: read failed: %s. Unmounting", err_text(err));
	session_set_ended(w->session);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct session *s = w->session;

	pthread_setname_np(pthread_self(), "folio-request");
	duty_join(&w->share, &s->duty);
	block_hook_set(worker_sleeps, w);
	worker_ring_init(w);
	pace_init(&w->pace, s->front->opts.poll_us);
	follow_init(&w->follow, s->front->opts.poll_us != 0);
	while (!__atomic_load_n(&s->stopping, __ATOMIC_ACQUIRE)) {
		ssize_t n = worker_next(w);

		if (n < 0) {
			worker_lost(w, (int)n);
			break;
		}
		if (n > 0)
			worker_serve(w, (size_t)n);
		worker_settle(w);
	}
	worker_drain(w);
	duty_leave(&w->share);
	follow_fini(&w->follow);
	block_hook_set(NULL, NULL);
	__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* A device of its own for the same mount, or the mount's. */
static void worker_open(struct worker *w)
{
	u32 master = (u32)w->session->fd;
	int fd = -1;

	w->fd = w->session->fd;
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, FUSE_DEV_IOC_CLONE, &master) == 0) {
		w->fd = fd;
		w->own_fd = true;
	} else if (fd >= 0) {
		close(fd);
	}
}

static int worker_start(struct worker *w)
{
	size_t len = buf_size(w->session);
	int err;

	w->buf = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w->buf == MAP_FAILED) {
		w->buf = NULL;
		return -ENOMEM;
	}
	w->out = malloc(REQ_OUT_SIZE);
	if (!w->out)
		return -ENOMEM;
	worker_open(w);
	err = pthread_create(&w->thread, NULL, worker_main, w);
	w->running = err == 0;
	return -err;
}

int session_new(struct front *fr, int fd, unsigned nr_threads, struct session **out)
{
	struct session *s = calloc(1, sizeof(*s) + nr_threads * sizeof(s->workers[0]));
	int err = 0;

	if (!s)
		return -ENOMEM;
	s->front = fr;
	s->fd = fd;
	s->nr = nr_threads;
	duty_init(&s->duty, (u32)sysconf(_SC_NPROCESSORS_ONLN));
	install_wake_signal();
	for (unsigned i = 0; i < nr_threads && !err; i++) {
		s->workers[i].session = s;
		err = worker_start(&s->workers[i]);
	}
	if (err) {
		session_stop(s);
		session_free(s);
		return err;
	}
	*out = s;
	return 0;
}

bool session_ended(const struct session *s)
{
	return __atomic_load_n(&s->ended, __ATOMIC_ACQUIRE);
}

void session_stop(struct session *s)
{
	const struct timespec pause = { .tv_nsec = 5000000 };

	__atomic_store_n(&s->stopping, true, __ATOMIC_RELEASE);
	duty_stop(&s->duty);
	for (unsigned i = 0; i < s->nr; i++) {
		struct worker *w = &s->workers[i];

		if (!w->running)
			continue;
		while (!__atomic_load_n(&w->done, __ATOMIC_ACQUIRE)) {
			pthread_kill(w->thread, SESSION_WAKE_SIGNAL);
			nanosleep(&pause, NULL);
		}
		pthread_join(w->thread, NULL);
		w->running = false;
	}
}

void session_free(struct session *s)
{
	for (unsigned i = 0; i < s->nr; i++) {
		struct worker *w = &s->workers[i];

		if (w->own_fd)
			close(w->fd);
		if (w->buf)
			munmap(w->buf, buf_size(s));
		free(w->out);
	}
	free(s);
}

unsigned session_threads(const struct session *s)
{
	return s->nr;
}

u64 session_memory(const struct session *s)
{
	return (u64)s->nr * (buf_size(s) + REQ_OUT_SIZE);
}
