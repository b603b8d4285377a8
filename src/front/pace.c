/*
 * Pace and spinning.
 *
 * Rules
 * 1. A spin costs at most PACE_SPIN_AUTO_NS (or what the option says) and is tried where the mean
 *    wait was shorter than that. One in vain stops the next REST_MIN waits from spinning, two in a
 *    row twice as many, and so on: so spins in vain take less than a tenth of the time at worst,
 *    and next to nothing where they never pay.
 * 2. Where caller and receiver share a CPU a spin keeps the caller from running: none. Nor where
 *    all CPUs have something to run, unless a length was asked for.
 */
#include "front/pace.h"

#include <stdint.h>

/* Two changes of thread take longer than this, reading a request that is there does not. */
#define THERE_NS 2000u
#define REST_MIN 16u
#define FAILS_MAX 8u
#define MEAN_SHIFT 4
/* Means forget a long silence quickly. */
#define SAMPLE_MAX_NS 2000000u

void pace_init(struct pace *p, u64 poll_us)
{
	*p = (struct pace){ .interval_ns = SAMPLE_MAX_NS, .wait_ns = SAMPLE_MAX_NS };
	p->spin_always = poll_us && poll_us != UINT64_MAX;
	p->spin_max_ns = poll_us == UINT64_MAX ? PACE_SPIN_AUTO_NS : poll_us * 1000;
}

static void mean_add(u64 *mean, u64 sample)
{
	sample = MIN_T(u64, sample, SAMPLE_MAX_NS);
	*mean += (sample >> MEAN_SHIFT) - (*mean >> MEAN_SHIFT);
}

bool pace_received(struct pace *p, u64 now_ns, size_t len)
{
	u64 waited = now_ns - p->done_ns;

	mean_add(&p->interval_ns, now_ns - p->last_ns);
	mean_add(&p->wait_ns, waited);
	p->last_ns = now_ns;
	/* Copying a long request in takes its time too: 8 bytes a nanosecond. */
	return waited < THERE_NS + len / 8;
}

void pace_answered(struct pace *p, u64 now_ns)
{
	p->done_ns = now_ns;
}

u64 pace_spin_ns(struct pace *p, bool shared, bool crowded)
{
	if (!p->spin_max_ns || shared)
		return 0;
	if (p->spin_always)
		return p->spin_max_ns;
	if (crowded || p->wait_ns > p->spin_max_ns)
		return 0;
	if (p->spin_rest) {
		p->spin_rest--;
		return 0;
	}
	return p->spin_max_ns;
}

void pace_spun(struct pace *p, bool found)
{
	if (found) {
		p->spin_fails = 0;
		return;
	}
	p->spin_fails = MIN(p->spin_fails + 1, FAILS_MAX);
	p->spin_rest = REST_MIN << (p->spin_fails - 1);
}
