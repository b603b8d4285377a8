/*
 * Trees and space on the real journal: a tree larger than the cache, on a RAM device, through
 * commits, checkpoints, unmounts and crashes. What test_btree.c shows on a fake journal must hold
 * here: after each reopening the tree has the items of the last commit. SEED=n repeats a run.
 */
#include "base/log.h"
#include "check_main.h"
#include "space_test.h"

#define T FMT_TREE_XATTR
#define KEYS 20000u
#define OPS_A_HANDLE 4u

struct item {
	s32 len;                 /* -1: not there */
	u32 seed;
};

struct rig {
	struct blk_dev *dev;
	struct fmt_geo geo;
	struct fs host;
	struct jnl *jnl;
	struct space *sp;
	u64 rnd;
	struct item *now;        /* published */
	struct item *safe;       /* at the last commit */
};

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	if (level <= LOG_LEVEL_WARN)
		fprintf(stderr, "%s\n", line);
}

static void rig_mount(struct rig *r)
{
	struct jnl_config cfg = { .dev = r->dev, .geo = &r->geo, .host = &r->host };

	ck_assert_int_eq(jnl_open(&cfg, &r->jnl, NULL), 0);
	ck_assert_int_eq(space_open(r->jnl, &r->geo, &r->sp), 0);
	r->host.space = r->sp;
}

static void rig_open(struct rig *r, const char *path, u32 block_bytes)
{
	struct cache_config cc = { .bytes = 16u << 20, .max_order = 0xff };
	struct fs_format_opts fo = { .block_bytes = block_bytes, .time = 1000000000 };

	memset(r, 0, sizeof(*r));
	log_set_sink(quiet, NULL);
	r->rnd = fix_seed();
	r->now = calloc(KEYS, sizeof(*r->now));
	r->safe = calloc(KEYS, sizeof(*r->safe));
	for (u32 i = 0; i < KEYS; i++)
		r->now[i].len = r->safe[i].len = -1;
	ck_assert_int_eq(cache_init(&cc), 0);
	ck_assert_int_eq(blk_open(path, BLK_RDWR, NULL, &r->dev), 0);
	ck_assert_int_eq(fs_format(r->dev, &fo, &r->geo), 0);
	rig_mount(r);
}

static void rig_unmount(struct rig *r, bool crash)
{
	r->host.space = NULL;
	space_close(r->sp);
	ck_assert_int_eq(jnl_close(r->jnl, crash), 0);
}

static void rig_close(struct rig *r)
{
	rig_unmount(r, false);
	blk_close(r->dev);
	cache_fini();
	free(r->now);
	free(r->safe);
}

/* Buffers are checked when they are read: the items pass as later chunks of extended attributes,
 * which may hold anything. */
static struct fmt_key key_of(u32 i)
{
	return (struct fmt_key){ 1 + i / 100, (u64)(1 + i % 100) << 16 | 1 };
}

static void value_fill(u8 *val, s32 len, u32 seed)
{
	for (s32 i = 0; i < len; i++)
		val[i] = (u8)((seed + (u32)i) * 2654435761u >> 24);
}

/* ---- changes ---- */

struct batch {
	u32 nr;
	u32 key[OPS_A_HANDLE];
	struct item to[OPS_A_HANDLE];
	int then;
};

static int batch_body(struct view *v, void *p)
{
	const struct batch *b = p;

	for (u32 i = 0; i < b->nr; i++) {
		u8 val[FMT_VALUE_MAX];
		int r;

		value_fill(val, b->to[i].len, b->to[i].seed);
		if (b->to[i].len < 0)
			r = btree_remove(v, T, key_of(b->key[i]));
		else
			r = btree_set(v, T, key_of(b->key[i]), val, (u32)b->to[i].len);
		if (r && r != -ENOENT)
			return r;
	}
	return b->then;
}

static void change(struct rig *r, bool grow)
{
	struct batch b = { .nr = 1 + fix_roll(&r->rnd, OPS_A_HANDLE) };
	int want, got;

	for (u32 i = 0; i < b.nr; i++) {
		u32 most = fix_roll(&r->rnd, 2) ? FMT_XATTR_CHUNK : 500;

		b.to[i].len = 1 + (s32)fix_roll(&r->rnd, most);
		b.key[i] = fix_roll(&r->rnd, KEYS);
		b.to[i].seed = fix_roll(&r->rnd, UINT32_MAX);
		if (fix_roll(&r->rnd, 8) < (grow ? 1u : 6u))
			b.to[i].len = -1;
	}
	want = b.then = fix_roll(&r->rnd, 20) ? 0 : -ECANCELED;
	got = space_run(r->jnl, OPS_A_HANDLE * BTREE_CREDITS, batch_body, &b, NULL);
	ck_assert_int_eq(got, want);
	for (u32 i = 0; i < b.nr && got == 0; i++)
		r->now[b.key[i]] = b.to[i];
}

