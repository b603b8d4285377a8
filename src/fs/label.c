/*
 * The label of a mounted file system, and changing it.
 *
 * 1. The superblock is rewritten first and flushed, then its copies: a crash in between leaves
 *    copies with the label of before, which is no damage.
 * 2. The 512 bytes of the superblock are one write of a device at least: old or new.
 * 3. Besides the label nothing of a superblock ever changes; what else its sector holds stays.
 *
 * Locks: fs->label (RANK_CTL) from start to end.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fs/inode.h"

void fs_get_label(struct fs *fs, char *buf, size_t size)
{
	mutex_lock(&fs->label);
	strncpy(buf, fs->geo.label, size - 1);
	buf[size - 1] = 0;
	mutex_unlock(&fs->label);
}

static int write_super(struct fs *fs, const struct fmt_geo *geo, u64 sector, u8 copy, u8 *buf)
{
	int r = blk_read(fs->dev, sector, buf, 1, BLK_META);

	if (r)
		return r;
	fmt_super_encode(geo, copy, (struct fmt_super *)(buf + FMT_SUPER_OFFSET));
	return blk_write(fs->dev, sector, buf, 1, BLK_META);
}

static int write_all(struct fs *fs, const struct fmt_geo *geo, u8 *buf)
{
	int r = write_super(fs, geo, 0, 0, buf);
	u8 copy = 0;

	if (!r)
		r = blk_flush(fs->dev);
	for (u32 i = 1; i < geo->nr_groups && !r && copy < UINT8_MAX; i++)
		if (fmt_group_has_copy(i))
			r = write_super(fs, geo, fmt_group_start(geo, i), ++copy, buf);
	return r ? r : blk_flush(fs->dev);
}

/* The copy in the root sector; images made before there was one have none. */
static int root_copy_body(struct view *v, void *arg)
{
	struct fmt_root *root;
	struct fmt_geo was;
	void *buf;
	int r = view_edit(v, view_geo(v)->root_sector, FMT_KIND_ROOT, &buf);

	if (r)
		return r;
	root = buf;
	if (!fmt_super_decode(&root->super, &was))
		fmt_super_encode(arg, FMT_SUPER_COPY_ROOT, &root->super);
	return 0;
}

int fs_set_label(struct fs *fs, const char *label)
{
	size_t len = strlen(label);
	struct fmt_geo geo;
	u8 *buf;
	int r = fs_may_change(fs);

	if (r)
		return r;
	if (len >= sizeof(((struct fmt_super *)0)->label))
		return -EINVAL;
	buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	if (!buf)
		return -ENOMEM;
	mutex_lock(&fs->label);
	geo = fs->geo;
	memset(geo.label, 0, sizeof(geo.label));
	memcpy(geo.label, label, len);
	r = write_all(fs, &geo, buf);
	if (!r)
		r = jnl_run(fs->jnl, 1, root_copy_body, &geo, NULL);
	if (!r)
		memcpy(fs->geo.label, geo.label, sizeof(geo.label));
	mutex_unlock(&fs->label);
	free(buf);
	return r;
}
