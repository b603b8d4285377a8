/*
 * A world: a file system on a recording device, random operations on it, and a memory of every
 * version of everything: for each operation the names (a signature of all entries and xattrs), for
 * each file its sizes, attributes and the contents of each sector; and of every promise: what was
 * said to be durable, and when.
 *
 * A crash image is right when (docs/GUARANTEES.md)
 *   - its names and xattrs are those after one operation, not older than the newest promise about
 *     names;
 *   - each file's size, attributes and sectors are versions not older than the newest promise
 *     about them;
 *   - a file that replaced another one by rename has all the data that it had then, if the rename
 *     is there;
 *   - recovery has reported as torn nothing but what is torn, and with checksums all of it that a
 *     file shows; without any it knows of nothing;
 *   - src/check finds nothing.
 *
 * world.c         the memory, the life of a world
 * act.c           operations
 * world_random.c  worlds of random operations
 * world_script.c  worlds of given operations, all of which are tried
 * world_verify.c  an image against the memory
 * cuts.c          the images of a world
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "fs/fs.h"

#define WORLD_NAMES 12u                 /* numbers of names in a directory */
#define WORLD_DIRS 5u
#define WORLD_FILE_SECTORS 32u
#define WORLD_FILE_MAX (WORLD_FILE_SECTORS * SECTOR_SIZE)
#define WORLD_XATTRS 3u
#define WORLD_XATTR_MAX 8000u
#define WORLD_TARGET_MAX 600u           /* of symbolic links */
#define WORLD_RDEV 0x0103u              /* of character devices */

struct world_version {                  /* of a sector, a size or attributes */
	u32 op;
	bool write;                     /* size: by a write, so that less of it may be there */
	u64 value;                      /* size; mode | uid << 32; */
	const u8 *data;                 /* sector; NULL = zeroes */
};

struct world_history {
	struct world_version *v;
	u32 nr, max;
};

struct world_promise {
	size_t at;                      /* events; or for forced ones: number of the operation */
	u32 op;                         /* versions up to this operation */
};

struct world_promises {
	struct world_promise *p;
	u32 nr, max;
};

struct world_node {
	u64 ino;
	u32 id, mode, uid, links;
	u32 created, touched;           /* operations: made; names or xattrs last changed */
	u8 *data;                       /* regular: WORLD_FILE_MAX */
	u64 size;                       /* symbolic link: of its target */
	u64 xattr[WORLD_XATTRS];        /* hash of the value; 0 = not set */
	struct world_history sector[WORLD_FILE_SECTORS], sizes, attrs;
	struct world_promises data_kept, attr_kept, forced;
};

struct world_entry { u32 dir, name, id; };

/*
 * What a random world does most. The second one has a larger log than a checkpoint writes at once,
 * and rarely commits: the only one that overwrites the log's old tail right after it was moved.
 * In the third one the sectors of a few files go through the log and in place by turns.
 */
enum world_temper { WORLD_MIXED, WORLD_LARGE_TXN, WORLD_LOGGED, WORLD_TEMPERS };

/*
 * Checksums of file data: of all of it; of none (mkfs -O ^datasum); or, from one mount to the next
 * in turns (-o nodatasum), of what is written from then on.
 */
enum world_sums { WORLD_SUMS, WORLD_NO_SUMS, WORLD_SUMS_IN_TURNS, WORLD_SUMS_KINDS };

struct world_geo {
	u32 block_bytes;
	u32 sectors, jnl_sectors;       /* so few that freed space is soon used again */
	enum world_sums sums;
};

struct world {
	struct blk_dev *dev;
	struct fs *fs;
	u64 seed, state;
	u32 block_bytes;
	enum world_sums sums;
	u32 mounts;
	enum world_temper temper;
	u32 max_files;                  /* regular files at a time; random worlds */
	u32 op, max_ops;                /* newest operation */
	u64 *sig;                       /* [op]: names and xattrs after it */
	size_t *began;                  /* [op]: events when it began */
	struct world_promises names_kept;
	size_t base;                    /* events from which images make sense */
	struct world_node **node;       /* by id; 0 is the root */
	u32 nr_nodes, max_nodes;
	struct world_entry *entry;
	u32 nr_entries, max_entries;
	struct { struct world_node *node; struct inode *ip; } held;     /* open, perhaps unlinked */
	struct world_node *focus, *focus_dir;   /* of the newest act; see act.h */
	const char *op_name;
	char detail[80];                /* for the trace: inode and range */
	char wrong[300];                /* what world_verify() found */
	bool trace;                     /* print each operation */
};

/* Formats, mounts, does nr_ops operations, ends in a crash. */
void world_make_random(struct world *w, u64 seed, u32 nr_ops, enum world_temper temper,
		       enum world_sums sums);

/*
 * Scripts: a world of a few files, then steps. A step below world_script_ops() is an operation,
 * those from there on are WORLD_SCRIPT_SYNCS ways to make it durable. An operation on what is not
 * there does nothing.
 */
#define WORLD_SCRIPT_MAX 8u
enum world_sync { WORLD_FSYNC, WORLD_FDATASYNC, WORLD_FSYNC_DIR, WORLD_SYNC, WORLD_SCRIPT_SYNCS };

struct world_script {
	unsigned nr;
	u8 step[WORLD_SCRIPT_MAX];
	u32 block_bytes;
	u32 no_sums;                    /* 1: WORLD_NO_SUMS */
};

unsigned world_script_ops(void);
/* "create, overwrite, fsync"; buf has room for 200 bytes. */
const char *world_script_text(const struct world_script *s, char *buf);
/* "3.0.28@4096", with an "n" behind it without checksums, and back; -EINVAL. */
const char *world_script_code(const struct world_script *s, char *buf);
int world_script_parse(const char *code, struct world_script *out);
void world_make_script(struct world *w, const struct world_script *s);

void world_free(struct world *w);

/* Recovers and compares the image of a crash after `events` events. */
enum {
	WORLD_TORN = 1,         /* sectors may be torn in units of 512 B */
	WORLD_KEEP = 2,         /* change nothing but what recovery and unmounting do */
};
bool world_verify(struct world *w, struct blk_dev *img, size_t events, unsigned how);

/* ---- for the files named above ---- */
u64 world_random(struct world *w);
u64 world_below(struct world *w, u64 n);
void world_open(struct world *w, u64 seed, const struct world_geo *geo, u32 max_ops);
void world_mount(struct world *w);
/* One operation, which sets w->op_name. */
void world_step(struct world *w, void (*fn)(struct world *w));
void world_crash(struct world *w);
struct world_node *world_node_new(struct world *w, u32 mode, u64 ino);
struct world_entry *world_entry_find(struct world *w, u32 dir, u32 name);
void world_entry_add(struct world *w, u32 dir, u32 name, u32 id);
void world_entry_remove(struct world *w, struct world_entry *e);
void world_note_data(struct world *w, struct world_node *n, bool write);
void world_note_attr(struct world *w, struct world_node *n);
void world_promise(struct world_promises *p, size_t at, u32 op);
void world_promise_all(struct world *w, bool data);
u64 world_sig_entry(const struct world_node *dir, u32 name, const struct world_node *n,
		    const u64 xattr[WORLD_XATTRS]);
u64 world_xattr_hash(const void *val, size_t len);
/* The target of every symbolic link of that length. */
void world_target(char *buf, u32 len);

#endif
