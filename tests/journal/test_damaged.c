/*
 * A log that is damaged in the middle is told from one that a power cut has ended: what it has
 * lost is said, and nothing is written to a file system of which a part is newer than the rest.
 */
#include "bank.h"
#include "check_main.h"

#include "base/err.h"
#include "base/log.h"
#include "blk/sim.h"
#include "stat/stat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOGGED 6u

enum how { FLIPPED, NOISE, NEVER_WRITTEN, HOWS };

static struct bank *bank;
static struct blk_dev *dev;

static void setup(void)
{
	bank = bank_new(11);
	dev = bank->dev;
}

static void teardown(void)
{
	bank_free(bank);
}

/* ---- one number ---- */

static int body_set(struct view *v, void *arg)
{
	struct fmt_map *m;
	int r = view_edit(v, fmt_map_sector(&bank->geo, 0) + 3, FMT_KIND_MAP, (void **)&m);

	if (!r)
		m->entry[5] = put32(*(u32 *)arg);
	return r;
}

static int body_get(struct view *v, void *arg)
{
	const struct fmt_map *m;
	int r = view_get(v, fmt_map_sector(&bank->geo, 0) + 3, FMT_KIND_MAP, (const void **)&m);

	if (!r)
		*(u32 *)arg = get32(m->entry[5]);
	return r;
}

static int set_number(u32 nr)
{
	u64 seq;
	int r = jnl_run(bank->j, 1, body_set, &nr, &seq);

	return r ? r : jnl_commit(bank->j, seq);
}

static u32 number(void)
{
	u32 nr = 0;

	ck_assert_int_eq(jnl_read(bank->j, body_get, &nr), 0);
	return nr;
}

/* ---- the log ---- */

/* LOGGED transactions, each with its number; then the power goes. */
static void make_log(void)
{
	for (u32 i = 1; i <= LOGGED; i++)
		ck_assert_int_eq(set_number(i), 0);
	jnl_close(bank->j, true);
}

static void get(u64 sector, void *buf)
{
	ck_assert_int_eq(blk_read(dev, sector, buf, 1, BLK_LOG), 0);
}

/* The disk sector of the nr-th of them, and its sequence number. */
static u64 logged_at(u32 nr, u64 *seq)
{
	struct fmt_txn *t = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	u64 at = bank->geo.jnl_sector + 2;

	for (u32 i = 1;; i++) {
		get(at, t);
		ck_assert_uint_eq(get32(t->magic), FMT_TXN_MAGIC);
		if (i == nr)
			break;
		at += get64(t->len) / SECTOR_SIZE;
	}
	*seq = get64(t->seq);
	free(t);
	return at;
}

static void damage(u64 sector, enum how how)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	get(sector, buf);
	if (how == FLIPPED)
		buf[100] ^= 4;
	else
		memset(buf, how == NOISE ? 0xe5 : 0, SECTOR_SIZE);
	ck_assert_int_eq(blk_write(dev, sector, buf, 1, BLK_LOG), 0);
	free(buf);
}

static struct jnl_recovery reopen(bool cut)
{
	struct jnl_config cfg = { .dev = dev, .geo = &bank->geo, .cut_log = cut };
	struct jnl_recovery rec;

	ck_assert_int_eq(jnl_open(&cfg, &bank->j, &rec), 0);
	return rec;
}

/* ---- tests ---- */

START_TEST(damage_before_a_whole_transaction_is_told_and_nothing_is_written)
{
	u64 seq, told = corrupt_count(WHY_JNL_LOST), lost = stat_read(STAT_LOG_LOST);
	u32 nr = 1 + (u32)_i % (LOGGED - 1);
	struct jnl_recovery rec;
	size_t events;

	make_log();
	damage(logged_at(nr, &seq), (enum how)((u32)_i / (LOGGED - 1)));
	events = sim_nr_events(dev);
	rec = reopen(false);
	ck_assert_uint_eq(rec.lost_first, seq);
	ck_assert_uint_eq(rec.lost_newest, seq + LOGGED - nr);
	ck_assert_uint_eq(rec.transactions, nr - 1);
	ck_assert_uint_eq(corrupt_count(WHY_JNL_LOST), told + 1);
	ck_assert_uint_eq(stat_read(STAT_LOG_LOST), lost + LOGGED - nr + 1);
	ck_assert_uint_eq(number(), nr - 1);
	ck_assert_int_eq(set_number(99), -EROFS);
	jnl_close(bank->j, false);
	ck_assert_uint_eq(sim_nr_events(dev), events);
	reopen(false);
}
END_TEST

