/* The trace ring: what it keeps, and what it says of what it could not keep. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check_main.h"
#include "stat/trace.h"

static char *print(u64 *next, u64 *lost)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(f);
	stat_trace_print(next, lost, f);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

static u32 lines(const char *text)
{
	u32 n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

START_TEST(records_come_back_in_order_and_once)
{
	u64 next = 0, lost;
	char *text;

	stat_trace(TRACE_READ, 7, 100, 16);
	stat_trace(TRACE_EVICT, 8, 200, 1);
	text = print(&next, &lost);
	ck_assert_uint_eq(next, 2);
	ck_assert_uint_eq(lost, 0);
	ck_assert_ptr_nonnull(strstr(text, " read 7 100 16\n"));
	ck_assert_ptr_nonnull(strstr(strchr(text, '\n'), " evict 8 200 1\n"));
	free(text);
	text = print(&next, &lost);
	ck_assert_str_eq(text, "");
	free(text);
}
END_TEST

START_TEST(what_was_overwritten_is_counted_as_lost)
{
	u64 next = 0, lost;
	char *text;

	for (u32 i = 0; i < STAT_TRACE_RECORDS + 100; i++)
		stat_trace(TRACE_WRITE, 1, i, 1);
	text = print(&next, &lost);
	ck_assert_uint_eq(lost, 100);
	ck_assert_uint_eq(lines(text), STAT_TRACE_RECORDS);
	free(text);
	next = UINT64_MAX;
	text = print(&next, &lost);
	ck_assert_str_eq(text, "");
	ck_assert_uint_eq(next, STAT_TRACE_RECORDS + 100);
	free(text);
}
END_TEST

/* Each writes records whose fields belong together. */
static void *writer(void *arg)
{
	for (u32 i = 0; i < 50000; i++)
		stat_trace(TRACE_READ, (uintptr_t)arg, (uintptr_t)arg * 1000, (u32)(uintptr_t)arg);
	return NULL;
}

START_TEST(records_of_many_threads_are_whole)
{
	pthread_t thread[3];
	u64 next = 0, lost, seen = 0;

	for (uintptr_t i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, writer, (void *)(i + 1)), 0);
	while (next < 150000) {
		char *text = print(&next, &lost), *save = NULL;

		for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
			unsigned long long object, at;
			unsigned nr;

			ck_assert_int_eq(sscanf(l, "%*s read %llu %llu %u", &object, &at, &nr), 3);
			ck_assert_uint_eq(at, object * 1000);
			ck_assert_uint_eq(nr, object);
			seen++;
		}
		free(text);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_ge(seen, STAT_TRACE_RECORDS / 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("trace");

	check_add(s, records_come_back_in_order_and_once);
	check_add(s, what_was_overwritten_is_counted_as_lost);
	check_add(s, records_of_many_threads_are_whole);
	return check_main(s);
}
