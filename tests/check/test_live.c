/*
 * Goal: what the file system itself makes is consistent: after an orderly unmount, after a crash at
 * any moment (seen through the log, which is replayed in memory), and after recovery.
 * Method: random operations on a small device, checked every now and then. The seed is printed by a
 * failure; FOLIOFS_SEED repeats it.
 */
#include "check_main.h"

#include <fcntl.h>
#include <string.h>

#include "../format/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "cache/cache.h"
#include "check/check.h"
#include "fs/fs.h"

#define NAMES 40u
#define DIRS 4u
#define DATA_MAX (300u << 10)

struct live {
	struct blk_dev *dev;
	struct fs *fs;
	struct inode *dir[DIRS];
	u64 state, seed;
	u32 block;
	u8 *data;
};

static const struct fs_cred cred = { 0, 0 };

static void no_log(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	if (level == LOG_LEVEL_ERR)
		printf("  log: %s\n", line);
}

static void print_problem(void *arg, const struct check_problem *p)
{
	(void)arg;
	printf("  found %s: %s\n", check_code_name(p->code), p->text);
	fflush(stdout); /* the test process may end without */
}

static struct check_result checked(struct live *l, const char *when)
{
	struct check_opts opts = { .problem = print_problem };
	struct check_result res;
	int r = check_run(l->dev, &opts, &res);

	ck_assert_msg(r == 0 && res.problems == 0, "%s: %s, block %u, FOLIOFS_SEED=%llu", when,
		      r ? err_name(r) : "problems", l->block, (unsigned long long)l->seed);
	return res;
}

/* ---- mounting ---- */

static void live_mount(struct live *l)
{
	struct fs_opts o = { .readonly = false };
	char name[8];

	ck_assert_int_eq(fs_mount(l->dev, &o, &l->fs), 0);
	ck_assert_int_eq(fs_iget(l->fs, FMT_ROOT_INO, &l->dir[0]), 0);
	for (u32 i = 1; i < DIRS; i++) {
		int len = snprintf(name, sizeof(name), "D%u", i);

		if (fs_lookup(l->dir[0], name, (size_t)len, &l->dir[i]))
			ck_assert_int_eq(fs_mknod(l->dir[0], name, (size_t)len, S_IFDIR | 0755, 0,
						  cred, &l->dir[i]), 0);
	}
}

static void live_unmount(struct live *l, bool crash)
{
	for (u32 i = 0; i < DIRS; i++)
		fs_iput(l->dir[i]);
	ck_assert_int_eq(fs_unmount(l->fs, crash), 0);
	l->fs = NULL;
}

static u64 any(struct live *l, u64 n)
{
	return next_random(&l->state) % n;
}

/* ---- operations; their errors are part of the game ---- */

static size_t any_name(struct live *l, char *name, size_t size)
{
	return (size_t)snprintf(name, size, "n%llu", (unsigned long long)any(l, NAMES));
}

static struct inode *any_dir(struct live *l)
{
	return l->dir[any(l, DIRS)];
}

static struct inode *any_file(struct live *l, u32 type)
{
	char name[16];
	size_t len = any_name(l, name, sizeof(name));
	struct inode *ip;

	if (fs_lookup(any_dir(l), name, len, &ip))
		return NULL;
	if ((fs_mode(ip) & S_IFMT) == type)
		return ip;
	fs_iput(ip);
	return NULL;
}

static void op_make(struct live *l)
{
	static const u32 modes[] = { S_IFREG | 0644, S_IFREG | 0600, S_IFREG | 0600, S_IFDIR | 0755,
				     S_IFIFO | 0600 };
	char name[16];
	size_t len = any_name(l, name, sizeof(name));
	struct inode *ip;
	int r;

	if (any(l, 6) == 0)
		r = fs_symlink(any_dir(l), name, len, "some/where", 10, cred, &ip);
	else
		r = fs_mknod(any_dir(l), name, len, modes[any(l, ARRAY_LEN(modes))], 0, cred, &ip);
	if (!r)
		fs_iput(ip);
}

