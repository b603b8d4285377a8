/*
 * Values of tree items: checks of one item by itself, and the hashes of names.
 *
 * Rule: what fmt_value_why() passes can be used without further bounds checks: lengths inside a
 * value agree with the length of the value, disk ranges lie inside the space of the device. What
 * needs a second item to decide (link counts, overlaps, owners) is the business of src/check.
 *
 * Pure functions, no locks.
 */
#include "format/format.h"

#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/hash.h"

#define NAME_HASH_BITS 55u
#define XATTR_HASH_BITS 48u
#define XATTR_VALUE_MAX 65536u

static u64 name_hash(const struct fmt_geo *g, const char *name, u32 len, unsigned bits)
{
	u64 h = hash64_seed(name, len, g->hash_seed) & ((1ull << bits) - 1);

	return h ? h : 1;
}

u64 fmt_name_hash(const struct fmt_geo *g, const char *name, u32 len)
{
	return name_hash(g, name, len, NAME_HASH_BITS);
}

u64 fmt_xattr_hash(const struct fmt_geo *g, const char *name, u32 len)
{
	return name_hash(g, name, len, XATTR_HASH_BITS);
}

u32 fmt_map_csum(const void *sector)
{
	u32 h = hash32(sector, SECTOR_SIZE);

	return h < FMT_MAP_CSUM_MIN ? h + FMT_MAP_CSUM_MIN : h;
}

static bool mode_valid(u32 mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return (mode & ~(u32)(S_IFMT | 07777)) == 0;
	}
	return false;
}

static bool time_valid(struct fmt_time t)
{
	return get32(t.nsec) < 1000000000u;
}

/* Data in the item: symbolic links, and regular files that say so. */
static enum why inline_why(const struct fmt_inode *i)
{
	u32 fmt = get32(i->mode) & S_IFMT, len = get16(i->inline_len);
	bool inl = get32(i->flags) & FMT_IFLAG_INLINE;

	if (fmt == S_IFLNK)
		return len > 0 && get64(i->size) == len ? WHY_NONE : WHY_SYMLINK;
	if (inl && fmt != S_IFREG)
		return WHY_INLINE;
	if (!inl)
		return len == 0 ? WHY_NONE : WHY_INLINE_EXTRA;
	if (len > FMT_INLINE_MAX)
		return WHY_INLINE_LONG;
	return get64(i->size) == len ? WHY_NONE : WHY_INLINE_SIZE;
}

static enum why inode_why(struct fmt_key k, const void *val, u32 len)
{
	const struct fmt_inode *i = val;

	if (len < sizeof(*i))
		return WHY_INODE_SHORT;
	if (len != sizeof(*i) + get16(i->inline_len))
		return WHY_INODE_LENGTH;
	if (k.a < FMT_ROOT_INO)
		return WHY_INODE_NUMBER;
	if (k.b != 0)
		return WHY_INODE_KEY;
	if (!mode_valid(get32(i->mode)))
		return WHY_INODE_MODE;
	if (get64(i->size) > FMT_SIZE_MAX)
		return WHY_INODE_SIZE;
	if (!time_valid(i->atime) || !time_valid(i->mtime) || !time_valid(i->ctime) ||
	    !time_valid(i->btime))
		return WHY_INODE_TIME;
	return inline_why(i);
}

