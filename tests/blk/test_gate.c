/* Freezing a device: writes wait, reads do not, and what was under way ends first. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "blk/blk.h"
#include "check_main.h"

static struct blk_dev *dev;
static u8 *buf;

static void begin(void)
{
	ck_assert_int_eq(blk_open("ram:1M", BLK_RDWR, NULL, &dev), 0);
	buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	memset(buf, 7, SECTOR_SIZE);
}

static void end(void)
{
	free(buf);
	blk_close(dev);
}

static void *write_one(void *arg)
{
	static u8 data[SECTOR_SIZE] __attribute__((aligned(SECTOR_SIZE)));

	memset(data, 9, sizeof(data));
	ck_assert_int_eq(blk_write(dev, 5, data, 1, BLK_DATA), 0);
	__atomic_store_n((bool *)arg, true, __ATOMIC_RELEASE);
	return NULL;
}

static u8 first_byte(u64 sector)
{
	u8 *got = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE), byte;

	ck_assert_int_eq(blk_read(dev, sector, got, 1, BLK_DATA), 0);
	byte = got[0];
	free(got);
	return byte;
}

START_TEST(a_frozen_device_is_read_and_flushed_but_not_written)
{
	bool done = false;
	pthread_t t;

	begin();
	ck_assert_int_eq(blk_write(dev, 5, buf, 1, BLK_DATA), 0);
	ck_assert_int_eq(blk_freeze(dev, 1000), 0);
	ck_assert(blk_is_frozen(dev));
	ck_assert_int_eq(blk_freeze(dev, 1000), -EALREADY);
	pthread_create(&t, NULL, write_one, &done);
	for (int i = 0; i < 1000; i++) {
		ck_assert_uint_eq(first_byte(5), 7);
		ck_assert_int_eq(blk_flush(dev), 0);
		ck_assert(!__atomic_load_n(&done, __ATOMIC_ACQUIRE));
	}
	ck_assert_int_eq(blk_thaw(dev), 0);
	pthread_join(t, NULL);
	ck_assert_uint_eq(first_byte(5), 9);
	ck_assert_int_eq(blk_thaw(dev), -EINVAL);
	end();
}
END_TEST

struct freezer { u64 ms; int result; };

static void *freeze_it(void *arg)
{
	struct freezer *f = arg;

	f->result = blk_freeze(dev, f->ms);
	return NULL;
}

START_TEST(freezing_waits_for_sections_under_way_which_do_not_wait_for_it)
{
	struct freezer f = { .ms = 50 };
	pthread_t t;

	begin();
	blk_write_begin(dev);
	pthread_create(&t, NULL, freeze_it, &f);
	pthread_join(t, NULL);
	ck_assert_int_eq(f.result, -ETIMEDOUT);
	ck_assert(!blk_is_frozen(dev));
	f.ms = 60000;
	pthread_create(&t, NULL, freeze_it, &f);
	while (!blk_is_frozen(dev))
		sched_yield();
	/* The gate is shut, and this section still writes. */
	ck_assert_int_eq(blk_write(dev, 5, buf, 1, BLK_DATA), 0);
	blk_write_end(dev);
	pthread_join(t, NULL);
	ck_assert_int_eq(f.result, 0);
	ck_assert_int_eq(blk_thaw(dev), 0);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gate");

	check_add(s, a_frozen_device_is_read_and_flushed_but_not_written);
	check_add(s, freezing_waits_for_sections_under_way_which_do_not_wait_for_it);
	return check_main(s);
}
