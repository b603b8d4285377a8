/*
 * Free space and the sector map: every allocation against a bit for each sector, at three block
 * sizes, with buffers that are missing and handles that come to nothing. SEED=n repeats a run.
 */
#include "check_main.h"
#include "space_model.h"

#define GIB_SECTORS 262144u


/* ---- random allocation and freeing ---- */

static void random_alloc(struct fix *f, struct model *m, u64 *rnd)
{
	u32 block = f->geo.block_sectors;
	struct op_arg a = { .op = OP_ALLOC };
	int r;

	a.nr = block * (1 + fix_roll(rnd, fix_roll(rnd, 4) ? 16 : 4096 / block + 1));
	if (fix_roll(rnd, 2))
		a.nr = 1 + fix_roll(rnd, block);
	a.min = fix_roll(rnd, 4) ? 1 : MIN(a.nr, block * 3);
	a.parts = fix_roll(rnd, 2);
	a.flag = fix_roll(rnd, 2);
	if (m->nr > 0 && fix_roll(rnd, 2)) {
		const struct ext *e = &m->ext[fix_roll(rnd, m->nr)];

		a.goal = e->sector + e->nr;
	}
	if (fix_roll(rnd, 10) == 0)
		a.then = -EEXIST;
	if (a.flag && space_reserve(f->sp, a.nr) != 0)
		return;
	r = do_op(f, &a);
	if (a.flag)
		space_unreserve(f->sp, r == 0 ? a.nr - a.got : a.nr);
	ck_assert(r == a.then || r == -ENOSPC);
	if (r)
		return;
	check_shape(f, &a);
	ck_assert(!fake_is_busy(f->jnl, a.sector, a.got));
	for (u32 i = 0; i < a.got; i++)
		if (fix_map_entry(f, a.sector + i) != 0)
			ck_abort_msg("map entry of new sector %u", i);
	model_add(m, a.sector, a.got, false);
	if (fix_roll(rnd, 2)) {
		a = (struct op_arg){ .op = OP_MAP, .goal = a.sector, .nr = a.got, .value = 1 };
		ck_assert_int_eq(do_op(f, &a), 0);
	}
}

static void random_node(struct fix *f, struct model *m, u64 *rnd)
{
	struct op_arg a = { .op = OP_NODE, .flag = fix_roll(rnd, 2) };
	int r;

	if (fix_roll(rnd, 10) == 0)
		a.then = -EEXIST;
	r = do_op(f, &a);
	ck_assert(r == a.then || r == -ENOSPC);
	if (r)
		return;
	ck_assert_uint_eq(a.sector % NODE_SECTORS, 0);
	ck_assert(!fake_is_busy(f->jnl, a.sector, NODE_SECTORS));
	model_add(m, a.sector, NODE_SECTORS, true);
}

/* All of an extent, or its end. */
static void random_free(struct fix *f, struct model *m, u64 *rnd)
{
	struct ext *e = &m->ext[fix_roll(rnd, m->nr)];
	u32 nr = e->nr;
	struct op_arg a = { .op = e->node ? OP_FREE_NODE : OP_FREE };

	if (!e->node && fix_roll(rnd, 3) == 0)
		nr = 1 + fix_roll(rnd, e->nr);
	a.goal = e->sector + e->nr - nr;
	a.nr = nr;
	if (fix_roll(rnd, 10) == 0)
		a.then = -EEXIST;
	ck_assert_int_eq(do_op(f, &a), a.then);
	if (a.then)
		return;
	ck_assert(fake_is_busy(f->jnl, a.goal, nr));
	bitmap_clear_range(m->used, a.goal, nr);
	e->nr -= nr;
	if (e->nr == 0)
		*e = m->ext[--m->nr];
}

