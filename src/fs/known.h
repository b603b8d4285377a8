/*
 * How often somebody outside knows an inode by its number (the kernel's lookup count): a compact
 * table from number to count, 16 bytes a slot. See known.c.
 */
#ifndef FOLIOFS_FS_KNOWN_H
#define FOLIOFS_FS_KNOWN_H

#include "base/types.h"

struct known;

struct known *known_new(void);                       /* NULL: no memory */
void known_free(struct known *k);
void known_add(struct known *k, u64 ino, u64 count);
u64 known_sub(struct known *k, u64 ino, u64 count);  /* what is left; 0 when unknown */
u64 known_count(struct known *k, u64 ino);
/* Without the lock: as it was a moment ago. */
u64 known_nr(const struct known *k);                 /* inodes with a count */
u64 known_bytes(const struct known *k);              /* memory of the table */

#endif
