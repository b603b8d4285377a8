/*
 * Geometry: where the parts of a file system lie.
 *
 * Invariants of a valid struct fmt_geo (geo_why() checks them, the helpers rely on them)
 * 1. Blocks are a power of two of 4 KiB .. 2 MiB; groups a power of two of sectors, 4 MiB .. 1 GiB.
 * 2. nr_groups = nr_sectors / group_sectors rounded up; each group, the short last one too, is
 *    longer than its own metadata.
 * 3. Sector 0 superblock, 1 root sector, 2.. group table, then the journal, all inside group 0.
 *
 * The group size is the smallest power of two that makes one group of a small device: a 2 MiB
 * image should not spend 1 MiB on the map of a 1 GiB group. Pure functions, no locks.
 */
#include "format/geo.h"

#include "base/err.h"

#define GEO_JNL_DEFAULT_MIN 4096u   /* 16 MiB */
#define GEO_JNL_AMPLE 32768u        /* 128 MiB */
#define GEO_JNL_DEFAULT_MAX 262144u /* 1 GiB */
#define GEO_SPACE_MIN       128u    /* sectors of space for nodes and small files */

void geo_derive(struct fmt_geo *g)
{
	g->bitmap_nr = DIV_ROUND_UP(g->group_sectors, FMT_BITS_PER_SECTOR);
	g->map_nr = DIV_ROUND_UP(g->group_sectors, FMT_MAP_PER_SECTOR);
}

u32 fmt_group_of(const struct fmt_geo *g, u64 sector)
{
	return (u32)(sector / g->group_sectors);
}

u64 fmt_group_start(const struct fmt_geo *g, u32 group)
{
	return (u64)group * g->group_sectors;
}

u32 fmt_group_len(const struct fmt_geo *g, u32 group)
{
	return (u32)MIN((u64)g->group_sectors, g->nr_sectors - fmt_group_start(g, group));
}

u64 fmt_bitmap_sector(const struct fmt_geo *g, u32 group)
{
	return group == 0 ? g->jnl_sector + g->jnl_nr : fmt_group_start(g, group) + 1;
}

u64 fmt_map_sector(const struct fmt_geo *g, u32 group)
{
	return fmt_bitmap_sector(g, group) + g->bitmap_nr;
}

u64 fmt_space_start(const struct fmt_geo *g, u32 group)
{
	return fmt_map_sector(g, group) + g->map_nr;
}

static bool is_power_of(u32 x, u32 base)
{
	while (x % base == 0)
		x /= base;
	return x == 1;
}

bool fmt_group_has_copy(u32 group)
{
	return group == 1 ||
	       (group > 1 && (is_power_of(group, 3) || is_power_of(group, 5) ||
			      is_power_of(group, 7)));
}

static bool block_valid(u32 block_bytes)
{
	return is_pow2(block_bytes) && block_bytes >= FMT_BLOCK_MIN && block_bytes <= FMT_BLOCK_MAX;
}

static bool group_size_valid(const struct fmt_geo *g)
{
	return is_pow2(g->group_sectors) && g->group_sectors >= FMT_GROUP_SECTORS_MIN &&
	       g->group_sectors <= FMT_GROUP_SECTORS;
}

/* The sizes: nothing is computed from them before this has passed. */
static enum why sizes_why(const struct fmt_geo *g)
{
	if (!block_valid(g->block_bytes))
		return WHY_SB_BLOCK_SIZE;
	if (!group_size_valid(g))
		return WHY_SB_GROUP_SIZE;
	if (g->nr_sectors == 0 || g->nr_sectors > FMT_SECTORS_MAX)
		return WHY_SB_SECTORS;
	if (g->nr_groups != DIV_ROUND_UP(g->nr_sectors, g->group_sectors))
		return WHY_SB_GROUPS;
	if (g->jnl_nr < FMT_JNL_MIN_SECTORS || g->jnl_nr >= g->group_sectors)
		return WHY_SB_JNL_SIZE;
	return WHY_NONE;
}

