/* Rules of views, handles and commits, without crashes (those are in test_crash.c). */
#include "bank.h"
#include "check_main.h"

#include "base/err.h"
#include "base/log.h"
#include "blk/sim.h"
#include "cache/cache_priv.h"
#include "mem/bad.h"
#include "stat/stat.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct bank *bank;
static struct blk_dev *dev;

static void setup_with(u64 cache_bytes, u64 sectors)
{
	struct cache_config cfg = { .bytes = cache_bytes, .max_order = 0xff };
	struct sim_opts so = { .sectors = sectors, .record = true };

	ck_assert_int_eq(cache_init(&cfg), 0);
	bank = malloc(sizeof(*bank));
	ck_assert_int_eq(sim_open(&so, &dev), 0);
	bank_format(bank, dev, 11);
	ck_assert_int_eq(bank_open(bank), 0);
}

static void setup(void)
{
	setup_with(4u << 20, 12288);
}

static void teardown(void)
{
	blk_close(dev);
	free(bank);
	cache_fini();
}

static u64 account(unsigned i)
{
	return fmt_map_sector(&bank->geo, 0) + i;
}

static const char *bank_verify_text(void)
{
	const char *wrong = bank_verify(bank, dev, sim_nr_events(dev));

	return wrong ? wrong : "good";
}

struct set { unsigned i; u32 value; int error; unsigned runs; };

static int body_set(struct view *v, void *arg)
{
	struct set *s = arg;
	struct fmt_map *m;
	int r = view_edit(v, account(s->i), FMT_KIND_MAP, (void **)&m);

	s->runs++;
	if (r)
		return r;
	m->entry[5] = put32(s->value);
	return s->error;
}

static int body_get(struct view *v, void *arg)
{
	struct set *s = arg;
	const struct fmt_map *m;
	int r = view_get(v, account(s->i), FMT_KIND_MAP, (const void **)&m);

	if (!r)
		s->value = get32(m->entry[5]);
	return r;
}

static u32 value_of(unsigned i)
{
	struct set s = { .i = i };

	ck_assert_int_eq(jnl_read(bank->j, body_get, &s), 0);
	return s.value;
}

START_TEST(a_body_is_run_again_when_a_buffer_is_not_in_memory)
{
	struct set s = { .i = 3, .value = 9 };

	setup();
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, NULL), 0);
	ck_assert_uint_eq(s.runs, 2);
	ck_assert_uint_eq(value_of(3), 9);
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

START_TEST(a_map_sector_comes_with_its_neighbours)
{
	struct set next = { .i = 4, .value = 9 }, far = { .i = 8, .value = 7 };
	u64 reads;

	setup();
	value_of(3);
	reads = stat_read(STAT_READ_IOS_META);
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &next, NULL), 0);
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &far, NULL), 0);
	ck_assert_uint_eq(next.runs + far.runs, 2);
	ck_assert_uint_eq(stat_read(STAT_READ_IOS_META), reads);
	ck_assert_uint_eq(value_of(4) + value_of(8), 16);
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

static void spoil(unsigned i)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	memset(buf, 0xa5, SECTOR_SIZE);
	ck_assert_int_eq(blk_write(dev, account(i), buf, 1, BLK_META), 0);
	free(buf);
}

START_TEST(what_is_wrong_with_a_neighbour_is_told_when_it_is_asked_for)
{
	u64 told = corrupt_count(WHY_HDR_MAGIC);
	struct set bad = { .i = 4 };

	setup();
	spoil(4);
	ck_assert_uint_eq(value_of(3) + value_of(5), 0);
	ck_assert_uint_eq(corrupt_count(WHY_HDR_MAGIC), told);
	ck_assert_int_eq(jnl_read(bank->j, body_get, &bad), -EUCLEAN);
	ck_assert_uint_eq(corrupt_count(WHY_HDR_MAGIC), told + 1);
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

static int fail_account_4(void *arg UNUSED, const struct blk_fault *f)
{
	return f->op == BLK_FAULT_READ && f->sector <= account(4) &&
	       account(4) < f->sector + f->nr ? -EIO : 0;
}

START_TEST(a_neighbour_that_can_not_be_read_costs_only_itself)
{
	struct set bad = { .i = 4 };

	setup();
	blk_fault_set(dev, fail_account_4, NULL);
	ck_assert_uint_eq(value_of(3) + value_of(5), 0);
	ck_assert_int_eq(jnl_read(bank->j, body_get, &bad), -EIO);
	blk_fault_set(dev, NULL, NULL);
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

START_TEST(a_body_that_fails_changes_nothing)
{
	struct set s = { .i = 3, .value = 9, .error = -ENOSPC };

	setup();
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, NULL), -ENOSPC);
	ck_assert_uint_eq(value_of(3), 0);
	ck_assert_uint_eq(jnl_newest_seq(bank->j), jnl_durable_seq(bank->j));
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

START_TEST(a_body_that_writes_what_is_there_logs_nothing)
{
	struct set s = { .i = 3, .value = 0 };
	u64 seq = 77;

	setup();
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, &seq), 0);
	ck_assert_uint_eq(seq, 77);
	ck_assert_uint_eq(jnl_newest_seq(bank->j), jnl_durable_seq(bank->j));
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

