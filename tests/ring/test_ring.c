/*
 * Local rings: ways of sending, fall-backs, short transfers, queues that are full.
 * Method: real files in the current folder, results compared with memory, ways counted.
 */
#include "ring_test.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/block.h"

/* Set by main(): what this machine can do. */
static bool can_fix, can_fix_vector, can_clone;

static int file, handle;
static u8 *arena;
static const size_t arena_len = 8u << 20;

static void setup(void)
{
	file = t_file();
	ck_assert_int_eq(ring_file_add(file, &handle), 0);
	arena = t_arena(arena_len);
}

static void teardown(void)
{
	ring_file_del(handle);
	close(file);
	ring_memory_set(NULL, 0);
	munmap(arena, arena_len);
}

START_TEST(what_is_written_is_read_back)
{
	struct iovec w = { arena, 65536 }, r = { arena + 65536, 65536 };

	t_fill(arena, 65536, 1);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &w, 1, 4096), 65536);
	ck_assert_int_eq(t_transfer(RING_READ, handle, &r, 1, 4096), 65536);
	ck_assert_mem_eq(arena, arena + 65536, 65536);
}
END_TEST

START_TEST(one_segment_in_the_arena_uses_registered_memory)
{
	struct iovec iov = { arena + 4096, 8192 };
	struct ring_counts before = t_counts(), after;

	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &iov, 1, 0), 8192);
	after = t_counts();
	ck_assert_uint_eq(after.fixed - before.fixed, can_fix ? 1 : 0);
	ck_assert_uint_eq(after.plain - before.plain, can_fix ? 0 : 1);
}
END_TEST

START_TEST(several_segments_in_the_arena_use_registered_memory_where_the_kernel_can)
{
	struct iovec iov[2] = { { arena + 8192, 4096 }, { arena, 4096 } };
	struct ring_counts before = t_counts(), after;

	t_fill(arena, 12288, 3);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, iov, 2, 0), 8192);
	after = t_counts();
	ck_assert_uint_eq(after.fixed_vector - before.fixed_vector, can_fix_vector ? 1 : 0);
	iov[0].iov_base = arena + 65536;
	iov[1].iov_base = arena + 65536 + 8192;
	ck_assert_int_eq(t_transfer(RING_READ, handle, iov, 2, 0), 8192);
	ck_assert_mem_eq(arena + 65536, arena + 8192, 4096);
	ck_assert_mem_eq(arena + 65536 + 8192, arena, 4096);
}
END_TEST

START_TEST(memory_outside_the_arena_is_sent_plainly)
{
	u8 *mem = aligned_alloc(4096, 4096);
	struct iovec iov = { mem, 4096 };
	struct ring_counts before = t_counts();

	memset(mem, 7, 4096);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &iov, 1, 0), 4096);
	ck_assert_uint_eq(t_counts().plain - before.plain, 1);
	free(mem);
}
END_TEST

START_TEST(a_chunk_is_registered_once_in_a_ring)
{
	struct iovec iov = { arena, 4096 };
	struct ring_counts before = t_counts();

	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(t_transfer(RING_WRITE, handle, &iov, 1, 0), 4096);
	ck_assert_uint_eq(t_counts().chunks - before.chunks, can_fix ? 1 : 0);
}
END_TEST

/* A thread has a ring of its own, with which it writes the first sector of a chunk and reads it. */
static void *use_chunk(void *arg)
{
	u8 *chunk = arg;
	struct iovec w = { chunk, 4096 }, r = { chunk + 4096, 4096 };

	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &w, 1, 0), 4096);
	ck_assert_int_eq(t_transfer(RING_READ, handle, &r, 1, 0), 4096);
	return memcmp(chunk, chunk + 4096, 4096) ? NULL : arg;
}

static void in_a_thread(u8 *chunk)
{
	void *same = NULL;
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, use_chunk, chunk), 0);
	pthread_join(t, &same);
	ck_assert_ptr_eq(same, chunk);
}

START_TEST(a_chunk_is_registered_once_for_all_rings_where_the_kernel_can)
{
	struct ring_counts before = t_counts(), after;
	u8 *two = t_arena(2 * RING_CHUNK_SIZE);

	t_fill(two, 4096, 1);
	t_fill(two + RING_CHUNK_SIZE, 4096, 2);
	for (unsigned i = 0; i < 3; i++) {
		in_a_thread(two);
		in_a_thread(two + RING_CHUNK_SIZE);
	}
	after = t_counts();
	ck_assert_uint_eq(after.chunks - before.chunks, can_clone ? 2 : can_fix ? 6 : 0);
	ck_assert_uint_eq(after.plain, before.plain + (can_fix ? 0 : 12));
	ring_memory_set(NULL, 0);
	munmap(two, 2 * RING_CHUNK_SIZE);
}
END_TEST

