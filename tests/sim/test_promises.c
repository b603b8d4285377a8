/*
 * What docs/GUARANTEES.md promises, on crash images of every one and two operations followed by
 * each
 * kind of sync, and of longer random runs. And: leaving out a rule of the journal makes it fail.
 *
 * FOLIOFS_SEED repeats the random runs of one seed.
 */
#include "check_main.h"
#include "small.h"

#include "base/log.h"
#include "blk/sim.h"
#include "cache/cache.h"

#include <stdlib.h>

struct tally {
	unsigned images;
	char what[300];
};

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

static void setup(void)
{
	struct cache_config cfg = { .bytes = 8u << 20, .max_order = 0xff };

	ck_assert_int_eq(cache_init(&cfg), 0);
	log_set_sink(quiet, NULL);
}

static bool try_image(const struct small *s, struct sim_cutter *c, const struct sim_spec *spec,
		      struct tally *t)
{
	struct blk_dev *img;
	const char *wrong;

	ck_assert_int_eq(sim_image(c, spec, false, &img), 0);
	wrong = small_verify(s, img, spec->events, spec->tear == 512);
	blk_close(img);
	t->images++;
	if (wrong)
		snprintf(t->what, sizeof(t->what), "%s; event %zu of %zu, cut %d, "
			 "seed %llu, tear %u",
			 wrong, spec->events, sim_nr_events(s->dev), spec->cut,
			 (unsigned long long)spec->seed, spec->tear);
	return !wrong;
}

/* Every event from the first state on, four images each. */
static bool try_all(const struct small *s, struct tally *t)
{
	struct sim_cutter *c;
	size_t end = sim_nr_events(s->dev);
	bool good = true;

	ck_assert_int_eq(sim_cutter_new(s->dev, &c), 0);
	for (size_t n = s->base; good && n <= end; n++) {
		const struct sim_spec specs[] = {
			{ .events = n, .cut = SIM_PREFIX },
			{ .events = n, .cut = SIM_RANDOM, .seed = n * 3 + 1, .permute = true },
			{ .events = n, .cut = SIM_RANDOM, .seed = n * 3 + 2, .tear = 512 },
		};

		for (unsigned i = 0; good && i < ARRAY_LEN(specs); i++)
			good = try_image(s, c, &specs[i], t);
	}
	sim_cutter_free(c);
	return good;
}

static bool run(const unsigned *op, unsigned nr, enum small_sync how, u32 block, struct tally *t)
{
	struct small s;
	bool good;

	small_open(&s, block);
	for (unsigned i = 0; i < nr; i++)
		small_step(&s, op[i]);
	small_sync(&s, how);
	small_crash(&s);
	good = try_all(&s, t);
	small_close(&s);
	return good;
}

START_TEST(every_operation_before_every_sync_keeps_the_promise)
{
	struct tally t = { 0 };

	setup();
	for (unsigned a = 0; a < small_nr_ops; a++)
		for (unsigned how = 0; how < SMALL_NR_SYNC; how++)
			for (u32 block = 4096; block <= 65536; block *= 16)
				ck_assert_msg(run(&a, 1, how, block, &t),
					      "%s, sync %u, block %u: %s", small_op_name(a), how,
					      block, t.what);
	printf("one operation: %u images\n", t.images);
	cache_fini();
}
END_TEST

START_TEST(every_two_operations_before_a_sync_keep_the_promise)
{
	struct tally t = { 0 };

	setup();
	for (unsigned a = 0; a < small_nr_ops; a++)
		for (unsigned b = 0; b < small_nr_ops; b++)
			for (unsigned how = 0; how < SMALL_NR_SYNC; how++) {
				const unsigned op[] = { a, b };

				ck_assert_msg(run(op, 2, how, 4096, &t), "%s, %s, sync %u: %s",
					      small_op_name(a), small_op_name(b), how, t.what);
			}
	printf("two operations: %u images\n", t.images);
	cache_fini();
}
END_TEST

static u64 next_random(u64 *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

static bool run_random(u64 seed, unsigned nr, struct tally *t)
{
	unsigned op[SMALL_STATES];
	u64 state = seed;

	for (unsigned i = 0; i < nr; i++)
		op[i] = next_random(&state) % small_nr_ops;
	return run(op, nr, next_random(&state) % SMALL_NR_SYNC, seed % 2 ? 4096 : 65536, t);
}

START_TEST(random_operations_before_a_sync_keep_the_promise)
{
	const char *only = getenv("FOLIOFS_SEED");
	u64 from = only ? strtoull(only, NULL, 0) : 1, to = only ? from : 2000;
	struct tally t = { 0 };

	setup();
	for (u64 seed = from; seed <= to; seed++)
		ck_assert_msg(run_random(seed, 8, &t), "FOLIOFS_SEED=%llu: %s",
			      (unsigned long long)seed, t.what);
	printf("random operations: %u images\n", t.images);
	cache_fini();
}
END_TEST

static void omission_is_seen(enum jnl_omit what)
{
	struct tally t = { 0 };
	bool good = true;

	setup();
	jnl_omit(what);
	for (u64 seed = 1; good && seed <= 400; seed++)
		good = run_random(seed, 10, &t);
	jnl_omit(JNL_OMIT_NONE);
	ck_assert_msg(!good, "%u images and nothing went wrong without it", t.images);
	cache_fini();
}

START_TEST(leaving_out_the_flush_of_a_commit_breaks_the_promise)
{
	omission_is_seen(JNL_OMIT_COMMIT_FLUSH);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("promises");

	check_add_slow(s, every_operation_before_every_sync_keeps_the_promise, 380);
	check_add_slow(s, every_two_operations_before_a_sync_keep_the_promise, 380);
	check_add_slow(s, random_operations_before_a_sync_keep_the_promise, 380);
	check_add_slow(s, leaving_out_the_flush_of_a_commit_breaks_the_promise, 120);
	return check_main(s);
}
