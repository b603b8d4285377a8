/*
 * Write amplification, counted in the library: what reaches the device for what a program wrote,
 * through the last checkpoint of the unmount. Shared by bench/write_amp.c and tests/fs.
 *
 * The cache is set up and taken down by amp_measure(), so nothing else may use it meanwhile.
 */
#ifndef BENCH_AMP_H
#define BENCH_AMP_H

#include "base/types.h"

struct amp_case {
	const char *device;  /* as for blk_open(); formatted anew */
	u32 block_bytes;
	u64 file_bytes;      /* written fully before, on a mount of its own */
	u64 nr_writes;       /* 4 KiB each, to different sectors in random order; at most all */
	u64 cache_bytes;
	bool sync_each;      /* fdatasync after every write, else one fsync at the end */
};

struct amp_result {
	u64 user_bytes;
	u64 data_bytes, meta_bytes, log_bytes;
	u64 flushes;
};

/* 0 or -errno of what failed; *out is then untouched. */
int amp_measure(const struct amp_case *c, struct amp_result *out);

/* Ratios to user_bytes. */
double amp_data(const struct amp_result *r);
double amp_all(const struct amp_result *r);

#endif
