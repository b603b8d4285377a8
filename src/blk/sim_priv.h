/* What the two files of the simulated device share. */
#ifndef BLK_SIM_PRIV_H
#define BLK_SIM_PRIV_H

#include "blk/blk_priv.h"
#include "blk/sim.h"

/*
 * The content of a device: a pointer for each sector. A page is one of
 *   - NULL: zeroes;
 *   - foreign: the data of a recorded event of this or an older device, never written;
 *   - own: allocated by this device (bit in `owned`) and written in place; not while it records.
 */
struct sim_pages {
	const u8 **page;
	u64 *owned;
	u64 sectors;
};

struct sim_dev {
	struct blk_dev dev;
	struct mutex lock;              /* everything below */
	struct sim_pages now;
	bool record;
	const u8 **start;               /* content before event 0, if it records */
	u8 **kept;                      /* pages that only start may still point at */
	size_t nr_kept;
	struct sim_event *events;
	size_t nr_events;
	size_t max_events;
	u64 *mixed;                     /* see sim_mixed() */
	size_t nr_mixed;
};

/* It changes the content, and only a flush makes it durable. */
static inline bool sim_is_volatile(const struct sim_event *ev)
{
	return (ev->kind == SIM_WRITE && !ev->durable) || ev->kind == SIM_DISCARD;
}

/* Adds an event that was not made by a request: its data and text become the device's. -ENOMEM */
int sim_push(struct sim_dev *s, const struct sim_event *ev);

struct sim_dev *sim_of(struct blk_dev *dev);

/* Content: `page` (the pointers are copied; NULL: zeroes). It does not record. */
int sim_make(u64 sectors, u32 logical_size, const u8 *const *page, struct sim_dev **out);
/* From now on it records. */
int sim_start_recording(struct sim_dev *s);

/* A page of one's own in place of page i, with its content; NULL without memory. */
u8 *sim_pages_own(struct sim_pages *p, u64 i);
/* Replaces page i by foreign data (NULL: zeroes). */
void sim_pages_point(struct sim_pages *p, u64 i, const u8 *data);
bool sim_pages_is_own(const struct sim_pages *p, u64 i);
size_t sim_pages_nr_own(const struct sim_pages *p);

#endif
