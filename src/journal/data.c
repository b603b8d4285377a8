/*
 * File data in the log.
 *
 * A sector of file data that a small synchronous write brings is a buffer of kind DATA at its disk
 * address: logged whole, pinned in the metadata cache, and written to its place by a checkpoint
 * like any other.
 *
 * 1. A sector is *logged* while such a buffer is attached to a folio of the metadata mapping. Only
 *    then differs its newest version from its place, and nobody but a checkpoint writes there.
 * 2. A copy that is not attached says nothing: it is dropped after the checkpoint.
 * 3. Records of data stay in the log until the tail has passed them, and recovery would write them
 *    over whatever lies there. So what frees a sector, or makes it unwritten, revokes it as long
 *    as data is in the log at all; an intent, which is opened only for sectors that are in
 *    their place, voids older records of its sectors.
 */
#include "journal/jnl_priv.h"

#include <string.h>

#include "stat/stat.h"

int view_data(struct view *v, u64 sector, const void *data)
{
	void *copy;
	int r = view_new(v, sector, FMT_KIND_DATA, 0, &copy);

	if (!r)
		memcpy(copy, data, SECTOR_SIZE);
	return r;
}

static struct jnl_buf *data_of(const struct folio *f)
{
	struct jnl_buf *b = f->priv;

	return b && b->kind == FMT_KIND_DATA && !b->forgotten ? b : NULL;
}

static bool any_logged(struct jnl *j)
{
	return __atomic_load_n(&j->nr_logged, __ATOMIC_ACQUIRE) != 0;
}

int jnl_data_read(struct jnl *j, u64 sector, void *buf)
{
	struct folio *f;
	int found = 0;

	if (!any_logged(j))
		return 0;
	f = cache_find(&j->mapping, sector);
	if (!f)
		return 0;
	/* Contents change under RANK_META; attached and forgotten under the lock, too. */
	rwlock_rdlock(&j->meta);
	mutex_lock(&j->lock);
	found = data_of(f) && f->index == sector;
	mutex_unlock(&j->lock);
	if (found)
		memcpy(buf, folio_data(f), SECTOR_SIZE);
	rwlock_unlock(&j->meta);
	folio_put(f);
	return found;
}

bool jnl_data_logged(struct jnl *j, u64 sector, u32 nr)
{
	u64 end = sector + nr;
	bool found = false;
	struct folio *f;

	if (!any_logged(j))
		return false;
	mutex_lock(&j->lock);
	while (!found && (f = cache_next(&j->mapping, &sector, end))) {
		found = data_of(f);
		folio_put(f);
	}
	mutex_unlock(&j->lock);
	return found;
}

/* Rule 3. */
bool data_in_log(struct jnl *j)
{
	const struct live *l = TAILQ_FIRST(&j->live);

	return j->data_seq >= (l ? l->seq : j->running->seq);
}

bool jnl_data_in_log(struct jnl *j)
{
	bool in;

	mutex_lock(&j->lock);
	in = data_in_log(j);
	mutex_unlock(&j->lock);
	return in;
}

/* Until it is durable that it was given up, a crash brings it back (checkpoint.c, rule 8). */
static void note_given_up(struct jnl *j, const struct jnl_buf *b)
{
	struct txn *t = j->running;
	u64 first = b->snapped ? j->snap_first : b->first_seq;

	if (b->dirty || b->snapped)
		t->given_up = txn_older(t->given_up, first);
}

void buf_forget(struct jnl *j, struct jnl_buf *b)
{
	note_given_up(j, b);
	if (b->running)
		TAILQ_REMOVE(&j->running->bufs, b, run_link);
	j->running->bytes -= b->log_bytes;
	b->log_bytes = 0;
	memset(b->chunk, 0, sizeof(b->chunk));
	if (b->dirty)
		TAILQ_REMOVE(&j->dirty, b, dirty_link);
	b->running = b->dirty = b->whole = false;
	b->forgotten = true;
	if (!b->snapped)
		buf_detach(j, b);
}

void data_forget(struct jnl *j, u64 addr, u32 nr)
{
	u64 end = addr + nr;
	struct jnl_buf *b;
	struct folio *f;

	while ((f = cache_next(&j->mapping, &addr, end))) {
		b = data_of(f);
		if (b)
			buf_forget(j, b);
		folio_put(f);
	}
}

int jnl_data_settle(struct jnl *j, u64 sector, u32 nr)
{
	int r = 0;

	while (!r && jnl_data_logged(j, sector, nr))
		r = checkpoint_to(j, 0, 0);
	return r;
}
