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
	u8 *window;             /* READER_WINDOW sectors, made at the first use */
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

/* ---- maplook.c: the sector map, sector by sector, for ascending looks ---- */

struct map_look {
	struct reader *rd;
	struct fmt_map *map;        /* the map sector read last */
	u64 map_addr;               /* 0 = none */
	bool map_init;              /* false: its entries are all 0 */
	struct fmt_gtable *gtable;
	u32 gtable_at;              /* UINT32_MAX = none */
};

int map_look_init(struct map_look *m, struct reader *rd);   /* -ENOMEM */
void map_look_fini(struct map_look *m);
/* The entry of a sector; 0 also where the map can't be read, which pass 4 reports. */
u32 map_look(struct map_look *m, u64 sector);

/* ---- super.c ---- */
int super_read(struct blk_dev *dev, u64 sector, struct fmt_geo *out, u8 *copy);
/* The geometry of the newest copy that decodes; -ENOENT. used: not that of a root sector which mkfs
 * alone has written, because it may have broken off. */
int super_find_copy(struct blk_dev *dev, bool used, struct fmt_geo *out, u64 *sector);

/* ---- walk.c: one tree in key order ---- */
struct walk_range {
	struct fmt_key lo, hi;  /* [lo, hi) */
	bool bounded;           /* hi counts */
};

struct walk_place {
	u64 addr, parent;       /* parent 0: the root sector */
	u32 level;
	struct walk_range range;
};

struct walk {
	struct reader *rd;
	enum fmt_tree tree;
	/* A node is about to be read: false = do not (it is in use already). NULL: always. */
	bool (*node)(void *arg, u64 addr);
	void (*item)(void *arg, struct fmt_key k, const void *val, u32 len);
	/* A subtree was left out: err is what reading said (-EIO, -EBADMSG, -EUCLEAN), or -ERANGE
	 * for a node of another tree, level or key range, or -EEXIST when node() refused it. May be
	 * NULL. */
	void (*bad)(void *arg, const struct walk_place *at, int err);
	/* Polled between nodes; NULL: never stops. */
	bool (*stop)(void *arg);
	void *arg;
	u64 max_nodes;       /* give up after so many; 0 = no limit */
	bool shallow;        /* leaves are not read: node() is all that happens to them */
	bool one;            /* only subtrees that can hold keys (only, *) */
	u64 only;
	u64 nodes;           /* counted */
	bool complete;       /* no subtree was left out */
};
int walk_tree(struct walk *w, const struct fmt_root *root);   /* -ENOMEM */

int walk_key_cmp(struct fmt_key x, struct fmt_key y);
bool walk_in_range(const struct walk_range *in, struct fmt_key k);
struct fmt_key walk_node_key(const struct fmt_node *n, u32 i);

/* ---- findings and what is to be done about them (fix.c) ---- */

/* In this order; a round of repair does the first stage that has something to do, and then
 * everything is checked again. */
enum fix_stage {
	STAGE_SUPER,            /* written in place: the journal is not known without it */
	STAGE_LOG,
	STAGE_BUFFERS,          /* damaged buffers; space in use is marked used */
	STAGE_MAKE,             /* what was lost with damaged nodes is made again */
	STAGE_ITEMS,            /* single items of trees */
	STAGE_NAMES,            /* lost+found */
	STAGE_COUNTS,
	STAGE_SPACE,            /* bitmaps and map exactly */
	STAGE_NR,
};

