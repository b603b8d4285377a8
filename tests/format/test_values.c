/*
 * Goal: an item that passes can be used without bounds checks; names hash within their bits.
 * Method: one good item of each tree, then one rule broken at a time, which is the one that is
 * named.
 */
#include "check_main.h"

#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "bits.h"
#include "format/format.h"

static struct fmt_geo geo;
static u8 val[FMT_VALUE_MAX];

static void setup(void)
{
	memset(&geo, 0, sizeof(geo));
	ck_assert_int_eq(fmt_geo_make(8192, 4096, 0, &geo), 0);
	memset(val, 0, sizeof(val));
}

/* enum why: 0 is that nothing is wrong. */
static int check(enum fmt_tree t, u64 a, u64 b, u32 len)
{
	return (int)fmt_value_why(t, (struct fmt_key){ a, b }, val, len, &geo);
}

static struct fmt_inode *inode(u32 mode, u32 inline_len)
{
	struct fmt_inode *i = (void *)val;

	memset(val, 0, sizeof(val));
	i->mode = put32(mode);
	i->inline_len = put16((u16)inline_len);
	i->size = put64(inline_len);
	if (inline_len && S_ISREG(mode))
		i->flags = put32(FMT_IFLAG_INLINE);
	return i;
}

#define INODE_LEN ((u32)sizeof(struct fmt_inode))

START_TEST(inodes_of_every_type_pass_and_without_type_do_not)
{
	static const u32 types[] = { S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK };

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		inode(types[i] | 0644, 0);
		ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN), 0);
	}
	inode(S_IFLNK | 0777, 9);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN + 9), 0);
	inode(0644, 0);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN), WHY_INODE_MODE);
	inode(S_IFREG | 0644, 0);
	ck_assert_int_eq(check(FMT_TREE_INODE, 0, 0, INODE_LEN), WHY_INODE_NUMBER);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 1, INODE_LEN), WHY_INODE_KEY);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN - 1), WHY_INODE_SHORT);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, 0), WHY_INODE_SHORT);
}
END_TEST

START_TEST(inline_data_agrees_with_size_and_item)
{
	struct fmt_inode *i = inode(S_IFREG | 0600, 100);

	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN + 100), 0);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN + 99), WHY_INODE_LENGTH);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN), WHY_INODE_LENGTH);
	i->size = put64(101);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN + 100), WHY_INLINE_SIZE);
	inode(S_IFREG | 0600, FMT_INLINE_MAX + 1);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN + FMT_INLINE_MAX + 1),
			 WHY_INLINE_LONG);
	inode(S_IFLNK | 0777, 0);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN), WHY_SYMLINK);
	i = inode(S_IFREG | 0600, 100);
	i->flags = put32(0);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN + 100), WHY_INLINE_EXTRA);
	i = inode(S_IFDIR | 0700, 0);
	i->flags = put32(FMT_IFLAG_INLINE);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN), WHY_INLINE);
}
END_TEST

START_TEST(sizes_and_times_out_of_range_are_rejected)
{
	struct fmt_inode *i = inode(S_IFREG | 0600, 0);

	i->size = put64(FMT_SIZE_MAX);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN), 0);
	i->size = put64(FMT_SIZE_MAX + 1);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN), WHY_INODE_SIZE);
	i = inode(S_IFREG | 0600, 0);
	i->mtime.nsec = put32(1000000000);
	ck_assert_int_eq(check(FMT_TREE_INODE, 5, 0, INODE_LEN), WHY_INODE_TIME);
}
END_TEST

static u32 dirent(const char *name, u32 len)
{
	struct fmt_dirent *d = (void *)val;

	memset(val, 0, sizeof(val));
	d->ino = put64(7);
	d->type = S_IFREG >> 12;
	d->namelen = (u8)len;
	memcpy(d->name, name, len);
	return (u32)sizeof(*d) + len;
}

