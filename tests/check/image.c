/*
 * See image.h. Items are kept sorted by key; image_write() recomputes everything that follows from
 * them, so a test that changes an item gets an image with just that mistake.
 */
#include "image.h"

#include <check.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bitmap.h"
#include "fs/fs.h"

static int key_cmp(struct fmt_key x, struct fmt_key y)
{
	if (x.a != y.a)
		return x.a < y.a ? -1 : 1;
	return x.b < y.b ? -1 : x.b > y.b;
}

void *image_add(struct image *im, enum fmt_tree t, u64 a, u64 b, const void *val, u32 len)
{
	struct fmt_key k = { a, b };
	u32 at = 0;

	ck_assert_uint_lt(im->nr[t], IMAGE_ITEMS);
	while (at < im->nr[t] && key_cmp(im->items[t][at].key, k) < 0)
		at++;
	memmove(&im->items[t][at + 1], &im->items[t][at],
		(im->nr[t] - at) * sizeof(struct item));
	im->nr[t]++;
	im->items[t][at].key = k;
	im->items[t][at].len = len;
	memcpy(im->items[t][at].val, val, len);
	return im->items[t][at].val;
}

static struct item *find(struct image *im, enum fmt_tree t, u64 a, u64 b)
{
	for (u32 i = 0; i < im->nr[t]; i++) {
		struct item *it = &im->items[t][i];

		if (it->key.a == a && (b == 0 || it->key.b == b))
			return it;
	}
	ck_abort_msg("no such item");
	return NULL;
}

void *image_item(struct image *im, enum fmt_tree t, u64 a, u64 b)
{
	return find(im, t, a, b)->val;
}

void *image_dirent(struct image *im, u64 dir, const char *name)
{
	u64 hash = fmt_name_hash(&im->geo, name, (u32)strlen(name));

	return find(im, FMT_TREE_DIRENT, dir, hash << 8)->val;
}

void image_remove(struct image *im, enum fmt_tree t, u64 a, u64 b)
{
	struct item *it = find(im, t, a, b);
	size_t at = (size_t)(it - im->items[t]);

	im->nr[t]--;
	memmove(it, it + 1, (im->nr[t] - at) * sizeof(*it));
}

/* ---- the sound file system ---- */

static struct fmt_inode *add_inode(struct image *im, u64 ino, u32 mode, u32 nlink)
{
	struct fmt_inode i = { .mode = put32(mode), .nlink = put32(nlink) };

	return image_add(im, FMT_TREE_INODE, ino, 0, &i, sizeof(i));
}

static void add_dir(struct image *im, u64 ino, u64 parent, u32 nlink, u64 entries)
{
	struct fmt_inode *i = add_inode(im, ino, S_IFDIR | 0755, nlink);

	i->parent = put64(parent);
	i->entries = put64(entries);
}

static void add_inline(struct image *im, u64 ino, u32 mode, const char *data)
{
	struct fmt_inode *i = add_inode(im, ino, mode, 1);
	struct item *it = find(im, FMT_TREE_INODE, ino, 0);

	i->inline_len = put16((u16)strlen(data));
	i->size = put64(strlen(data));
	if (S_ISREG(mode))
		i->flags = put32(FMT_IFLAG_INLINE);
	memcpy(it->val + sizeof(*i), data, strlen(data));
	it->len += (u32)strlen(data);
}

void image_add_name(struct image *im, u64 dir, const char *name, u64 ino, u8 type)
{
	u8 val[sizeof(struct fmt_dirent) + UINT8_MAX];
	struct fmt_dirent *d = (void *)val;
	u32 len = (u32)strlen(name);

	d->ino = put64(ino);
	d->type = type;
	d->namelen = (u8)len;
	memcpy(d->name, name, len);
	image_add(im, FMT_TREE_DIRENT, dir, fmt_name_hash(&im->geo, name, len) << 8, val,
		  (u32)sizeof(*d) + len);
}

static void add_extent(struct image *im, u64 ino, u64 file_sector, u64 disk, u32 nr)
{
	struct fmt_extent e = { .disk = put64(disk), .nr = put32(nr) };

	image_add(im, FMT_TREE_EXTENT, ino, file_sector, &e, sizeof(e));
}

static void add_xattr(struct image *im, u64 ino)
{
	u8 val[2000] = { 0 };
	struct fmt_xattr *x = (void *)val;
	u64 b = fmt_xattr_hash(&im->geo, "user.a", 6) << 16;

	x->value_len = put32(1000 + 500);
	x->namelen = 6;
	x->chunks = 2;
	memcpy(x->name, "user.a", 6);
	image_add(im, FMT_TREE_XATTR, ino, b, val, (u32)sizeof(*x) + 6 + 1000);
	image_add(im, FMT_TREE_XATTR, ino, b + 1, val, 500);
}

