/*
 * Copying a range from file to file without the caller: from the folios of the one into those of
 * the other.
 *
 * 1. The two inodes' locks are never held together: folios of the source are referenced under its
 *    lock, then written under the target's. A source that changes meanwhile gives old or new bytes,
 *    as with read(2) and write(2).
 * 2. Holes of the source become holes; a target that ends in one gets its size at the end.
 * 3. Bytes of one file are never read after they were written by the same call: ranges of one file
 *    do not overlap (the caller's caller has checked; checked here again).
 */
#include <linux/falloc.h>

#include "base/err.h"
#include "fs/file_priv.h"

#define COPY_SLICES 64u

struct copy {
	struct inode *src, *dst;
	u64 spos, dpos, len;    /* what is left */
	unsigned flags;
	struct readahead ra;
};

static void advance(struct copy *c, u64 bytes)
{
	c->spos += bytes;
	c->dpos += bytes;
	c->len -= bytes;
}

/* What lies at spos: bytes of it, and is it a hole? */
static int look(struct copy *c, u64 *bytes, bool *hole)
{
	struct iomap_file *f = &c->src->file;
	struct iomap map;
	int r;

	rwlock_rdlock(&c->src->lock);
	r = f->ops->map(f, c->spos, c->len, IOMAP_REPORT, &map);
	rwlock_unlock(&c->src->lock);
	if (r)
		return r;
	*bytes = MIN(c->len, map.offset + map.length - c->spos);
	*hole = map.type == IOMAP_HOLE;
	return 0;
}

/* What the target has there goes, what it has not stays so. */
static int copy_hole(struct copy *c, u64 bytes)
{
	u64 size = inode_size(c->dst);
	int r = 0;

	if (c->dpos < size)
		r = fs_fallocate(c->dst, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, c->dpos,
				 MIN(bytes, size - c->dpos));
	if (!r)
		advance(c, bytes);
	return r;
}

static int write_slices(struct copy *c, const struct iomap_slice *slices, int nr)
{
	int r = 0;

	for (int i = 0; i < nr; i++) {
		ssize_t n;

		if (r)
			continue;
		n = fs_write(c->dst, c->dpos, slices[i].data, slices[i].len, c->flags);
		if (n > 0)
			advance(c, (u64)n);
		if (n != (ssize_t)slices[i].len)
			r = n < 0 ? (int)n : -ENOSPC;
	}
	for (int i = 0; i < nr; i++)
		if (slices[i].folio)
			folio_put(slices[i].folio);
	return r;
}

/* 1: made progress, 0: end of the source, -errno. */
static int copy_some(struct copy *c)
{
	struct iomap_slice slices[COPY_SLICES];
	u64 bytes, was = c->len;
	bool hole;
	int n, r = look(c, &bytes, &hole);

	if (r)
		return r;
	if (hole) {
		r = copy_hole(c, bytes);
		return r ? r : 1;
	}
	n = fs_read_slices(c->src, c->spos, bytes, &c->ra, NULL, slices, COPY_SLICES, &bytes);
	if (n <= 0)
		return n;
	r = write_slices(c, slices, n);
	return r && c->len == was ? r : 1;
}

/* A hole at the end makes the target longer; without that *len bytes of it are left. */
static int end_with_hole(const struct copy *c, u64 *len)
{
	u64 size = inode_size(c->dst), missing = c->dpos > size ? c->dpos - size : 0;
	int r = missing ? fs_truncate(c->dst, c->dpos) : 0;

	if (!r || missing >= *len)
		return r;
	*len -= missing;
	return 0;
}

static bool overlap(const struct copy *c, u64 len)
{
	return c->src == c->dst && c->spos < c->dpos + len && c->dpos < c->spos + len;
}

ssize_t fs_copy_range(struct inode *src, u64 spos, struct inode *dst, u64 dpos, u64 len,
		      unsigned flags)
{
	const unsigned sync = FS_WRITE_SYNC | FS_WRITE_DSYNC;
	struct copy c = { .src = src, .dst = dst, .spos = spos, .dpos = dpos,
			  .flags = flags & ~sync };
	u64 size = inode_size(src);
	int r = file_may_write(dst);

	if (!r && !S_ISREG(fs_mode(src)))
		r = S_ISDIR(fs_mode(src)) ? -EISDIR : -EINVAL;
	if (r || spos >= size)
		return r;
	len = MIN(len, size - spos);
	if (dpos > FMT_SIZE_MAX || len > FMT_SIZE_MAX - dpos)
		return -EFBIG;
	if (overlap(&c, len))
		return -EINVAL;
	c.len = len;
	while (c.len && (r = copy_some(&c)) > 0)
		;
	len -= c.len;
	/* What was copied counts, whatever came then. */
	r = len ? end_with_hole(&c, &len) : r;
	if (len && r >= 0 && (flags & sync))
		r = fs_fsync(dst, !(flags & FS_WRITE_SYNC));
	return len && r >= 0 ? (ssize_t)len : r;
}
