/* See fs_test.h. assert_consistent() reads the published trees in one body and compares what they
 * say of each inode. */
#include "fs_test.h"

#include <dirent.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "fs/btree.h"

const struct fs_cred somebody = { 1000, 100 };

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	if (level <= LOG_LEVEL_WARN)
		fprintf(stderr, "%s\n", line);
}

static void box_mount(struct box *b)
{
	OK(fs_mount(b->dev, &b->opts, &b->fs));
	OK(fs_iget(b->fs, FMT_ROOT_INO, &b->root));
}

static void open_with(struct box *b, const char *path, u32 block_bytes, const struct blk_opts *bo)
{
	struct cache_config cc = { .bytes = 16u << 20, .max_order = 0xff };
	struct fs_format_opts fo = { .block_bytes = block_bytes, .time = 1000000000 };

	*b = (struct box){ 0 };
	log_set_sink(quiet, NULL);
	OK(cache_init(&cc));
	OK(blk_open(path, BLK_RDWR, bo, &b->dev));
	OK(fs_format(b->dev, &fo, NULL));
	box_mount(b);
}

void box_open(struct box *b, const char *path, u32 block_bytes)
{
	open_with(b, path, block_bytes, NULL);
}

void box_open_fua(struct box *b, const char *path, u32 block_bytes)
{
	open_with(b, path, block_bytes, &(struct blk_opts){ .fua = BLK_FUA_ON });
}

void box_remount(struct box *b, bool crash)
{
	fs_iput(b->root);
	OK(fs_unmount(b->fs, crash));
	box_mount(b);
}

void box_close(struct box *b)
{
	assert_consistent(b->fs);
	box_remount(b, false);
	assert_consistent(b->fs);
	fs_iput(b->root);
	OK(fs_unmount(b->fs, false));
	blk_close(b->dev);
	cache_fini();
}

/* ---- short forms ---- */

struct inode *make(struct inode *dir, const char *name, u32 mode)
{
	struct inode *ip = NULL;

	OK(fs_mknod(dir, name, strlen(name), mode, 0, somebody, &ip));
	return ip;
}

void make_file(struct inode *dir, const char *name)
{
	fs_iput(make(dir, name, S_IFREG | 0644));
}

void make_dir(struct inode *dir, const char *name)
{
	fs_iput(make(dir, name, S_IFDIR | 0755));
}

struct inode *get(struct inode *dir, const char *name)
{
	struct inode *ip = NULL;

	OK(fs_lookup(dir, name, strlen(name), &ip));
	return ip;
}

bool there(struct inode *dir, const char *name)
{
	struct inode *ip = NULL;
	int r = fs_lookup(dir, name, strlen(name), &ip);

	ck_assert(r == 0 || r == -ENOENT);
	fs_iput(ip);
	return r == 0;
}

u64 ino_of(struct inode *dir, const char *name)
{
	struct inode *ip = get(dir, name);
	u64 ino = fs_ino(ip);

	fs_iput(ip);
	return ino;
}

struct stat stat_of(struct inode *dir, const char *name)
{
	struct inode *ip = get(dir, name);
	struct stat st;

	fs_getattr(ip, &st);
	fs_iput(ip);
	return st;
}

int unlink_name(struct inode *dir, const char *name)
{
	return fs_unlink(dir, name, strlen(name));
}

int rmdir_name(struct inode *dir, const char *name)
{
	return fs_rmdir(dir, name, strlen(name));
}

int rename_name(struct inode *sdir, const char *from, struct inode *ddir, const char *to,
		unsigned flags)
{
	return fs_rename(sdir, from, strlen(from), ddir, to, strlen(to), flags, somebody);
}

/* ---- the trees ---- */

static int count_body(struct view *v, void *arg)
{
	struct census *c = arg;
	u64 *const nr[FMT_NR_TREES] = {
		[FMT_TREE_INODE] = &c->inodes, [FMT_TREE_DIRENT] = &c->dirents,
		[FMT_TREE_EXTENT] = &c->extents, [FMT_TREE_XATTR] = &c->xattrs,
		[FMT_TREE_ORPHAN] = &c->orphans,
	};
	const void *val;
	u32 len;
	int r;

	*c = (struct census){ 0 };
	for (unsigned t = 0; t < FMT_NR_TREES; t++) {
		struct fmt_key k = { 0, 0 };

		while (!(r = btree_next(v, (enum fmt_tree)t, &k, &val, &len))) {
			r = fmt_value_check((enum fmt_tree)t, k, val, len, view_geo(v));
			ck_assert_int_eq(r, 0);
			++*nr[t];
			k.b++;
		}
		if (r != -ENOENT)
			return r;
	}
	return 0;
}

