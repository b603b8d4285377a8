/*
 * A receiver that follows its caller: while one thread of a program makes request after request,
 * the receiver is kept on the CPU on which that thread runs. Waking a thread on the own CPU costs
 * a tenth of waking one elsewhere.
 */
#ifndef FOLIOFS_FRONT_FOLLOW_H
#define FOLIOFS_FRONT_FOLLOW_H

#include <sched.h>

#include "base/types.h"

struct follow {
	bool on;         /* by the mount option, and there is more than one CPU */
	cpu_set_t all;   /* those that this thread may use */
	int cpu;         /* bound to this one, -1: to none */
	u32 pid;         /* the caller of the last requests */
	u32 same;        /* how many came from it in a row */
	u32 others;      /* requests since then that speak against it */
	u32 looks;       /* how often it was looked where the caller runs */
	u64 looked_ns;
	u64 look_ns;     /* how long after that again */
};

void follow_init(struct follow *f, bool on);
/*
 * A request of pid (0: of the kernel) was received; queued: nobody had to wait for it, or it waits
 * for the disk.
 */
void follow_request(struct follow *f, u32 pid, bool queued, u64 now_ns);
/*
 * Whom it follows, or counts the requests of; 0: nobody. In the thread that goes on in its place
 * follow_adopt() makes it follow the same.
 */
u64 follow_mark(const struct follow *f);
void follow_adopt(struct follow *f, u64 mark);
/* The thread ends. */
void follow_fini(struct follow *f);
/* The CPU on which a thread runs or ran last, -errno. */
int follow_cpu_of(u32 pid);

static inline bool follow_bound(const struct follow *f)
{
	return f->cpu >= 0;
}

#endif
