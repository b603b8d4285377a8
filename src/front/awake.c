/*
 * Threads that keep CPUs from halting.
 *
 * Rules
 * 1. They run at SCHED_IDLE: any normal task that becomes runnable on their CPU takes it at once.
 *    This holds among tasks of one scheduling group, so there are none where processes are grouped
 *    (cpugroup.h).
 * 2. Where the machine is busy anyway nothing has to be kept awake, and a runnable thread of
 *    SCHED_IDLE still is in the way: client and server were seen to wait ten times as often with
 *    one beside twenty busy tasks. So the threads sleep for REST_MIN_NS, and longer each time,
 *    when as many tasks are runnable as there are CPUs (receivers look every LOOK_NS while
 *    requests flow), or when one of them finds that others had its CPU for CROWDED_NS.
 * 3. Past awake_until_ they sleep on it without a limit: an idle daemon wakes nobody.
 * 4. Under a CPU quota time spent here would be taken from requests: then there are none. That and
 *    groups may come later; they are looked for again when the threads start after a long rest.
 *
 * Locking: none; awake_until_ and the futex word are atomic. Threads are started and joined by the
 * main thread.
 */
#include "front/awake.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/time.h"
#include "front/cpugroup.h"

#define CROWDED_NS 200000u
#define LOOK_NS 5000000u
#define REST_MIN_NS 20000000u
#define REST_MAX_NS 1000000000u
#define PAUSES 64

u64 awake_until_;
u32 awake_crowded_;

static struct {
	unsigned nr;
	u32 sleeping;    /* atomic: threads that sleep or are about to */
	u32 calls;       /* atomic, futex: raised to wake them */
	u32 stopping;    /* atomic */
	u32 refused;     /* atomic: something forbids them */
	int loadavg_fd;
	unsigned cpus;
	u64 look_ns;     /* atomic: when to look at the machine again */
	u64 rest_ns;     /* atomic: how long the next rest is */
	pthread_t threads[AWAKE_THREADS_MAX];
} awake;

static u32 get(const u32 *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static bool wanted(u64 now)
{
	return __atomic_load_n(&awake_until_, __ATOMIC_SEQ_CST) > now && !get(&awake.stopping);
}

unsigned awake_runnable(const char *loadavg)
{
	const char *slash = strchr(loadavg, '/');

	while (slash && slash > loadavg && slash[-1] != ' ')
		slash--;
	return slash ? (unsigned)strtoul(slash, NULL, 10) : 0;
}

/* Others than our own threads use the CPUs; the caller is one of those that run. */
static bool machine_is_busy(void)
{
	u32 ours = awake.nr - MIN(get(&awake.sleeping), awake.nr);
	char line[64];
	ssize_t n = pread(awake.loadavg_fd, line, sizeof(line) - 1, 0);

	if (n <= 0)
		return false;
	line[n] = '\0';
	return awake_runnable(line) >= awake.cpus + ours;
}

/* Not before a while, twice as long as the last time. */
static void rest(u64 now)
{
	u64 ns = __atomic_load_n(&awake.rest_ns, __ATOMIC_RELAXED);

	__atomic_store_n(&awake.rest_ns, MIN_T(u64, 2 * ns, REST_MAX_NS), __ATOMIC_RELAXED);
	__atomic_store_n(&awake.look_ns, now + ns, __ATOMIC_RELAXED);
	__atomic_store_n(&awake_crowded_, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&awake_until_, 0, __ATOMIC_SEQ_CST);
}

/* May they be awake? Looks at the machine now and then. */
static bool look_around(u64 now)
{
	u64 ns;

	if (now < __atomic_load_n(&awake.look_ns, __ATOMIC_RELAXED))
		return __atomic_load_n(&awake_until_, __ATOMIC_RELAXED) != 0;
	if (machine_is_busy()) {
		rest(now);
		return false;
	}
	ns = __atomic_load_n(&awake.rest_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&awake.rest_ns, MAX_T(u64, ns / 2, REST_MIN_NS), __ATOMIC_RELAXED);
	__atomic_store_n(&awake.look_ns, now + LOOK_NS, __ATOMIC_RELAXED);
	__atomic_store_n(&awake_crowded_, 0, __ATOMIC_RELAXED);
	return true;
}

void awake_extend_(u64 now)
{
	if (awake.nr == 0 || get(&awake.refused) || !look_around(now))
		return;
	__atomic_store_n(&awake_until_, now + AWAKE_LINGER_NS, __ATOMIC_SEQ_CST);
	if (get(&awake.sleeping) == 0)
		return;
	__atomic_fetch_add(&awake.calls, 1, __ATOMIC_SEQ_CST);
	futex_wake(&awake.calls, INT32_MAX);
}

/* Until requests flow again. */
static void sleep_till_called(void)
{
	u32 calls;

	__atomic_fetch_add(&awake.sleeping, 1, __ATOMIC_SEQ_CST);
	calls = get(&awake.calls);
	while (!wanted(now_ns()) && !get(&awake.stopping)) {
		futex_wait(&awake.calls, calls, -1);
		calls = get(&awake.calls);
	}
	__atomic_fetch_sub(&awake.sleeping, 1, __ATOMIC_SEQ_CST);
}

/* While requests flow and nobody else needs the CPU. */
static void stay_awake(void)
{
	u64 last = now_ns(), now = last;

	while (wanted(now)) {
		for (int i = 0; i < PAUSES; i++)
			cpu_relax();
		now = now_ns();
		if (now - last > CROWDED_NS)
			rest(now);
		last = now;
	}
}

static bool is_forbidden(void)
{
	const char *why = cpugroup_forbids_idle();

	if (why && !__atomic_exchange_n(&awake.refused, 1, __ATOMIC_SEQ_CST))
		log_info("poll: CPUs are not kept awake: %s", why);
	return why != NULL;
}

static void *awake_main(void *arg)
{
	const struct sched_param none = { 0 };
	u64 looked = 0;

	if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &none))
		return arg;
	pthread_setname_np(pthread_self(), "folio-awake");
	while (!get(&awake.stopping) && !get(&awake.refused)) {
		sleep_till_called();
		if (now_ns() - looked > 10 * NS_PER_SEC) {
			if (is_forbidden())
				__atomic_store_n(&awake_until_, 0, __ATOMIC_SEQ_CST);
			looked = now_ns();
		} else {
			stay_awake();
		}
	}
	return arg;
}

int awake_start(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned want = (unsigned)MIN(MAX(cpus - 1, 0L), (long)AWAKE_THREADS_MAX);
	int err = 0;

	awake.cpus = (unsigned)MAX(cpus, 1L);
	awake.rest_ns = REST_MIN_NS;
	awake.loadavg_fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	if (want && is_forbidden())
		return 0;
	while (awake.nr < want && !err) {
		err = pthread_create(&awake.threads[awake.nr], NULL, awake_main, NULL);
		if (!err)
			awake.nr++;
	}
	return -err;
}

void awake_stop(void)
{
	__atomic_store_n(&awake.stopping, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&awake.calls, 1, __ATOMIC_SEQ_CST);
	futex_wake(&awake.calls, INT32_MAX);
	while (awake.nr)
		pthread_join(awake.threads[--awake.nr], NULL);
	if (awake.loadavg_fd > 0)
		close(awake.loadavg_fd);
}

unsigned awake_threads(void)
{
	return get(&awake.refused) ? 0 : awake.nr;
}
