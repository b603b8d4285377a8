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

static struct fix patch_inode(u64 ino, u32 off, u32 len, u64 value)
{
	return (struct fix){ .kind = FIX_PATCH, .tree = FMT_TREE_INODE, .key = { ino, 0 },
			     .ino = ino, .off = off, .len = len, .a = value,
			     .sector = CHECK_NO_SECTOR };
}

#define PATCH(rec, field, value)                                                                   \
	patch_inode((rec)->ino, offsetof(struct fmt_inode, field),                                 \
		    sizeof(((struct fmt_inode *)NULL)->field), value)

static struct fix fix_ino(enum fix_kind kind, const struct ino_rec *rec)
{
	return (struct fix){ .kind = kind, .ino = rec->ino, .a = rec->mode,
			     .sector = CHECK_NO_SECTOR };
}

/* An inode without names and without links was being deleted; with either it is not. */
static void orphan_check(struct check *c, const struct ino_rec *rec)
{
	bool names_known = c->tree_complete[FMT_TREE_DIRENT] && c->tree_complete[FMT_TREE_INODE];

	if (!c->tree_complete[FMT_TREE_ORPHAN])
		return;
	if (rec->nlink == 0 && !to_delete(rec))
		report_fix(c, CHECK_ORPHAN,
			   fix_ino(names_known && rec->links == 0 ? FIX_ORPHAN : FIX_NONE, rec),
			   "inode %" PRIu64 ": has no links and is not among the orphans",
			   rec->ino);
	if (rec->nlink > 0 && to_delete(rec))
		report_fix(c, CHECK_ORPHAN, fix_ino(names_known ? FIX_UNORPHAN : FIX_NONE, rec),
			   "inode %" PRIu64 ": is to be deleted, but has %" PRIu32 " links",
			   rec->ino, rec->nlink);
	if (rec->orphan & 1u << FMT_ORPHAN_TRUNCATE && !S_ISREG(rec->mode))
		report_fix(c, CHECK_ORPHAN, fix_ino(FIX_UNORPHAN, rec),
			   "inode %" PRIu64 ": is to be truncated, but is no file", rec->ino);
}

static u32 expected_links(const struct ino_rec *rec)
{
	if (!S_ISDIR(rec->mode))
		return rec->links;
	if (rec->nlink == 0 && rec->links == 0)
		return 0;
	return 2 + rec->subdirs;
}

static void nlink_check(struct check *c, const struct ino_rec *rec)
{
	u32 expect = expected_links(rec);
	bool nameless = rec->links == 0 && rec->nlink > 0 && rec->ino != FMT_ROOT_INO;

	if (nameless && !to_delete(rec))
		report_fix(c, S_ISDIR(rec->mode) ? CHECK_PARENT : CHECK_NLINK,
			   fix_ino(FIX_LOST_FOUND, rec), "%s %" PRIu64 ": has no name",
			   S_ISDIR(rec->mode) ? "directory" : "inode", rec->ino);
	else if (rec->nlink != expect)
		report_fix(c, CHECK_NLINK, PATCH(rec, nlink, expect),
			   "inode %" PRIu64 ": link count is %" PRIu32 ", should be %" PRIu32,
			   rec->ino, rec->nlink, expect);
}

static void entries_check(struct check *c, const struct ino_rec *rec)
{
	if (S_ISDIR(rec->mode) && rec->entries != rec->found_entries)
		report_fix(c, CHECK_ENTRIES, PATCH(rec, entries, rec->found_entries),
			   "directory %" PRIu64 ": says %" PRIu64 " entries, has %" PRIu64,
			   rec->ino, rec->entries, rec->found_entries);
}