START_TEST(names_that_a_kernel_would_not_take_are_rejected)
{
	u64 b = fmt_name_hash(&geo, "file", 4) << 8;

	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, b, dirent("file", 4)), 0);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, b, dirent("...", 3)), 0);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, b, dirent("", 0)), WHY_DIRENT_NAME);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, b, dirent(".", 1)), WHY_DIRENT_NAME);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, b, dirent("..", 2)), WHY_DIRENT_NAME);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, b, dirent("a/b", 3)), WHY_DIRENT_NAME);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, b, dirent("a\0b", 3)), WHY_DIRENT_NAME);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, b, dirent("file", 4) - 1), WHY_DIRENT_LENGTH);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, 255, dirent("file", 4)), WHY_DIRENT_COOKIE);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, 1ull << 63, dirent("file", 4)),
			 WHY_DIRENT_COOKIE);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, b, 9), WHY_DIRENT_SHORT);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 0, b, dirent("file", 4)), WHY_DIRENT_DIR);
	dirent("file", 4);
	((struct fmt_dirent *)val)->ino = put64(0);
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, b, 14), WHY_DIRENT_INO);
	dirent("file", 4);
	((struct fmt_dirent *)val)->type = 3;
	ck_assert_int_eq(check(FMT_TREE_DIRENT, 1, b, 14), WHY_DIRENT_TYPE);
}
END_TEST

static u32 extent(u64 disk, u32 nr)
{
	struct fmt_extent *e = (void *)val;

	memset(val, 0, sizeof(val));
	e->disk = put64(disk);
	e->nr = put32(nr);
	return sizeof(*e);
}

START_TEST(extents_outside_the_space_are_rejected)
{
	u64 first = fmt_space_start(&geo, 0);

	ck_assert_int_eq(check(FMT_TREE_EXTENT, 5, 0, extent(first, 1)), 0);
	ck_assert_int_eq(check(FMT_TREE_EXTENT, 5, 0, extent(8191, 1)), 0);
	ck_assert_int_eq(check(FMT_TREE_EXTENT, 5, 0, extent(8191, 2)), WHY_EXTENT_DISK_END);
	ck_assert_int_eq(check(FMT_TREE_EXTENT, 5, 0, extent(first - 1, 1)), WHY_EXTENT_METADATA);
	ck_assert_int_eq(check(FMT_TREE_EXTENT, 5, 0, extent(first, 0)), WHY_EXTENT_EMPTY);
	ck_assert_int_eq(check(FMT_TREE_EXTENT, 5, 0, extent(UINT64_MAX, 2)), WHY_EXTENT_DISK);
	ck_assert_int_eq(check(FMT_TREE_EXTENT, 5, UINT64_MAX, extent(first, 1)),
			 WHY_EXTENT_OFFSET);
	ck_assert_int_eq(check(FMT_TREE_EXTENT, 5, 0, extent(first, 1) - 1), WHY_EXTENT_LENGTH);
	ck_assert_int_eq(check(FMT_TREE_EXTENT, 5, FMT_SIZE_MAX >> SECTOR_SHIFT,
			       extent(first, 2 + FMT_BLOCK_MAX / SECTOR_SIZE)),
			 WHY_EXTENT_OFFSET_END);
	ck_assert_int_eq(check(FMT_TREE_EXTENT, 0, 0, extent(first, 1)), WHY_EXTENT_INO);
	((struct fmt_extent *)val)->flags = put32(1);
	ck_assert_int_eq(check(FMT_TREE_EXTENT, 5, 0, sizeof(struct fmt_extent)),
			 WHY_EXTENT_FLAGS);
}
END_TEST

START_TEST(xattr_heads_agree_with_their_length)
{
	struct fmt_xattr *x = (void *)val;
	u64 b = fmt_xattr_hash(&geo, "user.a", 6) << 16;
	u32 len = (u32)sizeof(*x) + 6 + 10;

	x->namelen = 6;
	x->chunks = 1;
	x->value_len = put32(10);
	memcpy(x->name, "user.a", 6);
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b, len), 0);
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b, len - 1), WHY_XATTR_FIRST_CUT);
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b, len + 1), WHY_XATTR_FIRST_LONG);
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b, 3), WHY_XATTR_SHORT);
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b + 1, FMT_XATTR_CHUNK), 0);
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b + 1, FMT_XATTR_CHUNK + 1),
			 WHY_XATTR_PIECE_LONG);
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b + 1, 0), WHY_XATTR_PIECE_EMPTY);
	ck_assert_int_eq(check(FMT_TREE_XATTR, 0, b, len), WHY_XATTR_INO);
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, 0xff00, len), WHY_XATTR_HASH);
	x->value_len = put32(65537);
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b, len), WHY_XATTR_VALUE_MAX);
	x->value_len = put32(10);
	x->name[2] = 0;
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b, len), WHY_XATTR_NAME_ZERO);
	x->chunks = 0;
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b, len), WHY_XATTR_NO_PIECE);
	x->namelen = 0;
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b, len), WHY_XATTR_NO_NAME);
	x->chunks = 1;
	x->namelen = 255;
	ck_assert_int_eq(check(FMT_TREE_XATTR, 5, b, len), WHY_XATTR_NAME_CUT);
}
END_TEST

