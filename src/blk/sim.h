#ifndef BLK_SIM_H
#define BLK_SIM_H

#include "blk/blk.h"

/*
 * The crash simulator's device: memory that remembers everything that was done to it, in order,
 * and can be asked what the disk might hold after a crash at any point.
 *
 * Events are numbered from 0. "After n events" means that events 0 .. n-1 have happened. A write
 * is one event, recorded at its completion together with a copy of its data.
 *
 * What a crash may leave (the model of a disk with a volatile cache):
 *   - every write before the last flush of the first n events, and every durable one among them:
 *     whole;
 *   - of the other writes after it, any subset; of two that overlap, either may have come last (but
 *     not one before a durable write that overlaps it);
 *   - if event n is a durable write, that too: it was under way;
 *   - each of them perhaps in part: any subset of its 512 B or 4 KiB units.
 *
 * Images share the recorded data, so making one costs a copy of a table of pointers (8 bytes a
 * sector), not of the device. Close all images before the device they were made from.
 */

struct sim_opts {
	u64 sectors;
	u32 logical_size;       /* 512 or 4096; 0 means 512 */
	bool record;            /* false: only a small, cheap memory device */
	bool fua;               /* it has writes that are durable by themselves */
};

int sim_open(const struct sim_opts *opts, struct blk_dev **out);

enum sim_kind { SIM_WRITE, SIM_FLUSH, SIM_DISCARD, SIM_MARK };

struct sim_event {
	enum sim_kind kind;
	enum blk_kind what;     /* SIM_WRITE */
	bool durable;           /* SIM_WRITE with FUA */
	u64 sector;             /* SIM_WRITE, SIM_DISCARD */
	u64 nr;
	u64 mark;               /* SIM_MARK */
	const u8 *data;         /* SIM_WRITE; belongs to the device */
	const char *text;       /* SIM_MARK out of a block log, else NULL; the same */
};

/*
 * A recording device with the content of an image file and the events of a block log that was
 * taken from then on (blk/dmlog.h): what a real daemon did, cut into crash images.
 * -EINVAL no such log; -EOPNOTSUPP one with requests that are no whole sectors.
 */
int sim_load(const char *image, const char *log, struct blk_dev **out);

/* Puts a mark into the stream: "operation id has returned". Nothing if it does not record. */
void sim_mark(struct blk_dev *dev, u64 id);

size_t sim_nr_events(struct blk_dev *dev);
struct sim_event sim_event_get(struct blk_dev *dev, size_t index);

/* Number of events up to and with the last flush among the first n; 0 if there is none. */
size_t sim_last_flush(struct blk_dev *dev, size_t n);

/* Writes and discards that are not durable after n events. */
size_t sim_unflushed(struct blk_dev *dev, size_t n);

enum sim_cut {
	SIM_PREFIX,     /* exactly the first n events */
	SIM_RANDOM,     /* a pseudo-random subset of the unflushed ones, from seed */
	SIM_SUBSET,     /* unflushed event i is kept if bit i of subset is set; i >= 64 is lost */
};

struct sim_spec {
	size_t events;          /* n */
	enum sim_cut cut;
	u64 seed;               /* SIM_RANDOM, tear, permute */
	u64 subset;             /* SIM_SUBSET */
	/* 0, 512 or 4096: kept writes may lack such units (SIM_PREFIX: the newest of them) */
	u32 tear;
	bool permute;           /* kept events are applied in pseudo-random order */
};

/*
 * Makes images of one device. It remembers the last flushed state, so asking for growing n is
 * cheap. One thread per cutter; several cutters may work on one device at once, if nobody writes
 * to it meanwhile.
 */
struct sim_cutter;

int sim_cutter_new(struct blk_dev *dev, struct sim_cutter **out);
void sim_cutter_free(struct sim_cutter *c);

/*
 * The disk after a crash as a new device, to be mounted; with `record` it records again (a crash
 * during recovery). The same spec gives the same image.
 */
int sim_image(struct sim_cutter *c, const struct sim_spec *spec, bool record, struct blk_dev **out);

/*
 * The sectors of an image that were mixtures when it was made: units of several contents, and the
 * whole neither what was flushed there nor what any write brought. The image keeps the array.
 */
size_t sim_mixed(struct blk_dev *image, const u64 **sectors);

#endif
