/*
 * See sample.h. Building uses src/fs alone; damaging uses the structures of src/format alone, so
 * that neither relies on what is tested.
 */
#include "sample.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "cache/cache.h"
#include "fs/fs.h"

#define OK(expr) ck_assert_int_eq((expr), 0)

static const struct fs_cred cred = { 0, 0 };

/* ---- building ---- */

struct build {
	struct fs *fs;
	struct inode *root;
	bool tiny;
};

static void build_open(struct build *b, struct blk_dev *dev)
{
	struct fs_opts o = { .threads = false };

	OK(fs_mount(dev, &o, &b->fs));
	OK(fs_iget(b->fs, FMT_ROOT_INO, &b->root));
}

static struct inode *make(struct inode *dir, const char *name, u32 mode)
{
	struct inode *ip;

	OK(fs_mknod(dir, name, strlen(name), mode, 0, cred, &ip));
	return ip;
}

static void fill(u8 *buf, u64 len, u64 seed)
{
	for (u64 i = 0; i < len; i++)
		buf[i] = (u8)(hash64_seed(&i, sizeof(i), seed) | 1);
}

static void write_at(struct inode *ip, u64 pos, u64 len, u64 seed)
{
	u8 *buf = malloc(len);

	fill(buf, len, seed);
	ck_assert_int_eq(fs_write(ip, pos, buf, len, 0), (ssize_t)len);
	free(buf);
}

static u64 make_file(struct inode *dir, const char *name, u64 len, u64 seed)
{
	struct inode *ip = make(dir, name, S_IFREG | 0644);
	u64 ino = fs_ino(ip);

	if (len)
		write_at(ip, 0, len, seed);
	fs_iput(ip);
	return ino;
}

/* Names long enough for two leaves of entries, inodes for as many and more. */
static void make_files(struct build *b, struct sample *s, struct inode *dir, u32 d)
{
	static const char pad[] = "with a name that is rather long, to fill a leaf of entries "
				  "soon, and which is made longer still by these words, and these";

	for (u32 f = 0; f < (b->tiny ? 50 : 90); f++) {
		u64 len = f % 3 == 0 ? f * 7 : f % 3 == 1 ? 0 : 3000 + f * 90, ino;
		bool longer = b->tiny || f % 5 == 0;
		char name[256];

		if (b->tiny && f % 3 == 2 && f > 20)
			len = 0;
		snprintf(name, sizeof(name), "f%u%s%s", f, longer ? " " : "", longer ? pad : "");
		ino = make_file(dir, name, len, d * 1000 + f);
		if (d == 1 && f == 3)
			s->file = ino;
	}
}

static void make_dirs(struct build *b, struct sample *s)
{
	for (u32 d = 0; d < (b->tiny ? 2 : 5); d++) {
		char name[16];
		struct inode *dir;

		snprintf(name, sizeof(name), "d%u", d);
		dir = make(b->root, name, S_IFDIR | 0755);
		if (d == 1)
			s->dir = fs_ino(dir);
		make_files(b, s, dir, d);
		fs_iput(dir);
	}
}

static void make_deep(struct build *b)
{
	struct inode *at = fs_ihold(b->root);
	static const char *const names[] = { "a", "b", "c", "d" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct inode *next = make(at, names[i], S_IFDIR | 0700);

		fs_iput(at);
		at = next;
	}
	make_file(at, "at the bottom", 5000, 77);
	fs_iput(at);
}

/* Every other sector: an extent each, two leaves of them. */
static u64 make_sparse(struct build *b)
{
	struct inode *ip = make(b->root, "big", S_IFREG | 0644);
	u64 ino = fs_ino(ip);

	for (u64 i = 0; i < 460; i++) {
		if (b->tiny && i % 20)
			OK(fs_fallocate(ip, 0, i * 2 * SECTOR_SIZE, SECTOR_SIZE));
		else
			write_at(ip, i * 2 * SECTOR_SIZE, SECTOR_SIZE, 5000 + i);
	}
	fs_iput(ip);
	return ino;
}

