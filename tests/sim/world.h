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
 *   - src/check finds nothing.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "fs/fs.h"

#define WORLD_NAMES 12u                 /* numbers of names in a directory */
#define WORLD_FILE_SECTORS 32u
#define WORLD_FILE_MAX (WORLD_FILE_SECTORS * SECTOR_SIZE)
#define WORLD_XATTRS 3u
#define WORLD_FILES 20u                 /* regular files at a time */

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
	u64 size;
	u64 xattr[WORLD_XATTRS];        /* hash of the value; 0 = not set */
	struct world_history sector[WORLD_FILE_SECTORS], sizes, attrs;
	struct world_promises data_kept, attr_kept, forced;
};

struct world_entry { u32 dir, name, id; };

struct world {
	struct blk_dev *dev;
	struct fs *fs;
	u64 seed, state;
	u32 block_bytes;
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
	const char *op_name;
	char detail[80];                /* for the trace: inode and range */
	char wrong[300];                /* what world_verify() found */
	bool trace;                     /* print each operation */
};

/* Formats, mounts, does `ops` operations, ends in a crash. */
void world_make(struct world *w, u64 seed, u32 ops);
void world_free(struct world *w);

/* Recovers and compares the image of a crash after `events` events. torn: in units of 512 B. */
bool world_verify(struct world *w, struct blk_dev *img, size_t events, bool torn);

/* ---- between world.c, world_ops.c and world_verify.c ---- */
u64 world_random(struct world *w);
u64 world_below(struct world *w, u64 n);
/* What the running operation works on. */
void world_detail(struct world *w, const struct world_node *n, u64 pos, u64 len);
void world_do(struct world *w);                 /* one operation */
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

#endif