/* What another ring has registered meanwhile comes with the first clone. */
START_TEST(a_ring_takes_all_that_is_registered_at_once)
{
	u8 *two = t_arena(2 * RING_CHUNK_SIZE);
	struct iovec iov[2] = { { two, 4096 }, { two + RING_CHUNK_SIZE, 4096 } };
	struct ring_counts before;

	in_a_thread(two);
	in_a_thread(two + RING_CHUNK_SIZE);
	before = t_counts();
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(t_transfer(RING_WRITE, handle, &iov[i], 1, 0), 4096);
	ck_assert_uint_eq(t_counts().clones - before.clones, can_clone ? 1 : 0);
	ck_assert_uint_eq(t_counts().chunks - before.chunks, can_clone ? 0 : can_fix ? 2 : 0);
	ring_memory_set(NULL, 0);
	munmap(two, 2 * RING_CHUNK_SIZE);
}
END_TEST

START_TEST(pages_that_another_ring_saw_replaced_are_registered_again)
{
	t_fill(arena, 4096, 1);
	in_a_thread(arena);
	ck_assert_ptr_eq(use_chunk(arena), arena);
	ck_assert_int_eq(madvise(arena, 8192, MADV_DONTNEED), 0);
	ring_memory_changed(arena, 8192);
	t_fill(arena, 4096, 2);
	in_a_thread(arena);
	ck_assert_ptr_eq(use_chunk(arena), arena);
}
END_TEST

START_TEST(replaced_pages_are_registered_again)
{
	struct iovec w = { arena, 4096 }, r = { arena + 4096, 4096 };

	t_fill(arena, 4096, 1);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &w, 1, 0), 4096);
	ck_assert_int_eq(madvise(arena, 8192, MADV_DONTNEED), 0);
	ring_memory_changed(arena, 8192);
	t_fill(arena, 4096, 2);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &w, 1, 0), 4096);
	ck_assert_int_eq(t_transfer(RING_READ, handle, &r, 1, 0), 4096);
	ck_assert_mem_eq(arena, arena + 4096, 4096);
}
END_TEST

START_TEST(a_second_arena_takes_the_place_of_the_first)
{
	struct iovec w = { arena, 4096 }, r;
	u8 *second;

	t_fill(arena, 4096, 1);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &w, 1, 0), 4096);
	second = t_arena(arena_len);
	r = (struct iovec){ second, 4096 };
	ck_assert_int_eq(t_transfer(RING_READ, handle, &r, 1, 0), 4096);
	ck_assert_mem_eq(second, arena, 4096);
	ring_memory_set(NULL, 0);
	munmap(second, arena_len);
}
END_TEST

START_TEST(an_inaccessible_chunk_falls_back_to_plain_transfers)
{
	struct iovec iov = { arena, 4096 };

	ck_assert_int_eq(mprotect(arena + arena_len - 4096, 4096, PROT_NONE), 0);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &iov, 1, 0), 4096);
	ck_assert_int_eq(t_transfer(RING_READ, handle, &iov, 1, 0), 4096);
}
END_TEST

START_TEST(without_registered_memory_everything_still_works)
{
	struct ring_opts o = { .no_fixed = true };
	struct iovec w = { arena, 8192 }, r = { arena + 8192, 8192 };
	struct ring_counts before = t_counts();

	ring_opts_set(&o);
	t_fill(arena, 8192, 5);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &w, 1, 0), 8192);
	ck_assert_int_eq(t_transfer(RING_READ, handle, &r, 1, 0), 8192);
	ck_assert_mem_eq(arena, arena + 8192, 8192);
	ck_assert_uint_eq(t_counts().fixed, before.fixed);
}
END_TEST

START_TEST(every_older_set_up_works)
{
	const struct ring_opts o[] = { { .plain_setup = true },
				       { .no_files = true },
				       { .no_vector = true },
				       { .no_clone = true },
				       { .plain_setup = true, .no_files = true, .no_fixed = true,
					 .no_vector = true } };
	struct iovec w[2] = { { arena, 4096 }, { arena + 8192, 4096 } };
	struct iovec r = { arena + 65536, 8192 };

	ring_opts_set(&o[_i]);
	t_fill(arena, 65536, (unsigned)_i);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, w, 2, 0), 8192);
	ck_assert_int_eq(t_transfer(RING_READ, handle, &r, 1, 0), 8192);
	ck_assert_mem_eq(arena + 65536, arena, 4096);
	ck_assert_mem_eq(arena + 65536 + 4096, arena + 8192, 4096);
}
END_TEST

