/*
 * Telling that this thread is about to sleep.
 *
 * Whatever may wait for a disk or for another thread calls block_announce() just before it
 * sleeps. A
 * thread that has a duty others depend on (receiving requests) sets a hook and hands the duty
 * over in it. The hook may be called with any lock held: it takes none and does not sleep.
 */
#ifndef BASE_BLOCK_H
#define BASE_BLOCK_H

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

static inline void block_announce(void)
{
	if (block_hook_)
		block_hook_(block_hook_arg_);
}

#endif
