/*
 * Fragments: data of less than a block, in blocks that it shares with other data. SEED=n repeats a
 * run.
 */
#include "check_main.h"
#include "space_model.h"

#define BLOCK16 65536u           /* 16 sectors */

static struct op_arg take(struct fix *f, u64 goal, u32 nr)
{
	struct op_arg a = { .op = OP_ALLOC, .goal = goal, .nr = nr };

	ck_assert_int_eq(do_op(f, &a), 0);
	return a;
}

START_TEST(a_fragment_takes_just_its_sectors_of_one_block)
{
	struct op_arg a;
	struct fix f;
	s64 blocks;
	u64 before;

	fix_open(&f, 65536, block_sizes[_i], 1);
	before = available(&f);
	blocks = whole_blocks(&f);
	a = take(&f, 0, 3);
	ck_assert_uint_eq(a.got, 3);
	ck_assert_uint_eq(available(&f), before - 3);
	ck_assert_int_eq(whole_blocks(&f), blocks - (f.geo.block_sectors == 1 ? 3 : 1));
	ck_assert_int_eq(do_free(&f, a.sector, 1), 0);
	ck_assert_int_eq(do_free(&f, a.sector + 2, 1), 0);
	ck_assert_int_eq(do_free(&f, a.sector + 1, 1), 0);
	ck_assert_uint_eq(available(&f), before);
	ck_assert_int_eq(whole_blocks(&f), blocks);
	fix_close(&f);
}
END_TEST

START_TEST(fragments_lie_side_by_side_until_their_block_is_full)
{
	struct fix f;
	s64 blocks;
	u64 first, last;

	fix_open(&f, 65536, BLOCK16, 1);
	blocks = whole_blocks(&f);
	first = take(&f, 0, 3).sector;
	last = first;
	for (u32 i = 1; i < 5; i++) {
		u64 next = take(&f, 0, 3).sector;

		ck_assert_uint_eq(next, last + 3);
		last = next;
	}
	ck_assert_int_eq(whole_blocks(&f), blocks - 1);
	/* One sector is left: too little for this one, but not for the next. */
	ck_assert_uint_ne(take(&f, 0, 3).sector / 16, first / 16);
	ck_assert_uint_eq(take(&f, 0, 10).sector / 16, first / 16 + 1);
	ck_assert_uint_eq(take(&f, 0, 3).sector / 16, first / 16 + 1);
	ck_assert_int_eq(whole_blocks(&f), blocks - 2);
	ck_assert_uint_eq(take(&f, 0, 1).sector, first + 15);
	ck_assert_int_eq(whole_blocks(&f), blocks - 2);
	fix_close(&f);
}
END_TEST

START_TEST(a_fragment_continues_at_its_goal_as_far_as_its_block_goes)
{
	struct op_arg a, b;
	struct fix f;

	fix_open(&f, 65536, BLOCK16, 1);
	a = take(&f, 0, 5);
	b = take(&f, a.sector + 5, 4);
	ck_assert_uint_eq(b.sector, a.sector + 5);
	ck_assert_uint_eq(b.got, 4);
	b = take(&f, a.sector + 9, 12);
	ck_assert_uint_eq(b.sector, a.sector + 9);
	ck_assert_uint_eq(b.got, 7);
	/* The goal is the next block now: it stays whole, if another one is broken already. */
	a = take(&f, 0, 2);
	b = take(&f, b.sector + 7, 2);
	ck_assert_uint_eq(b.sector, a.sector + 2);
	fix_close(&f);
}
END_TEST

START_TEST(a_hole_between_fragments_is_filled_before_a_block_is_broken)
{
	struct op_arg a[8];
	struct fix f;
	s64 blocks;

	fix_open(&f, 65536, BLOCK16, 1);
	for (u32 i = 0; i < ARRAY_LEN(a); i++)
		a[i] = take(&f, 0, 4);
	blocks = whole_blocks(&f);
	ck_assert_int_eq(do_free(&f, a[1].sector, 4), 0);
	jnl_commit(f.jnl, 0);
	ck_assert_uint_eq(take(&f, 0, 3).sector, a[1].sector);
	ck_assert_uint_eq(take(&f, 0, 1).sector, a[1].sector + 3);
	ck_assert_int_eq(whole_blocks(&f), blocks);
	fix_close(&f);
}
END_TEST

START_TEST(fragments_and_nodes_fill_blocks_of_their_own)
{
	u64 blocks_of[2][64] = { 0 }, node;
	struct fix f;

	fix_open(&f, 65536, BLOCK16, 1);
	for (u32 i = 0; i < 64; i++) {
		ck_assert_int_eq(do_node(&f, false, &node), 0);
		blocks_of[0][i] = node / 16;
		blocks_of[1][i] = take(&f, 0, 1 + i % 7).sector / 16;
	}
	for (u32 i = 0; i < 64; i++)
		for (u32 k = 0; k < 64; k++)
			ck_assert_uint_ne(blocks_of[0][i], blocks_of[1][k]);
	fix_close(&f);
}
END_TEST

