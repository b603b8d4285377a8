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

#define OP_RUNNING 2

static u64 why_seen[WHY_NR]; /* relaxed atomics */
static corrupt_sink_fn sink_fn; /* atomic; set after sink_arg */
static void *sink_arg;
static __thread u16 current_op;

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

struct report {
	enum why why;
	u64 ino, file_sector, sector;
	int err;                /* what the device said; 0: nothing */
};

/* Appends to the text of `size` bytes; what does not fit is cut. */
static PRINTF_LIKE(3, 4) void add_text(char *buf, size_t size, const char *fmt, ...)
{
	size_t len = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + len, size - len, fmt, ap);
	va_end(ap);
}

static void corrupt_log(const struct report *r, u64 nth)
{
	char text[256] = "";

	if (r->err)
		add_text(text, sizeof(text), " (%s)", err_name(r->err));
	if (r->ino != CORRUPT_NO_INO)
		add_text(text, sizeof(text), ", inode %llu", (unsigned long long)r->ino);
	if (r->file_sector != CORRUPT_NO_SECTOR)
		add_text(text, sizeof(text), ", file sector %llu",
			 (unsigned long long)r->file_sector);
	if (r->sector != CORRUPT_NO_SECTOR)
		add_text(text, sizeof(text), ", sector %llu", (unsigned long long)r->sector);
	if (nth > WHY_LOG_FIRST)
		add_text(text, sizeof(text), " (report %llu of this kind)",
			 (unsigned long long)nth);
	log_err("%s: %s%s",
		why_is_io(r->why)	? "I/O error"
		: why_is_memory(r->why) ? "memory error"
					: "corruption",
		why_text(r->why), text);
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

u16 corrupt_op(void)
{
	return current_op ? current_op : OP_RUNNING;
}

void corrupt_op_set(u16 op)
{
	current_op = op;
}

static int report(const struct report *r)
{
	corrupt_sink_fn fn = __atomic_load_n(&sink_fn, __ATOMIC_ACQUIRE);
	size_t i = (size_t)r->why < WHY_NR ? (size_t)r->why : WHY_NONE;
	u64 nth = __atomic_add_fetch(&why_seen[i], 1, __ATOMIC_RELAXED);

	if (nth <= WHY_LOG_FIRST || is_pow2(nth))
		corrupt_log(r, nth);
	if (fn)
		fn(__atomic_load_n(&sink_arg, __ATOMIC_ACQUIRE), r->why, r->ino, r->sector);
	return -EUCLEAN;
}

int corrupt_data(enum why why, u64 ino, u64 file_sector, u64 sector)
{
	return report(&(struct report){ why, ino, file_sector, sector, 0 });
}

int corrupt(enum why why, u64 ino, u64 sector)
{
	return report(&(struct report){ why, ino, CORRUPT_NO_SECTOR, sector, 0 });
}

void corrupt_io(enum why why, u64 sector, int err)
{
	report(&(struct report){ why, CORRUPT_NO_INO, CORRUPT_NO_SECTOR, sector, err });
}

u64 corrupt_count(enum why why)
{
	return (size_t)why < WHY_NR ? __atomic_load_n(&why_seen[why], __ATOMIC_RELAXED) : 0;
}
