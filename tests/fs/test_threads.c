/*
 * Several threads work on the same few names; afterwards the trees must agree with each other.
 * What each call returns is up to the order of events: only results that no order gives fail.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"
#include "fs_test.h"

#define NR_THREADS 4
#define NR_DIRS 3
#define NR_NAMES 12
#define NR_OPS 6000

static struct box b;
static struct inode *dirs[NR_DIRS];

static void expect(int r, const int *allowed)
{
	if (r >= 0)
		return;
	for (; *allowed; allowed++)
		if (r == -*allowed)
			return;
	ck_abort_msg("unexpected error %d", r);
}

static struct inode *dir_of(u64 x)
{
	return dirs[x % NR_DIRS];
}

static int one_create(struct inode *dir, const char *name, u32 mode)
{
	struct inode *ip = NULL;
	int r = fs_mknod(dir, name, strlen(name), mode, 0, somebody, &ip);

	fs_iput(ip);
	return r;
}

static int one_link(struct inode *from, const char *name, struct inode *to, const char *as)
{
	struct inode *ip = NULL;
	int r = fs_lookup(from, name, strlen(name), &ip);

	if (r == 0)
		r = fs_link(ip, to, as, strlen(as));
	fs_iput(ip);
	return r;
}

static int count_entry(void *arg, const char *name, size_t len, u64 ino, unsigned t, u64 cookie)
{
	(void)name, (void)len, (void)ino, (void)t, (void)cookie;
	++*(u64 *)arg;
	return 0;
}

static void one_op(u64 x)
{
	static const int errors[] = {
		EEXIST, ENOENT, EISDIR, ENOTDIR, ENOTEMPTY, EINVAL, EPERM, 0
	};
	struct inode *from = dir_of(x >> 8), *to = dir_of(x >> 16);
	char name[4] = { 'n', (char)('a' + (x >> 24) % NR_NAMES), 0 };
	char other[4] = { 'n', (char)('a' + (x >> 32) % NR_NAMES), 0 };
	u64 nr = 0;
	int r = 0;

	switch (x % 10) {
	case 0:
	case 1:
		r = one_create(from, name, S_IFREG | 0644);
		break;
	case 2:
		r = one_create(from, name, S_IFDIR | 0755);
		break;
	case 3:
	case 4:
		r = unlink_name(from, name);
		break;
	case 5:
		r = rmdir_name(from, name);
		break;
	case 6:
		r = one_link(from, name, to, other);
		break;
	case 7:
		r = rename_name(from, name, to, other, 0);
		break;
	case 8:
		r = rename_name(from, name, to, other, FS_RENAME_EXCHANGE);
		break;
	case 9:
		r = fs_readdir(from, 0, count_entry, &nr);
		ck_assert_uint_le(nr, NR_NAMES + 3);
		break;
	}
	expect(r, errors);
}

static void *worker(void *arg)
{
	u64 x = (u64)(uintptr_t)arg * 1000003;

	for (unsigned i = 0; i < NR_OPS; i++) {
		x = hash_mix64(x + i + 1);
		one_op(x);
		if (i % 500 == 499)
			OK(fs_fsync(dir_of(x), false));
	}
	return NULL;
}

static void run(bool threads)
{
	pthread_t t[NR_THREADS];
	char name[2] = "1";

	box_open(&b, "ram:64M", 0);
	b.opts.threads = threads;
	b.opts.commit_ms = 20;
	box_remount(&b, false);
	for (int i = 0; i < NR_DIRS; i++, name[0]++)
		dirs[i] = make(b.root, name, S_IFDIR | 0755);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, worker, (void *)(i + 1)), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < NR_DIRS; i++)
		fs_iput(dirs[i]);
}

START_TEST(operations_of_many_threads_leave_consistent_trees)
{
	struct census c;

	run(false);
	census_take(b.fs, &c);
	ck_assert_uint_eq(c.orphans, 0);
	box_close(&b);
}
END_TEST

START_TEST(a_crash_under_many_threads_leaves_consistent_trees)
{
	run(true);
	box_remount(&b, true);
	assert_consistent(b.fs);
	box_close(&b);
}
END_TEST

/* Directories are moved around under each other: no ring may form, or some become unreachable. */
static void *mover(void *arg)
{
	u64 x = (u64)(uintptr_t)arg * 77;

	for (unsigned i = 0; i < 3000; i++) {
		char from[2], to[2];

		x = hash_mix64(x + i + 1);
		from[0] = (char)('1' + (x >> 8) % NR_DIRS);
		to[0] = (char)('1' + (x >> 16) % NR_DIRS);
		from[1] = to[1] = 0;
		rename_name((x & 1) ? b.root : dir_of(x >> 24), from, dir_of(x >> 32), to, 0);
		rename_name(dir_of(x >> 24), from, b.root, to, FS_RENAME_NOREPLACE);
	}
	return NULL;
}

START_TEST(moving_directories_makes_no_ring)
{
	pthread_t t[2];
	char name[2] = "1";

	box_open(&b, "ram:64M", 0);
	for (int i = 0; i < NR_DIRS; i++, name[0]++) {
		dirs[i] = make(b.root, name, S_IFDIR | 0755);
		make_file(dirs[i], "keep");      /* never empty, so never replaced */
	}
	for (uintptr_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, mover, (void *)(i + 1)), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < NR_DIRS; i++) {
		struct inode *at = fs_ihold(dirs[i]), *up;
		unsigned steps = 0;

		for (; fs_ino(at) != 1; steps++) {
			ck_assert_uint_lt(steps, NR_DIRS + 1);
			OK(fs_lookup(at, "..", 2, &up));
			fs_iput(at);
			at = up;
		}
		fs_iput(at);
	}
	for (int i = 0; i < NR_DIRS; i++)
		fs_iput(dirs[i]);
	box_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("threads");

	check_add_slow(s, operations_of_many_threads_leave_consistent_trees, 120);
	check_add_slow(s, a_crash_under_many_threads_leaves_consistent_trees, 120);
	check_add_slow(s, moving_directories_makes_no_ring, 120);
	return check_main(s);
}