START_TEST(switched_off_means_enosys)
{
	struct ring_opts o = { .off = true };
	struct ring *r = NULL;

	ring_opts_set(&o);
	ck_assert_int_eq(ring_local(&r), -ENOSYS);
	ck_assert_ptr_null(r);
	ck_assert_int_eq(ring_shared_start(), -ENOSYS);
}
END_TEST

START_TEST(long_requests_are_sent_in_pieces)
{
	size_t len = RING_MAX_PIECE + 12288;
	struct iovec w = { arena, len }, r = { arena + (4u << 20), len };
	struct ring_counts before = t_counts();

	t_fill(arena, len, 9);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &w, 1, 0), len);
	ck_assert_uint_eq(t_counts().continued - before.continued, 1);
	ck_assert_int_eq(t_transfer(RING_READ, handle, &r, 1, 0), len);
	ck_assert_int_eq(memcmp(arena, arena + (4u << 20), len), 0);
}
END_TEST

START_TEST(more_segments_than_the_kernel_takes_are_sent_in_pieces)
{
	enum { NR = 1500 };
	static struct iovec iov[NR];

	t_fill(arena, NR * 512, 4);
	for (unsigned i = 0; i < NR; i++)
		iov[i] = (struct iovec){ arena + (NR - 1 - i) * 512, 512 };
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, iov, NR, 0), NR * 512);
	iov[0] = (struct iovec){ arena + (4u << 20), NR * 512 };
	ck_assert_int_eq(t_transfer(RING_READ, handle, iov, 1, 0), NR * 512);
	for (unsigned i = 0; i < NR; i++)
		ck_assert_mem_eq(arena + (4u << 20) + i * 512, arena + (NR - 1 - i) * 512, 512);
}
END_TEST

START_TEST(a_read_across_the_end_of_file_reports_what_there_is)
{
	struct iovec iov = { arena, 65536 };

	ck_assert_int_eq(t_transfer(RING_READ, handle, &iov, 1, T_FILE_SIZE - 8192), 8192);
	ck_assert_int_eq(t_transfer(RING_READ, handle, &iov, 1, T_FILE_SIZE), 0);
}
END_TEST

START_TEST(a_short_write_is_continued_until_it_fails)
{
	struct rlimit lim = { T_FILE_SIZE, T_FILE_SIZE };
	struct iovec iov = { arena, 65536 };

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &lim), 0);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &iov, 1, T_FILE_SIZE - 8192), -EFBIG);
}
END_TEST

START_TEST(errors_are_reported_as_negative_errno)
{
	int null = open("/dev/full", O_RDWR | O_CLOEXEC), h;
	struct iovec iov = { arena, 4096 };

	ck_assert_int_eq(ring_file_add(null, &h), 0);
	ck_assert_int_eq(t_transfer(RING_WRITE, h, &iov, 1, 0), -ENOSPC);
	ring_file_del(h);
	close(null);
}
END_TEST

static void done_in_order(struct ring_req *req)
{
	++*(unsigned *)req->arg;
	ck_assert_int_eq(req->res, 4096);
}

START_TEST(more_requests_than_the_queue_holds_all_complete)
{
	enum { NR = 1000 };
	static struct ring_req req[NR];
	static struct iovec iov[NR];
	unsigned done = 0;
	struct ring *r;

	t_fill(arena, NR * 4096, 6);
	ck_assert_int_eq(ring_local(&r), 0);
	for (unsigned i = 0; i < NR; i++) {
		iov[i] = (struct iovec){ arena + i * 4096, 4096 };
		req[i] = (struct ring_req){ .op = RING_WRITE, .file = handle, .off = i * 4096,
					    .iov = &iov[i], .nr_iov = 1, .done = done_in_order,
					    .arg = &done };
		ring_queue(r, &req[i]);
	}
	ck_assert_uint_eq(ring_in_flight(r), NR);
	while (ring_in_flight(r))
		ring_reap(r, true);
	ck_assert_uint_eq(done, NR);
	iov[0] = (struct iovec){ arena + (4u << 20), NR * 4096 };
	ck_assert_int_eq(t_transfer(RING_READ, handle, iov, 1, 0), NR * 4096);
	ck_assert_int_eq(memcmp(arena, arena + (4u << 20), NR * 4096), 0);
}
END_TEST

