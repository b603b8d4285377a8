/*
 * Repair: rounds of a check and of what it says is to be done.
 *
 * Rules
 * 1. A round checks everything, then does the first stage (enum fix_stage) that has something to
 *    do, then the next round checks again. So each repair may rely on what lies below it, and
 *    consequences of damage are never repaired in place of the damage itself.
 * 2. It is over when a check finds nothing: that check is the proof. A round that repairs nothing
 *    ends it, too, and what it found is left.
 * 3. Everything but superblocks and an unusable log is changed by handles of the journal, one a
 *    finding. A crash leaves an image that was repaired so far, to be repaired further.
 * 4. Buffers that a flipped bit has damaged are put right exactly, before anything is given up.
 * 5. Trees are repaired without the allocator; what needs space comes after the bitmaps cover
 *    everything that is in use.
 *
 * One thread owns the device; no locks.
 */
#include "check/repair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/errors.h"
#include "mem/mem.h"

#define ROUNDS_MAX 100u
#define CACHE_BYTES (64ull << 20)

static const struct {
	fix_fn fn;
	const char *outcome;
} actions[FIX_NR] = {
	[FIX_SUPER] = { fix_super, "written again" },
	[FIX_SUPER_FOUND] = { fix_super, "written again" },
	[FIX_LOG_HEAD] = { NULL, "both written again" },
	[FIX_LOG_REPLAY] = { NULL, "replayed up to there; later changes are lost" },
	[FIX_LOG_RESET] = { NULL, "emptied; changes in it are lost" },
	[FIX_ROOT_SUPER] = { fix_root_super, "written again" },
	[FIX_ROOT] = { fix_root, "rebuilt from the trees that were found" },
	[FIX_GTABLE] = { fix_gtable, "rebuilt" },
	[FIX_ROOT_SPACE] = { fix_root_field, "set" },
	[FIX_GROUP_MARK] = { fix_group, "set by what is in use" },
	[FIX_MAP_REBUILD] = { fix_map_rebuild, "rebuilt" },
	[FIX_NODE] = { fix_node, "cut off; what it held is lost" },
	[FIX_NODE_CUT] = { fix_node_cut, "reference removed" },
	[FIX_SALVAGE] = { fix_salvage, "its items were put in again" },
	[FIX_MAKE_DIR] = { fix_make, "made again as a directory" },
	[FIX_MAKE_FILE] = { fix_make, "made again as a file" },
	[FIX_MAKE_ROOT] = { fix_make, "made again" },
	[FIX_REMOVE] = { fix_remove, "removed" },
	[FIX_REMOVE_XATTR] = { fix_remove_xattr, "removed" },
	[FIX_REHASH] = { fix_rehash, "put where its name belongs" },
	[FIX_CLONE] = { fix_clone, "copied to space of its own" },
	[FIX_PATCH] = { fix_patch, "set" },
	[FIX_ORPHAN] = { fix_orphan, "will be deleted" },
	[FIX_UNORPHAN] = { fix_unorphan, "is not to be deleted any more" },
	[FIX_LOST_FOUND] = { fix_lost_found, "moved to lost+found" },
	[FIX_ROOT_FIELD] = { fix_root_field, "set" },
	[FIX_GROUP_EXACT] = { fix_group, "freed" },
	[FIX_MAP_SET] = { fix_map_set, "set to unwritten" },
	[FIX_MAP_BAD] = { fix_map_set, "marked bad; reading it is an error until it is written" },
};

/* ---- shared by the fixes ---- */

void repair_cut_note(struct repair *rp, enum fmt_tree t, const struct walk_range *range)
{
	if (rp->nr_cut < CUTS_MAX) {
		rp->cut[rp->nr_cut++] = (struct cut){ t, *range };
		return;
	}
	/* So many that it is the whole tree. */
	for (u32 i = 0; i < CUTS_MAX; i++)
		if (rp->cut[i].tree == t)
			rp->cut[i].range = (struct walk_range){ .bounded = false };
}

bool repair_was_cut(const struct repair *rp, const struct lost_node *n)
{
	for (u32 i = 0; i < rp->nr_cut; i++)
		if (rp->cut[i].tree == (enum fmt_tree)n->tree &&
		    walk_in_range(&rp->cut[i].range, n->lo) &&
		    walk_in_range(&rp->cut[i].range, n->hi))
			return true;
	return false;
}

/* ---- the journal and the allocator for a stage ---- */