static void random_run(u64 nr_sectors, u32 block_bytes, u32 nr_ops, unsigned missing)
{
	u64 rnd = fix_seed();
	struct model m;
	struct fix f;

	fix_open(&f, nr_sectors, block_bytes, rnd);
	model_init(&m, &f.geo);
	fake_set_missing(f.jnl, missing);
	for (u32 i = 0; i < nr_ops; i++) {
		/* Fill for a while, empty for a while. */
		u32 what = fix_roll(&rnd, i / (nr_ops / 8) % 2 ? 16 : 6);

		if (what < 2)
			random_node(&f, &m, &rnd);
		else if (what < 5)
			random_alloc(&f, &m, &rnd);
		else if (m.nr > 0)
			random_free(&f, &m, &rnd);
		if (fix_roll(&rnd, 20) == 0)
			jnl_commit(f.jnl, 0);
		if (i % (nr_ops / 10) == 0)
			model_compare(&f, &m);
	}
	while (m.nr > 0)
		random_free(&f, &m, &rnd);
	model_compare(&f, &m);
	model_fini(&m);
	fix_close(&f);
}

START_TEST(allocation_and_freeing_agree_with_a_model)
{
	random_run(65536, block_sizes[_i], 20000, 0);
}
END_TEST

START_TEST(they_agree_when_buffers_are_missing)
{
	random_run(8192 << _i, block_sizes[_i], 5000, 30);
}
END_TEST

START_TEST(they_agree_over_several_groups)
{
	random_run(2 * GIB_SECTORS + 5000, block_sizes[_i], 2000, 5);
}
END_TEST

/* ---- a full disk ---- */

START_TEST(what_was_reserved_can_be_allocated_with_nodes_in_between)
{
	u64 rnd = fix_seed(), node, left;
	struct model m;
	struct fix f;

	fix_open(&f, 65536, block_sizes[_i], rnd);
	model_init(&m, &f.geo);
	/* What is left over is less than a node. */
	left = available(&f) - (NODE_SECTORS - 1);
	ck_assert_uint_gt(left, 32768);
	ck_assert_int_eq(space_reserve(f.sp, left), 0);
	while (left > 0) {
		/* As many nodes as anybody likes: they must not take what is promised. */
		if (do_node(&f, true, &node) == 0)
			model_add(&m, node, NODE_SECTORS, true);
		left -= take_promised(&f, &m, left, &rnd);
	}
	ck_assert_uint_eq(available(&f), NODE_SECTORS - 1);
	model_compare(&f, &m);
	model_fini(&m);
	fix_close(&f);
}
END_TEST

/* Filled, emptied at random and filled again: all that is free is promised and found, each time. */
START_TEST(a_full_disk_that_was_emptied_in_part_can_be_filled_again)
{
	u64 rnd = fix_seed();
	struct model m;
	struct fix f;

	fix_open(&f, 32768, block_sizes[_i], rnd);
	model_init(&m, &f.geo);
	for (u32 round = 0; round < 6; round++) {
		fill_disk(&f, &rnd, &m);
		for (u32 i = m.nr / 2; i > 0; i--)
			random_free(&f, &m, &rnd);
		jnl_commit(f.jnl, 0);
	}
	while (m.nr > 0)
		random_free(&f, &m, &rnd);
	model_compare(&f, &m);
	model_fini(&m);
	fix_close(&f);
}
END_TEST

START_TEST(a_full_disk_has_nodes_left_for_what_frees)
{
	u64 rnd = fix_seed(), node;
	u32 shallow = 0, deep = 0;
	struct model m;
	struct fix f;

	fix_open(&f, 65536, block_sizes[_i], rnd);
	model_init(&m, &f.geo);
	fill_disk(&f, &rnd, &m);
	while (do_node(&f, false, &node) == 0) {
		model_add(&m, node, NODE_SECTORS, true);
		shallow++;
	}
	while (do_node(&f, true, &node) == 0) {
		model_add(&m, node, NODE_SECTORS, true);
		deep++;
	}
	ck_assert_uint_ge(deep, 32);
	ck_assert_uint_ge(shallow + deep, 64);
	model_compare(&f, &m);
	model_fini(&m);
	fix_close(&f);
}
END_TEST

static int tree_put(struct view *v, void *p)
{
	const struct fmt_key *k = p;
	u8 val[1000] = { 1 };

	return btree_insert(v, k->a == 0 ? FMT_TREE_EXTENT : FMT_TREE_INODE, *k, val, sizeof(val));
}

