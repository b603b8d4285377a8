/*
 * What a checkpoint can't write to its place stays in the log, whole and for good, whatever is
 * changed meanwhile and however often it is tried; and that uses up nothing.
 */
#include "bank.h"
#include "check_main.h"

#include "base/log.h"
#include "blk/sim.h"
#include "journal/jnl_priv.h"

#include <errno.h>
#include <stdlib.h>

static struct bank *bank;
static struct blk_dev *dev;

static void setup(void)
{
	bank = bank_new(11);
	dev = bank->dev;
}

static void teardown(void)
{
	blk_fault_set(dev, NULL, NULL);
	jnl_batch_max(0);
	bank_free(bank);
}

/* ---- two numbers in one buffer ---- */

#define FAR 600u                 /* the other one is in another chunk */

struct at {
	u32 entry, value;
};

static u64 place(void)
{
	return fmt_map_sector(&bank->geo, 0) + 3;
}

static int body_set(struct view *v, void *arg)
{
	const struct at *at = arg;
	struct fmt_map *m;
	int r = view_edit(v, place(), FMT_KIND_MAP, (void **)&m);

	if (!r)
		m->entry[at->entry] = put32(at->value);
	return r;
}

static int body_get(struct view *v, void *arg)
{
	struct at *at = arg;
	const struct fmt_map *m;
	int r = view_get(v, place(), FMT_KIND_MAP, (const void **)&m);

	if (!r)
		at->value = get32(m->entry[at->entry]);
	return r;
}

static void set(u32 entry, u32 value)
{
	struct at at = { entry, value };

	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &at, NULL), 0);
}

static u32 get(u32 entry)
{
	struct at at = { .entry = entry };

	ck_assert_int_eq(jnl_read(bank->j, body_get, &at), 0);
	return at.value;
}

static void crash(void)
{
	struct jnl_config cfg = { .dev = dev, .geo = &bank->geo };

	blk_fault_set(dev, NULL, NULL);
	jnl_close(bank->j, true);
	ck_assert_int_eq(jnl_open(&cfg, &bank->j, NULL), 0);
}

/* ---- faults ---- */

static struct fault {
	int place, log;                 /* errors of writes there */
	unsigned log_from;              /* the first write of the log that fails, from 1 */
	u32 change;                     /* what a handle sets when the place is written; 0: none */
	unsigned nr_place, nr_log;
} fault;

static bool is_log(const struct blk_fault *f)
{
	return f->kind == BLK_LOG && f->sector >= bank->geo.jnl_sector + 2;
}

static int refuse(void *arg, const struct blk_fault *f)
{
	(void)arg;
	if (f->op != BLK_FAULT_WRITE)
		return 0;
	if (is_log(f))
		return ++fault.nr_log >= fault.log_from ? fault.log : 0;
	if (f->sector > place() || place() - f->sector >= f->nr)
		return 0;
	if (fault.nr_place++ == 0 && fault.change)
		set(FAR, fault.change);
	return fault.place;
}

static void inject(struct fault how)
{
	fault = how;
	blk_fault_set(dev, refuse, NULL);
}

/* ---- tests ---- */

START_TEST(a_change_meanwhile_does_not_take_the_place_of_what_was_to_be_written)
{
	set(5, 1);
	inject((struct fault){ .place = -ENOSPC, .change = 2 });
	ck_assert_int_eq(jnl_checkpoint_all(bank->j), -ENOSPC);
	ck_assert_uint_gt(fault.nr_place, 0);
	crash();
	ck_assert_uint_eq(get(5), 1);
	ck_assert_uint_eq(get(FAR), 2);
}
END_TEST

/* The host has no room for the log either: what is logged again is not durable. */
START_TEST(the_tail_waits_until_what_is_logged_again_is_durable)
{
	struct jnl *j = bank->j;

	for (u32 i = 1; j->used <= checkpoint_from(j->ring_nr); i++) {
		set(5, i);
		ck_assert_int_eq(jnl_commit(j, jnl_newest_seq(j)), 0);
	}
	set(5, 77);
	ck_assert_int_eq(jnl_commit(j, jnl_newest_seq(j)), 0);
	/* The sums can be written, and nothing behind them. */
	inject((struct fault){ .place = -ENOSPC, .log = -ENOSPC, .log_from = 2 });
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(checkpoint_to(j, checkpoint_down_to(j->ring_nr),
					       checkpoint_down_to(j->dirty_share)), -ENOSPC);
	ck_assert_uint_ge(fault.nr_log, 2);
	crash();
	ck_assert_uint_eq(get(5), 77);
}
END_TEST

START_TEST(a_checkpoint_that_fails_again_and_again_uses_up_no_log)
{
	set(5, 1);
	ck_assert_int_eq(jnl_commit(bank->j, jnl_newest_seq(bank->j)), 0);
	inject((struct fault){ .place = -ENOMEM });
	for (unsigned i = 0; i < 3 * bank->geo.jnl_nr; i++)
		ck_assert_int_eq(jnl_checkpoint_all(bank->j), -ENOMEM);
	/* One transaction with the sum. */
	ck_assert_uint_eq(fault.nr_log, 1);
	blk_fault_set(dev, NULL, NULL);
	ck_assert_int_eq(jnl_checkpoint_all(bank->j), 0);
	crash();
	ck_assert_uint_eq(get(5), 1);
}
END_TEST

#define NODES 40u

static u64 node_at(u32 i)
{
	return ALIGN_UP(fmt_space_start(&bank->geo, 0), (u64)NODE_SECTORS) + i * (u64)NODE_SECTORS;
}

static int body_node(struct view *v, void *arg)
{
	return bank_put_node(v, node_at(*(u32 *)arg), 1);
}

static int body_change_node(struct view *v, void *arg)
{
	u8 *n;
	int r = view_edit(v, node_at(*(u32 *)arg), FMT_KIND_NODE, (void **)&n);

	if (!r)
		n[BANK_STAMP_AT] = 7;
	return r;
}

static void each_node(jnl_body body)
{
	u64 seq;

	for (u32 i = 0; i < NODES; i++) {
		ck_assert_int_eq(jnl_run(bank->j, 1, body, &i, &seq), 0);
		ck_assert_int_eq(jnl_commit(bank->j, seq), 0);
	}
}

/* Batches of one take a sector of the log each: more than there is room for at a time. */
START_TEST(a_checkpoint_without_room_for_sums_moves_the_tail_and_goes_on)
{
	u32 nr = 3 * (u32)bank->geo.jnl_nr;

	each_node(body_node);
	ck_assert_int_eq(jnl_checkpoint_all(bank->j), 0);
	jnl_batch_max(1);
	each_node(body_change_node);
	for (u32 i = 1; i <= nr; i++) {
		set(5, i);
		ck_assert_int_eq(jnl_commit(bank->j, jnl_newest_seq(bank->j)), 0);
	}
	crash();
	ck_assert_uint_eq(get(5), nr);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kept in the log");
	TCase *tc = tcase_create("kept in the log");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_change_meanwhile_does_not_take_the_place_of_what_was_to_be_written);
	tcase_add_test(tc, the_tail_waits_until_what_is_logged_again_is_durable);
	tcase_add_test(tc, a_checkpoint_that_fails_again_and_again_uses_up_no_log);
	tcase_add_test(tc, a_checkpoint_without_room_for_sums_moves_the_tail_and_goes_on);
	suite_add_tcase(s, tc);
	return check_main(s);
}
