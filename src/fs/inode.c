/*
 * One inode in memory: its life as an object, its item on the disk, and how changes of one reach
 * the other.
 *
 * Rules:
 *  1. While an inode is in memory, ip->attr is the truth; the item follows, in the same handle
 *     (struct inode_edit) or later (inode_mark_dirty, inode_store).
 *  2. Handles are serialised, so what a body copies at its start and what its publish callback
 *     changes is one atomic step for all fields that only handles change (nlink, parent, entries,
 *     xattrs, sectors, disk size). The other fields may change between the two under ip->state
 *     alone: publish writes back only those of them that the body changed.
 *  3. Storing clears the dirty mark only if nobody marked again since the body copied the
 *     attributes (dirty_gen).
 *  4. The sequence numbers are raised before, or together with, clearing the dirty mark (both
 *     under ip->state), so fsync, which looks at both, misses nothing.
 *  5. The item's size never exceeds what is written: it is ip->disk_size, not file.size.
 *
 * Callers: fs only. Locks: ip->state inside RANK_META; ip->lock as inode.h says.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/time.h"
#include "fs/inode.h"

struct timespec fs_now(const struct fs *fs)
{
	return fs->opts.kernel_times ? now_real_coarse() : now_real();
}

/* ---- the object ---- */

struct inode *inode_new(struct fs *fs, u64 ino)
{
	struct inode *ip = calloc(1, sizeof(*ip));

	if (!ip)
		return NULL;
	ip->fs = fs;
	ip->ino = ino;
	ip->refs = 1;
	rwlock_init(&ip->lock, RANK_INODE);
	mutex_init(&ip->state, RANK_INODE_STATE);
	file_inode_init(ip);
	return ip;
}

void inode_drop(struct inode *ip)
{
	if (!ip)
		return;
	cache_drop(&ip->file.mapping, 0, UINT64_MAX);
	file_inode_fini(ip);
	mutex_fini(&ip->state);
	rwlock_fini(&ip->lock);
	free(ip);
}

u64 inode_size(const struct inode *ip)
{
	return __atomic_load_n(&ip->file.size, __ATOMIC_ACQUIRE);
}

bool inode_is_idle(const struct inode *ip)
{
	const struct mapping *m = &ip->file.mapping;

	return !__atomic_load_n(&ip->dirty, __ATOMIC_ACQUIRE) && !ip->lost_same &&
	       (!ip->overwrite_ticket ||
		ip->overwrite_failures == blk_flush_failures(ip->fs->dev)) &&
	       !__atomic_load_n(&m->nr_dirty, __ATOMIC_ACQUIRE) &&
	       !__atomic_load_n(&m->nr_lost, __ATOMIC_ACQUIRE) &&
	       !__atomic_load_n(&m->nr_writeback, __ATOMIC_ACQUIRE) && TAILQ_EMPTY(&ip->done) &&
	       TAILQ_EMPTY(&ip->completing) && RB_EMPTY(&ip->delalloc);
}

u64 fs_ino(const struct inode *ip)
{
	return ip->ino;
}

void inode_set_mode(struct ino_attr *a, u32 mode)
{
	__atomic_store_n(&a->mode, mode, __ATOMIC_RELAXED);
}

u32 fs_mode(const struct inode *ip)
{
	return __atomic_load_n(&ip->attr.mode, __ATOMIC_RELAXED);
}

/* ---- the item ---- */

static struct fmt_time time_encode(struct timespec t)
{
	return (struct fmt_time){ put64((u64)t.tv_sec), put32((u32)t.tv_nsec) };
}

static struct timespec time_decode(struct fmt_time t)
{
	return (struct timespec){ (time_t)get64(t.sec), (long)get32(t.nsec) };
}

void inode_encode(const struct ino_attr *a, u64 size, bool inl, u32 inline_len,
		  struct fmt_inode *out)
{
	u32 flags = a->flags & ~(u32)FMT_IFLAG_INLINE;

	memset(out, 0, sizeof(*out));
	out->mode = put32(a->mode);
	out->uid = put32(a->uid);
	out->gid = put32(a->gid);
	out->nlink = put32(a->nlink);
	out->rdev = put64(a->rdev);
	out->size = put64(size);
	out->sectors = put64(a->sectors);
	out->parent = put64(a->parent);
	out->entries = put64(a->entries);
	out->flags = put32(inl ? flags | FMT_IFLAG_INLINE : flags);
	out->gen = put32(a->gen);
	out->xattrs = put32(a->xattrs);
	out->inline_len = put16((u16)inline_len);
	out->atime = time_encode(a->atime);
	out->mtime = time_encode(a->mtime);
	out->ctime = time_encode(a->ctime);
	out->btime = time_encode(a->btime);
}

