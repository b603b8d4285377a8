/*
 * Opening: what is refused, that a refused open changes nothing, and who is named as the holder.
 */
#include "blk_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const struct blk_opts one_mib = { .size = 1 << 20 };

static struct blk_dev *open_new(unsigned flags)
{
	struct blk_dev *dev = NULL;

	ck_assert_int_eq(blk_open(t_new_path(), flags | BLK_CREATE, &one_mib, &dev), 0);
	return dev;
}

static int try_open(unsigned flags)
{
	struct blk_dev *dev = NULL;
	int err = blk_open(t_path, flags, NULL, &dev);

	if (!err)
		blk_close(dev);
	else
		ck_assert_ptr_null(dev);
	return err;
}

START_TEST(a_second_open_for_writing_is_refused)
{
	struct blk_dev *dev = open_new(BLK_RDWR);

	ck_assert_int_eq(try_open(BLK_RDWR), -EBUSY);
	ck_assert_int_eq(try_open(BLK_RDONLY), -EBUSY);
	ck_assert_int_eq(try_open(BLK_RDWR | BLK_NOLOCK), 0);
	blk_close(dev);
	ck_assert_int_eq(try_open(BLK_RDWR), 0);
	unlink(t_path);
}
END_TEST

START_TEST(readers_share_and_keep_writers_out)
{
	struct blk_dev *a;

	blk_close(open_new(BLK_RDWR));
	ck_assert_int_eq(blk_open(t_path, BLK_RDONLY, NULL, &a), 0);
	ck_assert_int_eq(try_open(BLK_RDONLY), 0);
	ck_assert_int_eq(try_open(BLK_RDWR), -EBUSY);
	blk_close(a);
	unlink(t_path);
}
END_TEST

START_TEST(a_refused_open_does_not_touch_the_file)
{
	struct blk_dev *dev = open_new(BLK_RDWR), *other = NULL;
	struct blk_opts bigger = { .size = 4 << 20 };
	struct stat st;

	ck_assert_int_eq(blk_open(t_path, BLK_RDWR | BLK_CREATE | BLK_TRUNCATE, &bigger, &other),
			 -EBUSY);
	ck_assert_int_eq(stat(t_path, &st), 0);
	ck_assert_int_eq(st.st_size, 1 << 20);
	blk_close(dev);
	unlink(t_path);
}
END_TEST

static sem_t written, end;

/* Writes once, and then lives on with its ring. */
static void *write_and_stay(void *arg)
{
	u8 *buf = t_buf(1);

	ck_assert_int_eq(blk_write(arg, 0, buf, 1, BLK_DATA), 0);
	free(buf);
	sem_post(&written);
	while (sem_wait(&end))
		;
	return NULL;
}

START_TEST(the_lock_goes_with_close_though_the_ring_of_another_thread_holds_the_file)
{
	struct blk_dev *dev = open_new(BLK_RDWR);
	pthread_t t;

	sem_init(&written, 0, 0);
	sem_init(&end, 0, 0);
	ck_assert_int_eq(pthread_create(&t, NULL, write_and_stay, dev), 0);
	while (sem_wait(&written))
		;
	blk_close(dev);
	ck_assert_int_eq(try_open(BLK_RDWR), 0);
	sem_post(&end);
	pthread_join(t, NULL);
	unlink(t_path);
}
END_TEST

START_TEST(the_holder_is_named)
{
	struct blk_dev *dev = open_new(BLK_RDWR);
	char want[32], got[128];

	snprintf(want, sizeof(want), "%d (", getpid());
	ck_assert_ptr_eq(blk_who_holds(t_path, got, sizeof(got)), got);
	ck_assert_msg(!strncmp(want, got, strlen(want)), "got '%s'", got);
	blk_close(dev);
	ck_assert_str_eq(blk_who_holds(t_path, got, sizeof(got)), "");
	unlink(t_path);
	ck_assert_str_eq(blk_who_holds("no/such/file", got, sizeof(got)), "");
}
END_TEST

/* A daemon locks, then forks, and the process that took the lock is gone. */
START_TEST(a_holder_that_forked_is_named)
{
	int ready[2], quit[2];
	char got[128], c;
	pid_t parent;

	blk_close(open_new(BLK_RDWR));
	ck_assert_int_eq(pipe(ready) | pipe(quit), 0);
	parent = fork();
	if (parent == 0) {
		int fd = open(t_path, O_RDWR);

		if (flock(fd, LOCK_EX) || fork())
			_exit(0);
		close(quit[1]);
		pid_t me = getpid();

		if (write(ready[1], &me, sizeof(me)) != sizeof(me))
			_exit(1);
		_exit((int)read(quit[0], &c, 1));
	}
	waitpid(parent, NULL, 0);
	ck_assert_int_eq(read(ready[0], &parent, sizeof(parent)), sizeof(parent));
	blk_who_holds(t_path, got, sizeof(got));
	ck_assert_msg(atoi(got) == parent, "got '%s', want %d", got, parent);
	close(quit[1]);
	unlink(t_path);
}
END_TEST

