/*
 * Long random runs on a recording device: after each event of the device, images of what a crash
 * may leave are recovered, checked, and compared with all that was promised until then (world.h).
 * And: the same runs with one rule left out must fail.
 *
 * CRASH_SEED=n repeats one world, CRASH_EVENT=m only the images after m events of it, WORLD_TRACE=1
 * prints the operations. CRASH_FROM=s CRASH_WORLDS=n: n worlds from seed s on (scripts/crash);
 * CRASH_OPS=n: so many operations in each.
 */
#include "check_main.h"
#include "world.h"

#include <stdlib.h>

#include "base/log.h"
#include "blk/sim.h"

#define OPS 160u
#define WORLDS 80u
#define REPEAT "CK_FORK=no CK_RUN_CASE=random_runs_keep_every_promise CRASH_SEED=%llu " \
	       "CRASH_EVENT=%zu tests/sim_test_fs_crash"

static u64 env_number(const char *name, u64 fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : fallback;
}

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	if (getenv("WORLD_LOG"))
		fprintf(stderr, "%d %s\n", (int)level, line);
}

static void setup(void)
{
	struct cache_config cfg = { .bytes = 8u << 20, .max_order = 0xff };

	log_set_sink(quiet, NULL);
	ck_assert_int_eq(cache_init(&cfg), 0);
}

static const struct sim_spec kinds[] = {
	{ .cut = SIM_PREFIX },
	{ .cut = SIM_RANDOM, .permute = true },
	{ .cut = SIM_RANDOM, .tear = 512 },
};

static struct sim_spec spec_of(unsigned kind, size_t events, u64 seed)
{
	struct sim_spec s = kinds[kind];

	s.events = events;
	s.seed = seed * 1000003 + events * 7 + kind;
	return s;
}

/* The images after n events. */
static bool try_event(struct world *w, struct sim_cutter *c, size_t n, u64 *images)
{
	for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
		struct sim_spec spec = spec_of(k, n, w->seed);
		struct blk_dev *img;
		bool good;

		ck_assert_int_eq(sim_image(c, &spec, false, &img), 0);
		good = world_verify(w, img, n, spec.tear == 512);
		blk_close(img);
		++*images;
		if (!good)
			return false;
	}
	return true;
}

static bool try_world(struct world *w, u64 *images, size_t *event)
{
	size_t end = sim_nr_events(w->dev), only = env_number("CRASH_EVENT", 0);
	struct sim_cutter *c;
	bool good = true;

	ck_assert_int_eq(sim_cutter_new(w->dev, &c), 0);
	for (size_t n = w->base; good && n <= end; n++) {
		*event = n;
		if (!only || n == only)
			good = try_event(w, c, n, images);
	}
	sim_cutter_free(c);
	return good;
}

static void run_world(u64 seed, u64 *images)
{
	struct world w;
	size_t event;

	world_make(&w, seed, (u32)env_number("CRASH_OPS", OPS));
	ck_assert_msg(try_world(&w, images, &event),
		      "seed %llu, %zu of %zu events, block %u: %s\nrepeat: " REPEAT,
		      (unsigned long long)seed, event, sim_nr_events(w.dev), w.block_bytes, w.wrong,
		      (unsigned long long)seed, event);
	world_free(&w);
}

START_TEST(random_runs_keep_every_promise)
{
	u64 only = env_number("CRASH_SEED", 0), from = only ? only : env_number("CRASH_FROM", 1);
	u64 nr = only ? 1 : env_number("CRASH_WORLDS", WORLDS), images = 0;

	setup();
	for (u64 seed = from; seed < from + nr; seed++)
		run_world(seed, &images);
	printf("%llu images\n", (unsigned long long)images);
	cache_fini();
}
END_TEST

/* The first recovery of an image is recorded and cut itself. */
static bool try_recovery(struct world *w, struct sim_cutter *c, size_t n, u64 *images)
{
	struct sim_spec first = spec_of(1, n, w->seed);
	struct sim_cutter *c2;
	struct blk_dev *img;
	bool good;

	ck_assert_int_eq(sim_image(c, &first, true, &img), 0);
	good = world_verify(w, img, n, false);
	ck_assert_int_eq(sim_cutter_new(img, &c2), 0);
	for (size_t k = 0; good && k <= sim_nr_events(img); k++) {
		struct sim_spec second = spec_of(2, k, n);
		struct blk_dev *img2;

		ck_assert_int_eq(sim_image(c2, &second, false, &img2), 0);
		good = world_verify(w, img2, n, true);
		blk_close(img2);
		++*images;
	}
	sim_cutter_free(c2);
	blk_close(img);
	return good;
}

