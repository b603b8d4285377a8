/* Between hash.c and hash_wide.c. Where HASH_WIDE is defined the CPU must be asked at run time. */
#ifndef BASE_HASH_WIDE_H
#define BASE_HASH_WIDE_H

#include "base/types.h"

#if defined(__x86_64__) && !defined(__clang__)
#define HASH_WIDE 1
/* hash64(), only if __builtin_cpu_supports("avx2"). */
u64 hash64_wide(const void *data, size_t len);
#endif

#endif