/* Changes one entry more than it names, if `more`. */
struct part { struct set set; bool more; };

static int edit_named(struct view *v, const struct part *p, struct fmt_map **m)
{
	int r = view_edit_part(v, account(p->set.i), FMT_KIND_MAP, (void **)m);

	if (r)
		return r;
	view_touch(v, *m, offsetof(struct fmt_map, entry[5]), sizeof((*m)->entry[5]));
	(*m)->entry[5] = put32(p->set.value);
	return 0;
}

static int body_part(struct view *v, void *arg)
{
	struct part *p = arg;
	struct fmt_map *m;
	int r = edit_named(v, p, &m);

	if (r)
		return r;
	if (p->more)
		m->entry[500] = put32(p->set.value);
	return p->set.error;
}

START_TEST(named_changes_are_published_and_failed_ones_leave_no_trace_in_later_runs)
{
	struct part p = { .set = { .i = 3 } };

	setup();
	for (u32 i = 1; i < 20; i++) {
		p.set.value = 100 + i;
		p.set.error = -ENOSPC;
		ck_assert_int_eq(jnl_run(bank->j, 1, body_part, &p, NULL), -ENOSPC);
		ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &p.set, NULL), -ENOSPC);
		ck_assert_uint_eq(value_of(3), i - 1);
		p.set.value = i;
		p.set.error = 0;
		ck_assert_int_eq(jnl_run(bank->j, 1, body_part, &p, NULL), 0);
		ck_assert_uint_eq(value_of(3), i);
		if (i % 7 == 0)
			ck_assert_int_eq(jnl_checkpoint_all(bank->j), 0);
	}
	jnl_close(bank->j, false);
	ck_assert_int_eq(bank_open(bank), 0);
	ck_assert_uint_eq(value_of(3), 19);
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

#ifdef FOLIOFS_DEBUG
START_TEST(a_checked_build_stops_at_a_change_that_is_not_named)
{
	struct part p = { .set = { .i = 3, .value = 9 }, .more = true };

	setup();
	jnl_run(bank->j, 1, body_part, &p, NULL);
}
END_TEST
#endif

static unsigned count_events(size_t from, enum sim_kind kind)
{
	unsigned n = 0;

	for (size_t i = from; i < sim_nr_events(dev); i++)
		n += sim_event_get(dev, i).kind == kind;
	return n;
}

START_TEST(a_commit_is_one_write_and_one_flush_and_a_second_one_nothing)
{
	struct set s = { .i = 3, .value = 9 };
	size_t before;
	u64 seq;

	setup();
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, &seq), 0);
	s = (struct set){ .i = 4, .value = 10 };
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, &seq), 0);
	before = sim_nr_events(dev);
	ck_assert_int_eq(jnl_commit(bank->j, seq), 0);
	ck_assert_uint_eq(count_events(before, SIM_WRITE), 1);
	ck_assert_uint_eq(count_events(before, SIM_FLUSH), 1);
	ck_assert_int_eq(jnl_commit(bank->j, seq), 0);
	ck_assert_uint_eq(sim_nr_events(dev), before + 2);
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

/* Half of commit_ms passes before the thread would commit by itself. */
START_TEST(a_commit_that_will_be_asked_for_begins_at_once)
{
	struct jnl_config cfg = { .threads = true, .commit_ms = 10000000 };
	struct set s = { .i = 3, .value = 9 };
	u64 seq;

	setup();
	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	cfg.dev = dev;
	cfg.geo = &bank->geo;
	ck_assert_int_eq(jnl_open(&cfg, &bank->j, NULL), 0);
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, &seq), 0);
	jnl_commit_soon(bank->j, seq);
	while (jnl_durable_seq(bank->j) < seq)
		usleep(1000);
	/* Of what is durable nothing becomes of it. */
	jnl_commit_soon(bank->j, seq);
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

