/*
 * POSIX access control lists. See acl.h.
 *
 * Rules:
 *  1. Order and presence of entries are checked as the kernel does (posix_acl_valid): owner, named
 *     users, group, named groups, mask, others; a mask whenever somebody is named.
 *  2. The permissions of group in the mode are those of the mask where there is one.
 *  3. With a default list the umask has no effect: IEEE 1003.1e draft 17, 23.1.5.
 *
 * No locks: the memory is the caller's.
 */
#include "fs/acl.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>

#include "base/err.h"
#include "fs/xattr.h"

#define PERMS 07u

/*
 * The kernel's structures (linux/posix_acl_xattr.h), but at any address: a list comes as it lies in
 * a request, behind a name of any length.
 */
struct acl_head {
	le32 version;
} __attribute__((packed));

struct acl_entry {
	le16 tag;
	le16 perm;
	le32 id;
} __attribute__((packed));

struct list {
	struct acl_entry *e;
	u32 nr;
};

static struct list list_of(const void *acl, size_t len)
{
	return (struct list){
		.e = (void *)((uintptr_t)acl + sizeof(struct acl_head)),
		.nr = (u32)((len - sizeof(struct acl_head)) / sizeof(struct acl_entry)),
	};
}

static u32 tag_of(const struct acl_entry *e)
{
	return get16(e->tag);
}

static u32 perm_of(const struct acl_entry *e)
{
	return get16(e->perm);
}

static void set_perm(struct acl_entry *e, u32 perm)
{
	e->perm = put16((u16)(perm & PERMS));
}

/* ---- checks ---- */

static int check_length(const void *acl, size_t len)
{
	const struct acl_head *h = acl;

	if (len < sizeof(*h) || (len - sizeof(*h)) % sizeof(struct acl_entry))
		return -EINVAL;
	if (get32(h->version) != POSIX_ACL_XATTR_VERSION)
		return -EOPNOTSUPP;
	return len > ACL_BYTES_MAX ? -ENOSPC : 0;
}

/* Each tag's place in the order; the named ones may stand there more than once. */
static int rank_of(u32 tag, bool *named)
{
	static const u32 order[] = { ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_GROUP, ACL_MASK,
				     ACL_OTHER };

	*named = tag == ACL_USER || tag == ACL_GROUP;
	for (int i = 0; i < (int)ARRAY_LEN(order); i++)
		if (order[i] == tag)
			return i;
	return -1;
}

int acl_check(const void *acl, size_t len)
{
	struct list l;
	u32 seen = 0;
	int last = -1, r = check_length(acl, len);

	if (r)
		return r;
	l = list_of(acl, len);
	for (u32 i = 0; i < l.nr; i++) {
		bool named;
		int rank = rank_of(tag_of(&l.e[i]), &named);

		if (rank < last || (rank == last && !named) || perm_of(&l.e[i]) > PERMS)
			return -EINVAL;
		last = rank;
		seen |= tag_of(&l.e[i]);
	}
	if ((seen & (ACL_USER | ACL_GROUP)) && !(seen & ACL_MASK))
		return -EINVAL;
	seen &= ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_OTHER;
	return seen == (ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_OTHER) ? 0 : -EINVAL;
}

bool acl_is_mode(const void *acl, size_t len)
{
	return list_of(acl, len).nr == 3;
}

/* ---- list and mode ---- */

/* The entry that stands for the group bits of the mode: the mask, else the group. */
static bool is_group_class(const struct list *l, const struct acl_entry *e)
{
	if (tag_of(e) == ACL_MASK)
		return true;
	/* The mask is the last entry but one. */
	return tag_of(e) == ACL_GROUP_OBJ && tag_of(&l->e[l->nr - 2]) != ACL_MASK;
}

/* Which three bits of the mode the entry stands for: their shift, or -1. */
static int shift_of(const struct list *l, const struct acl_entry *e)
{
	if (tag_of(e) == ACL_USER_OBJ)
		return 6;
	if (is_group_class(l, e))
		return 3;
	return tag_of(e) == ACL_OTHER ? 0 : -1;
}

u32 acl_to_mode(const void *acl, size_t len, u32 mode)
{
	struct list l = list_of(acl, len);

	mode &= ~(u32)0777;
	for (u32 i = 0; i < l.nr; i++) {
		int shift = shift_of(&l, &l.e[i]);

		if (shift >= 0)
			mode |= perm_of(&l.e[i]) << shift;
	}
	return mode;
}

void acl_chmod(void *acl, size_t len, u32 mode)
{
	struct list l = list_of(acl, len);

	for (u32 i = 0; i < l.nr; i++) {
		int shift = shift_of(&l, &l.e[i]);

		if (shift >= 0)
			set_perm(&l.e[i], mode >> shift);
	}
}

u32 acl_create(void *acl, size_t len, u32 mode)
{
	struct list l = list_of(acl, len);

	for (u32 i = 0; i < l.nr; i++) {
		int shift = shift_of(&l, &l.e[i]);

		if (shift >= 0)
			set_perm(&l.e[i], perm_of(&l.e[i]) & mode >> shift);
	}
	return acl_to_mode(acl, len, mode);
}

/* ---- new inodes ---- */

int acl_inherit_in(struct view *v, const struct inode_edit *dir, u32 umask, u32 *mode,
		   struct acl_new *out)
{
	int r = -ENODATA;

	out->len = 0;
	out->access = out->inherit = false;
	if (S_ISLNK(*mode))
		return 0;
	if (dir->attr.xattrs)
		r = xattr_get_in(v, dir->ip, ACL_DEFAULT, out->dflt, sizeof(out->dflt), &out->len);
	if (r == -ENODATA) {
		*mode &= ~(umask & 0777);
		return 0;
	}
	if (r == 0 && acl_check(out->dflt, out->len))
		r = corrupt(WHY_ACL_DEFAULT, dir->ip->ino, CORRUPT_NO_SECTOR);
	if (r)
		return r;
	memcpy(out->acl, out->dflt, out->len);
	*mode = acl_create(out->acl, out->len, *mode);
	out->access = !acl_is_mode(out->acl, out->len);
	out->inherit = S_ISDIR(*mode);
	return 0;
}

int acl_add_in(struct view *v, u64 ino, const struct acl_new *n)
{
	int r = 0;

	if (n->access)
		r = xattr_add_in(v, ino, ACL_ACCESS, n->acl, n->len);
	if (r == 0 && n->inherit)
		r = xattr_add_in(v, ino, ACL_DEFAULT, n->dflt, n->len);
	return r;
}
