/*
 * What the tests of the cache share: a random generator with a printed seed, a mapping whose "disk"
 * is a pattern made of the sector number, and a check that is cheap enough for inner loops
 * (ck_assert() writes to a file each time).
 */
#ifndef TESTS_CACHE_UTIL_H
#define TESTS_CACHE_UTIL_H

#include <errno.h>
#include <string.h>

#include "base/time.h"
#include "cache/cache_priv.h"
#include "cache/index.h"
#include "check_main.h"

#define MIB (1ull << 20)
#define NOWHERE (1ull << 50)

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			ck_abort_msg("%s:%d: %s", __FILE__, __LINE__, #cond);                      \
	} while (0)

static __thread u64 rng;

static inline u64 rnd(u64 n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

static inline void seed(void)
{
	const char *text = getenv("CACHE_SEED");

	rng = text ? strtoull(text, NULL, 0) : (now_ns() | 1);
	printf("CACHE_SEED=%llu\n", (unsigned long long)rng);
}

static inline u64 pattern(u64 sector)
{
	return sector * 0x9e3779b97f4a7c15ull + 1;
}

static inline u8 *sector_data(const struct folio *f, u32 i)
{
	return (u8 *)folio_data(f) + ((size_t)i << SECTOR_SHIFT);
}

static int fake_fill(struct mapping *m, struct folio *f, u32 first, u32 nr)
{
	u64 *count = m->host;

	for (u32 i = first; i < first + nr; i++) {
		u64 word = pattern(f->index + i);

		memcpy(sector_data(f, i), &word, sizeof(word));
	}
	folio_mark_uptodate(f, first, nr);
	if (count)
		__atomic_fetch_add(count, nr, __ATOMIC_RELAXED);
	return 0;
}

static const struct mapping_ops fake_ops UNUSED = { .fill = fake_fill };

static inline void start_with(struct cache_config cfg)
{
	ck_assert_int_eq(cache_init(&cfg), 0);
}

static inline void start(u64 bytes)
{
	start_with((struct cache_config){ .bytes = bytes, .max_order = 0xff });
}

static inline void finish(struct mapping *m)
{
	cache_drop(m, 0, NOWHERE);
	mapping_fini(m);
	cache_fini();
}

/* An uptodate, clean folio at sector; its order may be smaller. */
static inline void use(struct mapping *m, u64 sector, unsigned order)
{
	struct folio *f = cache_find(m, sector);

	if (!f) {
		CHECK(cache_get(m, sector, order, 0, &f) == 0);
		CHECK(folio_make_uptodate(f, 0, folio_sectors(f)) == 0);
		folio_unlock(f);
	}
	folio_put(f);
}

#endif
