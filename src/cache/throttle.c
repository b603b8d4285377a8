/*
 * throttle: how much dirty data there may be, and how writers are slowed down to keep it so.
 *
 *	0 ........ background ........ set point ........ hard limit
 *	           flushers start      pauses begin       writers wait
 *
 * Dirty sectors and those in flight to the disk count alike: neither can be evicted. Metadata does
 * not count here, the journal limits it.
 *
 * Between set point and hard limit a writer of n sectors owes n / (rate * ratio) seconds: rate is
 * what writeback did lately, shared by the files whose writers are paused, and ratio falls from 1
 * to RATIO_MIN as the hard limit comes nearer. Small debts are collected per file until a sleep is
 * worth it: a thread of a daemon writes for everybody, and many writes of one file at a time are
 * one writer. So writers settle at the speed of the disk, without the stop and go of a single
 * limit.
 *
 * Locks: none; all numbers are atomic, and an old value only makes a pause a little wrong.
 */
#include "base/err.h"
#include "base/time.h"
#include "cache/cache_priv.h"

#define PAUSE_MIN_NS (2 * NS_PER_MS)
#define CREDIT_MAX_NS (20 * NS_PER_MS)
#define WINDOW_NS (200 * NS_PER_MS) /* the rate is measured over windows of this length */
#define RATE_START ((u64)25600)     /* sectors a second before anything is known: 100 MiB/s */
#define RATE_MIN ((u64)64)
#define RATIO_ONE ((u64)1024)       /* fixed point */
#define RATIO_MIN ((u64)128)
#define WAKE_NS (5 * NS_PER_MS)     /* flushers are woken no more often */
#define PAUSE_MAX_NS (CACHE_THROTTLE_MAX_MS * NS_PER_MS)
#define SLICE_MS 50u
/* At the hard limit, while writeback fails and writes nothing. */
#define STUCK_NS (3 * NS_PER_SEC)

static struct {
	u64 background, hard;      /* sectors; set once */
	s64 dirty;                 /* sectors dirty or in flight; all below are atomic */
	s64 error;                 /* sectors whose last write failed */
	int why;                   /* the latest error of writeback */
	u32 failures;              /* times that writeback failed */
	u64 progress;              /* sectors written */
	u64 rate;                  /* sectors a second */
	u64 window_start_ns, window_written;
	u64 woken_ns;
	u32 paused;                /* writes */
	u32 files;                 /* with paused writes */
} th;

void throttle_init(const struct cache_config *cfg, u64 sectors)
{
	unsigned hard = cfg->dirty_percent ? cfg->dirty_percent : 40;
	unsigned background = cfg->background_percent ? cfg->background_percent : 10;

	hard = MIN(hard, 90u);
	background = MIN(background, hard / 2);
	th.hard = sectors * hard / 100;
	th.background = sectors * background / 100;
	th.dirty = th.error = 0;
	th.why = -EIO;
	th.rate = RATE_START;
	th.window_start_ns = now_ns();
	th.window_written = th.woken_ns = 0;
	th.paused = th.files = 0;
}

static u64 dirty_now(void)
{
	s64 n = __atomic_load_n(&th.dirty, __ATOMIC_RELAXED);

	return n > 0 ? (u64)n : 0;
}

u64 cache_dirty_bytes(void)
{
	return dirty_now() << SECTOR_SHIFT;
}

bool cache_over_background(void)
{
	return dirty_now() > th.background;
}

u32 cache_throttled(void)
{
	return __atomic_load_n(&th.paused, __ATOMIC_RELAXED);
}

void throttle_add_dirty(s64 sectors)
{
	__atomic_fetch_add(&th.dirty, sectors, __ATOMIC_RELAXED);
}

void throttle_add_error(s64 sectors)
{
	if (sectors)
		__atomic_fetch_add(&th.error, sectors, __ATOMIC_RELAXED);
}

void cache_note_write_error(int error)
{
	__atomic_store_n(&th.why, error, __ATOMIC_RELAXED);
	__atomic_fetch_add(&th.failures, 1, __ATOMIC_RELAXED);
}

u64 throttle_error_sectors(void)
{
	s64 n = __atomic_load_n(&th.error, __ATOMIC_RELAXED);

	return n > 0 ? (u64)n : 0;
}

/* ---- rate ---- */

/*
 * One thread closes a window; a window in which nobody waited for the disk says little of its
 * speed, but then nobody is paused either.
 */
void throttle_note_written(u32 sectors)
{
	u64 written = __atomic_add_fetch(&th.window_written, sectors, __ATOMIC_RELAXED);
	u64 start = __atomic_load_n(&th.window_start_ns, __ATOMIC_RELAXED), now = now_ns();
	u64 rate, old;

	__atomic_fetch_add(&th.progress, sectors, __ATOMIC_RELAXED);
	if (now - start < WINDOW_NS)
		return;
	if (!__atomic_compare_exchange_n(&th.window_start_ns, &start, now, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED))
		return;
	__atomic_fetch_sub(&th.window_written, written, __ATOMIC_RELAXED);
	if (now - start > 5 * WINDOW_NS)
		return;
	rate = written * NS_PER_SEC / (now - start);
	old = __atomic_load_n(&th.rate, __ATOMIC_RELAXED);
	__atomic_store_n(&th.rate, MAX((old * 3 + rate) / 4, RATE_MIN), __ATOMIC_RELAXED);
}

/* ---- pauses ---- */

static u64 set_point(void)
{
	return (th.background + th.hard) / 2;
}

