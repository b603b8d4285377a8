/*
 * write_amp: how many bytes reach the device for each byte that a program overwrites.
 *
 * write_amp [DEVICE [FILE-SIZE]]: random overwrites of 4 KiB in a file that was fully written, all
 * counted through the checkpoint of the unmount, at three block sizes; then the same with an
 * fdatasync after each write, which is reported apart. DEVICE is formatted (default ram:1g; an
 * image file must exist). Exit 1 when a limit is exceeded.
 */
#include <stdio.h>
#include <string.h>

#include "amp.h"
#include "base/size.h"

#define LIMIT_DATA 1.1
#define LIMIT_ALL 1.5

static const u32 block_sizes[] = {4096, 65536, 2u << 20};

static int row(const struct amp_case *c)
{
	struct amp_result r;
	char block[SIZE_TEXT_MAX];
	int err = amp_measure(c, &r);

	if (err != 0) {
		fprintf(stderr, "write_amp: %s: %s\n", c->device, strerror(-err));
		return 1;
	}
	printf("%-9s %-15s %11.1f %11.1f %11.1f %11.1f %8llu %7.3f %7.3f\n",
	       size_to_text(c->block_bytes, block), c->sync_each ? "fdatasync each" : "one fsync",
	       (double)r.user_bytes / 1048576, (double)r.data_bytes / 1048576,
	       (double)r.meta_bytes / 1048576, (double)r.log_bytes / 1048576,
	       (unsigned long long)r.flushes, amp_data(&r), amp_all(&r));
	return !c->sync_each && (amp_data(&r) > LIMIT_DATA || amp_all(&r) > LIMIT_ALL);
}

int main(int argc, char **argv)
{
	struct amp_case c = {
		.device = argc > 1 ? argv[1] : "ram:1g",
		.file_bytes = 256u << 20,
		.cache_bytes = 64u << 20,
	};
	int failed = 0;

	if (argc > 3 || (argc > 2 && parse_size(argv[2], &c.file_bytes) != 0)) {
		fprintf(stderr, "usage: write_amp [DEVICE [FILE-SIZE]]\n");
		return 2;
	}
	printf("%-9s %-15s %11s %11s %11s %11s %8s %7s %7s\n", "block", "overwrites", "written MiB",
	       "data MiB", "meta MiB", "log MiB", "flushes", "data x", "all x");
	for (int sync = 0; sync < 2; sync++) {
		c.sync_each = sync != 0;
		c.nr_writes = c.file_bytes / SECTOR_SIZE / (sync != 0 ? 16 : 2);
		for (size_t i = 0; i < ARRAY_LEN(block_sizes); i++) {
			c.block_bytes = block_sizes[i];
			failed |= row(&c);
		}
	}
	if (failed)
		printf("more than %.1f x (data) or %.1f x (all)\n", LIMIT_DATA, LIMIT_ALL);
	return failed;
}
