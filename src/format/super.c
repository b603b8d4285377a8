/*
 * The superblock: bytes to struct fmt_geo and back.
 *
 * Rules
 * 1. A struct fmt_geo that came out of fmt_super_decode() is consistent: every helper in geo.c can
 *    compute with it without overflow or division by zero.
 * 2. The layout is not free: version 1 puts root sector, group table and journal right behind each
 *    other at the start of group 0, so a superblock that says otherwise is refused.
 *
 * Pure functions, no locks.
 */
#include "format/format.h"

#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "format/geo.h"

static u64 super_csum(const struct fmt_super *sb)
{
	struct fmt_super copy = *sb;

	copy.csum = put64(0);
	return hash64(&copy, sizeof(copy));
}

static void super_load(const struct fmt_super *sb, struct fmt_geo *g)
{
	memset(g, 0, sizeof(*g));
	memcpy(g->uuid, sb->uuid, sizeof(g->uuid));
	memcpy(g->label, sb->label, sizeof(sb->label));
	g->fsid = get64(sb->fsid);
	g->nr_sectors = get64(sb->nr_sectors);
	g->root_sector = get64(sb->root_sector);
	g->gtable_sector = get64(sb->gtable_sector);
	g->gtable_nr = get32(sb->gtable_nr);
	g->jnl_sector = get64(sb->jnl_sector);
	g->jnl_nr = get64(sb->jnl_nr);
	g->compat = get64(sb->compat);
	g->ro_compat = get64(sb->ro_compat);
	g->incompat = get64(sb->incompat);
	g->hash_seed = get64(sb->hash_seed);
	g->mkfs_time = (s64)get64(sb->mkfs_time);
	g->block_bytes = get32(sb->block_bytes);
	g->block_sectors = g->block_bytes >> SECTOR_SHIFT;
	g->group_sectors = get32(sb->group_sectors);
	g->nr_groups = get32(sb->nr_groups);
	geo_derive(g);
}

enum why fmt_super_why(const struct fmt_super *sb, struct fmt_geo *out)
{
	struct fmt_geo g;
	enum why why;

	if (memcmp(sb->magic, FMT_SUPER_MAGIC, sizeof(sb->magic)) != 0)
		return WHY_SB_MAGIC;
	if (super_csum(sb) != get64(sb->csum))
		return WHY_SB_CHECKSUM;
	if (get32(sb->version) != FMT_VERSION)
		return WHY_SB_VERSION;
	if (get64(sb->incompat) & ~FMT_INCOMPAT_KNOWN)
		return WHY_SB_FEATURES;
	if (get32(sb->node_sectors) != NODE_SECTORS)
		return WHY_SB_NODE_SIZE;
	if (sb->label[sizeof(sb->label) - 1] != 0)
		return WHY_SB_LABEL;
	super_load(sb, &g);
	why = geo_why(&g);
	if (!why)
		*out = g;
	return why;
}

void fmt_super_encode(const struct fmt_geo *g, u8 copy, struct fmt_super *out)
{
	struct fmt_super sb;
	size_t label_len = strnlen(g->label, sizeof(sb.label) - 1);

	memset(&sb, 0, sizeof(sb));
	memcpy(sb.magic, FMT_SUPER_MAGIC, sizeof(sb.magic));
	sb.version = put32(FMT_VERSION);
	sb.block_bytes = put32(g->block_bytes);
	memcpy(sb.uuid, g->uuid, sizeof(sb.uuid));
	memcpy(sb.label, g->label, label_len);
	sb.fsid = put64(g->fsid);
	sb.nr_sectors = put64(g->nr_sectors);
	sb.group_sectors = put32(g->group_sectors);
	sb.nr_groups = put32(g->nr_groups);
	sb.root_sector = put64(g->root_sector);
	sb.gtable_sector = put64(g->gtable_sector);
	sb.gtable_nr = put32(g->gtable_nr);
	sb.node_sectors = put32(NODE_SECTORS);
	sb.jnl_sector = put64(g->jnl_sector);
	sb.jnl_nr = put64(g->jnl_nr);
	sb.compat = put64(g->compat);
	sb.ro_compat = put64(g->ro_compat);
	sb.incompat = put64(g->incompat);
	sb.hash_seed = put64(g->hash_seed);
	sb.mkfs_time = put64((u64)g->mkfs_time);
	sb.copy = copy;
	sb.csum = put64(super_csum(&sb));
	*out = sb;
}
