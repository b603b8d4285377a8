/*
 * dump: what an image holds, as text or JSON, for foliofsctl info and dump.
 *
 * Every dump is a row of records, each a JSON object; text output prints the fields of the same
 * objects. Reads through the checks of format: a damaged image gives an error or a record with an
 * "error" field, never a fault. One thread.
 */
#ifndef FOLIOFS_CHECK_DUMP_H
#define FOLIOFS_CHECK_DUMP_H

#include <stdio.h>

#include "blk/blk.h"

struct dump;
struct json_object;

/*
 * replay: see the image as after the replay of its log (in memory; nothing is written). Without, as
 * it lies on the disk, which for a mounted image is a moment of the past and may look torn.
 * Errors as check_run(). If the cache is not initialised, replay sets up one of its own.
 */
int dump_open(struct blk_dev *dev, bool replay, struct dump **out);
struct fs_errors;
/* The record of errors of the root sector. */
int dump_errors(struct dump *d, struct fs_errors *out);
void dump_close(struct dump *d);   /* NULL is allowed */

/* Geometry, identity, state and counts in one object. The caller puts it (json_object_put). */
int dump_info(struct dump *d, struct json_object **out);

/*
 * Prints one of
 *	info                  as dump_info()
 *	super                 every field of the superblock
 *	groups                the group table
 *	tree NAME             all items of a tree: inode, dirent, extent, xattr, orphan
 *	inode NUMBER          the inode, its entries or extents, its xattrs
 *	journal               both headers and the transactions in the log
 *	sector NUMBER         whatever metadata buffer begins there, as text (no JSON: -EOPNOTSUPP)
 * arg is NULL where there is none. -EINVAL: unknown what, or arg missing or malformed; -ENOENT: no
 * such tree or inode. info and super print one object, the others a list.
 */
int dump_print(struct dump *d, const char *what, const char *arg, bool json, FILE *out);

/* The words that dump_print() knows, for help and suggestions; ends with NULL. */
extern const char *const dump_words[];

#endif
