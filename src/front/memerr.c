/*
 * The handler of SIGBUS, and the thread that puts in order what it reports.
 *
 * 1. The handler only marks the frames and wakes the thread; both are safe in any place of the
 *    program. The thread that came upon the frame itself leaves the guarded copy that it is in.
 * 2. What is not in the arena, or was accessed outside such a copy (metadata by the journal or the
 *    trees), can't be gone on from: the daemon ends, and what was durable is safe.
 * 3. The kernel is asked to tell of errors as soon as it knows them (PR_MCE_KILL_EARLY), not when
 *    somebody comes upon them: then the thread is mostly there first.
 * 4. Frames that can't be dealt with now (their folio is on its way out, memory is short) are
 *    looked at again every RETRY_MS.
 */
#include "front/memerr.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "cache/cache.h"
#include "mem/bad.h"
#include "stat/stat.h"

#define RETRY_MS 100
#define DIE_WITHIN_S 5

static struct {
	pthread_t thread;
	int event_fd;
	bool running;
	bool stop;              /* atomic */
	u32 nr_signals;         /* atomic */
	struct sigaction old;
} memerr = { .event_fd = -1 };

/* ---- in the handler ---- */

static bool is_memory_error(const siginfo_t *si)
{
	return si->si_code == BUS_MCEERR_AO || si->si_code == BUS_MCEERR_AR;
}

/* The message may need a lock that this thread holds: then the alarm ends it without one. */
NORETURN static void die(const siginfo_t *si)
{
	signal(SIGBUS, SIG_DFL);
	signal(SIGALRM, SIG_DFL);
	alarm(DIE_WITHIN_S);
	log_err("%s at %p, %s: can't go on; what was durable is safe",
		is_memory_error(si) ? "memory error" : "bus error", si->si_addr,
		mem_is_bad(si->si_addr, 1) ? "in the cache, in use" : "outside of the cache");
	abort();
}

static void on_sigbus(int sig UNUSED, siginfo_t *si, void *context)
{
	int saved = errno;

	if (!is_memory_error(si) || !mem_note_error(si->si_addr, (unsigned)si->si_addr_lsb))
		die(si);
	__atomic_add_fetch(&memerr.nr_signals, 1, __ATOMIC_RELAXED);
	eventfd_write(memerr.event_fd, 1);
	errno = saved;
	if (si->si_code == BUS_MCEERR_AO)
		return;
	mem_guard_leave(context);
	die(si);
}

/* ---- in the thread ---- */

static void count_new(u32 *seen)
{
	u32 now = __atomic_load_n(&memerr.nr_signals, __ATOMIC_RELAXED);

	if (now == *seen)
		return;
	log_warn("memory error in the cache: %u since the last message", now - *seen);
	stat_add(STAT_MEMORY_ERRORS, now - *seen);
	*seen = now;
}

static void *memerr_main(void *arg UNUSED)
{
	struct pollfd p = { .fd = memerr.event_fd, .events = POLLIN };
	u32 seen = 0, left = 0;
	eventfd_t n;

	work_begin(WORK_MEMORY, CORRUPT_NO_INO);
	while (!__atomic_load_n(&memerr.stop, __ATOMIC_ACQUIRE)) {
		poll(&p, 1, left ? RETRY_MS : -1);
		(void)eventfd_read(memerr.event_fd, &n);
		count_new(&seen);
		left = mem_any_bad() ? cache_mend_memory() : 0;
	}
	return NULL;
}

/* ---- life ---- */

int memerr_start(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	int err;

	memerr.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (memerr.event_fd < 0)
		return -errno;
	memerr.stop = false;
	err = -pthread_create(&memerr.thread, NULL, memerr_main, NULL);
	if (err) {
		close(memerr.event_fd);
		memerr.event_fd = -1;
		return err;
	}
	memerr.running = true;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGBUS, &sa, &memerr.old);
	if (prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0))
		log_debug("memory errors are told only when they are come upon: %s",
			  err_text(-errno));
	return 0;
}

void memerr_stop(void)
{
	if (!memerr.running)
		return;
	sigaction(SIGBUS, &memerr.old, NULL);
	__atomic_store_n(&memerr.stop, true, __ATOMIC_RELEASE);
	eventfd_write(memerr.event_fd, 1);
	pthread_join(memerr.thread, NULL);
	close(memerr.event_fd);
	memerr.event_fd = -1;
	memerr.running = false;
}