START_TEST(who_repairs_goes_on_from_where_the_log_is_cut)
{
	struct jnl_recovery rec;
	u64 seq;

	make_log();
	damage(logged_at(3, &seq), FLIPPED);
	rec = reopen(true);
	ck_assert_uint_eq(rec.transactions, 2);
	ck_assert_int_eq(set_number(99), 0);
	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	rec = reopen(false);
	ck_assert(rec.was_clean && !rec.lost_first);
	ck_assert_uint_eq(number(), 99);
}
END_TEST

START_TEST(the_last_transaction_may_be_cut_as_a_power_cut_does)
{
	struct jnl_recovery rec;
	u64 seq;

	make_log();
	damage(logged_at(LOGGED, &seq), (enum how)_i);
	rec = reopen(false);
	ck_assert_uint_eq(rec.lost_first, 0);
	ck_assert_uint_eq(rec.transactions, LOGGED - 1);
	ck_assert_uint_eq(number(), LOGGED - 1);
	ck_assert_int_eq(set_number(99), 0);
}
END_TEST

/* What is left of them says that everything was unmounted in order. */
START_TEST(the_changes_of_a_mount_whose_log_header_is_damaged_are_missed)
{
	struct fmt_jnl_head *h = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	struct jnl_recovery rec;

	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	ck_assert_int_eq(bank_open(bank), 0);
	make_log();
	for (u64 i = 0; i < 2; i++) {
		get(bank->geo.jnl_sector + i, h);
		if (!get32(h->clean))
			damage(bank->geo.jnl_sector + i, FLIPPED);
	}
	free(h);
	rec = reopen(false);
	ck_assert(rec.was_clean);
	ck_assert_uint_ne(rec.lost_first, 0);
	ck_assert_int_eq(set_number(99), -EROFS);
}
END_TEST

/* A power cut while it was written: the older one counts, and nothing is missing. */
START_TEST(a_log_header_that_was_torn_is_no_damage)
{
	struct fmt_jnl_head *h = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	struct jnl_recovery rec;

	ck_assert_int_eq(set_number(7), 0);
	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	ck_assert_int_eq(bank_open(bank), 0);
	jnl_close(bank->j, true);
	for (u64 i = 0; i < 2; i++) {
		get(bank->geo.jnl_sector + i, h);
		if (!get32(h->clean))
			damage(bank->geo.jnl_sector + i, NOISE);
	}
	free(h);
	rec = reopen(false);
	ck_assert(rec.was_clean && !rec.lost_first);
	ck_assert_uint_eq(number(), 7);
	ck_assert_int_eq(set_number(8), 0);
}
END_TEST

START_TEST(without_a_good_log_header_nothing_is_guessed)
{
	struct jnl_config cfg = { .dev = dev, .geo = &bank->geo };
	struct jnl *j;

	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	damage(bank->geo.jnl_sector, NOISE);
	damage(bank->geo.jnl_sector + 1, NOISE);
	ck_assert_int_eq(jnl_open(&cfg, &j, NULL), -EUCLEAN);
	ck_assert_int_eq(jnl_format(dev, &bank->geo), 0);
	ck_assert_int_eq(bank_open(bank), 0);
}
END_TEST

/* ---- a header that can't be written ---- */

static unsigned refused, written;
static u64 last_header;

static int no_room_for_headers(void *arg, const struct blk_fault *f)
{
	(void)arg;
	if (f->op != BLK_FAULT_WRITE || f->sector - bank->geo.jnl_sector >= 2)
		return 0;
	ck_assert(!last_header || last_header == f->sector);
	last_header = f->sector;
	written++;
	return written <= refused ? -ENOSPC : 0;
}

/* The other one counts until it is: it must not be written over. */
START_TEST(a_log_header_that_could_not_be_written_is_tried_again_in_its_place)
{
	refused = 3;
	blk_fault_set(dev, no_room_for_headers, NULL);
	for (u32 i = 1; i <= refused; i++) {
		ck_assert_int_eq(set_number(i), 0);
		ck_assert_int_eq(jnl_checkpoint_all(bank->j), -ENOSPC);
	}
	ck_assert_int_eq(set_number(7), 0);
	ck_assert_int_eq(jnl_checkpoint_all(bank->j), 0);
	ck_assert_uint_eq(written, refused + 1);
	blk_fault_set(dev, NULL, NULL);
	/* As if it had been torn, after the tail had moved in memory: the log has it all. */
	jnl_close(bank->j, true);
	damage(last_header, NOISE);
	ck_assert_uint_eq(reopen(false).lost_first, 0);
	ck_assert_uint_eq(number(), 7);
}
END_TEST

