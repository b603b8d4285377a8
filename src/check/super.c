/*
 * Finding the superblock: at sector 0, else the newest of its copies.
 *
 * One copy is in the root sector. The others stand at multiples of the group size, which only a
 * superblock tells: all sizes that are possible are tried. Remains of an older file system may
 * turn up as well, so the newest mkfs time wins, and the caller says which one was used.
 */
#include "check/check_priv.h"

#include <stdlib.h>

int super_read(struct blk_dev *dev, u64 sector, struct fmt_geo *out, u8 *copy)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	const struct fmt_super *sb;
	int r;

	if (!buf)
		return -ENOMEM;
	r = blk_read(dev, sector, buf, 1, BLK_META);
	if (!r) {
		sb = (const void *)(buf + FMT_SUPER_OFFSET);
		r = fmt_super_decode(sb, out);
		if (!r)
			*copy = sb->copy;
	}
	free(buf);
	return r;
}

static bool copy_fits(const struct fmt_geo *g, u64 group_sectors, u8 copy)
{
	return g->group_sectors == group_sectors && copy != 0;
}

static int read_root(struct blk_dev *dev, bool used, struct fmt_geo *out)
{
	struct fmt_root *root = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	int r = -ENOENT;

	if (!root)
		return -ENOMEM;
	if (blk_sectors(dev) > 1)
		r = blk_read(dev, 1, root, 1, BLK_META);
	if (!r)
		r = fmt_super_decode(&root->super, out);
	if (!r && (root->super.copy != FMT_SUPER_COPY_ROOT || (used && !get64(root->hdr.gen))))
		r = -EUCLEAN;
	free(root);
	return r;
}

int super_find_copy(struct blk_dev *dev, bool used, struct fmt_geo *out, u64 *sector)
{
	static const u32 groups[] = { 1, 3, 5, 7, 9, 25, 27, 49 };
	bool found = read_root(dev, used, out) == 0;

	if (found)
		*sector = 1;

	for (u64 size = FMT_GROUP_SECTORS; size >= FMT_GROUP_SECTORS_MIN; size /= 2) {
		for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
			u64 at = groups[i] * size;
			struct fmt_geo g;
			u8 copy;

			if (at >= blk_sectors(dev) || super_read(dev, at, &g, &copy))
				continue;
			if (!copy_fits(&g, size, copy) || (found && g.mkfs_time <= out->mkfs_time))
				continue;
			*out = g;
			*sector = at;
			found = true;
		}
	}
	return found ? 0 : -ENOENT;
}
