/*
 * Names of errors, failed assertions, and the register of corruptions.
 *
 * Rules
 * 1. corrupt() takes no lock but the log's: it is called from under any of them.
 * 2. Of each reason the first WHY_LOG_FIRST reports are logged, then those whose number is a power
 *    of two, so a million equal reports make about thirty lines.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define WHY_LOG_FIRST 8

static u64 why_seen[WHY_NR]; /* relaxed atomics */
static corrupt_sink_fn sink_fn; /* atomic; set after sink_arg */
static void *sink_arg;

void assert_failed(const char *cond, const char *file, int line, const char *func)
{
	log_err("assertion failed: %s, %s:%d (%s)", cond, file, line, func);
	abort();
}

const char *err_name(int err)
{
	const char *name;

	if (err == 0)
		return "0";
	name = strerrorname_np(err < 0 ? -err : err);
	return name ? name : "E?";
}

const char *err_text(int err)
{
	const char *text = strerrordesc_np(err < 0 ? -err : err);

	return text ? text : "unknown error";
}

/* Appends to the text of `size` bytes; what does not fit is cut. */
static PRINTF_LIKE(3, 4) void add_text(char *buf, size_t size, const char *fmt, ...)
{
	size_t len = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + len, size - len, fmt, ap);
	va_end(ap);
}

static void add_number(char *buf, size_t size, const char *what, u64 n)
{
	add_text(buf, size, "%s%s %llu", *buf ? ", " : "", what, (unsigned long long)n);
}

/* "inode 12, file sector 3, sector 4711: " as far as it is known and not said yet. */
static void add_place(char *buf, size_t size, const struct corrupt_report *r)
{
	if (r->ino != CORRUPT_NO_INO && r->ino != r->work.ino)
		add_number(buf, size, "inode", r->ino);
	if (r->file_sector != CORRUPT_NO_SECTOR)
		add_number(buf, size, "file sector", r->file_sector);
	if (r->sector != CORRUPT_NO_SECTOR)
		add_number(buf, size, "sector", r->sector);
	if (*buf)
		add_text(buf, size, ": ");
}

/* "corruption: read of inode 12: file sector 3, sector 4711: file data: wrong checksum" */
static void corrupt_log(const struct corrupt_report *r, u64 nth)
{
	char place[128] = "", who[64] = "", tail[64] = "";
	const char *name = work_text(r->work.kind);

	add_text(who, sizeof(who), "%s", name ? name : work_text(WORK_NONE));
	if (r->work.ino != CORRUPT_NO_INO)
		add_text(who, sizeof(who), " of inode %llu", (unsigned long long)r->work.ino);
	add_place(place, sizeof(place), r);
	if (r->err)
		add_text(tail, sizeof(tail), " (%s)", err_name(r->err));
	if (nth > WHY_LOG_FIRST)
		add_text(tail, sizeof(tail), " (report %llu of this kind)",
			 (unsigned long long)nth);
	log_err("%s: %s: %s%s%s",
		why_is_io(r->why)	? "I/O error"
		: why_is_memory(r->why) ? "memory error"
					: "corruption",
		who, place, why_text(r->why), tail);
}

bool corrupt_sink_take(corrupt_sink_fn fn, void *arg)
{
	void *nobody = NULL;

	if (!__atomic_compare_exchange_n(&sink_arg, &nobody, arg, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return false;
	__atomic_store_n(&sink_fn, fn, __ATOMIC_RELEASE);
	return true;
}

void corrupt_sink_drop(void *arg)
{
	if (__atomic_load_n(&sink_arg, __ATOMIC_ACQUIRE) != arg)
		return;
	__atomic_store_n(&sink_fn, NULL, __ATOMIC_RELEASE);
	__atomic_store_n(&sink_arg, NULL, __ATOMIC_RELEASE);
}

static int report(const struct corrupt_report *r)
{
	corrupt_sink_fn fn = __atomic_load_n(&sink_fn, __ATOMIC_ACQUIRE);
	size_t i = (size_t)r->why < WHY_NR ? (size_t)r->why : WHY_NONE;
	u64 nth = __atomic_add_fetch(&why_seen[i], 1, __ATOMIC_RELAXED);

	if (nth <= WHY_LOG_FIRST || is_pow2(nth))
		corrupt_log(r, nth);
	if (fn)
		fn(__atomic_load_n(&sink_arg, __ATOMIC_ACQUIRE), r);
	return -EUCLEAN;
}

int corrupt_data(enum why why, u64 ino, u64 file_sector, u64 sector)
{
	return report(&(struct corrupt_report){ .why = why, .ino = ino, .sector = sector,
						.file_sector = file_sector, .work = work_now() });
}

int corrupt(enum why why, u64 ino, u64 sector)
{
	return corrupt_data(why, ino, CORRUPT_NO_SECTOR, sector);
}

void corrupt_io(enum why why, struct work w, u64 sector, int err)
{
	report(&(struct corrupt_report){ .why = why, .sector = sector, .work = w, .err = err,
					 .file_sector = CORRUPT_NO_SECTOR });
}

u64 corrupt_count(enum why why)
{
	return (size_t)why < WHY_NR ? __atomic_load_n(&why_seen[why], __ATOMIC_RELAXED) : 0;
}