static void add_files(struct image *im)
{
	struct fmt_orphan o = { .kind = FMT_ORPHAN_DELETE };
	struct fmt_inode *i;

	i = add_inode(im, 3, S_IFREG | 0644, 2);
	i->size = put64(11 * SECTOR_SIZE);
	i->sectors = put64(12);
	i->xattrs = put32(1);
	add_extent(im, 3, 0, IMAGE_DATA, 8);
	add_extent(im, 3, 8, IMAGE_DATA + 100, 4);
	add_xattr(im, 3);
	add_inline(im, 4, S_IFLNK | 0777, "file");
	add_inline(im, 5, S_IFREG | 0600, "small data");
	i = add_inode(im, 7, S_IFREG | 0600, 0);
	i->sectors = put64(2);
	add_extent(im, 7, 0, IMAGE_DATA + 200, 2);
	image_add(im, FMT_TREE_ORPHAN, 7, 0, &o, sizeof(o));
}

static void add_names(struct image *im)
{
	add_dir(im, 1, 1, 3, 5);
	add_dir(im, 2, 1, 3, 1);
	add_dir(im, 6, 2, 2, 0);
	image_add_name(im, 1, "dir", 2, 4);
	image_add_name(im, 1, "file", 3, 8);
	image_add_name(im, 1, "hard", 3, 8);
	image_add_name(im, 1, "link", 4, 10);
	image_add_name(im, 1, "small", 5, 8);
	image_add_name(im, 2, "sub", 6, 4);
}

void image_init(struct image *im)
{
	struct fs_format_opts o = { .label = "test" };

	memset(im, 0, sizeof(*im));
	ck_assert_int_eq(blk_open("ram:8M", BLK_RDWR, NULL, &im->dev), 0);
	ck_assert_int_eq(fs_format(im->dev, &o, &im->geo), 0);
	ck_assert_uint_eq(im->geo.nr_sectors, IMAGE_SECTORS);
	ck_assert_uint_lt(fmt_space_start(&im->geo, 0), IMAGE_DATA - 100);
	add_files(im);
	add_names(im);
}

void image_fini(struct image *im)
{
	blk_close(im->dev);
}

/* ---- laying it out ---- */

static void *buffer_new(struct image *im, enum fmt_kind k, u64 addr, u64 owner)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, NODE_SIZE);

	ck_assert_ptr_nonnull(buf);
	memset(buf, 0, NODE_SIZE);
	fmt_hdr_init(buf, k, addr, im->geo.fsid, owner);
	return buf;
}

/* Seals, writes and frees. */
static void buffer_put(struct image *im, enum fmt_kind k, u64 addr, void *buf)
{
	u32 nr = fmt_kind_sectors(k);

	fmt_hdr_seal(buf, nr * SECTOR_SIZE, 1);
	ck_assert_int_eq(blk_write(im->dev, addr, buf, nr, BLK_META), 0);
	free(buf);
}

static void write_leaf(struct image *im, enum fmt_tree t)
{
	struct fmt_node *n = buffer_new(im, FMT_KIND_NODE, im->node[t], t);
	u32 heap = NODE_SIZE;

	n->nr = put16((u16)im->nr[t]);
	for (u32 i = 0; i < im->nr[t]; i++) {
		const struct item *it = &im->items[t][i];

		heap -= it->len;
		memcpy((u8 *)n + heap, it->val, it->len);
		n->slot[i].a = put64(it->key.a);
		n->slot[i].b = put64(it->key.b);
		n->slot[i].off = put16((u16)heap);
		n->slot[i].len = put16((u16)it->len);
	}
	n->heap = put32(heap);
	buffer_put(im, FMT_KIND_NODE, im->node[t], n);
}

static void mark_extents(struct image *im, u64 *used)
{
	for (u32 i = 0; i < im->nr[FMT_TREE_EXTENT]; i++) {
		const struct fmt_extent *e = (const void *)im->items[FMT_TREE_EXTENT][i].val;

		bitmap_set_range(used, get64(e->disk), get32(e->nr));
	}
}

static u64 write_bitmap(struct image *im)
{
	u64 used[FMT_BITS_PER_SECTOR / 64], addr = fmt_bitmap_sector(&im->geo, 0);
	struct fmt_bitmap *b = buffer_new(im, FMT_KIND_BITMAP, addr, 0);

	bitmap_zero(used, FMT_BITS_PER_SECTOR);
	bitmap_set_range(used, 0, fmt_space_start(&im->geo, 0));
	bitmap_set_range(used, IMAGE_SECTORS, FMT_BITS_PER_SECTOR - IMAGE_SECTORS);
	for (int t = 0; t < FMT_NR_TREES; t++) {
		if (im->nr[t])
			bitmap_set_range(used, im->node[t], NODE_SECTORS);
	}
	mark_extents(im, used);
	for (size_t i = 0; i < ARRAY_LEN(used); i++)
		b->bits[i] = put64(used[i]);
	buffer_put(im, FMT_KIND_BITMAP, addr, b);
	return IMAGE_SECTORS - bitmap_weight(used, 0, IMAGE_SECTORS);
}

