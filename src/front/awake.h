/*
 * Keeping the CPUs awake while requests flow.
 *
 * A CPU that has halted takes longer to wake than a request takes to serve. While requests come
 * close together, threads of idle priority (SCHED_IDLE) keep the other CPUs from halting; the
 * scheduler then also sees no idle CPU to spread caller and server over.
 */
#ifndef FOLIOFS_FRONT_AWAKE_H
#define FOLIOFS_FRONT_AWAKE_H

#include "base/types.h"
#include "front/pace.h"

/* Requests closer together than this, on average, make it pay. */
#define AWAKE_INTERVAL_NS 250000u
/* It stops this long after the last request at the latest. */
#define AWAKE_LINGER_NS 2000000u
/* Threads: one for each CPU but one, at most this many. */
#define AWAKE_THREADS_MAX 3u

/* No threads on a machine with one CPU, or where cpugroup.h forbids them, which is logged. */
int awake_start(void);
void awake_stop(void);
/* For the log and tests. */
unsigned awake_threads(void);

/*
 * As many tasks were runnable as there are CPUs, when it was looked last (every few milliseconds
 * while requests flow, but see rule 2): who waits should leave its CPU to them.
 */
extern u32 awake_crowded_;
static inline bool awake_crowded(void)
{
	return __atomic_load_n(&awake_crowded_, __ATOMIC_RELAXED) != 0;
}

/* For awake_pace(): until when, atomic. 0: asleep. */
extern u64 awake_until_;
void awake_extend_(u64 now_ns);

/* Tasks that are runnable now on the whole machine, from a line of /proc/loadavg; 0: unknown. */
unsigned awake_runnable(const char *loadavg);

/* A request was received: keeps the CPUs awake for a while if the receiver's pace makes it pay. */
static inline void awake_pace(const struct pace *p)
{
	u64 until = __atomic_load_n(&awake_until_, __ATOMIC_RELAXED);

	if (p->interval_ns > AWAKE_INTERVAL_NS || until > p->last_ns + AWAKE_LINGER_NS / 2)
		return;
	awake_extend_(p->last_ns);
}

#endif
