/*
 * Flushes: a call returns only after a flush that began after it, calls share, errors stick.
 * Method: the fault hook stands in the place of the device; it can block a flush at its begin, fail
 * it, and it counts.
 */
#include "blk_test.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

static struct blk_dev *dev;
static sem_t entered, let_go;
static _Atomic int results;     /* what the next flushes return */
static _Atomic unsigned begun, ended;

static int gate(void *arg, const struct blk_fault *f)
{
	ck_assert_int_eq(f->op, BLK_FAULT_FLUSH);
	begun++;
	if (arg) {
		sem_post(&entered);
		while (sem_wait(&let_go))
			;
	}
	ended++;
	return results;
}

static void setup(void)
{
	dev = t_open(T_RAM);
	sem_init(&entered, 0, 0);
	sem_init(&let_go, 0, 0);
	blk_fault_set(dev, gate, NULL);
}

static void teardown(void)
{
	blk_close(dev);
}

struct caller {
	pthread_t thread;
	u64 ticket;
	int res;
	_Atomic bool returned;
};

static void *call_upto(void *arg)
{
	struct caller *c = arg;

	c->res = blk_flush_upto(dev, c->ticket);
	c->returned = true;
	return NULL;
}

static void start(struct caller *c)
{
	c->ticket = blk_flush_ticket(dev);
	c->returned = false;
	ck_assert_int_eq(pthread_create(&c->thread, NULL, call_upto, c), 0);
}

static void wait_entered(void)
{
	while (sem_wait(&entered))
		;
}

static int error_now;

static int fail_now(void *arg, const struct blk_fault *f)
{
	(void)arg;
	return f->op == BLK_FAULT_FLUSH ? error_now : 0;
}

START_TEST(a_flush_that_fails_counts_against_all_that_was_written_before_it)
{
	u64 before;

	blk_fault_set(dev, fail_now, NULL);
	before = blk_flush_failures(dev);
	ck_assert_int_eq(blk_flush_since(dev, before), 0);
	error_now = -EIO;
	ck_assert_int_eq(blk_flush(dev), -EIO);
	error_now = 0;
	ck_assert_uint_eq(blk_flush_failures(dev), before + 1);
	ck_assert_int_eq(blk_flush_since(dev, before), -EIO);
	ck_assert_int_eq(blk_flush_since(dev, before + 1), 0);
}
END_TEST

START_TEST(a_running_flush_does_not_serve_those_who_came_after_its_begin)
{
	struct caller first, late[3];

	blk_fault_set(dev, gate, dev);
	start(&first);
	wait_entered();
	for (unsigned i = 0; i < 3; i++)
		start(&late[i]);
	sem_post(&let_go);
	pthread_join(first.thread, NULL);
	wait_entered();         /* a second flush had to begin */
	for (unsigned i = 0; i < 3; i++)
		ck_assert(!late[i].returned);
	sem_post(&let_go);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(late[i].thread, NULL);
		ck_assert_int_eq(late[i].res, 0);
	}
	ck_assert_uint_eq(begun, 2);
}
END_TEST

START_TEST(a_ticket_that_is_covered_costs_no_flush)
{
	u64 t = blk_flush_ticket(dev);

	ck_assert_int_eq(blk_flush(dev), 0);
	ck_assert_int_eq(blk_flush_upto(dev, t), 0);
	ck_assert_uint_eq(begun, 1);
	ck_assert_uint_eq(blk_flush_count(dev), 1);
}
END_TEST

START_TEST(a_ticket_taken_after_a_flush_needs_another)
{
	ck_assert_int_eq(blk_flush(dev), 0);
	ck_assert_int_eq(blk_flush_upto(dev, blk_flush_ticket(dev)), 0);
	ck_assert_uint_eq(begun, 2);
}
END_TEST

START_TEST(a_failed_flush_is_an_error_for_everybody_who_waited)
{
	struct caller first, late[3];

	blk_fault_set(dev, gate, dev);
	start(&first);
	wait_entered();
	for (unsigned i = 0; i < 3; i++)
		start(&late[i]);
	sem_post(&let_go);
	pthread_join(first.thread, NULL);
	wait_entered();
	results = -EIO;
	sem_post(&let_go);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(late[i].thread, NULL);
		ck_assert_int_eq(late[i].res, -EIO);
	}
	ck_assert_int_eq(first.res, 0);
}
END_TEST

START_TEST(a_later_success_does_not_redeem_a_ticket_that_failed)
{
	u64 t = blk_flush_ticket(dev);

	results = -EIO;
	ck_assert_int_eq(blk_flush_upto(dev, t), -EIO);
	results = 0;
	ck_assert_int_eq(blk_flush(dev), 0);
	ck_assert_int_eq(blk_flush_upto(dev, t), -EIO);
}
END_TEST

START_TEST(a_later_failure_does_not_spoil_a_ticket_that_was_covered)
{
	u64 t = blk_flush_ticket(dev);

	ck_assert_int_eq(blk_flush(dev), 0);
	results = -EIO;
	ck_assert_int_eq(blk_flush(dev), -EIO);
	ck_assert_int_eq(blk_flush_upto(dev, t), 0);
	results = 0;
	ck_assert_int_eq(blk_flush(dev), 0);
	ck_assert_int_eq(blk_flush_upto(dev, t), 0);
}
END_TEST

START_TEST(after_a_failure_new_writes_can_be_made_durable)
{
	results = -EIO;
	ck_assert_int_eq(blk_flush(dev), -EIO);
	results = 0;
	ck_assert_int_eq(blk_flush(dev), 0);
}
END_TEST

static void *flush_often(void *arg)
{
	for (unsigned i = 0; i < 2000; i++) {
		unsigned before = begun;

		ck_assert_int_eq(blk_flush(dev), 0);
		/* One flush that began after `before` was read has ended. */
		ck_assert_uint_gt(ended, before);
	}
	return arg;
}

START_TEST(no_call_returns_before_a_flush_that_began_after_it)
{
	pthread_t t[4];

	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, flush_often, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_le(begun, 8000);
}
END_TEST

START_TEST(a_read_only_device_needs_no_flush)
{
	struct blk_dev *ro;

	ck_assert_int_eq(blk_open("ram:1M", BLK_RDONLY, NULL, &ro), 0);
	ck_assert_int_eq(blk_flush(ro), 0);
	ck_assert_uint_eq(blk_flush_count(ro), 0);
	blk_close(ro);
}
END_TEST

#define ADD(test) tcase_add_checked_fixture(check_add_tcase(s, test, #test), setup, teardown)

int main(void)
{
	Suite *s = suite_create("flush");

	ADD(a_running_flush_does_not_serve_those_who_came_after_its_begin);
	ADD(a_flush_that_fails_counts_against_all_that_was_written_before_it);
	ADD(a_ticket_that_is_covered_costs_no_flush);
	ADD(a_ticket_taken_after_a_flush_needs_another);
	ADD(a_failed_flush_is_an_error_for_everybody_who_waited);
	ADD(a_later_success_does_not_redeem_a_ticket_that_failed);
	ADD(a_later_failure_does_not_spoil_a_ticket_that_was_covered);
	ADD(after_a_failure_new_writes_can_be_made_durable);
	ADD(no_call_returns_before_a_flush_that_began_after_it);
	ADD(a_read_only_device_needs_no_flush);
	return check_main(s);
}
