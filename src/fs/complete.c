/*
 * Completion: finished writes become part of the file.
 *
 *	write ends (ioend)   the sectors are pending written: fills read them; one entry in
 *ip->done
 *	flush                one that began after the write ended makes the data durable
 *	handle               sector-map entries, the size and the end of inline data, all
 *published together
 *
 * 1. No map entry and no size joins a transaction before the data that it speaks of is durable.
 * 2. An entry stays in `done` or `completing` until its handle is published, so that whoever
 *    finds both empty knows that the transaction is in the inode's sequence numbers.
 * 3. Truncate and punch clip the entries under `place`, before the space is freed.
 * 4. The size is raised by the last handle of a round, never above what was the end of file
 *    when the write was sent.
 * 5. While the item holds bytes that have not reached their sector, nothing is completed: the
 *    new size without them would be a loss.
 * 6. A write of sectors whose entries stay (no checksums), that does not change the size, needs no
 *    handle: only a flush (overwrite_ticket).
 * 7. What was announced by an intent is closed by the same handle. It need not be committed for
 *    fsync: the intent is durable and so is the data.
 * 8. A finished write must be recorded, whatever memory there is: an entry of ip->spare, and the
 *    memory of its pending map entries, are its own from before it is sent (file_write_begin).
 * 9. A flush that fails may have taken any write that no flush had covered before, also if the next
 *    one succeeds. Such entries are lost: never completed, and file_complete() fails, until
 *    file_retry_lost() has made their sectors dirty again. What was overwritten is then bad on the
 *    disk, as after a write that failed, until it is written.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/time.h"
#include "fs/file_priv.h"

/* Buffers of sector map and group table that one handle may touch. */
#define COMPLETE_CREDITS 56u

/* ---- the end of a write ---- */

static bool done_join(struct inode *ip, const struct done_io *d)
{
	struct done_io *last = TAILQ_LAST(&ip->done, done_list);

	if (!last || !d->nr || last->lost || last->intent != d->intent ||
	    last->sector + last->nr != d->sector ||
	    last->disk + last->nr != d->disk || last->nr > SPACE_FREE_MAX - d->nr)
		return false;
	last->nr += d->nr;
	last->size_end = MAX(last->size_end, d->size_end);
	last->ticket = MAX(last->ticket, d->ticket);
	last->failures = MIN(last->failures, d->failures);
	return true;
}

struct done_io *done_new(void)
{
	return malloc(sizeof(struct done_io));
}

/* Takes d. state held. */
static void done_add(struct inode *ip, const struct done_io *new, struct done_io *d)
{
	if (TAILQ_EMPTY(&ip->done))
		ip->done_ns = now_ns();
	ip->done_ticket = MAX(ip->done_ticket, new->ticket);
	ip->done_sectors += new->nr;
	if (done_join(ip, new)) {
		free(d);
		return;
	}
	*d = *new;
	TAILQ_INSERT_TAIL(&ip->done, d, link);
	ip->nr_done++;
}

/* What the map will say of the sectors: their checksums, or after an error that they are bad. */
static void pending_note(struct inode *ip, const struct iomap_ioend *io)
{
	const u32 bad = FMT_MAP_BAD;

	if (!io->error)
		space_pending_set(ip->fs->space, io->disk, io->nr, io->entries);
	for (u32 i = 0; io->error && i < io->nr; i++)
		space_pending_set(ip->fs->space, io->disk + i, 1, &bad);
}

/* Rule 8. */
int file_write_begin(struct iomap_file *f, enum iomap_how how, u64 disk, u32 nr, unsigned ends)
{
	struct inode *ip = file_inode(f);
	struct done_list got = TAILQ_HEAD_INITIALIZER(got);
	struct done_io *d;
	int r = nr && how != IOMAP_SAME ? space_pending_hold(ip->fs->space, disk, nr) : 0;

	if (r)
		return r;
	for (unsigned i = 0; i < ends && !r; i++) {
		d = done_new();
		if (!d) {
			r = -ENOMEM;
			break;
		}
		d->failures = blk_flush_failures(f->dev);
		TAILQ_INSERT_TAIL(&got, d, link);
	}
	while (r && (d = TAILQ_FIRST(&got))) {
		TAILQ_REMOVE(&got, d, link);
		free(d);
	}
	if (r && nr && how != IOMAP_SAME)
		space_pending_drop(ip->fs->space, disk, nr);
	mutex_lock(&ip->state);
	TAILQ_CONCAT(&ip->spare, &got, link);
	mutex_unlock(&ip->state);
	return r;
}

