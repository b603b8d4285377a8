/*
 * foliofsctl stats: all numbers once, or one line every few seconds.
 *
 * Rules
 * 1. Numbers come from the daemon's table of statistics; this file names only those that the lines
 *    of -i are made of.
 */
#include <getopt.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/size.h"
#include "ctl.h"

enum output { OUT_TEXT, OUT_JSON, OUT_PROMETHEUS };

/* What a line of -i shows. */
struct sample {
	u64 reads, writes, read_bytes, write_bytes, hits, misses, disk_read, disk_written;
	u64 used, dirty;
};

static u64 number_at(struct json_object *o, const char *key, const char *inner)
{
	struct json_object *at;

	if (!json_object_object_get_ex(o, key, &at))
		return 0;
	if (inner && !json_object_object_get_ex(at, inner, &at))
		return 0;
	return json_object_get_uint64(at);
}

static u64 sum_at(struct json_object *o, const char *key)
{
	return number_at(o, key, "data") + number_at(o, key, "meta") + number_at(o, key, "log");
}

static void take_sample(struct json_object *o, struct sample *s)
{
	struct json_object *times = NULL, *reads = NULL, *writes = NULL;

	*s = (struct sample){
		.read_bytes = number_at(o, "user_read_bytes", NULL),
		.write_bytes = number_at(o, "user_written_bytes", NULL),
		.hits = number_at(o, "cache_hits", NULL),
		.misses = number_at(o, "cache_misses", NULL),
		.disk_read = sum_at(o, "disk_read_bytes"),
		.disk_written = sum_at(o, "disk_written_bytes"),
		.used = number_at(o, "cache_used_bytes", NULL),
		.dirty = number_at(o, "cache_dirty_bytes", NULL),
	};
	if (!json_object_object_get_ex(o, "request_time_ns", &times))
		return;
	if (json_object_object_get_ex(times, "read", &reads))
		s->reads = number_at(reads, "count", NULL);
	if (json_object_object_get_ex(times, "write", &writes))
		s->writes = number_at(writes, "count", NULL);
}

static int get_sample(const char *path, struct sample *s)
{
	char *text = NULL;
	struct json_object *o;
	int status = ctl_ask(path, "stats json", &text);

	if (status)
		return status;
	o = text ? json_tokener_parse(text) : NULL;
	free(text);
	if (!o)
		return ctl_fail("the daemon's answer is not JSON");
	take_sample(o, s);
	json_object_put(o);
	return CTL_OK;
}

static void print_rate(u64 now, u64 before, double seconds)
{
	char text[SIZE_TEXT_MAX];

	printf(" %10s/s", size_to_text((u64)((double)(now - before) / seconds), text));
}

static void print_line(const struct sample *a, const struct sample *b, double seconds)
{
	u64 lookups = b->hits - a->hits + b->misses - a->misses;
	char text[SIZE_TEXT_MAX];

	printf("%8.0f %8.0f", (double)(b->reads - a->reads) / seconds,
	       (double)(b->writes - a->writes) / seconds);
	print_rate(b->read_bytes, a->read_bytes, seconds);
	print_rate(b->write_bytes, a->write_bytes, seconds);
	if (lookups)
		printf(" %6.1f", 100.0 * (double)(b->hits - a->hits) / (double)lookups);
	else
		printf(" %6s", "-");
	print_rate(b->disk_read, a->disk_read, seconds);
	print_rate(b->disk_written, a->disk_written, seconds);
	printf(" %10s", size_to_text(b->used, text));
	printf(" %10s\n", size_to_text(b->dirty, text));
	fflush(stdout);
}

static int watch(const char *path, u64 seconds)
{
	const struct timespec pause = { .tv_sec = (time_t)seconds };
	struct sample a, b;
	int status = get_sample(path, &a);

	for (unsigned row = 0; status == CTL_OK; row++) {
		if (row % 20 == 0)
			printf("%8s %8s %12s %12s %6s %12s %12s %10s %10s\n", "reads/s",
			       "writes/s", "read", "written", "hit %", "disk read", "disk write",
			       "cached", "dirty");
		fflush(stdout);
		nanosleep(&pause, NULL);
		status = get_sample(path, &b);
		if (status == CTL_OK)
			print_line(&a, &b, (double)seconds);
		a = b;
	}
	return status;
}

/* The "key value" lines of info, as an object in front of the statistics. */
static struct json_object *info_object(char *text)
{
	struct json_object *o = json_object_new_object();
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); o && line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, ' ');

		if (!value)
			continue;
		*value++ = '\0';
		json_object_object_add(o, line, json_object_new_string(value));
	}
	return o;
}

static int print_json(char *info, const char *stats)
{
	struct json_object *o = json_tokener_parse(stats);

	if (!o)
		return ctl_fail("the daemon's answer is not JSON");
	json_object_object_add(o, "mount", info_object(info));
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
						      JSON_C_TO_STRING_SPACED |
						      JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	return CTL_OK;
}

static int print_once(const char *path, enum output how)
{
	static const char *const commands[] = {
		[OUT_TEXT] = "stats text", [OUT_JSON] = "stats json",
		[OUT_PROMETHEUS] = "stats prometheus",
	};
	char *info = NULL, *stats = NULL;
	int status = ctl_ask(path, "info", &info);

	if (!status)
		status = ctl_ask(path, commands[how], &stats);
	if (!status && how == OUT_JSON)
		status = print_json(info, stats);
	else if (!status)
		printf("%s%s%s", how == OUT_TEXT ? info : "", how == OUT_TEXT ? "\n" : "", stats);
	free(info);
	free(stats);
	return status;
}

int cmd_stats(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "interval", required_argument, NULL, 'i' }, { "json", no_argument, NULL, 'j' },
		{ "prometheus", no_argument, NULL, 'p' }, { NULL, 0, NULL, 0 },
	};
	enum output how = OUT_TEXT;
	u64 seconds = 0;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "i:jp", longs, NULL)) != -1) {
		if (c == 'j')
			how = OUT_JSON;
		else if (c == 'p')
			how = OUT_PROMETHEUS;
		else if (c != 'i')
			return ctl_usage("stats: unknown or incomplete option '%s'",
					 argv[optind - 1]);
		else if (parse_u64(optarg, 1, 86400, &seconds))
			return ctl_usage("stats: -i takes seconds from 1 to 86400");
	}
	if (argc - optind != 1)
		return ctl_usage("stats takes one MOUNT");
	if (seconds && how != OUT_TEXT)
		return ctl_usage("stats: -i prints lines for people; "
				 "without --json or --prometheus");
	return seconds ? watch(argv[optind], seconds) : print_once(argv[optind], how);
}
