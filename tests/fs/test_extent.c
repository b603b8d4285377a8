/*
 * Where file data lies: long extents whatever the order of writing, merged neighbours, and all
 * of it found again by who frees it.
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/btree.h"
#include "fs/inode.h"
#include "fs_test.h"
#include "stat/stat.h"

#define BIG (8u << 20)

static struct box b;
static u8 *data, *back;

static void begin(u32 block_bytes)
{
	box_open(&b, "ram:128M", block_bytes);
	data = malloc(BIG);
	back = malloc(BIG);
	for (u32 i = 0; i < BIG; i++)
		data[i] = (u8)(i * 2654435761u >> 24);
}

static void end(void)
{
	box_close(&b);
	free(data);
	free(back);
}

static struct inode *new_file(const char *name)
{
	return make(b.root, name, S_IFREG | 0644);
}

static void put_data(struct inode *f, u64 pos, u64 len)
{
	ck_assert_int_eq(fs_write(f, pos, data + pos % BIG, len, 0), (ssize_t)len);
}

struct count {
	u64 ino, extents, sectors, item_sectors;
};

static int count_body(struct view *v, void *arg)
{
	struct count *c = arg;
	struct fmt_key k = { c->ino, 0 };
	const struct fmt_inode *item;
	const void *val;
	u64 end = 0;
	u32 len;
	int r;

	c->extents = c->sectors = 0;
	while (!(r = btree_next(v, FMT_TREE_EXTENT, &k, &val, &len)) && k.a == c->ino) {
		const struct fmt_extent *e = val;

		ck_assert_uint_ge(k.b, end);
		ck_assert_uint_gt(get32(e->nr), 0);
		end = k.b + get32(e->nr);
		c->extents++;
		c->sectors += get32(e->nr);
		k.b++;
	}
	if (r && r != -ENOENT)
		return r;
	r = inode_get_item(v, c->ino, &item, NULL, NULL);
	if (!r)
		c->item_sectors = get64(item->sectors);
	return r;
}

static struct count count(struct inode *f)
{
	struct count c = { .ino = f->ino };

	OK(jnl_read(fs_jnl(b.fs), count_body, &c));
	ck_assert_uint_eq(c.sectors, c.item_sectors);
	ck_assert_uint_eq(c.sectors, f->attr.sectors);
	return c;
}

START_TEST(a_file_written_in_order_is_one_extent)
{
	for (u32 block = 4096; block <= 2u << 20; block *= 8) {
		struct inode *f;

		begin(block);
		f = new_file("f");
		for (u32 at = 0; at < BIG; at += 1u << 20) {
			put_data(f, at, 1u << 20);
			if (at % (3u << 20) == 0)
				OK(fs_fsync(f, false));
		}
		OK(fs_fsync(f, false));
		ck_assert_uint_eq(count(f).extents, 1);
		ck_assert_uint_eq(count(f).sectors, BIG / SECTOR_SIZE);
		fs_iput(f);
		end();
	}
}
END_TEST

/*
 * A quarter of the file at most stays dirty before it is written back: that many extents there
 * may be.
 */
START_TEST(a_file_written_backwards_is_in_few_extents)
{
	struct inode *f;

	begin(0);
	f = new_file("f");
	for (u32 at = 4u << 20; at > 0; at -= 4096)
		put_data(f, at - 4096, 4096);
	OK(fs_fsync(f, false));
	ck_assert_uint_le(count(f).extents, 4);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(files_written_side_by_side_are_not_mixed)
{
	struct inode *f[4];

	begin(0);
	for (unsigned i = 0; i < 4; i++) {
		char name[2] = { (char)('a' + i), 0 };

		f[i] = new_file(name);
	}
	for (u32 at = 0; at < 1u << 20; at += 4096)
		for (unsigned i = 0; i < 4; i++)
			put_data(f[i], at, 4096);
	OK(fs_sync(b.fs));
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_uint_le(count(f[i]).extents, 4);
		fs_iput(f[i]);
	}
	end();
}
END_TEST