/* ---- comparing ---- */

struct compare {
	const struct item *want;
	u32 from, nr;
};

static int compare_body(struct view *v, void *p)
{
	const struct compare *c = p;

	for (u32 i = c->from; i < c->from + c->nr; i++) {
		u8 want[FMT_VALUE_MAX];
		const void *val;
		u32 len;
		int r = btree_get(v, T, key_of(i), &val, &len);

		if (r && r != -ENOENT)
			return r;
		if ((r == 0) != (c->want[i].len >= 0) || (r == 0 && (s32)len != c->want[i].len))
			ck_abort_msg("item %u: %d, length %u instead of %d", i, r, len,
				     c->want[i].len);
		value_fill(want, c->want[i].len, c->want[i].seed);
		if (r == 0 && len > 0 && memcmp(want, val, len) != 0)
			ck_abort_msg("item %u: other bytes", i);
	}
	return 0;
}

static void compare_all(struct rig *r, const struct item *want)
{
	/* In pieces: what a run touches stays in memory until it ends, and not all fits. */
	for (u32 i = 0; i < KEYS; i += 100) {
		struct compare c = { want, i, 100 };

		ck_assert_int_eq(jnl_read(r->jnl, compare_body, &c), 0);
	}
}

static void commit(struct rig *r)
{
	ck_assert_int_eq(jnl_commit(r->jnl, jnl_newest_seq(r->jnl)), 0);
	memcpy(r->safe, r->now, KEYS * sizeof(*r->now));
}

static void remount(struct rig *r)
{
	struct space_counts before, after;

	space_counts(r->sp, &before);
	rig_unmount(r, false);
	rig_mount(r);
	space_counts(r->sp, &after);
	ck_assert_uint_eq(before.free, after.free);
	ck_assert_uint_eq(before.available, after.available);
	ck_assert_uint_eq(before.metadata, after.metadata);
	compare_all(r, r->now);
}

static void crash(struct rig *r)
{
	u64 durable = jnl_durable_seq(r->jnl);

	for (u32 i = 0; i < 20; i++)
		change(r, true);
	/* A full log commits on its own: then there is nothing to lose. */
	if (jnl_durable_seq(r->jnl) != durable)
		commit(r);
	rig_unmount(r, true);
	rig_mount(r);
	memcpy(r->now, r->safe, KEYS * sizeof(*r->now));
	compare_all(r, r->now);
}

static const u32 block_sizes[] = { 4096, 2u << 20 };

START_TEST(a_tree_larger_than_the_cache_survives_unmounts_and_crashes)
{
	struct rig r;

	rig_open(&r, "ram:256M", block_sizes[_i]);
	for (u32 round = 0; round < 24; round++) {
		for (u32 i = 0; i < 1000; i++) {
			change(&r, round % 8 < 5);
			if (fix_roll(&r.rnd, 50) == 0)
				commit(&r);
		}
		commit(&r);
		if (round % 3 == 0)
			crash(&r);
		if (round % 4 == 0)
			remount(&r);
		if (round % 5 == 0)
			ck_assert_int_eq(jnl_checkpoint_all(r.jnl), 0);
	}
	compare_all(&r, r.now);
	for (u32 i = 0; i < KEYS; i++) {
		struct batch b = { .nr = 1, .key = { i }, .to = { { -1, 0 } } };

		ck_assert_int_eq(jnl_run(r.jnl, BTREE_CREDITS, batch_body, &b, NULL), 0);
		r.now[i].len = -1;
	}
	remount(&r);
	rig_close(&r);
}
END_TEST

static int shape_body(struct view *v, void *p)
{
	return btree_check(v, T, p);
}

START_TEST(inserts_through_handles_are_fast_and_dense)
{
	struct btree_shape shape;
	struct rig r;

	rig_open(&r, "ram:64M", 4096);
	for (u32 i = 0; i < KEYS; i++) {
		struct batch b = { .nr = 1, .key = { i }, .to = { { 16, i } } };

		ck_assert_int_eq(jnl_run(r.jnl, BTREE_CREDITS, batch_body, &b, NULL), 0);
	}
	ck_assert_int_eq(jnl_read(r.jnl, shape_body, &shape), 0);
	ck_assert_uint_eq(shape.items, KEYS);
	ck_assert_uint_ge(shape.bytes * 100 / (shape.nodes * NODE_SIZE), 94);
	rig_close(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("btree_jnl");
	TCase *tc = tcase_create("a_tree_larger_than_the_cache_survives_unmounts_and_crashes");

	tcase_add_loop_test(tc, a_tree_larger_than_the_cache_survives_unmounts_and_crashes, 0,
			    (int)ARRAY_LEN(block_sizes));
	tcase_set_timeout(tc, 200);
	suite_add_tcase(s, tc);
	check_add_slow(s, inserts_through_handles_are_fast_and_dense, 60);
	return check_main(s);
}
