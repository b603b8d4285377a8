/*
 * A file for tests of iomap: block maps and the sector map are arrays in memory, data lies on a
 * real device. What a test must know it can count or look at.
 */
#ifndef TESTS_IOMAP_FAKEFILE_H
#define TESTS_IOMAP_FAKEFILE_H

#include "base/lock.h"
#include "iomap/iomap.h"

#define FAKE_SECTORS 2048u              /* longest file: 8 MiB */
#define FAKE_DISK_SECTORS 8192u
#define FAKE_INLINE_MAX 2048u

enum fake_state { FAKE_HOLE, FAKE_DELALLOC, FAKE_MAPPED };

struct fakefile {
	struct iomap_file file;         /* first */
	struct mutex lock;              /* the arrays below */
	u8 state[FAKE_SECTORS];
	u64 disk[FAKE_SECTORS];
	u32 entry[FAKE_DISK_SECTORS];   /* sector map */
	u64 said[FAKE_DISK_SECTORS];    /* by which announcement, 0 = none */
	u32 block;                      /* sectors; allocation unit */
	bool scatter;                   /* every block elsewhere, else one after another */
	bool inl;
	u8 inline_data[SECTOR_SIZE];
	u32 inline_len;
	int inline_error;               /* of inline_write */
	u64 seq;
	u64 next_disk;
	u64 reserve_max;                /* sectors that may be reserved or placed; then -ENOSPC */
	u64 used;
	/* counts */
	bool no_memory;         /* write_begin fails */
	u64 ends_due;           /* by write_begin, less those that came */
	u64 nr_map, nr_entries, nr_ioend, nr_fresh, nr_error_sectors;
	u64 nr_announce, nr_announced;  /* calls, sectors */
	bool announce_busy;             /* unless everything has ended */
	int announce_error;
	u64 announced_soon, announced;  /* the newest that was begun, that is durable */
	int wait_error;                 /* of making it durable */
	u64 nr_log, nr_logged;          /* calls, sectors */
	int log_error;
	u64 size_end;                   /* largest of successful ioends */
	u32 rnd;
};

/* A cache of so many bytes, and a disk in a file that is gone when it is closed. */
struct blk_dev *fake_disk(u64 cache_bytes);
void fake_init(struct fakefile *f, struct blk_dev *dev, u32 block, bool scatter);
void fake_fini(struct fakefile *f);
/*
 * Frees blocks at and behind the first whole block after `size` (the caller has dealt with the
 * cache).
 */
void fake_truncate(struct fakefile *f, u64 size);
u32 fake_random(u32 *state);

#endif
