/* Commands of the control socket about the cache and about where data lies. */
#ifndef FOLIOFS_FRONT_CONTROL_CACHE_H
#define FOLIOFS_FRONT_CONTROL_CACHE_H

#include <stdio.h>

struct front;

/* Prints its answer; 0 or -errno. Runs in the control thread while the file system is mounted. */
typedef int (*control_fn)(struct front *fr, const char *arg, FILE *out);

/* drop, state, set, frag, trace; NULL for others. */
control_fn control_cache_command(const char *name);

#endif
