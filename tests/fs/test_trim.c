/* Discarding free space: all of it, nothing else, and nobody gets it meanwhile. */
#include <errno.h>

#include "base/hash.h"
#include "fs_test.h"

#define FILE_BYTES (1u << 20)

static struct box b;
static u8 data[FILE_BYTES], got[FILE_BYTES];

struct watch {
	u64 discarded;             /* sectors */
	bool write, wrong;
	unsigned nr;               /* files that were written meanwhile */
	int error;                 /* what each discard returns */
};

static void fill(u8 *buf, u64 seed)
{
	for (u64 i = 0; i < FILE_BYTES; i += 8) {
		u64 v = hash_mix64(seed + i);

		memcpy(buf + i, &v, 8);
	}
}

static void write_file(const char *name, u64 seed)
{
	struct inode *f = make(b.root, name, S_IFREG | 0644);

	fill(data, seed);
	ck_assert_int_eq(fs_write(f, 0, data, FILE_BYTES, 0), FILE_BYTES);
	OK(fs_fsync(f, false));
	fs_iput(f);
}

static void check_file(const char *name, u64 seed)
{
	struct inode *f = get(b.root, name);

	fill(data, seed);
	fs_drop_cache(b.fs, f);
	ck_assert_int_eq(fs_read(f, 0, got, FILE_BYTES, NULL), FILE_BYTES);
	ck_assert_msg(!memcmp(data, got, FILE_BYTES), "%s differs", name);
	fs_iput(f);
}

/*
 * Before each discard: count it, and have somebody write and need space; in the long run behind
 * the files, which is where new ones go.
 */
static int on_request(void *arg, const struct blk_fault *f)
{
	struct watch *w = arg;
	char name[16];

	if (f->op != BLK_FAULT_DISCARD)
		return 0;
	w->discarded += f->nr;
	if (w->write && w->nr < 8 && f->nr * SECTOR_SIZE > 8 * FILE_BYTES) {
		snprintf(name, sizeof(name), "new%u", w->nr);
		write_file(name, 1000 + w->nr++);
	}
	return w->error;
}

static u64 free_bytes(void)
{
	struct statvfs st;

	OK(fs_sync(b.fs));
	OK(fs_statfs(b.fs, &st));
	return st.f_bfree * SECTOR_SIZE;
}

static void begin(struct watch *w, u32 block)
{
	char name[16];

	box_open(&b, "ram:256M", block);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		write_file(name, i);
	}
	for (unsigned i = 0; i < 20; i += 2) {
		snprintf(name, sizeof(name), "f%u", i);
		OK(unlink_name(b.root, name));
	}
	OK(fs_sync(b.fs));
	blk_fault_set(b.dev, on_request, w);
}

static void end(const struct watch *w)
{
	char name[16];

	blk_fault_set(b.dev, NULL, NULL);
	for (unsigned i = 1; i < 20; i += 2) {
		snprintf(name, sizeof(name), "f%u", i);
		check_file(name, i);
	}
	for (unsigned i = 0; i < w->nr; i++) {
		snprintf(name, sizeof(name), "new%u", i);
		check_file(name, 1000 + i);
	}
	box_close(&b);
}

static void trim_all(u32 block)
{
	struct watch w = { 0 };
	u64 trimmed = 0, before;

	begin(&w, block);
	before = free_bytes();
	OK(fs_trim(b.fs, 0, UINT64_MAX, 0, &trimmed));
	ck_assert_uint_eq(trimmed, before);
	ck_assert_uint_eq(w.discarded * SECTOR_SIZE, before);
	ck_assert_uint_eq(free_bytes(), before);
	end(&w);
}

START_TEST(all_free_space_is_discarded_and_nothing_else)
{
	trim_all(4096);
	trim_all(65536);
}
END_TEST

START_TEST(space_that_is_being_discarded_is_given_to_nobody)
{
	struct watch w = { .write = true };
	u64 trimmed;

	begin(&w, 0);
	OK(fs_trim(b.fs, 0, UINT64_MAX, 0, &trimmed));
	ck_assert_uint_gt(w.nr, 2);
	end(&w);
}
END_TEST

START_TEST(range_and_shortest_run_are_kept_to)
{
	struct watch w = { 0 };
	u64 trimmed = 1;

	begin(&w, 0);
	FAILS(fs_trim(b.fs, 256 << 20, UINT64_MAX, 0, &trimmed), EINVAL);
	FAILS(fs_trim(b.fs, 0, 100, 0, &trimmed), EINVAL);
	OK(fs_trim(b.fs, 0, UINT64_MAX, 1 << 30, &trimmed));
	ck_assert_uint_eq(trimmed, 0);
	OK(fs_trim(b.fs, 200 << 20, 1 << 20, 0, &trimmed));
	ck_assert_uint_eq(trimmed, 1 << 20);
	ck_assert_uint_eq(w.discarded, 256);
	end(&w);
}
END_TEST

START_TEST(a_device_that_refuses_leaves_all_as_it_was)
{
	struct watch w = { .error = -EOPNOTSUPP };
	u64 trimmed, before;

	begin(&w, 0);
	before = free_bytes();
	FAILS(fs_trim(b.fs, 0, UINT64_MAX, 0, &trimmed), EOPNOTSUPP);
	ck_assert_uint_eq(free_bytes(), before);
	write_file("new0", 1000);
	w.nr = 1;
	end(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("trim");

	check_add(s, all_free_space_is_discarded_and_nothing_else);
	check_add(s, space_that_is_being_discarded_is_given_to_nobody);
	check_add(s, range_and_shortest_run_are_kept_to);
	check_add(s, a_device_that_refuses_leaves_all_as_it_was);
	return check_main(s);
}
