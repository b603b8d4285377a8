/* Space without data, and holes: what reads back, what it costs, what stays after a crash. */
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/inode.h"
#include "fs_test.h"
#include "stat/stat.h"

#define MIB (1u << 20)
#define KEEP FALLOC_FL_KEEP_SIZE
#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO FALLOC_FL_ZERO_RANGE

static struct box b;
static struct inode *f;
static u8 data[4 * MIB], back[4 * MIB];

static void begin(u32 block_bytes)
{
	box_open(&b, "ram:64M", block_bytes);
	memset(data, 0x5a, sizeof(data));
	f = make(b.root, "f", S_IFREG | 0644);
}

static void end(void)
{
	fs_iput(f);
	box_close(&b);
}

static void crash(void)
{
	OK(fs_fsync(f, true));
	fs_iput(f);
	box_remount(&b, true);
	f = get(b.root, "f");
}

static void put_data(u64 pos, u64 len)
{
	ck_assert_int_eq(fs_write(f, pos, data, len, 0), (ssize_t)len);
}

/* `size` bytes of 0x5a but for [from, to), which is zero. */
static void expect(u64 size, u64 from, u64 to)
{
	ck_assert_uint_eq(inode_size(f), size);
	ck_assert_int_eq(fs_read(f, 0, back, sizeof(back), NULL), (ssize_t)size);
	for (u64 i = 0; i < size; i++)
		if (back[i] != (i >= from && i < to ? 0 : 0x5a))
			ck_abort_msg("byte %llu is %u", (unsigned long long)i, back[i]);
}

static u64 blocks(void)
{
	struct stat st;

	fs_getattr(f, &st);
	return (u64)st.st_blocks * 512;
}

START_TEST(allocated_space_reads_zero_without_io)
{
	u64 before;

	begin(65536);
	OK(fs_fallocate(f, 0, 0, 2 * MIB));
	ck_assert_uint_eq(blocks(), 2 * MIB);
	before = stat_read(STAT_READ_BYTES_DATA) + stat_read(STAT_WRITE_BYTES_DATA);
	expect(2 * MIB, 0, 2 * MIB);
	crash();
	expect(2 * MIB, 0, 2 * MIB);
	ck_assert_uint_eq(stat_read(STAT_READ_BYTES_DATA) + stat_read(STAT_WRITE_BYTES_DATA),
			  before);
	ck_assert_uint_eq(blocks(), 2 * MIB);
	ck_assert_int_eq(fs_seek(f, 0, SEEK_DATA), -ENXIO);
	end();
}
END_TEST

START_TEST(allocated_space_takes_data_on_a_full_disk)
{
	struct inode *g;
	u64 at = 0;
	ssize_t n;

	begin(65536);
	OK(fs_fallocate(f, 0, 0, 2 * MIB));
	g = make(b.root, "g", S_IFREG | 0644);
	while ((n = fs_write(g, at, data, MIB, 0)) > 0)
		at += (u64)n;
	ck_assert_int_eq(n, -ENOSPC);
	put_data(0, 2 * MIB);
	crash();
	expect(2 * MIB, 0, 0);
	FAILS(fs_fallocate(f, 0, 0, 64 * MIB), ENOSPC);
	ck_assert_uint_eq(inode_size(f), 2 * MIB);
	end();
}
END_TEST

START_TEST(keep_size_keeps_it_and_truncate_gives_the_space_back)
{
	begin(0);
	put_data(0, 10000);
	OK(fs_fallocate(f, KEEP, 0, MIB));
	expect(10000, 0, 0);
	ck_assert_uint_ge(blocks(), MIB);
	crash();
	expect(10000, 0, 0);
	ck_assert_uint_ge(blocks(), MIB);
	OK(fs_truncate(f, 10000));
	ck_assert_uint_le(blocks(), 12288);
	end();
}
END_TEST