static int stage_open(struct repair *rp, enum fix_stage stage)
{
	struct jnl_config cfg = { .dev = rp->dev, .geo = &rp->c->geo };
	int r;

	if (stage < STAGE_MAKE || stage == STAGE_SPACE)
		return jnl_open(&cfg, &rp->jnl, NULL);
	r = fs_repair_begin(rp->dev, &rp->fs);
	if (!r)
		rp->jnl = fs_jnl(rp->fs);
	return r;
}

static int stage_close(struct repair *rp)
{
	int r = rp->fs ? fs_unmount(rp->fs, false) : jnl_close(rp->jnl, false);

	rp->fs = NULL;
	rp->jnl = NULL;
	return r;
}

/* ---- one finding ---- */

static void tell(struct repair *rp, const struct finding *f, bool repaired, const char *outcome)
{
	struct check_problem p = { .code = f->code, .ino = f->ino, .sector = f->sector,
				   .text = f->text, .outcome = outcome, .repaired = repaired };

	if (repaired)
		rp->rep->repaired++;
	else
		rp->rep->left++;
	if (rp->opts->problem)
		rp->opts->problem(rp->opts->arg, &p);
}

static bool may_fix(const struct repair *rp, const struct fix *f)
{
	/* A damaged buffer may be damaged by one bit: nothing is lost then. */
	bool try = f->kind == FIX_NODE || f->kind == FIX_ROOT || f->kind == FIX_GTABLE ||
		   f->kind == FIX_MAP_REBUILD;

	return f->kind != FIX_NONE && (!rp->opts->safe_only || !fix_loses(f->kind) || try);
}

/* Returns an error only when going on is no use. *fixed counts. */
static int do_one(struct repair *rp, struct finding *f, u64 *fixed)
{
	int r;

	rp->outcome[0] = 0;
	r = actions[f->fix.kind].fn(rp, &f->fix);
	if (r == -ENOENT || r == -EEXIST) {
		*fixed += 1;
		return 0;
	}
	if (r == -ENOMEM || r == -EROFS)
		return r;
	if (r == -EPERM)
		return 0;
	f->err = r;
	*fixed += r == 0;
	if (r == 0)
		tell(rp, f, true, rp->outcome[0] ? rp->outcome : actions[f->fix.kind].outcome);
	return 0;
}

/* ---- a stage ---- */

static int do_stage(struct repair *rp, enum fix_stage stage, u64 *fixed)
{
	struct findings *fs = rp->c->findings;
	int r = 0;

	/* The counters first: what is done to groups afterwards counts on from them. */
	for (int turn = 0; turn < 2; turn++) {
		for (u32 i = 0; i < fs->nr && !r; i++) {
			struct finding *f = &fs->f[i];

			if (fix_stage(f->fix.kind) == stage && may_fix(rp, &f->fix) &&
			    (f->fix.kind == FIX_ROOT_SPACE) == (turn == 0))
				r = do_one(rp, f, fixed);
		}
	}
	return r;
}

static int journaled_stage(struct repair *rp, enum fix_stage stage, u64 *fixed)
{
	int r = stage_open(rp, stage), closed;

	if (r)
		return r;
	r = do_stage(rp, stage, fixed);
	closed = stage_close(rp);
	return r ? r : closed;
}

/* In the record of errors, if there is still a root sector for it. */
static void record_cut(struct repair *rp, struct jnl *j, const struct finding *f)
{
	struct fs_error e = { .time = time(NULL), .ino = CORRUPT_NO_INO, .sector = f->fix.sector,
			      .count = 1, .why = WHY_JNL_CUT, .op = WORK_FSCK };
	int r = fs_error_record(j, &e);

	if (r)
		snprintf(rp->outcome, sizeof(rp->outcome), "replayed up to there; later changes "
			 "are lost; not in the record of errors: %s", err_text(r));
}

/*
 * Opening the journal for writing replays it and writes a header, closing it the other one. cut:
 * what was found if the log is damaged in the middle.
 */
static int replay(struct repair *rp, const struct finding *cut)
{
	struct jnl_config cfg = { .dev = rp->dev, .geo = &rp->c->geo, .cut_log = true };
	struct jnl_recovery rec = { 0 };
	struct jnl *j;
	int r = jnl_open(&cfg, &j, &rec);

	if (r)
		return r;
	if (!rec.was_clean)
		rp->rep->recovery = rec;
	if (cut)
		record_cut(rp, j, cut);
	return jnl_close(j, false);
}

