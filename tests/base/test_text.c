/* What people write and read: sizes, durations, identifiers, near names, error names. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/nearest.h"
#include "base/size.h"
#include "base/time.h"
#include "base/uuid.h"
#include "check_main.h"

START_TEST(sizes_are_read_in_base_1024)
{
	static const struct {
		const char *text;
		u64 bytes;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "512b", 512 },
		{ "64k", 65536 },
		{ "64K", 65536 },
		{ "64KB", 65536 },
		{ "64KiB", 65536 },
		{ "64kib", 65536 },
		{ "10G", 10ull << 30 },
		{ "1.5g", 3ull << 29 },
		{ "0.5MiB", 512 << 10 },
		{ "1t", 1ull << 40 },
		{ "2p", 2ull << 50 },
		{ "15e", 15ull << 60 },
		{ "18446744073709551615", UINT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		u64 bytes = 1;

		ck_assert_msg(parse_size(good[i].text, &bytes) == 0, "%s", good[i].text);
		ck_assert_msg(bytes == good[i].bytes, "%s", good[i].text);
	}
}
END_TEST

START_TEST(what_is_no_size_is_refused_and_changes_nothing)
{
	static const struct {
		const char *text;
		int err;
	} bad[] = {
		{ "", -EINVAL },     { "k", -EINVAL },     { "-1", -EINVAL },    { "+1", -EINVAL },
		{ " 1", -EINVAL },   { "1 k", -EINVAL },   { "1kk", -EINVAL },   { "1kx", -EINVAL },
		{ "0x10", -EINVAL }, { "1.", -EINVAL },    { ".5k", -EINVAL },   { "1.5", -EINVAL },
		{ "0.1k", -EINVAL }, { "1,5k", -EINVAL },  { "64Ki", -EINVAL },  { "16e", -ERANGE },
		{ "1bib", -EINVAL }, { "1.0000000001t", -EINVAL },
		{ "18446744073709551616", -ERANGE },
		{ "17179869184g", -ERANGE },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		u64 bytes = 77;

		ck_assert_msg(parse_size(bad[i].text, &bytes) == bad[i].err, "%s", bad[i].text);
		ck_assert_uint_eq(bytes, 77);
	}
}
END_TEST

START_TEST(numbers_outside_their_bounds_are_refused)
{
	u64 n = 5;

	ck_assert_int_eq(parse_u64("10", 1, 10, &n), 0);
	ck_assert_uint_eq(n, 10);
	ck_assert_int_eq(parse_u64("11", 1, 10, &n), -ERANGE);
	ck_assert_int_eq(parse_u64("0", 1, 10, &n), -ERANGE);
	ck_assert_int_eq(parse_u64("7x", 1, 10, &n), -EINVAL);
	ck_assert_uint_eq(n, 10);
}
END_TEST

START_TEST(sizes_are_written_with_at_most_one_decimal)
{
	char buf[SIZE_TEXT_MAX];

	ck_assert_str_eq(size_to_text(0, buf), "0 B");
	ck_assert_str_eq(size_to_text(1023, buf), "1023 B");
	ck_assert_str_eq(size_to_text(1024, buf), "1 KiB");
	ck_assert_str_eq(size_to_text(64ull << 20, buf), "64 MiB");
	ck_assert_str_eq(size_to_text(3ull << 29, buf), "1.5 GiB");
	ck_assert_str_eq(size_to_text((1ull << 30) - 1, buf), "1 GiB");
	ck_assert_str_eq(size_to_text(UINT64_MAX, buf), "16 EiB");
}
END_TEST

START_TEST(durations_are_written_in_their_natural_unit)
{
	char buf[DURATION_TEXT_MAX];

	ck_assert_str_eq(duration_to_text(850, buf), "850 ns");
	ck_assert_str_eq(duration_to_text(12300, buf), "12.3 us");
	ck_assert_str_eq(duration_to_text(4 * NS_PER_MS, buf), "4.0 ms");
	ck_assert_str_eq(duration_to_text(200 * NS_PER_SEC, buf), "3 min 20 s");
	ck_assert_str_eq(duration_to_text(7260 * NS_PER_SEC, buf), "2 h 1 min");
}
END_TEST

START_TEST(a_uuid_survives_text_and_back)
{
	char text[UUID_TEXT_MAX];
	struct uuid a, b;

	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(uuid_make(&a), 0);
		ck_assert_int_eq(strlen(uuid_to_text(&a, text)), 36);
		ck_assert_int_eq(text[14], '4');
		ck_assert_int_eq(uuid_parse(text, &b), 0);
		ck_assert(uuid_equal(&a, &b));
		ck_assert(!uuid_is_zero(&a));
	}
}
END_TEST

START_TEST(what_is_no_uuid_is_refused_and_changes_nothing)
{
	static const char *const bad[] = {
		"", "0", "01234567-89ab-4cde-8f01-23456789abc",
		"01234567-89ab-4cde-8f01-23456789abcde", "0123456789ab4cde8f0123456789abcd",
		"01234567-89ab-4cde-8f01-23456789abcg", "01234567-89ab-4cde-8f0-123456789abcd",
	};
	struct uuid u = { { 9 } };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_int_eq(uuid_parse(bad[i], &u), -EINVAL);
		ck_assert_int_eq(u.b[0], 9);
	}
}
END_TEST

START_TEST(a_near_name_is_suggested_and_a_far_one_is_not)
{
	static const char *const names[] = { "cache", "cache_size", "commit", "max_folio", "ro" };
	size_t nr = ARRAY_LEN(names);

	ck_assert_str_eq(nearest_name("cahce_size", names, nr), "cache_size");
	ck_assert_str_eq(nearest_name("cachesize", names, nr), "cache_size");
	ck_assert_str_eq(nearest_name("comit", names, nr), "commit");
	ck_assert_str_eq(nearest_name("max_foliox", names, nr), "max_folio");
	ck_assert_ptr_null(nearest_name("quota", names, nr));
	ck_assert_ptr_null(nearest_name("x", names, 0));
	ck_assert_ptr_null(nearest_name("", names, nr));
}
END_TEST

START_TEST(a_swap_of_neighbours_is_one_slip)
{
	ck_assert_uint_eq(nearest_distance("ab", "ba"), 1);
	ck_assert_uint_eq(nearest_distance("", "abc"), 3);
	ck_assert_uint_eq(nearest_distance("abc", ""), 3);
	ck_assert_uint_eq(nearest_distance("kitten", "sitting"), 3);
	ck_assert_uint_eq(nearest_distance("same", "same"), 0);
}
END_TEST

START_TEST(errors_have_names_in_both_signs)
{
	ck_assert_str_eq(err_name(EIO), "EIO");
	ck_assert_str_eq(err_name(-EUCLEAN), "EUCLEAN");
	ck_assert_str_eq(err_name(0), "0");
	ck_assert_str_eq(err_name(-99999), "E?");
	ck_assert_str_eq(err_text(-EIO), "Input/output error");
}
END_TEST

START_TEST(every_reason_of_corruption_has_words_of_its_own)
{
	for (int i = 0; i < WHY_NR; i++) {
		ck_assert_str_ne(why_text((enum why)i), "unknown reason");
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(why_text((enum why)i), why_text((enum why)j));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("text");

	check_add(s, sizes_are_read_in_base_1024);
	check_add(s, what_is_no_size_is_refused_and_changes_nothing);
	check_add(s, numbers_outside_their_bounds_are_refused);
	check_add(s, sizes_are_written_with_at_most_one_decimal);
	check_add(s, durations_are_written_in_their_natural_unit);
	check_add(s, a_uuid_survives_text_and_back);
	check_add(s, what_is_no_uuid_is_refused_and_changes_nothing);
	check_add(s, a_near_name_is_suggested_and_a_far_one_is_not);
	check_add(s, a_swap_of_neighbours_is_one_slip);
	check_add(s, errors_have_names_in_both_signs);
	check_add(s, every_reason_of_corruption_has_words_of_its_own);
	return check_main(s);
}