/* The first whole block at or behind `from` that some data has; it is free and not busy then. */
static u64 free_a_block(struct fix *f, const struct model *m, u64 from)
{
	u64 lowest = UINT64_MAX;

	for (u32 i = 0; i < m->nr; i++) {
		u64 at = ALIGN_UP(MAX(m->ext[i].sector, from), (u64)16);

		if (at + 16 <= m->ext[i].sector + m->ext[i].nr)
			lowest = MIN(lowest, at);
	}
	ck_assert_uint_ne(lowest, UINT64_MAX);
	ck_assert_int_eq(do_free(f, lowest, 16), 0);
	jnl_commit(f->jnl, 0);
	return lowest;
}

START_TEST(a_node_goes_to_the_block_of_fragments_when_there_is_no_other)
{
	u64 rnd = fix_seed(), low, high, node;
	struct model m;
	struct fix f;

	fix_open(&f, 65536, BLOCK16, rnd);
	model_init(&m, &f.geo);
	fill_disk(&f, &rnd, &m);
	low = free_a_block(&f, &m, 0);
	high = free_a_block(&f, &m, low + 16);
	ck_assert_uint_eq(take(&f, 0, 3).sector, low);
	for (u32 i = 0; i < 4; i++) {
		ck_assert_int_eq(do_node(&f, false, &node), 0);
		ck_assert_uint_eq(node, high + i * NODE_SECTORS);
	}
	ck_assert_int_eq(do_node(&f, false, &node), 0);
	ck_assert_uint_eq(node, low + 4);
	model_fini(&m);
	fix_close(&f);
}
END_TEST

START_TEST(the_longest_piece_is_given)
{
	static const u32 pieces[] = { 1, 4, 2, 7, 3, 5 };
	u64 rnd = fix_seed(), at = 0;
	struct model m;
	struct fix f;

	fix_open(&f, 65536, BLOCK16, rnd);
	model_init(&m, &f.geo);
	fill_disk(&f, &rnd, &m);
	for (u32 i = 0; i < ARRAY_LEN(pieces); i++) {
		at = free_a_block(&f, &m, at) + 16;
		take(&f, 0, 16 - pieces[i]);
	}
	for (u32 longest = 7; longest > 0; longest--) {
		struct op_arg a = { .op = OP_ALLOC, .nr = 32 };

		if (longest == 6)
			continue;
		ck_assert_int_eq(do_op(&f, &a), 0);
		ck_assert_uint_eq(a.got, longest);
	}
	ck_assert_uint_eq(available(&f), 0);
	model_fini(&m);
	fix_close(&f);
}
END_TEST

START_TEST(without_a_whole_block_pieces_are_given_one_that_is_busy_is_waited_for)
{
	struct op_arg a = { .op = OP_ALLOC, .nr = 32 }, one = { .op = OP_ALLOC, .nr = 3 };
	u64 rnd = fix_seed(), block;
	struct model m;
	struct fix f;

	fix_open(&f, 65536, BLOCK16, rnd);
	model_init(&m, &f.geo);
	fill_disk(&f, &rnd, &m);
	block = free_a_block(&f, &m, 40000);
	take(&f, 0, 16);
	/* A sector here and there. */
	for (u32 i = 0; i < m.nr; i += 10)
		if (m.ext[i].sector + m.ext[i].nr < block)
			ck_assert_int_eq(do_free(&f, m.ext[i].sector, 1), 0);
	jnl_commit(f.jnl, 0);
	ck_assert_int_eq(whole_blocks(&f), 0);
	ck_assert_int_eq(do_op(&f, &a), 0);
	ck_assert_uint_eq(a.got, 1);
	ck_assert_int_eq(do_op(&f, &one), 0);
	ck_assert_uint_eq(one.got, 1);
	one.min = 2;
	ck_assert_int_eq(do_op(&f, &one), -ENOSPC);
	one.min = 0;
	ck_assert_int_eq(do_free(&f, block, 16), 0);
	ck_assert_int_eq(do_op(&f, &a), -ENOSPC);
	ck_assert_int_eq(do_op(&f, &one), -ENOSPC);
	a.parts = one.parts = true;
	ck_assert_int_eq(do_op(&f, &a), 0);
	ck_assert_uint_eq(a.got, 1);
	ck_assert_int_eq(do_op(&f, &one), 0);
	ck_assert_uint_eq(one.got, 1);
	jnl_commit(f.jnl, 0);
	a.parts = false;
	ck_assert_int_eq(do_op(&f, &a), 0);
	ck_assert_uint_eq(a.sector, block);
	ck_assert_uint_eq(a.got, 16);
	model_fini(&m);
	fix_close(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fragments");

	EACH_SIZE(s, a_fragment_takes_just_its_sectors_of_one_block, 60);
	check_add(s, fragments_lie_side_by_side_until_their_block_is_full);
	check_add(s, a_fragment_continues_at_its_goal_as_far_as_its_block_goes);
	check_add(s, a_hole_between_fragments_is_filled_before_a_block_is_broken);
	check_add(s, fragments_and_nodes_fill_blocks_of_their_own);
	check_add(s, a_node_goes_to_the_block_of_fragments_when_there_is_no_other);
	check_add(s, the_longest_piece_is_given);
	check_add(s, without_a_whole_block_pieces_are_given_one_that_is_busy_is_waited_for);
	return check_main(s);
}