static void make_special(struct build *b)
{
	struct inode *ip;
	u8 val[9000];

	OK(fs_symlink(b->root, "sym", 3, "a/b/c", 5, cred, &ip));
	fs_iput(ip);
	fs_iput(make(b->root, "fifo", S_IFIFO | 0600));
	fs_iput(make(b->root, "empty", S_IFDIR | 0755));
	ip = make(b->root, "hard", S_IFREG | 0600);
	write_at(ip, 0, 20000, 88);
	OK(fs_link(ip, b->root, "link", 4));
	fs_iput(ip);
	ip = make(b->root, "pre", S_IFREG | 0600);
	write_at(ip, 0, 5000, 89);
	OK(fs_fallocate(ip, 1 /* keep size */, 0, 65536));
	fs_iput(ip);
	for (u32 i = 0; i < 8; i++) {
		char name[16];

		snprintf(name, sizeof(name), "x%u", i);
		ip = make(b->root, name, S_IFREG | 0600);
		fill(val, sizeof(val), 300 + i);
		OK(fs_setxattr(ip, "user.small", val, 10, 0));
		OK(fs_setxattr(ip, "user.large", val, sizeof(val), 0));
		fs_iput(ip);
	}
}

/* An orphan on the disk: recovered by who does not finish what was unfinished. */
static void end_with_orphan(struct build *b, struct sample *s)
{
	struct inode *ip = make(b->root, "gone", S_IFREG | 0600);
	struct fs *fs;

	write_at(ip, 0, 3 * SECTOR_SIZE, 99);
	s->orphan = fs_ino(ip);
	OK(fs_fsync(ip, false));
	OK(fs_unlink(b->root, "gone", 4));
	OK(fs_sync(b->fs));
	fs_iput(b->root);
	ip = NULL;
	fs_unmount(b->fs, true);
	OK(fs_repair_begin(s->dev, &fs));
	OK(fs_unmount(fs, false));
}

/* Entries without a checksum get one, so that damage of the data can be seen. */
static void sum_data(struct sample *s, u64 addr, u64 first)
{
	struct fmt_map *m = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	u8 *data = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	sample_get(s, addr, 1, m);
	if (!fmt_buf_check(m, FMT_KIND_MAP, addr, &s->geo)) {
		for (u32 i = 0; i < FMT_MAP_PER_SECTOR; i++) {
			if (get32(m->entry[i]) != FMT_MAP_NOCSUM)
				continue;
			sample_get(s, first + i, 1, data);
			m->entry[i] = put32(fmt_map_csum(data));
		}
		fmt_hdr_seal(m, sizeof(*m), get64(m->hdr.gen));
		sample_put(s, addr, 1, m);
	}
	free(data);
	free(m);
}

static void sum_all_data(struct sample *s)
{
	for (u32 g = 0; g < s->geo.nr_groups; g++)
		for (u32 i = 0; i < s->geo.map_nr; i++)
			sum_data(s, fmt_map_sector(&s->geo, g) + i,
				 fmt_group_start(&s->geo, g) + (u64)i * FMT_MAP_PER_SECTOR);
}

void sample_init(struct sample *s, enum sample_size size)
{
	static const char *const devices[] = { "ram:12M", "ram:5M", "ram:1100M" };
	struct fs_format_opts o = { .label = "sample" };
	struct cache_config cfg = { .bytes = 32ull << 20, .max_order = 0xff };
	struct build b;

	memset(s, 0, sizeof(*s));
	OK(blk_open(devices[size], BLK_RDWR, NULL, &s->dev));
	OK(fs_format(s->dev, &o, &s->geo));
	OK(cache_init(&cfg));
	build_open(&b, s->dev);
	b.tiny = size == SAMPLE_TINY;
	make_dirs(&b, s);
	make_deep(&b);
	s->big = make_sparse(&b);
	make_special(&b);
	OK(fs_sync(b.fs));
	end_with_orphan(&b, s);
	cache_fini();
	sum_all_data(s);
	seen_read(s->dev, &s->seen);
	if (size != SAMPLE_SMALL)
		return;
	s->bytes = aligned_alloc(SECTOR_SIZE, (size_t)SAMPLE_SECTORS * SECTOR_SIZE);
	sample_get(s, 0, SAMPLE_SECTORS, s->bytes);
}