static enum why places_why(const struct fmt_geo *g)
{
	if (g->root_sector != 1)
		return WHY_SB_ROOT;
	if (g->gtable_sector != 2)
		return WHY_SB_GTABLE;
	if (g->gtable_nr != DIV_ROUND_UP(g->nr_groups, FMT_GROUPS_PER_SECTOR))
		return WHY_SB_GTABLE_SIZE;
	if (g->jnl_sector != g->gtable_sector + g->gtable_nr)
		return WHY_SB_JNL;
	return WHY_NONE;
}

enum why geo_why(const struct fmt_geo *g)
{
	enum why why = sizes_why(g);
	u32 last = g->nr_groups - 1;

	if (!why)
		why = places_why(g);
	if (why)
		return why;
	if (fmt_space_start(g, 0) >= fmt_group_len(g, 0))
		return WHY_SB_FIRST_GROUP;
	if (fmt_space_start(g, last) >= fmt_group_start(g, last) + fmt_group_len(g, last))
		return WHY_SB_LAST_GROUP;
	return WHY_NONE;
}

static void make_groups(struct fmt_geo *g, u64 nr_sectors)
{
	u64 group = roundup_pow2(nr_sectors);
	u64 tail;

	group = MAX_T(u64, group, FMT_GROUP_SECTORS_MIN);
	g->group_sectors = (u32)MIN_T(u64, group, FMT_GROUP_SECTORS);
	geo_derive(g);
	tail = nr_sectors % g->group_sectors;
	if (nr_sectors > g->group_sectors && tail < 1u + g->bitmap_nr + g->map_nr + GEO_SPACE_MIN)
		nr_sectors -= tail;
	g->nr_sectors = nr_sectors;
	g->nr_groups = (u32)DIV_ROUND_UP(nr_sectors, g->group_sectors);
	g->gtable_nr = DIV_ROUND_UP(g->nr_groups, FMT_GROUPS_PER_SECTOR);
}

/*
 * 1/32 of the device up to 128 MiB, 1/64 of a larger one, but at most a quarter of a small one and
 * three quarters of group 0. Where changes are spread over many nodes, each checkpoint of a node
 * costs its image in the log, and a log that is twice as long needs half as many of them.
 */
static u64 default_jnl(const struct fmt_geo *g)
{
	u64 nr = MAX_T(u64, MIN_T(u64, g->nr_sectors / 32, GEO_JNL_AMPLE), g->nr_sectors / 64);

	nr = MAX_T(u64, nr, GEO_JNL_DEFAULT_MIN);
	nr = MIN_T(u64, nr, GEO_JNL_DEFAULT_MAX);
	nr = MIN_T(u64, nr, g->group_sectors / 4u * 3u);
	nr = MIN_T(u64, nr, g->nr_sectors / 4);
	return MAX_T(u64, nr, FMT_JNL_MIN_SECTORS);
}

int fmt_geo_make(u64 nr_sectors, u32 block_bytes, u64 jnl_nr, struct fmt_geo *io)
{
	struct fmt_geo g = *io;
	u64 space_end;

	if (!block_valid(block_bytes))
		return -EINVAL;
	if (nr_sectors > FMT_SECTORS_MAX)
		return -EFBIG;
	if (nr_sectors < 2 * FMT_JNL_MIN_SECTORS)
		return -ENOSPC;
	g.block_bytes = block_bytes;
	g.block_sectors = block_bytes >> SECTOR_SHIFT;
	make_groups(&g, nr_sectors);
	g.root_sector = 1;
	g.gtable_sector = 2;
	g.jnl_sector = g.gtable_sector + g.gtable_nr;
	g.jnl_nr = jnl_nr ? jnl_nr : default_jnl(&g);
	if (g.jnl_nr < FMT_JNL_MIN_SECTORS || g.jnl_nr > g.group_sectors / 4u * 3u ||
	    (jnl_nr && jnl_nr > g.nr_sectors / 2))
		return -ERANGE;
	space_end = fmt_group_len(&g, 0);
	/* Two blocks' worth of sectors hold one aligned block wherever the space begins. */
	if (fmt_space_start(&g, 0) + GEO_SPACE_MIN + 2ull * g.block_sectors > space_end)
		return -ENOSPC;
	ASSERT(geo_why(&g) == WHY_NONE);
	*io = g;
	return 0;
}
