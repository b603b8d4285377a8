/*
 * The simulator is worth something: with one rule left out, some image breaks a promise. The runs
 * are those of test_fs_crash, which must find nothing when no rule is left out.
 */
#include "check_main.h"
#include "cuts.h"

struct rule {
	enum jnl_omit jnl;
	enum fs_omit fs;
	enum world_temper temper;
	u32 ops;
	u64 worlds;
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
	for (u64 seed = 1; !seen && seed <= r.worlds; seed++) {
		struct world w;

		set_rules(&r);
		world_make_random(&w, seed, r.ops, r.temper);
		set_rules(NULL);
		seen = !cuts_try(&t, &w, w.base);
		if (seen)
			printf("seed %llu: %s\n", (unsigned long long)seed, t.what);
		world_free(&w);
	}
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
	must_be_seen((struct rule){ .jnl = JNL_OMIT_REVOKE, .ops = 160, .worlds = 300 });
}
END_TEST

START_TEST(leaving_out_whole_images_after_a_checkpoint_is_seen)
{
	must_be_seen((struct rule){ .jnl = JNL_OMIT_WHOLE, .ops = 160, .worlds = 100 });
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

int main(void)
{
	Suite *s = suite_create("omissions");

	check_add_slow(s, leaving_out_the_flush_of_a_commit_is_seen, 1000);
	check_add_slow(s, leaving_out_the_busy_rule_is_seen, 1000);
	check_add_slow(s, leaving_out_the_revoke_is_seen, 1000);
	check_add_slow(s, leaving_out_whole_images_after_a_checkpoint_is_seen, 1000);
	check_add_slow(s, leaving_out_the_flush_of_a_moved_tail_is_seen, 1000);
	check_add_slow(s, a_checkpoint_before_its_commit_is_seen, 1000);
	check_add_slow(s, leaving_out_zeroes_behind_the_end_of_file_is_seen, 1000);
	check_add_slow(s, leaving_out_the_intent_is_seen, 1000);
	check_add_slow(s, overwriting_before_the_intent_is_durable_is_seen, 1000);
	check_add_slow(s, overwriting_logged_data_in_place_at_once_is_seen, 1000);
	check_add_slow(s, leaving_out_the_flush_before_a_completion_is_seen, 1000);
	return check_main(s);
}