static void op_names(struct live *l)
{
	char name[16], other[16];
	size_t len = any_name(l, name, sizeof(name)), olen = any_name(l, other, sizeof(other));
	struct inode *ip;

	switch (any(l, 4)) {
	case 0:
		(void)fs_unlink(any_dir(l), name, len);
		break;
	case 1:
		(void)fs_rmdir(any_dir(l), name, len);
		break;
	case 2:
		(void)fs_rename(any_dir(l), name, len, any_dir(l), other, olen,
				any(l, 4) ? 0 : FS_RENAME_EXCHANGE, (struct fs_cred){ 0 });
		break;
	case 3:
		ip = any_file(l, S_IFREG);
		if (ip) {
			(void)fs_link(ip, any_dir(l), other, olen);
			fs_iput(ip);
		}
		break;
	}
}

static void op_data(struct live *l)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE };
	struct inode *ip = any_file(l, S_IFREG);
	u64 scale = 1ull << any(l, 20);
	u64 pos = any(l, scale), len = 1 + any(l, MIN(scale, (u64)DATA_MAX));

	if (!ip)
		return;
	switch (any(l, 8)) {
	case 0:
		(void)fs_truncate(ip, pos);
		break;
	case 1:
		(void)fs_fallocate(ip, modes[any(l, ARRAY_LEN(modes))], pos, len);
		break;
	case 2:
		(void)fs_fsync(ip, any(l, 2));
		break;
	default:
		(void)fs_write(ip, pos, l->data, len, 0);
	}
	fs_iput(ip);
}

static void op_xattr(struct live *l)
{
	struct inode *ip = any_file(l, S_IFREG);
	char name[24];

	if (!ip)
		return;
	snprintf(name, sizeof(name), "user.x%llu", (unsigned long long)any(l, 3));
	if (any(l, 3))
		(void)fs_setxattr(ip, name, l->data, any(l, 9000), 0);
	else
		(void)fs_removexattr(ip, name);
	fs_iput(ip);
}

static void some_operations(struct live *l, u64 nr)
{
	while (nr--) {
		switch (any(l, 8)) {
		case 0:
		case 1:
			op_make(l);
			break;
		case 2:
		case 3:
			op_names(l);
			break;
		case 4:
			op_xattr(l);
			break;
		default:
			op_data(l);
		}
		if (any(l, 50) == 0)
			(void)fs_tick(l->fs);
		if (any(l, 100) == 0)
			(void)fs_sync(l->fs);
	}
}

/* ---- the test ---- */

static void live_open(struct live *l, u32 block, u64 seed)
{
	struct cache_config cc = { .bytes = 16u << 20, .max_order = 0xff };
	struct fs_format_opts o = { .block_bytes = block };
	const char *given = getenv("FOLIOFS_SEED");

	memset(l, 0, sizeof(*l));
	l->seed = given ? strtoull(given, NULL, 0) : seed;
	l->state = l->seed;
	l->block = block;
	l->data = malloc(DATA_MAX);
	fill_random(l->data, DATA_MAX, &l->state);
	ck_assert_int_eq(cache_init(&cc), 0);
	ck_assert_int_eq(blk_open("ram:32M", BLK_RDWR, NULL, &l->dev), 0);
	ck_assert_int_eq(fs_format(l->dev, &o, NULL), 0);
	live_mount(l);
}

static void live_close(struct live *l)
{
	blk_close(l->dev);
	cache_fini();
	free(l->data);
}

static void random_life(u32 block, u64 seed, unsigned rounds)
{
	struct live l;

	live_open(&l, block, seed);
	for (unsigned i = 0; i < rounds; i++) {
		bool crash = i % 3 != 2;
		struct check_result res;

		some_operations(&l, 100 + any(&l, 300));
		live_unmount(&l, crash);
		res = checked(&l, crash ? "after a crash" : "after an unmount");
		if (!crash)
			ck_assert(!res.replayed);
		live_mount(&l);
		if (i % 4 == 0) {
			live_unmount(&l, false);
			checked(&l, "after recovery");
			live_mount(&l);
		}
	}
	live_unmount(&l, false);
	checked(&l, "at the end");
	live_close(&l);
}

START_TEST(random_operations_leave_a_consistent_image)
{
	for (u64 seed = 1; seed <= 6; seed++)
		random_life(4096, seed, 20);
}
END_TEST

START_TEST(random_operations_with_large_blocks_leave_a_consistent_image)
{
	random_life(65536, 7, 20);
	random_life(65536, 8, 20);
	random_life(1u << 20, 9, 20);
}
END_TEST

