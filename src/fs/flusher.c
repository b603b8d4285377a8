/*
 * The flusher: writes back what has been dirty for long, or when there is much of it.
 *
 * One round takes the queued inodes in batches, each inode in turns of TURN_SECTORS, so that
 * the runs on the disk are long and files are not interleaved. Turns of small files are written
 * together, one behind the other through one pipeline, up to about as much as one turn: the device
 * is not idle between them. The batch goes on until each has
 * been gone through once: what is dirtied behind the turns waits until it is old itself, or a
 * file that never stops changing would be written all the time.
 *
 * 1. Queued inodes are referenced while they are worked on. One leaves the queue only when it
 *    is idle, seen under dirty_lock, which every writer takes after it has dirtied something:
 *    none is forgotten.
 * 2. No inode lock is taken: readers and writers of the file go on.
 * 3. Data that can't be written stays dirty and is tried again after RETRY_MS; the log says so
 *    once an inode.
 * 4. An inode whose item is behind its attributes in memory (a mode, times) is stored when it
 *    is that old, too.
 * 5. A change waits at most half of commit_ms here, and the other half in the running
 *    transaction (journal). Finished overwrites, too, whose intents are durable and wait to be
 *    closed: nothing else may come for the file, and no transaction be open for the commit thread.
 * 6. Each round finds out when the next one is worth it (fs->flusher_due_ns), and what becomes
 *    dirty when none is says so (flusher_note()): a thread with nothing to do sleeps without a
 *    timer. Files whose memory or whose flush has failed wait for fsync, not for this thread.
 */
#include "base/err.h"
#include "base/log.h"
#include "base/time.h"
#include "fs/file_priv.h"

#define TURN_SECTORS 4096u      /* 16 MiB */
#define BATCH 64u
#define RETRY_MS 2000u
/* Longest sleep while anything is due: a kick can be missed (fs_want_writeback()). */
#define WAKE_MS 1000u
#define COMMIT_MS 5000u
/* Finished writes of one inode that are worth a flush and a handle of their own. */
#define DONE_MAX 4096u
#define DONE_SECTORS_MAX (JNL_INTENT_SECTORS / 2)

static u64 age_ns(const struct fs *fs)
{
	u64 ms = fs->opts.commit_ms ? fs->opts.commit_ms : COMMIT_MS;

	return ms * NS_PER_MS / 2;
}

static bool is_due(struct inode *ip, bool all)
{
	const struct mapping *m = &ip->file.mapping;
	u64 now = now_ns();
	bool early, lost;

	if (all && __atomic_load_n(&m->nr_writeback, __ATOMIC_ACQUIRE))
		return true;
	mutex_lock(&ip->state);
	early = now < ip->wb_retry_ns;
	lost = ip->has_lost;
	mutex_unlock(&ip->state);
	if (lost && (all || !early))
		return true;
	if (!__atomic_load_n(&m->nr_dirty, __ATOMIC_ACQUIRE))
		return false;
	if (all)
		return true;
	if (early)
		return false;
	return cache_over_background() ||
	       now - MIN(now, __atomic_load_n(&m->dirtied_ns, __ATOMIC_RELAXED)) >= age_ns(ip->fs);
}

static void note_result(struct inode *ip, int r)
{
	bool again;

	mutex_lock(&ip->state);
	again = ip->wb_failed;
	ip->wb_failed = r != 0;
	if (r)
		ip->wb_retry_ns = now_ns() + RETRY_MS * NS_PER_MS;
	mutex_unlock(&ip->state);
	if (r)
		cache_note_write_error(r);
	if (r && !again)
		log_err("inode %llu: data can't be written (%s); it stays in memory, tried again",
			(unsigned long long)ip->ino, err_text(r));
}

/* An inode that is gone through, from its start to its end. */
struct pass {
	struct inode *ip;
	u64 next;        /* bytes: where the next turn begins */
	u64 began_ns;
	int lost;        /* what is left of data that a flush has lost: 0 or why */
	bool others;     /* write it, too: what they have in hand is passed over */
	bool over;
};

static void pass_look(struct pass *p)
{
	if (__atomic_load_n(&p->ip->file.mapping.nr_writeback, __ATOMIC_ACQUIRE))
		p->others = true;
}

/* What is dirty now became so since the pass began, unless something was left out. */
static void pass_end(struct pass *p, int r)
{
	p->over = true;
	if (!r && !p->others)
		mapping_dirty_since(&p->ip->file.mapping, p->began_ns);
}