static void inode_decode(const struct fmt_inode *i, struct ino_attr *a)
{
	*a = (struct ino_attr){
		.mode = get32(i->mode),
		.uid = get32(i->uid),
		.gid = get32(i->gid),
		.nlink = get32(i->nlink),
		.flags = get32(i->flags) & ~(u32)FMT_IFLAG_INLINE,
		.gen = get32(i->gen),
		.xattrs = get32(i->xattrs),
		.rdev = get64(i->rdev),
		.sectors = get64(i->sectors),
		.parent = get64(i->parent),
		.entries = get64(i->entries),
		.atime = time_decode(i->atime),
		.mtime = time_decode(i->mtime),
		.ctime = time_decode(i->ctime),
		.btime = time_decode(i->btime),
	};
}

int inode_get_item(struct view *v, u64 ino, const struct fmt_inode **item, const void **inl,
		   u32 *inl_len)
{
	struct fmt_key k = { ino, 0 };
	const void *val;
	enum why why;
	u32 len;
	int r = btree_get(v, FMT_TREE_INODE, k, &val, &len);

	if (r)
		return r;
	why = fmt_value_why(FMT_TREE_INODE, k, val, len, view_geo(v));
	if (why)
		return corrupt(why, ino, CORRUPT_NO_SECTOR);
	*item = val;
	if (inl)
		*inl = (const char *)val + sizeof(**item);
	if (inl_len)
		*inl_len = get16((*item)->inline_len);
	return 0;
}

int inode_store_in(struct view *v, struct inode *ip, const struct ino_attr *a, u64 size)
{
	const struct fmt_inode *old;
	struct fmt_inode item;
	bool inl;
	u32 inline_len;
	int r = inode_get_item(v, ip->ino, &old, NULL, &inline_len);

	if (r == -ENOENT)
		return corrupt(WHY_INODE_STORE, ip->ino, CORRUPT_NO_SECTOR);
	if (r)
		return r;
	inl = get32(old->flags) & FMT_IFLAG_INLINE;
	inode_encode(a, size, inl, inline_len, &item);
	if (!memcmp(&item, old, sizeof(item)))
		return 0;
	return btree_patch(v, FMT_TREE_INODE, (struct fmt_key){ ip->ino, 0 }, 0, &item,
			   sizeof(item));
}

struct load {
	u64 ino;
	struct ino_attr attr;
	u64 size;
	bool inl;
};

static int load_body(struct view *v, void *arg)
{
	struct load *l = arg;
	const struct fmt_inode *item;
	int r = inode_get_item(v, l->ino, &item, NULL, NULL);

	if (r)
		return r == -ENOENT ? -ESTALE : r;
	inode_decode(item, &l->attr);
	l->size = get64(item->size);
	l->inl = get32(item->flags) & FMT_IFLAG_INLINE;
	return 0;
}

int inode_load(struct inode *ip)
{
	struct load l = { .ino = ip->ino };
	int r = jnl_read(ip->fs->jnl, load_body, &l);

	if (r)
		return r;
	/* Only an orphan: whoever had it open is gone. */
	if (l.attr.nlink == 0)
		return -ESTALE;
	ip->attr = l.attr;
	ip->disk_size = l.size;
	ip->inl = ip->inl_on_disk = l.inl;
	__atomic_store_n(&ip->file.size, l.size, __ATOMIC_RELEASE);
	return 0;
}

/* ---- changes by handles ---- */

void inode_edit_begin(struct inode_edit *e, struct inode *ip)
{
	mutex_lock(&ip->state);
	e->ip = ip;
	e->attr = e->was = ip->attr;
	e->disk_size = ip->disk_size;
	e->gen = ip->dirty_gen;
	e->deleted = e->named = false;
	mutex_unlock(&ip->state);
}

static bool time_same(struct timespec x, struct timespec y)
{
	return x.tv_sec == y.tv_sec && x.tv_nsec == y.tv_nsec;
}

