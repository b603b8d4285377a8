/*
 * fsck.foliofs: checks and repairs a file system.
 *
 * Rules
 * 1. With -n nothing is written, whatever is found; the log is replayed in memory.
 * 2. Without -n and -y nothing is done that could lose anything: what a mount would do first, and
 *    repairs that are certain. What is left then needs -y (status 4).
 * 3. The lock of the image is held from beginning to end.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../common/target.h"
#include "base/err.h"
#include "base/log.h"
#include "base/time.h"
#include "cache/cache.h"
#include "fs/fs.h"
#include "fsck.h"

#define REPLAY_CACHE (64ull << 20)

/* ---- output ---- */

static void show_problem(void *arg, const struct check_problem *p)
{
	const struct fsck_args *a = arg;

	progress_clear();
	printf("%s: %s: %s%s%s\n", a->target, check_code_name(p->code), p->text,
	       p->outcome ? ": " : "", p->outcome ? p->outcome : "");
}

static void show_counts(const struct fsck_args *a, const struct check_result *res)
{
	if (!a->verbose)
		return;
	printf("  inodes %" PRIu64 ", of them directories %" PRIu64 "\n", res->inodes,
	       res->directories);
	printf("  tree nodes %" PRIu64 "\n", res->nodes);
	printf("  sectors used %" PRIu64 " of %" PRIu64 ", written %" PRIu64 ", known to be bad %"
	       PRIu64 "\n", res->used_sectors, res->geo.nr_sectors, res->written_sectors,
	       res->bad_sectors);
	if (a->data)
		printf("  data sectors verified %" PRIu64 "\n", res->data_sectors);
}

static void show_clean(const struct fsck_args *a, u64 inodes, u64 used, u64 nr_sectors)
{
	printf("%s: clean, %" PRIu64 " inodes, %" PRIu64 "/%" PRIu64 " sectors\n", a->target,
	       inodes, used, nr_sectors);
}

/* ---- what can be done ---- */

static int explain(const struct fsck_args *a, int r)
{
	switch (r) {
	case -EINVAL:
		return fail(FSCK_FAILED, "%s: no FolioFS file system is on it", a->target);
	case -EOPNOTSUPP:
		return fail(FSCK_FAILED, "%s: made by a newer version of FolioFS", a->target);
	case -EBADMSG:
	case -EUCLEAN:
		return fail(FSCK_UNCORRECTED | FSCK_FAILED,
			    "%s: the superblock is damaged and no copy was found", a->target);
	}
	return fail(FSCK_FAILED, "%s: %s", a->target, err_text(r));
}

static struct check_opts options(const struct fsck_args *a)
{
	return (struct check_opts){ .problem = show_problem, .progress = progress_show,
				    .arg = (void *)(uintptr_t)a, .data = a->data,
				    .safe_only = !a->repair };
}

static int only_check(const struct fsck_args *a, struct blk_dev *dev)
{
	struct check_opts opts = options(a);
	struct check_result res;
	int r = check_run(dev, &opts, &res);

	progress_clear();
	if (r)
		return explain(a, r);
	if (res.replayed)
		printf("%s: was not unmounted; checked as after the replay of %" PRIu64
		       " transactions\n", a->target, res.recovery.transactions);
	show_counts(a, &res);
	if (res.problems == 0) {
		show_clean(a, res.inodes, res.used_sectors, res.geo.nr_sectors);
		return FSCK_OK;
	}
	printf("%s: %" PRIu64 " problem%s%s; 'fsck.foliofs -y' repairs. Nothing was changed.\n",
	       a->target, res.problems, res.problems == 1 ? "" : "s",
	       res.stopped ? ", and more can't be looked at" : "");
	return FSCK_UNCORRECTED;
}

/* -y, and what is safe without it. */
static int check_and_repair(const struct fsck_args *a, struct blk_dev *dev)
{
	struct check_opts opts = options(a);
	struct check_repaired rep;
	struct check_result res;
	int r = check_repair(dev, &opts, &res, &rep), status;

	progress_clear();
	if (r == -EINVAL || r == -EOPNOTSUPP || r == -EBADMSG || r == -EUCLEAN)
		return explain(a, r);
	if (r)
		return fail(FSCK_UNCORRECTED | FSCK_FAILED, "%s: repair was broken off: %s",
			    a->target, err_text(r));
	if (rep.recovery.transactions)
		printf("%s: was not unmounted; %" PRIu64 " transactions were replayed\n",
		       a->target, rep.recovery.transactions);
	status = rep.repaired || rep.recovery.transactions ? FSCK_CORRECTED : FSCK_OK;
	show_counts(a, &res);
	if (rep.repaired)
		printf("%s: %" PRIu64 " repairs in %u rounds\n", a->target, rep.repaired,
		       rep.rounds);
	if (!res.problems)
		show_clean(a, res.inodes, res.used_sectors, res.geo.nr_sectors);
	else
		printf("%s: %" PRIu64 " problem%s left%s\n", a->target, res.problems,
		       res.problems == 1 ? "" : "s",
		       a->repair ? "" : "; 'fsck.foliofs -y' repairs them");
	return res.problems ? status | FSCK_UNCORRECTED : status;
}

