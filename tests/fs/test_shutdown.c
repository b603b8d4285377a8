/* A shutdown: as a power cut, and nothing hangs, however much was dirty or waited. */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "fs_test.h"

static struct box b;
static u8 data[1 << 20];

static ssize_t put(struct inode *f, u64 pos, u8 value)
{
	memset(data, value, sizeof(data));
	return fs_write(f, pos, data, sizeof(data), 0);
}

static u8 byte_at(struct inode *f, u64 pos)
{
	u8 byte = 0;

	ck_assert_int_eq(fs_read(f, pos, &byte, 1, NULL), 1);
	return byte;
}

static void mount_again(void)
{
	blk_close(b.dev);
	OK(blk_open("shutdown.img", BLK_RDWR, NULL, &b.dev));
	OK(fs_mount(b.dev, &b.opts, &b.fs));
	OK(fs_iget(b.fs, 1, &b.root));
}

static void begin(bool threads)
{
	struct blk_opts size = { .size = 64u << 20 };
	struct blk_dev *dev;

	OK(blk_open("shutdown.img", BLK_RDWR | BLK_CREATE | BLK_TRUNCATE, &size, &dev));
	blk_close(dev);
	box_open(&b, "shutdown.img", 0);
	b.opts.threads = threads;
	box_remount(&b, false);
}

static void end(void)
{
	box_close(&b);
	unlink("shutdown.img");
}

START_TEST(what_was_synced_is_there_after_a_shutdown_and_the_rest_is_not)
{
	struct inode *f, *ip = NULL;

	begin(_i);
	f = make(b.root, "f", S_IFREG | 0644);
	ck_assert_int_eq(put(f, 0, 'a'), sizeof(data));
	OK(fs_fsync(f, false));
	make_file(b.root, "later");
	ck_assert_int_eq(put(f, sizeof(data), 'b'), sizeof(data));
	fs_shutdown(b.fs);
	ck_assert(fs_is_down(b.fs));
	FAILS(fs_fsync(f, false), EIO);
	FAILS(fs_fsync(b.root, false), EIO);
	FAILS(fs_sync(b.fs), EIO);
	FAILS(put(f, 0, 'c'), EIO);
	FAILS(fs_mknod(b.root, "x", 1, S_IFREG | 0644, 0, somebody, &ip), EIO);
	FAILS(unlink_name(b.root, "f"), EIO);
	fs_iput(f);
	fs_iput(b.root);
	fs_unmount(b.fs, true);
	mount_again();
	ck_assert(!fs_recovery(b.fs)->was_clean);
	assert_consistent(b.fs);
	ck_assert(!there(b.root, "later"));
	ck_assert_int_eq(stat_of(b.root, "f").st_size, sizeof(data));
	f = get(b.root, "f");
	ck_assert_int_eq(byte_at(f, 0), 'a');
	ck_assert_int_eq(byte_at(f, sizeof(data) - 1), 'a');
	fs_iput(f);
	end();
}
END_TEST

/* Slow enough that writers reach the limit of dirty data. */
static int slow_data(void *arg, const struct blk_fault *f)
{
	(void)arg;
	if (f->op == BLK_FAULT_WRITE && f->kind == BLK_DATA)
		usleep(20000);
	return 0;
}

static void *writer(void *arg)
{
	u8 *mine = calloc(1, 65536);
	ssize_t n = 0;

	for (u64 pos = 0; n >= 0; pos = (pos + 65536) % (40u << 20))
		n = fs_write(arg, pos, mine, 65536, 0);
	free(mine);
	return (void *)(intptr_t)n;
}

START_TEST(a_writer_that_waits_for_writeback_is_let_go)
{
	pthread_t t[2];
	struct inode *f;

	begin(true);
	alarm(60);
	f = make(b.root, "f", S_IFREG | 0644);
	blk_fault_set(b.dev, slow_data, NULL);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, writer, f), 0);
	while (!cache_throttled())
		usleep(1000);
	fs_shutdown(b.fs);
	for (int i = 0; i < 2; i++) {
		void *r;

		pthread_join(t[i], &r);
		ck_assert_int_eq((intptr_t)r, -EIO);
	}
	fs_iput(f);
	fs_iput(b.root);
	fs_unmount(b.fs, true);
	mount_again();
	end();
}
END_TEST

START_TEST(a_failed_log_lets_a_waiting_writer_go_too)
{
	pthread_t t;
	struct inode *f;
	void *r;

	begin(true);
	alarm(60);
	f = make(b.root, "f", S_IFREG | 0644);
	blk_fault_set(b.dev, slow_data, NULL);
	ck_assert_int_eq(pthread_create(&t, NULL, writer, f), 0);
	while (!cache_throttled())
		usleep(1000);
	jnl_shutdown(fs_jnl(b.fs));
	pthread_join(t, &r);
	ck_assert_int_eq((intptr_t)r, -EROFS);
	fs_iput(f);
	fs_iput(b.root);
	ck_assert_int_lt(fs_unmount(b.fs, false), 0);
	mount_again();
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("shutdown");
	TCase *both = tcase_create("what_was_synced_is_there_after_a_shutdown_and_the_rest_is_not");

	tcase_add_loop_test(both, what_was_synced_is_there_after_a_shutdown_and_the_rest_is_not,
			    0, 2);
	suite_add_tcase(s, both);
	check_add(s, a_writer_that_waits_for_writeback_is_let_go);
	check_add(s, a_failed_log_lets_a_waiting_writer_go_too);
	return check_main(s);
}
