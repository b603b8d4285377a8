/*
 * mkfs.foliofs: makes a file system on an image file or a block device.
 *
 * Rules
 * 1. Everything that can be refused is refused before the first byte changes, and the message says
 *    so. A file that --size created and that could not be formatted is removed again.
 * 2. Without --force whatever is recognisable on the target stays, on a terminal or not.
 * 3. The exit status is 0 or 1.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/target.h"
#include "base/err.h"
#include "base/log.h"
#include "base/size.h"
#include "fs/fs.h"
#include "mkfs.h"

#define MIN_SECTORS_LIMIT 65536u  /* every block size fits into 256 MiB */

struct job {
	struct mkfs_args args;
	struct blk_dev *dev;
	struct fs_format_opts opts;
	bool created;
};

static int refuse(const char *target, const char *what)
{
	return fail("%s: %s. Nothing was changed.", target, what);
}

/* ---- before opening ---- */

static int look_at_path(struct job *job)
{
	const char *target = job->args.target;
	char where[4096], text[4200];
	struct stat st;

	if (stat(target, &st)) {
		if (errno != ENOENT)
			return refuse(target, err_text(errno));
		if (job->args.size_bytes)
			return 0;
		return fail("%s: there is no such file. Give --size SIZE to create an image file.",
			    target);
	}
	if (S_ISDIR(st.st_mode))
		return refuse(target, "is a directory, not an image file or a block device");
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return refuse(target, "is neither a regular file nor a block device");
	if (target_mounted_at(target, where, sizeof(where))) {
		snprintf(text, sizeof(text), "is mounted at %s", where);
		return refuse(target, text);
	}
	if (target_is_swap(target))
		return refuse(target, "is in use as swap");
	return 0;
}

/* ---- opening ---- */

static int explain_open(const char *target, int r)
{
	char text[4400];

	if (r == -EBUSY)
		return refuse(target, target_who(target, text, sizeof(text)));
	if (r == -EROFS)
		return refuse(target, "can't be written: read-only");
	snprintf(text, sizeof(text), "can't be opened: %s", err_text(r));
	return refuse(target, text);
}

static bool exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static int open_target(struct job *job)
{
	const struct mkfs_args *a = &job->args;
	struct blk_opts opts = { .size = a->size_bytes & ~(u64)SECTOR_MASK };
	unsigned flags = BLK_RDWR;
	bool fresh = !exists(a->target);
	int r;

	if (a->dry_run)
		flags = BLK_RDONLY;
	else if (fresh)
		flags |= BLK_CREATE;
	r = target_open(a->target, flags, &opts, &job->dev);
	/* A file that could not get its size is there all the same. */
	job->created = fresh && !a->dry_run && exists(a->target);
	return r ? explain_open(a->target, r) : 0;
}

/* ---- size ---- */

static u64 wanted_sectors(const struct mkfs_args *a)
{
	if (a->size_bytes)
		return a->size_bytes >> SECTOR_SHIFT;
	return a->size_blocks * (a->block_bytes >> SECTOR_SHIFT);
}

/* The smallest device for these options, for the message. */
static u64 smallest_sectors(const struct fs_format_opts *opts)
{
	struct fs_format_opts o = *opts;
	struct fmt_geo g;

	o.nr_sectors = 0;
	for (u64 n = 1; n <= MIN_SECTORS_LIMIT; n++) {
		if (fs_format_plan(n, &o, &g) == 0)
			return n;
	}
	return 0;
}

static int explain_plan(const struct job *job, u64 sectors, int r)
{
	char have[SIZE_TEXT_MAX], need[SIZE_TEXT_MAX], text[200];

	size_to_text(sectors * SECTOR_SIZE, have);
	size_to_text(smallest_sectors(&job->opts) * SECTOR_SIZE, need);
	switch (r) {
	case -ENOSPC:
		snprintf(text, sizeof(text), "too small: %s, these options need at least %s", have,
			 need);
		break;
	case -ERANGE:
		snprintf(text, sizeof(text), "a journal of that size does not fit: it must be 1 MiB"
			 " to half of the target, and 768 MiB at most");
		break;
	case -EFBIG:
		snprintf(text, sizeof(text), "too large: %s, the limit is 2 PiB", have);
		break;
	default:
		snprintf(text, sizeof(text), "can't be formatted: %s", err_text(r));
	}
	return refuse(job->args.target, text);
}

/* How many sectors there are to format; an image file may grow to what --size says. */
static int settle_size(struct job *job, struct fmt_geo *geo)
{
	u64 have = job->dev ? blk_sectors(job->dev) : 0, want = wanted_sectors(&job->args);
	bool grow = want > have && job->args.size_bytes && (!job->dev || blk_is_file(job->dev));
	char have_text[SIZE_TEXT_MAX], want_text[SIZE_TEXT_MAX], text[200];
	int r;

	if (want > have && !grow) {
		size_to_text(have * SECTOR_SIZE, have_text);
		size_to_text(want * SECTOR_SIZE, want_text);
		snprintf(text, sizeof(text), "has %s, less than the %s asked for", have_text,
			 want_text);
		return refuse(job->args.target, text);
	}
	job->opts.nr_sectors = want;
	r = fs_format_plan(MAX(have, want), &job->opts, geo);
	return r ? explain_plan(job, want ? want : have, r) : 0;
}

