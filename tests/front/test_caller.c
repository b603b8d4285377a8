/* Who makes a request is known, or has no rights. */
#include <sys/wait.h>
#include <unistd.h>

#include "check_main.h"
#include "front/caller.h"

static u32 uid_of(u32 uid, u32 pid)
{
	const struct fuse_in_header in = { .uid = uid, .gid = uid, .pid = pid };
	const struct req rq = { .in = &in };

	return caller_uid(&rq);
}

START_TEST(an_id_that_comes_with_the_request_is_taken)
{
	ck_assert_uint_eq(uid_of(0, 0), 0);
	ck_assert_uint_eq(uid_of(1234, (u32)getpid()), 1234);
}
END_TEST

START_TEST(else_it_is_that_of_the_process_for_files)
{
	ck_assert_uint_eq(uid_of(CALLER_UNKNOWN, (u32)getpid()), geteuid());
}
END_TEST

START_TEST(a_process_that_we_do_not_see_is_nobody)
{
	pid_t gone = fork();

	if (gone == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(gone, NULL, 0), gone);
	ck_assert_uint_eq(uid_of(CALLER_UNKNOWN, 0), CALLER_UNKNOWN);
	ck_assert_uint_eq(uid_of(CALLER_UNKNOWN, (u32)gone), CALLER_UNKNOWN);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("caller");

	check_add(s, an_id_that_comes_with_the_request_is_taken);
	check_add(s, else_it_is_that_of_the_process_for_files);
	check_add(s, a_process_that_we_do_not_see_is_nobody);
	return check_main(s);
}