START_TEST(a_batch_is_sent_with_one_system_call)
{
	enum { NR = 32 };
	static struct ring_req req[NR];
	struct iovec iov = { arena, 4096 };
	unsigned done = 0;
	struct ring_counts before;
	struct ring *r;

	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &iov, 1, 0), 4096);
	ck_assert_int_eq(ring_local(&r), 0);
	before = t_counts();
	for (unsigned i = 0; i < NR; i++) {
		req[i] = (struct ring_req){ .op = RING_READ, .file = handle, .iov = &iov,
					    .nr_iov = 1, .done = t_count_done, .arg = &done };
		ring_queue(r, &req[i]);
	}
	ring_submit(r);
	ck_assert_uint_eq(t_counts().enters - before.enters, 1);
	while (ring_in_flight(r))
		ring_reap(r, true);
	ck_assert_uint_eq(done, NR);
}
END_TEST

struct chain {
	struct ring_req req;
	struct iovec iov;
	struct ring *r;
	unsigned left, inner;
};

static void chain_done(struct ring_req *req)
{
	struct chain *c = req->arg;
	struct iovec iov = { arena + 65536, 4096 };

	if (!c->left--)
		return;
	c->inner += t_transfer(RING_READ, handle, &iov, 1, 0) == 4096;
	ring_queue(c->r, &c->req);
}

START_TEST(done_may_queue_and_wait)
{
	struct chain c = { .left = 20, .iov = { arena, 4096 } };

	ck_assert_int_eq(ring_local(&c.r), 0);
	c.req = (struct ring_req){ .op = RING_WRITE, .file = handle, .iov = &c.iov, .nr_iov = 1,
				   .done = chain_done, .arg = &c };
	ring_queue(c.r, &c.req);
	while (ring_in_flight(c.r))
		ring_reap(c.r, true);
	ck_assert_uint_eq(c.inner, 20);
}
END_TEST

static void note_enters(void *arg)
{
	struct ring_counts c;

	ring_counts_get(&c);
	*(u64 *)arg = c.enters;
}

/* The device works while others are woken. */
START_TEST(a_request_is_sent_before_the_sleep_that_waits_for_it_is_told)
{
	struct iovec iov = { arena, 4096 };
	unsigned done = 0;
	struct ring_req req = { .op = RING_READ, .file = handle, .iov = &iov, .nr_iov = 1,
				.done = t_count_done, .arg = &done };
	u64 before, told = 0, after;
	struct ring *r;

	ck_assert_int_eq(ring_local(&r), 0);
	note_enters(&before);
	block_hook_set(note_enters, &told);
	ring_queue(r, &req);
	while (!done)
		ring_reap(r, true);
	ck_assert_uint_eq(told, before + 1);
	block_hook_set(NULL, NULL);
	/* Where nobody is told both are one call. */
	note_enters(&before);
	ring_queue(r, &req);
	while (done < 2)
		ring_reap(r, true);
	note_enters(&after);
	ck_assert_uint_eq(after, before + 1);
}
END_TEST

START_TEST(settling_runs_early_requests_and_leaves_the_others)
{
	unsigned early_done = 0, other_done = 0;
	struct iovec a = { arena, 4096 }, b = { arena + 4096, 4096 };
	struct ring_req early = { .op = RING_READ, .file = handle, .iov = &a, .nr_iov = 1,
				  .early = true, .done = t_count_done, .arg = &early_done };
	struct ring_req other = { .op = RING_READ, .file = handle, .iov = &b, .nr_iov = 1,
				  .done = t_count_done, .arg = &other_done };
	struct ring *r;

	ck_assert_int_eq(ring_local(&r), 0);
	ring_settle();
	ring_queue(r, &other);
	ring_queue(r, &early);
	ring_settle();
	ck_assert_uint_eq(early_done, 1);
	ck_assert_uint_eq(other_done, 0);
	ck_assert_int_eq(early.res, 4096);
	/* The other may have come back meanwhile or may still be under way. */
	while (!other_done)
		ring_reap(r, true);
	ck_assert_int_eq(other.res, 4096);
	ck_assert_uint_eq(ring_in_flight(r), 0);
}
END_TEST