START_TEST(a_buffer_changed_often_is_logged_once)
{
	struct set s = { .i = 3 };
	size_t before;
	u64 seq = 0;

	setup();
	for (s.value = 1; s.value < 1000; s.value++)
		ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, &seq), 0);
	before = sim_nr_events(dev);
	ck_assert_int_eq(jnl_commit(bank->j, seq), 0);
	ck_assert_uint_le(sim_event_get(dev, before).nr, 2);
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

START_TEST(after_a_clean_close_nothing_is_replayed_and_all_is_in_place)
{
	struct jnl_config cfg;
	struct jnl_recovery rec;

	setup();
	for (unsigned i = 0; i < 500; i++)
		ck_assert_int_eq(bank_step(bank), 0);
	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	cfg = (struct jnl_config){ .dev = dev, .geo = &bank->geo, .readonly = true };
	ck_assert_int_eq(jnl_open(&cfg, &bank->j, &rec), 0);
	ck_assert(rec.was_clean);
	ck_assert_uint_eq(rec.transactions, 0);
	jnl_close(bank->j, false);
	ck_assert_str_eq(bank_verify_text(), "good");
	teardown();
}
END_TEST

START_TEST(a_read_only_open_of_a_dirty_log_replays_in_memory_and_writes_nothing)
{
	struct set s = { .i = 3, .value = 9 };
	struct jnl_config cfg;
	struct jnl_recovery rec;
	size_t events;
	u64 seq;

	setup();
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, &seq), 0);
	ck_assert_int_eq(jnl_commit(bank->j, seq), 0);
	jnl_close(bank->j, true);
	events = sim_nr_events(dev);
	cfg = (struct jnl_config){ .dev = dev, .geo = &bank->geo, .readonly = true };
	ck_assert_int_eq(jnl_open(&cfg, &bank->j, &rec), 0);
	ck_assert_uint_eq(rec.transactions, 1);
	ck_assert_uint_eq(value_of(3), 9);
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, &seq), -EROFS);
	jnl_close(bank->j, false);
	ck_assert_uint_eq(sim_nr_events(dev), events);
	teardown();
}
END_TEST

static int fail_log_writes(void *arg, const struct blk_fault *f)
{
	(void)arg;
	return f->op == BLK_FAULT_WRITE && f->kind == BLK_LOG ? -EIO : 0;
}

static int fail_metadata_reads(void *arg, const struct blk_fault *f)
{
	(void)arg;
	return f->op == BLK_FAULT_READ && f->kind == BLK_META ? -EIO : 0;
}

START_TEST(a_failed_commit_makes_the_journal_read_only)
{
	struct set s = { .i = 3, .value = 9 };
	u64 seq;

	setup();
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, &seq), 0);
	blk_fault_set(dev, fail_log_writes, NULL);
	ck_assert_int_eq(jnl_commit(bank->j, seq), -EIO);
	blk_fault_set(dev, NULL, NULL);
	ck_assert_int_eq(jnl_commit(bank->j, seq), -EIO);
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, &seq), -EROFS);
	ck_assert_uint_eq(value_of(3), 9);
	ck_assert_int_eq(jnl_close(bank->j, false), -EIO);
	teardown();
}
END_TEST

START_TEST(a_buffer_that_cannot_be_read_fails_the_run_alone)
{
	struct set s = { .i = 3, .value = 9 };

	setup();
	blk_fault_set(dev, fail_metadata_reads, NULL);
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, NULL), -EIO);
	blk_fault_set(dev, NULL, NULL);
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, NULL), 0);
	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	teardown();
}
END_TEST

START_TEST(a_damaged_buffer_is_refused)
{
	struct set s = { .i = 3 };
	u8 *junk = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	setup();
	memset(junk, 0x5a, SECTOR_SIZE);
	ck_assert_int_eq(blk_write(dev, account(3), junk, 1, BLK_META), 0);
	ck_assert_int_lt(jnl_read(bank->j, body_get, &s), 0);
	jnl_close(bank->j, false);
	free(junk);
	teardown();
}
END_TEST

START_TEST(a_log_much_smaller_than_the_changes_makes_room_by_checkpoints)
{
	setup();
	for (unsigned i = 0; i < 3900; i++)
		ck_assert_int_eq(bank_step(bank), 0);
	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	ck_assert_str_eq(bank_verify_text(), "good");
	teardown();
}
END_TEST