/* state held */
static struct done_io *spare_take(struct inode *ip)
{
	struct done_io *d = TAILQ_FIRST(&ip->spare);

	ASSERT(d);
	TAILQ_REMOVE(&ip->spare, d, link);
	return d;
}

/* Takes d. state held. */
static void ioend_note(struct inode *ip, const struct iomap_ioend *io, struct done_io *new,
		       struct done_io *d)
{
	/* Spares leave in order: it is of this write or an older one. */
	new->failures = d->failures;
	if (io->unsent || (io->error && io->how != IOMAP_OVERWRITE)) {
		free(d);
		return;
	}
	if (new->nr)
		pending_note(ip, io);
	if (io->sector == 0 && !io->error)
		ip->inl_moved = true;
	if (new->nr || io->size_end > ip->disk_size || ip->inl_on_disk) {
		done_add(ip, new, d);
		return;
	}
	ip->overwrite_failures = ip->overwrite_ticket ? MIN(ip->overwrite_failures, new->failures)
						      : new->failures;
	ip->overwrite_ticket = MAX(ip->overwrite_ticket, MAX(new->ticket, (u64)1));
	free(d);
}

void file_ioend(struct iomap_file *f, const struct iomap_ioend *io)
{
	struct inode *ip = file_inode(f);
	struct done_io new = {
		.sector = io->sector,
		.disk = io->disk,
		.nr = io->how == IOMAP_SAME ? 0 : io->nr,
		.size_end = io->error ? 0 : io->size_end,
		.intent = io->intent,
		.same = io->how == IOMAP_SAME,
	};

	new.ticket = blk_flush_ticket(f->dev);
	mutex_lock(&ip->state);
	ioend_note(ip, io, &new, spare_take(ip));
	mutex_unlock(&ip->state);
	if (io->how != IOMAP_SAME)
		space_pending_drop(ip->fs->space, io->disk, io->nr);
	if (io->unsent && io->intent)
		jnl_intent_drop(io->intent, io->nr);
}

void done_size(struct inode *ip, u64 size, struct done_io *d)
{
	struct done_io new = { .size_end = size, .ticket = blk_flush_ticket(ip->fs->dev),
			       .failures = blk_flush_failures(ip->fs->dev) };

	mutex_lock(&ip->state);
	if (size > ip->disk_size)
		done_add(ip, &new, d);
	else
		free(d);
	mutex_unlock(&ip->state);
}

void done_first_dropped(struct inode *ip, struct done_io *d)
{
	struct done_io new = { .ticket = blk_flush_ticket(ip->fs->dev),
			       .failures = blk_flush_failures(ip->fs->dev) };

	mutex_lock(&ip->state);
	if (ip->inl_on_disk && !ip->inl) {
		ip->inl_moved = true;
		new.size_end = ip->disk_size;
		done_add(ip, &new, d);
		d = NULL;
	}
	mutex_unlock(&ip->state);
	free(d);
}

/* ---- taking back ---- */

#define DROPS_A_TIME 32u

/* How many of `drop` there are; they are noted no more. */
static u32 drops_take(struct inode *ip, struct jnl_intent_close *drop)
{
	struct done_io *d;
	u32 n = 0;

	mutex_lock(&ip->state);
	TAILQ_FOREACH(d, &ip->done, link) {
		if (!d->dropped)
			continue;
		if (n == DROPS_A_TIME)
			break;
		drop[n++] = (struct jnl_intent_close){ d->intent, d->dropped };
		d->dropped = 0;
		if (!d->nr)
			d->intent = NULL;
	}
	mutex_unlock(&ip->state);
	return n;
}

void done_dropped(struct inode *ip, bool published)
{
	struct jnl_intent_close drop[DROPS_A_TIME];
	u32 n;

	do {
		n = drops_take(ip, drop);
		/* If not, they stay open: a recovery finds out what the sectors hold. */
		for (u32 i = 0; published && i < n; i++)
			jnl_intent_drop(drop[i].intent, drop[i].nr);
	} while (n == DROPS_A_TIME);
}