START_TEST(a_descriptor_that_can_be_read_ends_the_wait)
{
	bool readable = false, slept = false;
	struct ring *r;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(ring_local(&r), 0);
	ck_assert_int_eq(write(fd[1], "x", 1), 1);
	ck_assert_uint_eq(ring_reap_or_readable(r, fd[0], &readable, &slept), 0);
	ck_assert(readable);
	readable = false;
	ck_assert_uint_eq(ring_reap_or_readable(r, fd[0], &readable, &slept), 0);
	ck_assert(readable);
	ck_assert(!slept);      /* it could be read at once */
	/* What the poll left behind is no request. */
	ck_assert_uint_eq(ring_reap(r, true), 0);
	close(fd[0]);
	close(fd[1]);
}
END_TEST

START_TEST(a_request_ends_the_wait_for_a_descriptor)
{
	unsigned done = 0, nr = 0;
	struct iovec iov = { arena, 4096 };
	struct ring_req req = { .op = RING_READ, .file = handle, .iov = &iov, .nr_iov = 1,
				.early = true, .done = t_count_done, .arg = &done };
	bool readable = false, slept = false;
	struct ring *r;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(ring_local(&r), 0);
	ring_queue(r, &req);
	while (!nr)
		nr = ring_reap_or_readable(r, fd[0], &readable, &slept);
	ck_assert_uint_eq(nr, 1);
	ck_assert_uint_eq(done, 1);
	ck_assert(!readable);
	close(fd[0]);
	close(fd[1]);
}
END_TEST

START_TEST(flush_and_fallocate_work)
{
	unsigned done = 0;
	struct ring_req sync = { .op = RING_DATASYNC, .file = handle, .done = t_count_done,
				 .arg = &done };
	struct ring_req grow = { .op = RING_FALLOCATE, .file = handle, .off = T_FILE_SIZE,
				 .len = 4096, .done = t_count_done, .arg = &done };
	struct ring *r;

	ck_assert_int_eq(ring_local(&r), 0);
	ring_queue(r, &sync);
	ring_queue(r, &grow);
	while (ring_in_flight(r))
		ring_reap(r, true);
	ck_assert_uint_eq(done, 2);
	ck_assert_int_eq(sync.res, 0);
	ck_assert_int_eq(grow.res, 0);
	ck_assert_int_eq(lseek(file, 0, SEEK_END), T_FILE_SIZE + 4096);
}
END_TEST

static void *use_file(void *arg)
{
	struct iovec iov = { arena + 4096 * (1 + *(unsigned *)arg), 4096 };

	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(t_transfer(RING_WRITE, handle, &iov, 1, 4096 * *(unsigned *)arg),
				 4096);
	return NULL;
}

START_TEST(each_thread_has_its_own_ring)
{
	unsigned nr[4] = { 0, 1, 2, 3 };
	struct ring_counts before = t_counts();
	pthread_t t[4];

	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, use_file, &nr[i]), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(t_counts().rings - before.rings, 4);
}
END_TEST

START_TEST(a_child_of_a_fork_gets_its_own_ring)
{
	struct iovec iov = { arena, 4096 };
	int status = -1;
	pid_t pid;

	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &iov, 1, 0), 4096);
	pid = fork();
	if (pid == 0)
		_exit(t_transfer(RING_READ, handle, &iov, 1, 0) == 4096 ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(t_transfer(RING_READ, handle, &iov, 1, 0), 4096);
}
END_TEST

START_TEST(a_reused_handle_reaches_the_new_file)
{
	struct iovec iov = { arena, 4096 }, back = { arena + 4096, 4096 };
	int other = t_file(), h = handle;

	t_fill(arena, 4096, 8);
	ck_assert_int_eq(t_transfer(RING_WRITE, handle, &iov, 1, 0), 4096);
	ring_file_del(handle);
	ck_assert_int_eq(ring_file_add(other, &handle), 0);
	ck_assert_int_eq(handle, h);
	ck_assert_int_eq(t_transfer(RING_READ, handle, &back, 1, 0), 4096);
	for (unsigned i = 0; i < 4096; i++)
		ck_assert_uint_eq(arena[4096 + i], 0);
	close(other);
}
END_TEST

START_TEST(the_table_of_files_has_a_limit)
{
	int h[RING_MAX_FILES], err = 0;
	unsigned n = 0;

	while (n < RING_MAX_FILES && !err)
		err = ring_file_add(file, &h[n++]);
	ck_assert_int_eq(err, -ENFILE);
	while (--n)
		ring_file_del(h[n - 1]);
}
END_TEST

