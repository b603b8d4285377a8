/*
 * The main() of every unit test:
 *
 *	int main(void)
 *	{
 *		Suite *s = suite_create("bitmap");
 *
 *		check_add(s, a_range_across_words_is_set_exactly);
 *		return check_main(s);
 *	}
 *
 * A test is named as the rule that it checks. CK_FORK=no runs all in one process (for a debugger),
 * CK_RUN_CASE=name runs one test. The last line printed is "N passed, M failed", which
 * scripts/test adds up. A test that can't run here prints why and calls check_skip_all().
 */
#ifndef TESTS_CHECK_MAIN_H
#define TESTS_CHECK_MAIN_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK_EXIT_SKIP 77

/* One test case of its own for each test, so that CK_RUN_CASE finds it by name. */
static inline TCase *check_add_tcase(Suite *s, const TTest *test, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_test(tc, test);
	suite_add_tcase(s, tc);
	return tc;
}

#define check_add(suite, test) ((void)check_add_tcase(suite, test, #test))

/* The same with its own time limit. */
#define check_add_slow(suite, test, seconds)                                                       \
	tcase_set_timeout(check_add_tcase(suite, test, #test), seconds)

static inline int check_skip_all(const char *why)
{
	printf("skipped: %s\n0 passed, 0 failed, 1 skipped\n", why);
	return CHECK_EXIT_SKIP;
}

static inline int check_main(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int run, failed;

	srunner_run_all(sr, CK_ENV);
	run = srunner_ntests_run(sr);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	printf("%d passed, %d failed\n", run - failed, failed);
	return failed == 0 && run > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
