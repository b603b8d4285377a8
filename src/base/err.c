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

static const char *const why_texts[WHY_NR] = {
	[WHY_NONE] = "nothing wrong",
	[WHY_SB_MAGIC] = "superblock: no FolioFS signature",
	[WHY_SB_VERSION] = "superblock: unknown format version",
	[WHY_SB_CHECKSUM] = "superblock: wrong checksum",
	[WHY_SB_GEOMETRY] = "superblock: impossible geometry",
	[WHY_SB_FEATURES] = "superblock: unknown features",
	[WHY_SB_SIZE] = "superblock: larger than the device",
	[WHY_HDR_MAGIC] = "metadata header: wrong magic number",
	[WHY_HDR_CHECKSUM] = "metadata header: wrong checksum",
	[WHY_HDR_ADDRESS] = "metadata header: written for another address",
	[WHY_HDR_OWNER] = "metadata header: belongs to another owner",
	[WHY_HDR_UUID] = "metadata header: belongs to another file system",
	[WHY_HDR_TYPE] = "metadata header: wrong type",
	[WHY_NODE_LEVEL] = "tree node: wrong level",
	[WHY_NODE_LAYOUT] = "tree node: items out of bounds",
	[WHY_NODE_KEY_ORDER] = "tree node: keys out of order",
	[WHY_NODE_KEY_RANGE] = "tree node: key outside the range of its parent",
	[WHY_NODE_CHILD] = "tree node: impossible child address",
	[WHY_TREE_DEPTH] = "tree: deeper than possible",
	[WHY_GROUP_TABLE] = "group table: impossible entry",
	[WHY_BITMAP] = "bitmap: wrong content",
	[WHY_BITMAP_COUNT] = "bitmap: free count does not match",
	[WHY_MAP] = "sector map: wrong content",
	[WHY_ROOT] = "root sector: wrong content",
	[WHY_RANGE] = "disk range outside the file system",
	[WHY_DOUBLE_FREE] = "space freed that was not in use",
	[WHY_JNL_HEADER] = "journal: wrong header",
	[WHY_JNL_RECORD] = "journal: wrong record",
	[WHY_JNL_CHECKSUM] = "journal: wrong checksum",
	[WHY_JNL_SEQUENCE] = "journal: wrong sequence number",
	[WHY_JNL_RANGE] = "journal: range outside its buffer",
	[WHY_INODE] = "inode: wrong content",
	[WHY_INODE_MISSING] = "inode: named but missing",
	[WHY_INODE_NLINK] = "inode: wrong link count",
	[WHY_DIRENT] = "directory entry: wrong content",
	[WHY_DIRENT_NAME] = "directory entry: impossible name",
	[WHY_EXTENT] = "extent: wrong content",
	[WHY_EXTENT_OVERLAP] = "extent: overlaps another",
	[WHY_XATTR] = "extended attribute: wrong content",
	[WHY_ORPHAN] = "orphan: wrong content",
	[WHY_SYMLINK] = "symbolic link: wrong content",
	[WHY_INLINE] = "inline data: wrong content",
	[WHY_DATA_CHECKSUM] = "file data: wrong checksum",
	[WHY_DATA_BAD] = "file data: lost by a write that failed",
	[WHY_DATA_TORN] = "file data: torn by a crash",
	[WHY_BUFFER] = "metadata buffer: wrong address, kind or content",
	[WHY_JNL_LOST] = "journal: damaged in the middle, later changes are lost",
	[WHY_IO_READ] = "device: reading failed",
	[WHY_IO_WRITE] = "device: writing failed",
	[WHY_IO_FLUSH] = "device: a flush failed",
	[WHY_MEM_CLEAN] = "memory: a cached page was lost and read again",
	[WHY_MEM_DATA] = "memory: file data was lost before it was written",
	[WHY_MEM_META] = "memory: changed metadata was lost before it was written",
};

const char *why_text(enum why why)
{
	if ((size_t)why >= WHY_NR || !why_texts[why])
		return "unknown reason";
	return why_texts[why];
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
