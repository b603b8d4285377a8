/*
 * Small files in large blocks: just their sectors, side by side, and nothing of it lost when they
 * grow, shrink and go, on a full disk, too.
 */
#include <errno.h>
#include <stdio.h>
#include <linux/falloc.h>

#include "file_test.h"
#include "fs/file_priv.h"
#include "fs/space_priv.h"

#define K64 65536u
static const u32 large[] = { 16384, K64, 2u << 20 };

static struct inode *numbered(u32 n)
{
	char name[16];

	snprintf(name, sizeof(name), "n%u", n);
	return new_file(name);
}

static int remove_numbered(u32 n)
{
	char name[16];

	snprintf(name, sizeof(name), "n%u", n);
	return unlink_name(b.root, name);
}

static struct fs_frag_file frag_of(struct inode *f)
{
	struct fs_frag_file frag;

	OK(fs_frag_file(f, &frag));
	return frag;
}

static u64 sectors_of(struct inode *f)
{
	struct stat st;

	fs_getattr(f, &st);
	ck_assert_uint_eq((u64)st.st_blocks % (SECTOR_SIZE / 512), 0);
	return (u64)st.st_blocks / (SECTOR_SIZE / 512);
}

/* Free sectors without the nodes' part, and free whole blocks. */
struct room { u64 data; s64 blocks; };

static struct room room_now(void)
{
	struct space_counts c;

	OK(fs_sync(b.fs));
	space_counts(b.fs->space, &c);
	ck_assert_uint_eq(c.reserved, 0);
	return (struct room){ c.free + c.metadata, b.fs->space->blocks };
}

static void write_synced(struct inode *f, u64 pos, u64 len)
{
	put_data(f, pos, len);
	OK(fs_fsync(f, false));
}

START_TEST(a_small_file_takes_just_its_sectors)
{
	struct room before, after;
	struct inode *f;

	begin("ram:128M", large[_i]);
	f = new_file("f");
	before = room_now();
	put_data(f, 0, 9000);
	ck_assert_uint_eq(sectors_of(f), 3);
	after = room_now();
	ck_assert_uint_eq(sectors_of(f), 3);
	ck_assert_uint_eq(frag_of(f).extents, 1);
	ck_assert_uint_eq(before.data - after.data, 3);
	f = again(f, "f");
	expect(f, 9000, 0, 0);
	ck_assert_uint_eq(sectors_of(f), 3);
	fs_iput(f);
	end();
}
END_TEST

/* 10 files of 3 sectors, and one of 2, are two blocks of 16. */
START_TEST(many_small_files_share_a_block)
{
	struct room before, after;

	begin("ram:128M", K64);
	before = room_now();
	for (u32 i = 0; i < 10; i++) {
		struct inode *f = numbered(i);

		put_data(f, 0, 12000);
		fs_iput(f);
	}
	after = room_now();
	ck_assert_uint_eq(before.data - after.data, 30);
	ck_assert_int_le(before.blocks - after.blocks, 2);
	end();
}
END_TEST

START_TEST(the_last_small_file_gives_the_block_back)
{
	struct room before, after;

	begin("ram:128M", large[_i]);
	before = room_now();
	for (u32 i = 0; i < 20; i++) {
		struct inode *f = numbered(i);

		put_data(f, 0, 4096 * (1 + i % 4));
		fs_iput(f);
	}
	ck_assert_int_lt(room_now().blocks, before.blocks);
	for (u32 i = 0; i < 20; i++)
		OK(remove_numbered(i));
	after = room_now();
	ck_assert_uint_eq(after.data, before.data);
	ck_assert_int_eq(after.blocks, before.blocks);
	end();
}
END_TEST

