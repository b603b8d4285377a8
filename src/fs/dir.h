/*
 * Inside fs: entries of directories, and the locks of the inodes of one operation. dir.c, namei.c,
 * rename.c only.
 */
#ifndef FOLIOFS_FS_DIR_H
#define FOLIOFS_FS_DIR_H

#include "fs/inode.h"

/* One name in a directory, and what stands there. */
struct dir_name {
	struct inode *dir;
	const char *name;
	u32 len;
	u64 hash;
	/* set by dir_find_in() */
	u64 key_b;
	u64 ino;        /* 0 = no such name */
	u8 type;        /* DT_* */
};

/* -ENOTDIR, -ENAMETOOLONG, -EINVAL (bytes that no name has), -EEXIST for "." and "..". */
int dir_name_init(struct dir_name *n, struct inode *dir, const char *name, size_t len);

/* In bodies. */
int dir_find_in(struct view *v, struct dir_name *n);   /* 0 also when there is no such name */
int dir_add_in(struct view *v, const struct dir_name *n, u64 ino, u8 type);
int dir_remove_in(struct view *v, const struct dir_name *n);               /* after dir_find_in */
int dir_replace_in(struct view *v, const struct dir_name *n, u64 ino, u8 type); /* the same */

/* The number of a new inode, which is counted; the caller inserts the item. */
int dir_new_number_in(struct view *v, u64 *out);

static inline u8 dir_type(u32 mode)
{
	return (u8)(mode >> 12 & 15);
}

/* The inode locks of one operation, exclusive, in ascending order of number; without NULL and
 * doubles. */
struct dir_locks {
	struct inode *ip[4];
	unsigned nr;
};
void dir_lock(struct dir_locks *l, struct inode *const *ips, unsigned nr);
void dir_unlock(struct dir_locks *l);

/* In bodies, the directory locked exclusively: may entries come (and go, if `remove`)?
 * -ENOENT for a removed directory, -EPERM by its flags. */
int dir_may_change(const struct inode_edit *dir, bool remove);
/* An entry more or less (n = +1, 0, -1), subdirectories the same; times of a change. -EMLINK */
int dir_count(struct inode_edit *dir, int entries, int subdirs, struct timespec now);
/* One link less; without links: an orphan from here on. */
int dir_drop_link_in(struct view *v, struct inode_edit *e, struct timespec now);

#endif