static int tree_take(struct view *v, void *p)
{
	const struct fmt_key *k = p;

	return btree_remove(v, k->a == 0 ? FMT_TREE_EXTENT : FMT_TREE_INODE, *k);
}

START_TEST(new_inodes_stop_before_what_writeback_needs)
{
	u64 rnd = fix_seed();
	struct fmt_key k = { 1, 0 }, e = { 0, 0 };
	struct model m;
	struct fix f;
	int r;

	fix_open(&f, 65536, block_sizes[_i], rnd);
	model_init(&m, &f.geo);
	fill_disk(&f, &rnd, &m);
	while ((r = jnl_run(f.jnl, BTREE_CREDITS, tree_put, &k, NULL)) == 0)
		k.b++;
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_gt(k.b, 0);
	/* Half the reserve is left to extents: 32 nodes of 15 such items. */
	for (; e.b < 400; e.b++)
		ck_assert_int_eq(jnl_run(f.jnl, BTREE_CREDITS, tree_put, &e, NULL), 0);
	while (k.b-- > 0)
		ck_assert_int_eq(jnl_run(f.jnl, BTREE_CREDITS, tree_take, &k, NULL), 0);
	fix_check_counters(&f);
	model_fini(&m);
	fix_close(&f);
}
END_TEST

START_TEST(busy_space_is_given_out_after_a_commit_only)
{
	u64 rnd = fix_seed();
	struct op_arg a = { .op = OP_ALLOC, .min = 1, .nr = 1, .flag = true };
	struct model m;
	struct fix f;

	fix_open(&f, 4096, 4096, rnd);
	model_init(&m, &f.geo);
	fill_disk(&f, &rnd, &m);
	ck_assert_int_eq(do_free(&f, m.ext[3].sector, m.ext[3].nr), 0);
	ck_assert_int_eq(space_reserve(f.sp, m.ext[3].nr), 0);
	ck_assert_int_eq(do_op(&f, &a), -ENOSPC);
	ck_assert_int_eq(space_run(f.jnl, SPACE_CREDITS_ALLOC, op_body, &a, NULL), 0);
	ck_assert_uint_ge(a.sector, m.ext[3].sector);
	ck_assert_uint_lt(a.sector, m.ext[3].sector + m.ext[3].nr);
	ck_assert_int_eq(space_retry_nospc(f.jnl), -ENOSPC);
	model_fini(&m);
	fix_close(&f);
}
END_TEST

START_TEST(without_a_reservation_only_what_is_not_promised_is_given)
{
	struct op_arg a = { .op = OP_ALLOC, .min = 16, .nr = 16 };
	struct fix f;

	fix_open(&f, 65536, 65536, 1);
	ck_assert_int_eq(space_reserve(f.sp, available(&f) - 16), 0);
	ck_assert_int_eq(do_op(&f, &a), 0);
	ck_assert_int_eq(do_op(&f, &a), -ENOSPC);
	ck_assert_int_eq(space_reserve(f.sp, 1), -ENOSPC);
	fix_close(&f);
}
END_TEST

/* ---- placement ---- */

START_TEST(nodes_pack_into_few_blocks)
{
	u32 block = (2u << 20) / SECTOR_SIZE, touched = 0;
	u64 node, last = 0;
	struct fix f;
	struct op_arg a = { .op = OP_ALLOC, .min = 512, .nr = 512 };

	fix_open(&f, 65536, 2u << 20, 1);
	for (u32 i = 0; i < 1000; i++) {
		ck_assert_int_eq(do_node(&f, false, &node), 0);
		touched += node / block != last;
		last = node / block;
		if (i % 10 == 0 && i < 400)
			ck_assert_int_eq(do_op(&f, &a), 0);
	}
	/* 128 nodes a block, and the beginning of the space */
	ck_assert_uint_le(touched, 1000 / 128 + 2);
	fix_close(&f);
}
END_TEST

