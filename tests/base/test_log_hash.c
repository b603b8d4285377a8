/* The log sink, reports of corruption, hashes whose values are on disk, small arithmetic. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/time.h"
#include "check_main.h"

static char last_line[LOG_LINE_MAX + 16];
static int nr_lines;

static void remember(enum log_level level, const char *line, void *arg)
{
	(void)level;
	ck_assert_ptr_eq(arg, &nr_lines);
	snprintf(last_line, sizeof(last_line), "%s", line);
	nr_lines++;
}

START_TEST(a_sink_gets_whole_lines_up_to_its_level)
{
	log_set_sink(remember, &nr_lines);
	log_warn("one %d", 1);
	ck_assert_str_eq(last_line, "one 1");
	log_debug("not wanted");
	ck_assert_int_eq(nr_lines, 1);
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("wanted");
	ck_assert_int_eq(nr_lines, 2);
	log_set_level(LOG_LEVEL_ERR);
	log_warn("not wanted");
	ck_assert_int_eq(nr_lines, 2);
}
END_TEST

START_TEST(logging_keeps_errno_and_cuts_long_lines)
{
	char text[3 * LOG_LINE_MAX];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_set_sink(remember, &nr_lines);
	errno = ENOTTY;
	log_err("%s", text);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(strlen(last_line), LOG_LINE_MAX - 1);
}
END_TEST

START_TEST(a_flood_of_one_corruption_makes_few_lines)
{
	log_set_sink(remember, &nr_lines);
	for (int i = 0; i < 100000; i++)
		ck_assert_int_eq(corrupt(WHY_BITMAP, 7, 99), -EUCLEAN);
	ck_assert_int_ge(nr_lines, 8);
	ck_assert_int_le(nr_lines, 30);
	ck_assert_uint_eq(corrupt_count(WHY_BITMAP), 100000);
}
END_TEST

static void check_line(const char *who, enum why why)
{
	char want[LOG_LINE_MAX];

	snprintf(want, sizeof(want), "%s: %s", who, why_text(why));
	ck_assert_str_eq(last_line, want);
}

START_TEST(a_report_says_what_its_thread_does_and_where_the_damage_is)
{
	struct work before, inner;

	log_set_sink(remember, &nr_lines);
	corrupt(WHY_BITMAP_COUNT, CORRUPT_NO_INO, CORRUPT_NO_SECTOR);
	check_line("corruption: running", WHY_BITMAP_COUNT);
	before = work_begin(WORK_LOOKUP, 2);
	corrupt(WHY_INODE_MODE, 12, 345);
	check_line("corruption: lookup of inode 2: inode 12, sector 345", WHY_INODE_MODE);
	inner = work_begin(WORK_READ, 12);
	corrupt_data(WHY_DATA_CHECKSUM, 12, 3, 345);
	check_line("corruption: read of inode 12: file sector 3, sector 345", WHY_DATA_CHECKSUM);
	work_end(inner);
	corrupt(WHY_HDR_CHECKSUM, CORRUPT_NO_INO, 99);
	check_line("corruption: lookup of inode 2: sector 99", WHY_HDR_CHECKSUM);
	work_end(before);
	corrupt(WHY_INODE_MODE, 12, CORRUPT_NO_SECTOR);
	check_line("corruption: running: inode 12", WHY_INODE_MODE);
}
END_TEST

START_TEST(an_error_of_the_device_is_of_who_sent_the_request)
{
	struct work before = work_begin(WORK_WRITEBACK, CORRUPT_NO_INO), sender = work_now();

	log_set_sink(remember, &nr_lines);
	work_end(before);
	corrupt_io(WHY_IO_WRITE, sender, 77, -EIO);
	ck_assert_str_eq(last_line,
			 "I/O error: writeback: sector 77: device: writing failed (EIO)");
}
END_TEST

START_TEST(hash_values_are_those_of_the_disk_format)
{
	ck_assert_uint_eq(hash64("", 0), 0x2d06800538d394c2ull);
	ck_assert_uint_eq(hash64("foliofs", 7), hash64_seed("foliofs", 7, 0));
	ck_assert_uint_ne(hash64("foliofs", 7), hash64_seed("foliofs", 7, 1));
	ck_assert_uint_eq(hash32("foliofs", 7), (u32)hash64("foliofs", 7));
}
END_TEST

/* The seeded one never takes the wide way, and with seed 0 means the same. */
START_TEST(every_length_hashes_the_same_with_wide_vectors_and_without)
{
	static u8 data[8192];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 167 >> 3);
	for (size_t len = 0; len <= sizeof(data); len += len < 600 ? 1 : 97)
		ck_assert_uint_eq(hash64(data, len), hash64_seed(data, len, 0));
	ck_assert_uint_eq(hash64(data, 4096), hash64_seed(data, 4096, 0));
}
END_TEST

START_TEST(a_hash_in_pieces_equals_the_hash_of_the_whole)
{
	u8 data[5000];
	struct hash_stream *hs = hash_stream_new(42);

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 37 + i / 251);
	ck_assert_ptr_nonnull(hs);
	for (size_t i = 0; i < sizeof(data); i += 125)
		hash_stream_add(hs, data + i, 125);
	ck_assert_uint_eq(hash_stream_end(hs), hash64_seed(data, sizeof(data), 42));
}
END_TEST

START_TEST(rounding_and_logarithms_hold_at_their_edges)
{
	ck_assert_uint_eq(ALIGN_UP(4097u, SECTOR_SIZE), 8192);
	ck_assert_uint_eq(ALIGN_UP((u64)1 << 40 | 1, SECTOR_SIZE), ((u64)1 << 40) + 4096);
	ck_assert_uint_eq(ALIGN_DOWN((u64)1 << 40 | 1, SECTOR_SIZE), (u64)1 << 40);
	ck_assert_uint_eq(bytes_to_sectors_up(0), 0);
	ck_assert_uint_eq(bytes_to_sectors_up(1), 1);
	ck_assert_uint_eq(bytes_to_sectors_up(UINT64_MAX), (u64)1 << 52);
	ck_assert_uint_eq(ilog2(1), 0);
	ck_assert_uint_eq(ilog2(UINT64_MAX), 63);
	ck_assert_uint_eq(roundup_pow2(1), 1);
	ck_assert_uint_eq(roundup_pow2(513), 1024);
	ck_assert_uint_eq(roundup_pow2((u64)1 << 63), (u64)1 << 63);
	ck_assert(!is_pow2(0) && is_pow2(1) && !is_pow2(3));
}
END_TEST

START_TEST(sleeping_lasts_at_least_as_long_as_asked)
{
	u64 start = now_ns();

	sleep_ns(3 * NS_PER_MS);
	ck_assert_uint_ge(now_ns() - start, 3 * NS_PER_MS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log_hash");

	check_add(s, a_sink_gets_whole_lines_up_to_its_level);
	check_add(s, logging_keeps_errno_and_cuts_long_lines);
	check_add(s, a_flood_of_one_corruption_makes_few_lines);
	check_add(s, a_report_says_what_its_thread_does_and_where_the_damage_is);
	check_add(s, an_error_of_the_device_is_of_who_sent_the_request);
	check_add(s, hash_values_are_those_of_the_disk_format);
	check_add(s, a_hash_in_pieces_equals_the_hash_of_the_whole);
	check_add(s, rounding_and_logarithms_hold_at_their_edges);
	check_add(s, sleeping_lasts_at_least_as_long_as_asked);
	check_add(s, every_length_hashes_the_same_with_wide_vectors_and_without);
	return check_main(s);
}