void census_take(struct fs *fs, struct census *out)
{
	OK(jnl_read(fs_jnl(fs), count_body, out));
}

struct seen {
	u64 ino, mode, nlink, entries, parent;     /* what the item says */
	u64 refs, subdirs, found_entries, found_parent, xattrs, found_xattrs;
	bool orphan;
};

struct survey {
	struct seen *all;
	u64 nr, max, nr_inodes;
};

static struct seen *seen_find(struct survey *s, u64 ino)
{
	u64 lo = 0, hi = s->nr;

	while (lo < hi) {
		u64 mid = (lo + hi) / 2;

		if (s->all[mid].ino < ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	ck_assert_msg(lo < s->nr && s->all[lo].ino == ino, "inode %llu is missing",
		      (unsigned long long)ino);
	return &s->all[lo];
}

static int survey_inodes(struct view *v, struct survey *s)
{
	struct fmt_key k = { 0, 0 };
	const void *val;
	u32 len;
	int r;

	s->nr = 0;
	while (!(r = btree_next(v, FMT_TREE_INODE, &k, &val, &len))) {
		const struct fmt_inode *i = val;

		ck_assert(s->nr < s->max);
		s->all[s->nr++] = (struct seen){
			.ino = k.a, .mode = get32(i->mode), .nlink = get32(i->nlink),
			.entries = get64(i->entries), .parent = get64(i->parent),
			.xattrs = get32(i->xattrs),
		};
		k.b++;
	}
	return r == -ENOENT ? 0 : r;
}

static int survey_dirents(struct view *v, struct survey *s)
{
	struct fmt_key k = { 0, 0 };
	const void *val;
	u32 len;
	int r;

	while (!(r = btree_next(v, FMT_TREE_DIRENT, &k, &val, &len))) {
		const struct fmt_dirent *d = val;
		struct seen *child = seen_find(s, get64(d->ino)), *dir = seen_find(s, k.a);

		ck_assert_uint_eq(d->type, child->mode >> 12);
		ck_assert_uint_eq(k.b >> 8, fmt_name_hash(view_geo(v), d->name, d->namelen));
		dir->found_entries++;
		child->refs++;
		child->found_parent = k.a;
		if (d->type == DT_DIR)
			dir->subdirs++;
		k.b++;
	}
	return r == -ENOENT ? 0 : r;
}

static int survey_rest(struct view *v, struct survey *s)
{
	const struct fmt_root *root;
	struct fmt_key k = { 0, 0 };
	const void *val;
	u32 len;
	int r = view_get(v, view_geo(v)->root_sector, FMT_KIND_ROOT, (const void **)&root);

	if (r)
		return r;
	s->nr_inodes = get64(root->nr_inodes);
	for (; !(r = btree_next(v, FMT_TREE_ORPHAN, &k, &val, &len)); k.b++)
		seen_find(s, k.a)->orphan = true;
	if (r != -ENOENT)
		return r;
	k = (struct fmt_key){ 0, 0 };
	for (; !(r = btree_next(v, FMT_TREE_XATTR, &k, &val, &len)); k.b++)
		if ((k.b & 0xff) == 0)
			seen_find(s, k.a)->found_xattrs++;
	return r == -ENOENT ? 0 : r;
}

static int survey_body(struct view *v, void *arg)
{
	int r = survey_inodes(v, arg);

	if (r == 0)
		r = survey_dirents(v, arg);
	return r ? r : survey_rest(v, arg);
}

static void assert_seen(const struct seen *i)
{
	ck_assert_uint_eq(i->xattrs, i->found_xattrs);
	if (!S_ISDIR(i->mode)) {
		ck_assert_uint_eq(i->nlink, i->refs);
	} else {
		ck_assert_uint_eq(i->entries, i->found_entries);
		ck_assert_uint_eq(i->nlink, i->orphan ? 0 : 2 + i->subdirs);
		if (i->ino != FMT_ROOT_INO && !i->orphan)
			ck_assert_uint_eq(i->parent, i->found_parent);
	}
	if (i->nlink == 0)
		ck_assert(i->orphan);
}

void assert_consistent(struct fs *fs)
{
	struct survey s = { .max = 400000 };

	s.all = calloc(s.max, sizeof(*s.all));
	OK(jnl_read(fs_jnl(fs), survey_body, &s));
	ck_assert_uint_eq(s.nr, s.nr_inodes);
	for (u64 i = 0; i < s.nr; i++)
		assert_seen(&s.all[i]);
	free(s.all);
}