START_TEST(a_freed_place_for_a_node_is_used_again)
{
	u64 node[300], again, highest = 0;
	struct fix f;

	fix_open(&f, 65536, 4096, 1);
	for (u32 i = 0; i < 300; i++) {
		ck_assert_int_eq(do_node(&f, false, &node[i]), 0);
		highest = MAX(highest, node[i]);
	}
	for (u32 round = 0; round < 50; round++) {
		struct op_arg a = { .op = OP_FREE_NODE, .goal = node[round] };

		ck_assert_int_eq(do_op(&f, &a), 0);
		/* While it is busy another one is taken; it must not be forgotten for that. */
		ck_assert_int_eq(do_node(&f, false, &again), 0);
		jnl_commit(f.jnl, 0);
	}
	for (u32 i = 0; i < 49; i++)
		ck_assert_int_eq(do_node(&f, false, &again), 0);
	ck_assert_uint_le(again, highest + 2 * NODE_SECTORS + 200);
	fix_close(&f);
}
END_TEST

START_TEST(an_allocation_continues_at_its_goal)
{
	struct op_arg a = { .op = OP_ALLOC, .min = 16, .nr = 160 };
	struct fix f;
	u64 end;

	fix_open(&f, 65536, 65536, 1);
	ck_assert_int_eq(do_op(&f, &a), 0);
	ck_assert_uint_eq(a.got, 160);
	for (u32 i = 0; i < 20; i++) {
		end = a.sector + a.got;
		a.goal = end;
		ck_assert_int_eq(do_op(&f, &a), 0);
		ck_assert_uint_eq(a.sector, end);
	}
	fix_close(&f);
}
END_TEST

START_TEST(a_run_longer_than_the_limit_comes_in_parts)
{
	struct op_arg a = { .op = OP_ALLOC, .min = 1, .nr = 200000 };
	struct fix f;

	fix_open(&f, GIB_SECTORS, 4096, 1);
	ck_assert_int_eq(do_op(&f, &a), 0);
	ck_assert_uint_eq(a.got, SPACE_ALLOC_MAX);
	ck_assert_int_eq(do_free(&f, a.sector, a.got), 0);
	fix_check_counters(&f);
	fix_close(&f);
}
END_TEST

/* ---- wrong calls and damage ---- */

START_TEST(freeing_twice_is_corruption_and_changes_nothing)
{
	struct op_arg a = { .op = OP_ALLOC, .min = 1, .nr = 10 };
	struct fix f;
	u64 before;

	fix_open(&f, 65536, 4096, 1);
	ck_assert_int_eq(do_op(&f, &a), 0);
	ck_assert_int_eq(do_free(&f, a.sector + 4, 1), 0);
	before = fake_hash(f.jnl);
	ck_assert_int_eq(do_free(&f, a.sector, 10), -EUCLEAN);
	ck_assert_int_eq(do_free(&f, fmt_space_start(&f.geo, 0) - 1, 4), -EUCLEAN);
	ck_assert_int_eq(do_free(&f, f.geo.nr_sectors - 1, 2), -EUCLEAN);
	ck_assert_int_eq(do_free(&f, UINT64_MAX - 1, 4), -EUCLEAN);
	ck_assert_uint_eq(before, fake_hash(f.jnl));
	fix_check_counters(&f);
	fix_close(&f);
}
END_TEST

START_TEST(a_free_counter_that_is_too_low_is_corruption)
{
	struct op_arg a = { .op = OP_ALLOC, .min = 10, .nr = 10, .flag = true };
	struct fix f;
	struct fmt_gtable *gt;

	fix_open(&f, 65536, 4096, 1);
	gt = fake_buf(f.jnl, f.geo.gtable_sector);
	gt->g[0].free = put32(5);
	ck_assert_int_eq(do_op(&f, &a), -EUCLEAN);
	fix_close(&f);
}
END_TEST

/* ---- sectors that are made when they are needed ---- */

static u32 nr_initialised(struct fix *f)
{
	u32 sum = 0;

	for (u32 g = 0; g < f->geo.nr_groups; g++) {
		sum += (u32)__builtin_popcountll(get64(fix_group(f, g)->bitmap_init));
		for (u32 i = 0; i < 5; i++)
			sum += (u32)__builtin_popcountll(get64(fix_group(f, g)->map_init[i]));
	}
	return sum;
}

