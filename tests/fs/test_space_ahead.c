/*
 * Space ahead of files that grow: left to them as long as there is another place, and never the
 * reason for a refusal. SEED=n repeats a run.
 */
#include "check_main.h"
#include "space_model.h"

static struct op_arg take(struct fix *f, struct op_arg a)
{
	ck_assert_int_eq(do_op(f, &a), 0);
	return a;
}

/* nr sectors of a file of its own, then so many more that continue it, with space ahead. */
static u64 grown(struct fix *f, u64 owner, u32 nr, u32 ahead)
{
	struct op_arg a = take(f, (struct op_arg){ .op = OP_ALLOC, .nr = nr, .owner = owner });
	struct op_arg b = { .op = OP_ALLOC, .goal = a.sector + nr, .nr = nr, .owner = owner,
			    .ahead = ahead };

	b = take(f, b);
	ck_assert_uint_eq(b.sector, a.sector + nr);
	return b.sector + nr;
}

static bool overlaps(const struct op_arg *a, u64 from, u64 end)
{
	return a->sector < end && from < a->sector + a->got;
}

START_TEST(what_is_ahead_of_a_file_is_left_to_it)
{
	u32 block = block_sizes[_i] / SECTOR_SIZE;
	struct op_arg a;
	struct fix f;
	u64 end;

	fix_open(&f, 65536, block_sizes[_i], 1);
	end = grown(&f, 7, block, 8 * block);
	for (u32 i = 0; i < 6; i++) {
		a = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = block, .owner = 8 });
		ck_assert(!overlaps(&a, end, end + 8 * block));
		a = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = block, .goal = end });
		ck_assert(!overlaps(&a, end, end + 8 * block));
	}
	a = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 8 * block, .goal = end, .owner = 7 });
	ck_assert_uint_eq(a.sector, end);
	ck_assert_uint_eq(a.got, 8 * block);
	fix_close(&f);
}
END_TEST

START_TEST(what_is_ahead_of_two_files_does_not_overlap)
{
	struct op_arg a[2];
	struct fix f;
	u64 end;

	fix_open(&f, 65536, 4096, 1);
	end = grown(&f, 1, 4, 32);
	a[0] = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 4, .goal = end + 32 });
	ck_assert_uint_eq(a[0].sector, end + 32);
	a[1] = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 4, .goal = end + 36, .owner = 2,
					 .ahead = 32 });
	/* The first one moves on until it reaches them, and asks for more than there is. */
	for (u32 i = 0; i < 8; i++)
		a[0] = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 4, .goal = end + i * 4,
						 .owner = 1, .ahead = 64 });
	ck_assert_uint_eq(a[0].sector, end + 28);
	a[1] = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 32, .goal = end + 40, .owner = 2 });
	ck_assert_uint_eq(a[1].sector, end + 40);
	ck_assert_uint_eq(a[1].got, 32);
	fix_close(&f);
}
END_TEST

START_TEST(a_file_that_must_move_on_goes_where_there_is_room_ahead)
{
	struct op_arg a[40], b;
	struct fix f;

	fix_open(&f, 65536, 4096, 1);
	for (u32 i = 0; i < ARRAY_LEN(a); i++)
		a[i] = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 4 });
	for (u32 i = 1; i < ARRAY_LEN(a); i += 2)
		ck_assert_int_eq(do_free(&f, a[i].sector, 4), 0);
	jnl_commit(f.jnl, 0);
	b = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 1, .goal = a[0].sector + 2, .owner = 7,
				      .ahead = 16 });
	ck_assert_uint_ge(b.sector, a[ARRAY_LEN(a) - 1].sector);
	ck_assert_uint_eq(b.got, 1);
	/* Who asks for none fills the holes. */
	b = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 1, .goal = a[0].sector + 2 });
	ck_assert_uint_eq(b.sector, a[1].sector);
	fix_close(&f);
}
END_TEST