START_TEST(what_is_no_image_is_refused)
{
	struct blk_dev *dev = NULL;

	ck_assert_int_eq(blk_open("/dev/null", BLK_RDWR, NULL, &dev), -ENOTBLK);
	ck_assert_int_eq(blk_open(".", BLK_RDONLY, NULL, &dev), -ENOTBLK);
	ck_assert_int_eq(blk_open(".", BLK_RDWR, NULL, &dev), -EISDIR);
	ck_assert_int_eq(blk_open("no/such/file", BLK_RDWR, NULL, &dev), -ENOENT);
	ck_assert_int_eq(blk_open("no_such_file", BLK_RDONLY, NULL, &dev), -ENOENT);
	t_new_path();
	ck_assert_int_eq(mkfifo(t_path, 0600), 0);
	ck_assert_int_eq(blk_open(t_path, BLK_RDONLY, NULL, &dev), -ENOTBLK);
	ck_assert_int_eq(blk_open(t_path, BLK_RDWR, NULL, &dev), -ENOTBLK);
	unlink(t_path);
	ck_assert_ptr_null(dev);
}
END_TEST

START_TEST(bad_ram_sizes_are_refused)
{
	struct blk_dev *dev = NULL;

	ck_assert_int_eq(blk_open("ram:", BLK_RDWR, NULL, &dev), -EINVAL);
	ck_assert_int_eq(blk_open("ram:x", BLK_RDWR, NULL, &dev), -EINVAL);
	ck_assert_int_eq(blk_open("ram:100", BLK_RDWR, NULL, &dev), -EINVAL);
	ck_assert_ptr_null(dev);
}
END_TEST

START_TEST(a_created_file_has_the_size_and_stays_sparse)
{
	struct blk_opts big = { .size = 1ull << 40 };
	struct blk_dev *dev;
	struct stat st;

	ck_assert_int_eq(blk_open(t_new_path(), BLK_RDWR | BLK_CREATE, &big, &dev), 0);
	ck_assert_uint_eq(blk_sectors(dev), (1ull << 40) / SECTOR_SIZE);
	ck_assert_int_eq(stat(t_path, &st), 0);
	ck_assert_int_lt(st.st_blocks, 100);
	ck_assert(blk_is_file(dev));
	blk_close(dev);
	unlink(t_path);
}
END_TEST

START_TEST(a_file_that_could_not_be_made_is_removed)
{
	struct blk_opts huge = { .size = UINT64_MAX };
	struct blk_dev *dev = NULL;

	ck_assert_int_lt(blk_open(t_new_path(), BLK_RDWR | BLK_CREATE, &huge, &dev), 0);
	ck_assert_ptr_null(dev);
	ck_assert_int_eq(access(t_path, F_OK), -1);
}
END_TEST

START_TEST(a_read_only_device_refuses_every_change)
{
	u8 *buf = t_buf(1);
	struct blk_dev *dev;

	blk_close(open_new(BLK_RDWR));
	ck_assert_int_eq(blk_open(t_path, BLK_RDONLY, NULL, &dev), 0);
	ck_assert(blk_is_rdonly(dev));
	ck_assert_int_eq(blk_write(dev, 0, buf, 1, BLK_DATA), -EROFS);
	ck_assert_int_eq(blk_discard(dev, 0, 1), -EROFS);
	ck_assert_int_eq(blk_zero(dev, 0, 1, BLK_DATA), -EROFS);
	ck_assert_int_eq(blk_prealloc(dev, 0, 1), -EROFS);
	ck_assert_int_eq(blk_resize(dev, 1024), -EROFS);
	ck_assert_int_eq(blk_read(dev, 0, buf, 1, BLK_DATA), 0);
	blk_close(dev);
	unlink(t_path);
	free(buf);
}
END_TEST

static void check_growing(enum t_backend which)
{
	struct blk_dev *dev = t_open(which);
	u8 *buf = t_buf(1);

	ck_assert_int_eq(blk_resize(dev, T_SECTORS - 1), -EINVAL);
	ck_assert_int_eq(blk_resize(dev, T_SECTORS * 2), 0);
	ck_assert_uint_eq(blk_sectors(dev), T_SECTORS * 2);
	ck_assert_int_eq(blk_write(dev, T_SECTORS * 2 - 1, buf, 1, BLK_DATA), 0);
	blk_close(dev);
	free(buf);
}

START_TEST(a_file_grows_but_does_not_shrink)
{
	check_growing(T_URING);
}
END_TEST

START_TEST(memory_grows_but_does_not_shrink)
{
	check_growing(T_RAM);
}
END_TEST

START_TEST(null_may_be_closed)
{
	blk_close(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("open");

	check_add(s, a_second_open_for_writing_is_refused);
	check_add(s, readers_share_and_keep_writers_out);
	check_add(s, a_refused_open_does_not_touch_the_file);
	check_add(s, the_lock_goes_with_close_though_the_ring_of_another_thread_holds_the_file);
	check_add(s, the_holder_is_named);
	check_add(s, a_holder_that_forked_is_named);
	check_add(s, what_is_no_image_is_refused);
	check_add(s, bad_ram_sizes_are_refused);
	check_add(s, a_created_file_has_the_size_and_stays_sparse);
	check_add(s, a_file_that_could_not_be_made_is_removed);
	check_add(s, a_read_only_device_refuses_every_change);
	check_add(s, a_file_grows_but_does_not_shrink);
	check_add(s, memory_grows_but_does_not_shrink);
	check_add(s, null_may_be_closed);
	return check_main(s);
}