/*
 * Cuts one entry; a piece behind the cut becomes an entry of its own. Entries don't overlap
 * (inplace.c, rule 1), so one at most reaches beyond both ends: *tail is enough.
 */
static void clip_one(struct inode *ip, struct done_io *d, u64 start, u64 end,
		     struct done_io **tail)
{
	u64 from = MAX(start, d->sector), to = MIN(end, d->sector + d->nr);
	u64 behind = d->sector + d->nr - to;

	if (from >= to)
		return;
	space_pending_clear(ip->fs->space, d->disk + (from - d->sector), (u32)(to - from));
	ip->done_sectors -= to - from;
	if (d->intent)
		d->dropped += (u32)(to - from);
	if (behind && from == d->sector) {
		d->disk += to - d->sector;
		d->sector = to;
		d->nr = (u32)behind;
		return;
	}
	if (behind) {
		ASSERT(*tail);
		**tail = *d;
		(*tail)->dropped = 0;
		(*tail)->sector = to;
		(*tail)->disk = d->disk + (to - d->sector);
		(*tail)->nr = (u32)behind;
		TAILQ_INSERT_AFTER(&ip->done, d, *tail, link);
		ip->nr_done++;
		*tail = NULL;
	}
	d->nr = (u32)(from - d->sector);
}

void done_clip(struct inode *ip, u64 start, u64 end, u64 size, struct done_io *tail)
{
	struct done_io *d;

	mutex_lock(&ip->state);
	ASSERT(TAILQ_EMPTY(&ip->completing));
	TAILQ_FOREACH(d, &ip->done, link) {
		clip_one(ip, d, start, end, &tail);
		d->size_end = MIN(d->size_end, size);
	}
	mutex_unlock(&ip->state);
	free(tail);
}

/* ---- flushes that fail ---- */

/* Rule 9. Is any entry lost? state held. */
static bool mark_lost(struct inode *ip)
{
	u64 now = blk_flush_failures(ip->fs->dev);
	struct done_io *d;

	TAILQ_FOREACH(d, &ip->done, link) {
		if (d->failures == now)
			continue;
		d->lost = d->nr > 0;
		ip->has_lost |= d->lost;
		ip->lost_same |= d->same;
		d->failures = now;
	}
	return ip->has_lost;
}

/* Entries stay: the inode's lock keeps out who clips, and nothing is completed. */
static struct done_io *lost_next(struct inode *ip, struct done_io *copy)
{
	struct done_io *d;

	mutex_lock(&ip->state);
	TAILQ_FOREACH(d, &ip->done, link)
		if (d->lost)
			break;
	if (d)
		*copy = *d;
	else
		ip->has_lost = false;
	mutex_unlock(&ip->state);
	return d;
}

/* Its sectors are bad until they are written: their pending entries are there, and change. */
static void lost_bad(struct inode *ip, struct done_io *d)
{
	const u32 bad = FMT_MAP_BAD;
	int r = space_pending_hold(ip->fs->space, d->disk, d->nr);

	ASSERT(!r);
	for (u32 i = 0; i < d->nr; i++)
		space_pending_set(ip->fs->space, d->disk + i, 1, &bad);
	space_pending_drop(ip->fs->space, d->disk, d->nr);
	d->lost = false;
	d->size_end = 0;
	d->ticket = blk_flush_ticket(ip->fs->dev);
	ip->done_ticket = MAX(ip->done_ticket, d->ticket);
}

/* New space without what was written there: as if it had never been. */
static void lost_forget(struct inode *ip, struct done_io *d)
{
	space_pending_clear(ip->fs->space, d->disk, d->nr);
	if (d->sector == 0)
		ip->inl_moved = false;
	TAILQ_REMOVE(&ip->done, d, link);
	ip->nr_done--;
	ip->done_sectors -= d->nr;
	free(d);
}

