/*
 * A driver does random operations on a mounted file system, below a directory of its own, and on a
 * model, and compares. Several drivers may work on one file system, each in its own thread.
 * What differs ends the process with the seed and the command to repeat it.
 */
#ifndef TESTS_MODEL_DRIVE_H
#define TESTS_MODEL_DRIVE_H

#include "fs/fs.h"
#include "model.h"

#define DRIVE_OPEN 6u

struct drive_open {
	struct mnode *node;             /* NULL: free */
	struct inode *ip;
	struct readahead ra;
	u32 error_cursor;
};

struct drive {
	struct fs *fs;
	struct model m;
	char base[16];                  /* name of its directory in the root */
	const char *test;               /* name of the Check test, to repeat it */
	u64 seed, state, ops, refused;  /* refused: ENOSPC and EIO that were allowed */
	const char *op;                 /* what is being done */
	bool shrink;                    /* the device is nearly full: rather delete */
	bool faults;                    /* I/O errors are allowed ... */
	bool *faults_on;                /* ... while this is set; NULL without faults */
	u32 loose_bytes;                /* ENOSPC is no surprise below so much free space */
	struct drive_open open[DRIVE_OPEN];
	u8 *buf, *buf2;                 /* MODEL_FILE_MAX each */
};

void drive_init(struct drive *d, const char *test, u64 seed, const char *base);
void drive_fini(struct drive *d);

/* After a mount: makes the driver's directory if there is none. Before an unmount: closes all. */
void drive_attach(struct drive *d, struct fs *fs);
void drive_detach(struct drive *d);

void drive_run(struct drive *d, u64 ops);
void drive_verify(struct drive *d);     /* everything is as the model says */
void drive_empty(struct drive *d);      /* deletes everything, must succeed */
void drive_fsync_all(struct drive *d);  /* each file; must succeed */

/* drive_ops.c and drive.c share these. */
u64 drive_random(struct drive *d);
void drive_fill(struct drive *d, void *buf, u64 len);
void drive_fail(struct drive *d, const char *fmt, ...) PRINTF_LIKE(2, 3) NORETURN;
void drive_fail_byte(struct drive *d, const struct mnode *n, u64 pos, u8 got) NORETURN;
/* true: success, as expected. false: the failure that is expected, or one that is allowed. */
bool drive_expect(struct drive *d, int got, int want);
bool drive_allowed(struct drive *d, int error);
struct inode *drive_dir(struct drive *d, const struct mnode *dir);
struct inode *drive_lookup(struct drive *d, const struct mnode *dir, u32 name);
void drive_compare(struct drive *d, const struct mnode *n, struct inode *ip);  /* attributes */
void drive_compare_data(struct drive *d, const struct mnode *n, struct inode *ip);
void drive_op(struct drive *d);
void drive_close(struct drive *d, struct drive_open *o);

#endif
