/*
 * The shared ring: requests from several threads, reaped by its own thread; shutdown waits.
 */
#include "ring_test.h"

#include <pthread.h>
#include <semaphore.h>

enum { NR = 600, THREADS = 3 };

static int file, handle;
static u8 *arena;
static const size_t arena_len = 16u << 20;

static void setup(void)
{
	file = t_file();
	ck_assert_int_eq(ring_file_add(file, &handle), 0);
	arena = t_arena(arena_len);
	ck_assert_int_eq(ring_shared_start(), 0);
}

static void teardown(void)
{
	ring_shutdown();
	ring_file_del(handle);
	close(file);
	ring_memory_set(NULL, 0);
	munmap(arena, arena_len);
}

struct job {
	struct ring_req req;
	struct iovec iov;
	sem_t *done;
};

static void job_done(struct ring_req *req)
{
	struct job *j = req->arg;

	sem_post(j->done);
}

static void prepare(struct job *j, enum ring_op op, u8 *mem, u64 off, sem_t *done)
{
	j->iov = (struct iovec){ mem, 4096 };
	j->done = done;
	j->req = (struct ring_req){ .op = op, .file = handle, .off = off, .iov = &j->iov,
				    .nr_iov = 1, .done = job_done, .arg = j };
}

static void submit(struct job *j, enum ring_op op, u8 *mem, u64 off, sem_t *done)
{
	prepare(j, op, mem, off, done);
	ring_shared_submit(&j->req);
}

static void *writer(void *arg)
{
	unsigned me = *(unsigned *)arg;
	struct job *jobs = calloc(NR, sizeof(*jobs));
	sem_t done;

	sem_init(&done, 0, 0);
	for (unsigned i = 0; i < NR; i++) {
		u64 at = (u64)(me * NR + i) * 4096;

		submit(&jobs[i], RING_WRITE, arena + at, at, &done);
	}
	for (unsigned i = 0; i < NR; i++)
		while (sem_wait(&done))
			;
	for (unsigned i = 0; i < NR; i++)
		ck_assert_int_eq(jobs[i].req.res, 4096);
	free(jobs);
	sem_destroy(&done);
	return NULL;
}

START_TEST(requests_of_several_threads_all_complete)
{
	size_t len = (size_t)NR * THREADS * 4096;
	struct iovec iov = { arena + len, len };
	unsigned me[THREADS];
	pthread_t t[THREADS];

	ck_assert_uint_le(2 * len, arena_len);
	t_fill(arena, len, 3);
	for (unsigned i = 0; i < THREADS; i++) {
		me[i] = i;
		ck_assert_int_eq(pthread_create(&t[i], NULL, writer, &me[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(t_transfer(RING_READ, handle, &iov, 1, 0), len);
	ck_assert_int_eq(memcmp(arena, arena + len, len), 0);
}
END_TEST

static unsigned finished;

static void count_late(struct ring_req *req)
{
	ck_assert_int_eq(req->res, 4096);
	__atomic_fetch_add(&finished, 1, __ATOMIC_RELAXED);
}

START_TEST(shutdown_waits_for_everything_under_way)
{
	static struct job jobs[NR];

	for (unsigned i = 0; i < NR; i++) {
		jobs[i].iov = (struct iovec){ arena, 4096 };
		jobs[i].req = (struct ring_req){ .op = RING_READ, .file = handle,
						 .off = (u64)i * 4096, .iov = &jobs[i].iov,
						 .nr_iov = 1, .done = count_late };
		ring_shared_submit(&jobs[i].req);
	}
	ring_shutdown();
	ck_assert_uint_eq(__atomic_load_n(&finished, __ATOMIC_RELAXED), NR);
}
END_TEST

START_TEST(it_can_be_started_again)
{
	struct job j;
	sem_t done;

	sem_init(&done, 0, 0);
	for (unsigned i = 0; i < 5; i++) {
		ring_shutdown();
		ck_assert_int_eq(ring_shared_start(), 0);
		submit(&j, RING_WRITE, arena, 0, &done);
		while (sem_wait(&done))
			;
		ck_assert_int_eq(j.req.res, 4096);
	}
}
END_TEST

static _Atomic unsigned chain_left = 50;

static void chain_done(struct ring_req *req)
{
	if (--chain_left)
		ring_shared_submit(req);
}

START_TEST(done_may_submit_and_shutdown_waits_for_that_too)
{
	struct iovec iov = { arena, 4096 };
	struct ring_req req = { .op = RING_READ, .file = handle, .iov = &iov, .nr_iov = 1,
				.done = chain_done };

	ring_shared_submit(&req);
	ring_shutdown();
	ck_assert_uint_eq(chain_left, 0);
}
END_TEST

START_TEST(a_list_is_sent_with_one_system_call)
{
	enum { NR_LIST = 200 };
	static struct job jobs[NR_LIST];
	struct ring_req_list list = STAILQ_HEAD_INITIALIZER(list);
	struct ring_counts before;
	sem_t done;

	sem_init(&done, 0, 0);
	submit(&jobs[0], RING_WRITE, arena, 0, &done);
	while (sem_wait(&done))
		;
	before = t_counts();
	for (unsigned i = 0; i < NR_LIST; i++) {
		prepare(&jobs[i], RING_READ, arena, 0, &done);
		STAILQ_INSERT_TAIL(&list, &jobs[i].req, link);
	}
	ring_shared_submit_list(&list);
	ck_assert(STAILQ_EMPTY(&list));
	for (unsigned i = 0; i < NR_LIST; i++)
		while (sem_wait(&done))
			;
	ck_assert_uint_eq(t_counts().enters - before.enters, 1);
	for (unsigned i = 0; i < NR_LIST; i++)
		ck_assert_int_eq(jobs[i].req.res, 4096);
	sem_destroy(&done);
}
END_TEST

static bool works_here(void)
{
	struct ring *r;

	return ring_local(&r) == 0;
}

static void add(Suite *s, const TTest *test, const char *name)
{
	TCase *tc = check_add_tcase(s, test, name);

	tcase_add_checked_fixture(tc, setup, teardown);
}

#define ADD(test) add(s, test, #test)

int main(void)
{
	Suite *s = suite_create("shared ring");

	if (!works_here())
		return check_skip_all("no io_uring here");
	ADD(requests_of_several_threads_all_complete);
	ADD(shutdown_waits_for_everything_under_way);
	ADD(it_can_be_started_again);
	ADD(a_list_is_sent_with_one_system_call);
	ADD(done_may_submit_and_shutdown_waits_for_that_too);
	return check_main(s);
}
