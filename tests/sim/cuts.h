/* The images of a world: which are made, and what is said when one is wrong. */
#ifndef TESTS_SIM_CUTS_H
#define TESTS_SIM_CUTS_H

#include "world.h"

enum {
	CUT_PREFIX = 1,         /* exactly the events so far */
	CUT_ORDER = 2,          /* what was not flushed: some of it, in any order */
	CUT_TORN_512 = 4,       /* the same, and torn in units of 512 bytes or 4 KiB */
	CUT_TORN_4K = 8,
	CUT_ALL = 15,
	CUT_ONE = 16,           /* one of these, by the seed and the event */
};

struct cuts {
	unsigned kinds;
	size_t only;            /* this event alone; 0 = all */
	u64 images;
	size_t event;           /* the newest that was tried */
	char what[400];         /* what is wrong */
};

/* All events from `from` on. False, and what and event, when an image is wrong. */
bool cuts_try(struct cuts *t, struct world *w, size_t from);
/* The recovery of one image of this event is recorded and cut at each of its own events. */
bool cuts_try_recovery(struct cuts *t, struct world *w, size_t event);

/* Cache and log for a process that makes images; WORLD_LOG=1 shows what the file system says. */
void cuts_setup(void);
void cuts_done(const struct cuts *t, const char *what);        /* prints the count */
/* A number from the environment. */
u64 cuts_env(const char *name, u64 fallback);

#endif
