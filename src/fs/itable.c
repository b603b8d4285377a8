/*
 * The table of inodes in memory: numbers to objects, references, eviction, deletion.
 *
 * Invariants:
 *  1. At most one object of a number is in the table that is not `loading`; a loader that finds
 *     another object when it is done throws its own away.
 *  2. refs changes from 1 to 0 only under table_lock; from 0 to 1 under table_lock, or under
 *     dirty_lock for an inode on the dirty list (the flusher). So whoever holds both and sees 0
 *     has the inode alone.
 *  3. Unused inodes with links are on the LRU list; the flusher may hold some of them, which
 *     eviction passes by. Inodes without links stay until they are deleted.
 *  4. An evicted inode is idle: what is on the disk or published is the truth about it.
 *  5. Deleting needs: no links, no references, not known outside. `dying` stays in the table until
 *     the item is gone, so nobody loads it in between; fs_iget() says -ESTALE.
 *
 *  6. What an evicted inode had published or written need not be durable yet. Nobody remembers
 *     which one it was, so whoever is loaded later answers for all of them (fs->evicted): its
 *     fsync commits and flushes as far as the newest of them needs.
 *
 * Locks: table_lock (RANK_INODE_TABLE), inside it dirty_lock or the lock of the known table.
 * Loading, deleting and dropping run without them.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "fs/inode.h"
#include "fs/known.h"

#define TABLE_SIZE 16384u
#define UNUSED_MAX 8192u
#define EVICT_TRIES 8u
#define EVICT_PAUSE 64u
#define EVICT_AT_ONCE 2u               /* to come down again to UNUSED_MAX after a pause */

int itable_init(struct fs *fs)
{
	fs->table = calloc(TABLE_SIZE, sizeof(struct inode *));
	fs->known = known_new();
	if (!fs->table || !fs->known) {
		free(fs->table);
		known_free(fs->known);
		return -ENOMEM;
	}
	fs->table_size = TABLE_SIZE;
	mutex_init(&fs->table_lock, RANK_INODE_TABLE);
	cond_init(&fs->table_cond);
	mutex_init(&fs->dirty_lock, RANK_FLUSHER);
	cond_init(&fs->dirty_cond);
	fs->flusher_due_ns = FLUSHER_NEVER;
	TAILQ_INIT(&fs->unused);
	TAILQ_INIT(&fs->dirty);
	return 0;
}

/* ---- the hash, table_lock held ---- */

static struct inode **chain(struct fs *fs, u64 ino)
{
	return &fs->table[hash_mix64(ino) & (fs->table_size - 1)];
}

static struct inode *find(struct fs *fs, u64 ino)
{
	struct inode *ip = *chain(fs, ino);

	while (ip && ip->ino != ino)
		ip = ip->hash_next;
	return ip;
}

static void link_inode(struct fs *fs, struct inode *ip)
{
	struct inode **head = chain(fs, ip->ino);

	ip->hash_next = *head;
	*head = ip;
	__atomic_store_n(&fs->nr_inodes, fs->nr_inodes + 1, __ATOMIC_RELAXED);
}

static void unlink_inode(struct fs *fs, struct inode *ip)
{
	struct inode **p = chain(fs, ip->ino);

	while (*p != ip)
		p = &(*p)->hash_next;
	*p = ip->hash_next;
	__atomic_store_n(&fs->nr_inodes, fs->nr_inodes - 1, __ATOMIC_RELAXED);
}

static void lru_add(struct fs *fs, struct inode *ip)
{
	if (ip->on_lru)
		TAILQ_REMOVE(&fs->unused, ip, lru_link);
	else
		fs->nr_unused++;
	ip->on_lru = true;
	TAILQ_INSERT_TAIL(&fs->unused, ip, lru_link);
}

static void lru_remove(struct fs *fs, struct inode *ip)
{
	if (!ip->on_lru)
		return;
	ip->on_lru = false;
	TAILQ_REMOVE(&fs->unused, ip, lru_link);
	fs->nr_unused--;
}

/* Called while a handle publishes the inode: nobody can have loaded it before. */
void itable_insert(struct fs *fs, struct inode *ip)
{
	mutex_lock(&fs->table_lock);
	link_inode(fs, ip);
	mutex_unlock(&fs->table_lock);
}

/* ---- eviction ---- */

/* Rule 2: no user, not even the flusher. When it is taken, it leaves the dirty list for good. */
static bool take_alone(struct fs *fs, struct inode *ip, bool need_idle)
{
	bool alone;

	mutex_lock(&fs->dirty_lock);
	alone = __atomic_load_n(&ip->refs, __ATOMIC_ACQUIRE) == 0 &&
		(!need_idle || inode_is_idle(ip));
	if (alone && ip->on_dirty_list) {
		TAILQ_REMOVE(&fs->dirty, ip, dirty_link);
		ip->on_dirty_list = false;
	}
	mutex_unlock(&fs->dirty_lock);
	return alone;
}