void sample_make_dirty(struct sample *s)
{
	struct cache_config cfg = { .bytes = 32ull << 20, .max_order = 0xff };
	struct build b;

	OK(cache_init(&cfg));
	build_open(&b, s->dev);
	for (u32 i = 0; i < 6; i++) {
		char name[16];

		snprintf(name, sizeof(name), "new%u", i);
		make_file(b.root, name, 2000 * i, 700 + i);
		OK(fs_sync(b.fs));
	}
	fs_iput(b.root);
	fs_unmount(b.fs, true);
	cache_fini();
	seen_free(&s->seen);
	seen_read(s->dev, &s->seen);
}

void sample_restore(struct sample *s)
{
	sample_put(s, 0, SAMPLE_SECTORS, s->bytes);
}

void sample_fini(struct sample *s)
{
	seen_free(&s->seen);
	free(s->bytes);
	blk_close(s->dev);
}

/* ---- the disk ---- */

void sample_get(struct sample *s, u64 sector, u32 nr, void *buf)
{
	OK(blk_read(s->dev, sector, buf, nr, BLK_META));
}

void sample_put(struct sample *s, u64 sector, u32 nr, const void *buf)
{
	OK(blk_write(s->dev, sector, buf, nr, BLK_META));
}

void sample_edit(struct sample *s, enum fmt_kind k, u64 addr, void (*fn)(void *buf, void *arg),
		 void *arg)
{
	u32 nr = fmt_kind_sectors(k);
	struct fmt_hdr *h = aligned_alloc(SECTOR_SIZE, NODE_SIZE);

	sample_get(s, addr, nr, h);
	fn(h, arg);
	fmt_hdr_seal(h, nr * SECTOR_SIZE, get64(h->gen));
	sample_put(s, addr, nr, h);
	free(h);
}

void sample_smash(struct sample *s, u64 sector, u32 nr)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, (size_t)nr * SECTOR_SIZE);

	fill(buf, (u64)nr * SECTOR_SIZE, sector);
	sample_put(s, sector, nr, buf);
	free(buf);
}

void sample_flip(struct sample *s, u64 sector, u32 bit)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	sample_get(s, sector, 1, buf);
	buf[bit / 8] ^= (u8)(1u << (bit % 8));
	sample_put(s, sector, 1, buf);
	free(buf);
}

static u64 node_below(struct sample *s, u64 addr, u32 at, u32 level, u32 *nr)
{
	struct fmt_node *n;
	u64 found = 0;

	if (at == level)
		return (*nr)-- == 0 ? addr : 0;
	n = aligned_alloc(SECTOR_SIZE, NODE_SIZE);
	sample_get(s, addr, NODE_SECTORS, n);
	for (u32 i = 0; i < get16(n->nr) && !found; i++)
		found = node_below(s, get64(n->child[i].child), at - 1, level, nr);
	free(n);
	return found;
}

static u32 tree_of(struct sample *s, enum fmt_tree t, u64 *root)
{
	struct fmt_root *r = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	u32 height;

	sample_get(s, s->geo.root_sector, 1, r);
	*root = get64(r->tree[t].root);
	height = get32(r->tree[t].height);
	free(r);
	return height;
}

u64 sample_node(struct sample *s, enum fmt_tree t, u32 level, u32 nr)
{
	u64 root;
	u32 height = tree_of(s, t, &root);

	return level < height ? node_below(s, root, height - 1, level, &nr) : 0;
}

static int key_cmp(struct fmt_key x, struct fmt_key y)
{
	if (x.a != y.a)
		return x.a < y.a ? -1 : 1;
	return x.b < y.b ? -1 : x.b > y.b;
}

static struct fmt_key slot_key(const struct fmt_node *n, u32 i)
{
	return (struct fmt_key){ get64(n->slot[i].a), get64(n->slot[i].b) };
}

