/* "unknown option 'cahce_size', did you mean 'cache_size'?" */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include "base/types.h"

/*
 * The name of @names[0..nr) that @word was most likely meant to be, or NULL if none is near: at
 * most one slip (insertion, deletion, change, swap of neighbours) for every three letters.
 */
const char *nearest_name(const char *word, const char *const *names, size_t nr);

/* Number of such slips between two words, at most 64 letters of each are compared. */
unsigned nearest_distance(const char *a, const char *b);

#endif
