/*
 * Values of tree items: checks of one item by itself, and the hashes of names.
 *
 * Rule: what fmt_value_check() passes can be used without further bounds checks: lengths inside a
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
static bool inline_valid(const struct fmt_inode *i)
{
	u32 fmt = get32(i->mode) & S_IFMT, len = get16(i->inline_len);
	bool inl = get32(i->flags) & FMT_IFLAG_INLINE;

	if (fmt == S_IFLNK)
		return len > 0 && get64(i->size) == len;
	if (inl && fmt != S_IFREG)
		return false;
	if (inl)
		return len <= FMT_INLINE_MAX && get64(i->size) == len;
	return len == 0;
}

static int inode_check(struct fmt_key k, const void *val, u32 len)
{
	const struct fmt_inode *i = val;

	if (len < sizeof(*i) || len != sizeof(*i) + get16(i->inline_len))
		return -EUCLEAN;
	if (k.a < FMT_ROOT_INO || k.b != 0)
		return -EUCLEAN;
	if (!mode_valid(get32(i->mode)) || get64(i->size) > FMT_SIZE_MAX)
		return -EUCLEAN;
	if (!time_valid(i->atime) || !time_valid(i->mtime) || !time_valid(i->ctime) ||
	    !time_valid(i->btime))
		return -EUCLEAN;
	return inline_valid(i) ? 0 : -EUCLEAN;
}

/* A name as one component of a path: nothing that a kernel would stumble over. */
static bool name_valid(const char *name, u32 len)
{
	if (len == 0 || memchr(name, '/', len) || memchr(name, 0, len))
		return false;
	return !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

static int dirent_check(struct fmt_key k, const void *val, u32 len)
{
	const struct fmt_dirent *d = val;

	if (len < sizeof(*d) || len != sizeof(*d) + d->namelen)
		return -EUCLEAN;
	if (k.a < FMT_ROOT_INO || k.b < 256 || k.b > INT64_MAX)
		return -EUCLEAN;
	if (get64(d->ino) < FMT_ROOT_INO || !mode_valid((u32)d->type << 12))
		return -EUCLEAN;
	return name_valid(d->name, d->namelen) ? 0 : -EUCLEAN;
}

static int extent_check(struct fmt_key k, const void *val, u32 len, const struct fmt_geo *g)
{
	const struct fmt_extent *e = val;
	u64 disk, nr;

	if (len != sizeof(*e) || k.a < FMT_ROOT_INO || get32(e->flags) != 0)
		return -EUCLEAN;
	disk = get64(e->disk);
	nr = get32(e->nr);
	if (nr == 0 || disk < fmt_space_start(g, 0) || disk >= g->nr_sectors ||
	    nr > g->nr_sectors - disk)
		return -EUCLEAN;
	/* A block may reach beyond the largest size, but not beyond what the key can say. */
	if (k.b > FMT_SIZE_MAX >> SECTOR_SHIFT ||
	    k.b + nr > (FMT_SIZE_MAX >> SECTOR_SHIFT) + FMT_BLOCK_MAX / SECTOR_SIZE)
		return -EUCLEAN;
	return 0;
}

static int xattr_check(struct fmt_key k, const void *val, u32 len)
{
	const struct fmt_xattr *x = val;
	u32 total;

	if (k.a < FMT_ROOT_INO || k.b >> 16 == 0)
		return -EUCLEAN;
	if ((k.b & 0xff) != 0)
		return len > 0 && len <= FMT_XATTR_CHUNK ? 0 : -EUCLEAN;
	if (len < sizeof(*x) || x->namelen == 0 || x->chunks == 0)
		return -EUCLEAN;
	total = get32(x->value_len);
	if (total > XATTR_VALUE_MAX || len < sizeof(*x) + x->namelen)
		return -EUCLEAN;
	if (memchr(x->name, 0, x->namelen))
		return -EUCLEAN;
	/* Exactly all of the value that is not in further chunks. */
	if (len - sizeof(*x) - x->namelen > total)
		return -EUCLEAN;
	if (x->chunks == 1 && len - sizeof(*x) - x->namelen != total)
		return -EUCLEAN;
	return 0;
}

static int orphan_check(struct fmt_key k, const void *val, u32 len)
{
	const struct fmt_orphan *o = val;

	if (len != sizeof(*o) || k.a <= FMT_ROOT_INO || k.b != 0)
		return -EUCLEAN;
	if (o->kind != FMT_ORPHAN_DELETE && o->kind != FMT_ORPHAN_TRUNCATE)
		return -EUCLEAN;
	return get64(o->size) <= FMT_SIZE_MAX ? 0 : -EUCLEAN;
}

int fmt_value_check(enum fmt_tree t, struct fmt_key k, const void *val, u32 len,
		    const struct fmt_geo *g)
{
	switch (t) {
	case FMT_TREE_INODE:
		return inode_check(k, val, len);
	case FMT_TREE_DIRENT:
		return dirent_check(k, val, len);
	case FMT_TREE_EXTENT:
		return extent_check(k, val, len, g);
	case FMT_TREE_XATTR:
		return xattr_check(k, val, len);
	case FMT_TREE_ORPHAN:
		return orphan_check(k, val, len);
	case FMT_NR_TREES:
		break;
	}
	return -EUCLEAN;
}