START_TEST(orphans_are_of_a_known_kind_and_never_the_root)
{
	struct fmt_orphan *o = (void *)val;

	o->kind = FMT_ORPHAN_TRUNCATE;
	ck_assert_int_eq(check(FMT_TREE_ORPHAN, 5, 0, sizeof(*o)), 0);
	ck_assert_int_eq(check(FMT_TREE_ORPHAN, FMT_ROOT_INO, 0, sizeof(*o)), WHY_ORPHAN_INO);
	ck_assert_int_eq(check(FMT_TREE_ORPHAN, 5, 0, 15), WHY_ORPHAN_LENGTH);
	ck_assert_int_eq(check(FMT_TREE_ORPHAN, 5, 1, sizeof(*o)), WHY_ORPHAN_KEY);
	o->size = put64(FMT_SIZE_MAX + 1);
	ck_assert_int_eq(check(FMT_TREE_ORPHAN, 5, 0, sizeof(*o)), WHY_ORPHAN_SIZE);
	o->kind = 3;
	ck_assert_int_eq(check(FMT_TREE_ORPHAN, 5, 0, sizeof(*o)), WHY_ORPHAN_KIND);
}
END_TEST

START_TEST(random_values_never_fault)
{
	u64 state = 5;

	for (int i = 0; i < 100000; i++) {
		enum fmt_tree t = (enum fmt_tree)(next_random(&state) % FMT_NR_TREES);
		u32 len = (u32)(next_random(&state) % 200);
		u8 *exact = malloc(len ? len : 1);
		struct fmt_key k = { next_random(&state) % 9, next_random(&state) >> (i % 64) };

		ck_assert_ptr_nonnull(exact);
		fill_random(exact, len, &state);
		(void)fmt_value_check(t, k, exact, len, &geo);
		free(exact);
	}
}
END_TEST

START_TEST(name_hashes_stay_within_their_bits_and_are_never_0)
{
	u64 state = 6, seen = 0;

	for (int i = 0; i < 100000; i++) {
		char name[16];
		u64 h, x;

		fill_random(name, sizeof(name), &state);
		h = fmt_name_hash(&geo, name, 1 + (u32)i % 16);
		x = fmt_xattr_hash(&geo, name, 1 + (u32)i % 16);
		seen |= h;
		ck_assert(h >= 1 && h < 1ull << 55);
		ck_assert(x >= 1 && x < 1ull << 48);
	}
	ck_assert_uint_eq(seen, (1ull << 55) - 1);
}
END_TEST

START_TEST(sector_checksums_avoid_the_reserved_values)
{
	u8 sector[SECTOR_SIZE];
	u64 state = 7;

	for (int i = 0; i < 1000; i++) {
		fill_random(sector, sizeof(sector), &state);
		ck_assert_uint_ge(fmt_map_csum(sector), FMT_MAP_CSUM_MIN);
	}
}
END_TEST

static void add(Suite *s, const TTest *t, const char *name)
{
	tcase_add_checked_fixture(check_add_tcase(s, t, name), setup, NULL);
}

int main(void)
{
	Suite *s = suite_create("values");

#define ADD(test) add(s, test, #test)
	ADD(inodes_of_every_type_pass_and_without_type_do_not);
	ADD(inline_data_agrees_with_size_and_item);
	ADD(sizes_and_times_out_of_range_are_rejected);
	ADD(names_that_a_kernel_would_not_take_are_rejected);
	ADD(extents_outside_the_space_are_rejected);
	ADD(xattr_heads_agree_with_their_length);
	ADD(orphans_are_of_a_known_kind_and_never_the_root);
	ADD(random_values_never_fault);
	ADD(name_hashes_stay_within_their_bits_and_are_never_0);
	ADD(sector_checksums_avoid_the_reserved_values);
	return check_main(s);
}
