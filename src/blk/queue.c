/*
 * What the kernel says of the queue of the device below.
 *
 * It is in /sys/dev/block/MAJ:MIN/queue for each disk; a partition has the queue of its disk, one
 * folder up. For a regular file it is the disk that its file system lies on: what has no such disk
 * (btrfs over several, network file systems, overlays) says nothing, which counts as 0.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "blk/blk_priv.h"

static u32 number_in(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned n = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%u", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

u32 blk_queue_says(int fd, const char *what)
{
	static const char *const where[] = { "queue", "../queue" };
	struct stat st;
	dev_t disk;
	u32 n = 0;

	if (fstat(fd, &st))
		return 0;
	disk = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	for (unsigned i = 0; i < ARRAY_LEN(where) && n == 0; i++) {
		char path[80];

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(disk), minor(disk),
			 where[i], what);
		n = number_in(path);
	}
	return n;
}
