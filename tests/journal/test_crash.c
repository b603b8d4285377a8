/*
 * The journal's promise, on every prefix and on reorderings of what it wrote, and that leaving
 * out a rule is seen.
 */
#include "bank.h"
#include "check_main.h"

#include "blk/sim.h"
#include "base/log.h"

#include <stdlib.h>

#define SECTORS 12288u
#define BATCH 3u                /* buffers of a checkpoint at a time, in every second world */

struct world {
	struct bank *bank;
	struct blk_dev *dev;
	unsigned images;
	char what[200];
};

static void world_make(struct world *w, u64 seed, unsigned steps)
{
	struct sim_opts so = { .sectors = SECTORS, .record = true };

	w->images = 0;
	w->what[0] = 0;
	w->bank = malloc(sizeof(*w->bank));
	ck_assert_int_eq(sim_open(&so, &w->dev), 0);
	bank_format(w->bank, w->dev, seed);
	ck_assert_int_eq(bank_open(w->bank), 0);
	jnl_batch_max(seed % 2 ? BATCH : 0);
	for (unsigned i = 0; i < steps; i++)
		ck_assert_int_eq(bank_step(w->bank), 0);
	jnl_batch_max(0);
	jnl_close(w->bank->j, true);
}

static void world_free(struct world *w)
{
	blk_close(w->dev);
	free(w->bank);
}

