/*
 * What the tests of space share: allocations in handles of their own, a model that knows who has a
 * sector, and a disk that is filled to the last sector.
 */
#ifndef TESTS_SPACE_MODEL_H
#define TESTS_SPACE_MODEL_H

#include "fs/space_priv.h"
#include "space_test.h"

static UNUSED const u32 block_sizes[] = { 4096, 65536, 2u << 20 };

#define EACH_SIZE(s, test, seconds)                                                                \
	do {                                                                                       \
		TCase *tc_ = tcase_create(#test);                                                  \
		tcase_add_loop_test(tc_, test, 0, (int)ARRAY_LEN(block_sizes));                    \
		tcase_set_timeout(tc_, seconds);                                                   \
		suite_add_tcase(s, tc_);                                                           \
	} while (0)

/* ---- operations in handles ---- */

enum op { OP_ALLOC, OP_NODE, OP_FREE, OP_FREE_NODE, OP_MAP };

struct op_arg {
	struct space *sp;
	enum op op;
	u64 goal;                /* or the sector to free or set */
	u32 min, nr;
	bool flag;               /* alloc: reserved; node: deep */
	bool parts;              /* alloc, as the next two */
	u64 owner;
	u32 ahead;
	u32 value;
	int then;                /* the body returns this after its work */
	u64 sector;
	u32 got;
};

static inline int alloc_in(struct view *v, const struct op_arg *a, u64 *sector, u32 *got)
{
	struct space_want w = { .goal = a->goal, .nr = a->nr, .min = a->min, .reserved = a->flag,
				.parts = a->parts, .owner = a->owner, .ahead = a->ahead };

	return space_alloc(v, a->sp, &w, sector, got);
}

static inline int op_body(struct view *v, void *p)
{
	struct op_arg *a = p;
	void *buf;
	int r;

	a->got = NODE_SECTORS;
	switch (a->op) {
	case OP_ALLOC:
		r = alloc_in(v, a, &a->sector, &a->got);
		break;
	case OP_NODE:
		r = space_alloc_node(v, a->goal, a->flag, &a->sector);
		if (r == 0)
			r = view_new(v, a->sector, FMT_KIND_NODE, 0, &buf);
		break;
	case OP_FREE:
		r = space_free(v, a->sp, a->goal, a->nr);
		break;
	case OP_FREE_NODE:
		r = space_free_node(v, a->goal);
		break;
	default:
		r = space_map_set(v, a->sp, a->goal, a->nr, a->value);
		break;
	}
	return r ? r : a->then;
}

static inline int do_op(struct fix *f, struct op_arg *a)
{
	unsigned credits = SPACE_CREDITS_ALLOC;

	a->sp = f->sp;
	if (a->op == OP_FREE)
		credits = SPACE_CREDITS_FREE;
	if (a->op == OP_NODE)
		credits++;
	if (a->op == OP_MAP)
		credits = SPACE_CREDITS_MAP(a->nr);
	return jnl_run(f->jnl, credits, op_body, a, NULL);
}

static inline int do_free(struct fix *f, u64 sector, u32 nr)
{
	struct op_arg a = { .op = OP_FREE, .goal = sector, .nr = nr };

	return do_op(f, &a);
}

static inline int do_node(struct fix *f, bool deep, u64 *out)
{
	struct op_arg a = { .op = OP_NODE, .flag = deep };
	int r = do_op(f, &a);

	*out = a.sector;
	return r;
}

static inline u64 available(struct fix *f)
{
	struct space_counts c;

	space_counts(f->sp, &c);
	return c.available;
}

static inline s64 whole_blocks(struct fix *f)
{
	return f->sp->blocks;
}

static inline u64 reserved(struct fix *f)
{
	struct space_counts c;

	space_counts(f->sp, &c);
	return c.reserved;
}

/* ---- the model: who has a sector ---- */

struct ext {
	u64 sector;
	u32 nr;
	bool node;
};

struct model {
	u64 *used;
	struct ext *ext;
	u32 nr, max;
};

static inline void model_init(struct model *m, const struct fmt_geo *geo)
{
	memset(m, 0, sizeof(*m));
	m->used = calloc(BITMAP_WORDS(geo->nr_sectors), sizeof(u64));
}

static inline void model_fini(struct model *m)
{
	free(m->used);
	free(m->ext);
}

static inline void model_add(struct model *m, u64 sector, u32 nr, bool node)
{
	ck_assert(bitmap_all_clear(m->used, sector, nr));
	bitmap_set_range(m->used, sector, nr);
	if (m->nr == m->max) {
		m->max = m->max ? m->max * 2 : 256;
		m->ext = realloc(m->ext, m->max * sizeof(*m->ext));
	}
	m->ext[m->nr++] = (struct ext){ sector, nr, node };
}

/* The bits on the disk are those of the model, and the counters those of the bits. */
static inline void model_compare(struct fix *f, const struct model *m)
{
	u64 before = available(f);
	s64 blocks = whole_blocks(f);

	for (u32 g = 0; g < f->geo.nr_groups; g++) {
		u64 end = fmt_group_start(&f->geo, g) + fmt_group_len(&f->geo, g);

		for (u64 s = fmt_space_start(&f->geo, g); s < end; s++)
			if (fix_is_used(f, s) != bitmap_test(m->used, s))
				ck_abort_msg("bit of sector %llu", (unsigned long long)s);
	}
	fix_check_counters(f);
	/* A mount counts whole free blocks anew: the same number. */
	ck_assert_uint_eq(reserved(f), 0);
	fix_reopen(f);
	ck_assert_uint_eq(available(f), before);
	ck_assert_int_eq(whole_blocks(f), blocks);
}

/* Whole blocks, or a piece of one. */
static inline void check_shape(const struct fix *f, const struct op_arg *a)
{
	u32 block = f->geo.block_sectors;

	ck_assert_uint_ge(a->got, MAX(a->min, 1u));
	ck_assert_uint_le(a->got, a->nr);
	if (a->got >= block) {
		ck_assert_uint_eq(a->sector % block, 0);
		ck_assert(a->got % block == 0 || a->got == a->nr);
	} else {
		ck_assert_uint_eq(a->sector / block, (a->sector + a->got - 1) / block);
	}
}

/* Takes a piece of what was reserved, which is always there. */
static inline u32 take_promised(struct fix *f, struct model *m, u64 left, u64 *rnd)
{
	struct op_arg a = { .op = OP_ALLOC, .flag = true, .parts = true };
	u32 block = f->geo.block_sectors;

	a.nr = fix_roll(rnd, 2) ? 1 + fix_roll(rnd, block) : block * (1 + fix_roll(rnd, 64));
	a.nr = (u32)MIN(left, (u64)a.nr);
	ck_assert_int_eq(do_op(f, &a), 0);
	check_shape(f, &a);
	model_add(m, a.sector, a.got, false);
	return a.got;
}

/* Reserves all that is granted, then takes it in pieces. */
static inline void fill_disk(struct fix *f, u64 *rnd, struct model *m)
{
	u64 left = available(f);

	ck_assert_int_eq(space_reserve(f->sp, left), 0);
	ck_assert_int_eq(space_reserve(f->sp, 1), -ENOSPC);
	while (left > 0)
		left -= take_promised(f, m, left, rnd);
	ck_assert_uint_eq(reserved(f), 0);
	ck_assert_uint_eq(available(f), 0);
}

#endif