static void counts_check(struct check *c, const struct ino_rec *rec)
{
	if (c->tree_complete[FMT_TREE_EXTENT] && !S_ISDIR(rec->mode) &&
	    rec->sectors != rec->found_sectors)
		report_fix(c, CHECK_SECTORS, PATCH(rec, sectors, rec->found_sectors),
			   "inode %" PRIu64 ": says %" PRIu64 " sectors, has %" PRIu64, rec->ino,
			   rec->sectors, rec->found_sectors);
	if (c->tree_complete[FMT_TREE_XATTR] && rec->xattrs != rec->found_xattrs)
		report_fix(c, CHECK_XATTR_COUNT, PATCH(rec, xattrs, rec->found_xattrs),
			   "inode %" PRIu64 ": says %" PRIu32 " extended attributes, has %" PRIu32,
			   rec->ino, rec->xattrs, rec->found_xattrs);
}

static struct ino_rec *live_parent(struct check *c, const struct ino_rec *rec)
{
	struct ino_rec *p = ino_find(c, rec->parent);

	return p && S_ISDIR(p->mode) ? p : NULL;
}

/*
 * Sets `reached` of rec and of all its parents; twice along the path, the second time to set it.
 * Returns the directory at which the path met itself, if it did: it belongs to a ring.
 */
static struct ino_rec *trace_to_root(struct check *c, struct ino_rec *rec)
{
	struct ino_rec *at = rec, *ring;
	u8 result;

	while (at && at->reached == UNKNOWN && at->ino != FMT_ROOT_INO) {
		at->reached = ON_PATH;
		at = live_parent(c, at);
	}
	ring = at && at->reached == ON_PATH ? at : NULL;
	result = at && (at->ino == FMT_ROOT_INO || at->reached == REACHED) ? REACHED : LOST;
	for (at = rec; at && at->reached == ON_PATH; at = live_parent(c, at))
		at->reached = result;
	return ring;
}

/* A parent field that does not say where the directory's name is. */
static void parent_check(struct check *c, const struct ino_rec *rec)
{
	if (rec->name_dir && rec->name_dir != rec->parent)
		report_fix(c, CHECK_PARENT, PATCH(rec, parent, rec->name_dir),
			   "directory %" PRIu64 ": named in directory %" PRIu64
			   ", but its parent is %" PRIu64, rec->ino, rec->name_dir, rec->parent);
}

static void reach_check(struct check *c, struct ino_rec *rec)
{
	struct ino_rec *ring;
	struct fix cut;

	if (!S_ISDIR(rec->mode))
		return;
	if (rec->ino == FMT_ROOT_INO) {
		if (rec->parent != FMT_ROOT_INO)
			report_fix(c, CHECK_PARENT, PATCH(rec, parent, FMT_ROOT_INO),
				   "root directory: parent is %" PRIu64, rec->parent);
		return;
	}
	parent_check(c, rec);
	ring = trace_to_root(c, rec);
	if (rec->reached == REACHED)
		return;
	/* One of a ring loses its name, and with that it is the top of what moves to lost+found. */
	cut = fix_ino(FIX_NONE, rec);
	if (ring && ring->name_dir == ring->parent) {
		cut = fix_ino(FIX_REMOVE, ring);
		cut.tree = FMT_TREE_DIRENT;
		cut.key = (struct fmt_key){ ring->name_dir, ring->name_b };
	}
	report_fix(c, CHECK_PARENT, cut,
		   "directory %" PRIu64 ": its parents do not lead to the root", rec->ino);
}

static void root_check(struct check *c)
{
	struct ino_rec *root = ino_find(c, FMT_ROOT_INO);

	if (!root || !S_ISDIR(root->mode) || root->nlink == 0)
		report_fix(c, CHECK_INODE,
			   (struct fix){ .kind = FIX_MAKE_ROOT, .ino = FMT_ROOT_INO,
					 .sector = CHECK_NO_SECTOR },
			   "there is no root directory");
	if (get64(c->root->nr_inodes) != c->res->inodes)
		report_fix(c, CHECK_COUNTERS,
			   (struct fix){ .kind = FIX_ROOT_FIELD, .sector = CHECK_NO_SECTOR,
					 .off = offsetof(struct fmt_root, nr_inodes),
					 .a = c->res->inodes },
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