/* An image of every kind after n events; false (and w->what) when one is wrong. */
static bool world_try(struct world *w, struct sim_cutter *c, size_t n, u64 seed)
{
	const struct sim_spec specs[] = {
		{ .events = n, .cut = SIM_PREFIX },
		{ .events = n, .cut = SIM_RANDOM, .seed = seed },
		{ .events = n, .cut = SIM_RANDOM, .seed = seed + 1, .tear = 512, .permute = true },
		{ .events = n, .cut = SIM_RANDOM, .seed = seed + 2, .tear = 4096 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(specs); i++) {
		struct blk_dev *img;
		const char *wrong;

		ck_assert_int_eq(sim_image(c, &specs[i], false, &img), 0);
		wrong = bank_verify(w->bank, img, n);
		blk_close(img);
		w->images++;
		if (wrong) {
			snprintf(w->what, sizeof(w->what),
				 "%s: event %zu, cut %u, seed %llu", wrong, n, i,
				 (unsigned long long)seed);
			return false;
		}
	}
	return true;
}

static bool world_check(struct world *w, size_t every)
{
	struct sim_cutter *c;
	size_t end = sim_nr_events(w->dev);
	bool good = true;

	ck_assert_int_eq(sim_cutter_new(w->dev, &c), 0);
	for (size_t n = BANK_SECTORS + 3; good && n <= end; n += every)
		good = world_try(w, c, n, n * 31);
	sim_cutter_free(c);
	return good;
}

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

static void setup(void)
{
	struct cache_config cfg = { .bytes = 4u << 20, .max_order = 0xff };

	ck_assert_int_eq(cache_init(&cfg), 0);
	log_set_sink(quiet, NULL);
}

START_TEST(every_image_recovers_to_a_state_that_was_promised)
{
	unsigned images = 0;

	setup();
	for (u64 seed = 1; seed <= 4; seed++) {
		struct world w;

		world_make(&w, seed, 350);
		ck_assert_msg(world_check(&w, 1), "world %llu: %s", (unsigned long long)seed,
			      w.what);
		images += w.images;
		world_free(&w);
	}
	printf("%u images\n", images);
	cache_fini();
}
END_TEST

static void omission_is_seen(enum jnl_omit what)
{
	bool seen = false;

	setup();
	for (u64 seed = 1; !seen && seed <= 12; seed++) {
		struct world w;

		jnl_omit(what);
		world_make(&w, seed, 350);
		jnl_omit(JNL_OMIT_NONE);
		seen = !world_check(&w, 1);
		world_free(&w);
	}
	ck_assert_msg(seen, "nothing went wrong without it");
	cache_fini();
}

START_TEST(leaving_out_the_flush_of_a_commit_is_seen)
{
	omission_is_seen(JNL_OMIT_COMMIT_FLUSH);
}
END_TEST

START_TEST(leaving_out_the_busy_rule_is_seen)
{
	omission_is_seen(JNL_OMIT_BUSY);
}
END_TEST

START_TEST(leaving_out_the_revoke_is_seen)
{
	omission_is_seen(JNL_OMIT_REVOKE);
}
END_TEST

START_TEST(leaving_out_what_a_new_buffer_holds_is_seen)
{
	omission_is_seen(JNL_OMIT_WHOLE);
}
END_TEST

START_TEST(leaving_out_sums_before_a_checkpoint_writes_is_seen)
{
	omission_is_seen(JNL_OMIT_SUM);
}
END_TEST

/* Where the power goes twice: after so many events, and after so many of the recovery. */
struct twice {
	size_t events, recovery;
	const char *wrong;
};

/* Every crash of the recovery of img, which is w after t->events. False: t->wrong is. */
static bool recovery_cuts(const struct world *w, struct blk_dev *img, struct twice *t)
{
	struct sim_cutter *c;

	ck_assert_int_eq(sim_cutter_new(img, &c), 0);
	for (size_t k = 0; !t->wrong && k <= sim_nr_events(img); k++) {
		struct sim_spec cut = { .events = k, .cut = SIM_RANDOM, .seed = t->events + k,
					.tear = 512 };
		struct blk_dev *again;

		ck_assert_int_eq(sim_image(c, &cut, false, &again), 0);
		t->recovery = k;
		t->wrong = bank_verify(w->bank, again, t->events);
		blk_close(again);
	}
	sim_cutter_free(c);
	return !t->wrong;
}

/* what: left out in the recovery that the power ends. */
static bool crash_twice(enum jnl_omit what, struct twice *t)
{
	struct sim_cutter *c;
	bool good = true;
	struct world w;
	size_t end;

	setup();
	world_make(&w, 7, 300);
	ck_assert_int_eq(sim_cutter_new(w.dev, &c), 0);
	end = sim_nr_events(w.dev);
	for (size_t n = end / 2; good && n <= end; n += 17) {
		struct sim_spec first = { .events = n, .cut = SIM_RANDOM, .seed = n };
		struct blk_dev *img;

		*t = (struct twice){ .events = n };
		ck_assert_int_eq(sim_image(c, &first, true, &img), 0);
		jnl_omit(what);
		ck_assert_msg(!bank_verify(w.bank, img, n), "first recovery, event %zu", n);
		jnl_omit(JNL_OMIT_NONE);
		good = recovery_cuts(&w, img, t);
		blk_close(img);
	}
	sim_cutter_free(c);
	world_free(&w);
	cache_fini();
	return good;
}

START_TEST(a_crash_during_recovery_is_a_crash_like_any_other)
{
	struct twice t;
	bool good = crash_twice(JNL_OMIT_NONE, &t);

	ck_assert_msg(good, "%s: event %zu, then %zu", t.wrong, t.events, t.recovery);
}
END_TEST

START_TEST(leaving_out_that_a_recovery_is_under_way_is_seen)
{
	struct twice t;

	ck_assert(!crash_twice(JNL_OMIT_RECOVERING, &t));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("journal crash");

	check_add_slow(s, every_image_recovers_to_a_state_that_was_promised, 280);
	check_add_slow(s, leaving_out_the_flush_of_a_commit_is_seen, 120);
	check_add_slow(s, leaving_out_the_busy_rule_is_seen, 120);
	check_add_slow(s, leaving_out_the_revoke_is_seen, 120);
	check_add_slow(s, leaving_out_what_a_new_buffer_holds_is_seen, 120);
	check_add_slow(s, leaving_out_sums_before_a_checkpoint_writes_is_seen, 120);
	check_add_slow(s, a_crash_during_recovery_is_a_crash_like_any_other, 120);
	check_add_slow(s, leaving_out_that_a_recovery_is_under_way_is_seen, 120);
	return check_main(s);
}
