/* Inside check: what the files of repair share. Not for other layers. */
#ifndef FOLIOFS_CHECK_REPAIR_H
#define FOLIOFS_CHECK_REPAIR_H

#include "check/check_priv.h"
#include "fs/fs.h"

#define CUTS_MAX 1024u

/* Keys of a tree that went with a damaged node above the leaves. */
struct cut {
	enum fmt_tree tree;
	struct walk_range range;
};

struct repair {
	struct blk_dev *dev;
	const struct check_opts *opts;
	struct check_repaired *rep;
	struct cut cut[CUTS_MAX];
	u32 nr_cut;
	u64 *salvaged;          /* leaves whose items were put in again, in this repair */
	u32 nr_salvaged;
	u32 guesses;            /* buffers that were searched for a flipped bit */
	/* While the fixes of a round are made: */
	struct check *c;
	struct jnl *jnl;
	struct fs *fs;          /* stages that allocate; else NULL */
	char outcome[160];
};

/* 0: done; -ENOENT, -EEXIST: no longer needed; -EPERM: only with a loss; else why it failed. Each
 * may set rp->outcome. */
typedef int (*fix_fn)(struct repair *rp, const struct fix *f);

void repair_cut_note(struct repair *rp, enum fmt_tree t, const struct walk_range *range);
bool repair_was_cut(const struct repair *rp, const struct lost_node *n);
bool repair_was_salvaged(const struct repair *rp, u64 addr);
/*
 * If one flipped bit is all that is wrong with the buffer, it is written again as it was (*found).
 * The 64-bit checksum decides: no other content is taken for the right one.
 */
int repair_flipped_bit(struct repair *rp, u64 addr, enum fmt_kind k, bool *found);
/* The buffer gets this content (but for its header, which it has from kind, addr and owner). */
int repair_put(struct repair *rp, u64 addr, enum fmt_kind k, u64 owner, const void *content);

/* lost.c */
struct lost_node *lost_find(struct lost *l, u64 addr);

/* repair_buffers.c */
int fix_super(struct repair *rp, const struct fix *f);
int fix_root_super(struct repair *rp, const struct fix *f);
int fix_root(struct repair *rp, const struct fix *f);
int fix_root_field(struct repair *rp, const struct fix *f);
int fix_gtable(struct repair *rp, const struct fix *f);
int fix_group(struct repair *rp, const struct fix *f);
int fix_map_rebuild(struct repair *rp, const struct fix *f);
int fix_map_set(struct repair *rp, const struct fix *f);

/* repair_nodes.c */
int fix_node(struct repair *rp, const struct fix *f);
int fix_node_cut(struct repair *rp, const struct fix *f);
int fix_salvage(struct repair *rp, const struct fix *f);

/* repair_items.c */
int fix_remove(struct repair *rp, const struct fix *f);
int fix_remove_xattr(struct repair *rp, const struct fix *f);
int fix_rehash(struct repair *rp, const struct fix *f);
int fix_patch(struct repair *rp, const struct fix *f);
int fix_orphan(struct repair *rp, const struct fix *f);
int fix_unorphan(struct repair *rp, const struct fix *f);
int fix_make(struct repair *rp, const struct fix *f);
int fix_lost_found(struct repair *rp, const struct fix *f);

/* repair_clone.c */
int fix_clone(struct repair *rp, const struct fix *f);

#endif