/* What a writer of nr sectors owes now. */
static u64 pause_ns(const struct mapping *m, u64 dirty, u32 nr)
{
	bool counted = __atomic_load_n(&m->paused, __ATOMIC_RELAXED) > 0;
	u32 files = __atomic_load_n(&th.files, __ATOMIC_RELAXED) + !counted;

	u64 room = th.hard - set_point(), left = dirty < th.hard ? th.hard - dirty : 0;
	u64 ratio = MAX(MIN(left * RATIO_ONE / MAX(room, (u64)1), RATIO_ONE), RATIO_MIN);
	u64 rate = __atomic_load_n(&th.rate, __ATOMIC_RELAXED) * ratio / RATIO_ONE;
	u64 ns = (u64)nr * NS_PER_SEC / MAX(rate, (u64)1);

	return MIN_T(u64, ns * files, PAUSE_MAX_NS);
}

static void wake_flushers(void)
{
	u64 last = __atomic_load_n(&th.woken_ns, __ATOMIC_RELAXED), now = now_ns();

	if (now - last < WAKE_NS)
		return;
	if (__atomic_compare_exchange_n(&th.woken_ns, &last, now, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED))
		reclaim_want_writeback();
}

static bool over_hard(u32 nr)
{
	u64 dirty = dirty_now();

	/* A write larger than the limit itself passes when it is alone. */
	return dirty > 0 && dirty + nr > th.hard;
}

/*
 * The file owes ns more: returns until when this write has to wait. Debts of writes at one time
 * follow each other. What a sleep was too long is taken off the next debt, or a writer of small
 * pieces, who sleeps often, would get less than one of large pieces.
 */
static u64 debt_add(struct mapping *m, u64 ns, u64 now)
{
	u64 paid = __atomic_load_n(&m->paid_ns, __ATOMIC_RELAXED), until;

	do
		until = MIN_T(u64, (paid ? MAX_T(u64, paid, now - CREDIT_MAX_NS) : now) + ns,
			      now + PAUSE_MAX_NS);
	while (!__atomic_compare_exchange_n(&m->paid_ns, &paid, until, true, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED));
	return until;
}

/* Or until the dirty sectors are below the set point. */
static void sleep_until(u64 until)
{
	u64 now;

	while ((now = now_ns()) < until && dirty_now() > set_point())
		reclaim_wait_ms(reclaim_epoch(), (until - now) / NS_PER_MS + 1);
}

/* A file counts once, however many of its writes are paused. */
static void pause_begin(struct mapping *m)
{
	__atomic_fetch_add(&th.paused, 1, __ATOMIC_RELAXED);
	if (__atomic_fetch_add(&m->paused, 1, __ATOMIC_RELAXED) == 0)
		__atomic_fetch_add(&th.files, 1, __ATOMIC_RELAXED);
}

static void pause_end(struct mapping *m)
{
	if (__atomic_sub_fetch(&m->paused, 1, __ATOMIC_RELAXED) == 0)
		__atomic_fetch_sub(&th.files, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&th.paused, 1, __ATOMIC_RELAXED);
}

/* What a waiter at the hard limit has seen. */
struct hope {
	u64 progress, since_ns;
	u32 failures;
};

static void hope_renew(struct hope *h)
{
	h->progress = __atomic_load_n(&th.progress, __ATOMIC_RELAXED);
	h->failures = __atomic_load_n(&th.failures, __ATOMIC_RELAXED);
	h->since_ns = now_ns();
}

/*
 * Not all that can't be written is known by its sectors: a place or a handle may be missing. So
 * the error also comes when for a while writeback has failed, and written nothing.
 */
static bool is_hopeless(struct hope *h)
{
	u64 dirty = dirty_now();

	/* Nothing dirty: it has just become less. */
	if (dirty > 0 && throttle_error_sectors() >= dirty)
		return true;
	if (h->progress != __atomic_load_n(&th.progress, __ATOMIC_RELAXED))
		hope_renew(h);
	return h->failures != __atomic_load_n(&th.failures, __ATOMIC_RELAXED) &&
	       now_ns() - h->since_ns >= STUCK_NS;
}

static int wait_below_hard(struct mapping *m, u32 nr)
{
	struct hope hope;

	hope_renew(&hope);
	for (;;) {
		u64 epoch = reclaim_epoch();
		int err = m->ops->no_writeback ? m->ops->no_writeback(m) : 0;

		if (err || !over_hard(nr))
			return err;
		if (is_hopeless(&hope))
			return __atomic_load_n(&th.why, __ATOMIC_RELAXED);
		reclaim_want_writeback();
		reclaim_wait_ms(epoch, SLICE_MS);
	}
}

static int pause_writer(struct mapping *m, u32 nr, u64 until)
{
	u64 start = now_ns();
	int err;

	pause_begin(m);
	reclaim_enter();
	sleep_until(until);
	err = wait_below_hard(m, nr);
	reclaim_leave();
	pause_end(m);
	stat_inc(STAT_THROTTLE_PAUSES);
	stat_add(STAT_THROTTLE_NS, now_ns() - start);
	stat_time(HIST_THROTTLE, now_ns() - start);
	stat_trace(TRACE_PAUSE, m->id, nr, (u32)((now_ns() - start) / 1000));
	return err;
}

int cache_throttle(struct mapping *m, u32 nr)
{
	u64 dirty = dirty_now(), now, owed, until;

	if (m->metadata || dirty + nr <= th.background)
		return 0;
	wake_flushers();
	if (dirty + nr <= set_point()) {
		__atomic_store_n(&m->paid_ns, 0, __ATOMIC_RELAXED);
		return 0;
	}
	owed = pause_ns(m, dirty + nr, nr);
	stat_add(STAT_THROTTLE_OWED_NS, owed);
	now = now_ns();
	until = debt_add(m, owed, now);
	if (until < now + PAUSE_MIN_NS && !over_hard(nr))
		return 0;
	return pause_writer(m, nr, until);
}
