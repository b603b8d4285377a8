/*
 * A set of small numbers that finds its lowest member at once: a bitmap with a bit above every 64
 * bits that says whether any of them is set, and so on up to one word. The allocator keeps one for
 * the free blocks of each order, so that it can always take the lowest address.
 *
 * Not thread-safe; the allocator's lock protects it.
 */
#ifndef MEM_FREEMAP_H
#define MEM_FREEMAP_H

#include "base/types.h"

#define FREEMAP_LEVELS 6 /* 64^6 members: more than there are frames */

struct freemap {
	u64 *level[FREEMAP_LEVELS]; /* [0] has a bit for each number, the last used is one word */
	unsigned nr_levels;
	u32 nr;                     /* numbers 0..nr-1 */
	u32 count;                  /* members */
};

int freemap_init(struct freemap *fm, u32 nr); /* -ENOMEM */
void freemap_fini(struct freemap *fm);
void freemap_set(struct freemap *fm, u32 n);
void freemap_clear(struct freemap *fm, u32 n);
bool freemap_test(const struct freemap *fm, u32 n); /* false beyond the end */
u32 freemap_first(const struct freemap *fm);        /* the set must not be empty */
u64 freemap_bytes(const struct freemap *fm);

#endif
