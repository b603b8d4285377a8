/*
 * The record of errors for people and for programs. What another version wrote, with a reason or an
 * operation that has no name here, is shown by its number.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "fs/fs.h"

static const char *op_text(u16 op, char *buf, size_t len)
{
	const char *name = work_text(op);

	if (name)
		return name;
	snprintf(buf, len, "operation %u", op);
	return buf;
}

static const char *reason_text(u16 why, char *buf, size_t len)
{
	if (why < WHY_NR)
		return why_text((enum why)why);
	snprintf(buf, len, "reason %u", why);
	return buf;
}

static void date_text(s64 time, char *buf, size_t len)
{
	time_t when = (time_t)time;
	struct tm tm;

	if (!localtime_r(&when, &tm) || !strftime(buf, len, "%F %T", &tm))
		snprintf(buf, len, "%" PRId64, time);
}

int fs_error_to_text(const struct fs_error *e, char *buf, size_t len)
{
	char date[32], op[32], reason[32], where[64] = "";
	size_t n = 0;

	date_text(e->time, date, sizeof(date));
	if (e->ino != CORRUPT_NO_INO)
		n = (size_t)snprintf(where, sizeof(where), ", inode %" PRIu64, e->ino);
	if (e->sector != CORRUPT_NO_SECTOR)
		snprintf(where + n, sizeof(where) - n, ", sector %" PRIu64, e->sector);
	return snprintf(buf, len, "%s  %-10s  %s%s, %u time%s", date,
			op_text(e->op, op, sizeof(op)), reason_text(e->why, reason, sizeof(reason)),
			where, e->count, e->count == 1 ? "" : "s");
}

/* Names and texts of ours need no escapes. */
static void print_json(const struct fs_error *e, FILE *out)
{
	char op[32], reason[32];

	fprintf(out, "{ \"time\": %" PRId64 ", \"operation\": \"%s\", \"operation_number\": %u, ",
		e->time, op_text(e->op, op, sizeof(op)), e->op);
	fprintf(out, "\"reason\": \"%s\", \"reason_number\": %u, ",
		reason_text(e->why, reason, sizeof(reason)), e->why);
	if (why_name((enum why)e->why))
		fprintf(out, "\"reason_name\": \"%s\", ", why_name((enum why)e->why));
	if (e->ino != CORRUPT_NO_INO)
		fprintf(out, "\"inode\": %" PRIu64 ", ", e->ino);
	if (e->sector != CORRUPT_NO_SECTOR)
		fprintf(out, "\"sector\": %" PRIu64 ", ", e->sector);
	fprintf(out, "\"count\": %u }", e->count);
}

void fs_errors_print(const struct fs_errors *e, bool json, FILE *out)
{
	char line[256];

	if (json)
		fprintf(out, "{ \"total\": %" PRIu64 ", \"errors\": [", e->total);
	for (u32 i = 0; i < e->nr; i++) {
		if (json) {
			fprintf(out, "%s\n  ", i ? "," : "");
			print_json(&e->e[i], out);
			continue;
		}
		fs_error_to_text(&e->e[i], line, sizeof(line));
		fprintf(out, "%s\n", line);
	}
	if (json)
		fprintf(out, "%s] }\n", e->nr ? "\n" : "");
	else
		fprintf(out, "%" PRIu64 " errors noted\n", e->total);
}