START_TEST(what_was_written_before_the_file_grew_stays_where_it_is)
{
	u64 block = large[_i], first;
	struct extent_run run;
	struct inode *f;

	begin("ram:128M", large[_i]);
	f = new_file("f");
	write_synced(f, 0, 5000);
	OK(extent_find(f, 0, &run));
	first = run.disk;
	write_synced(f, 5000, block + 20000);
	OK(extent_find(f, 0, &run));
	ck_assert_uint_eq(run.disk, first);
	/* The first block is filled up, and what follows is whole blocks. */
	OK(extent_find(f, block / SECTOR_SIZE, &run));
	ck_assert(run.mapped);
	run.disk += block / SECTOR_SIZE - run.start;
	ck_assert_uint_eq(run.disk * SECTOR_SIZE % block, 0);
	ck_assert_uint_eq(sectors_of(f) * SECTOR_SIZE % block, 0);
	ck_assert_uint_le(frag_of(f).extents, 3);
	f = again(f, "f");
	expect(f, block + 25000, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

/* Nothing of it was written back before the file was longer than a block: no fragment. */
START_TEST(a_longer_file_begins_with_a_whole_block)
{
	struct extent_run run;
	struct inode *f;

	begin("ram:128M", K64);
	f = new_file("f");
	for (u64 at = 0; at < 2 * K64; at += 4096)
		put_data(f, at, 4096);
	write_synced(f, 2 * K64, 4096);
	OK(extent_find(f, 0, &run));
	ck_assert_uint_eq(run.disk % 16, 0);
	ck_assert_uint_eq(frag_of(f).extents, 1);
	ck_assert_uint_eq(sectors_of(f), 48);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_write_into_a_hole_of_a_longer_file_takes_its_block)
{
	const u64 block = large[_i], pos = block + 8192;
	struct extent_run run;
	struct inode *f;

	begin("ram:128M", large[_i]);
	f = new_file("f");
	OK(fs_truncate(f, 3 * block));
	write_synced(f, pos, 4096);
	OK(extent_find(f, pos / SECTOR_SIZE, &run));
	ck_assert_uint_eq(run.start * SECTOR_SIZE, block);
	ck_assert_uint_eq(run.disk * SECTOR_SIZE % block, 0);
	ck_assert_uint_eq(sectors_of(f) * SECTOR_SIZE, block);
	fs_iput(f);
	end();
}
END_TEST

/* Two files that grow side by side by a sector at a time; every piece of one is followed by the
 * other's. */
START_TEST(slow_appenders_get_few_pieces)
{
	const u32 sectors = large[_i] / SECTOR_SIZE;
	const u64 most = 4 + 2 * (ilog2(sectors) - 2);
	struct inode *f[2];

	begin("ram:128M", large[_i]);
	f[0] = new_file("a");
	f[1] = new_file("b");
	for (u64 at = 0; at < sectors; at++)
		for (u32 i = 0; i < 2; i++) {
			write_synced(f[i], at * SECTOR_SIZE, SECTOR_SIZE);
			ck_assert_uint_le(sectors_of(f[i]) * 2, (at + 1) * 3);
		}
	for (u32 i = 0; i < 2; i++) {
		ck_assert_uint_le(frag_of(f[i]).extents, most);
		ck_assert_uint_eq(sectors_of(f[i]), sectors);
		fs_iput(f[i]);
	}
	end();
}
END_TEST

START_TEST(sectors_written_in_any_order_are_few_pieces_too)
{
	u32 order[16] = { 15, 3, 9, 0, 12, 6, 1, 14, 7, 10, 4, 13, 2, 8, 11, 5 };
	struct inode *f, *other;

	begin("ram:128M", K64);
	f = new_file("f");
	other = new_file("o");
	OK(fs_truncate(f, K64));
	for (u32 i = 0; i < ARRAY_LEN(order); i++) {
		write_synced(f, order[i] * SECTOR_SIZE, SECTOR_SIZE);
		write_synced(other, (u64)i * SECTOR_SIZE, SECTOR_SIZE);
	}
	ck_assert_uint_le(frag_of(f).extents, 9);
	fs_iput(other);
	f = again(f, "f");
	expect(f, K64, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(truncate_gives_back_every_sector_behind_the_end)
{
	struct room before, after;
	struct inode *f;

	begin("ram:128M", large[_i]);
	f = new_file("f");
	before = room_now();
	write_synced(f, 0, 3 * 1000 * 1000);
	OK(fs_truncate(f, 9000));
	after = room_now();
	ck_assert_uint_eq(before.data - after.data, 3);
	OK(fs_truncate(f, 20000));
	expect(f, 20000, 9000, 20000);
	put_new(f, 12288, 100);
	put_new(f, 9000, 3288);
	f = again(f, "f");
	expect(f, 20000, 12388, 20000);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_hole_of_whole_blocks_frees_pieces_and_blocks_alike)
{
	struct room before, after;
	struct inode *f;

	begin("ram:128M", K64);
	f = new_file("f");
	before = room_now();
	write_synced(f, 0, 5000);
	write_synced(f, 5000, 3 * K64);
	OK(fs_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * K64));
	expect(f, 5000 + 3 * K64, 0, 2 * K64);
	after = room_now();
	ck_assert_uint_eq(before.data - after.data, 32);
	OK(fs_fallocate(f, FALLOC_FL_ZERO_RANGE, 0, 4 * K64));
	ck_assert_uint_eq(sectors_of(f), 64);
	expect(f, 4 * K64, 0, 4 * K64);
	OK(fs_truncate(f, 0));
	ck_assert_uint_eq(room_now().data, before.data);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(preallocation_is_of_whole_blocks)
{
	struct inode *f;

	begin("ram:128M", K64);
	f = new_file("f");
	OK(fs_fallocate(f, 0, 0, 5000));
	ck_assert_uint_eq(sectors_of(f), 16);
	ck_assert_uint_eq(frag_of(f).extents, 1);
	put_data(f, 0, 5000);
	OK(fs_fsync(f, false));
	ck_assert_uint_eq(sectors_of(f), 16);
	fs_iput(f);
	f = new_file("g");
	write_synced(f, 0, 5000);
	OK(fs_fallocate(f, FALLOC_FL_KEEP_SIZE, 0, K64 + 1));
	ck_assert_uint_eq(sectors_of(f), 32);
	expect(f, 5000, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

/* ---- a full disk ---- */

static u64 available(void)
{
	struct statvfs s;

	OK(fs_statfs(b.fs, &s));
	return s.f_bavail;
}

/*
 * Small files until no more is promised, though what was promised for their nodes came back; every
 * write that returned reaches the disk. The first number that is not used.
 */
static u32 fill_with_small_files(u32 n)
{
	for (unsigned refused = 0; refused < 3; n++) {
		u64 len = 2500 + (u64)(n * 2654435761u >> 8) % 30000;
		struct inode *f = NULL;
		char name[16];
		ssize_t got;

		snprintf(name, sizeof(name), "n%u", n);
		if (fs_mknod(b.root, name, strlen(name), S_IFREG | 0644, 0, somebody, &f))
			break;
		got = fs_write(f, 0, data, len, 0);
		if (n % 7 == 0)
			OK(fs_fsync(f, false));
		fs_iput(f);
		if (got == (ssize_t)len)
			continue;
		OK(fs_sync(b.fs));
		refused++;
	}
	OK(fs_sync(b.fs));
	return n;
}

START_TEST(a_disk_full_of_small_files_can_be_emptied_and_filled_again)
{
	struct room empty, after;
	u32 nr = 0, first;

	begin("ram:64M", large[_i]);
	empty = room_now();
	for (u32 round = 0; round < 3; round++) {
		u32 end = fill_with_small_files(nr);

		if (round == 0)
			first = end;
		/* No space is lost to parts of blocks: what is left is less than a file needs. */
		ck_assert_uint_lt(available(), 24);
		ck_assert_int_eq(b.fs->space->blocks, 0);
		for (u32 i = 0; i < end; i += 2)
			remove_numbered(i);
		OK(fs_sync(b.fs));
		ck_assert_uint_gt(available(), 1000);
		nr = end;
	}
	ck_assert_uint_gt(nr, first + first / 4);
	for (u32 i = 0; i < nr; i++)
		remove_numbered(i);
	box_remount(&b, false);
	after = room_now();
	ck_assert_uint_eq(after.data, empty.data);
	end();
}
END_TEST

/* Free space in pieces only: small files and long ones are written all the same. */
START_TEST(without_a_whole_block_all_that_is_free_can_be_written)
{
	struct inode *f;
	u32 nr;
	u64 left;
	ssize_t n;

	begin("ram:64M", large[_i]);
	nr = fill_with_small_files(0);
	for (u32 i = 0; i < nr; i += 5)
		OK(remove_numbered(i));
	OK(fs_sync(b.fs));
	f = new_file("long");
	left = available();
	ck_assert_uint_gt(left, 500);
	n = fs_write(f, 0, data, BIG, 0);
	ck_assert_int_eq(n, BIG);
	OK(fs_fsync(f, false));
	ck_assert_uint_eq(sectors_of(f) % (large[_i] / SECTOR_SIZE), 0);
	f = again(f, "long");
	expect(f, BIG, 0, 0);
	while ((n = fs_write(f, (u64)inode_size(f), data, 4096, 0)) > 0)
		;
	FAILS(n, ENOSPC);
	OK(fs_fsync(f, false));
	ck_assert_uint_lt(available(), 8);
	fs_iput(f);
	end();
}
END_TEST

#define EACH_LARGE(s, test)                                                                        \
	do {                                                                                       \
		TCase *tc_ = tcase_create(#test);                                                  \
		tcase_add_loop_test(tc_, test, 0, (int)ARRAY_LEN(large));                          \
		tcase_set_timeout(tc_, 120);                                                       \
		suite_add_tcase(s, tc_);                                                           \
	} while (0)

int main(void)
{
	Suite *s = suite_create("small");

	EACH_LARGE(s, a_small_file_takes_just_its_sectors);
	check_add(s, many_small_files_share_a_block);
	EACH_LARGE(s, the_last_small_file_gives_the_block_back);
	EACH_LARGE(s, what_was_written_before_the_file_grew_stays_where_it_is);
	check_add(s, a_longer_file_begins_with_a_whole_block);
	EACH_LARGE(s, a_write_into_a_hole_of_a_longer_file_takes_its_block);
	EACH_LARGE(s, slow_appenders_get_few_pieces);
	check_add(s, sectors_written_in_any_order_are_few_pieces_too);
	EACH_LARGE(s, truncate_gives_back_every_sector_behind_the_end);
	check_add(s, a_hole_of_whole_blocks_frees_pieces_and_blocks_alike);
	check_add(s, preallocation_is_of_whole_blocks);
	EACH_LARGE(s, a_disk_full_of_small_files_can_be_emptied_and_filled_again);
	EACH_LARGE(s, without_a_whole_block_all_that_is_free_can_be_written);
	return check_main(s);
}
