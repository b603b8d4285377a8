/*
 * What is on the target already: FolioFS itself by its own signature, everything else (file
 * systems, RAID members, swap, partition tables) by libblkid.
 *
 * Rule: a FolioFS superblock that is damaged, or its copies alone, still count as something that
 * somebody may want back.
 */
#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check/check.h"
#include "mkfs.h"

static void describe_own(const struct check_state *st, char *text, size_t len)
{
	struct uuid u;
	char uuid[UUID_TEXT_MAX], when[40] = "";
	time_t t = (time_t)st->mount_time;
	struct tm tm;

	memcpy(u.b, st->geo.uuid, sizeof(u.b));
	uuid_to_text(&u, uuid);
	if (t && localtime_r(&t, &tm))
		strftime(when, sizeof(when), ", last mounted %Y-%m-%d", &tm);
	snprintf(text, len, "a FolioFS file system (%s%s%suuid %s%s)",
		 st->geo.label[0] ? "label '" : "", st->geo.label,
		 st->geo.label[0] ? "', " : "", uuid, when);
}

/* Read-only and without a lock: the caller holds the lock already. */
static int probe_own(const char *path, bool *found, char *text, size_t len)
{
	struct check_state st;
	struct blk_dev *dev;
	int r = blk_open(path, BLK_RDONLY | BLK_NOLOCK, NULL, &dev);

	if (r)
		return r;
	r = blk_sectors(dev) ? check_state(dev, &st) : -EINVAL;
	blk_close(dev);
	*found = r != -EINVAL;
	if (r == 0)
		describe_own(&st, text, len);
	else if (r == -EOPNOTSUPP)
		snprintf(text, len, "a FolioFS file system of a newer version");
	else if (*found)
		snprintf(text, len, "a FolioFS file system that is damaged");
	return r == -EIO ? r : 0;
}

static blkid_probe new_probe(int fd)
{
	blkid_probe pr = blkid_new_probe();

	if (!pr)
		return NULL;
	if (blkid_probe_set_device(pr, fd, 0, 0)) {
		blkid_free_probe(pr);
		return NULL;
	}
	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
					      BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID |
					      BLKID_SUBLKS_MAGIC);
	blkid_probe_enable_partitions(pr, 1);
	blkid_probe_set_partitions_flags(pr, BLKID_PARTS_MAGIC);
	return pr;
}

static const char *value_of(blkid_probe pr, const char *name)
{
	const char *v = NULL;

	return blkid_probe_lookup_value(pr, name, &v, NULL) == 0 ? v : NULL;
}

static void describe_foreign(blkid_probe pr, char *text, size_t len)
{
	const char *type = value_of(pr, "TYPE"), *pt = value_of(pr, "PTTYPE");
	const char *label = value_of(pr, "LABEL"), *uuid = value_of(pr, "UUID");
	const char *usage = value_of(pr, "USAGE");

	if (!type && pt) {
		snprintf(text, len, "a partition table (%s)", pt);
		return;
	}
	snprintf(text, len, "%s %s (%s%s%suuid %s)", type ? type : "unknown",
		 usage && strcmp(usage, "filesystem") == 0 ? "file system" : "signature",
		 label ? "label '" : "", label ? label : "", label ? "', " : "",
		 uuid ? uuid : "none");
}

static int probe_foreign(const char *path, bool *found, char *text, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;
	blkid_probe pr;

	if (fd < 0)
		return -errno;
	pr = new_probe(fd);
	/* An empty file cannot be probed, and holds nothing. */
	if (pr) {
		r = blkid_do_probe(pr);
		*found = r == 0;
		if (*found)
			describe_foreign(pr, text, len);
		blkid_free_probe(pr);
	}
	close(fd);
	return 0;
}

int probe_content(const char *path, bool *found, char *text, size_t len)
{
	int r;

	*found = false;
	r = probe_own(path, found, text, len);
	if (r || *found)
		return r;
	return probe_foreign(path, found, text, len);
}

int probe_wipe(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), r = 0;
	blkid_probe pr;

	if (fd < 0)
		return -errno;
	pr = new_probe(fd);
	while (pr && blkid_do_probe(pr) == 0) {
		if (blkid_do_wipe(pr, 0)) {
			r = errno ? -errno : -EIO;
			break;
		}
	}
	if (pr)
		blkid_free_probe(pr);
	if (!r && fsync(fd))
		r = -errno;
	close(fd);
	return r;
}