/* Rule 6. table_lock held; the inode is alone and idle. */
static void note_evicted(struct fs *fs, const struct inode *ip)
{
	struct evicted *e = &fs->evicted;

	e->sync_seq = MAX(e->sync_seq, ip->sync_seq);
	if (!ip->overwrite_ticket || blk_flush_covers(fs->dev, ip->overwrite_ticket))
		return;
	if (!e->ticket || blk_flush_covers(fs->dev, e->ticket))
		e->failures = ip->overwrite_failures;
	e->failures = MIN(e->failures, ip->overwrite_failures);
	e->ticket = MAX(e->ticket, ip->overwrite_ticket);
}

/* table_lock held; nobody knows the inode yet. */
static void answer_for_evicted(struct fs *fs, struct inode *ip)
{
	const struct evicted *e = &fs->evicted;

	ip->sync_seq = ip->datasync_seq = e->sync_seq;
	if (!e->ticket || blk_flush_covers(fs->dev, e->ticket))
		return;
	ip->overwrite_ticket = e->ticket;
	ip->overwrite_failures = e->failures;
}

/*
 * One unused inode out of the table, or NULL. Busy ones go to the end of the queue; where there is
 * nothing else, the next puts do not look.
 */
static struct inode *pick_victim(struct fs *fs)
{
	if (fs->nr_unused <= UNUSED_MAX)
		return NULL;
	if (fs->evict_pause > 0) {
		fs->evict_pause--;
		return NULL;
	}
	for (unsigned i = 0; i < EVICT_TRIES && fs->nr_unused > UNUSED_MAX; i++) {
		struct inode *ip = TAILQ_FIRST(&fs->unused);

		if (take_alone(fs, ip, true)) {
			note_evicted(fs, ip);
			lru_remove(fs, ip);
			unlink_inode(fs, ip);
			return ip;
		}
		lru_add(fs, ip);
	}
	fs->evict_pause = EVICT_PAUSE;
	return NULL;
}

/* ---- deletion ---- */

static void delete_inode(struct fs *fs, struct inode *ip)
{
	/*
	 * Data in the item, in memory and on the disk: there is nothing else, unless a crash came
	 * between getting a place and being written there.
	 */
	bool placed = S_ISREG(fs_mode(ip)) &&
		      !(ip->inl && ip->inl_on_disk && ip->attr.sectors == 0);
	struct work before = work_begin(WORK_ORPHAN, ip->ino);
	int r = 0;

	/* With the inode: its delayed ranges and finished writes must not outlive the space. */
	if (!fs_readonly(fs) && placed)
		r = file_free_extents(fs, ip->ino, ip, 0);
	if (!fs_readonly(fs) && !r)
		r = orphan_delete(fs, ip->ino, false, ip->attr.xattrs != 0);
	if (r)
		log_err("inode %llu could not be deleted: %s; the next mount tries again",
			(unsigned long long)ip->ino, err_text(r));
	mutex_lock(&fs->table_lock);
	unlink_inode(fs, ip);
	cond_broadcast(&fs->table_cond);
	mutex_unlock(&fs->table_lock);
	inode_drop(ip);
	work_end(before);
}

/* table_lock held. Is it this thread's to delete? Then it is dying. */
static bool may_delete(struct fs *fs, struct inode *ip, bool ignore_known)
{
	if (!__atomic_load_n(&ip->deleted, __ATOMIC_ACQUIRE) || ip->dying || ip->loading)
		return false;
	if (!ignore_known && known_count(fs->known, ip->ino))
		return false;
	if (!take_alone(fs, ip, false))
		return false;
	lru_remove(fs, ip);
	ip->dying = true;
	return true;
}

void fs_memory(const struct fs *fs, struct fs_memory *out)
{
	out->inodes = __atomic_load_n(&fs->nr_inodes, __ATOMIC_RELAXED);
	out->known = known_nr(fs->known);
	out->bytes = out->inodes * sizeof(struct inode) + known_bytes(fs->known) +
		     fs->table_size * sizeof(struct inode *);
}

void fs_remember(struct fs *fs, u64 ino)
{
	known_add(fs->known, ino, 1);
}

void fs_forget(struct fs *fs, u64 ino, u64 count)
{
	struct inode *ip;
	bool mine;

	if (known_sub(fs->known, ino, count))
		return;
	mutex_lock(&fs->table_lock);
	ip = find(fs, ino);
	mine = ip && may_delete(fs, ip, false);
	mutex_unlock(&fs->table_lock);
	if (mine)
		delete_inode(fs, ip);
}

/* ---- references ---- */

struct inode *fs_ihold(struct inode *ip)
{
	__atomic_fetch_add(&ip->refs, 1, __ATOMIC_ACQ_REL);
	return ip;
}

static bool put_not_last(struct inode *ip)
{
	u32 refs = __atomic_load_n(&ip->refs, __ATOMIC_RELAXED);

	while (refs > 1)
		if (__atomic_compare_exchange_n(&ip->refs, &refs, refs - 1, true,
						__ATOMIC_RELEASE, __ATOMIC_RELAXED))
			return true;
	return false;
}

