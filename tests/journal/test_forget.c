/*
 * Buffers that are given up: until that is durable a crash brings them back, so the log must still
 * have what is not in their place; and until a checkpoint under way is over, which may write them
 * there, the place is no one's.
 */
#include "bank.h"
#include "check_main.h"

#include "journal/jnl_priv.h"

#include <stdlib.h>
#include <string.h>

enum { STAYS = 3, GOES = 6 };    /* accounts; no neighbours, or one request writes both */

static struct bank *bank;
static struct blk_dev *dev;

static void setup(void)
{
	bank = bank_new(11);
	dev = bank->dev;
}

static void teardown(void)
{
	blk_close(dev);
	free(bank);
	cache_fini();
}

static u64 place(unsigned i)
{
	return fmt_map_sector(&bank->geo, 0) + i;
}

struct account { unsigned i; u32 value; };

static int body_set(struct view *v, void *arg)
{
	const struct account *a = arg;
	struct fmt_map *m;
	int r = view_edit(v, place(a->i), FMT_KIND_MAP, (void **)&m);

	if (!r)
		m->entry[5] = put32(a->value);
	return r;
}

static int body_get(struct view *v, void *arg)
{
	struct account *a = arg;
	const struct fmt_map *m;
	int r = view_get(v, place(a->i), FMT_KIND_MAP, (const void **)&m);

	if (!r)
		a->value = get32(m->entry[5]);
	return r;
}

static int body_forget(struct view *v, void *arg)
{
	(void)arg;
	view_forget(v, place(GOES), FMT_KIND_MAP);
	return view_busy(v, place(GOES), 1);
}

static void set_durably(unsigned i, u32 value)
{
	struct account a = { i, value };
	u64 seq;

	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &a, &seq), 0);
	ck_assert_int_eq(jnl_commit(bank->j, seq), 0);
}

static void forget(void)
{
	ck_assert_int_eq(jnl_run(bank->j, 1, body_forget, NULL, NULL), 0);
}

static u32 value_after_a_crash(void)
{
	struct account a = { .i = GOES };

	jnl_close(bank->j, true);
	ck_assert_int_eq(bank_open(bank), 0);
	ck_assert_int_eq(jnl_read(bank->j, body_get, &a), 0);
	return a.value;
}

/* ---- in the middle of a checkpoint: before it writes STAYS ---- */

static void (*meanwhile)(void);

static int when_it_writes(void *arg, const struct blk_fault *f)
{
	void (*fn)(void) = meanwhile;

	(void)arg;
	if (!fn || f->op != BLK_FAULT_WRITE || f->kind != BLK_META || f->sector != place(STAYS))
		return 0;
	meanwhile = NULL;
	fn();
	return 0;
}

static void checkpoint_and(void (*fn)(void))
{
	blk_fault_set(dev, when_it_writes, NULL);
	meanwhile = fn;
	ck_assert_int_eq(checkpoint_to(bank->j, 0, 0), 0);
	ck_assert_msg(!meanwhile, "it did not come so far");
	blk_fault_set(dev, NULL, NULL);
}

/* What it gives up is not among its copies, and was all that the rest of the log was for. */
START_TEST(a_checkpoint_keeps_in_the_log_what_was_given_up_and_is_not_durably_so)
{
	set_durably(STAYS, 9);
	set_durably(GOES, 7);
	jnl_batch_max(1);
	checkpoint_and(forget);
	jnl_batch_max(0);
	ck_assert_uint_eq(value_after_a_crash(), 7);
	jnl_close(bank->j, true);
}
END_TEST

START_TEST(a_checkpoint_goes_past_what_was_given_up_before_it)
{
	set_durably(GOES, 7);
	forget();
	ck_assert_int_eq(checkpoint_to(bank->j, 0, 0), 0);
	ck_assert_uint_eq(bank->j->used, 0);
	ck_assert_uint_eq(value_after_a_crash(), 0);
	jnl_close(bank->j, true);
}
END_TEST

/* ---- the place ---- */

static int body_is_busy(struct view *v, void *arg)
{
	u64 start, end;

	*(bool *)arg = view_next_busy(v, place(GOES), place(GOES) + 1, &start, &end);
	return 0;
}

static bool is_busy(void)
{
	bool busy;

	ck_assert_int_eq(jnl_read(bank->j, body_is_busy, &busy), 0);
	return busy;
}

static u8 *fresh;               /* what somebody writes to the place */
static bool reused;

/* Given up durably; and if the place may be had, it is. */
static void forget_and_reuse(void)
{
	forget();
	ck_assert_int_eq(jnl_commit(bank->j, jnl_newest_seq(bank->j)), 0);
	reused = !is_busy();
	if (reused)
		ck_assert_int_eq(blk_write(dev, place(GOES), fresh, 1, BLK_DATA), 0);
}

static bool has_fresh(void)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	bool same;

	ck_assert_int_eq(blk_read(dev, place(GOES), buf, 1, BLK_DATA), 0);
	same = !memcmp(buf, fresh, SECTOR_SIZE);
	free(buf);
	return same;
}

static void give_up_in_a_checkpoint(void)
{
	fresh = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	memset(fresh, 'f', SECTOR_SIZE);
	set_durably(STAYS, 9);
	set_durably(GOES, 7);
	checkpoint_and(forget_and_reuse);
	ck_assert(!is_busy());
}

START_TEST(a_place_stays_busy_while_a_checkpoint_may_write_there)
{
	give_up_in_a_checkpoint();
	ck_assert(!reused);
	free(fresh);
	jnl_close(bank->j, true);
}
END_TEST

START_TEST(leaving_that_out_is_seen)
{
	jnl_omit(JNL_OMIT_BUSY_SNAP);
	give_up_in_a_checkpoint();
	jnl_omit(JNL_OMIT_NONE);
	ck_assert(reused && !has_fresh());
	free(fresh);
	jnl_close(bank->j, true);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("forget");
	TCase *tc = tcase_create("forget");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_checkpoint_keeps_in_the_log_what_was_given_up_and_is_not_durably_so);
	tcase_add_test(tc, a_checkpoint_goes_past_what_was_given_up_before_it);
	tcase_add_test(tc, a_place_stays_busy_while_a_checkpoint_may_write_there);
	tcase_add_test(tc, leaving_that_out_is_seen);
	suite_add_tcase(s, tc);
	return check_main(s);
}