/* Behind the goal lie nr holes, then all that is free. Does a file find the latter? */
static bool passes_over(u32 nr)
{
	struct op_arg a, last;
	struct fix f;
	u64 first;

	fix_open(&f, 65536, 4096, 1);
	first = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 2 * nr + 1 }).sector;
	last = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 1 });
	for (u32 i = 0; i < nr; i++)
		ck_assert_int_eq(do_free(&f, first + 2 * i + 1, 1), 0);
	jnl_commit(f.jnl, 0);
	a = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 1, .goal = first, .owner = 7,
				      .ahead = 16 });
	fix_close(&f);
	return a.sector > last.sector;
}

START_TEST(room_ahead_is_looked_for_in_so_many_places_and_no_more)
{
	ck_assert(passes_over(100));
	ck_assert(!passes_over(1000));
}
END_TEST

START_TEST(what_is_ahead_is_given_when_there_is_nothing_else)
{
	u64 rnd = fix_seed();
	struct model m;
	struct fix f;
	u64 end;

	fix_open(&f, 65536, block_sizes[_i], rnd);
	model_init(&m, &f.geo);
	for (u64 owner = 1; owner < 10; owner++) {
		end = grown(&f, owner, f.geo.block_sectors, 1024);
		model_add(&m, end - 2 * f.geo.block_sectors, 2 * f.geo.block_sectors, false);
	}
	fill_disk(&f, &rnd, &m);
	model_compare(&f, &m);
	model_fini(&m);
	fix_close(&f);
}
END_TEST

START_TEST(what_was_ahead_of_a_file_that_is_closed_is_used_next)
{
	struct op_arg a;
	struct fix f;
	u64 end;

	fix_open(&f, 65536, 4096, 1);
	end = grown(&f, 7, 4, 32);
	space_ahead_drop(f.sp, 8);
	a = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 4, .goal = end });
	ck_assert_uint_ne(a.sector, end);
	space_ahead_drop(f.sp, 7);
	a = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 4, .goal = end });
	ck_assert_uint_eq(a.sector, end);
	fix_close(&f);
}
END_TEST

START_TEST(of_many_files_those_that_grew_last_have_space_ahead)
{
	u64 end[SPACE_AHEAD_MAX + 1];
	struct op_arg a;
	struct fix f;

	fix_open(&f, 65536, 4096, 1);
	for (u64 i = 0; i <= SPACE_AHEAD_MAX; i++)
		end[i] = grown(&f, 100 + i, 4, 32);
	a = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 4, .goal = end[0] });
	ck_assert_uint_eq(a.sector, end[0]);
	for (u64 i = 1; i <= SPACE_AHEAD_MAX; i++) {
		a = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 4, .goal = end[i] });
		ck_assert_uint_ne(a.sector, end[i]);
	}
	fix_close(&f);
}
END_TEST

START_TEST(a_handle_that_comes_to_nothing_keeps_nothing)
{
	struct op_arg a, b;
	struct fix f;

	fix_open(&f, 65536, 4096, 1);
	a = take(&f, (struct op_arg){ .op = OP_ALLOC, .nr = 4 });
	b = (struct op_arg){ .op = OP_ALLOC, .nr = 4, .goal = a.sector + 4, .owner = 7, .ahead = 32,
			     .then = -EEXIST };
	ck_assert_int_eq(do_op(&f, &b), -EEXIST);
	ck_assert(!space_ahead_any(f.sp));
	fix_close(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("space ahead");

	EACH_SIZE(s, what_is_ahead_of_a_file_is_left_to_it, 60);
	check_add(s, what_is_ahead_of_two_files_does_not_overlap);
	check_add(s, a_file_that_must_move_on_goes_where_there_is_room_ahead);
	check_add(s, room_ahead_is_looked_for_in_so_many_places_and_no_more);
	EACH_SIZE(s, what_is_ahead_is_given_when_there_is_nothing_else, 60);
	check_add(s, what_was_ahead_of_a_file_that_is_closed_is_used_next);
	check_add(s, of_many_files_those_that_grew_last_have_space_ahead);
	check_add(s, a_handle_that_comes_to_nothing_keeps_nothing);
	return check_main(s);
}