static int log_stage(struct repair *rp, u64 *fixed)
{
	struct findings *fs = rp->c->findings;
	const struct finding *cut = NULL;
	bool reset = false;
	int r;

	rp->outcome[0] = 0;
	for (u32 i = 0; i < fs->nr; i++) {
		reset |= fs->f[i].fix.kind == FIX_LOG_RESET && may_fix(rp, &fs->f[i].fix);
		if (fs->f[i].fix.kind == FIX_LOG_REPLAY)
			cut = &fs->f[i];
	}
	r = reset ? jnl_format(rp->dev, &rp->c->geo) : replay(rp, cut);
	if (!r && reset)
		r = blk_flush(rp->dev);
	for (u32 i = 0; i < fs->nr && !r; i++) {
		enum fix_kind kind = fs->f[i].fix.kind;

		if (fix_stage(kind) != STAGE_LOG || !may_fix(rp, &fs->f[i].fix))
			continue;
		tell(rp, &fs->f[i], true, &fs->f[i] == cut && !reset && rp->outcome[0]
		     ? rp->outcome : actions[reset ? FIX_LOG_RESET : kind].outcome);
		*fixed += 1;
	}
	return r;
}

/* ---- rounds ---- */

static enum fix_stage first_stage(struct repair *rp)
{
	const struct findings *fs = rp->c->findings;
	enum fix_stage first = STAGE_NR;

	/* What lies behind the cut would be lost, and without that nothing else can be trusted. */
	if (rp->opts->safe_only && rp->c->res->by_code[CHECK_JOURNAL_LOST])
		return STAGE_NR;
	for (u32 i = 0; i < fs->nr; i++)
		if (may_fix(rp, &fs->f[i].fix))
			first = MIN(first, fix_stage(fs->f[i].fix.kind));
	return first;
}

static void leave(struct repair *rp)
{
	const struct findings *fs = rp->c->findings;

	for (u32 i = 0; i < fs->nr; i++) {
		const struct finding *f = &fs->f[i];

		if (f->err)
			snprintf(rp->outcome, sizeof(rp->outcome), "not repaired: %s",
				 err_text(f->err));
		else
			snprintf(rp->outcome, sizeof(rp->outcome), "%s",
				 f->fix.kind == FIX_NONE ? "can't be repaired"
				 : rp->opts->safe_only && fix_loses(f->fix.kind)
					 ? "left: something would be lost" : "not repaired");
		tell(rp, f, false, rp->outcome);
	}
}

/* 1: another round, 0: done, -errno. */
static int repair_round(struct repair *rp)
{
	enum fix_stage stage = first_stage(rp);
	u64 fixed = 0;
	int r;

	if (rp->c->res->replayed && stage > STAGE_LOG && !rp->c->res->by_code[CHECK_JOURNAL_LOST]) {
		r = replay(rp, NULL);
		return r ? r : rp->c->res->problems != 0;
	}
	if (!rp->c->res->problems)
		return 0;
	if (stage == STAGE_SUPER)
		r = do_stage(rp, stage, &fixed);
	else if (stage == STAGE_LOG)
		r = log_stage(rp, &fixed);
	else
		r = stage < STAGE_NR ? journaled_stage(rp, stage, &fixed) : 0;
	if (r)
		return r;
	if (fixed)
		return 1;
	leave(rp);
	return 0;
}

static int one_round(struct repair *rp, struct check_result *res)
{
	struct findings found = { 0 };
	struct check c = { .dev = rp->dev, .opts = rp->opts, .res = res, .findings = &found,
			   .repair = rp };
	int r;

	*res = (struct check_result){ 0 };
	rp->c = &c;
	r = check_begin(&c);
	/* With a copy alone nothing is opened: the superblock comes first. */
	if (!r && !res->stopped && first_stage(rp) != STAGE_SUPER)
		r = check_passes(&c);
	reader_fini(&c.rd);
	if (!r)
		r = repair_round(rp);
	check_end(&c);
	findings_free(&found);
	rp->c = NULL;
	return r;
}

int check_repair(struct blk_dev *dev, const struct check_opts *opts, struct check_result *out,
		 struct check_repaired *rep)
{
	struct cache_config cfg = { .bytes = CACHE_BYTES, .max_order = 0xff };
	static const struct check_opts none;
	struct repair *rp = calloc(1, sizeof(*rp));
	bool own = mem_total_bytes() == 0;
	int r;

	if (!rp)
		return -ENOMEM;
	*rep = (struct check_repaired){ 0 };
	*rp = (struct repair){ .dev = dev, .opts = opts ? opts : &none, .rep = rep };
	r = own ? cache_init(&cfg) : 0;
	own = own && !r;
	if (!r)
		r = 1;
	while (r == 1 && rep->rounds < ROUNDS_MAX) {
		rep->rounds++;
		r = one_round(rp, out);
	}
	if (own)
		cache_fini();
	free(rp->salvaged);
	free(rp);
	return MIN(r, 0);
}