/* Files of 1 to 9 sectors, until no more will do. How many names there are then. */
static u32 fill_small(struct live *l, u32 n)
{
	ssize_t got = 1;

	while (got > 0) {
		char name[16];
		size_t len = (size_t)snprintf(name, sizeof(name), "s%u", n);
		struct inode *ip;

		if (fs_mknod(l->dir[0], name, len, S_IFREG | 0644, 0, cred, &ip))
			break;
		got = fs_write(ip, 0, l->data, (1 + any(l, 9)) * SECTOR_SIZE, 0);
		fs_iput(ip);
		n++;
	}
	ck_assert_int_eq(fs_sync(l->fs), 0);
	return n;
}

static void remove_small(struct live *l, u32 end, u32 step)
{
	for (u32 n = 0; n < end; n += step) {
		char name[16];
		size_t len = (size_t)snprintf(name, sizeof(name), "s%u", n);

		(void)fs_unlink(l->dir[0], name, len);
	}
	ck_assert_int_eq(fs_sync(l->fs), 0);
}

START_TEST(a_disk_full_of_small_files_is_consistent_and_leaks_nothing)
{
	static const u32 blocks[] = { 65536, 2u << 20 };
	struct check_result empty, full, end;
	struct live l;
	u32 nr;

	live_open(&l, blocks[_i], 10);
	live_unmount(&l, false);
	empty = checked(&l, "empty");
	live_mount(&l);
	nr = fill_small(&l, 0);
	live_unmount(&l, false);
	full = checked(&l, "full");
	live_mount(&l);
	remove_small(&l, nr, 2);
	live_unmount(&l, true);
	checked(&l, "half empty, after a crash");
	live_mount(&l);
	nr = fill_small(&l, nr);
	live_unmount(&l, true);
	checked(&l, "full again, after a crash");
	live_mount(&l);
	remove_small(&l, nr, 1);
	live_unmount(&l, false);
	end = checked(&l, "empty again");
	ck_assert_uint_gt(full.used_sectors, empty.used_sectors + 3000);
	ck_assert_uint_eq(end.used_sectors - end.nodes * NODE_SECTORS,
			  empty.used_sectors - empty.nodes * NODE_SECTORS);
	live_close(&l);
}
END_TEST

START_TEST(a_check_of_a_dirty_image_writes_nothing_and_finds_what_recovery_makes)
{
	u64 len = (32u << 20) / SECTOR_SIZE;
	u8 *before = aligned_alloc(SECTOR_SIZE, len * SECTOR_SIZE);
	u8 *after = aligned_alloc(SECTOR_SIZE, len * SECTOR_SIZE);
	struct check_result dirty, clean;
	struct live l;

	live_open(&l, 4096, 10);
	some_operations(&l, 500);
	ck_assert_int_eq(fs_sync(l.fs), 0);
	live_unmount(&l, true);
	ck_assert_int_eq(blk_read(l.dev, 0, before, (u32)len, BLK_META), 0);
	dirty = checked(&l, "dirty");
	ck_assert(dirty.replayed);
	ck_assert_uint_gt(dirty.recovery.transactions, 0);
	ck_assert_int_eq(blk_read(l.dev, 0, after, (u32)len, BLK_META), 0);
	ck_assert_int_eq(memcmp(before, after, len * SECTOR_SIZE), 0);
	live_mount(&l);
	live_unmount(&l, false);
	clean = checked(&l, "clean");
	ck_assert_uint_le(clean.inodes, dirty.inodes);
	ck_assert_uint_eq(clean.directories, dirty.directories);
	free(before);
	free(after);
	live_close(&l);
}
END_TEST

int main(void)
{
	TCase *full = tcase_create("a_disk_full_of_small_files_is_consistent_and_leaks_nothing");
	Suite *s = suite_create("live");

	log_set_sink(no_log, NULL);
	check_add_slow(s, random_operations_leave_a_consistent_image, 200);
	check_add_slow(s, random_operations_with_large_blocks_leave_a_consistent_image, 200);
	check_add(s, a_check_of_a_dirty_image_writes_nothing_and_finds_what_recovery_makes);
	tcase_set_timeout(full, 60);
	tcase_add_loop_test(full, a_disk_full_of_small_files_is_consistent_and_leaks_nothing, 0, 2);
	suite_add_tcase(s, full);
	return check_main(s);
}
