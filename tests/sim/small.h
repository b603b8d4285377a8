/*
 * A small file system on a recording device, and a memory of every state that it passed through.
 *
 * A step is one operation; after each one the names, sizes, contents and xattrs that programs see
 * are
 * kept as a state. A crash image is right when its names are those of one state, every sector of a
 * file is one that the file had in some state (or zero where it had no space at the start), and
 * what was
 * synced is there as in the last state.
 */
#ifndef TESTS_SIM_SMALL_H
#define TESTS_SIM_SMALL_H

#include "check/check.h"
#include "fs/fs.h"

#define SMALL_STATES 12u
#define SMALL_NAMES 12u
#define SMALL_BYTES 49152u         /* no file grows larger */

struct small_file {
	char name[8];
	u64 ino;
	u32 mode;
	u64 size;
	u32 xattr;                 /* value of user.x, 0 = none */
	u8 *data;                  /* SMALL_BYTES */
};

struct small_state {
	unsigned nr;
	struct small_file file[SMALL_NAMES];
};

enum small_sync { SMALL_FSYNC, SMALL_FDATASYNC, SMALL_FSYNCDIR, SMALL_SYNC, SMALL_NR_SYNC };

struct small {
	struct blk_dev *dev;
	struct fs *fs;
	struct inode *root;
	struct inode *held;        /* an unlinked file that is still open */
	unsigned nr_states;
	struct small_state state[SMALL_STATES];
	size_t base;               /* events when the first state was durable */
	enum small_sync sync;
	u64 synced_ino;            /* file that fsync was called for; 0 = all */
	size_t synced_at;          /* events when the sync had returned; SIZE_MAX = none */
};

/* Formats a new device and makes the first state: a (3 sectors), b (100 bytes), d/. */
void small_open(struct small *s, u32 block_bytes);
void small_close(struct small *s);
extern const unsigned small_nr_ops;
const char *small_op_name(unsigned op);
/* Runs operation `op` and remembers the state. Operations on what is not there do nothing. */
void small_step(struct small *s, unsigned op);
void small_sync(struct small *s, enum small_sync how);
/* Everything as a power cut leaves it: unmounted without writing. */
void small_crash(struct small *s);
/* Recover, compare, check. NULL or what is wrong (static text). torn: sectors may be mixed. */
const char *small_verify(const struct small *s, struct blk_dev *img, size_t events, bool torn);

#endif