static int body_new(struct view *v, void *arg)
{
	const struct set *s = arg;
	void *fresh;

	return view_new(v, account(s->i), FMT_KIND_MAP, 0, &fresh);
}

/* Pinned buffers are lost to file data, however long the log is. */
START_TEST(changed_buffers_leave_three_quarters_of_the_smallest_cache)
{
	struct set s = { .i = BANK_SECTORS };

	setup_with(1u << 20, 262144);
	for (; s.i < 200; s.i++) {
		ck_assert_int_eq(jnl_run(bank->j, 1, body_new, &s, NULL), 0);
		ck_assert_uint_le(folio_pinned_bytes(), mem_total_bytes() / 4);
	}
	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	teardown();
}
END_TEST

/* Changes a buffer, then gives it up or makes it anew, then fails. */
static int body_give_up(struct view *v, void *arg)
{
	const struct part *p = arg;
	struct fmt_map *m;
	void *fresh;
	int r = edit_named(v, p, &m);

	if (r)
		return r;
	if (p->more)
		view_forget(v, account(p->set.i), FMT_KIND_MAP);
	r = view_new(v, account(p->set.i), FMT_KIND_MAP, 0, &fresh);
	return r ? r : -ENOSPC;
}

START_TEST(a_run_that_gives_up_what_it_changed_and_fails_changes_nothing)
{
	struct part p = { .set = { .i = 3, .value = 77 } };

	setup();
	ck_assert_int_eq(jnl_run(bank->j, 1, body_part, &p, NULL), 0);
	p.set.value = 78;
	for (int i = 0; i < 2; i++, p.more = true) {
		ck_assert_int_eq(jnl_run(bank->j, 2, body_give_up, &p, NULL), -ENOSPC);
		ck_assert_uint_eq(value_of(3), 77);
	}
	jnl_close(bank->j, false);
	ck_assert_int_eq(bank_open(bank), 0);
	ck_assert_uint_eq(value_of(3), 77);
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

/* Threads add to an account each and check that pairs always agree. */
struct pair { unsigned i; bool torn; };

static int body_pair(struct view *v, void *arg)
{
	struct pair *p = arg;
	struct fmt_map *a, *b;
	int r = view_edit(v, account(p->i), FMT_KIND_MAP, (void **)&a);

	if (!r)
		r = view_edit(v, account(p->i + 1), FMT_KIND_MAP, (void **)&b);
	if (r)
		return r;
	a->entry[9] = put32(get32(a->entry[9]) + 1);
	b->entry[700] = put32(get32(b->entry[700]) + 1);
	return 0;
}

static int body_look(struct view *v, void *arg)
{
	struct pair *p = arg;
	const struct fmt_map *a, *b;
	int r = view_get(v, account(p->i), FMT_KIND_MAP, (const void **)&a);

	if (!r)
		r = view_get(v, account(p->i + 1), FMT_KIND_MAP, (const void **)&b);
	if (!r)
		p->torn = get32(a->entry[9]) != get32(b->entry[700]);
	return r;
}

static void *writer(void *arg)
{
	struct pair p = { .i = (unsigned)(uintptr_t)arg };
	u64 seq;

	for (unsigned n = 0; n < 2000; n++) {
		ck_assert_int_eq(jnl_run(bank->j, 2, body_pair, &p, &seq), 0);
		if (n % 16 == 0)
			ck_assert_int_eq(jnl_commit(bank->j, seq), 0);
		if (n % 100 == 0)
			jnl_kick_checkpoint(bank->j);
	}
	return NULL;
}

static void *reader(void *arg)
{
	struct pair p = { .i = (unsigned)(uintptr_t)arg };

	for (unsigned n = 0; n < 6000; n++) {
		ck_assert_int_eq(jnl_read(bank->j, body_look, &p), 0);
		ck_assert(!p.torn);
	}
	return NULL;
}

START_TEST(readers_never_see_half_a_handle_whatever_commits_and_checkpoints_do)
{
	struct jnl_config cfg;
	pthread_t t[4];

	setup();
	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	cfg = (struct jnl_config){ .dev = dev, .geo = &bank->geo, .threads = true, .commit_ms = 2 };
	ck_assert_int_eq(jnl_open(&cfg, &bank->j, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, i < 2 ? writer : reader,
						(void *)(uintptr_t)(i % 2 * 2)), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	ck_assert_int_eq(bank_open(bank), 0);
	{
		struct pair p = { .i = 2 };

		ck_assert_int_eq(jnl_read(bank->j, body_look, &p), 0);
		ck_assert(!p.torn);
	}
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

/* The machine has lost the buffer's memory; what is there now must be of no account. */
static void lose_memory_of(unsigned i)
{
	struct folio *f = cache_find(jnl_mapping(bank->j), account(i));

	ck_assert_ptr_nonnull(f);
	memset(folio_data(f), 0xa5, SECTOR_SIZE);
	ck_assert(mem_note_error(folio_data(f), SECTOR_SHIFT));
	folio_put(f);
	ck_assert_uint_eq(cache_mend_memory(), 0);
}

START_TEST(a_clean_buffer_that_memory_lost_is_read_again)
{
	struct set s = { .i = 3, .value = 9 };

	setup();
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, NULL), 0);
	ck_assert_int_eq(jnl_checkpoint_all(bank->j), 0);
	lose_memory_of(3);
	ck_assert_uint_eq(value_of(3), 9);
	ck_assert_uint_eq(mem_nr_bad, 0);
	s.value = 10;
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, NULL), 0);
	ck_assert_int_eq(jnl_close(bank->j, false), 0);
	teardown();
}
END_TEST