/* ---- what is in place ---- */

static u64 number_sector(void)
{
	return fmt_map_sector(&bank->geo, 0) + 3;
}

/* The number is 1 in place, 2 in the log. */
static void make_base(void)
{
	ck_assert_int_eq(set_number(1), 0);
	ck_assert_int_eq(jnl_checkpoint_all(bank->j), 0);
	ck_assert_int_eq(set_number(2), 0);
	jnl_close(bank->j, true);
}

START_TEST(a_change_after_a_checkpoint_logs_no_more_than_what_changed)
{
	struct fmt_txn *t = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	u64 at, seq;

	make_base();
	at = logged_at(1, &seq);
	get(at, t);
	for (unsigned i = 0; i < 2; i++) {      /* the change, and what the checkpoint needs */
		at += get64(t->len) / SECTOR_SIZE;
		get(at, t);
		ck_assert_uint_eq(get32(t->magic), FMT_TXN_MAGIC);
		ck_assert_uint_eq(get64(t->len), SECTOR_SIZE);
	}
	free(t);
	ck_assert_uint_eq(reopen(false).buffers, 1);
	ck_assert_uint_eq(number(), 2);
}
END_TEST

START_TEST(changes_of_a_buffer_that_is_damaged_itself_are_refused)
{
	struct jnl_config cfg = { .dev = dev, .geo = &bank->geo };
	u64 told = corrupt_count(WHY_JNL_CHECKSUM);
	struct jnl *j;
	u32 nr;

	make_base();
	damage(number_sector(), FLIPPED);
	ck_assert_int_eq(jnl_open(&cfg, &j, NULL), -EUCLEAN);
	ck_assert_uint_eq(corrupt_count(WHY_JNL_CHECKSUM), told + 1);
	/* Who repairs has the rest of the log, and finds the buffer as it is. */
	ck_assert_uint_eq(reopen(true).transactions, 1);
	ck_assert_int_eq(jnl_read(bank->j, body_get, &nr), -EBADMSG);
}
END_TEST

/* As if the power had gone while the recovery wrote in place. */
static void say_recovering(void)
{
	struct fmt_jnl_head *h = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	for (u64 i = 0; i < 2; i++) {
		get(bank->geo.jnl_sector + i, h);
		h->recovering = put32(1);
		fmt_hdr_seal(h, sizeof(*h), 0);
		ck_assert_int_eq(blk_write(dev, bank->geo.jnl_sector + i, h, 1, BLK_LOG), 0);
	}
	free(h);
}

START_TEST(what_a_recovery_has_torn_is_no_damage_to_a_mount_or_a_check)
{
	u64 told = corrupt_count(WHY_JNL_CHECKSUM), seq;

	make_base();
	damage(number_sector(), FLIPPED);
	say_recovering();
	reopen(_i);
	ck_assert_uint_eq(number(), 2);
	ck_assert_uint_eq(corrupt_count(WHY_JNL_CHECKSUM), told);
	jnl_close(bank->j, true);
	/* With a damaged log it may be. */
	bank_format(bank, dev, 11);
	ck_assert_int_eq(bank_open(bank), 0);
	make_log();
	damage(number_sector(), FLIPPED);
	damage(logged_at(3, &seq), FLIPPED);
	say_recovering();
	reopen(_i);
	ck_assert_uint_eq(corrupt_count(WHY_JNL_CHECKSUM), told + 1);
}
END_TEST

START_TEST(what_is_no_buffer_after_a_recovery_that_was_cut_off_costs_only_itself)
{
	struct jnl_config cfg = { .dev = dev, .geo = &bank->geo };
	struct jnl *j;
	u32 nr;

	make_base();
	damage(number_sector(), NOISE);
	say_recovering();
	ck_assert_int_eq(jnl_open(&cfg, &j, NULL), -EUCLEAN);
	ck_assert_uint_eq(reopen(true).transactions, 1);
	ck_assert_int_ne(jnl_read(bank->j, body_get, &nr), 0);
}
END_TEST

static int number_can_not_be_read(void *arg, const struct blk_fault *f)
{
	(void)arg;
	return f->op == BLK_FAULT_READ && f->sector == number_sector() ? -EIO : 0;
}

