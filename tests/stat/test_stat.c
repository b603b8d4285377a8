/* Counting from many threads, percentiles, and that the three outputs say the same. */
#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <string.h>

#include "check_main.h"
#include "stat/stat.h"

#define NR_THREADS 8
#define NR_ROUNDS 50000

static void *count(void *arg)
{
	(void)arg;
	for (u64 i = 0; i < NR_ROUNDS; i++) {
		stat_inc(STAT_CACHE_HITS);
		stat_time(HIST_REQ_READ, i);
	}
	return NULL;
}

static void count_in_threads(void)
{
	pthread_t t[NR_THREADS];

	for (int i = 0; i < NR_THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, count, NULL), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(t[i], NULL);
}

START_TEST(counts_of_all_threads_are_summed_also_after_they_ended)
{
	struct stat_hist h;

	count_in_threads();
	count_in_threads(); /* new threads go on in the blocks of ended ones */
	ck_assert_uint_eq(stat_read(STAT_CACHE_HITS), 2 * NR_THREADS * NR_ROUNDS);
	stat_hist_read(HIST_REQ_READ, &h);
	ck_assert_uint_eq(hist_count(&h), 2 * NR_THREADS * NR_ROUNDS);
	ck_assert_uint_eq(h.sum, 2ull * NR_THREADS * NR_ROUNDS * (NR_ROUNDS - 1) / 2);
	stat_reset();
	ck_assert_uint_eq(stat_read(STAT_CACHE_HITS), 0);
}
END_TEST

START_TEST(a_sum_never_goes_back_while_threads_count)
{
	pthread_t t[2];
	u64 last = 0;

	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, count, NULL), 0);
	while (last < 2 * NR_ROUNDS) {
		u64 now = stat_read(STAT_CACHE_HITS);

		ck_assert_uint_ge(now, last);
		last = now;
	}
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
}
END_TEST