static void turn_begin(struct pass *p, struct iomap_wb *wb)
{
	p->lost = file_retry_lost(p->ip);
	if (p->next == 0) {
		p->began_ns = now_ns();
		pass_look(p);
	}
	*wb = (struct iomap_wb){ .f = &p->ip->file, .start = p->next, .end = INT64_MAX,
				 .nr_max = TURN_SECTORS };
}

static int turn_end(struct pass *p, const struct iomap_wb *wb)
{
	struct inode *ip = p->ip;
	bool again = wb->error == -EAGAIN && inode_wait_writer(ip), few;
	int r = wb->error == -EAGAIN ? 0 : wb->error, done;

	r = r ? r : p->lost;
	note_result(ip, r);
	pass_look(p);
	if (!again)
		p->next = wb->next;
	if (r || (!again && wb->next >= INT64_MAX))
		pass_end(p, r);
	mutex_lock(&ip->state);
	few = ip->nr_done < DONE_MAX && ip->done_sectors < DONE_SECTORS_MAX;
	mutex_unlock(&ip->state);
	if (few)
		return r;
	done = file_complete(ip);
	return r ? r : done;
}

/* References to the first inodes of the queue, which go to its end. */
static unsigned take_batch(struct fs *fs, struct inode **batch, u64 limit)
{
	struct inode *ip;
	unsigned n = 0;

	mutex_lock(&fs->dirty_lock);
	while (n < BATCH && n < limit && (ip = TAILQ_FIRST(&fs->dirty))) {
		bool seen = false;

		for (unsigned i = 0; i < n; i++)
			seen |= batch[i] == ip;
		if (seen)
			break;
		TAILQ_REMOVE(&fs->dirty, ip, dirty_link);
		TAILQ_INSERT_TAIL(&fs->dirty, ip, dirty_link);
		batch[n++] = fs_ihold(ip);
	}
	mutex_unlock(&fs->dirty_lock);
	return n;
}

/* Rule 5: completed when that old. */
static int complete_old(struct inode *ip)
{
	bool old;

	mutex_lock(&ip->state);
	old = !TAILQ_EMPTY(&ip->done) && now_ns() - ip->done_ns >= age_ns(ip->fs);
	mutex_unlock(&ip->state);
	return old ? file_complete(ip) : 0;
}

/* When there is something to do for it (rule 6). state held. */
static u64 inode_due_ns(const struct inode *ip, u64 now)
{
	const struct mapping *m = &ip->file.mapping;
	u64 due = FLUSHER_NEVER, age = age_ns(ip->fs);

	if (__atomic_load_n(&m->nr_dirty, __ATOMIC_ACQUIRE))
		due = cache_over_background()
			      ? now : __atomic_load_n(&m->dirtied_ns, __ATOMIC_RELAXED) + age;
	if (ip->has_lost)
		due = now;
	if (due != FLUSHER_NEVER)
		due = MAX(due, ip->wb_retry_ns);
	if (ip->dirty)
		due = MIN(due, ip->dirty_ns + age);
	if (!TAILQ_EMPTY(&ip->done))
		due = MIN(due, ip->done_ns + age);
	/* Others have it in hand; whether that goes well is seen later. */
	if (__atomic_load_n(&m->nr_writeback, __ATOMIC_ACQUIRE) || !TAILQ_EMPTY(&ip->completing))
		due = MIN_T(u64, due, now + WAKE_MS * NS_PER_MS);
	return due;
}

/* Rule 1. */
static void release(struct fs *fs, struct inode *ip)
{
	mutex_lock(&ip->state);
	mutex_lock(&fs->dirty_lock);
	fs->flusher_due_ns = MIN(fs->flusher_due_ns, inode_due_ns(ip, now_ns()));
	if (ip->on_dirty_list && inode_is_idle(ip)) {
		TAILQ_REMOVE(&fs->dirty, ip, dirty_link);
		ip->on_dirty_list = false;
	}
	mutex_unlock(&fs->dirty_lock);
	mutex_unlock(&ip->state);
	fs_iput(ip);
}

/*
 * The next turns that are written together: of pass[*at] and behind. Their number; *at is behind
 * them.
 */
static unsigned take_turns(struct pass *pass, unsigned n, unsigned *at, struct pass **turn,
			   bool all)
{
	unsigned nr = 0;
	u64 sectors = 0;

	for (; *at < n && sectors < TURN_SECTORS; (*at)++) {
		struct pass *p = &pass[*at];

		if (p->over || (p->next == 0 && !is_due(p->ip, all)))
			continue;
		sectors += __atomic_load_n(&p->ip->file.mapping.nr_dirty, __ATOMIC_RELAXED);
		turn[nr++] = p;
	}
	return nr;
}