START_TEST(a_long_write_goes_to_the_device_in_long_requests)
{
	struct inode *f;
	u64 ios;

	begin(65536);
	f = new_file("f");
	put_data(f, 0, 2u << 20);
	ios = stat_read(STAT_WRITE_IOS_DATA);
	OK(fs_fsync(f, false));
	ck_assert_uint_le(stat_read(STAT_WRITE_IOS_DATA) - ios, 4);
	fs_iput(f);
	end();
}
END_TEST

/*
 * Every second block written and synced, then the others: neighbours join wherever the disk
 * allows.
 */
START_TEST(many_extents_are_found_and_freed)
{
	struct inode *f;
	struct statvfs before, after;
	u64 n;

	begin(0);
	OK(fs_statfs(b.fs, &before));
	f = new_file("f");
	for (u64 at = 0; at < 3000; at++)
		put_data(f, at * 8192, 4096);
	OK(fs_fsync(f, false));
	n = count(f).extents;
	ck_assert_uint_eq(n, 3000);
	fs_drop_cache(b.fs, NULL);
	for (u64 at = 0; at < 3000; at++) {
		ck_assert_int_eq(fs_read(f, at * 8192, back, 8192, NULL), at == 2999 ? 4096 : 8192);
		ck_assert_int_eq(memcmp(back, data + at * 8192 % BIG, 4096), 0);
		ck_assert(at == 2999 || (back[4096] == 0 && back[8191] == 0));
	}
	OK(fs_truncate(f, 8192 * 100));
	ck_assert_uint_eq(count(f).extents, 100);
	fs_iput(f);
	OK(unlink_name(b.root, "f"));
	OK(fs_sync(b.fs));
	OK(fs_statfs(b.fs, &after));
	ck_assert_uint_ge(after.f_bfree + 8, before.f_bfree);
	end();
}
END_TEST

START_TEST(holes_that_are_filled_later_join_their_neighbours)
{
	struct inode *f;

	begin(0);
	f = new_file("f");
	OK(fs_fallocate(f, 0, 0, 1u << 20));
	ck_assert_uint_eq(count(f).extents, 1);
	for (u32 at = 0; at < 1u << 20; at += 12288)
		put_data(f, at, 4096);
	OK(fs_fsync(f, false));
	for (u32 at = 0; at < 1u << 20; at += 4096)
		put_data(f, at, 4096);
	OK(fs_fsync(f, false));
	ck_assert_uint_eq(count(f).extents, 1);
	ck_assert_int_eq(fs_read(f, 0, back, 1u << 20, NULL), 1 << 20);
	ck_assert_int_eq(memcmp(back, data, 1u << 20), 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_freed_range_can_be_crashed_at_any_handle)
{
	begin(0);
	for (unsigned cut = 1; cut < 40; cut += 5) {
		struct inode *f = new_file("f");
		struct statvfs before, after;

		for (u64 at = 0; at < 60; at++)
			put_data(f, at * 8192, 4096);
		OK(fs_fsync(f, false));
		OK(fs_statfs(b.fs, &before));
		OK(fs_truncate(f, cut * 8192));
		OK(fs_fsync(f, false));
		fs_iput(f);
		box_remount(&b, true);
		f = get(b.root, "f");
		ck_assert_uint_eq(count(f).extents, cut);
		OK(fs_statfs(b.fs, &after));
		ck_assert_uint_ge(after.f_bfree, before.f_bfree + 60 - cut);
		fs_iput(f);
		OK(unlink_name(b.root, "f"));
	}
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("extent");

	check_add(s, a_file_written_in_order_is_one_extent);
	check_add(s, a_file_written_backwards_is_in_few_extents);
	check_add(s, files_written_side_by_side_are_not_mixed);
	check_add(s, a_long_write_goes_to_the_device_in_long_requests);
	check_add(s, many_extents_are_found_and_freed);
	check_add(s, holes_that_are_filled_later_join_their_neighbours);
	check_add(s, a_freed_range_can_be_crashed_at_any_handle);
	return check_main(s);
}
