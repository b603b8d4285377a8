/*
 * Long random runs on a recording device: after each event of the device, images of what a crash
 * may leave are recovered, checked, and compared with all that was promised until then (world.h).
 *
 * CRASH_SEED=n repeats one world, CRASH_EVENT=m only the images after m events of it, WORLD_TRACE=1
 * prints the operations. CRASH_FROM=s CRASH_WORLDS=n: n worlds from seed s on (scripts/crash);
 * CRASH_OPS=n: so many operations in each.
 */
#include "check_main.h"
#include "cuts.h"

#include "blk/sim.h"

#define OPS 160u
#define WORLDS 80u
#define REPEAT "CK_FORK=no CK_RUN_CASE=%s CRASH_SEED=%llu CRASH_EVENT=%zu CRASH_OPS=%u " \
	       "tests/sim_test_fs_crash"

typedef bool try_fn(struct cuts *t, struct world *w);

static bool try_all(struct cuts *t, struct world *w)
{
	return cuts_try(t, w, w->base);
}

/* The first recovery of an image is recorded and cut itself, at some events. */
static bool try_recoveries(struct cuts *t, struct world *w)
{
	size_t end = sim_nr_events(w->dev);

	if (t->only)
		return cuts_try_recovery(t, w, t->only);
	for (size_t n = w->base; n <= end; n += 1 + end / 12)
		if (!cuts_try_recovery(t, w, n))
			return false;
	return true;
}

/* Without any, or in turns; or of every kind. */
static enum world_sums no_sums(u64 seed)
{
	return seed % 2 ? WORLD_NO_SUMS : WORLD_SUMS_IN_TURNS;
}

static enum world_sums any_sums(u64 seed)
{
	return (enum world_sums)(seed % WORLD_SUMS_KINDS);
}

/* sums: by seed; NULL: all have checksums. */
static void run_worlds(const char *name, u64 nr, u32 ops, enum world_temper temper,
		       enum world_sums (*sums)(u64 seed), try_fn *try)
{
	u64 only = cuts_env("CRASH_SEED", 0), from = only ? only : cuts_env("CRASH_FROM", 1);
	struct cuts t = { .kinds = CUT_ALL, .only = cuts_env("CRASH_EVENT", 0) };

	nr = only ? 1 : cuts_env("CRASH_WORLDS", nr);
	ops = (u32)cuts_env("CRASH_OPS", ops);
	cuts_setup();
	for (u64 seed = from; seed < from + nr; seed++) {
		struct world w;

		world_make_random(&w, seed, ops, temper, sums ? sums(seed) : WORLD_SUMS);
		ck_assert_msg(try(&t, &w), "seed %llu, block %u: %s\nrepeat: " REPEAT,
			      (unsigned long long)seed, w.block_bytes, t.what, name,
			      (unsigned long long)seed, t.event, ops);
		world_free(&w);
	}
	cuts_done(&t, name);
}

START_TEST(random_runs_keep_every_promise)
{
	run_worlds("random_runs_keep_every_promise", WORLDS, OPS, WORLD_MIXED, NULL, try_all);
}
END_TEST

START_TEST(random_runs_without_checksums_keep_every_promise)
{
	run_worlds("random_runs_without_checksums_keep_every_promise", WORLDS / 4, OPS,
		   WORLD_MIXED, no_sums, try_all);
}
END_TEST

START_TEST(data_by_turns_in_the_log_and_in_place_keeps_every_promise)
{
	run_worlds("data_by_turns_in_the_log_and_in_place_keeps_every_promise", WORLDS / 4, 100,
		   WORLD_LOGGED, any_sums, try_all);
}
END_TEST

START_TEST(large_transactions_in_a_small_log_keep_every_promise)
{
	run_worlds("large_transactions_in_a_small_log_keep_every_promise", 4, 4000,
		   WORLD_LARGE_TXN, NULL, try_all);
}
END_TEST

START_TEST(a_crash_during_recovery_keeps_every_promise)
{
	run_worlds("a_crash_during_recovery_keeps_every_promise", 30, OPS, WORLD_MIXED,
		   any_sums, try_recoveries);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fs crash");

	check_add_slow(s, random_runs_keep_every_promise, 100000);
	check_add_slow(s, random_runs_without_checksums_keep_every_promise, 100000);
	check_add_slow(s, data_by_turns_in_the_log_and_in_place_keeps_every_promise, 100000);
	check_add_slow(s, large_transactions_in_a_small_log_keep_every_promise, 100000);
	check_add_slow(s, a_crash_during_recovery_keeps_every_promise, 100000);
	return check_main(s);
}
