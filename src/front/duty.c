/*
 * Receivers and parked threads.
 *
 * Rules
 * 1. While any thread is neither on duty nor inside a request, it is parked.
 * 2. A receiver goes off duty only if another is on, or has been called, or nobody is parked: then
 *    all threads are inside requests, and the first that ends its own takes the duty.
 * 3. Two threads may take the duty at once: one too many for a moment does no harm, duty_quiet()
 *    finds it.
 *
 * Locking: atomics only, since duty is handed over with any lock held.
 */
#include "front/duty.h"

#include <stdint.h>

#include "base/futex.h"

#define STREAK_CALLS 8u   /* requests in a row without waiting that call another receiver */
#define IDLE_PARKS 4u     /* waits in a row that send one of several away */

static u32 get(const u32 *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void add(u32 *p, u32 n)
{
	__atomic_fetch_add(p, n, __ATOMIC_SEQ_CST);
}

/* Take one if there is one. */
static bool take_one(u32 *p, u32 keep)
{
	u32 n = get(p);

	while (n > keep)
		if (__atomic_compare_exchange_n(p, &n, n - 1, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return true;
	return false;
}

void duty_init(struct duty *d, u32 max_receivers)
{
	*d = (struct duty){ .max = max_receivers };
}

/* Call one parked thread; the token waits for it. */
static void call_one(struct duty *d)
{
	if (get(&d->parked) <= get(&d->tokens))
		return;
	add(&d->tokens, 1);
	futex_wake(&d->tokens, 1);
}

void duty_hand_over(struct duty_share *s)
{
	struct duty *d = s->duty;

	if (!s->on)
		return;
	s->on = false;
	if (__atomic_sub_fetch(&d->receiving, 1, __ATOMIC_SEQ_CST) == 0)
		call_one(d);
}

static void go_on(struct duty_share *s)
{
	s->on = true;
	s->streak = s->idle = 0;
	add(&s->duty->receiving, 1);
}

void duty_join(struct duty_share *s, struct duty *d)
{
	*s = (struct duty_share){ .duty = d };
}

void duty_leave(struct duty_share *s)
{
	duty_hand_over(s);
}

static void park(struct duty_share *s)
{
	struct duty *d = s->duty;

	add(&d->parked, 1);
	/* Whoever went off duty just now may not have seen this thread parked. */
	/* The token first: if the one it was for left it, nobody else would be called. */
	while (!take_one(&d->tokens, 0) && get(&d->receiving) > 0 && !get(&d->stopping))
		futex_wait(&d->tokens, 0, -1);
	__atomic_fetch_sub(&d->parked, 1, __ATOMIC_SEQ_CST);
}

void duty_take(struct duty_share *s)
{
	if (s->on)
		return;
	if (get(&s->duty->receiving) > 0)
		park(s);
	go_on(s);
}

void duty_busy(struct duty_share *s)
{
	s->idle = 0;
	if (++s->streak % STREAK_CALLS == 0 && get(&s->duty->receiving) < s->duty->max)
		call_one(s->duty);
}

void duty_quiet(struct duty_share *s)
{
	s->streak = 0;
	if (get(&s->duty->receiving) <= 1 || ++s->idle < IDLE_PARKS)
		return;
	if (take_one(&s->duty->receiving, 1))
		s->on = false;
}

void duty_stop(struct duty *d)
{
	__atomic_store_n(&d->stopping, 1, __ATOMIC_SEQ_CST);
	add(&d->tokens, 1);
	futex_wake(&d->tokens, INT32_MAX);
}
