/*
 * foliofsctl trace: what the trace ring of a daemon holds, once or followed, for people or as a
 * trace of cache use that bench_hit_ratio replays.
 *
 * Rules
 * 1. Following asks often enough for a busy mount; what was overwritten in between is told.
 * 2. A recorded trace begins with its format's name; lost records are comments in it.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/size.h"
#include "base/time.h"
#include "ctl.h"

#define POLL_MS 50

struct trace_how {
	bool follow, record;
	u64 seconds;            /* 0: until interrupted */
};

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
	(void)sig;
	stopped = 1;
}

/* "TIME EVENT INODE SECTOR NR" of a read or write becomes "r INODE SECTOR NR". */
static void print_use(const char *line)
{
	unsigned long long ino, at;
	unsigned nr;
	char event[16];

	if (sscanf(line, "%*s %15s %llu %llu %u", event, &ino, &at, &nr) != 4 || nr == 0)
		return;
	if (strcmp(event, "read") == 0 || strcmp(event, "write") == 0)
		printf("%c %llu %llu %u\n", event[0], ino, at, nr);
}

static void print_records(char *text, bool record)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (record)
			print_use(line);
		else
			puts(line);
	}
}

static int print_new(const char *path, u64 *next, bool record)
{
	unsigned long long number, lost;
	char command[48], *text = NULL, *records;
	int status;

	snprintf(command, sizeof(command), "trace %llu", (unsigned long long)*next);
	status = ctl_ask(path, command, &text);
	if (status)
		return status;
	records = text ? strchr(text, '\n') : NULL;
	if (!records || sscanf(text, "next %llu lost %llu", &number, &lost) != 2) {
		free(text);
		return ctl_fail("the daemon's answer is no trace");
	}
	if (lost && *next)
		printf("# %llu records were overwritten before they could be read\n", lost);
	*next = number;
	print_records(records + 1, record);
	free(text);
	fflush(stdout);
	return CTL_OK;
}

/* Where the ring is now: a recording begins here. */
static int find_end(const char *path, u64 *next)
{
	char *text = NULL;
	int status = ctl_ask(path, "trace 18446744073709551615", &text);

	if (!status && (!text || sscanf(text, "next %" SCNu64, next) != 1))
		status = ctl_fail("the daemon's answer is no trace");
	free(text);
	return status;
}

static int run(const char *path, const struct trace_how *how)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
	u64 end = now_ns() + how->seconds * NS_PER_SEC, next = 0;
	int status = how->record ? find_end(path, &next) : CTL_OK;

	if (status)
		return status;
	if (how->record)
		puts("foliofs-trace 1");
	do {
		status = print_new(path, &next, how->record);
		if (how->follow && !status)
			nanosleep(&pause, NULL);
	} while (!status && how->follow && !stopped && (!how->seconds || now_ns() < end));
	return status;
}

int cmd_trace(int argc, char **argv)
{
	const struct sigaction on_stop = { .sa_handler = stop };
	struct trace_how how = { 0 };
	int c;

	opterr = 0;
	while ((c = getopt(argc, argv, "frt:")) != -1) {
		if (c == 'f')
			how.follow = true;
		else if (c == 'r')
			how.record = how.follow = true;
		else if (c != 't')
			return ctl_usage("trace: unknown or incomplete option '%s'",
					 argv[optind - 1]);
		else if (parse_u64(optarg, 1, 86400, &how.seconds))
			return ctl_usage("trace: -t takes seconds from 1 to 86400");
	}
	if (argc - optind != 1)
		return ctl_usage("trace takes one MOUNT");
	if (how.seconds && !how.follow)
		return ctl_usage("trace: -t goes with -f or -r");
	sigaction(SIGINT, &on_stop, NULL);
	sigaction(SIGTERM, &on_stop, NULL);
	return run(argv[optind], &how);
}
