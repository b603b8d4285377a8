/*
 * Does the device below have writes that are durable by themselves (FUA)?
 *
 * The kernel says so for each disk in /sys/dev/block/MAJ:MIN/queue/fua; a partition has the
 * queue of its disk, one folder up. For a regular file it is the disk that its file system lies
 * on: what has no such disk (btrfs over several, network file systems, overlays) says nothing,
 * and counts as without.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "blk/blk_priv.h"

static bool queue_says(const char *path)
{
	FILE *f = fopen(path, "re");
	int first = f ? fgetc(f) : EOF;

	if (f)
		fclose(f);
	return first == '1';
}

bool blk_fua_found(int fd)
{
	static const char *const where[] = { "queue/fua", "../queue/fua" };
	struct stat st;
	dev_t disk;

	if (fstat(fd, &st))
		return false;
	disk = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	for (unsigned i = 0; i < ARRAY_LEN(where); i++) {
		char path[80];

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(disk), minor(disk),
			 where[i]);
		if (queue_says(path))
			return true;
	}
	return false;
}
