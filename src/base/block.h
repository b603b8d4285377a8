/*
 * Telling that this thread is about to sleep, and for how long it did.
 *
 * Whatever may wait for a disk or for another thread calls block_announce() just before it
 * sleeps. A
 * thread that has a duty others depend on (receiving requests) sets a hook and hands the duty
 * over in it. The hook may be called with any lock held: it takes none and does not sleep.
 */
#ifndef BASE_BLOCK_H
#define BASE_BLOCK_H

#include "base/time.h"
#include "base/types.h"

typedef void (*block_hook_fn)(void *arg);

extern __thread block_hook_fn block_hook_;
extern __thread void *block_hook_arg_;

/* For this thread; NULL takes it away. */
static inline void block_hook_set(block_hook_fn fn, void *arg)
{
	block_hook_ = fn;
	block_hook_arg_ = arg;
}

/* Would block_announce() tell somebody? */
static inline bool block_is_told(void)
{
	return block_hook_ != NULL;
}

static inline void block_announce(void)
{
	if (block_hook_)
		block_hook_(block_hook_arg_);
}

/* What was waited for: a device, or another thread (locks, conditions, folios). */
enum block_kind { BLOCK_DISK, BLOCK_OTHERS, BLOCK_KINDS };

/* Time that this thread has slept; whoever serves a request sets it to zero first. */
extern __thread u64 block_ns_[BLOCK_KINDS];

/* Around a sleep: announces it, and returns the clock for block_end(). */
static inline u64 block_begin(void)
{
	block_announce();
	return now_ns();
}

static inline void block_end(enum block_kind kind, u64 began_ns)
{
	block_ns_[kind] += now_ns() - began_ns;
}

static inline void block_clear(void)
{
	block_ns_[BLOCK_DISK] = block_ns_[BLOCK_OTHERS] = 0;
}

static inline u64 block_ns(enum block_kind kind)
{
	return block_ns_[kind];
}

#endif