START_TEST(a_changed_buffer_that_memory_lost_makes_the_journal_read_only)
{
	struct set s = { .i = 3, .value = 9 };

	setup();
	ck_assert_int_eq(jnl_run(bank->j, 1, body_set, &s, NULL), 0);
	lose_memory_of(3);
	ck_assert_int_eq(jnl_error(bank->j), -EIO);
	ck_assert_int_eq(jnl_read(bank->j, body_get, &s), -EIO);
	s.i = 4;
	ck_assert_int_lt(jnl_run(bank->j, 1, body_set, &s, NULL), 0);
	ck_assert_int_lt(jnl_close(bank->j, false), 0);
	/* The disk has what was durable: nothing of it. */
	ck_assert_int_eq(bank_open(bank), 0);
	ck_assert_uint_eq(value_of(3), 0);
	jnl_close(bank->j, false);
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("journal");

	log_set_level(LOG_LEVEL_ERR);
	check_add(s, a_body_is_run_again_when_a_buffer_is_not_in_memory);
	check_add(s, a_map_sector_comes_with_its_neighbours);
	check_add(s, what_is_wrong_with_a_neighbour_is_told_when_it_is_asked_for);
	check_add(s, a_neighbour_that_can_not_be_read_costs_only_itself);
	check_add(s, a_body_that_fails_changes_nothing);
	check_add(s, a_body_that_writes_what_is_there_logs_nothing);
	check_add(s, named_changes_are_published_and_failed_ones_leave_no_trace_in_later_runs);
	check_add(s, a_run_that_gives_up_what_it_changed_and_fails_changes_nothing);
#ifdef FOLIOFS_DEBUG
	TCase *tc = tcase_create("a_checked_build_stops_at_a_change_that_is_not_named");

	tcase_add_test_raise_signal(tc, a_checked_build_stops_at_a_change_that_is_not_named,
				    SIGABRT);
	suite_add_tcase(s, tc);
#endif
	check_add(s, a_commit_is_one_write_and_one_flush_and_a_second_one_nothing);
	check_add(s, a_commit_that_will_be_asked_for_begins_at_once);
	check_add(s, a_buffer_changed_often_is_logged_once);
	check_add(s, after_a_clean_close_nothing_is_replayed_and_all_is_in_place);
	check_add(s, a_read_only_open_of_a_dirty_log_replays_in_memory_and_writes_nothing);
	check_add(s, a_failed_commit_makes_the_journal_read_only);
	check_add(s, a_buffer_that_cannot_be_read_fails_the_run_alone);
	check_add(s, a_damaged_buffer_is_refused);
	check_add(s, changed_buffers_leave_three_quarters_of_the_smallest_cache);
	check_add(s, a_log_much_smaller_than_the_changes_makes_room_by_checkpoints);
	check_add(s, readers_never_see_half_a_handle_whatever_commits_and_checkpoints_do);
	check_add(s, a_clean_buffer_that_memory_lost_is_read_again);
	check_add(s, a_changed_buffer_that_memory_lost_makes_the_journal_read_only);
	return check_main(s);
}