START_TEST(bitmap_and_map_sectors_are_made_by_the_first_change)
{
	struct op_arg a = { .op = OP_ALLOC, .min = 1, .nr = 10 };
	struct op_arg m = { .op = OP_MAP, .nr = 10 };
	const struct fmt_bitmap *bm;
	struct fix f;

	fix_open(&f, 65536, 4096, 1);
	ck_assert_uint_eq(nr_initialised(&f), 0);
	ck_assert_int_eq(do_op(&f, &a), 0);
	ck_assert_uint_eq(nr_initialised(&f), 1);
	m.goal = a.sector;
	ck_assert_int_eq(do_op(&f, &m), 0);
	ck_assert_uint_eq(nr_initialised(&f), 1);
	m.value = FMT_MAP_NOCSUM;
	ck_assert_int_eq(do_op(&f, &m), 0);
	ck_assert_uint_eq(nr_initialised(&f), 2);
	/* The group's own sectors and those beyond its end are in use in it. */
	bm = fake_buf(f.jnl, fmt_bitmap_sector(&f.geo, 0) + a.sector / FMT_BITS_PER_SECTOR);
	ck_assert(bm != NULL);
	if (a.sector < FMT_BITS_PER_SECTOR)
		for (u64 s = 0; s < fmt_space_start(&f.geo, 0); s++)
			ck_assert_uint_eq(get64(bm->bits[s / 64]) >> (s % 64) & 1, 1);
	ck_assert_int_eq(fmt_content_check(bm, FMT_KIND_BITMAP, &f.geo), 0);
	fix_close(&f);
}
END_TEST

/* ---- the sector map ---- */

START_TEST(map_entries_are_set_read_and_cleared_by_freeing)
{
	struct op_arg a = { .op = OP_ALLOC, .min = 3000, .nr = 3000 };
	struct op_arg m = { .op = OP_MAP, .nr = 2500, .value = FMT_MAP_NOCSUM };
	u32 e[3000];
	struct fix f;

	fix_open(&f, 65536, 4096, 7);
	fake_set_missing(f.jnl, 50);
	ck_assert_int_eq(do_op(&f, &a), 0);
	m.goal = a.sector + 100;
	ck_assert_int_eq(do_op(&f, &m), 0);
	m.goal = a.sector + 700;
	m.nr = 1;
	m.value = FMT_MAP_BAD;
	ck_assert_int_eq(do_op(&f, &m), 0);
	ck_assert_int_eq(space_map_read(f.sp, a.sector, 3000, e), 0);
	for (u32 i = 0; i < 3000; i++)
		ck_assert_uint_eq(e[i], i == 700 ? FMT_MAP_BAD : i >= 100 && i < 2600);
	ck_assert_int_eq(do_free(&f, a.sector, 3000), 0);
	ck_assert_int_eq(space_map_read(f.sp, a.sector, 3000, e), 0);
	for (u32 i = 0; i < 3000; i++)
		ck_assert_uint_eq(e[i], 0);
	fix_check_counters(&f);
	ck_assert_int_eq(space_map_read(f.sp, f.geo.nr_sectors - 1, 2, e), -EUCLEAN);
	fix_close(&f);
}
END_TEST

