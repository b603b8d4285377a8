/*
 * The table of everything that is counted. A layer that wants to count something adds a row here
 * and calls stat_inc(STAT_x), stat_add(STAT_x, n) or stat_time(HIST_x, ns): text, JSON and
 * Prometheus output, foliofsctl and the man page follow from the row.
 *
 * C(ID, name, label, unit, help)   a counter that only grows
 * H(ID, name, label, unit, help)   a histogram of values (usually nanoseconds)
 *
 * name: words with underscores, the thing before the event. label: "key=value" for rows that
 * share a
 * name (they must stand together), or "". unit: bytes, ns, folios, ... or "" for plain events.
 */
#ifndef STAT_ROWS_H
#define STAT_ROWS_H

/* One row for each folio order, 0 first: use with STAT_x_O0 + order. */
#define STAT_BY_ORDER(C, ID, name, unit, help)                                                     \
	C(ID##_O0, name, "order=0", unit, help)                                                    \
	C(ID##_O1, name, "order=1", unit, help)                                                    \
	C(ID##_O2, name, "order=2", unit, help)                                                    \
	C(ID##_O3, name, "order=3", unit, help)                                                    \
	C(ID##_O4, name, "order=4", unit, help)                                                    \
	C(ID##_O5, name, "order=5", unit, help)                                                    \
	C(ID##_O6, name, "order=6", unit, help)                                                    \
	C(ID##_O7, name, "order=7", unit, help)                                                    \
	C(ID##_O8, name, "order=8", unit, help)                                                    \
	C(ID##_O9, name, "order=9", unit, help)

/* One row for each kind of I/O, in the order of enum blk_kind: use with STAT_x_DATA + kind. */
#define STAT_BY_KIND(C, ID, name, unit, help)                                                      \
	C(ID##_DATA, name, "kind=data", unit, help)                                                \
	C(ID##_META, name, "kind=meta", unit, help)                                                \
	C(ID##_LOG, name, "kind=log", unit, help)

#define STAT_COUNTER_ROWS(C)                                                                       \
	/* what programs asked for */                                                              \
	C(USER_READ_BYTES, "user_read", "", "bytes", "bytes that programs read from files")        \
	C(USER_WRITE_BYTES, "user_written", "", "bytes", "bytes that programs wrote to files")     \
	C(REQUESTS_DEV, "requests_received", "transport=dev", "",                                  \
	  "requests by the way they came")                                                         \
	C(REQUESTS_URING, "requests_received", "transport=uring", "",                              \
	  "requests by the way they came")                                                         \
	C(REQUEST_ERRORS, "request_errors", "", "", "requests answered with an error")             \
	/* cache */                                                                                \
	C(CACHE_HITS, "cache_hits", "", "", "lookups answered from the cache")                     \
	C(CACHE_MISSES, "cache_misses", "", "", "lookups that needed a new folio or I/O")          \
	C(CACHE_FILLS, "cache_filled", "", "sectors", "sectors read into the cache")               \
	C(CACHE_EVICTIONS, "cache_evictions", "", "folios", "folios evicted")                      \
	C(CACHE_EVICTED_BYTES, "cache_evicted", "", "bytes", "bytes of folios evicted")            \
	C(CACHE_GHOST_HITS, "cache_ghost_hits", "", "", "misses on something evicted lately")      \
	C(CACHE_DEMOTIONS, "cache_demotions", "", "folios", "folios said to be of no more use")    \
	C(SPLITS_HOT, "folio_splits", "reason=cold", "folios",                                     \
	  "folios cut in two because one half was not used again, or not dirty")                   \
	C(SPLITS_DIRTY, "folio_splits", "reason=clean", "folios",                                  \
	  "folios cut in two because one half was not used again, or not dirty")                   \
	C(COMPACTIONS, "compactions", "", "runs", "runs of memory made free by moving folios")     \
	C(COMPACT_FAILS, "compaction_failures", "", "", "attempts that made no run free")          \
	C(COMPACT_MOVED, "compaction_moved", "", "sectors", "sectors of folios that were moved")   \
	C(FOLIO_LOCK_WAITS, "folio_lock_waits", "reason=other", "",                                \
	  "folio locks that had to be waited for")                                                 \
	C(FOLIO_LOCK_IO_WAITS, "folio_lock_waits", "reason=io", "",                                \
	  "folio locks that had to be waited for")                                                 \
	C(CACHE_MEMORY_WAITS, "cache_memory_waits", "", "", "waits for something evictable")       \
	C(FOLIO_WRITEBACK_WAITS, "folio_writeback_waits", "", "",                                  \
	  "waits for a folio under writeback")                                                     \
	/* readahead */                                                                            \
	C(READAHEAD_WINDOWS, "readahead_windows", "", "", "readahead windows started")             \
	C(READAHEAD_SECTORS, "readahead_read", "", "sectors", "sectors read ahead")                \
	C(READAHEAD_HITS, "readahead_hits", "", "", "readahead windows that a reader called for")  \
	C(READAHEAD_WASTED, "readahead_wasted", "", "folios", "read ahead, evicted unused")        \
	/* memory */                                                                               \
	STAT_BY_ORDER(C, FOLIO_ALLOC, "folios_allocated", "folios", "folios allocated by order")   \
	C(FOLIO_FALLBACKS, "folio_fallbacks", "", "folios", "folios smaller than asked for")      \
	C(FOLIO_ALLOC_FAILS, "folio_allocation_failures", "", "", "allocations without memory")    \
	C(BUDDY_SPLITS, "buddy_splits", "", "", "free blocks split by the allocator")              \
	C(BUDDY_MERGES, "buddy_merges", "", "", "free blocks merged by the allocator")             \
	/* disk */                                                                                 \
	STAT_BY_KIND(C, READ_BYTES, "disk_read", "bytes", "bytes read from the device")            \
	STAT_BY_KIND(C, WRITE_BYTES, "disk_written", "bytes", "bytes written to the device")       \
	STAT_BY_KIND(C, READ_IOS, "disk_read_requests", "", "reads sent to the device")            \
	STAT_BY_KIND(C, WRITE_IOS, "disk_write_requests", "", "writes sent to the device")         \
	C(FLUSHES, "disk_flushes", "", "", "flushes sent to the device")                           \
	C(FLUSHES_SHARED, "disk_flushes_shared", "", "", "flushes answered by another's flush")    \
	C(DURABLE_WRITES, "disk_durable_writes", "", "", "writes that needed no flush (FUA)")      \
	C(DISCARDS, "disk_discards", "", "", "discards sent to the device")                        \
	C(DISCARD_BYTES, "disk_discarded", "", "bytes", "bytes discarded on the device")           \
	C(DISK_ERRORS, "disk_errors", "", "", "reads, writes and flushes that failed")             \
	C(DISK_FIXED_IOS, "disk_registered_requests", "", "", "requests with registered memory")   \
	/* writeback */                                                                            \
	C(WRITEBACK_RUNS, "writeback_runs", "", "", "passes of writeback over a file")             \
	C(WRITEBACK_SECTORS, "writeback_written", "", "sectors", "dirty sectors written back")     \
	C(WRITEBACK_ERRORS, "writeback_errors", "", "sectors", "sectors that could not be written")\
	C(THROTTLE_PAUSES, "throttle_pauses", "", "", "pauses of writers at the dirty limit")      \
	C(THROTTLE_OWED_NS, "throttle_owed", "", "ns", "pauses that the dirty limits asked for")   \
	C(THROTTLE_NS, "throttle_time", "", "ns", "time that writers were paused")                 \
	/* journal */                                                                              \
	C(HANDLES, "handles", "", "", "metadata changes published")                                \
	C(HANDLE_RERUNS, "handle_reruns", "", "", "bodies run again after loading a buffer")       \
	C(COMMITS, "commits", "", "", "transactions committed")                                    \
	C(COMMIT_JOINS, "commit_joins", "", "", "waits answered by another's commit")              \
	C(CHECKPOINTS, "checkpoints", "", "", "checkpoint rounds")                                 \
	C(CHECKPOINT_BUFFERS, "checkpoint_buffers", "", "buffers", "buffers written in place")     \
	C(JOURNAL_STALLS, "journal_stalls", "", "", "handles that waited for log space")           \
	C(REPLAYED, "journal_replayed", "", "", "transactions replayed at mount")                  \
	C(LOG_LOST, "journal_lost", "", "",                                                        \
	  "transactions lost to a damaged log, found at mount")                                    \
	C(RECOVERED_NEW, "recovered_overwrites", "found=new", "sectors",                           \
	  "sectors of open intents, by what recovery found in them")                               \
	C(RECOVERED_OLD, "recovered_overwrites", "found=old", "sectors",                           \
	  "sectors of open intents, by what recovery found in them")                               \
	C(RECOVERED_TORN, "recovered_overwrites", "found=torn", "sectors",                         \
	  "sectors of open intents, by what recovery found in them")                               \
	C(INTENTS, "intents", "", "", "intents logged before overwrites in place")                 \
	C(DATA_LOGGED, "data_logged", "", "sectors", "data sectors written through the log")       \
	C(MEMORY_ERRORS, "memory_errors", "", "", "frames of the cache that the machine lost")     \
	C(MEMORY_REPLACED, "memory_replaced", "", "", "of them, those that were replaced")         \
	C(MEMORY_LOST, "memory_lost", "", "sectors", "dirty sectors lost by memory errors")        \
	C(MEMORY_RETIRED, "memory_retired", "", "", "free frames that nobody gets any more")       \
	C(CHECKSUM_ERRORS, "data_checksum_errors", "", "sectors",                                  \
	  "data sectors whose contents did not match their checksum")

/*
 * Requests from the kernel: for each operation the whole time, and what it is made of. Rows of a
 * part stand in the same order, so that HIST_REQ_x + (HIST_REQDISK_LOOKUP - HIST_REQ_LOOKUP) is
 * its time in disk I/O.
 */
#define STAT_REQUEST_ROWS(R, H)                                                                    \
	R(H, LOOKUP, "lookup")                                                                     \
	R(H, FORGET, "forget")                                                                     \
	R(H, GETATTR, "getattr")                                                                   \
	R(H, SETATTR, "setattr")                                                                   \
	R(H, READLINK, "readlink")                                                                 \
	R(H, MKNOD, "mknod")                                                                       \
	R(H, MKDIR, "mkdir")                                                                       \
	R(H, UNLINK, "unlink")                                                                     \
	R(H, RMDIR, "rmdir")                                                                       \
	R(H, SYMLINK, "symlink")                                                                   \
	R(H, RENAME, "rename")                                                                     \
	R(H, LINK, "link")                                                                         \
	R(H, OPEN, "open")                                                                         \
	R(H, CREATE, "create")                                                                     \
	R(H, TMPFILE, "tmpfile")                                                                   \
	R(H, READ, "read")                                                                         \
	R(H, WRITE, "write")                                                                       \
	R(H, FLUSH, "flush")                                                                       \
	R(H, RELEASE, "release")                                                                   \
	R(H, FSYNC, "fsync")                                                                       \
	R(H, FSYNCDIR, "fsyncdir")                                                                 \
	R(H, SYNCFS, "syncfs")                                                                     \
	R(H, OPENDIR, "opendir")                                                                   \
	R(H, READDIR, "readdir")                                                                   \
	R(H, RELEASEDIR, "releasedir")                                                             \
	R(H, STATFS, "statfs")                                                                     \
	R(H, SETXATTR, "setxattr")                                                                 \
	R(H, GETXATTR, "getxattr")                                                                 \
	R(H, LISTXATTR, "listxattr")                                                               \
	R(H, REMOVEXATTR, "removexattr")                                                           \
	R(H, ACCESS, "access")                                                                     \
	R(H, FALLOCATE, "fallocate")                                                               \
	R(H, LSEEK, "lseek")                                                                       \
	R(H, COPY_FILE_RANGE, "copy_file_range")                                                   \
	R(H, IOCTL, "ioctl")                                                                       \
	R(H, OTHER, "other")

#define STAT_REQUEST(H, ID, op)                                                                    \
	H(REQ_##ID, "request_time", "op=" op, "ns", "time from receiving a request to its answer")
#define STAT_REQUEST_WAIT(H, ID, op)                                                               \
	H(REQWAIT_##ID, "request_wait_time", "op=" op, "ns",                                       \
	  "part of it: waiting for other threads (locks, folios under I/O, room)")
#define STAT_REQUEST_CACHE(H, ID, op)                                                              \
	H(REQCACHE_##ID, "request_cache_time", "op=" op, "ns",                                     \
	  "part of it: work in cache and metadata")
#define STAT_REQUEST_DISK(H, ID, op)                                                               \
	H(REQDISK_##ID, "request_disk_time", "op=" op, "ns", "part of it: waiting for the device")
#define STAT_REQUEST_REPLY(H, ID, op)                                                              \
	H(REQREPLY_##ID, "request_reply_time", "op=" op, "ns",                                     \
	  "part of it: handing the answer over")

#define STAT_HIST_ROWS(H)                                                                          \
	STAT_REQUEST_ROWS(STAT_REQUEST, H)                                                         \
	STAT_REQUEST_ROWS(STAT_REQUEST_WAIT, H)                                                    \
	STAT_REQUEST_ROWS(STAT_REQUEST_CACHE, H)                                                   \
	STAT_REQUEST_ROWS(STAT_REQUEST_DISK, H)                                                    \
	STAT_REQUEST_ROWS(STAT_REQUEST_REPLY, H)                                                   \
	H(DISK_READ, "disk_read_time", "", "ns", "time of one read from the device")               \
	H(DISK_WRITE, "disk_write_time", "", "ns", "time of one write to the device")              \
	H(DISK_FLUSH, "disk_flush_time", "", "ns", "time of one flush of the device")              \
	H(COMMIT, "commit_time", "", "ns", "time of one commit")                                   \
	H(CHECKPOINT, "checkpoint_time", "", "ns", "time of one checkpoint round")                 \
	H(HANDLE_HOLD, "handle_time", "", "ns", "time that one handle held the others off")        \
	H(THROTTLE, "throttle_pause_time", "", "ns", "length of one pause of a writer")

#endif