void fs_iput(struct inode *ip)
{
	struct inode *victim[EVICT_AT_ONCE] = { NULL };
	bool mine = false;
	struct fs *fs;
	u64 ino;

	if (!ip || put_not_last(ip))
		return;
	fs = ip->fs;
	ino = ip->ino;
	mutex_lock(&fs->table_lock);
	if (__atomic_fetch_sub(&ip->refs, 1, __ATOMIC_ACQ_REL) == 1) {
		if (!__atomic_load_n(&ip->deleted, __ATOMIC_ACQUIRE))
			lru_add(fs, ip);
		mine = may_delete(fs, ip, false);
		for (unsigned i = 0; i < EVICT_AT_ONCE; i++)
			victim[i] = pick_victim(fs);
	}
	mutex_unlock(&fs->table_lock);
	space_ahead_drop(fs->space, ino);
	if (mine)
		delete_inode(fs, ip);
	for (unsigned i = 0; i < EVICT_AT_ONCE; i++)
		inode_drop(victim[i]);
}

/* Waits while somebody loads it. table_lock held; NULL: not in memory. */
static struct inode *find_loaded(struct fs *fs, u64 ino)
{
	struct inode *ip;

	while ((ip = find(fs, ino)) && ip->loading)
		cond_wait(&fs->table_cond, &fs->table_lock);
	return ip;
}

static int take(struct fs *fs, struct inode *ip, struct inode **out)
{
	if (ip->dying)
		return -ESTALE;
	fs_ihold(ip);
	lru_remove(fs, ip);
	*out = ip;
	return 0;
}

/* The loader's end: into use, or away (rule 1: a new inode of this number may have come first). */
static int finish_load(struct fs *fs, struct inode *ip, int error, struct inode **out)
{
	struct inode *other;
	int r = error;

	mutex_lock(&fs->table_lock);
	ip->loading = false;
	other = find(fs, ip->ino);
	if (!error && other == ip) {
		answer_for_evicted(fs, ip);
		*out = ip;
		ip = NULL;
	} else {
		unlink_inode(fs, ip);
		if (other != ip)
			r = take(fs, other, out);
	}
	cond_broadcast(&fs->table_cond);
	mutex_unlock(&fs->table_lock);
	inode_drop(ip);
	return r;
}

int fs_iget(struct fs *fs, u64 ino, struct inode **out)
{
	struct inode *ip, *fresh;
	int r;

	if (ino == 0)
		return -ESTALE;
	mutex_lock(&fs->table_lock);
	ip = find_loaded(fs, ino);
	r = ip ? take(fs, ip, out) : -ENOENT;
	mutex_unlock(&fs->table_lock);
	if (ip)
		return r;

	fresh = inode_new(fs, ino);
	if (!fresh)
		return -ENOMEM;
	fresh->loading = true;
	mutex_lock(&fs->table_lock);
	ip = find_loaded(fs, ino);
	if (ip)
		r = take(fs, ip, out);
	else
		link_inode(fs, fresh);
	mutex_unlock(&fs->table_lock);
	if (ip) {
		inode_drop(fresh);
		return r;
	}
	return finish_load(fs, fresh, inode_load(fresh), out);
}

/* ---- the end ---- */

/* One that may be deleted, in chain *from or behind it; NULL: no more. table_lock held. */
static struct inode *next_deletable(struct fs *fs, u32 *from)
{
	for (; *from < fs->table_size; ++*from)
		for (struct inode *ip = fs->table[*from]; ip; ip = ip->hash_next)
			if (may_delete(fs, ip, true))
				return ip;
	return NULL;
}

/* Unlinked inodes that only the outside still knew: at unmount nobody can ask for them again. */
static void delete_all(struct fs *fs)
{
	struct inode *ip;
	u32 chain = 0;

	do {
		mutex_lock(&fs->table_lock);
		ip = next_deletable(fs, &chain);
		mutex_unlock(&fs->table_lock);
		if (ip)
			delete_inode(fs, ip);
	} while (ip);
}

static void report_lost(const struct inode *ip)
{
	u64 nr = ip->file.mapping.nr_dirty;

	if (ip->refs)
		log_err("inode %llu is still in use (%u) at unmount", (unsigned long long)ip->ino,
			ip->refs);
	if (nr && !ip->deleted)
		log_err("inode %llu: %llu KiB could not be written and are lost",
			(unsigned long long)ip->ino, (unsigned long long)nr * SECTOR_SIZE / 1024);
}

static void drop_chain(struct fs *fs, struct inode **head, bool crash)
{
	struct inode *ip;

	while ((ip = *head)) {
		*head = ip->hash_next;
		if (!crash)
			report_lost(ip);
		if (ip->on_dirty_list)
			TAILQ_REMOVE(&fs->dirty, ip, dirty_link);
		inode_drop(ip);
	}
}

void itable_fini(struct fs *fs, bool crash)
{
	if (!crash)
		delete_all(fs);
	for (u32 i = 0; i < fs->table_size; i++)
		drop_chain(fs, &fs->table[i], crash);
	free(fs->table);
	known_free(fs->known);
	cond_fini(&fs->dirty_cond);
	mutex_fini(&fs->dirty_lock);
	cond_fini(&fs->table_cond);
	mutex_fini(&fs->table_lock);
}
