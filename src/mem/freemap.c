/*
 * freemap: see the header.
 *
 * Invariant: a bit of level k+1 is set exactly if the word of level k below it is not zero.
 */
#include "mem/freemap.h"

#include <stdlib.h>

#include "base/bitmap.h"
#include "base/err.h"

int freemap_init(struct freemap *fm, u32 nr)
{
	size_t bits = MAX(nr, 1u);

	*fm = (struct freemap){ .nr = nr };
	do {
		ASSERT(fm->nr_levels < FREEMAP_LEVELS);
		fm->level[fm->nr_levels] = calloc(BITMAP_WORDS(bits), sizeof(u64));
		if (!fm->level[fm->nr_levels]) {
			freemap_fini(fm);
			return -ENOMEM;
		}
		fm->nr_levels++;
		bits = BITMAP_WORDS(bits);
	} while (bits > 1);
	return 0;
}

void freemap_fini(struct freemap *fm)
{
	for (unsigned l = 0; l < fm->nr_levels; l++)
		free(fm->level[l]);
	*fm = (struct freemap){ 0 };
}

void freemap_set(struct freemap *fm, u32 n)
{
	ASSERT(n < fm->nr);
	fm->count++;
	for (unsigned l = 0; l < fm->nr_levels; l++, n /= 64) {
		u64 *word = &fm->level[l][n / 64];
		bool was_empty = *word == 0;

		*word |= 1ull << (n % 64);
		if (!was_empty)
			break;
	}
}

void freemap_clear(struct freemap *fm, u32 n)
{
	ASSERT(n < fm->nr);
	fm->count--;
	for (unsigned l = 0; l < fm->nr_levels; l++, n /= 64) {
		u64 *word = &fm->level[l][n / 64];

		*word &= ~(1ull << (n % 64));
		if (*word != 0)
			break;
	}
}

bool freemap_test(const struct freemap *fm, u32 n)
{
	return n < fm->nr && bitmap_test(fm->level[0], n);
}

u32 freemap_first(const struct freemap *fm)
{
	u32 n = 0;

	ASSERT(fm->count != 0);
	for (unsigned l = fm->nr_levels; l-- > 0;)
		n = n * 64 + (u32)__builtin_ctzll(fm->level[l][n]);
	return n;
}

u64 freemap_bytes(const struct freemap *fm)
{
	size_t bits = fm->nr, bytes = 0;

	for (unsigned l = 0; l < fm->nr_levels; l++) {
		bits = BITMAP_WORDS(bits);
		bytes += bits * sizeof(u64);
	}
	return bytes;
}
