/*
 * Threads that keep CPUs from halting.
 *
 * Rules
 * 1. They run at SCHED_IDLE: any normal task that becomes runnable on their CPU takes it at once.
 * 2. A thread that finds that others ran on its CPU for more than CROWDED_NS goes away for REST_NS:
 *    where CPUs are busy anyway nothing has to be kept awake, and even the three thousandth part of
 *    a CPU that SCHED_IDLE has beside a busy task is not taken.
 * 3. Past awake_until_ they sleep on it without a limit: an idle daemon wakes nobody.
 * 4. Under a CPU quota time spent here would be taken from requests: then there are none. The
 *    quota may be set later; it is looked for again each time that they start after a long rest.
 *
 * Locking: none; awake_until_ and the futex word are atomic. Threads are started and joined by the
 * main thread.
 */
#include "front/awake.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <unistd.h>

#include "base/err.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/time.h"
#include "front/quota.h"

#define CROWDED_NS 200000u
#define REST_NS 5000000u
#define PAUSES 64

u64 awake_until_;

static struct {
	unsigned nr;
	u32 sleeping;    /* atomic: threads that sleep or are about to */
	u32 calls;       /* atomic, futex: raised to wake them */
	u32 stopping;    /* atomic */
	u32 refused;     /* atomic: a quota was found */
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

void awake_wake_(void)
{
	if (get(&awake.sleeping) == 0 || get(&awake.refused))
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

/* True while requests flow; false when the CPU was needed by others meanwhile. */
static bool stay_awake(void)
{
	u64 last = now_ns(), now = last;

	while (wanted(now)) {
		for (int i = 0; i < PAUSES; i++)
			cpu_relax();
		now = now_ns();
		if (now - last > CROWDED_NS)
			return false;
		last = now;
	}
	return true;
}

static void look_for_quota(void)
{
	if (!quota_present() || __atomic_exchange_n(&awake.refused, 1, __ATOMIC_SEQ_CST))
		return;
	log_info("poll: CPUs are not kept awake: this control group has a CPU quota");
	__atomic_store_n(&awake_until_, 0, __ATOMIC_SEQ_CST);
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
			look_for_quota();
			looked = now_ns();
		} else if (!stay_awake()) {
			sleep_ns(REST_NS);
		}
	}
	return arg;
}

int awake_start(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned want = (unsigned)MIN(MAX(cpus - 1, 0L), (long)AWAKE_THREADS_MAX);
	int err = 0;

	if (want && quota_present()) {
		log_info("poll: CPUs are not kept awake: this control group has a CPU quota");
		return 0;
	}
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
}

unsigned awake_threads(void)
{
	return get(&awake.refused) ? 0 : awake.nr;
}