/* A name as one component of a path: nothing that a kernel would stumble over. */
static bool name_valid(const char *name, u32 len)
{
	if (len == 0 || memchr(name, '/', len) || memchr(name, 0, len))
		return false;
	return !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

static enum why dirent_why(struct fmt_key k, const void *val, u32 len)
{
	const struct fmt_dirent *d = val;

	if (len < sizeof(*d))
		return WHY_DIRENT_SHORT;
	if (len != sizeof(*d) + d->namelen)
		return WHY_DIRENT_LENGTH;
	if (k.a < FMT_ROOT_INO)
		return WHY_DIRENT_DIR;
	if (k.b < 256 || k.b > INT64_MAX)
		return WHY_DIRENT_COOKIE;
	if (get64(d->ino) < FMT_ROOT_INO)
		return WHY_DIRENT_INO;
	if (!mode_valid((u32)d->type << 12))
		return WHY_DIRENT_TYPE;
	return name_valid(d->name, d->namelen) ? WHY_NONE : WHY_DIRENT_NAME;
}

static enum why extent_disk_why(u64 disk, u32 nr, const struct fmt_geo *g)
{
	if (nr == 0)
		return WHY_EXTENT_EMPTY;
	if (disk < fmt_space_start(g, 0))
		return WHY_EXTENT_METADATA;
	if (disk >= g->nr_sectors)
		return WHY_EXTENT_DISK;
	return nr <= g->nr_sectors - disk ? WHY_NONE : WHY_EXTENT_DISK_END;
}

static enum why extent_why(struct fmt_key k, const void *val, u32 len, const struct fmt_geo *g)
{
	const struct fmt_extent *e = val;
	enum why why;

	if (len != sizeof(*e))
		return WHY_EXTENT_LENGTH;
	if (k.a < FMT_ROOT_INO)
		return WHY_EXTENT_INO;
	if (get32(e->flags) != 0)
		return WHY_EXTENT_FLAGS;
	why = extent_disk_why(get64(e->disk), get32(e->nr), g);
	if (why)
		return why;
	if (k.b > FMT_SIZE_MAX >> SECTOR_SHIFT)
		return WHY_EXTENT_OFFSET;
	/* A block may reach beyond the largest size, but not beyond what the key can say. */
	if (k.b + get32(e->nr) > (FMT_SIZE_MAX >> SECTOR_SHIFT) + FMT_BLOCK_MAX / SECTOR_SIZE)
		return WHY_EXTENT_OFFSET_END;
	return WHY_NONE;
}

/* The first piece: head, name, the beginning of the value. */
static enum why xattr_first_why(const struct fmt_xattr *x, u32 len)
{
	u32 total = get32(x->value_len), have;

	if (x->namelen == 0)
		return WHY_XATTR_NO_NAME;
	if (x->chunks == 0)
		return WHY_XATTR_NO_PIECE;
	if (total > XATTR_VALUE_MAX)
		return WHY_XATTR_VALUE_MAX;
	if (len < sizeof(*x) + x->namelen)
		return WHY_XATTR_NAME_CUT;
	if (memchr(x->name, 0, x->namelen))
		return WHY_XATTR_NAME_ZERO;
	/* Exactly all of the value that is not in further chunks. */
	have = len - (u32)sizeof(*x) - x->namelen;
	if (have > total)
		return WHY_XATTR_FIRST_LONG;
	return x->chunks > 1 || have == total ? WHY_NONE : WHY_XATTR_FIRST_CUT;
}

static enum why xattr_why(struct fmt_key k, const void *val, u32 len)
{
	bool first = (k.b & 0xff) == 0;

	if (k.a < FMT_ROOT_INO)
		return WHY_XATTR_INO;
	if (k.b >> 16 == 0)
		return WHY_XATTR_HASH;
	if (!first && len == 0)
		return WHY_XATTR_PIECE_EMPTY;
	if (!first)
		return len <= FMT_XATTR_CHUNK ? WHY_NONE : WHY_XATTR_PIECE_LONG;
	if (len < sizeof(struct fmt_xattr))
		return WHY_XATTR_SHORT;
	return xattr_first_why(val, len);
}

static enum why orphan_why(struct fmt_key k, const void *val, u32 len)
{
	const struct fmt_orphan *o = val;

	if (len != sizeof(*o))
		return WHY_ORPHAN_LENGTH;
	if (k.a <= FMT_ROOT_INO)
		return WHY_ORPHAN_INO;
	if (k.b != 0)
		return WHY_ORPHAN_KEY;
	if (o->kind != FMT_ORPHAN_DELETE && o->kind != FMT_ORPHAN_TRUNCATE)
		return WHY_ORPHAN_KIND;
	return get64(o->size) <= FMT_SIZE_MAX ? WHY_NONE : WHY_ORPHAN_SIZE;
}

enum why fmt_value_why(enum fmt_tree t, struct fmt_key k, const void *val, u32 len,
		       const struct fmt_geo *g)
{
	switch (t) {
	case FMT_TREE_INODE:
		return inode_why(k, val, len);
	case FMT_TREE_DIRENT:
		return dirent_why(k, val, len);
	case FMT_TREE_EXTENT:
		return extent_why(k, val, len, g);
	case FMT_TREE_XATTR:
		return xattr_why(k, val, len);
	case FMT_TREE_ORPHAN:
		return orphan_why(k, val, len);
	case FMT_NR_TREES:
		break;
	}
	return WHY_VALUE_TREE;
}
