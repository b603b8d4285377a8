/*
 * What docs/GUARANTEES.md promises, on crash images of every one and two operations with every kind
 * of sync behind each of them, and of samples of three.
 *
 * CRASH_SCRIPT=code (printed by a failure) runs one script, CRASH_EVENT=n only its images after n
 * events, WORLD_TRACE=1 prints its operations. CRASH_FROM=s, CRASH_WORLDS=n: n samples of three
 * operations from seed s on. CRASH_ALL=1: every kind of image, not one of the kinds an event.
 */
#include "check_main.h"
#include "cuts.h"

#include <stdlib.h>

#include "base/hash.h"
#include "blk/sim.h"

#define REPEAT "CK_FORK=no CK_RUN_CASE=one_script_keeps_the_promise CRASH_ALL=1 CRASH_SCRIPT=%s " \
	       "CRASH_EVENT=%zu tests/sim_test_promises"

static const u32 blocks[] = { 4096, 65536, FMT_BLOCK_MAX };

static struct cuts cuts_start(unsigned kinds)
{
	return (struct cuts){ .kinds = cuts_env("CRASH_ALL", 0) ? CUT_ALL : kinds,
			      .only = cuts_env("CRASH_EVENT", 0) };
}

/* `from`: the step whose events are the first to be cut; those before were, in other scripts. */
static bool try_script(const struct world_script *s, unsigned from, struct cuts *t)
{
	struct world w;
	size_t start, end;
	bool good;

	world_make_script(&w, s);
	start = MAX(w.base, w.began[from + 2]);
	end = sim_nr_events(w.dev);
	good = cuts_try(t, &w, start);
	/* Every eighth is also cut while it recovers. */
	if (good && (w.seed & 7) == 1)
		good = cuts_try_recovery(t, &w, start + (w.seed >> 3) % (end - start + 1));
	world_free(&w);
	return good;
}

static void run(const struct world_script *s, unsigned from, struct cuts *t)
{
	char text[200], code[80];

	ck_assert_msg(try_script(s, from, t), "%s (block %u%s): %s\nrepeat: " REPEAT,
		      world_script_text(s, text), s->block_bytes,
		      s->no_sums ? ", no checksums" : "", t->what,
		      world_script_code(s, code), t->event);
}

START_TEST(one_script_keeps_the_promise)
{
	const char *code = getenv("CRASH_SCRIPT");
	struct cuts t = cuts_start(CUT_ALL);
	struct world_script s;

	ck_assert_int_eq(world_script_parse(code ? code : "3.8@4096", &s), 0);
	cuts_setup();
	run(&s, 0, &t);
	cuts_done(&t, "one script");
}
END_TEST

START_TEST(every_operation_before_every_sync_keeps_the_promise)
{
	unsigned nr = world_script_ops();
	struct cuts t = cuts_start(CUT_ALL);

	cuts_setup();
	for (unsigned a = 0; a < nr; a++)
		for (unsigned how = 0; how < WORLD_SCRIPT_SYNCS; how++)
			for (unsigned i = 0; i < ARRAY_LEN(blocks); i++) {
				struct world_script s = { 2, { a, nr + how }, blocks[i], 0 };

				run(&s, 0, &t);
				s.no_sums = 1;
				run(&s, 0, &t);
			}
	cuts_done(&t, "one operation");
}
END_TEST

/* The halves run side by side. */
START_TEST(every_two_operations_before_a_sync_keep_the_promise)
{
	unsigned nr = world_script_ops();
	struct cuts t = cuts_start(CUT_ALL);

	cuts_setup();
	for (unsigned a = 0; a < nr; a++)
		for (unsigned b = 0; b < nr; b++)
			for (unsigned how = 0; how < WORLD_SCRIPT_SYNCS; how++) {
				struct world_script s = { 3, { a, b, nr + how }, 4096, 0 };

				run(&s, 0, &t);
			}
	cuts_done(&t, "two operations");
}
END_TEST

START_TEST(every_two_operations_without_checksums_keep_the_promise)
{
	unsigned nr = world_script_ops();
	struct cuts t = cuts_start(CUT_ALL);

	cuts_setup();
	for (unsigned a = 0; a < nr; a++)
		for (unsigned b = 0; b < nr; b++) {
			unsigned how = (a + b) % WORLD_SCRIPT_SYNCS;
			struct world_script s = { 3, { a, b, nr + how }, 4096, 1 };

			run(&s, 0, &t);
		}
	cuts_done(&t, "two operations, no checksums");
}
END_TEST

START_TEST(every_two_operations_with_a_sync_after_each_keep_the_promise)
{
	unsigned nr = world_script_ops(), all = nr * WORLD_SCRIPT_SYNCS;
	struct cuts t = cuts_start(CUT_ONE);

	cuts_setup();
	for (unsigned i = 0; i < all; i++)
		for (unsigned k = 0; k < all; k++) {
			struct world_script s = { 4, {
				i / WORLD_SCRIPT_SYNCS, nr + i % WORLD_SCRIPT_SYNCS,
				k / WORLD_SCRIPT_SYNCS, nr + k % WORLD_SCRIPT_SYNCS }, 4096, 0 };

			run(&s, 2, &t);
		}
	cuts_done(&t, "two operations, two syncs");
}
END_TEST

static u64 below(u64 *state, u64 n)
{
	*state += 0x9e3779b97f4a7c15ull;
	return hash_mix64(*state) % n;
}

/* Three operations, a sync behind each or not, the last one always; a quarter without checksums. */
static struct world_script sample(u64 seed)
{
	struct world_script s = { .block_bytes = blocks[seed % ARRAY_LEN(blocks)],
				  .no_sums = seed % 4 == 0 };
	unsigned nr = world_script_ops();
	u64 state = hash_mix64(seed);

	for (unsigned i = 0; i < 3; i++) {
		s.step[s.nr++] = (u8)below(&state, nr);
		if (i == 2 || below(&state, 3) == 0)
			s.step[s.nr++] = (u8)(nr + below(&state, WORLD_SCRIPT_SYNCS));
	}
	return s;
}

START_TEST(three_operations_keep_the_promise)
{
	u64 from = cuts_env("CRASH_FROM", 1), nr = cuts_env("CRASH_WORLDS", 3000);
	struct cuts t = cuts_start(CUT_ORDER | CUT_TORN_512);

	cuts_setup();
	printf("seeds %llu to %llu\n", (unsigned long long)from,
	       (unsigned long long)(from + nr - 1));
	for (u64 seed = from; seed < from + nr; seed++) {
		struct world_script s = sample(seed);

		run(&s, 0, &t);
	}
	cuts_done(&t, "three operations");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("promises");

	check_add(s, one_script_keeps_the_promise);
	check_add_slow(s, every_operation_before_every_sync_keeps_the_promise, 100000);
	check_add_slow(s, every_two_operations_before_a_sync_keep_the_promise, 100000);
	check_add_slow(s, every_two_operations_without_checksums_keep_the_promise, 100000);
	check_add_slow(s, every_two_operations_with_a_sync_after_each_keep_the_promise, 100000);
	check_add_slow(s, three_operations_keep_the_promise, 100000);
	return check_main(s);
}