/* ---- content ---- */

static int look_at_content(const struct job *job)
{
	const char *target = job->args.target;
	char what[512], text[600];
	bool found;
	int r;

	if (!job->dev || job->created)
		return 0;
	r = probe_content(target, &found, what, sizeof(what));
	if (r) {
		snprintf(text, sizeof(text), "can't be read: %s", err_text(r));
		return refuse(target, text);
	}
	if (!found)
		return 0;
	if (!job->args.force)
		return fail("%s already holds %s.\nmkfs.foliofs: nothing was changed. "
			    "Use --force to overwrite it.", target, what);
	if (!job->args.quiet)
		printf("%s held %s\n", target, what);
	return 0;
}

/* ---- doing it ---- */

static int wipe(void *arg)
{
	const struct job *job = arg;
	int r;

	if (job->created)
		return 0;
	r = probe_wipe(job->args.target);
	if (r)
		fail("%s: old signatures can't be wiped: %s", job->args.target, err_text(r));
	return r;
}

static void print_summary(const struct job *job, const struct fmt_geo *g)
{
	char size[SIZE_TEXT_MAX], block[SIZE_TEXT_MAX], jnl[SIZE_TEXT_MAX], uuid[UUID_TEXT_MAX];
	struct uuid u;

	memcpy(u.b, g->uuid, sizeof(u.b));
	size_to_text(g->nr_sectors * SECTOR_SIZE, size);
	size_to_text(g->block_bytes, block);
	size_to_text(g->jnl_nr * SECTOR_SIZE, jnl);
	printf("foliofs %s  %s: %s, %s blocks, %s journal, inodes as needed%s\n", FOLIOFS_VERSION,
	       job->args.target, size, block, jnl, job->args.dry_run ? " (nothing was done)" : "");
	printf("  label %s   uuid %s   features %s\n", g->label[0] ? g->label : "(none)",
	       job->args.dry_run && !job->args.has_uuid ? "(random)" : uuid_to_text(&u, uuid),
	       g->ro_compat & FMT_RO_COMPAT_DATASUM ? "datasum" : "none");
	if (job->args.inodes_given)
		printf("  inodes are not limited: -N has no effect\n");
	if (job->args.verbose)
		fmt_super_to_text(g, stdout);
}

/* Grows the image to what was asked for; *old is its size before, in bytes, 0 = not grown. */
static int grow(const struct job *job, const struct fmt_geo *g, u64 *old)
{
	struct stat st;
	u64 want = MAX(job->opts.nr_sectors, g->nr_sectors);

	*old = 0;
	if (want <= blk_sectors(job->dev))
		return 0;
	if (stat(job->args.target, &st) == 0)
		*old = (u64)st.st_size;
	return blk_resize(job->dev, want);
}

static int explain_format(const struct job *job, int r, u64 old)
{
	const char *target = job->args.target;

	if (old && !job->created && truncate(target, (off_t)old))
		fail("%s: can't get its old size back: %s", target, err_text(errno));
	if (r == -ENOSPC)
		return fail("%s: no space on the host for journal and group headers. %s", target,
			    job->created ? "The file was removed." : "Its contents were kept.");
	return fail("%s: formatting failed: %s. %s", target, err_text(r),
		    job->created ? "The file was removed." : "It holds no valid file system now.");
}

static int format(struct job *job, struct fmt_geo *g)
{
	u64 old = 0;
	int r = grow(job, g, &old);

	if (!r)
		r = fs_format(job->dev, &job->opts, g);
	return r ? explain_format(job, r, old) : 0;
}

static void set_options(struct job *job)
{
	const struct mkfs_args *a = &job->args;

	job->opts = (struct fs_format_opts){
		.block_bytes = a->block_bytes,
		.jnl_sectors = bytes_to_sectors_up(a->jnl_bytes),
		.label = a->label,
		.uuid = a->has_uuid ? a->uuid.b : NULL,
		.time = a->time,
		.root_uid = geteuid(),
		.root_gid = getegid(),
		.discard = !a->no_discard && !job->created,
		.no_datasum = a->no_datasum,
		.before_write = wipe,
		.arg = job,
	};
}

static int run(struct job *job)
{
	struct fmt_geo geo;
	int status = look_at_path(job);

	/* With -n a file that is not there is not made either. */
	if (!status && !(job->args.dry_run && !exists(job->args.target)))
		status = open_target(job);
	if (status)
		return status;
	set_options(job);
	status = settle_size(job, &geo);
	if (!status)
		status = look_at_content(job);
	if (!status && !job->args.dry_run)
		status = format(job, &geo);
	if (!status && !job->args.quiet)
		print_summary(job, &geo);
	return status;
}

static void log_line(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	if (level == LOG_LEVEL_ERR)
		fail("%s", line);
}

int main(int argc, char **argv)
{
	struct job job = { 0 };
	int status;

	log_set_sink(log_line, NULL);
	if (args_parse(argc, argv, &job.args))
		return 1;
	if (job.args.done)
		return 0;
	status = run(&job);
	blk_close(job.dev);
	if (status && job.created)
		unlink(job.args.target);
	if (fflush(stdout) || ferror(stdout))
		return fail("standard output: %s", err_text(errno));
	return status;
}