START_TEST(pending_sectors_read_as_written_until_the_map_says_so)
{
	struct op_arg a = { .op = OP_ALLOC, .min = 20, .nr = 20 };
	struct op_arg m = { .op = OP_MAP, .nr = 5, .value = FMT_MAP_BAD };
	u32 e[20], sums[10];
	struct fix f;

	for (u32 i = 0; i < 10; i++)
		sums[i] = 1000 + i;
	fix_open(&f, 65536, 4096, 1);
	ck_assert_int_eq(do_op(&f, &a), 0);
	ck_assert(!space_pending_any(f.sp, a.sector, 20));
	ck_assert_int_eq(space_pending_hold(f.sp, a.sector + 5, 10), 0);
	space_pending_set(f.sp, a.sector + 5, 10, sums);
	space_pending_drop(f.sp, a.sector + 5, 10);
	ck_assert(space_pending_any(f.sp, a.sector, 20));
	ck_assert(!space_pending_any(f.sp, a.sector, 5));
	m.goal = a.sector + 5;
	m.then = -EIO;
	ck_assert_int_eq(do_op(&f, &m), -EIO);
	ck_assert_int_eq(space_map_read(f.sp, a.sector, 20, e), 0);
	for (u32 i = 0; i < 20; i++)
		ck_assert_uint_eq(e[i], i >= 5 && i < 15 ? 995 + i : 0);
	m.then = 0;
	ck_assert_int_eq(do_op(&f, &m), 0);
	space_pending_clear(f.sp, a.sector + 14, 1);
	ck_assert_int_eq(space_map_read(f.sp, a.sector, 20, e), 0);
	for (u32 i = 0; i < 20; i++)
		ck_assert_uint_eq(e[i], i >= 5 && i < 10 ? FMT_MAP_BAD :
				  i >= 10 && i < 14 ? 995 + i : 0);
	/* Freed and given to somebody else, they are new. */
	ck_assert_int_eq(do_free(&f, a.sector, 20), 0);
	ck_assert_int_eq(space_map_read(f.sp, a.sector, 20, e), 0);
	for (u32 i = 0; i < 20; i++)
		ck_assert_uint_eq(e[i], 0);
	fix_close(&f);
}
END_TEST

static int twice_body(struct view *v, void *p)
{
	struct op_arg *a = p;
	u64 second;
	u32 got;
	int r = op_body(v, a);

	if (r == 0)
		r = alloc_in(v, a, &second, &got);
	if (r == 0)
		r = space_free(v, a->sp, second, got);
	if (r == 0)
		r = alloc_in(v, a, &a->goal, &got);
	ck_assert(r != 0 || a->goal != second);
	return r;
}

START_TEST(several_changes_in_one_handle_add_up)
{
	struct op_arg a = { .op = OP_ALLOC, .min = 16, .nr = 32, .flag = true };
	struct model m;
	struct fix f;

	fix_open(&f, 65536, 65536, 1);
	model_init(&m, &f.geo);
	fake_set_missing(f.jnl, 50);
	a.sp = f.sp;
	ck_assert_int_eq(space_reserve(f.sp, 96), 0);
	ck_assert_int_eq(jnl_run(f.jnl, 32, twice_body, &a, NULL), 0);
	ck_assert_uint_eq(reserved(&f), 0);
	model_add(&m, a.sector, 32, false);
	model_add(&m, a.goal, 32, false);
	model_compare(&f, &m);
	model_fini(&m);
	fix_close(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("space");

	EACH_SIZE(s, allocation_and_freeing_agree_with_a_model, 120);
	EACH_SIZE(s, they_agree_when_buffers_are_missing, 120);
	EACH_SIZE(s, they_agree_over_several_groups, 120);
	EACH_SIZE(s, what_was_reserved_can_be_allocated_with_nodes_in_between, 60);
	EACH_SIZE(s, a_full_disk_that_was_emptied_in_part_can_be_filled_again, 60);
	EACH_SIZE(s, a_full_disk_has_nodes_left_for_what_frees, 60);
	EACH_SIZE(s, new_inodes_stop_before_what_writeback_needs, 60);
	check_add(s, busy_space_is_given_out_after_a_commit_only);
	check_add(s, without_a_reservation_only_what_is_not_promised_is_given);
	check_add(s, nodes_pack_into_few_blocks);
	check_add(s, a_freed_place_for_a_node_is_used_again);
	check_add(s, an_allocation_continues_at_its_goal);
	check_add(s, a_run_longer_than_the_limit_comes_in_parts);
	check_add(s, freeing_twice_is_corruption_and_changes_nothing);
	check_add(s, a_free_counter_that_is_too_low_is_corruption);
	check_add(s, bitmap_and_map_sectors_are_made_by_the_first_change);
	check_add(s, map_entries_are_set_read_and_cleared_by_freeing);
	check_add(s, pending_sectors_read_as_written_until_the_map_says_so);
	check_add(s, several_changes_in_one_handle_add_up);
	return check_main(s);
}