/* all: for sync, which also waits for what others have under way. */
static int flush_turns(struct pass **turn, unsigned nr, bool all, bool *more)
{
	struct iomap_wb wb[BATCH];
	int err = 0;

	for (unsigned i = 0; i < nr; i++)
		turn_begin(turn[i], &wb[i]);
	iomap_writeback_files(wb, nr, all ? IOMAP_WB_WAIT : 0);
	for (unsigned i = 0; i < nr; i++) {
		int r = turn_end(turn[i], &wb[i]);

		err = err ? err : r;
		*more |= !turn[i]->over;
	}
	return err;
}

static int flush_batch(struct inode **batch, unsigned n, bool all)
{
	struct pass pass[BATCH], *turn[BATCH];
	bool more = true;
	int err = 0;

	for (unsigned i = 0; i < n; i++)
		pass[i] = (struct pass){ .ip = batch[i] };
	while (more) {
		unsigned at = 0, nr;

		more = false;
		while ((nr = take_turns(pass, n, &at, turn, all))) {
			int r = flush_turns(turn, nr, all, &more);

			err = err ? err : r;
		}
	}
	return err;
}

/*
 * A full round makes new space part of its files; one flush of the device serves all of a batch.
 */
static int complete_batch(struct inode **batch, unsigned n)
{
	int err = 0;

	for (unsigned i = 0; i < n; i++) {
		int r = file_complete(batch[i]);

		err = err ? err : r;
	}
	return err;
}

int flusher_round(struct fs *fs, bool all)
{
	struct inode *batch[BATCH], *ip;
	u64 left = 0;
	unsigned n;
	int err = 0;

	if (fs_readonly(fs))
		return 0;
	mutex_lock(&fs->dirty_lock);
	TAILQ_FOREACH (ip, &fs->dirty, dirty_link)
		left++;
	mutex_unlock(&fs->dirty_lock);
	while (left > 0 && (n = take_batch(fs, batch, left)) > 0) {
		int r = flush_batch(batch, n, all);

		err = err ? err : r;
		r = all ? complete_batch(batch, n) : 0;
		err = err ? err : r;
		for (unsigned i = 0; i < n; i++) {
			r = complete_old(batch[i]);
			err = err ? err : r;
			r = inode_store_old(batch[i], all ? 0 : age_ns(fs));
			err = err ? err : r;
			release(fs, batch[i]);
		}
		left -= MIN(left, (u64)n);
	}
	return err;
}

/* ---- the thread ---- */

void flusher_note(struct fs *fs)
{
	if (fs->flusher_due_ns != FLUSHER_NEVER)
		return;
	fs->flusher_due_ns = now_ns() + age_ns(fs);
	cond_broadcast(&fs->dirty_cond);
}

/* dirty_lock held. What is due and still there after a round is not tried again at once. */
static void flusher_sleep(struct fs *fs)
{
	u64 now = now_ns(), due = fs->flusher_due_ns, ms = WAKE_MS;

	if (due == FLUSHER_NEVER) {
		cond_wait(&fs->dirty_cond, &fs->dirty_lock);
		return;
	}
	if (due > now)
		ms = MIN(ms, DIV_ROUND_UP(due - now, (u64)NS_PER_MS));
	cond_timedwait_ms(&fs->dirty_cond, &fs->dirty_lock, ms);
}

static void *flusher_main(void *arg)
{
	struct fs *fs = arg;

	pthread_setname_np(pthread_self(), "folio-flusher");
	work_begin(WORK_WRITEBACK, CORRUPT_NO_INO);
	mutex_lock(&fs->dirty_lock);
	while (!fs->flusher_stop) {
		if (!__atomic_exchange_n(&fs->flusher_kick, false, __ATOMIC_ACQ_REL))
			flusher_sleep(fs);
		if (fs->flusher_stop)
			break;
		fs->flusher_due_ns = FLUSHER_NEVER;
		mutex_unlock(&fs->dirty_lock);
		errors_tick(fs);
		flusher_round(fs, false);
		mutex_lock(&fs->dirty_lock);
		fs->flusher_due_ns = MIN(fs->flusher_due_ns, errors_due_ns(fs));
	}
	mutex_unlock(&fs->dirty_lock);
	return NULL;
}

int flusher_start(struct fs *fs)
{
	int r = -pthread_create(&fs->flusher, NULL, flusher_main, fs);

	fs->flusher_runs = !r;
	return r;
}

void flusher_stop(struct fs *fs)
{
	if (!fs->flusher_runs)
		return;
	mutex_lock(&fs->dirty_lock);
	fs->flusher_stop = true;
	cond_signal(&fs->dirty_cond);
	mutex_unlock(&fs->dirty_lock);
	pthread_join(fs->flusher, NULL);
	fs->flusher_runs = false;
}
