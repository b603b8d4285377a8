/*
 * A small world on the journal, for crash tests: accounts in map sectors between which handles move
 * money, and nodes that come, go, and whose places are used for data in between.
 *
 * Every handle raises the counter in account 0 and the whole state after it is kept, so a recovered
 * image says which state it claims to be, and can be compared with it.
 */
#ifndef TESTS_JOURNAL_BANK_H
#define TESTS_JOURNAL_BANK_H

#include "journal/journal.h"

#define BANK_SECTORS 10u
#define BANK_SLOTS 900u
#define BANK_NODES 24u
#define BANK_STEPS_MAX 4000u

struct bank_state {
	u32 money[BANK_SECTORS];
	u64 node[BANK_NODES];      /* stamp of the node at this place; 0 = none */
};

struct bank_data {                 /* data written to the place of a freed node */
	unsigned place;
	u64 stamp;
	size_t durable_at;         /* events after which it must be there */
	size_t gone_at;            /* events at which the place became a node again; SIZE_MAX */
};

struct bank {
	struct blk_dev *dev;
	struct fmt_geo geo;
	struct jnl *j;
	u64 seed;
	unsigned steps;            /* handles run */
	u64 last_seq;
	struct bank_state state[BANK_STEPS_MAX + 1];
	size_t step_at[BANK_STEPS_MAX + 1];   /* events when the handle had been published */
	unsigned nr_durable;       /* (events, step) pairs: what a commit promised */
	struct { size_t at; unsigned step; } durable[BANK_STEPS_MAX];
	unsigned nr_data;
	struct bank_data data[BANK_STEPS_MAX];
};

/* A cache, a recorded device of 48 MiB, and a bank that is open on it; nothing is said. */
struct bank *bank_new(u64 seed);
/* Closes and frees all three. */
void bank_free(struct bank *b);
u64 bank_random(struct bank *b);
#define BANK_STAMP_AT (NODE_SIZE - 64u)  /* in a node: its one value */
/* In a handle: a new node at this place, with this value. */
int bank_put_node(struct view *v, u64 at, u64 stamp);
/* Formats dev and opens the journal on it. */
void bank_format(struct bank *b, struct blk_dev *dev, u64 seed);
int bank_open(struct bank *b);
/* One random handle; now and then a commit, a checkpoint, or data in a freed place. */
int bank_step(struct bank *b);
int bank_commit(struct bank *b);
/*
 * Recover dev, which is an image of b->dev after `events` events, and compare. NULL when it is some
 * state that was promised, else what is wrong (static text).
 */
const char *bank_verify(const struct bank *b, struct blk_dev *dev, size_t events);

#endif