/* Rule 2: of the fields that may change without a handle, only those that this one changed. */
static void merge_lazy(struct ino_attr *to, const struct inode_edit *e)
{
	const struct ino_attr *is = &e->attr, *was = &e->was;

	if (is->mode != was->mode)
		inode_set_mode(to, is->mode);
	if (is->uid != was->uid)
		to->uid = is->uid;
	if (is->gid != was->gid)
		to->gid = is->gid;
	if (is->flags != was->flags)
		to->flags = is->flags;
	if (!time_same(is->atime, was->atime))
		to->atime = is->atime;
	if (!time_same(is->mtime, was->mtime))
		to->mtime = is->mtime;
	if (!time_same(is->ctime, was->ctime))
		to->ctime = is->ctime;
}

static void raise_seq(struct inode *ip, u64 seq, bool data_too)
{
	ip->sync_seq = MAX(ip->sync_seq, seq);
	if (data_too)
		ip->datasync_seq = MAX(ip->datasync_seq, seq);
}

static bool lazy_only(const struct inode_edit *e)
{
	const struct ino_attr *is = &e->attr, *was = &e->was;

	return is->nlink == was->nlink && is->entries == was->entries &&
	       is->parent == was->parent && is->xattrs == was->xattrs &&
	       is->sectors == was->sectors && !e->deleted;
}

static void edit_published(void *arg, u64 seq)
{
	struct inode_edit *e = arg;
	struct inode *ip = e->ip;
	bool data_too;

	mutex_lock(&ip->state);
	/* What was dirty for fdatasync is in this transaction now; so is a new size. */
	data_too = !lazy_only(e) || e->disk_size != ip->disk_size ||
		   (ip->dirty & INODE_DIRTY_ATTR);
	merge_lazy(&ip->attr, e);
	ip->attr.nlink = e->attr.nlink;
	ip->attr.parent = e->attr.parent;
	ip->attr.entries = e->attr.entries;
	ip->attr.xattrs = e->attr.xattrs;
	ip->attr.sectors = e->attr.sectors;
	ip->disk_size = e->disk_size;
	raise_seq(ip, seq, data_too);
	if (ip->dirty_gen == e->gen)
		__atomic_store_n(&ip->dirty, 0, __ATOMIC_RELEASE);
	if (e->deleted || e->named)
		__atomic_store_n(&ip->deleted, e->deleted, __ATOMIC_RELEASE);
	mutex_unlock(&ip->state);
}

int inode_edit_end(struct view *v, struct inode_edit *e)
{
	int r = inode_store_in(v, e->ip, &e->attr, e->disk_size);

	return r ? r : view_on_publish(v, edit_published, e);
}

void inode_note_seq(struct inode *ip, u64 seq, bool data_too)
{
	mutex_lock(&ip->state);
	raise_seq(ip, seq, data_too);
	mutex_unlock(&ip->state);
}

/* ---- changes without a handle ---- */

void inode_mark_dirty(struct inode *ip, u32 how)
{
	struct fs *fs = ip->fs;

	if (how) {
		mutex_lock(&ip->state);
		ip->dirty_gen++;
		if (!ip->dirty)
			ip->dirty_ns = now_ns();
		__atomic_store_n(&ip->dirty, ip->dirty | how, __ATOMIC_RELEASE);
		mutex_unlock(&ip->state);
	}
	mutex_lock(&fs->dirty_lock);
	if (!ip->on_dirty_list) {
		ip->on_dirty_list = true;
		TAILQ_INSERT_TAIL(&fs->dirty, ip, dirty_link);
	}
	flusher_note(fs);
	mutex_unlock(&fs->dirty_lock);
}

static int store_body(struct view *v, void *arg)
{
	struct inode_edit *e = arg;

	inode_edit_begin(e, e->ip);
	return inode_edit_end(v, e);
}

int inode_store(struct inode *ip)
{
	struct inode_edit e = { .ip = ip };

	if (!__atomic_load_n(&ip->dirty, __ATOMIC_ACQUIRE))
		return 0;
	return jnl_run(ip->fs->jnl, BTREE_CREDITS, store_body, &e, NULL);
}

int inode_store_old(struct inode *ip, u64 age_ns)
{
	bool old;

	mutex_lock(&ip->state);
	old = ip->dirty && now_ns() - ip->dirty_ns >= age_ns;
	mutex_unlock(&ip->state);
	return old ? inode_store(ip) : 0;
}