u64 sample_leaf(struct sample *s, enum fmt_tree t, struct fmt_key k, u32 *slot)
{
	struct fmt_node *n = aligned_alloc(SECTOR_SIZE, NODE_SIZE);
	u64 addr, found = 0;

	for (u32 i = 0; !found && (addr = sample_node(s, t, 0, i)); i++) {
		sample_get(s, addr, NODE_SECTORS, n);
		for (u32 j = 0; j < get16(n->nr) && !found; j++) {
			if (key_cmp(slot_key(n, j), k) < 0)
				continue;
			*slot = j;
			found = addr;
		}
	}
	free(n);
	ck_assert_msg(found, "no such item");
	return found;
}

u32 sample_item(struct sample *s, enum fmt_tree t, struct fmt_key *k, void *val)
{
	struct fmt_node *n = aligned_alloc(SECTOR_SIZE, NODE_SIZE);
	u32 slot, len;
	u64 addr = sample_leaf(s, t, *k, &slot);

	sample_get(s, addr, NODE_SECTORS, n);
	*k = slot_key(n, slot);
	len = get16(n->slot[slot].len);
	memcpy(val, (u8 *)n + get16(n->slot[slot].off), len);
	free(n);
	return len;
}

struct edit {
	u32 slot, off, len;
	const void *val;
	struct fmt_key key;
};

static void patch_fn(void *buf, void *arg)
{
	const struct edit *e = arg;
	struct fmt_node *n = buf;

	memcpy((u8 *)n + get16(n->slot[e->slot].off) + e->off, e->val, e->len);
}

void sample_patch(struct sample *s, enum fmt_tree t, struct fmt_key k, u32 off, const void *val,
		  u32 len)
{
	struct edit e = { .off = off, .val = val, .len = len };
	u64 addr = sample_leaf(s, t, k, &e.slot);

	sample_edit(s, FMT_KIND_NODE, addr, patch_fn, &e);
}

static void remove_fn(void *buf, void *arg)
{
	const struct edit *e = arg;
	struct fmt_node *n = buf;
	u32 nr = get16(n->nr);

	n->dead = put32(get32(n->dead) + get16(n->slot[e->slot].len));
	memmove(&n->slot[e->slot], &n->slot[e->slot + 1],
		(nr - e->slot - 1) * sizeof(n->slot[0]));
	n->nr = put16((u16)(nr - 1));
}

void sample_remove(struct sample *s, enum fmt_tree t, struct fmt_key k)
{
	struct edit e = { 0 };
	u64 addr = sample_leaf(s, t, k, &e.slot);

	sample_edit(s, FMT_KIND_NODE, addr, remove_fn, &e);
}

static int by_key(const void *a, const void *b)
{
	const struct fmt_slot *x = a, *y = b;

	return key_cmp((struct fmt_key){ get64(x->a), get64(x->b) },
		       (struct fmt_key){ get64(y->a), get64(y->b) });
}

static void rekey_fn(void *buf, void *arg)
{
	const struct edit *e = arg;
	struct fmt_node *n = buf;

	n->slot[e->slot].a = put64(e->key.a);
	n->slot[e->slot].b = put64(e->key.b);
	qsort(n->slot, get16(n->nr), sizeof(n->slot[0]), by_key);
}

void sample_rekey(struct sample *s, enum fmt_tree t, struct fmt_key from, struct fmt_key to)
{
	struct edit e = { .key = to };
	u64 addr = sample_leaf(s, t, from, &e.slot);

	sample_edit(s, FMT_KIND_NODE, addr, rekey_fn, &e);
}

struct fmt_key sample_name_of(struct sample *s, u64 ino)
{
	struct fmt_node *n = aligned_alloc(SECTOR_SIZE, NODE_SIZE);
	struct fmt_key found = { 0 };
	u64 addr;

	for (u32 i = 0; (addr = sample_node(s, FMT_TREE_DIRENT, 0, i)); i++) {
		sample_get(s, addr, NODE_SECTORS, n);
		for (u32 j = 0; j < get16(n->nr); j++) {
			const struct fmt_dirent *d = (const void *)((u8 *)n +
								    get16(n->slot[j].off));

			if (get64(d->ino) == ino)
				found = slot_key(n, j);
		}
	}
	free(n);
	ck_assert_uint_ne(found.a, 0);
	return found;
}
