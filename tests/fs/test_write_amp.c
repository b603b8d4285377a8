/*
 * What reaches the device for 4 KiB random overwrites of a written file, counted in bytes through
 * the checkpoint of the unmount: the promise of docs/PERFORMANCE.md at the smallest, a middle and
 * the largest block size, with a cache smaller than the file.
 */
#include "../../bench/amp.h"
#include "check_main.h"

#define LIMIT_DATA 1.1
#define LIMIT_ALL 1.5

static struct amp_result measure(u32 block_bytes, bool sync_each)
{
	struct amp_case c = {
		.device = "ram:256m",
		.block_bytes = block_bytes,
		.file_bytes = 64u << 20,
		.nr_writes = sync_each ? 512 : 4096,
		.cache_bytes = 32u << 20,
		.sync_each = sync_each,
	};
	struct amp_result r;

	ck_assert_int_eq(amp_measure(&c, &r), 0);
	printf("%u: written %llu data %llu meta %llu log %llu flushes %llu\n", block_bytes,
	       (unsigned long long)r.user_bytes, (unsigned long long)r.data_bytes,
	       (unsigned long long)r.meta_bytes, (unsigned long long)r.log_bytes,
	       (unsigned long long)r.flushes);
	return r;
}

static void check_overwrites(u32 block_bytes)
{
	struct amp_result r = measure(block_bytes, false);

	ck_assert_uint_ge(r.data_bytes, r.user_bytes);
	ck_assert_double_le(amp_data(&r), LIMIT_DATA);
	ck_assert_double_le(amp_all(&r), LIMIT_ALL);
}

START_TEST(overwrites_write_what_was_written_at_4k_blocks)
{
	check_overwrites(4096);
}
END_TEST

START_TEST(overwrites_write_what_was_written_at_64k_blocks)
{
	check_overwrites(65536);
}
END_TEST

START_TEST(overwrites_write_what_was_written_at_2m_blocks)
{
	check_overwrites(2u << 20);
}
END_TEST

START_TEST(a_small_synced_overwrite_flushes_once)
{
	struct amp_result r = measure(65536, true);

	ck_assert_double_le(amp_data(&r), LIMIT_DATA);
	ck_assert_uint_ge(r.flushes, 512);
	ck_assert_uint_le(r.flushes, 512 + 512 / 4);
	/* Head, record and contents: two sectors of log for each. */
	ck_assert_uint_le(r.log_bytes, r.user_bytes * 3);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("write_amp");

	check_add_slow(s, overwrites_write_what_was_written_at_4k_blocks, 60);
	check_add_slow(s, overwrites_write_what_was_written_at_64k_blocks, 60);
	check_add_slow(s, overwrites_write_what_was_written_at_2m_blocks, 60);
	check_add_slow(s, a_small_synced_overwrite_flushes_once, 60);
	return check_main(s);
}
