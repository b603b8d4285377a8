/*
 * foliofsctl top: the files that programs read and write most, from the trace ring.
 *
 * Rules
 * 1. Every POLL_MS the new records are added up by inode; each interval prints the COUNT busiest by
 *    bytes. Records that were overwritten before they were read are told as a share.
 * 2. A file is named by its inode number: `find MOUNT -inum N` tells its path.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/size.h"
#include "base/time.h"
#include "ctl.h"

#define POLL_MS 50
#define FILES_MAX 4096u

struct row {
	u64 ino, reads, writes, read_sectors, write_sectors;
};

struct top {
	struct row row[FILES_MAX];
	u32 nr;
	u64 next, records, lost;
};

static struct row *row_of(struct top *t, u64 ino)
{
	for (u32 i = 0; i < t->nr; i++)
		if (t->row[i].ino == ino)
			return &t->row[i];
	if (t->nr == FILES_MAX)
		return NULL;
	t->row[t->nr] = (struct row){ .ino = ino };
	return &t->row[t->nr++];
}

static void add_record(struct top *t, const char *line)
{
	unsigned long long ino, at;
	struct row *r;
	char event[16];
	unsigned nr;

	if (sscanf(line, "%*s %15s %llu %llu %u", event, &ino, &at, &nr) != 4)
		return;
	t->records++;
	r = strcmp(event, "read") == 0 || strcmp(event, "write") == 0 ? row_of(t, ino) : NULL;
	if (!r)
		return;
	if (event[0] == 'r') {
		r->reads++;
		r->read_sectors += nr;
	} else {
		r->writes++;
		r->write_sectors += nr;
	}
}

static int poll_once(const char *path, struct top *t)
{
	char command[48], *text = NULL, *save = NULL, *line;
	unsigned long long next, lost;
	int status;

	snprintf(command, sizeof(command), "trace %llu", (unsigned long long)t->next);
	status = ctl_ask(path, command, &text);
	if (status)
		return status;
	line = text ? strtok_r(text, "\n", &save) : NULL;
	if (!line || sscanf(line, "next %llu lost %llu", &next, &lost) != 2) {
		free(text);
		return ctl_fail("the daemon's answer is no trace");
	}
	/* The first answer only tells where to begin. */
	t->lost += t->next == UINT64_MAX ? 0 : lost;
	t->next = next;
	while ((line = strtok_r(NULL, "\n", &save)))
		add_record(t, line);
	free(text);
	return CTL_OK;
}

static u64 weight(const struct row *r)
{
	return r->read_sectors + r->write_sectors;
}

static int by_weight(const void *a, const void *b)
{
	u64 x = weight(a), y = weight(b);

	return x < y ? 1 : x > y ? -1 : 0;
}

static void print_interval(struct top *t, u64 seconds, u64 count)
{
	char read[SIZE_TEXT_MAX], written[SIZE_TEXT_MAX];

	qsort(t->row, t->nr, sizeof(t->row[0]), by_weight);
	printf("%10s %10s %12s %10s %12s\n", "inode", "reads/s", "read/s", "writes/s", "written/s");
	for (u32 i = 0; i < t->nr && i < count; i++) {
		const struct row *r = &t->row[i];

		printf("%10llu %10llu %12s %10llu %12s\n", (unsigned long long)r->ino,
		       (unsigned long long)(r->reads / seconds),
		       size_to_text((r->read_sectors << SECTOR_SHIFT) / seconds, read),
		       (unsigned long long)(r->writes / seconds),
		       size_to_text((r->write_sectors << SECTOR_SHIFT) / seconds, written));
	}
	if (t->lost)
		printf("(%.0f %% of the records came too fast to be read)\n",
		       100.0 * (double)t->lost / (double)(t->lost + t->records));
	printf("\n");
	fflush(stdout);
	t->nr = 0;
	t->records = t->lost = 0;
}

static int run(const char *path, struct top *t, u64 seconds, u64 count, u64 intervals)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
	int status = poll_once(path, t);

	for (u64 i = 0; !status && (intervals == 0 || i < intervals); i++) {
		u64 end = now_ns() + seconds * NS_PER_SEC;

		while (!status && now_ns() < end) {
			nanosleep(&pause, NULL);
			status = poll_once(path, t);
		}
		if (!status)
			print_interval(t, seconds, count);
	}
	return status;
}

int cmd_top(int argc, char **argv)
{
	u64 seconds = 2, count = 20, intervals = 0;
	struct top *t;
	int c, status;

	opterr = 0;
	while ((c = getopt(argc, argv, "i:n:c:")) != -1) {
		u64 *to = c == 'i' ? &seconds : c == 'n' ? &count : &intervals;

		if (c == '?')
			return ctl_usage("top: unknown or incomplete option '%s'",
					 argv[optind - 1]);
		if (parse_u64(optarg, 1, 86400, to))
			return ctl_usage("top: -%c takes a number from 1 to 86400", c);
	}
	if (argc - optind != 1)
		return ctl_usage("top takes one MOUNT");
	t = calloc(1, sizeof(*t));
	if (!t)
		return ctl_fail("no memory");
	t->next = UINT64_MAX;
	status = run(argv[optind], t, seconds, count, intervals);
	free(t);
	return status;
}
