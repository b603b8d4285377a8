/*
 * POSIX access control lists: the rules for values of system.posix_acl_access and _default, and how
 * a new inode gets what its directory says. fs only.
 *
 * A list has the form that the kernel hands over (linux/posix_acl_xattr.h), in which it is also
 * stored. Who may do what is decided by the kernel; kept here is that list and mode say the same:
 * the mode's group bits are the list's mask.
 */
#ifndef FOLIOFS_FS_ACL_H
#define FOLIOFS_FS_ACL_H

#include "fs/inode.h"

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define ACL_ENTRIES_MAX 400u
#define ACL_BYTES_MAX (4u + 8u * ACL_ENTRIES_MAX)
_Static_assert(ACL_BYTES_MAX <= FMT_XATTR_CHUNK, "a list is one item");

/* ---- one list; pure functions. All but acl_check() take a checked list. ---- */
/* -EINVAL: no valid list; -EOPNOTSUPP: another version; -ENOSPC: more than ACL_ENTRIES_MAX. */
int acl_check(const void *acl, size_t len);
/* Says no more than a mode could: need not be stored. */
bool acl_is_mode(const void *acl, size_t len);
/* mode with the permissions of the list. */
u32 acl_to_mode(const void *acl, size_t len, u32 mode);
/* The list takes the permissions of mode. */
void acl_chmod(void *acl, size_t len, u32 mode);
/* A default list becomes the access list of a new inode that was asked for with mode; its mode. */
u32 acl_create(void *acl, size_t len, u32 mode);

/* ---- in bodies ---- */
struct acl_new {
	u32 len;                        /* bytes, 0: the directory has no default list */
	bool access, inherit;           /* which of the two the new inode gets */
	u8 acl[ACL_BYTES_MAX];          /* access list */
	u8 dflt[ACL_BYTES_MAX];
};
/*
 * What an inode that is made in dir with *mode gets. Without a default list umask takes bits off
 * *mode; with one, the list does. Symbolic links get nothing.
 */
int acl_inherit_in(struct view *v, const struct inode_edit *dir, u32 umask, u32 *mode,
		   struct acl_new *out);
static inline u32 acl_new_count(const struct acl_new *n)
{
	return (u32)n->access + n->inherit;
}
/* The attributes of the new inode; its item has counted them. */
int acl_add_in(struct view *v, u64 ino, const struct acl_new *n);

#endif
