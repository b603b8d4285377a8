/*
 * The pace of requests that one thread receives, and what follows from it: whether to spin for the
 * next one before sleeping. Decisions are functions of the clock readings given; nothing here reads
 * a clock or sleeps.
 */
#ifndef FOLIOFS_FRONT_PACE_H
#define FOLIOFS_FRONT_PACE_H

#include "base/types.h"

/* poll=auto: a spin is never longer than this. */
#define PACE_SPIN_AUTO_NS 20000u

struct pace {
	u64 last_ns;        /* when the last request was received */
	u64 done_ns;        /* when it was answered */
	u64 interval_ns;    /* mean time from one to the next, of the last sixteen or so */
	u64 wait_ns;        /* mean time that the thread had to wait for one */
	u64 spin_max_ns;    /* by the mount option */
	u32 spin_rest;      /* requests that are waited for without spinning */
	u32 spin_fails;     /* spins in a row that were in vain */
	bool spin_always;   /* poll=USEC: not only where it was seen to pay */
};

/* poll_us: 0 off, UINT64_MAX auto, else the length of a spin. */
void pace_init(struct pace *p, u64 poll_us);
/*
 * A request of len bytes was received at now_ns. True: it was there already, nobody had to wait for
 * it (judged by the time since the last answer: two changes of thread take longer).
 */
bool pace_received(struct pace *p, u64 now_ns, size_t len);
void pace_answered(struct pace *p, u64 now_ns);
/*
 * How long to spin for the next request, 0: not at all. shared: the caller needs this CPU; crowded:
 * others do.
 */
u64 pace_spin_ns(struct pace *p, bool shared, bool crowded);
/* How the spin ended. */
void pace_spun(struct pace *p, bool found);

#endif
