/*
 * The cursor over segment lists: pieces never exceed the limits, cover each byte once and in order,
 * whatever the short transfers. Method: fixed cases, and random lists compared with a flat copy.
 */
#include "check_main.h"

#include <string.h>

#include "ring/iov.h"

START_TEST(whole_segments_are_taken_up_to_the_byte_limit)
{
	u8 mem[100];
	struct iovec iov[3] = { { mem, 40 }, { mem + 40, 40 }, { mem + 80, 20 } };
	const struct iovec *out = NULL;
	struct iov_cursor c;
	unsigned nr = 0;

	iov_cursor_init(&c, iov, 3);
	ck_assert_uint_eq(iov_cursor_piece(&c, 90, 8, &out, &nr), 80);
	ck_assert_ptr_eq(out, iov);
	ck_assert_uint_eq(nr, 2);
}
END_TEST

START_TEST(the_segment_limit_holds)
{
	u8 mem[30];
	struct iovec iov[3] = { { mem, 10 }, { mem + 10, 10 }, { mem + 20, 10 } };
	const struct iovec *out = NULL;
	struct iov_cursor c;
	unsigned nr = 0;

	iov_cursor_init(&c, iov, 3);
	ck_assert_uint_eq(iov_cursor_piece(&c, 100, 2, &out, &nr), 20);
	ck_assert_uint_eq(nr, 2);
}
END_TEST

START_TEST(a_segment_longer_than_the_limit_is_cut)
{
	u8 mem[100];
	struct iovec iov[1] = { { mem, 100 } };
	const struct iovec *out = NULL;
	struct iov_cursor c;
	unsigned nr = 0;

	iov_cursor_init(&c, iov, 1);
	ck_assert_uint_eq(iov_cursor_piece(&c, 64, 8, &out, &nr), 64);
	iov_cursor_advance(&c, 64);
	ck_assert_uint_eq(iov_cursor_piece(&c, 64, 8, &out, &nr), 36);
	ck_assert_ptr_eq(out->iov_base, mem + 64);
	iov_cursor_advance(&c, 36);
	ck_assert_uint_eq(iov_cursor_piece(&c, 64, 8, &out, &nr), 0);
}
END_TEST

START_TEST(empty_segments_are_stepped_over)
{
	u8 mem[10];
	struct iovec iov[4] = { { mem, 0 }, { mem, 10 }, { mem, 0 }, { mem, 0 } };
	const struct iovec *out = NULL;
	struct iov_cursor c;
	unsigned nr = 0;

	iov_cursor_init(&c, iov, 4);
	ck_assert_uint_eq(iov_cursor_piece(&c, 100, 8, &out, &nr), 10);
	iov_cursor_advance(&c, 10);
	ck_assert_uint_eq(iov_cursor_piece(&c, 100, 8, &out, &nr), 0);
}
END_TEST

START_TEST(random_pieces_and_short_transfers_cover_each_byte_once_in_order)
{
	u8 mem[4096], copy[4096];

	srandom((unsigned)_i + 1);
	for (unsigned i = 0; i < sizeof(mem); i++)
		mem[i] = (u8)random();
	for (unsigned round = 0; round < 500; round++) {
		struct iovec iov[32];
		const struct iovec *out = NULL;
		struct iov_cursor c;
		unsigned n = 1 + (unsigned)random() % 32, nr = 0;
		size_t total = 0, at = 0, bytes;

		for (unsigned i = 0; i < n; i++) {
			iov[i] = (struct iovec){ mem + total, (size_t)random() % 128 };
			total += iov[i].iov_len;
		}
		iov_cursor_init(&c, iov, n);
		while ((bytes = iov_cursor_piece(&c, 100, 3, &out, &nr))) {
			size_t some = 1 + (size_t)random() % bytes;

			ck_assert_uint_le(bytes, 100);
			ck_assert_uint_le(nr, 3);
			ck_assert_uint_eq(iov_bytes(out, nr), bytes);
			iov_gather(copy + at, out, nr);
			iov_cursor_advance(&c, some);
			at += some;
		}
		ck_assert_uint_eq(at, total);
		ck_assert_mem_eq(copy, mem, total);
	}
}
END_TEST

START_TEST(gather_and_scatter_are_inverse)
{
	u8 mem[64], back[64] = { 0 }, flat[64];
	struct iovec from[2] = { { mem + 32, 32 }, { mem, 32 } };
	struct iovec to[2] = { { back + 32, 32 }, { back, 32 } };

	for (unsigned i = 0; i < sizeof(mem); i++)
		mem[i] = (u8)(i * 7);
	iov_gather(flat, from, 2);
	ck_assert_mem_eq(flat, mem + 32, 32);
	iov_scatter(to, 2, flat);
	ck_assert_mem_eq(back, mem, sizeof(mem));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("iov");

	check_add(s, whole_segments_are_taken_up_to_the_byte_limit);
	check_add(s, the_segment_limit_holds);
	check_add(s, a_segment_longer_than_the_limit_is_cut);
	check_add(s, empty_segments_are_stepped_over);
	check_add(s, random_pieces_and_short_transfers_cover_each_byte_once_in_order);
	check_add(s, gather_and_scatter_are_inverse);
	return check_main(s);
}
