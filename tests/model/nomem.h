/*
 * No memory: malloc() and its sisters, as the file system calls them, fail when they are told to.
 * The program is linked with --wrap for each of them.
 */
#ifndef TESTS_MODEL_NOMEM_H
#define TESTS_MODEL_NOMEM_H

#include "base/types.h"

/* Calls (from, to] from now on fail; UINT64_MAX: none. */
void nomem_set(u64 from, u64 to);
/* Calls since then. */
u64 nomem_count(void);

#endif
