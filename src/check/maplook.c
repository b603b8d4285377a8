/*
 * Looking up entries of the sector map. One map sector and one sector of the group table are kept,
 * so ascending looks read each of them once. One thread.
 */
#include "check/check_priv.h"

#include <stdlib.h>

int map_look_init(struct map_look *m, struct reader *rd)
{
	*m = (struct map_look){ .rd = rd, .gtable_at = UINT32_MAX };
	m->map = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	m->gtable = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	return m->map && m->gtable ? 0 : -ENOMEM;
}

void map_look_fini(struct map_look *m)
{
	free(m->gtable);
	free(m->map);
}

static bool initialised(struct map_look *m, u32 group, u32 index)
{
	u32 at = group / FMT_GROUPS_PER_SECTOR;
	const struct fmt_group *gd = &m->gtable->g[group % FMT_GROUPS_PER_SECTOR];

	if (m->gtable_at != at) {
		m->gtable_at = UINT32_MAX;
		if (reader_get(m->rd, m->rd->geo->gtable_sector + at, FMT_KIND_GTABLE, m->gtable))
			return false;
		m->gtable_at = at;
	}
	return get64(gd->map_init[index / 64]) >> (index % 64) & 1;
}

u32 map_look(struct map_look *m, u64 sector)
{
	const struct fmt_geo *g = m->rd->geo;
	u32 group = fmt_group_of(g, sector);
	u32 pos = (u32)(sector - fmt_group_start(g, group)), index = pos / FMT_MAP_PER_SECTOR;
	u64 addr = fmt_map_sector(g, group) + index;

	if (m->map_addr != addr) {
		m->map_addr = addr;
		m->map_init = initialised(m, group, index) &&
			      reader_get(m->rd, addr, FMT_KIND_MAP, m->map) == 0;
	}
	return m->map_init ? get32(m->map->entry[pos % FMT_MAP_PER_SECTOR]) : 0;
}