static int retry_all(struct inode *ip)
{
	struct done_io copy, *d;
	int r, err = 0;

	while ((d = lost_next(ip, &copy))) {
		r = iomap_write_failed(&ip->file, copy.sector, copy.nr, -EIO);
		if (r == -ENOMEM)
			return r;
		mutex_lock(&ip->state);
		if (r || d->intent)
			lost_bad(ip, d);
		else
			lost_forget(ip, d);
		mutex_unlock(&ip->state);
		if (r)
			log_err("inode %llu: a flush failed, and file sectors %llu to %llu can't "
				"all be read back: lost: %s", (unsigned long long)ip->ino,
				(unsigned long long)copy.sector,
				(unsigned long long)(copy.sector + copy.nr - 1), err_text(r));
		err = err ? err : r;
	}
	return err;
}

int file_retry_lost(struct inode *ip)
{
	bool lost;
	int r;

	mutex_lock(&ip->state);
	lost = mark_lost(ip);
	mutex_unlock(&ip->state);
	if (!lost)
		return 0;
	r = fs_may_change(ip->fs);
	if (r)
		return r;
	rwlock_wrlock(&ip->lock);
	r = retry_all(ip);
	rwlock_unlock(&ip->lock);
	return r;
}

/* ---- completing ---- */

struct complete {
	struct inode_edit edit;
	struct done_io **io;            /* all entries of the round, by disk address */
	size_t nr;
	size_t from, to;                /* of this handle */
	u64 size;                       /* to be set by it; 0 = none */
	bool was_inline;
	bool fresh;                     /* it does more than closing intents */
	struct jnl_intent_close *close; /* of this handle, one for each intent */
	u32 nr_close;
};

static int by_disk(const void *x, const void *y)
{
	const struct done_io *a = *(struct done_io *const *)x, *b = *(struct done_io *const *)y;

	return a->disk < b->disk ? -1 : a->disk > b->disk;
}

static void complete_published(void *arg, u64 seq)
{
	struct complete *c = arg;
	struct inode *ip = c->edit.ip;

	mutex_lock(&ip->state);
	for (size_t i = c->from; i < c->to; i++) {
		struct done_io *d = c->io[i];

		if (d->nr)
			space_pending_clear(ip->fs->space, d->disk, d->nr);
		TAILQ_REMOVE(&ip->completing, d, link);
		free(d);
	}
	if (c->was_inline)
		ip->inl_on_disk = false;
	if (c->fresh) {
		ip->sync_seq = MAX(ip->sync_seq, seq);
		ip->datasync_seq = MAX(ip->datasync_seq, seq);
	}
	mutex_unlock(&ip->state);
}

/* The size, and the end of inline data, if there is something to say. */
static int item_in(struct view *v, struct complete *c)
{
	struct inode *ip = c->edit.ip;
	int r = 0;

	inode_edit_begin(&c->edit, ip);
	c->was_inline = c->size && ip->inl_on_disk;
	if (!c->was_inline && c->size <= c->edit.disk_size)
		return 0;
	c->fresh = true;
	c->edit.disk_size = MAX(c->edit.disk_size, c->size);
	if (c->was_inline)
		r = inline_clear_in(v, &c->edit);
	return r ? r : inode_edit_end(v, &c->edit);
}

static int complete_body(struct view *v, void *arg)
{
	struct complete *c = arg;
	struct inode *ip = c->edit.ip;
	int r = 0;

	c->fresh = false;
	for (size_t i = c->from; i < c->to && !r; i++) {
		const struct done_io *d = c->io[i];

		if (d->nr)
			r = space_map_complete(v, ip->fs->space, d->disk, d->nr);
		c->fresh |= d->nr && !d->intent;
	}
	for (u32 i = 0; i < c->nr_close && !r; i++)
		r = view_intent_close(v, &c->close[i]);
	if (!r)
		r = item_in(v, c);
	return r ? r : view_on_publish(v, complete_published, c);
}

/* Rule 7: how many sectors of each intent this handle closes. */
static void count_closed(struct complete *c)
{
	c->nr_close = 0;
	for (size_t i = c->from; i < c->to; i++) {
		struct jnl_intent *in = c->io[i]->intent;
		u32 k = 0;

		if (!in || !c->io[i]->nr)
			continue;
		while (k < c->nr_close && c->close[k].intent != in)
			k++;
		if (k == c->nr_close)
			c->close[c->nr_close++] = (struct jnl_intent_close){ in, 0 };
		c->close[k].nr += c->io[i]->nr;
	}
}

