/*
 * The B+trees: every operation against a sorted array, with buffers that are missing at every
 * touch, handles that come to nothing, nodes that are damaged. SEED=n repeats a run.
 */
#include "check_main.h"
#include "space_test.h"

#define T FMT_TREE_XATTR

/* ---- the model ---- */

struct item {
	struct fmt_key k;
	u32 len;
	u32 seed;                /* of the value's bytes */
};

struct model {
	struct item *item;
	u32 nr, max;
};

static u32 model_lower(const struct model *m, struct fmt_key k)
{
	u32 lo = 0, hi = m->nr;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (fmt_key_cmp(m->item[mid].k, k) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct item *model_find(const struct model *m, struct fmt_key k)
{
	u32 i = model_lower(m, k);

	return i < m->nr && fmt_key_cmp(m->item[i].k, k) == 0 ? &m->item[i] : NULL;
}

static void model_set(struct model *m, struct item it)
{
	u32 i = model_lower(m, it.k);

	if (i < m->nr && fmt_key_cmp(m->item[i].k, it.k) == 0) {
		m->item[i] = it;
		return;
	}
	if (m->nr == m->max) {
		m->max = m->max ? m->max * 2 : 64;
		m->item = realloc(m->item, m->max * sizeof(it));
	}
	memmove(&m->item[i + 1], &m->item[i], (m->nr - i) * sizeof(it));
	m->item[i] = it;
	m->nr++;
}

static void model_remove(struct model *m, struct fmt_key k)
{
	u32 i = model_lower(m, k);

	memmove(&m->item[i], &m->item[i + 1], (m->nr - i - 1) * sizeof(*m->item));
	m->nr--;
}

static void value_fill(u8 *val, u32 len, u32 seed)
{
	for (u32 i = 0; i < len; i++)
		val[i] = (u8)((seed + i) * 2654435761u >> 24);
}

static void value_check(const void *val, u32 len, const struct item *it)
{
	u8 want[FMT_VALUE_MAX];

	ck_assert_uint_eq(len, it->len);
	value_fill(want, it->len, it->seed);
	ck_assert(len == 0 || memcmp(val, want, len) == 0);
}

/* ---- operations in handles ---- */

enum op { OP_INSERT, OP_SET, OP_REMOVE, OP_PATCH };

struct op_arg {
	enum op op;
	enum fmt_tree t;
	struct fmt_key k;
	u32 len, seed, off;
	int then;                /* the body returns this after it has done its work */
};

static int op_body(struct view *v, void *p)
{
	struct op_arg *a = p;
	u8 val[FMT_VALUE_MAX];
	int r;

	value_fill(val, a->len, a->seed);
	switch (a->op) {
	case OP_INSERT:
		r = btree_insert(v, a->t, a->k, val, a->len);
		break;
	case OP_SET:
		r = btree_set(v, a->t, a->k, val, a->len);
		break;
	case OP_REMOVE:
		r = btree_remove(v, a->t, a->k);
		break;
	default:
		r = btree_patch(v, a->t, a->k, a->off, val, a->len);
		break;
	}
	return r ? r : a->then;
}

static int do_op(struct fix *f, struct op_arg a)
{
	return jnl_run(f->jnl, BTREE_CREDITS, op_body, &a, NULL);
}

static int put(struct fix *f, enum fmt_tree t, u64 a, u64 b, u32 len)
{
	return do_op(f, (struct op_arg){ OP_INSERT, t, { a, b }, len, (u32)(a * 31 + b), 0, 0 });
}

static void take(struct fix *f, enum fmt_tree t, u64 a, u64 b)
{
	struct op_arg op = { .op = OP_REMOVE, .t = t, .k = { a, b } };

	ck_assert_int_eq(do_op(f, op), 0);
}

struct shape_arg {
	enum fmt_tree t;
	struct btree_shape shape;
};

static int shape_body(struct view *v, void *p)
{
	struct shape_arg *a = p;

	return btree_check(v, a->t, &a->shape);
}

static struct btree_shape shape_of(struct fix *f, enum fmt_tree t)
{
	struct shape_arg a = { .t = t };

	ck_assert_int_eq(jnl_read(f->jnl, shape_body, &a), 0);
	return a.shape;
}

/* ---- comparing ---- */

struct probe {
	const struct model *m;
	struct fmt_key k;
};

static int probe_body(struct view *v, void *p)
{
	const struct probe *pr = p;
	u32 at = model_lower(pr->m, pr->k);
	struct fmt_key k = pr->k;
	const void *val;
	u32 len;
	bool here = at < pr->m->nr && fmt_key_cmp(pr->m->item[at].k, k) == 0;
	int r = btree_get(v, T, k, &val, &len);

	if (r == -EAGAIN)
		return r;
	ck_assert_int_eq(r, here ? 0 : -ENOENT);
	if (here)
		value_check(val, len, &pr->m->item[at]);
	r = btree_next(v, T, &k, &val, &len);
	if (r == -EAGAIN)
		return r;
	ck_assert_int_eq(r, at < pr->m->nr ? 0 : -ENOENT);
	if (r == 0) {
		ck_assert(fmt_key_cmp(k, pr->m->item[at].k) == 0);
		value_check(val, len, &pr->m->item[at]);
	}
	k = pr->k;
	r = btree_prev(v, T, &k, &val, &len);
	if (r == -EAGAIN)
		return r;
	ck_assert_int_eq(r, at > 0 || here ? 0 : -ENOENT);
	if (r == 0) {
		ck_assert(fmt_key_cmp(k, pr->m->item[here ? at : at - 1].k) == 0);
		value_check(val, len, &pr->m->item[here ? at : at - 1]);
	}
	return 0;
}

static int walk_body(struct view *v, void *p)
{
	const struct model *m = p;
	struct fmt_key k = { 0, 0 };
	u32 i = 0;

	for (;; i++) {
		const void *val;
		u32 len;
		int r = btree_next(v, T, &k, &val, &len);

		if (r == -EAGAIN)
			return r;
		if (r == -ENOENT)
			break;
		ck_assert_int_eq(r, 0);
		ck_assert_uint_lt(i, m->nr);
		ck_assert(fmt_key_cmp(k, m->item[i].k) == 0);
		value_check(val, len, &m->item[i]);
		if (++k.b == 0 && ++k.a == 0) {
			i++;
			break;
		}
	}
	ck_assert_uint_eq(i, m->nr);
	return 0;
}

static void compare_all(struct fix *f, const struct model *m)
{
	const struct fmt_root *root = fake_buf(f->jnl, f->geo.root_sector);
	struct btree_shape s = shape_of(f, T);

	ck_assert_int_eq(jnl_read(f->jnl, walk_body, (void *)m), 0);
	ck_assert_uint_eq(s.items, m->nr);
	ck_assert_uint_eq(s.nodes * NODE_SECTORS, get64(root->node_sectors_used));
	fix_check_counters(f);
}

/* ---- random operations ---- */

static u32 roll_len(u64 *rnd)
{
	static const u32 most[] = { 0, 16, 16, 200, 200, 1000, FMT_VALUE_MAX };
	u32 len = most[fix_roll(rnd, ARRAY_LEN(most))];

	return fix_roll(rnd, 8) ? fix_roll(rnd, len + 1) : len;
}

static struct op_arg roll_op(u64 *rnd, bool grow)
{
	static const enum op growing[] = {
		OP_INSERT, OP_INSERT, OP_SET, OP_SET, OP_REMOVE, OP_PATCH,
	};
	static const enum op shrinking[] = { OP_INSERT, OP_SET, OP_REMOVE, OP_REMOVE, OP_REMOVE };
	struct op_arg a = { .t = T };

	a.op = grow ? growing[fix_roll(rnd, ARRAY_LEN(growing))]
		    : shrinking[fix_roll(rnd, ARRAY_LEN(shrinking))];
	a.k.a = fix_roll(rnd, 20);
	a.k.b = fix_roll(rnd, 500);
	/* The ends of the key space too. */
	if (fix_roll(rnd, 50) == 0)
		a.k.a = a.k.b = fix_roll(rnd, 2) ? UINT64_MAX : 0;
	a.len = roll_len(rnd);
	a.seed = fix_roll(rnd, UINT32_MAX);
	if (fix_roll(rnd, 20) == 0)
		a.then = -ENOSPC;
	return a;
}

static int expected(const struct model *m, const struct op_arg *a)
{
	const struct item *it = model_find(m, a->k);

	if (a->op == OP_INSERT && it)
		return -EEXIST;
	if ((a->op == OP_REMOVE || a->op == OP_PATCH) && !it)
		return -ENOENT;
	return a->then;
}

/* The model knows values by seed, so a patch replaces the whole value by that of another seed. */
static void step(struct fix *f, struct model *m, struct op_arg a)
{
	const struct item *it = model_find(m, a.k);
	bool changes;
	int want;

	if (a.op == OP_PATCH && it)
		a.len = it->len;
	want = expected(m, &a);
	changes = want == 0;
	ck_assert_int_eq(do_op(f, a), want);
	if (!changes)
		return;
	if (a.op == OP_REMOVE)
		model_remove(m, a.k);
	else
		model_set(m, (struct item){ a.k, a.len, a.seed });
}

static void random_run(u32 nr_ops, unsigned missing, u32 block_bytes)
{
	u64 rnd = fix_seed();
	struct model m = { 0 };
	struct fix f;

	fix_open(&f, 65536, block_bytes, rnd);
	fake_set_missing(f.jnl, missing);
	for (u32 i = 0; i < nr_ops; i++) {
		struct op_arg a = roll_op(&rnd, i / 8000 % 2 == 0);
		struct probe pr = { &m, a.k };

		step(&f, &m, a);
		ck_assert_int_eq(jnl_read(f.jnl, probe_body, &pr), 0);
		if (i % 16 == 0)
			jnl_commit(f.jnl, 0);
		if (i % 5000 == 0)
			compare_all(&f, &m);
	}
	compare_all(&f, &m);
	if (missing)
		ck_assert_uint_gt(fake_runs_again(f.jnl), nr_ops);
	while (m.nr > 0)
		step(&f, &m, (struct op_arg){ OP_REMOVE, T, m.item[m.nr / 2].k, 0, 0, 0, 0 });
	compare_all(&f, &m);
	/* The last leaf stays. */
	ck_assert_uint_eq(shape_of(&f, T).nodes, 1);
	free(m.item);
	fix_close(&f);
}

START_TEST(a_tree_does_what_a_sorted_array_does)
{
	random_run(100000, 0, 4096);
}
END_TEST

START_TEST(missing_buffers_change_nothing_but_the_number_of_runs)
{
	random_run(20000, 30, 65536);
}
END_TEST

/* ---- shape ---- */

static u32 fill_percent(struct btree_shape s)
{
	return (u32)(s.bytes * 100 / (s.nodes * (NODE_SIZE - sizeof(struct fmt_node))));
}

START_TEST(ascending_inserts_fill_nodes_to_95_percent)
{
	struct fix f;
	struct btree_shape s;

	fix_open(&f, 65536, 4096, 1);
	for (u64 i = 0; i < 100000; i++)
		ck_assert_int_eq(put(&f, T, 7, i, 16), 0);
	s = shape_of(&f, T);
	ck_assert_uint_eq(s.items, 100000);
	ck_assert_uint_ge(fill_percent(s), 95);
	fix_close(&f);
}
END_TEST

START_TEST(files_that_grow_in_turn_fill_their_nodes_too)
{
	struct fix f;

	fix_open(&f, 65536, 4096, 1);
	for (u64 i = 0; i < 20000; i++)
		for (u64 file = 0; file < 4; file++)
			ck_assert_int_eq(put(&f, T, file, i, 16), 0);
	ck_assert_uint_ge(fill_percent(shape_of(&f, T)), 90);
	fix_close(&f);
}
END_TEST

START_TEST(removal_keeps_nodes_a_third_full)
{
	u64 rnd = 99;
	struct fix f;
	struct btree_shape s;

	fix_open(&f, 65536, 4096, 1);
	for (u64 i = 0; i < 50000; i++)
		ck_assert_int_eq(put(&f, T, 7, i, 16), 0);
	for (u64 i = 0; i < 50000; i++)
		if (fix_roll(&rnd, 10) != 0)
			take(&f, T, 7, i);
	jnl_commit(f.jnl, 0);
	s = shape_of(&f, T);
	ck_assert_uint_ge(fill_percent(s), 33);
	ck_assert_uint_le(s.height, 2);
	fix_close(&f);
}
END_TEST

/* Long values make a high tree of few items: interior nodes split and merge. */
START_TEST(a_tree_of_three_levels_grows_and_shrinks_in_any_order)
{
	u64 rnd = fix_seed();
	struct model m = { 0 };
	struct fix f;

	fix_open(&f, 65536, 4096, rnd);
	for (u32 i = 0; i < 9000; i++)
		step(&f, &m, (struct op_arg){ .op = OP_SET, .t = T, .len = 3900,
			.k = { fix_roll(&rnd, 100), fix_roll(&rnd, 1000) }, .seed = i });
	ck_assert_uint_ge(shape_of(&f, T).height, 3);
	compare_all(&f, &m);
	while (m.nr > 0) {
		u32 at = fix_roll(&rnd, m.nr);
		/* Stretches too, so that whole leaves go. */
		u32 nr = MIN(fix_roll(&rnd, 3) ? 1u : 40u, m.nr - at);

		while (nr-- > 0)
			step(&f, &m, (struct op_arg){ .op = OP_REMOVE, .t = T, .k = m.item[at].k });
		jnl_commit(f.jnl, 0);
		if (fix_roll(&rnd, 50) == 0)
			compare_all(&f, &m);
	}
	ck_assert_uint_eq(shape_of(&f, T).height, 1);
	free(m.item);
	fix_close(&f);
}
END_TEST

START_TEST(a_tree_that_becomes_empty_keeps_its_leaf_for_what_comes_next)
{
	struct fmt_root *root;
	struct fix f;
	u64 leaf;

	fix_open(&f, 65536, 4096, 1);
	ck_assert_int_eq(put(&f, T, 1, 1, 100), 0);
	root = fake_buf(f.jnl, f.geo.root_sector);
	leaf = get64(root->tree[T].root);
	for (u64 i = 2; i < 50; i++) {
		take(&f, T, 1, i - 1);
		ck_assert_uint_eq(shape_of(&f, T).items, 0);
		ck_assert_uint_eq(shape_of(&f, T).nodes, 1);
		ck_assert_int_eq(put(&f, T, 1, i, 100), 0);
		root = fake_buf(f.jnl, f.geo.root_sector);
		ck_assert_uint_eq(get64(root->tree[T].root), leaf);
	}
	fix_close(&f);
}
END_TEST

START_TEST(an_empty_leaf_beside_others_is_an_error)
{
	struct shape_arg a = { .t = T };
	struct fmt_node *n;
	struct fmt_root *root;
	struct fix f;

	fix_open(&f, 65536, 4096, 1);
	for (u64 i = 0; i < 3000; i++)
		put(&f, T, 1, i, 100);
	root = fake_buf(f.jnl, f.geo.root_sector);
	n = fake_buf(f.jnl, get64(root->tree[T].root));
	n = fake_buf(f.jnl, get64(n->child[1].child));
	n->nr = put16(0);
	ck_assert_int_eq(jnl_read(f.jnl, shape_body, &a), -EUCLEAN);
	fix_close(&f);
}
END_TEST

START_TEST(trees_do_not_see_each_other)
{
	struct fix f;

	fix_open(&f, 65536, 4096, 1);
	for (u64 i = 0; i < 1000; i++)
		for (u32 t = 0; t < FMT_NR_TREES; t++)
			ck_assert_int_eq(put(&f, t, t, i, 100), 0);
	for (u32 t = 0; t < FMT_NR_TREES; t++)
		ck_assert_uint_eq(shape_of(&f, t).items, 1000);
	fix_close(&f);
}
END_TEST

START_TEST(a_value_longer_than_the_limit_is_refused)
{
	struct fix f;
	struct op_arg a = { OP_INSERT, T, { 1, 1 }, FMT_VALUE_MAX, 5, 0, 0 };

	fix_open(&f, 65536, 4096, 1);
	ck_assert_int_eq(do_op(&f, a), 0);
	a = (struct op_arg){ OP_PATCH, T, { 1, 1 }, 1, 5, FMT_VALUE_MAX, 0 };
	ck_assert_int_eq(do_op(&f, a), -EINVAL);
	a.off = FMT_VALUE_MAX - 1;
	ck_assert_int_eq(do_op(&f, a), 0);
	fix_close(&f);
}
END_TEST

/* ---- a full disk ---- */

struct many_arg {
	u64 first;
	u32 nr;
};

static int insert_many_body(struct view *v, void *p)
{
	const struct many_arg *a = p;
	u8 val[FMT_VALUE_MAX] = { 0 };

	for (u32 i = 0; i < a->nr; i++) {
		int r = btree_insert(v, T, (struct fmt_key){ 3, a->first + i }, val, sizeof(val));

		if (r)
			return r;
	}
	return 0;
}

START_TEST(a_handle_that_runs_out_of_space_changes_nothing)
{
	struct many_arg a = { 0, 12 };
	struct fix f;
	u64 before;
	int r;

	fix_open(&f, 2048, 4096, 1);
	do {
		before = fake_hash(f.jnl);
		r = jnl_run(f.jnl, JNL_CREDITS_MAX, insert_many_body, &a, NULL);
		a.first += a.nr;
	} while (r == 0);
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_eq(before, fake_hash(f.jnl));
	fix_check_counters(&f);
	ck_assert_uint_eq(shape_of(&f, T).items, a.first - a.nr);
	fix_close(&f);
}
END_TEST

/* ---- damage ---- */

static int any_body(struct view *v, void *p)
{
	u64 *rnd = p;
	u64 local = *rnd;
	struct op_arg a = roll_op(&local, true);
	struct fmt_key k = a.k;
	const void *val;
	u32 len;
	int r = btree_next(v, T, &k, &val, &len);

	if (r == -EAGAIN)
		return r;
	k = a.k;
	r = btree_prev(v, T, &k, &val, &len);
	if (r == -EAGAIN)
		return r;
	a.then = 0;
	return op_body(v, &a);
}

static u64 some_node(struct fix *f, u64 *rnd)
{
	const struct fmt_root *root = fake_buf(f->jnl, f->geo.root_sector);
	u64 addr = get64(root->tree[T].root);

	while (fix_roll(rnd, 3) != 0) {
		const struct fmt_node *n = fake_buf(f->jnl, addr);

		if (!n || get16(n->level) == 0 || get16(n->nr) == 0 ||
		    get16(n->nr) > FMT_NODE_SLOTS_MAX)
			break;
		addr = get64(n->child[fix_roll(rnd, get16(n->nr))].child);
		if (!fake_buf(f->jnl, addr))
			break;
	}
	return fake_buf(f->jnl, addr) ? addr : get64(root->tree[T].root);
}

/* Errors are fine, and so is luck; ASan and the test's time limit say what is not. */
START_TEST(damaged_nodes_give_errors_never_faults)
{
	u64 rnd = fix_seed();

	for (u32 round = 0; round < 60; round++) {
		struct fix f;

		fix_open(&f, 65536, 4096, rnd);
		for (u64 i = 0; i < 3000; i++)
			put(&f, T, i % 20, i / 20, fix_roll(&rnd, 300));
		for (u32 i = 0; i < 300; i++) {
			u8 *node = fake_buf(f.jnl, some_node(&f, &rnd));
			u32 at = fix_roll(&rnd, fix_roll(&rnd, 2) ? 128 : NODE_SIZE);
			int r;

			if (i % 10 == 0)
				node[at] = (u8)fix_roll(&rnd, 256);
			fix_roll(&rnd, 2);
			r = jnl_run(f.jnl, JNL_CREDITS_MAX, any_body, &rnd, NULL);
			ck_assert(r == 0 || r == -EUCLEAN || r == -EEXIST || r == -ENOENT ||
				  r == -EINVAL || r == -ENOSPC);
		}
		fix_close(&f);
	}
}
END_TEST

START_TEST(a_loop_of_nodes_is_an_error)
{
	struct fmt_node *n;
	struct fmt_root *root;
	struct shape_arg a = { .t = T };
	struct fix f;

	fix_open(&f, 65536, 4096, 1);
	for (u64 i = 0; i < 3000; i++)
		put(&f, T, 1, i, 100);
	root = fake_buf(f.jnl, f.geo.root_sector);
	n = fake_buf(f.jnl, get64(root->tree[T].root));
	ck_assert_uint_gt(get16(n->level), 0);
	n->child[1].child = n->hdr.addr;
	ck_assert_int_eq(put(&f, T, 1, get64(n->child[1].b), 1), -EUCLEAN);
	ck_assert_int_eq(jnl_read(f.jnl, shape_body, &a), -EUCLEAN);
	fix_close(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("btree");

	check_add_slow(s, a_tree_does_what_a_sorted_array_does, 120);
	check_add_slow(s, missing_buffers_change_nothing_but_the_number_of_runs, 120);
	check_add(s, ascending_inserts_fill_nodes_to_95_percent);
	check_add(s, files_that_grow_in_turn_fill_their_nodes_too);
	check_add(s, removal_keeps_nodes_a_third_full);
	check_add_slow(s, a_tree_of_three_levels_grows_and_shrinks_in_any_order, 120);
	check_add(s, a_tree_that_becomes_empty_keeps_its_leaf_for_what_comes_next);
	check_add(s, an_empty_leaf_beside_others_is_an_error);
	check_add(s, trees_do_not_see_each_other);
	check_add(s, a_value_longer_than_the_limit_is_refused);
	check_add(s, a_handle_that_runs_out_of_space_changes_nothing);
	check_add_slow(s, damaged_nodes_give_errors_never_faults, 120);
	check_add(s, a_loop_of_nodes_is_an_error);
	return check_main(s);
}
