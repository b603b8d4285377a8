/*
 * Goal: a repair that is cut off at any of its writes leaves an image that the next repair makes
 * clean, at no higher cost than an undisturbed one may have.
 * Method: images of damage.c, repaired on a device that takes n writes and no more, for every n;
 * then repaired on one that works.
 */
#include "check_main.h"

#include "base/log.h"
#include "check/repair.h"
#include "damage.h"

/* Every so many damages; those with many writes are cut at every so many of them. */
#define EVERY 5
#define CUT_PLACES 24u

static struct sample s;
static u64 writes, writes_max;

static void no_log(enum log_level level, const char *line, void *arg)
{
	(void)level, (void)line, (void)arg;
}

static int cut(void *arg, const struct blk_fault *f)
{
	(void)arg;
	if (f->op == BLK_FAULT_READ)
		return 0;
	/* Nothing comes after the power is gone, flushes neither. */
	if (writes >= writes_max)
		return -EIO;
	writes += f->op != BLK_FAULT_FLUSH;
	return 0;
}

static int repair(u64 max)
{
	struct check_opts o = { .data = true };
	struct check_repaired rep;
	struct check_result res;
	int r;

	writes = 0;
	writes_max = max;
	r = check_repair(s.dev, &o, &res, &rep);
	writes_max = UINT64_MAX;
	return r ? r : (int)MIN(res.problems, (u64)1);
}

static void assert_repaired(const struct damage *d, u64 n)
{
	struct check_opts o = { .data = true };
	struct check_result res;
	struct seen_all after;
	u32 gone, different;

	ck_assert_msg(repair(UINT64_MAX) == 0, "%s, cut after %llu writes: not repaired", d->name,
		      (unsigned long long)n);
	ck_assert_int_eq(check_run(s.dev, &o, &res), 0);
	ck_assert_msg(res.problems == 0, "%s, cut after %llu writes: %llu problems", d->name,
		      (unsigned long long)n, (unsigned long long)res.problems);
	seen_read(s.dev, &after);
	seen_compare(&s.seen, &after, &gone, &different);
	ck_assert_msg(gone <= d->gone && different <= d->different,
		      "%s, cut after %llu writes: %u names gone, %u different", d->name,
		      (unsigned long long)n, gone, different);
	seen_free(&after);
}

START_TEST(a_repair_cut_off_at_any_write_can_be_begun_again)
{
	const struct damage *d = &damages[_i * EVERY];
	u64 total;
	u32 cuts = 0;

	if (d->large || d->dirty)
		return;
	sample_restore(&s);
	d->fn(&s);
	ck_assert_int_eq(repair(UINT64_MAX), 0);
	total = writes;
	for (u64 n = 0; n < total; n += DIV_ROUND_UP(total, (u64)CUT_PLACES), cuts++) {
		sample_restore(&s);
		d->fn(&s);
		ck_assert_int_ne(repair(n), 0);
		assert_repaired(d, n);
	}
	printf("%s: %llu writes, cut at %u of them\n", d->name, (unsigned long long)total, cuts);
	fflush(stdout);
}
END_TEST

static void setup(void)
{
	log_set_sink(no_log, NULL);
	sample_init(&s, SAMPLE_SMALL);
	writes_max = UINT64_MAX;
	blk_fault_set(s.dev, cut, NULL);
}

static void teardown(void)
{
	sample_fini(&s);
}

int main(void)
{
	Suite *suite = suite_create("interrupted repair");
	TCase *tc = tcase_create("interrupted repair");

	tcase_add_unchecked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, a_repair_cut_off_at_any_write_can_be_begun_again, 0,
			    (int)DIV_ROUND_UP(nr_damages, EVERY));
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