/* Entries from c->from that fit into one handle. */
static void choose(struct complete *c, const struct fmt_geo *geo)
{
	unsigned credits = 0;
	u64 last_map = UINT64_MAX;

	for (c->to = c->from; c->to < c->nr; c->to++) {
		const struct done_io *d = c->io[c->to];
		u32 group = fmt_group_of(geo, d->disk);
		u64 index = d->disk - fmt_group_start(geo, group);
		u64 map = ((u64)group << 32) + index / FMT_MAP_PER_SECTOR;

		if (!d->nr)
			continue;
		credits += 1 + d->nr / FMT_MAP_PER_SECTOR + (map == last_map ? 0 : 2);
		if (credits > COMPLETE_CREDITS && c->to > c->from)
			return;
		last_map = ((u64)group << 32) + (index + d->nr - 1) / FMT_MAP_PER_SECTOR;
	}
}

/* Takes what `ticket` covers out of `done`. -ENOMEM; -EIO: some of it is lost */
static int collect(struct inode *ip, u64 ticket, struct complete *c)
{
	struct done_io *d, *next;
	size_t n = 0;
	int r = 0;

	mutex_lock(&ip->state);
	if (mark_lost(ip))
		r = -EIO;
	c->io = malloc(MAX(ip->nr_done, 1u) * sizeof(struct done_io *));
	c->close = malloc(MAX(ip->nr_done, 1u) * sizeof(*c->close));
	if (!c->io || !c->close)
		r = -ENOMEM;
	for (d = TAILQ_FIRST(&ip->done); d && !r; d = next) {
		next = TAILQ_NEXT(d, link);
		if (d->ticket > ticket)
			continue;
		TAILQ_REMOVE(&ip->done, d, link);
		TAILQ_INSERT_TAIL(&ip->completing, d, link);
		ip->nr_done--;
		ip->done_sectors -= d->nr;
		c->io[n++] = d;
	}
	mutex_unlock(&ip->state);
	c->nr = n;
	return r;
}

static void put_back(struct inode *ip)
{
	struct done_io *d;

	mutex_lock(&ip->state);
	while ((d = TAILQ_LAST(&ip->completing, done_list))) {
		TAILQ_REMOVE(&ip->completing, d, link);
		TAILQ_INSERT_HEAD(&ip->done, d, link);
		ip->nr_done++;
		ip->done_sectors += d->nr;
		ip->done_ticket = MAX(ip->done_ticket, d->ticket);
	}
	mutex_unlock(&ip->state);
}

static int complete_some(struct inode *ip, u64 ticket)
{
	struct complete c = { .edit.ip = ip };
	u64 size = 0;
	int r = collect(ip, ticket, &c);

	if (!r && c.nr)
		qsort(c.io, c.nr, sizeof(c.io[0]), by_disk);
	for (size_t i = 0; i < c.nr; i++)
		size = MAX(size, c.io[i]->size_end);
	while (!r && c.from < c.nr) {
		choose(&c, &ip->fs->geo);
		count_closed(&c);
		c.size = c.to == c.nr ? size : 0;
		r = jnl_run(ip->fs->jnl, COMPLETE_CREDITS + 4 + BTREE_CREDITS, complete_body, &c,
			    NULL);
		if (!r)
			c.from = c.to;
	}
	put_back(ip);
	free(c.close);
	free(c.io);
	return r;
}

enum fs_omit fs_omitted;

void fs_omit(enum fs_omit what)
{
	fs_omitted = what;
}

int file_complete(struct inode *ip)
{
	bool nothing, lost;
	u64 ticket;
	int r;

	mutex_lock(&ip->state);
	lost = mark_lost(ip);
	nothing = (TAILQ_EMPTY(&ip->done) && TAILQ_EMPTY(&ip->completing)) ||
		  (ip->inl_on_disk && !ip->inl_moved);
	ticket = ip->done_ticket;
	mutex_unlock(&ip->state);
	if (lost)
		return -EIO;
	if (nothing)
		return 0;
	r = fs_omitted == FS_OMIT_DATA_FLUSH ? 0 : blk_flush_upto(ip->fs->dev, ticket);
	if (r)
		return r;
	mutex_lock(&ip->place);
	r = complete_some(ip, ticket);
	mutex_unlock(&ip->place);
	return r;
}
