/* A file, an arena and a wait that the ring tests share. */
#ifndef TESTS_RING_TEST_H
#define TESTS_RING_TEST_H

#include "check_main.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring/ring.h"

#define T_FILE_SIZE (16u << 20)

/* A fresh unlinked file of T_FILE_SIZE; O_DIRECT where the folder takes it. */
static inline int t_file(void)
{
	char path[] = "ring_test.XXXXXX";
	int fd = mkstemp(path), direct;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, T_FILE_SIZE), 0);
	direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	unlink(path);
	if (direct < 0)
		return fd;
	close(fd);
	return direct;
}

static inline u8 *t_arena(size_t len)
{
	u8 *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(mem, MAP_FAILED);
	ck_assert_int_eq(ring_memory_set(mem, len), 0);
	return mem;
}

static inline void t_fill(u8 *mem, size_t len, unsigned seed)
{
	u64 x = seed * 0x9e3779b97f4a7c15ull + 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		mem[i] = (u8)(x >> 56);
	}
}

static inline void t_count_done(struct ring_req *req)
{
	++*(unsigned *)req->arg;
}

/* One transfer through the ring of this thread. */
static inline s64 t_transfer(enum ring_op op, int file, const struct iovec *iov, unsigned nr,
			     u64 off)
{
	unsigned done = 0;
	struct ring_req req = { .op = op, .file = file, .off = off, .iov = iov, .nr_iov = nr,
				.done = t_count_done, .arg = &done };
	struct ring *r;

	ck_assert_int_eq(ring_local(&r), 0);
	ring_queue(r, &req);
	while (!done)
		ring_reap(r, true);
	return req.res;
}

static inline struct ring_counts t_counts(void)
{
	struct ring_counts c;

	ring_counts_get(&c);
	return c;
}

#endif
