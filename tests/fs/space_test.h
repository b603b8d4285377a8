/*
 * What the tests of trees and space share: a file system of some size and block size on the fake
 * journal, and the rules of free space checked against the bits.
 */
#ifndef TESTS_SPACE_TEST_H
#define TESTS_SPACE_TEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/err.h"
#include "fakeview.h"
#include "fs/btree.h"
#include "fs/inode.h"
#include "fs/space.h"

struct fix {
	struct fmt_geo geo;
	struct fs host;
	struct jnl *jnl;
	struct space *sp;
};

static inline void fix_open(struct fix *f, u64 nr_sectors, u32 block_bytes, u64 seed)
{
	memset(f, 0, sizeof(*f));
	ck_assert_int_eq(fmt_geo_make(nr_sectors, block_bytes, FMT_JNL_MIN_SECTORS, &f->geo), 0);
	f->jnl = fake_new(&f->geo, &f->host, seed);
	ck_assert_int_eq(space_open(f->jnl, &f->geo, &f->sp), 0);
	f->host.space = f->sp;
}

static inline void fix_reopen(struct fix *f)
{
	f->host.space = NULL;
	space_close(f->sp);
	jnl_commit(f->jnl, 0);
	ck_assert_int_eq(space_open(f->jnl, &f->geo, &f->sp), 0);
	f->host.space = f->sp;
}

static inline void fix_close(struct fix *f)
{
	space_close(f->sp);
	fake_free(f->jnl);
}

static inline const struct fmt_group *fix_group(struct fix *f, u32 g)
{
	const struct fmt_gtable *gt =
		fake_buf(f->jnl, f->geo.gtable_sector + g / FMT_GROUPS_PER_SECTOR);

	return &gt->g[g % FMT_GROUPS_PER_SECTOR];
}

/* Is this sector's bit set? Read as a program that knows only docs/FORMAT.md would. */
static inline bool fix_is_used(struct fix *f, u64 sector)
{
	u32 g = fmt_group_of(&f->geo, sector);
	u64 pos = sector - fmt_group_start(&f->geo, g);
	u64 idx = pos / FMT_BITS_PER_SECTOR, bit = pos % FMT_BITS_PER_SECTOR;
	const struct fmt_bitmap *bm;

	if (sector < fmt_space_start(&f->geo, g))
		return true;
	if (!(get64(fix_group(f, g)->bitmap_init) >> idx & 1))
		return false;
	bm = fake_buf(f->jnl, fmt_bitmap_sector(&f->geo, g) + idx);
	return get64(bm->bits[bit / 64]) >> (bit % 64) & 1;
}

static inline u32 fix_map_entry(struct fix *f, u64 sector)
{
	u32 g = fmt_group_of(&f->geo, sector);
	u64 pos = sector - fmt_group_start(&f->geo, g);
	u64 idx = pos / FMT_MAP_PER_SECTOR;
	const struct fmt_map *map;

	if (!(get64(fix_group(f, g)->map_init[idx / 64]) >> (idx % 64) & 1))
		return 0;
	map = fake_buf(f->jnl, fmt_map_sector(&f->geo, g) + idx);
	return get32(map->entry[pos % FMT_MAP_PER_SECTOR]);
}

/* What an initialised bitmap sector says of places where there is no space. */
static inline void fix_check_outside(struct fix *f, u32 g)
{
	for (u32 idx = 0; idx < f->geo.bitmap_nr; idx++) {
		const struct fmt_bitmap *bm = fake_buf(f->jnl, fmt_bitmap_sector(&f->geo, g) + idx);
		u64 first = fmt_space_start(&f->geo, g) - fmt_group_start(&f->geo, g);

		if (!(get64(fix_group(f, g)->bitmap_init) >> idx & 1))
			continue;
		for (u64 bit = 0; bit < FMT_BITS_PER_SECTOR; bit++) {
			u64 pos = (u64)idx * FMT_BITS_PER_SECTOR + bit;

			if (pos >= first && pos < fmt_group_len(&f->geo, g))
				continue;
			if (!(get64(bm->bits[bit / 64]) >> (bit % 64) & 1))
				ck_abort_msg("group %u: no space at %llu, but its bit is clear", g,
					     (unsigned long long)pos);
		}
	}
}

/* Counters on disk and in memory agree with the bits; a free sector has no map entry. */
static inline void fix_check_counters(struct fix *f)
{
	const struct fmt_root *root = fake_buf(f->jnl, f->geo.root_sector);
	struct space_counts c;
	u64 sum = 0;

	for (u32 g = 0; g < f->geo.nr_groups; g++) {
		u64 end = fmt_group_start(&f->geo, g) + fmt_group_len(&f->geo, g), nr = 0;

		fix_check_outside(f, g);
		for (u64 s = fmt_space_start(&f->geo, g); s < end; s++) {
			if (fix_is_used(f, s))
				continue;
			nr++;
			if (fix_map_entry(f, s) != 0)
				ck_abort_msg("free sector %llu has a map entry",
					     (unsigned long long)s);
		}
		ck_assert_uint_eq(nr, get32(fix_group(f, g)->free));
		sum += nr;
	}
	space_counts(f->sp, &c);
	ck_assert_uint_eq(sum, get64(root->free_sectors));
	ck_assert_uint_eq(sum, c.free);
	ck_assert_uint_eq(c.metadata, get64(root->node_sectors_used));
}

/* xorshift: the same sequence everywhere for a seed */
static inline u32 fix_roll(u64 *state, u32 below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (u32)(*state >> 32) % below;
}

static inline u64 fix_seed(void)
{
	const char *s = getenv("SEED");
	u64 seed = s ? strtoull(s, NULL, 0) : 20260731;

	printf("SEED=%llu\n", (unsigned long long)seed);
	return seed * 2 + 1;
}

#endif