/* Mounting replays the log, finishes what it left unfinished, and unmounting marks it clean. */
static int replay(const struct fsck_args *a, struct blk_dev *dev, const struct fmt_geo *geo)
{
	struct cache_config cfg = { .bytes = REPLAY_CACHE + geo->jnl_nr * SECTOR_SIZE,
				    .max_order = 0xff };
	struct fs_opts opts = { .threads = false };
	struct jnl_recovery rec = { 0 };
	struct fs *fs;
	int r = cache_init(&cfg);

	if (r)
		return fail(FSCK_FAILED, "%s: %s", a->target, err_text(r));
	r = fs_mount(dev, &opts, &fs);
	if (!r) {
		rec = *fs_recovery(fs);
		r = fs_unmount(fs, false);
		if (!r && rec.lost_first)
			r = -EUCLEAN;
	}
	cache_fini();
	if (r) {
		fail(FSCK_FAILED, "%s: the log can't be replayed: %s", a->target, err_text(r));
		return r == -EUCLEAN || r == -EBADMSG ? FSCK_UNCORRECTED : FSCK_FAILED;
	}
	printf("%s: was not unmounted; %" PRIu64 " transactions were replayed\n", a->target,
	       rec.transactions);
	return FSCK_CORRECTED;
}

static int check_as_needed(const struct fsck_args *a, struct blk_dev *dev)
{
	struct check_state st;
	int r = check_state(dev, &st), status = FSCK_OK;

	if (r == -EBADMSG || r == -EUCLEAN || a->repair || (!r && a->force))
		return check_and_repair(a, dev);
	if (r)
		return explain(a, r);
	if (!st.clean) {
		status = replay(a, dev, &st.geo);
		if (status & FSCK_UNCORRECTED)
			return check_and_repair(a, dev);
		if (status & FSCK_FAILED)
			return status;
		r = check_state(dev, &st);
		if (r)
			return explain(a, r);
	}
	show_clean(a, st.inodes, st.geo.nr_sectors - st.free_sectors, st.geo.nr_sectors);
	return status;
}

static int open_failed(const struct fsck_args *a, int r)
{
	char text[4400];

	if (r == -EBUSY)
		return fail(FSCK_FAILED, "%s: %s. Nothing was checked.", a->target,
			    target_who(a->target, text, sizeof(text)));
	return fail(FSCK_FAILED, "%s: can't be opened: %s", a->target, err_text(r));
}

static int run(const struct fsck_args *a)
{
	struct blk_dev *dev;
	char where[4096];
	int r, status;

	if (target_mounted_at(a->target, where, sizeof(where)))
		return fail(FSCK_FAILED, "%s: is mounted at %s. Nothing was checked.", a->target,
			    where);
	r = target_open(a->target, a->check_only ? BLK_RDONLY : BLK_RDWR, NULL, &dev);
	if (r)
		return open_failed(a, r);
	progress_init(a);
	status = a->check_only ? only_check(a, dev) : check_as_needed(a, dev);
	blk_close(dev);
	return status;
}

static void cancelled(int sig)
{
	(void)sig;
	_exit(FSCK_CANCELLED);
}

static void log_line(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	if (level <= LOG_LEVEL_WARN)
		fail(0, "%s", line);
}

int main(int argc, char **argv)
{
	struct fsck_args a;
	u64 begin = now_ns();
	char took[DURATION_TEXT_MAX];
	int status = args_parse(argc, argv, &a);

	if (status || a.done)
		return status;
	log_set_sink(log_line, NULL);
	work_begin(WORK_FSCK, CORRUPT_NO_INO);
	signal(SIGINT, cancelled);
	signal(SIGTERM, cancelled);
	status = run(&a);
	if (a.timing)
		printf("%s: took %s\n", a.target, duration_to_text(now_ns() - begin, took));
	if (fflush(stdout) || ferror(stdout))
		return fail(status | FSCK_FAILED, "standard output: %s", err_text(errno));
	return status;
}
