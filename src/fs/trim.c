/*
 * Telling the device which space is free (FITRIM): discarded on a disk, punched out of an image.
 *
 * 1. Free space is taken out of the allocators' sight, discarded without any lock, and given back:
 *    one window of at most TRIM_MAX sectors at a time, set in a handle, where allocators run.
 * 2. Busy space is passed over: a crash may still need it. What is free otherwise is free on the
 *    disk, too.
 * 3. Counters do not change. Who finds no space meanwhile waits for the window and tries again
 *    (space_retry_nospc()).
 *
 * The window itself is in space_window.c.
 */
#include "base/err.h"
#include "fs/inode.h"
#include "fs/space_priv.h"

#define TRIM_MAX 16384u         /* sectors: 64 MiB */

struct trim {
	struct space *sp;
	u64 from, end;          /* what is left; in one group */
	u64 min;
	/* set up by each run of the body; equal: nothing found */
	u64 start, stop;
};

static void trim_published(void *arg, u64 seq UNUSED)
{
	const struct trim *t = arg;

	if (t->start < t->stop)
		space_window_set(t->sp, t->start, t->stop);
}

/* The next free run. */
static int trim_body(struct view *v, void *arg)
{
	const struct run_limits lim = { .align = 1 };
	struct trim *t = arg;
	struct bits b;
	u32 from, end, start, stop;
	int r = bits_open(&b, v, fmt_group_of(view_geo(v), t->from));

	if (r)
		return r;
	t->start = t->stop = t->end;
	from = MAX((u32)(t->from - b.base), b.first);
	end = MIN((u32)(t->end - b.base), b.len);
	while (from < end) {
		r = bits_next_run(&b, from, end, &lim, &start, &stop);
		if (r)
			return r;
		if (start < stop && stop - start >= t->min) {
			t->start = b.base + start;
			t->stop = b.base + MIN(stop, start + TRIM_MAX);
			break;
		}
		from = stop;
	}
	return view_on_publish(v, trim_published, t);
}

static int trim_group(struct fs *fs, struct trim *t, u64 *done)
{
	int r = 0;

	while (t->from < t->end && !r) {
		r = jnl_run(fs->jnl, 1, trim_body, t, NULL);
		if (r || t->start == t->stop)
			break;
		r = blk_discard(fs->dev, t->start, t->stop - t->start);
		space_window_set(t->sp, 0, 0);
		if (!r)
			*done += t->stop - t->start;
		t->from = t->stop;
	}
	return r;
}

int fs_trim(struct fs *fs, u64 start, u64 len, u64 minlen, u64 *trimmed)
{
	u64 first = bytes_to_sectors_up(start), last = fs->geo.nr_sectors, done = 0;
	struct trim t = { .sp = fs->space, .min = MAX(bytes_to_sectors_up(minlen), (u64)1) };
	struct work before;
	int r = fs_may_change(fs);

	if (r)
		return r;
	if (first >= last || len < SECTOR_SIZE)
		return -EINVAL;
	last = MIN(last, len > UINT64_MAX - start ? last : (start + len) >> SECTOR_SHIFT);
	before = work_begin(WORK_TRIM, CORRUPT_NO_INO);
	space_window_own(t.sp);
	for (t.from = first; t.from < last && !r; t.from = t.end) {
		u32 group = fmt_group_of(&fs->geo, t.from);

		t.end = MIN(last, fmt_group_start(&fs->geo, group) +
					  fmt_group_len(&fs->geo, group));
		r = trim_group(fs, &t, &done);
	}
	space_window_disown(t.sp);
	work_end(before);
	if (!r)
		*trimmed = done << SECTOR_SHIFT;
	return r;
}