START_TEST(a_punched_hole_is_zero_and_its_whole_blocks_are_free)
{
	for (u32 block = 4096; block <= MIB; block *= 16) {
		for (unsigned dirty = 0; dirty < 2; dirty++) {
			u64 from = 300001, to = 3 * MIB + 77;
			u64 first = ALIGN_UP(from, (u64)block), last = ALIGN_DOWN(to, (u64)block);

			begin(block);
			put_data(0, 4 * MIB);
			if (!dirty)
				OK(fs_fsync(f, false));
			OK(fs_fallocate(f, PUNCH, from, to - from));
			expect(4 * MIB, from, to);
			crash();
			expect(4 * MIB, from, to);
			ck_assert_uint_eq(blocks(), 4 * MIB - (last - first));
			if (last > first)
				ck_assert_int_eq(fs_seek(f, first, SEEK_DATA),
						 (s64)ALIGN_DOWN(to, (u64)4096));
			end();
		}
	}
}
END_TEST

START_TEST(a_punched_tail_keeps_the_size)
{
	begin(0);
	put_data(0, MIB);
	OK(fs_fallocate(f, PUNCH, 4096, 2 * MIB));
	expect(MIB, 4096, MIB);
	crash();
	expect(MIB, 4096, MIB);
	ck_assert_uint_eq(blocks(), 4096);
	end();
}
END_TEST

START_TEST(a_zeroed_range_is_allocated_and_unwritten)
{
	for (u32 block = 4096; block <= MIB; block *= 16) {
		u64 before;

		begin(block);
		put_data(0, 3 * MIB);
		OK(fs_fsync(f, false));
		before = stat_read(STAT_WRITE_BYTES_DATA);
		OK(fs_fallocate(f, ZERO, MIB, MIB));
		expect(3 * MIB, MIB, 2 * MIB);
		crash();
		ck_assert_uint_eq(stat_read(STAT_WRITE_BYTES_DATA), before);
		expect(3 * MIB, MIB, 2 * MIB);
		ck_assert_uint_eq(blocks(), 3 * MIB);
		put_data(MIB, MIB);
		crash();
		expect(3 * MIB, 0, 0);
		OK(fs_fallocate(f, ZERO, 3 * MIB - 100, 200));
		expect(3 * MIB + 100, 3 * MIB - 100, 3 * MIB + 100);
		OK(fs_fallocate(f, ZERO | KEEP, 3 * MIB, MIB));
		expect(3 * MIB + 100, 3 * MIB - 100, 3 * MIB + 100);
		end();
	}
}
END_TEST

START_TEST(small_files_stay_in_their_item_while_they_fit)
{
	begin(0);
	put_data(0, 1000);
	OK(fs_fallocate(f, PUNCH, 100, 200));
	expect(1000, 100, 300);
	OK(fs_fallocate(f, 0, 0, 2000));
	crash();
	ck_assert_uint_eq(inode_size(f), 2000);
	ck_assert(f->inl);
	OK(fs_fallocate(f, 0, 0, 5000));
	crash();
	ck_assert(!f->inl);
	ck_assert_uint_eq(inode_size(f), 5000);
	ck_assert_int_eq(fs_read(f, 0, back, 5000, NULL), 5000);
	ck_assert_uint_eq(back[99], 0x5a);
	ck_assert_uint_eq(back[100], 0);
	ck_assert_uint_eq(back[999], 0x5a);
	ck_assert_uint_eq(back[1000], 0);
	end();
}
END_TEST

START_TEST(what_is_not_supported_is_refused)
{
	begin(0);
	FAILS(fs_fallocate(f, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), EOPNOTSUPP);
	FAILS(fs_fallocate(f, FALLOC_FL_INSERT_RANGE, 0, 4096), EOPNOTSUPP);
	FAILS(fs_fallocate(f, FALLOC_FL_PUNCH_HOLE, 0, 4096), EOPNOTSUPP);
	FAILS(fs_fallocate(f, 0, 0, 0), EINVAL);
	FAILS(fs_fallocate(f, 0, (u64)INT64_MAX, 1), EFBIG);
	FAILS(fs_fallocate(b.root, 0, 0, 1), ENODEV);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fallocate");

	check_add(s, allocated_space_reads_zero_without_io);
	check_add(s, allocated_space_takes_data_on_a_full_disk);
	check_add(s, keep_size_keeps_it_and_truncate_gives_the_space_back);
	check_add(s, a_punched_hole_is_zero_and_its_whole_blocks_are_free);
	check_add(s, a_punched_tail_keeps_the_size);
	check_add(s, a_zeroed_range_is_allocated_and_unwritten);
	check_add(s, small_files_stay_in_their_item_while_they_fit);
	check_add(s, what_is_not_supported_is_refused);
	return check_main(s);
}
