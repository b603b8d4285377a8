/*
 * Pass 3: inodes against what the other trees said about them.
 *
 * Rules
 * 1. An inode without links is an orphan to delete, and the other way round; the rest of it is the
 *    business of recovery and is not looked at.
 * 2. A directory is named once, by its parent, and its parents lead to the root.
 * 3. What a tree could not tell completely is not held against anybody.
 */
#include "check/check_priv.h"

#include <inttypes.h>
#include <sys/stat.h>

enum { UNKNOWN, ON_PATH, REACHED, LOST };

static bool to_delete(const struct ino_rec *rec)
{
	return rec->orphan & 1u << FMT_ORPHAN_DELETE;
}

static void orphan_check(struct check *c, const struct ino_rec *rec)
{
	if (!c->tree_complete[FMT_TREE_ORPHAN])
		return;
	if (rec->nlink == 0 && !to_delete(rec))
		report(c, CHECK_ORPHAN, rec->ino, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": has no links and is not among the orphans", rec->ino);
	if (rec->nlink > 0 && to_delete(rec))
		report(c, CHECK_ORPHAN, rec->ino, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": is to be deleted, but has %" PRIu32 " links", rec->ino,
		       rec->nlink);
	if (rec->orphan & 1u << FMT_ORPHAN_TRUNCATE && !S_ISREG(rec->mode))
		report(c, CHECK_ORPHAN, rec->ino, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": is to be truncated, but is no file", rec->ino);
}

static void nlink_check(struct check *c, const struct ino_rec *rec)
{
	u32 expect = rec->links;

	if (S_ISDIR(rec->mode)) {
		bool root = rec->ino == FMT_ROOT_INO;

		if (rec->nlink > 0 && rec->links != (root ? 0u : 1u))
			report(c, CHECK_PARENT, rec->ino, CHECK_NO_SECTOR,
			       "directory %" PRIu64 ": named %" PRIu32 " times", rec->ino,
			       rec->links);
		expect = rec->nlink == 0 ? 0 : 2 + rec->subdirs;
		if (rec->nlink == 0 && rec->links > 0)
			expect = rec->links + 1;
	}
	if (rec->nlink != expect)
		report(c, CHECK_NLINK, rec->ino, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": link count is %" PRIu32 ", should be %" PRIu32, rec->ino,
		       rec->nlink, expect);
}

static void entries_check(struct check *c, const struct ino_rec *rec)
{
	if (S_ISDIR(rec->mode) && rec->entries != rec->found_entries)
		report(c, CHECK_ENTRIES, rec->ino, CHECK_NO_SECTOR,
		       "directory %" PRIu64 ": says %" PRIu64 " entries, has %" PRIu64, rec->ino,
		       rec->entries, rec->found_entries);
}

static void counts_check(struct check *c, const struct ino_rec *rec)
{
	if (c->tree_complete[FMT_TREE_EXTENT] && rec->sectors != rec->found_sectors)
		report(c, CHECK_SECTORS, rec->ino, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": says %" PRIu64 " sectors, has %" PRIu64, rec->ino,
		       rec->sectors, rec->found_sectors);
	if (c->tree_complete[FMT_TREE_XATTR] && rec->xattrs != rec->found_xattrs)
		report(c, CHECK_XATTR_COUNT, rec->ino, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": says %" PRIu32 " extended attributes, has %" PRIu32,
		       rec->ino, rec->xattrs, rec->found_xattrs);
}

static struct ino_rec *live_parent(struct check *c, const struct ino_rec *rec)
{
	struct ino_rec *p = ino_find(c, rec->parent);

	return p && S_ISDIR(p->mode) ? p : NULL;
}

/* Sets `reached` of rec and of all its parents; twice along the path, the second time to set it. */
static void trace_to_root(struct check *c, struct ino_rec *rec)
{
	struct ino_rec *at = rec;
	u8 result;

	while (at && at->reached == UNKNOWN && at->ino != FMT_ROOT_INO) {
		at->reached = ON_PATH;
		at = live_parent(c, at);
	}
	result = at && (at->ino == FMT_ROOT_INO || at->reached == REACHED) ? REACHED : LOST;
	for (at = rec; at && at->reached == ON_PATH; at = live_parent(c, at))
		at->reached = result;
}

static void reach_check(struct check *c, struct ino_rec *rec)
{
	if (!S_ISDIR(rec->mode))
		return;
	if (rec->ino == FMT_ROOT_INO) {
		if (rec->parent != FMT_ROOT_INO)
			report(c, CHECK_PARENT, rec->ino, CHECK_NO_SECTOR,
			       "root directory: parent is %" PRIu64, rec->parent);
		return;
	}
	trace_to_root(c, rec);
	if (rec->reached != REACHED)
		report(c, CHECK_PARENT, rec->ino, CHECK_NO_SECTOR,
		       "directory %" PRIu64 ": its parents do not lead to the root", rec->ino);
}

static void root_check(struct check *c)
{
	struct ino_rec *root = ino_find(c, FMT_ROOT_INO);

	if (!root || !S_ISDIR(root->mode) || root->nlink == 0)
		report(c, CHECK_INODE, FMT_ROOT_INO, CHECK_NO_SECTOR,
		       "there is no root directory");
	if (get64(c->root->nr_inodes) != c->res->inodes)
		report(c, CHECK_COUNTERS, 0, CHECK_NO_SECTOR,
		       "root sector: says %" PRIu64 " inodes, there are %" PRIu64,
		       get64(c->root->nr_inodes), c->res->inodes);
}

void check_links(struct check *c)
{
	bool all_inodes = c->tree_complete[FMT_TREE_INODE];
	bool all_names = all_inodes && c->tree_complete[FMT_TREE_DIRENT];

	c->cursor = 0;
	if (all_inodes)
		root_check(c);
	for (u64 i = 0; i < c->nr_inos && !check_stopped(c); i++) {
		struct ino_rec *rec = &c->inos[i];

		if (i % 4096 == 0)
			progress(c, 3, i, c->nr_inos);
		orphan_check(c, rec);
		if (all_names)
			nlink_check(c, rec);
		if (rec->nlink == 0)
			continue;
		if (c->tree_complete[FMT_TREE_DIRENT])
			entries_check(c, rec);
		counts_check(c, rec);
		if (all_inodes)
			reach_check(c, rec);
	}
	progress(c, 3, 1, 1);
}
