/* The wrappers that the linker puts in front of malloc() and its sisters; see nomem.h. */
#include "nomem.h"

#include <stdlib.h>

static struct { u64 count, from, to; } mem = { .from = UINT64_MAX, .to = UINT64_MAX };

void nomem_set(u64 from, u64 to)
{
	mem.count = 0;
	mem.from = from;
	mem.to = to;
}

u64 nomem_count(void)
{
	return mem.count;
}

static bool fails(void)
{
	mem.count++;
	return mem.count > mem.from && mem.count <= mem.to;
}

#define WRAP(name, params, args)                                                                   \
	void *__real_##name params;                                                                \
	void *__wrap_##name params;                                                                \
	void *__wrap_##name params                                                                 \
	{                                                                                          \
		return fails() ? NULL : __real_##name args;                                        \
	}

WRAP(malloc, (size_t n), (n))
WRAP(calloc, (size_t k, size_t n), (k, n))
WRAP(realloc, (void *p, size_t n), (p, n))
WRAP(reallocarray, (void *p, size_t k, size_t n), (p, k, n))
WRAP(aligned_alloc, (size_t a, size_t n), (a, n))
