/*
 * Which folio goes: the policies on the same traces, counted in misses (the same numbers every
 * time), and what each of them must keep to.
 */
#include <unistd.h>

#include "../../bench/trace.h"
#include "util.h"

#define CACHE (4 * MIB)
#define USES 60000u

static struct mapping map;
static const char *const all[] = { "s3fifo", "sieve", "clock", "lru" };

static struct trace_result replay(const struct trace *t, const char *policy)
{
	struct trace_result r;

	ck_assert_int_eq(trace_replay(t, policy, CACHE, &r), 0);
	printf("  %-7s %llu of %llu missed, %llu avoidable\n", policy, (unsigned long long)r.misses,
	       (unsigned long long)r.sectors, (unsigned long long)r.avoidable);
	return r;
}

static void compare(enum trace_model model, struct trace_result *s3, struct trace_result *lru)
{
	struct trace t;

	printf("%s\n", trace_model_name[model]);
	ck_assert_int_eq(trace_make(model, CACHE / SECTOR_SIZE, USES, 7, &t), 0);
	*s3 = replay(&t, "s3fifo");
	*lru = replay(&t, "lru");
	trace_free(&t);
}

START_TEST(s3fifo_misses_no_more_than_lru_in_any_model)
{
	for (int m = 0; m < TRACE_NR_MODELS; m++) {
		struct trace_result s3, lru;

		compare(m, &s3, &lru);
		ck_assert_uint_le(s3.misses, lru.misses);
	}
}
END_TEST

START_TEST(with_scans_s3fifo_has_a_fifth_fewer_avoidable_misses_than_lru)
{
	struct trace_result s3, lru;

	compare(TRACE_ZIPF_SCAN, &s3, &lru);
	ck_assert_uint_le(s3.avoidable * 10, lru.avoidable * 8);
}
END_TEST

/* Recorded with `foliofsctl trace` while a data base did its work; see the head of the file. */
START_TEST(s3fifo_misses_no_more_than_lru_in_a_recorded_trace)
{
	char path[4096];
	struct trace t;
	u64 footprint;
	u32 line;

	snprintf(path, sizeof(path), "%s/tests/cache/database.trace", getenv("FOLIOFS_SOURCE"));
	ck_assert_int_eq(trace_load(path, &t, &line), 0);
	footprint = trace_footprint(&t) << SECTOR_SHIFT;
	for (u64 part = 4; part > 1; part /= 2) {
		struct trace_result s3, lru;

		ck_assert_int_eq(trace_replay(&t, "s3fifo", footprint / part, &s3), 0);
		ck_assert_int_eq(trace_replay(&t, "lru", footprint / part, &lru), 0);
		printf("1/%llu: s3fifo %llu, lru %llu of %llu\n", (unsigned long long)part,
		       (unsigned long long)s3.misses, (unsigned long long)lru.misses,
		       (unsigned long long)s3.sectors);
		ck_assert_uint_le(s3.misses, lru.misses);
	}
	trace_free(&t);
}
END_TEST

static int load_text(const char *text, u32 *line)
{
	char path[] = "/tmp/trace.XXXXXX";
	struct trace t;
	int fd = mkstemp(path), r;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	r = trace_load(path, &t, line);
	if (r == 0) {
		r = (int)t.nr;
		trace_free(&t);
	}
	unlink(path);
	return r;
}

START_TEST(what_is_no_trace_is_refused_with_its_line)
{
	u32 line;

	ck_assert_int_eq(load_text("foliofs-trace 1\n# words\nr 5 0 16\nw 7 123 1\n", &line), 2);
	ck_assert_int_eq(load_text("", &line), -EINVAL);
	ck_assert_int_eq(load_text("foliofs-trace 2\n", &line), -EINVAL);
	ck_assert_int_eq(load_text("foliofs-trace 1\nr 5 0 16\nx 5 0 1\n", &line), -EINVAL);
	ck_assert_uint_eq(line, 3);
	ck_assert_int_eq(load_text("foliofs-trace 1\nr 5 0 0\n", &line), -EINVAL);
	ck_assert_int_eq(load_text("foliofs-trace 1\nr 5 99999999999 1\n", &line), -EINVAL);
	ck_assert_int_eq(trace_load("/nowhere", &(struct trace){ 0 }, &line), -ENOENT);
}
END_TEST

/* A folio of half the cache and many small ones: what counts is bytes. */
START_TEST(every_policy_accounts_in_bytes_and_gives_back_what_is_asked)
{
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		start_with((struct cache_config){ .bytes = 16 * MIB, .max_order = 0xff,
						  .policy = all[i] });
		mapping_init(&map, &fake_ops, NULL);
		for (u64 k = 0; k < 16; k++)
			use(&map, k * 64, 6);
		for (u64 k = 0; k < 512; k++)
			use(&map, 10000 + k, 0);
		ck_assert_uint_eq(policy_sectors(), 16 * 64 + 512);
		ck_assert_uint_ge(cache_evict(MIB), MIB);
		ck_assert_uint_eq(policy_sectors(), map.nr_sectors);
		finish(&map);
		ck_assert_uint_eq(policy_sectors(), 0);
	}
}
END_TEST

START_TEST(in_every_policy_what_is_of_no_more_use_goes_first)
{
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		u64 left = 0;

		start_with((struct cache_config){ .bytes = 16 * MIB, .max_order = 0xff,
						  .policy = all[i] });
		mapping_init(&map, &fake_ops, NULL);
		for (int round = 0; round < 2; round++)
			for (u64 k = 0; k < 1000; k++)
				use(&map, k, 0);
		for (u64 k = 100; k < 300; k++) {
			struct folio *f = cache_find(&map, k);

			cache_demote(f);
			folio_put(f);
		}
		cache_evict(200 * SECTOR_SIZE);
		for (u64 k = 100; k < 300; k++) {
			struct folio *f = cache_find(&map, k);

			left += f != NULL;
			if (f)
				folio_put(f);
		}
		ck_assert_uint_eq(left, 0);
		ck_assert_uint_eq(map.nr_sectors, 800);
		finish(&map);
	}
}
END_TEST

START_TEST(sieve_keeps_what_was_used_where_it_is)
{
	struct folio *f;

	start_with((struct cache_config){ .bytes = 16 * MIB, .max_order = 0xff,
					  .policy = "sieve" });
	mapping_init(&map, &fake_ops, NULL);
	for (u64 k = 0; k < 100; k++)
		use(&map, k, 0);
	for (u64 k = 0; k < 10; k++)
		use(&map, k, 0);
	cache_evict(50 * SECTOR_SIZE);
	for (u64 k = 0; k < 100; k++) {
		f = cache_find(&map, k);
		ck_assert_int_eq(f != NULL, k < 10 || k >= 60);
		if (f)
			folio_put(f);
	}
	finish(&map);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("policy");

	check_add_slow(s, s3fifo_misses_no_more_than_lru_in_any_model, 60);
	check_add(s, with_scans_s3fifo_has_a_fifth_fewer_avoidable_misses_than_lru);
	check_add(s, s3fifo_misses_no_more_than_lru_in_a_recorded_trace);
	check_add(s, what_is_no_trace_is_refused_with_its_line);
	check_add(s, every_policy_accounts_in_bytes_and_gives_back_what_is_asked);
	check_add(s, in_every_policy_what_is_of_no_more_use_goes_first);
	check_add(s, sieve_keeps_what_was_used_where_it_is);
	return check_main(s);
}
