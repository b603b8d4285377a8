/*
 * The commit thread: commits what is old enough, or will be asked for soon, checkpoints when the
 * log or the cache fills.
 *
 * It sleeps without a timer while nothing is published. How old a change gets is bounded by half
 * of commit_ms here; the file system's flusher uses the other half before it publishes (pre_commit
 * catches what it missed).
 */
#include "base/err.h"
#include "base/time.h"
#include "journal/jnl_priv.h"

/* How often to look whether a failed checkpoint may be tried again. */
#define RETRY_LOOK_MS 1000u

static u64 commit_age_ms(const struct jnl *j)
{
	return MAX(1u, j->cfg.commit_ms / 2);
}

/* j->lock held: ms until a commit is due; UINT64_MAX = nothing published. */
static u64 due_ms(const struct jnl *j)
{
	u64 now = now_ns(), due = j->commit_retry_ns;

	if (!due && !j->running->opened_ns)
		return UINT64_MAX;
	if (!due)
		due = j->running->opened_ns + commit_age_ms(j) * NS_PER_MS;
	return now >= due ? 0 : DIV_ROUND_UP(due - now, (u64)NS_PER_MS);
}

static bool wants_checkpoint(const struct jnl *j)
{
	if (j->retry_ns && now_ns() < j->retry_ns)
		return false;
	return j->kick || j->used > checkpoint_from(j->ring_nr) ||
	       j->dirty_bytes > checkpoint_from(j->dirty_share);
}

void jnl_thread_look(struct jnl *j)
{
	if (j->thread_runs && wants_checkpoint(j))
		cond_signal(&j->wake);
}

/* j->lock held. */
static void thread_sleep(struct jnl *j)
{
	u64 ms = due_ms(j);

	if (j->stop || (!j->error && (!ms || j->soon_seq || wants_checkpoint(j))))
		return;
	if (j->retry_ns && !j->error)
		ms = MIN(ms, (u64)RETRY_LOOK_MS);
	if (ms != UINT64_MAX && !j->error) {
		cond_timedwait_ms(&j->wake, &j->lock, ms);
		return;
	}
	j->thread_idle = true;
	cond_wait(&j->wake, &j->lock);
	j->thread_idle = false;
}

static void thread_work(struct jnl *j, bool commit, bool checkpoint, bool all)
{
	work_begin(WORK_COMMIT, CORRUPT_NO_INO);
	if (commit) {
		if (j->cfg.pre_commit)
			j->cfg.pre_commit(j->cfg.host);
		jnl_commit_running(j);
	}
	work_begin(WORK_CHECKPOINT, CORRUPT_NO_INO);
	if (checkpoint)
		checkpoint_to(j, all ? 0 : checkpoint_down_to(j->ring_nr),
			      all ? 0 : checkpoint_down_to(j->dirty_share));
}

/* Without pre_commit: who asked has published all that it speaks of. */
static void thread_commit_soon(struct jnl *j, u64 seq)
{
	if (!seq)
		return;
	work_begin(WORK_COMMIT, CORRUPT_NO_INO);
	jnl_commit(j, seq);
}

static void *thread_main(void *arg)
{
	struct jnl *j = arg;
	bool commit, checkpoint, all;
	u64 soon;

	pthread_setname_np(pthread_self(), "folio-commit");
	mutex_lock(&j->lock);
	while (!j->stop) {
		thread_sleep(j);
		commit = !j->error && due_ms(j) == 0;
		checkpoint = !j->error && wants_checkpoint(j);
		all = j->kick;
		soon = j->soon_seq;
		j->kick = false;
		j->soon_seq = 0;
		mutex_unlock(&j->lock);
		thread_commit_soon(j, soon);
		thread_work(j, commit, checkpoint, all);
		mutex_lock(&j->lock);
	}
	mutex_unlock(&j->lock);
	return NULL;
}

int jnl_thread_start(struct jnl *j)
{
	int r = -pthread_create(&j->thread, NULL, thread_main, j);

	j->thread_runs = !r;
	return r;
}

void jnl_thread_stop(struct jnl *j)
{
	if (!j->thread_runs)
		return;
	mutex_lock(&j->lock);
	j->stop = true;
	cond_signal(&j->wake);
	mutex_unlock(&j->lock);
	pthread_join(j->thread, NULL);
	mutex_lock(&j->lock);
	j->thread_runs = false;
	mutex_unlock(&j->lock);
}

void jnl_commit_soon(struct jnl *j, u64 seq)
{
	mutex_lock(&j->lock);
	if (j->thread_runs && j->durable < seq) {
		j->soon_seq = MAX(j->soon_seq, seq);
		cond_signal(&j->wake);
	}
	mutex_unlock(&j->lock);
}

void jnl_kick_checkpoint(struct jnl *j)
{
	mutex_lock(&j->lock);
	j->kick = true;
	cond_signal(&j->wake);
	mutex_unlock(&j->lock);
}
