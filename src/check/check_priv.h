/* Inside check: what its files share. Not for other layers. */
#ifndef FOLIOFS_CHECK_CHECK_PRIV_H
#define FOLIOFS_CHECK_CHECK_PRIV_H

#include "base/err.h"
#include "check/check.h"

#define CHECK_NO_SECTOR UINT64_MAX

/* ---- reader.c: metadata buffers, in place or as the log leaves them ---- */
#define READER_WINDOW 512u      /* sectors read ahead at once */

struct reader {
	struct blk_dev *dev;
	const struct fmt_geo *geo;
	struct jnl *jnl;        /* NULL: read in place */
	bool own_cache;
	u8 *window;             /* READER_WINDOW sectors */
	u64 window_start;
	u32 window_nr;
};

/* The newest valid of the two log headers. -EUCLEAN: none; -EBADMSG: one of them is damaged but
 * *out is good. */
int reader_jnl_head(struct blk_dev *dev, const struct fmt_geo *geo, struct fmt_jnl_head *out);
/* replay: through a read-only journal. */
int reader_init(struct reader *r, struct blk_dev *dev, const struct fmt_geo *geo, bool replay,
		struct jnl_recovery *rec);
void reader_fini(struct reader *r);
/* A checked copy of the buffer; buf is aligned to 4096 and as long as the kind. */
int reader_get(struct reader *r, u64 addr, enum fmt_kind k, void *buf);
/* The next reads will be of these sectors (at most READER_WINDOW). Only a hint. */
void reader_ahead(struct reader *r, u64 addr, u32 nr);

/* ---- super.c ---- */
int super_read(struct blk_dev *dev, u64 sector, struct fmt_geo *out, u8 *copy);
/* The geometry of the newest copy that decodes; -ENOENT. */
int super_find_copy(struct blk_dev *dev, struct fmt_geo *out, u64 *sector);

/* ---- walk.c: one tree in key order ---- */
struct walk {
	struct reader *rd;
	enum fmt_tree tree;
	/* A node is about to be read: false = do not (it is in use already). NULL: always. */
	bool (*node)(void *arg, u64 addr);
	void (*item)(void *arg, struct fmt_key k, const void *val, u32 len);
	/* A subtree was left out: err is what reading said (-EIO, -EBADMSG, -EUCLEAN), or -ERANGE
	 * for a node of another tree, level or key range. */
	void (*bad)(void *arg, u64 addr, int err);
	/* Polled between nodes; NULL: never stops. */
	bool (*stop)(void *arg);
	void *arg;
	u64 max_nodes;       /* give up after so many; 0 = no limit */
	bool one;            /* only subtrees that can hold keys (only, *) */
	u64 only;
	u64 nodes;           /* counted */
	bool complete;       /* no subtree was left out */
};
int walk_tree(struct walk *w, const struct fmt_root *root);   /* -ENOMEM */

/* ---- the check's own state ---- */
struct ino_rec {
	u64 ino, parent, size;
	u64 sectors, found_sectors;
	u64 entries, found_entries;
	u32 nlink, links;           /* links: names found */
	u32 subdirs;
	u32 xattrs, found_xattrs;
	u16 mode;
	u8 inl;                     /* FMT_IFLAG_INLINE */
	u8 orphan;                  /* FMT_ORPHAN_* bits of entries found: 1 << kind */
	u8 reached;                 /* links.c: parent chain leads to the root */
};

struct check {
	struct blk_dev *dev;
	const struct check_opts *opts;
	struct check_result *res;
	struct fmt_geo geo;
	struct reader rd;
	struct fmt_root *root;      /* a copy, one sector */
	u64 *used;                  /* a bit a sector: has a user */
	u64 *data;                  /* a bit a sector: may hold written file data */
	struct ino_rec *inos;       /* ascending ino */
	u64 nr_inos, max_inos;
	u64 cursor;                 /* ino_find() starts here */
	bool tree_complete[FMT_NR_TREES];
	int err;                    /* -ENOMEM ends the check */
};

/* report.c */
void report(struct check *c, enum check_code code, u64 ino, u64 sector, const char *fmt, ...)
	PRINTF_LIKE(5, 6);
void progress(struct check *c, unsigned pass, u64 done, u64 total);
bool check_stopped(void *check);

/* items.c: pass 2 */
int check_trees(struct check *c);
struct ino_rec *ino_find(struct check *c, u64 ino);
/* links.c: pass 3 */
void check_links(struct check *c);
/* space.c: pass 4 */
int check_space(struct check *c);
void mark_group_metadata(struct check *c);

#endif