/* The first extent of inode 3 is written. */
static void write_map(struct image *im)
{
	u32 index = IMAGE_DATA / FMT_MAP_PER_SECTOR;
	u64 addr = fmt_map_sector(&im->geo, 0) + index;
	struct fmt_map *m = buffer_new(im, FMT_KIND_MAP, addr, 0);

	for (u32 i = 0; i < 8; i++)
		m->entry[IMAGE_DATA % FMT_MAP_PER_SECTOR + i] = put32(FMT_MAP_NOCSUM);
	buffer_put(im, FMT_KIND_MAP, addr, m);
}

static void write_gtable(struct image *im, u64 free_sectors)
{
	struct fmt_gtable *t = buffer_new(im, FMT_KIND_GTABLE, im->geo.gtable_sector, 0);

	t->g[0].free = put32((u32)free_sectors);
	t->g[0].bitmap_init = put64(1);
	t->g[0].map_init[0] = put64(1ull << (IMAGE_DATA / FMT_MAP_PER_SECTOR));
	buffer_put(im, FMT_KIND_GTABLE, im->geo.gtable_sector, t);
}

static void write_root(struct image *im, u64 free_sectors)
{
	struct fmt_root *r = buffer_new(im, FMT_KIND_ROOT, im->geo.root_sector, 0);
	u64 nodes = 0;

	for (int t = 0; t < FMT_NR_TREES; t++) {
		if (!im->nr[t])
			continue;
		r->tree[t].root = put64(im->node[t]);
		r->tree[t].height = put32(1);
		nodes++;
	}
	r->next_ino = put64(100);
	r->nr_inodes = put64(im->nr[FMT_TREE_INODE]);
	r->free_sectors = put64(free_sectors);
	r->node_sectors_used = put64(nodes * NODE_SECTORS);
	buffer_put(im, FMT_KIND_ROOT, im->geo.root_sector, r);
}

void image_write(struct image *im)
{
	u64 at = ALIGN_UP(fmt_space_start(&im->geo, 0), NODE_SECTORS), free_sectors;

	for (int t = 0; t < FMT_NR_TREES; t++) {
		im->node[t] = at;
		at += NODE_SECTORS;
		if (im->nr[t])
			write_leaf(im, (enum fmt_tree)t);
	}
	free_sectors = write_bitmap(im);
	write_map(im);
	write_gtable(im, free_sectors);
	write_root(im, free_sectors);
}

/* ---- damage and expectations ---- */

void image_edit(struct image *im, enum fmt_kind k, u64 addr, void (*fn)(void *buf))
{
	void *buf = aligned_alloc(SECTOR_SIZE, NODE_SIZE);

	ck_assert_int_eq(blk_read(im->dev, addr, buf, fmt_kind_sectors(k), BLK_META), 0);
	fn(buf);
	buffer_put(im, k, addr, buf);
}

void image_damage(struct image *im, u64 sector)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	ck_assert_int_eq(blk_read(im->dev, sector, buf, 1, BLK_META), 0);
	buf[1500] ^= 0x10;
	ck_assert_int_eq(blk_write(im->dev, sector, buf, 1, BLK_META), 0);
	free(buf);
}

static void print_problem(void *arg, const struct check_problem *p)
{
	(void)arg;
	printf("  found %s: %s\n", check_code_name(p->code), p->text);
	fflush(stdout); /* the test process may end without */
}

static void print_repair(void *arg, const struct check_problem *p)
{
	(void)arg;
	printf("    %s: %s: %s\n", check_code_name(p->code), p->text, p->outcome);
	fflush(stdout);
}

void image_repair(struct image *im)
{
	struct check_opts opts = { .problem = print_repair, .data = true };
	struct check_repaired rep;
	struct check_result res;

	ck_assert_int_eq(check_repair(im->dev, &opts, &res, &rep), 0);
	ck_assert_msg(res.problems == 0, "%llu problems are left",
		      (unsigned long long)res.problems);
	ck_assert_uint_gt(rep.repaired, 0);
	ck_assert_uint_eq(rep.left, 0);
	ck_assert_int_eq(check_repair(im->dev, &opts, &res, &rep), 0);
	ck_assert_uint_eq(res.problems, 0);
	ck_assert_uint_eq(rep.repaired, 0);
	ck_assert_uint_eq(rep.rounds, 1);
}

void image_expect(struct image *im, ...)
{
	struct check_opts opts = { .problem = print_problem };
	bool expected[CHECK_NR] = { false };
	struct check_result res;
	va_list ap;
	int code;

	va_start(ap, im);
	while ((code = va_arg(ap, int)) != CHECK_NR)
		expected[code] = true;
	va_end(ap);
	ck_assert_int_eq(check_run(im->dev, &opts, &res), 0);
	for (code = 0; code < CHECK_NR; code++) {
		ck_assert_msg(!expected[code] || res.by_code[code] > 0, "%s was not found",
			      check_code_name((enum check_code)code));
		ck_assert_msg(expected[code] || res.by_code[code] == 0, "%s was found",
			      check_code_name((enum check_code)code));
	}
	if (res.problems)
		image_repair(im);
}