/* The refusal that an ordinary user meets: more memory than may be locked. */
START_TEST(a_locked_memory_limit_falls_back_to_plain_transfers)
{
	struct rlimit little = { 256 << 10, 256 << 10 };
	struct iovec iov = { arena, 4096 };
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		struct ring_counts c;

		if (setrlimit(RLIMIT_MEMLOCK, &little) || (!geteuid() && setuid(65534)))
			_exit(2);
		if (t_transfer(RING_WRITE, handle, &iov, 1, 0) != 4096)
			_exit(1);
		c = t_counts();
		_exit(c.fixed == 0 && c.plain > 0 ? 0 : 3);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

static void probe_done(struct ring_req *req)
{
	(void)req;
}

/*
 * Bit 0: registered memory; 1: vectors in it; 2: shared by rings. Check's macros need a test around
 * them.
 */
static int probe(void)
{
	u8 *mem = mmap(NULL, arena_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov[2] = { { mem, 4096 }, { mem + 8192, 4096 } };
	struct ring_counts c;
	struct ring *r;
	int zero = open("/dev/zero", O_RDWR | O_CLOEXEC), h;

	if (ring_local(&r))
		return -1;
	ring_memory_set(mem, arena_len);
	ring_file_add(zero, &h);
	for (unsigned nr = 1; nr <= 2; nr++) {
		struct ring_req req = { .op = RING_READ, .file = h, .iov = iov, .nr_iov = nr,
					.done = probe_done };

		ring_queue(r, &req);
		while (ring_in_flight(r))
			ring_reap(r, true);
	}
	ring_counts_get(&c);
	return (c.fixed ? 1 : 0) | (c.fixed_vector ? 2 : 0) | (c.clones ? 4 : 0);
}

/* In a child, so that each test starts in a process without rings. */
static bool find_out(void)
{
	int status = 0;

	fflush(stdout);
	if (fork() == 0)
		_exit(probe() & 0xff);
	wait(&status);
	can_fix = WEXITSTATUS(status) & 1;
	can_fix_vector = WEXITSTATUS(status) & 2;
	can_clone = WEXITSTATUS(status) & 4;
	return WIFEXITED(status) && WEXITSTATUS(status) != 0xff;
}

static void add(Suite *s, const TTest *test, const char *name, int loops)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test, 0, loops);
	suite_add_tcase(s, tc);
}

#define ADD(test) add(s, test, #test, 1)

int main(void)
{
	Suite *s = suite_create("ring");

	if (!find_out())
		return check_skip_all("no io_uring here");
	ADD(what_is_written_is_read_back);
	ADD(one_segment_in_the_arena_uses_registered_memory);
	ADD(several_segments_in_the_arena_use_registered_memory_where_the_kernel_can);
	ADD(memory_outside_the_arena_is_sent_plainly);
	ADD(a_chunk_is_registered_once_in_a_ring);
	ADD(a_chunk_is_registered_once_for_all_rings_where_the_kernel_can);
	ADD(a_ring_takes_all_that_is_registered_at_once);
	ADD(pages_that_another_ring_saw_replaced_are_registered_again);
	ADD(replaced_pages_are_registered_again);
	ADD(a_second_arena_takes_the_place_of_the_first);
	ADD(an_inaccessible_chunk_falls_back_to_plain_transfers);
	ADD(without_registered_memory_everything_still_works);
	add(s, every_older_set_up_works, "every_older_set_up_works", 5);
	ADD(switched_off_means_enosys);
	ADD(long_requests_are_sent_in_pieces);
	ADD(more_segments_than_the_kernel_takes_are_sent_in_pieces);
	ADD(a_read_across_the_end_of_file_reports_what_there_is);
	ADD(a_short_write_is_continued_until_it_fails);
	ADD(errors_are_reported_as_negative_errno);
	ADD(more_requests_than_the_queue_holds_all_complete);
	ADD(a_batch_is_sent_with_one_system_call);
	ADD(done_may_queue_and_wait);
	ADD(a_request_is_sent_before_the_sleep_that_waits_for_it_is_told);
	ADD(settling_runs_early_requests_and_leaves_the_others);
	ADD(a_descriptor_that_can_be_read_ends_the_wait);
	ADD(a_request_ends_the_wait_for_a_descriptor);
	ADD(flush_and_fallocate_work);
	ADD(each_thread_has_its_own_ring);
	ADD(a_child_of_a_fork_gets_its_own_ring);
	ADD(a_reused_handle_reaches_the_new_file);
	ADD(the_table_of_files_has_a_limit);
	ADD(a_locked_memory_limit_falls_back_to_plain_transfers);
	return check_main(s);
}
