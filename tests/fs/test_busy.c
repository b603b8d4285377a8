/*
 * Threads write, truncate, sync, replace and delete files while the flusher and the commit thread
 * run. What each call returns is up to the order of events; the trees must agree afterwards, and
 * all space must come back.
 */
#include <errno.h>
#include <pthread.h>

#include "base/hash.h"
#include "fs_test.h"

#define NR_THREADS 3
#define NR_NAMES 6
#define NR_OPS 3000
#define DATA (96u << 10)

static struct box b;
static u8 data[DATA];

static void expect(s64 r)
{
	ck_assert_msg(r >= 0 || r == -ENOENT || r == -EEXIST || r == -ENOSPC, "error %lld",
		      (long long)r);
}

static void with_file(const char *name, u64 x)
{
	u8 buf[4096];
	struct inode *f = NULL;
	int r = fs_lookup(b.root, name, 2, &f);

	if (r) {
		expect(r);
		return;
	}
	switch (x % 6) {
	case 0:
	case 1:
		expect(fs_write(f, (x >> 8) % DATA, data, (x >> 32) % DATA, 0));
		break;
	case 2:
		expect(fs_read(f, (x >> 8) % DATA, buf, sizeof(buf), NULL));
		break;
	case 3:
		expect(fs_truncate(f, (x >> 8) % DATA));
		break;
	case 4:
		expect(fs_fsync(f, x & 1024));
		break;
	case 5:
		expect(fs_setxattr(f, "user.a", data, (x >> 8) % 9000, 0));
		break;
	}
	fs_iput(f);
}

static void *worker(void *arg)
{
	u64 x = (u64)(uintptr_t)arg * 7919;

	for (unsigned i = 0; i < NR_OPS; i++) {
		char name[3] = "n", other[3] = "n";
		struct inode *f = NULL;

		x = hash_mix64(x + i + 1);
		name[1] = (char)('a' + (x >> 40) % NR_NAMES);
		other[1] = (char)('a' + (x >> 48) % NR_NAMES);
		switch (x >> 56 & 15) {
		case 0:
		case 1:
		case 2:
			expect(fs_mknod(b.root, name, 2, S_IFREG | 0644, 0, somebody, &f));
			fs_iput(f);
			break;
		case 3:
			expect(unlink_name(b.root, name));
			break;
		case 4:
			expect(rename_name(b.root, name, b.root, other, 0));
			break;
		case 5:
			if (i % 8 == 0)
				OK(fs_sync(b.fs));
			break;
		default:
			with_file(name, x);
		}
	}
	return NULL;
}

static void run(u32 block_bytes)
{
	pthread_t t[NR_THREADS];

	box_open(&b, "ram:64M", block_bytes);
	b.opts.threads = true;
	b.opts.commit_ms = 30;
	box_remount(&b, false);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, worker, (void *)(i + 1)), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(t[i], NULL);
}

static u64 nr_free(void)
{
	struct statvfs st;

	OK(fs_sync(b.fs));
	OK(fs_statfs(b.fs, &st));
	return st.f_bfree;
}

static void delete_all(void)
{
	for (int i = 0; i < NR_NAMES; i++) {
		char name[3] = { 'n', (char)('a' + i), 0 };

		expect(unlink_name(b.root, name));
	}
}

static void assert_all_came_back(u32 block_bytes)
{
	struct census c;
	u64 before;

	box_open(&b, "ram:64M", block_bytes);
	before = nr_free();
	fs_iput(b.root);
	OK(fs_unmount(b.fs, false));
	blk_close(b.dev);
	cache_fini();
	run(block_bytes);
	delete_all();
	census_take(b.fs, &c);
	ck_assert_uint_eq(c.inodes, 1);
	ck_assert_uint_eq(c.dirents + c.orphans + c.extents + c.xattrs, 0);
	ck_assert_uint_eq(nr_free(), before);
	box_close(&b);
}

START_TEST(all_space_comes_back_with_small_blocks)
{
	assert_all_came_back(4096);
}
END_TEST

START_TEST(all_space_comes_back_with_large_blocks)
{
	assert_all_came_back(65536);
}
END_TEST

START_TEST(a_crash_in_the_middle_of_it_leaves_consistent_trees)
{
	run(4096);
	box_remount(&b, true);
	assert_consistent(b.fs);
	delete_all();
	box_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("busy");

	check_add_slow(s, all_space_comes_back_with_small_blocks, 120);
	check_add_slow(s, all_space_comes_back_with_large_blocks, 120);
	check_add_slow(s, a_crash_in_the_middle_of_it_leaves_consistent_trees, 120);
	return check_main(s);
}
