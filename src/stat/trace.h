/*
 * The trace ring: what happened last, one record an event, in the memory of the daemon.
 *
 * Always on: a record costs some 20 ns and takes no lock. `foliofsctl trace` prints it, follows it
 * and records traces of cache use with it. Events are those of requests and of cache management,
 * not of single lookups.
 */
#ifndef STAT_TRACE_H
#define STAT_TRACE_H

#include <stdio.h>

#include "base/types.h"

/* ID, name, what at and nr mean. object is an inode number, 0 for metadata or nothing. */
#define STAT_TRACE_ROWS(T)                                                                         \
	T(READ, "read", "sectors that a program reads")                                            \
	T(WRITE, "write", "sectors that a program writes")                                         \
	T(FSYNC, "fsync", "nr: 1 for fdatasync")                                                   \
	T(READAHEAD, "readahead", "sectors of a window that is started")                           \
	T(WRITTEN, "written", "sectors whose writeback has ended")                                 \
	T(EVICT, "evict", "sectors evicted")                                                       \
	T(SPLIT, "split", "sectors of a folio that is cut in two")                                 \
	T(MOVE, "move", "sectors of a folio that is moved in memory")                              \
	T(PAUSE, "pause", "nr: microseconds that a writer was paused")

#define TRACE_ENUM_ROW_(ID, name, help) TRACE_##ID,
enum stat_trace_event { STAT_TRACE_ROWS(TRACE_ENUM_ROW_) TRACE_NR };

#define STAT_TRACE_RECORDS 16384u /* the ring keeps so many: a power of two */

void stat_trace(enum stat_trace_event event, u64 object, u64 at, u32 nr);

/*
 * Prints the records from number *next on, one a line: seconds since the start of the machine,
 * event, object, at, nr. *next becomes the number of the first record that is not yet there, *lost
 * the number of those that were overwritten before they could be read.
 */
void stat_trace_print(u64 *next, u64 *lost, FILE *f);

#endif