/* X(kind, stage, loses): loses = something may be gone afterwards that was there before. */
#define FIX_KINDS(X)                                                                               \
	X(NONE, STAGE_NR, false)                                                                   \
	X(SUPER, STAGE_SUPER, false)         /* sector, a = number of the copy */                  \
	X(SUPER_FOUND, STAGE_SUPER, true)    /* the same, where nothing was that looked like one */\
	X(LOG_HEAD, STAGE_LOG, false)        /* opening and closing the journal writes both */     \
	X(LOG_REPLAY, STAGE_LOG, true)       /* as far as the log is whole */                      \
	X(LOG_RESET, STAGE_LOG, true)        /* an empty log */                                    \
	X(ROOT_SUPER, STAGE_BUFFERS, false)  /* the copy in the root sector */                     \
	X(ROOT, STAGE_BUFFERS, true)                                                               \
	X(GTABLE, STAGE_BUFFERS, true)       /* sector */                                          \
	X(ROOT_SPACE, STAGE_BUFFERS, false)  /* off, a = value: what allocating counts with */     \
	X(GROUP_MARK, STAGE_BUFFERS, false)  /* a = group: what is in use is marked used */        \
	X(MAP_REBUILD, STAGE_BUFFERS, true)  /* sector, a = group, b = index */                    \
	X(NODE, STAGE_BUFFERS, true)         /* tree, place */                                     \
	X(NODE_CUT, STAGE_BUFFERS, true)     /* the same; the node is somebody else's */           \
	X(SALVAGE, STAGE_MAKE, false)        /* sector: items of a leaf that nothing leads to */   \
	X(MAKE_DIR, STAGE_MAKE, false)       /* ino */                                             \
	X(MAKE_FILE, STAGE_MAKE, false)      /* ino, a = size */                                   \
	X(MAKE_ROOT, STAGE_MAKE, false)                                                            \
	X(REMOVE, STAGE_ITEMS, true)         /* tree, key */                                       \
	X(REMOVE_XATTR, STAGE_ITEMS, true)   /* key: all its pieces */                             \
	X(REHASH, STAGE_ITEMS, false)        /* key of a directory entry */                        \
	X(CLONE, STAGE_ITEMS, false)         /* key of an extent, a = disk, b = sectors */         \
	X(PATCH, STAGE_COUNTS, false)        /* tree, key, off, len, a = value */                  \
	X(ORPHAN, STAGE_COUNTS, false)       /* ino: entry to delete it */                         \
	X(UNORPHAN, STAGE_COUNTS, false)     /* ino: no entry */                                   \
	X(LOST_FOUND, STAGE_NAMES, false)    /* ino, a = mode */                                   \
	X(ROOT_FIELD, STAGE_COUNTS, false)   /* off, a = value */                                  \
	X(GROUP_EXACT, STAGE_SPACE, false)   /* a = group */                                       \
	X(MAP_SET, STAGE_SPACE, false)       /* sector, b = sectors, a = value */                  \
	X(MAP_BAD, STAGE_SPACE, true)        /* the same */
#define FIX_ENUM_(kind, stage, loses) FIX_##kind,
enum fix_kind { FIX_KINDS(FIX_ENUM_) FIX_NR };

struct fix {
	enum fix_kind kind;
	enum fmt_tree tree;
	struct fmt_key key;
	u64 ino, sector, a, b;
	u32 off, len;
	struct walk_place place;
};

struct finding {
	enum check_code code;
	u64 ino, sector;
	char *text;
	struct fix fix;
	int err;                /* why it could not be repaired */
};

#define FINDINGS_MAX 65536u

struct findings {
	struct finding *f;
	u32 nr, max;
	bool more;              /* there were others */
};

void findings_free(struct findings *fs);
bool fix_loses(enum fix_kind k);
enum fix_stage fix_stage(enum fix_kind k);

/* ---- lost.c: nodes that nothing leads to ---- */

struct lost_node {
	u64 addr, gen;
	struct fmt_key lo, hi;  /* of its items, as far as they are known */
	u16 level, nr;
	u8 tree;
	bool child;             /* another lost node leads to it */
};

struct lost {
	struct lost_node *n;    /* ascending addr */
	u64 nr, max;
};

/* ---- the check's own state ---- */

struct ino_rec {
	u64 ino, parent, size;
	union {
		struct { u64 sectors, found_sectors; };
		/* directories have no extents: the entry that names them */
		struct { u64 name_dir, name_b; };
	};
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
	bool root_known;
	u64 *used;                  /* a bit a sector: has a user */
	u64 *data;                  /* a bit a sector: may hold written file data */
	u64 *past_end;              /* a bit a sector: of an extent, beyond the end of its file */
	u64 *mine;                  /* a bit a node: of the extent tree, see items.c */
	struct ino_rec *inos;       /* ascending ino */
	u64 nr_inos, max_inos;
	u64 cursor;                 /* ino_find() starts here */
	u64 max_ino;
	bool tree_complete[FMT_NR_TREES];
	int err;                    /* -ENOMEM ends the check */
	struct findings *findings;  /* repair collects; NULL: told at once */
	struct repair *repair;      /* what earlier rounds did */
	struct lost lost;
};

/* check.c */
int check_begin(struct check *c);   /* superblock; an error that ends it all */
int check_passes(struct check *c);
void check_end(struct check *c);

/* report.c */
void report(struct check *c, enum check_code code, u64 ino, u64 sector, const char *fmt, ...)
	PRINTF_LIKE(5, 6);
/* The same, and what repairs it. */
void report_fix(struct check *c, enum check_code code, struct fix fix, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* Space that stays the caller's: a name as a terminal may see it. */
#define NAME_TEXT_MAX (4 * UINT8_MAX + 1)
const char *name_text(char *buf, const char *name, u32 len);
const char *damage_text(int err);
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

/* data.c: pass 5 */
int check_data(struct check *c);

/* lost.c. all: also where the trees were not walked (no root sector). */
int lost_scan(struct check *c);
void lost_free(struct lost *l);

#endif
