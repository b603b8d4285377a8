/*
 * Device flushes, shared by those who wait at the same time.
 *
 * Flushes are numbered; a ticket is the number of the newest flush that had begun when the ticket
 * was taken. Every flush with a higher number began later, so it covers all I/O that was complete
 * then.
 *
 *	ticket 4 taken            flush 5 runs (began after)   -> covered when 5 ends well
 *	     |   flush 4 runs     |
 *	-----v---(began before)---v------------------------------------------------------> time
 *
 * Invariants:
 * 1. `begun` grows under the lock before the flush is sent, so a ticket never misses a flush that
 *    began before it.
 * 2. One flush runs at a time. Who needs one that has not begun becomes its leader when the
 *    running one ends; so nobody waits for more than two.
 * 3. The first flush after a ticket decides for ever whether the ticket's I/O is durable, unless
 *    it succeeded: a device that failed a flush may have dropped what it held, and will not say
 *    so again. A ticket is taken when I/O has completed; a flush that failed between the two is
 *    seen by who has taken blk_flush_failures() before the I/O.
 *
 * 4. Writes that are durable by themselves (FUA) are no business of a flush. `owed` only helps to
 *    choose between the two: whoever needs I/O of his own to be durable has a ticket for it.
 *
 * Locking: flush.lock (RANK_BLK), not held while the device works.
 */
#include "base/err.h"
#include "base/time.h"
#include "blk/blk_priv.h"
#include "stat/stat.h"

void blk_flush_init(struct blk_flush *f)
{
	*f = (struct blk_flush){ 0 };
	mutex_init(&f->lock, RANK_BLK);
	cond_init(&f->ended);
}

void blk_flush_fini(struct blk_flush *f)
{
	ASSERT(!f->running);
	cond_fini(&f->ended);
	mutex_fini(&f->lock);
}

u64 blk_flush_ticket(struct blk_dev *dev)
{
	return atomic_load_explicit(&dev->flush.begun, memory_order_seq_cst);
}

u64 blk_flush_count(struct blk_dev *dev)
{
	return blk_flush_ticket(dev);
}

u64 blk_flush_failures(struct blk_dev *dev)
{
	return atomic_load_explicit(&dev->flush.failures, memory_order_seq_cst);
}

void blk_flush_owe(struct blk_flush *f)
{
	/* Read first: under load it is always set, and many threads end writes. */
	if (!atomic_load_explicit(&f->owed, memory_order_relaxed))
		atomic_store_explicit(&f->owed, true, memory_order_relaxed);
}

bool blk_goes_alone(struct blk_dev *dev)
{
	return dev->fua && !atomic_load_explicit(&dev->flush.owed, memory_order_relaxed);
}

int blk_flush_since(struct blk_dev *dev, u64 failures)
{
	struct blk_flush *f = &dev->flush;
	int r = blk_flush(dev);

	if (r || blk_flush_failures(dev) == failures)
		return r;
	mutex_lock(&f->lock);
	r = f->err;
	mutex_unlock(&f->lock);
	return r;
}

/*
 * What is known about a ticket: 1 nothing yet, 0 durable, -errno never. The history is exact for
 * the last two failures; tickets from before count as failed, which errs on the safe side.
 */
static int ticket_state(const struct blk_flush *f, u64 ticket)
{
	if (ticket < f->last_fail) {
		if (ticket >= f->fail_before && f->ok_before_fail > ticket)
			return 0;
		return f->err;
	}
	return f->last_ok > ticket ? 0 : 1;
}

static void record(struct blk_flush *f, u64 number, int err)
{
	if (!err) {
		f->last_ok = number;
		return;
	}
	atomic_fetch_add_explicit(&f->failures, 1, memory_order_seq_cst);
	f->fail_before = f->last_fail;
	f->ok_before_fail = f->last_ok;
	f->last_fail = number;
	f->err = err;
}

static int device_flush(struct blk_dev *dev)
{
	u64 began = now_ns();
	int err = blk_is_down(dev) ? -EIO
				   : blk_fault_check(dev, BLK_FAULT_FLUSH, BLK_DATA, 0, 0);

	if (!err && dev->writelog)
		blk_writelog_flush(dev);
	if (!err)
		err = dev->ops->flush(dev);
	if (err && dev->writelog)
		blk_writelog_flush_failed(dev);
	if (err)
		blk_note_error(dev, WHY_IO_FLUSH, work_now(), CORRUPT_NO_SECTOR, err);
	else
		stat_inc(STAT_FLUSHES);
	stat_time(HIST_DISK_FLUSH, now_ns() - began);
	/* Whatever the reason, something may be gone: none of them is one to try again. */
	return err ? -EIO : 0;
}

/* Runs the next flush. Called with the lock held, which is dropped meanwhile. */
static void lead(struct blk_dev *dev)
{
	struct blk_flush *f = &dev->flush;
	u64 number = atomic_fetch_add_explicit(&f->begun, 1, memory_order_seq_cst) + 1;
	int err;

	f->running = true;
	atomic_store_explicit(&f->owed, false, memory_order_relaxed);
	mutex_unlock(&f->lock);
	err = device_flush(dev);
	mutex_lock(&f->lock);
	f->running = false;
	record(f, number, err);
	cond_broadcast(&f->ended);
}

int blk_flush_upto(struct blk_dev *dev, u64 ticket)
{
	struct blk_flush *f = &dev->flush;
	bool led = false;
	int state;

	if (dev->rdonly)
		return 0;
	lock_assert_may_io();
	mutex_lock(&f->lock);
	while ((state = ticket_state(f, ticket)) > 0) {
		if (f->running) {
			cond_wait(&f->ended, &f->lock);
			continue;
		}
		lead(dev);
		led = true;
	}
	mutex_unlock(&f->lock);
	if (!led && state == 0)
		stat_inc(STAT_FLUSHES_SHARED);
	return state;
}

bool blk_flush_covers(struct blk_dev *dev, u64 ticket)
{
	struct blk_flush *f = &dev->flush;
	bool covered;

	mutex_lock(&f->lock);
	covered = ticket_state(f, ticket) == 0;
	mutex_unlock(&f->lock);
	return covered;
}

int blk_flush(struct blk_dev *dev)
{
	return blk_flush_upto(dev, blk_flush_ticket(dev));
}
