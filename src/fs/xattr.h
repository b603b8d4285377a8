/* Inside fs: extended attributes as part of other operations. */
#ifndef FOLIOFS_FS_XATTR_H
#define FOLIOFS_FS_XATTR_H

#include "fs/inode.h"

/* In bodies. The value and its length; -ENODATA, -ERANGE. */
int xattr_get_in(struct view *v, const struct inode *ip, const char *name, void *buf, u32 size,
		 u32 *len);
/* A new attribute of an inode that has none of this name, its value one item. The caller counts it
 * in the inode. At most BTREE_CREDITS. */
int xattr_add_in(struct view *v, u64 ino, const char *name, const void *val, u32 len);

/*
 * The mode changes (ip->lock held exclusively): an access list takes its permissions and is stored
 * together with it. Without a list nothing happens, and the mode is the caller's to set.
 */
int xattr_chmod_locked(struct inode *ip, u32 mode);

#endif