START_TEST(a_crash_during_recovery_keeps_every_promise)
{
	u64 from = env_number("CRASH_SEED", 101), images = 0;

	setup();
	for (u64 seed = from; seed < from + 4; seed++) {
		struct sim_cutter *c;
		struct world w;

		world_make(&w, seed, OPS);
		ck_assert_int_eq(sim_cutter_new(w.dev, &c), 0);
		/* No multiple of what makes world_verify() change files. */
		for (size_t n = w.base | 1; n <= sim_nr_events(w.dev); n += 6)
			ck_assert_msg(try_recovery(&w, c, n, &images), "seed %llu, event %zu: %s",
				      (unsigned long long)seed, n, w.wrong);
		sim_cutter_free(c);
		world_free(&w);
	}
	printf("%llu images\n", (unsigned long long)images);
	cache_fini();
}
END_TEST

/* ---- the simulator is worth something: without a rule it finds a violation ---- */

static void without(enum jnl_omit rule, enum fs_omit fs_rule, u64 worlds)
{
	u64 images = 0;
	bool seen = false;

	setup();
	for (u64 seed = 1; !seen && seed <= worlds; seed++) {
		struct world w;
		size_t event;

		jnl_omit(rule);
		fs_omit(fs_rule);
		world_make(&w, seed, OPS);
		jnl_omit(JNL_OMIT_NONE);
		fs_omit(FS_OMIT_NONE);
		seen = !try_world(&w, &images, &event);
		if (seen)
			printf("seed %llu, event %zu: %s\n", (unsigned long long)seed, event,
			       w.wrong);
		world_free(&w);
	}
	ck_assert_msg(seen, "%llu images and nothing was wrong", (unsigned long long)images);
	cache_fini();
}

START_TEST(leaving_out_the_flush_of_a_commit_is_seen)
{
	without(JNL_OMIT_COMMIT_FLUSH, FS_OMIT_NONE, 20);
}
END_TEST

START_TEST(leaving_out_the_busy_rule_is_seen)
{
	without(JNL_OMIT_BUSY, FS_OMIT_NONE, 20);
}
END_TEST

START_TEST(leaving_out_the_revoke_is_seen)
{
	without(JNL_OMIT_REVOKE, FS_OMIT_NONE, 300);
}
END_TEST

START_TEST(a_checkpoint_of_what_is_not_durable_in_the_log_is_seen)
{
	without(JNL_OMIT_CHECKPOINT_COMMIT, FS_OMIT_NONE, 100);
}
END_TEST

START_TEST(leaving_out_zeroes_behind_the_end_of_file_is_seen)
{
	without(JNL_OMIT_NONE, FS_OMIT_EOF_ZERO, 100);
}
END_TEST

START_TEST(leaving_out_whole_images_is_seen)
{
	without(JNL_OMIT_WHOLE, FS_OMIT_NONE, 100);
}
END_TEST

START_TEST(leaving_out_the_intent_is_seen)
{
	without(JNL_OMIT_INTENT, FS_OMIT_NONE, 20);
}
END_TEST

START_TEST(overwriting_before_the_intent_is_durable_is_seen)
{
	without(JNL_OMIT_NONE, FS_OMIT_INTENT_COMMIT, 20);
}
END_TEST

START_TEST(leaving_out_the_flush_before_a_completion_is_seen)
{
	without(JNL_OMIT_NONE, FS_OMIT_DATA_FLUSH, 20);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fs crash");

	check_add_slow(s, random_runs_keep_every_promise, 100000);
	check_add_slow(s, a_crash_during_recovery_keeps_every_promise, 400);
	check_add_slow(s, leaving_out_the_flush_of_a_commit_is_seen, 200);
	check_add_slow(s, leaving_out_the_busy_rule_is_seen, 200);
	check_add_slow(s, leaving_out_the_revoke_is_seen, 200);
	check_add_slow(s, a_checkpoint_of_what_is_not_durable_in_the_log_is_seen, 200);
	check_add_slow(s, leaving_out_zeroes_behind_the_end_of_file_is_seen, 200);
	check_add_slow(s, leaving_out_whole_images_is_seen, 200);
	check_add_slow(s, leaving_out_the_intent_is_seen, 200);
	check_add_slow(s, overwriting_before_the_intent_is_durable_is_seen, 200);
	check_add_slow(s, leaving_out_the_flush_before_a_completion_is_seen, 200);
	return check_main(s);
}
