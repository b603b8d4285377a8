/* Devices of each backend and patterns for the blk tests. */
#ifndef TESTS_BLK_TEST_H
#define TESTS_BLK_TEST_H

#include "check_main.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "blk/blk.h"
#include "blk/sim.h"

#define T_SECTORS 4096u         /* 16 MiB */

enum t_backend { T_URING, T_SYNC, T_BUFFERED, T_RAM, T_SIM, T_SIM_RECORDING, T_NR_BACKENDS };

static char t_path[64];

static inline const char *t_new_path(void)
{
	static unsigned n;

	snprintf(t_path, sizeof(t_path), "blk_test.%d.%u", getpid(), n++);
	unlink(t_path);
	return t_path;
}

static inline struct blk_dev *t_open(enum t_backend which)
{
	struct blk_opts opts = { .size = T_SECTORS * (u64)SECTOR_SIZE,
				 .sync = which == T_SYNC, .buffered = which == T_BUFFERED };
	struct sim_opts sim = { .sectors = T_SECTORS, .record = which == T_SIM_RECORDING };
	struct blk_dev *dev = NULL;

	switch (which) {
	case T_URING:
	case T_SYNC:
	case T_BUFFERED:
		ck_assert_int_eq(blk_open(t_new_path(), BLK_RDWR | BLK_CREATE, &opts, &dev), 0);
		unlink(t_path);
		break;
	case T_RAM:
		ck_assert_int_eq(blk_open("ram:16M", BLK_RDWR, NULL, &dev), 0);
		break;
	default:
		ck_assert_int_eq(sim_open(&sim, &dev), 0);
	}
	ck_assert_uint_eq(blk_sectors(dev), T_SECTORS);
	return dev;
}

static inline u64 t_random(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline void t_fill(void *mem, size_t len, u64 seed)
{
	u64 *w = mem;

	for (size_t i = 0; i < len / sizeof(*w); i++)
		w[i] = t_random(&seed);
}

static inline u8 *t_buf(u32 sectors)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, (size_t)sectors * SECTOR_SIZE);

	ck_assert_ptr_nonnull(buf);
	memset(buf, 0, (size_t)sectors * SECTOR_SIZE);
	return buf;
}

#endif
