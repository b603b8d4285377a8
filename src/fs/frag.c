/*
 * frag: how long the pieces are, of files on the disk and of free space. For foliofsctl frag and
 * for tests.
 *
 * Both walk in bodies that each look at one extent or one group, so nothing is held for long, and
 * what changes meanwhile may be counted before or after its change.
 */
#include "base/err.h"
#include "fs/file_priv.h"
#include "fs/space_priv.h"

int fs_frag_file(struct inode *ip, struct fs_frag_file *out)
{
	struct fs_frag_file f = { 0 };
	struct extent_run run;
	u64 sector = 0, behind = 0;

	for (; sector < FMT_SIZE_MAX >> SECTOR_SHIFT; sector = run.end) {
		u64 nr;
		int r = extent_find(ip, sector, &run);

		if (r)
			return r;
		if (run.end <= sector)
			break;
		if (!run.mapped)
			continue;
		nr = run.end - run.start;
		f.extents++;
		f.sectors += nr;
		f.longest = MAX(f.longest, nr);
		f.gaps += behind != 0 && run.disk != behind;
		behind = run.disk + nr;
	}
	*out = f;
	return 0;
}

struct group_walk {
	struct space *sp;
	u32 group;
	struct fs_frag_space *out;
};

static void count_run(struct fs_frag_space *out, u64 nr)
{
	out->runs++;
	out->sectors += nr;
	out->longest = MAX(out->longest, nr);
	out->by_order[MIN(ilog2(nr), FS_FRAG_ORDERS - 1)] += nr;
}

static int group_body(struct view *v, void *arg)
{
	struct group_walk *w = arg;
	struct fs_frag_space sum = { 0 };
	struct bits b;
	u32 at, end;
	int r = bits_open(&b, v, w->group);

	for (at = r ? 0 : b.first; !r && at < b.len; at = end) {
		r = bits_next(&b, at, b.len, false, &at);
		if (r || at == b.len)
			break;
		r = bits_next(&b, at, b.len, true, &end);
		if (!r)
			count_run(&sum, end - at);
	}
	/* The body may be run again: only a whole walk counts. */
	if (!r)
		*w->out = sum;
	return r;
}

int fs_frag_space(struct fs *fs, struct fs_frag_space *out)
{
	struct fs_frag_space all = { 0 }, one;
	struct group_walk w = { .sp = fs->space, .out = &one };

	for (; w.group < fs->space->geo->nr_groups; w.group++) {
		int r = jnl_read(fs->jnl, group_body, &w);

		if (r)
			return r;
		all.runs += one.runs;
		all.sectors += one.sectors;
		all.longest = MAX(all.longest, one.longest);
		for (unsigned k = 0; k < FS_FRAG_ORDERS; k++)
			all.by_order[k] += one.by_order[k];
	}
	*out = all;
	return 0;
}
