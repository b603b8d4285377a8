/*
 * How far the check is: lines for programs, or a bar with rate and time left for people.
 *
 * Rules
 * 1. A bar is drawn at most ten times a second, and taken away before anything else is printed.
 * 2. The rate is that of the pass under way; the time left is of that pass, from its own rate.
 * 3. Signals set a flag and nothing else.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"
#include "base/time.h"
#include "fsck.h"

#define BAR_WIDTH 30u
#define BAR_EVERY_NS (100 * NS_PER_MS)

static const struct fsck_args *args;
static volatile sig_atomic_t bar;        /* a bar is wanted */
static bool drawn;
static unsigned pass_now;
static u64 pass_begin, last_drawn;

static void switch_bar(int sig)
{
	bar = sig == SIGUSR1;
}

void progress_init(const struct fsck_args *a)
{
	args = a;
	bar = a->progress_fd == 0 || (a->progress_fd < 0 && isatty(STDERR_FILENO));
	signal(SIGUSR1, switch_bar);
	signal(SIGUSR2, switch_bar);
}

void progress_clear(void)
{
	if (drawn)
		fputs("\r\033[K", stderr);
	drawn = false;
}

/* What a pass counts: bytes of nodes or data, inodes, groups. */
static const char *rate_text(unsigned pass, u64 per_s, char *buf, size_t len)
{
	char size[SIZE_TEXT_MAX];

	if (pass == 2 || pass == 5)
		snprintf(buf, len, "%s/s", size_to_text(per_s * SECTOR_SIZE, size));
	else
		snprintf(buf, len, "%" PRIu64 " %s/s", per_s, pass == 3 ? "inodes" : "groups");
	return buf;
}

static void draw(unsigned pass, u64 done, u64 total, u64 now)
{
	unsigned nr = args->data ? CHECK_NR_PASSES : CHECK_NR_PASSES - 1;
	u64 ns = MAX(now - pass_begin, (u64)NS_PER_MS), ms = ns / NS_PER_MS;
	u64 per_s = done * 1000 / ms, left_s = done ? (total - done) * ms / done / 1000 : 0;
	unsigned full = total ? (unsigned)(done * BAR_WIDTH / total) : BAR_WIDTH;
	char rate[SIZE_TEXT_MAX + 40];

	fprintf(stderr, "\rpass %u of %u [%-*.*s] %3u %%  %s  %" PRIu64 ":%02" PRIu64 " left\033[K",
		pass, nr, (int)BAR_WIDTH, (int)full, "==============================",
		total ? (unsigned)(done * 100 / total) : 100u,
		rate_text(pass, per_s, rate, sizeof(rate)), left_s / 60, left_s % 60);
	drawn = true;
	last_drawn = now;
}

void progress_show(void *arg, unsigned pass, u64 done, u64 total)
{
	u64 now;

	(void)arg;
	if (args->progress_fd > 0)
		dprintf(args->progress_fd, "%u %" PRIu64 " %" PRIu64 " %s\n", pass, done, total,
			args->target);
	if (!bar) {
		progress_clear();
		return;
	}
	now = now_ns();
	if (pass != pass_now || done == 0) {
		pass_now = pass;
		pass_begin = now;
	}
	if (now - last_drawn >= BAR_EVERY_NS)
		draw(pass, done, total, now);
}