START_TEST(what_can_not_be_read_in_place_ends_a_recovery)
{
	struct jnl_config cfg = { .dev = dev, .geo = &bank->geo };
	struct jnl *j;

	make_base();
	blk_fault_set(dev, number_can_not_be_read, NULL);
	ck_assert_int_eq(jnl_open(&cfg, &j, NULL), -EIO);
	blk_fault_set(dev, NULL, NULL);
	reopen(false);
	ck_assert_uint_eq(number(), 2);
}
END_TEST

/* So much that the log has all of the buffer. */
static int body_set_all(struct view *v, void *arg)
{
	struct fmt_map *m;
	int r = view_edit(v, number_sector(), FMT_KIND_MAP, (void **)&m);

	for (u32 i = 0; !r && i < FMT_MAP_PER_SECTOR; i++)
		m->entry[i] = put32(*(u32 *)arg);
	return r;
}

static void set_all(u32 nr)
{
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set_all, &nr, NULL), 0);
}

START_TEST(what_is_in_place_and_newer_than_a_cut_log_stays)
{
	struct jnl_recovery rec;
	u64 seq, was;

	if (_i)
		set_all(77);
	for (u32 i = 1; i <= LOGGED; i++)
		ck_assert_int_eq(set_number(i), 0);
	/* In place, and the log still has all of it: its header could not be written. */
	refused = UINT32_MAX;
	written = 0;
	last_header = 0;
	blk_fault_set(dev, no_room_for_headers, NULL);
	ck_assert_int_eq(jnl_checkpoint_all(bank->j), -ENOSPC);
	blk_fault_set(dev, NULL, NULL);
	was = jnl_newest_seq(bank->j);
	jnl_close(bank->j, true);
	damage(logged_at(3, &seq), FLIPPED);
	rec = reopen(true);
	ck_assert_uint_eq(rec.transactions, 2);
	ck_assert_uint_eq(number(), LOGGED);
	/* A number that the place has seen is not given again. */
	ck_assert_uint_ge(jnl_newest_seq(bank->j), was - 1);
	ck_assert_int_eq(set_number(99), 0);
	jnl_close(bank->j, true);
	reopen(false);
	ck_assert_uint_eq(number(), 99);
}
END_TEST

/* An older version would take transactions with sums for damage, and cut the log there. */
START_TEST(a_log_that_needs_sums_is_not_for_older_versions_and_a_clean_one_is)
{
	struct fmt_jnl_head *h = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	unsigned seen[2] = { 0 };

	ck_assert_int_eq(set_number(1), 0);
	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	for (u64 i = 0; i < 2; i++) {
		get(bank->geo.jnl_sector + i, h);
		seen[!!get32(h->clean)]++;
		ck_assert_uint_eq(get16(h->hdr.version),
				  get32(h->clean) ? FMT_VERSION : FMT_JNL_SUMS);
	}
	ck_assert(seen[0] == 1 && seen[1] == 1);
	free(h);
	reopen(false);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("damaged log");
	TCase *tc = tcase_create("damaged log");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, damage_before_a_whole_transaction_is_told_and_nothing_is_written,
			    0, (int)(HOWS * (LOGGED - 1)));
	tcase_add_test(tc, who_repairs_goes_on_from_where_the_log_is_cut);
	tcase_add_loop_test(tc, the_last_transaction_may_be_cut_as_a_power_cut_does, 0, HOWS);
	tcase_add_test(tc, the_changes_of_a_mount_whose_log_header_is_damaged_are_missed);
	tcase_add_test(tc, a_log_header_that_was_torn_is_no_damage);
	tcase_add_test(tc, without_a_good_log_header_nothing_is_guessed);
	tcase_add_test(tc, a_log_header_that_could_not_be_written_is_tried_again_in_its_place);
	tcase_add_test(tc, a_change_after_a_checkpoint_logs_no_more_than_what_changed);
	tcase_add_test(tc, changes_of_a_buffer_that_is_damaged_itself_are_refused);
	tcase_add_loop_test(tc, what_a_recovery_has_torn_is_no_damage_to_a_mount_or_a_check, 0, 2);
	tcase_add_test(tc, what_can_not_be_read_in_place_ends_a_recovery);
	tcase_add_loop_test(tc, what_is_in_place_and_newer_than_a_cut_log_stays, 0, 2);
	tcase_add_test(tc, what_is_no_buffer_after_a_recovery_that_was_cut_off_costs_only_itself);
	tcase_add_test(tc, a_log_that_needs_sums_is_not_for_older_versions_and_a_clean_one_is);
	suite_add_tcase(s, tc);
	return check_main(s);
}