START_TEST(every_value_falls_into_the_bucket_that_holds_it)
{
	for (u64 v = 0; v < 5000; v++) {
		unsigned b = hist_bucket(v);

		ck_assert_uint_le(hist_bucket_low(b), v);
		ck_assert_uint_gt(hist_bucket_low(b + 1), v);
	}
	for (unsigned b = 0; b < HIST_BUCKETS; b++)
		ck_assert_uint_eq(hist_bucket(hist_bucket_low(b)), b);
	ck_assert_uint_eq(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
}
END_TEST

START_TEST(percentiles_are_within_a_quarter_of_the_true_value)
{
	static const unsigned permilles[] = { 10, 500, 990, 999 };
	struct stat_hist h;

	for (u64 v = 1; v <= 100000; v++)
		stat_time(HIST_COMMIT, v);
	stat_hist_read(HIST_COMMIT, &h);
	for (size_t i = 0; i < ARRAY_LEN(permilles); i++) {
		u64 got = hist_percentile(&h, permilles[i]);
		u64 want = permilles[i] * 100;

		ck_assert_uint_ge(got, want - want / 4);
		ck_assert_uint_le(got, want + want / 4);
	}
	stat_hist_read(HIST_CHECKPOINT, &h);
	ck_assert_uint_eq(hist_percentile(&h, 990), 0);
}
END_TEST

static u64 gauge_value(void *arg)
{
	return *(u64 *)arg;
}

static struct json_object *json_now(void)
{
	struct json_object *o;
	char *text;

	ck_assert_int_eq(stat_render_text(STAT_JSON, &text), 0);
	o = json_tokener_parse(text);
	ck_assert_msg(o != NULL, "%s", text);
	free(text);
	return o;
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *m = NULL;

	ck_assert_msg(json_object_object_get_ex(o, key, &m), "no %s", key);
	return m;
}

START_TEST(json_has_every_row_with_plain_numbers)
{
	struct json_object *top;

	stat_add(STAT_USER_WRITE_BYTES, 1000);
	stat_add(STAT_WRITE_BYTES_DATA, 3000);
	stat_add(STAT_FOLIO_ALLOC_O4, 12);
	stat_time(HIST_REQ_FSYNC, 5000);
	top = json_now();
	ck_assert_int_eq(json_object_get_int64(member(top, "user_written_bytes")), 1000);
	ck_assert_int_eq(json_object_get_int64(member(member(top, "disk_written_bytes"), "data")),
			 3000);
	ck_assert_int_eq(json_object_get_int64(member(member(top, "folios_allocated"), "4")), 12);
	ck_assert_int_eq(json_object_get_int64(member(top, "requests")), 1);
	ck_assert_double_eq(json_object_get_double(member(top, "write_amplification")), 3.0);
	ck_assert_int_eq(json_object_get_int64(member(
				 member(member(top, "request_time_ns"), "fsync"), "count")),
			 1);
	/* Nothing was looked up: no ratio, rather than a made-up number. */
	ck_assert_ptr_null(member(top, "cache_hit_ratio"));
	json_object_put(top);
}
END_TEST

START_TEST(a_gauge_is_asked_when_somebody_looks_until_it_is_deleted)
{
	struct json_object *top, *gone;
	struct stat_gauge *g;
	u64 value = 5;

	ck_assert_int_eq(stat_gauge_add("cache_size", "", "bytes", "size", gauge_value, &value, &g),
			 0);
	value = 6;
	top = json_now();
	ck_assert_int_eq(json_object_get_int64(member(top, "cache_size_bytes")), 6);
	json_object_put(top);
	stat_gauge_del(g);
	top = json_now();
	ck_assert(!json_object_object_get_ex(top, "cache_size_bytes", &gone));
	json_object_put(top);
}
END_TEST

START_TEST(text_shows_what_happened_and_leaves_out_what_did_not)
{
	char *text;

	stat_add(STAT_COMMITS, 3);
	stat_time(HIST_REQ_READ, 100);
	ck_assert_int_eq(stat_render_text(STAT_TEXT, &text), 0);
	ck_assert_ptr_nonnull(strstr(text, "commits "));
	ck_assert_ptr_nonnull(strstr(text, "request_time"));
	ck_assert_ptr_null(strstr(text, "checkpoints"));
	free(text);
}
END_TEST

/* Every line is "# ..." or "metric[{labels}] number". */
static void check_prometheus_line(char *line, const char *text)
{
	char *space = strrchr(line, ' '), *end;

	if (line[0] == '#')
		return;
	ck_assert_msg(strncmp(line, "foliofs_", 8) == 0 && space, "%s", text);
	strtod(space + 1, &end);
	ck_assert_msg(end != space + 1 && *end == '\0', "%s", line);
}

START_TEST(prometheus_output_is_well_formed_and_each_type_said_once)
{
	char *text, *copy, *save = NULL, *first;

	stat_time(HIST_REQ_READ, 100);
	stat_add(STAT_USER_WRITE_BYTES, 7);
	ck_assert_int_eq(stat_render_text(STAT_PROMETHEUS, &text), 0);
	copy = strdup(text);
	for (char *l = strtok_r(copy, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		check_prometheus_line(l, text);
	ck_assert_ptr_nonnull(strstr(text, "\nfoliofs_user_written_bytes_total 7\n"));
	ck_assert_ptr_nonnull(strstr(text, "foliofs_request_time_seconds_count{op=\"read\"} 1\n"));
	first = strstr(text, "# TYPE foliofs_request_time_seconds ");
	ck_assert_ptr_nonnull(first);
	ck_assert_ptr_null(strstr(first + 1, "# TYPE foliofs_request_time_seconds "));
	free(copy);
	free(text);
}
END_TEST

START_TEST(unknown_formats_are_refused)
{
	enum stat_format f = STAT_TEXT;

	ck_assert_int_eq(stat_format_parse("json", &f), 0);
	ck_assert_int_eq(f, STAT_JSON);
	ck_assert_int_eq(stat_format_parse("xml", &f), -EINVAL);
	ck_assert_int_eq(f, STAT_JSON);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stat");

	check_add(s, counts_of_all_threads_are_summed_also_after_they_ended);
	check_add(s, a_sum_never_goes_back_while_threads_count);
	check_add(s, every_value_falls_into_the_bucket_that_holds_it);
	check_add(s, percentiles_are_within_a_quarter_of_the_true_value);
	check_add(s, json_has_every_row_with_plain_numbers);
	check_add(s, a_gauge_is_asked_when_somebody_looks_until_it_is_deleted);
	check_add(s, text_shows_what_happened_and_leaves_out_what_did_not);
	check_add(s, prometheus_output_is_well_formed_and_each_type_said_once);
	check_add(s, unknown_formats_are_refused);
	return check_main(s);
}
