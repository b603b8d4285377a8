/*
 * The nearest known name, for messages about unknown ones.
 *
 * Rules
 * 1. Distance counts insertions, deletions, changes and swaps of neighbours (the restricted
 *    Damerau-Levenshtein distance), in three rows on the stack.
 * 2. A suggestion that is far off is worse than none: one slip is allowed for every three letters.
 */
#include "base/nearest.h"

#include <string.h>

#define WORD_MAX 64

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	return MIN(a, MIN(b, c));
}

unsigned nearest_distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2];
	size_t la = strnlen(a, WORD_MAX), lb = strnlen(b, WORD_MAX);

	for (size_t j = 0; j <= lb; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *free_row = before;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			now[j] = min3(last[j] + 1, now[j - 1] + 1,
				      last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = MIN(now[j], before[j - 2] + 1);
		}
		before = last;
		last = now;
		now = free_row;
	}
	return last[lb];
}

const char *nearest_name(const char *word, const char *const *names, size_t nr)
{
	unsigned limit = (unsigned)(strnlen(word, WORD_MAX) + 2) / 3;
	const char *best = NULL;

	for (size_t i = 0; i < nr; i++) {
		unsigned distance = nearest_distance(word, names[i]);

		if (distance <= limit) {
			best = names[i];
			/* Only something nearer replaces it: ties go to the first. */
			if (distance == 0)
				break;
			limit = distance - 1;
		}
	}
	return best;
}
