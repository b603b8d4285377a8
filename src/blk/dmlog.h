/*
 * The on-disk format of the kernel's dm-log-writes target, version 1, as other programs' replay
 * tools read it. All numbers little-endian; a unit is `sectorsize` bytes.
 *
 *	unit 0        struct dmlog_super
 *	then, again and again:
 *	  one unit    struct dmlog_entry; a mark's text follows within the unit
 *	  data        nr_sectors units, for a write (not for a discard, a flush or a mark)
 *
 * sector and nr_sectors of an entry count units too. Entries stand in the order in which the
 * requests ended, but a flush where it began: what was complete then is durable after it.
 */
#ifndef BLK_DMLOG_H
#define BLK_DMLOG_H

#include "format/format.h"

#define DMLOG_MAGIC 0x6a736677736872ull
#define DMLOG_VERSION 1u

#define DMLOG_FLUSH 1u
#define DMLOG_FUA 2u
#define DMLOG_DISCARD 4u
#define DMLOG_MARK 8u
#define DMLOG_METADATA 16u              /* beside others: no file data */

struct dmlog_super {
	le64 magic;
	le64 version;
	le64 nr_entries;                /* those behind belong to no flush or mark: ignored */
	le32 sectorsize;                /* 512 or 4096 */
} __attribute__((packed));

struct dmlog_entry {
	le64 sector;
	le64 nr_sectors;
	le64 flags;                     /* DMLOG_* */
	le64 data_len;                  /* bytes of a mark's text */
} __attribute__((packed));

#endif
