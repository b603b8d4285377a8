/*
 * Who receives requests.
 *
 * Handing a request to a thread that sleeps on another CPU costs more than serving it. So as few
 * threads as possible receive: one, or as many as there are CPUs while requests queue up. A
 * receiver that is about to sleep inside a request (disk, lock, commit) hands its duty to a parked
 * thread first, so requests never wait behind one that waits; when its request is done it
 * takes the duty up again if nobody has it, or parks.
 */
#ifndef FOLIOFS_FRONT_DUTY_H
#define FOLIOFS_FRONT_DUTY_H

#include "base/types.h"

struct duty {
	u32 receiving;   /* atomic: threads on duty */
	u32 parked;      /* atomic: threads in duty_park() */
	u32 tokens;      /* atomic, futex: parked threads that have been called */
	u32 stopping;    /* atomic: nobody parks any more */
	u32 max;         /* receivers at most */
};

/* One thread's share. */
struct duty_share {
	struct duty *duty;
	bool on;         /* this thread receives */
	u32 streak;      /* requests that were there without waiting */
	u32 idle;        /* times in a row that one had to be waited for, with others on duty */
};

void duty_init(struct duty *d, u32 max_receivers);
/* The calling thread joins, not on duty. */
void duty_join(struct duty_share *s, struct duty *d);
/* It is about to sleep in the middle of a request. Any lock may be held. */
void duty_hand_over(struct duty_share *s);
void duty_leave(struct duty_share *s);
/* Returns when this thread is on duty, or when duty_stop() was called. */
void duty_take(struct duty_share *s);
/* A request was received that was there: with many in a row, one more receiver is called. */
void duty_busy(struct duty_share *s);
/*
 * A request was received that had to be waited for: where this happens again and again and others
 * are on duty, this thread goes off it (and serves what it has received).
 */
void duty_quiet(struct duty_share *s);
void duty_stop(struct duty *d);

#endif
