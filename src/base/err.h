/*
 * Errors: 0 or a negative errno value; outputs are untouched on failure. Assertions are for
 * mistakes in this program only: nothing that a disk contains may trip one. What a disk contains
 * wrongly goes through corrupt(), which says so once and returns -EUCLEAN.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <errno.h>

#include "base/types.h"
#include "base/why.h"
#include "base/work.h"

/* Always on: a file system that goes on after a broken invariant destroys data. */
#define ASSERT(cond)                                                                               \
	do {                                                                                       \
		if (unlikely(!(cond)))                                                             \
			assert_failed(#cond, __FILE__, __LINE__, __func__);                        \
	} while (0)

/* Checks too slow for every run: only in debug builds (FOLIOFS_DEBUG). */
#ifdef FOLIOFS_DEBUG
#define ASSERT_SLOW(cond) ASSERT(cond)
#else
#define ASSERT_SLOW(cond)                                                                          \
	do {                                                                                       \
		if (0)                                                                             \
			(void)(cond);                                                              \
	} while (0)
#endif

NORETURN void assert_failed(const char *cond, const char *file, int line, const char *func);

/* "EIO" for 5 and for -5, "0" for 0, "E?" for what is unknown. Static storage. */
const char *err_name(int err);

/* "Input/output error" and so on, thread-safe, for 5 and for -5. */
const char *err_text(int err);

/* For "no inode" and "no sector" in corrupt(). */
#define CORRUPT_NO_INO 0
#define CORRUPT_NO_SECTOR UINT64_MAX

/*
 * Reports a corruption and returns -EUCLEAN. The first few reports of each reason are logged, then
 * one in a while with the number that was left out, so that a broken image can't flood the log.
 * What the thread is doing (base/work.h) is part of it. May be called with any lock held.
 */
int corrupt(enum why why, u64 ino, u64 sector);

/* The same for a sector of a file's data: also says which one of the file. */
int corrupt_data(enum why why, u64 ino, u64 file_sector, u64 sector);

/* The device said so itself (why_is_io()), with this error, to a request that w sent. */
void corrupt_io(enum why why, struct work w, u64 sector, int err);

struct corrupt_report {
	enum why why;
	u64 ino;                /* the inode that is damaged, or CORRUPT_NO_INO */
	u64 sector;             /* or CORRUPT_NO_SECTOR */
	u64 file_sector;        /* or CORRUPT_NO_SECTOR */
	struct work work;       /* who met it; its inode need not be the damaged one */
	int err;                /* what the device said; 0: nothing */
};

/*
 * Who keeps a record of reports. fn is called for each with any lock held: it takes none and does
 * not wait. The first who takes it has it until he drops it; others get nothing.
 */
typedef void (*corrupt_sink_fn)(void *arg, const struct corrupt_report *r);
bool corrupt_sink_take(corrupt_sink_fn fn, void *arg);
void corrupt_sink_drop(void *arg);

/* How often corrupt() was called for @why since start. */
u64 corrupt_count(enum why why);

#endif
