/*
 * The simulator is worth something: with one rule left out, some image breaks a promise. The runs
 * are those of test_fs_crash, which must find nothing when no rule is left out.
 */
#include "check_main.h"
#include "cuts.h"

struct rule {
	enum jnl_omit jnl;
	enum fs_omit fs;
	bool recovery;                  /* it is one of recovery: left out there, not before */
	enum world_temper temper;
	enum world_sums sums;
	u32 ops;
	u64 from, worlds;               /* seeds; from: one that has shown it */
};

static void set_rules(const struct rule *r)
{
	jnl_omit(r ? r->jnl : JNL_OMIT_NONE);
	fs_omit(r ? r->fs : FS_OMIT_NONE);
}

static void must_be_seen(struct rule r)
{
	struct cuts t = { .kinds = CUT_ALL };
	bool seen = false;

	cuts_setup();
	for (u64 seed = MAX(r.from, (u64)1); !seen && seed < r.from + r.worlds; seed++) {
		struct world w;

		set_rules(r.recovery ? NULL : &r);
		world_make_random(&w, seed, r.ops, r.temper, r.sums);
		set_rules(r.recovery ? &r : NULL);
		seen = !cuts_try(&t, &w, w.base);
		if (seen)
			printf("seed %llu: %s\n", (unsigned long long)seed, t.what);
		world_free(&w);
	}
	set_rules(NULL);
	ck_assert_msg(seen, "%llu images and nothing was wrong", (unsigned long long)t.images);
	cuts_done(&t, "until it was seen");
}

START_TEST(leaving_out_the_flush_of_a_commit_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_COMMIT_FLUSH, .ops = 160, .worlds = 20 });
}
END_TEST

START_TEST(leaving_out_the_busy_rule_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_BUSY, .ops = 160, .worlds = 20 });
}
END_TEST

START_TEST(leaving_out_the_revoke_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_REVOKE, .ops = 160, .from = 16,
				    .worlds = 300 });
}
END_TEST

START_TEST(leaving_out_what_a_new_buffer_holds_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_WHOLE, .ops = 160, .worlds = 100 });
}
END_TEST

START_TEST(leaving_out_sums_before_a_checkpoint_writes_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_SUM, .ops = 160, .worlds = 100 });
}
END_TEST

START_TEST(leaving_out_the_flush_of_a_moved_tail_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_TAIL, .temper = WORLD_LARGE_TXN,
				    .ops = 4000, .worlds = 20 });
}
END_TEST

START_TEST(a_checkpoint_before_its_commit_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_CHECKPOINT_COMMIT, .ops = 160, .worlds = 100 });
}
END_TEST

START_TEST(leaving_out_zeroes_behind_the_end_of_file_is_seen)
{
	must_be_seen((struct rule){ .fs = FS_OMIT_EOF_ZERO, .ops = 160, .worlds = 100 });
}
END_TEST

START_TEST(leaving_out_the_intent_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_INTENT, .ops = 160, .worlds = 20 });
}
END_TEST

START_TEST(overwriting_before_the_intent_is_durable_is_seen)
{
	must_be_seen((struct rule){ .fs = FS_OMIT_INTENT_COMMIT, .ops = 160, .worlds = 20 });
}
END_TEST

START_TEST(overwriting_logged_data_in_place_at_once_is_seen)
{
	must_be_seen((struct rule){ .fs = FS_OMIT_SETTLE, .ops = 160, .worlds = 100 });
}
END_TEST

START_TEST(leaving_out_the_flush_before_a_completion_is_seen)
{
	must_be_seen((struct rule){ .fs = FS_OMIT_DATA_FLUSH, .ops = 160, .worlds = 20 });
}
END_TEST

START_TEST(leaving_out_the_flush_of_a_checkpoint_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_CHECKPOINT_FLUSH, .ops = 160, .worlds = 20 });
}
END_TEST

START_TEST(moving_the_tail_past_an_open_intent_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_CARRY, .ops = 160, .worlds = 100 });
}
END_TEST

START_TEST(replaying_data_older_than_an_intent_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_VOID, .recovery = true,
				    .temper = WORLD_LOGGED, .ops = 100, .from = 73,
				    .worlds = 300 });
}
END_TEST

START_TEST(reporting_as_torn_what_is_old_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_OLD_SUM, .recovery = true, .ops = 160,
				    .worlds = 20 });
}
END_TEST

START_TEST(writing_over_what_is_not_completed_is_seen)
{
	must_be_seen((struct rule){ .fs = FS_OMIT_PENDING, .ops = 160, .worlds = 300 });
}
END_TEST

START_TEST(never_announcing_what_has_no_checksum_is_seen)
{
	must_be_seen((struct rule){ .fs = FS_OMIT_SAME, .temper = WORLD_LOGGED,
				    .sums = WORLD_NO_SUMS, .ops = 100, .from = 73,
				    .worlds = 300 });
}
END_TEST

int main(void)
{
	Suite *s = suite_create("omissions");

	check_add_slow(s, leaving_out_the_flush_of_a_commit_is_seen, 1000);
	check_add_slow(s, leaving_out_the_busy_rule_is_seen, 1000);
	check_add_slow(s, leaving_out_the_revoke_is_seen, 1000);
	check_add_slow(s, leaving_out_what_a_new_buffer_holds_is_seen, 1000);
	check_add_slow(s, leaving_out_sums_before_a_checkpoint_writes_is_seen, 1000);
	check_add_slow(s, leaving_out_the_flush_of_a_moved_tail_is_seen, 1000);
	check_add_slow(s, a_checkpoint_before_its_commit_is_seen, 1000);
	check_add_slow(s, leaving_out_zeroes_behind_the_end_of_file_is_seen, 1000);
	check_add_slow(s, leaving_out_the_intent_is_seen, 1000);
	check_add_slow(s, overwriting_before_the_intent_is_durable_is_seen, 1000);
	check_add_slow(s, overwriting_logged_data_in_place_at_once_is_seen, 1000);
	check_add_slow(s, leaving_out_the_flush_before_a_completion_is_seen, 1000);
	check_add_slow(s, leaving_out_the_flush_of_a_checkpoint_is_seen, 1000);
	check_add_slow(s, moving_the_tail_past_an_open_intent_is_seen, 1000);
	check_add_slow(s, replaying_data_older_than_an_intent_is_seen, 1000);
	check_add_slow(s, reporting_as_torn_what_is_old_is_seen, 1000);
	check_add_slow(s, writing_over_what_is_not_completed_is_seen, 1000);
	check_add_slow(s, never_announcing_what_has_no_checksum_is_seen, 1000);
	return check_main(s);
}
