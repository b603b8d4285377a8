/*
 * Types, units and small arithmetic that every layer uses.
 *
 * Four units are never mixed: sector (4 KiB: I/O, state, accounting), block (allocation of file
 * data), folio (4 KiB << order) and node (16 KiB, one B+tree node).
 */
#ifndef BASE_TYPES_H
#define BASE_TYPES_H

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define SECTOR_SHIFT 12
#define SECTOR_SIZE 4096u
#define SECTOR_MASK (SECTOR_SIZE - 1u)

#define NODE_SHIFT 14
#define NODE_SIZE 16384u
#define NODE_SECTORS 4u

#define BLOCK_MIN_SHIFT 12
#define BLOCK_MAX_SHIFT 21

#define FOLIO_MAX_ORDER 9
#define FOLIO_NR_ORDERS (FOLIO_MAX_ORDER + 1)

static_assert(1u << SECTOR_SHIFT == SECTOR_SIZE, "sector shift and size agree");
static_assert(NODE_SECTORS * SECTOR_SIZE == NODE_SIZE, "a node is whole sectors");
static_assert(SECTOR_SHIFT + FOLIO_MAX_ORDER == BLOCK_MAX_SHIFT, "largest folio = largest block");
static_assert(sizeof(void *) == 8, "the address space must hold the arena");

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* <sys/param.h> brings its own MIN and MAX, which evaluate twice. */
#undef MIN
#undef MAX
#define MIN(a, b)                                                                                  \
	({                                                                                         \
		__auto_type min_a_ = (a);                                                          \
		__typeof__(b) min_b_ = (b);                                                        \
		static_assert(__builtin_types_compatible_p(__typeof__(min_a_),                     \
							   __typeof__(min_b_)),                    \
			      "MIN of two types");                                                 \
		min_a_ < min_b_ ? min_a_ : min_b_;                                                 \
	})
#define MAX(a, b)                                                                                  \
	({                                                                                         \
		__auto_type max_a_ = (a);                                                          \
		__typeof__(b) max_b_ = (b);                                                        \
		static_assert(__builtin_types_compatible_p(__typeof__(max_a_),                     \
							   __typeof__(max_b_)),                    \
			      "MAX of two types");                                                 \
		max_a_ > max_b_ ? max_a_ : max_b_;                                                 \
	})
/* For operands of two types: both are converted to @type first. */
#define MIN_T(type, a, b) MIN((type)(a), (type)(b))
#define MAX_T(type, a, b) MAX((type)(a), (type)(b))

/* @align must be a power of two; the result has the type of @x. */
#define ALIGN_DOWN(x, align) ((x) & ~((__typeof__(x))(align) - 1))
#define ALIGN_UP(x, align) ALIGN_DOWN((x) + ((__typeof__(x))(align) - 1), align)
#define IS_ALIGNED(x, align) (((x) & ((__typeof__(x))(align) - 1)) == 0)

#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))

#define container_of(ptr, type, member)                                                            \
	({                                                                                         \
		const __typeof__(((type *)0)->member) *member_ptr_ = (ptr);                        \
		(type *)((char *)(uintptr_t)member_ptr_ - offsetof(type, member));                 \
	})

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))

/* In a loop that waits for memory to change. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#else
	__asm__ volatile("" ::: "memory");
#endif
}

static inline bool is_pow2(u64 x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

/* Floor of the base-2 logarithm; @x must not be 0. */
static inline unsigned ilog2(u64 x)
{
	return 63u - (unsigned)__builtin_clzll(x);
}

/* Smallest power of two >= @x, for 1 <= @x <= 2^63. */
static inline u64 roundup_pow2(u64 x)
{
	return x <= 1 ? 1 : 1ull << (ilog2(x - 1) + 1);
}

/* Bytes and sectors of a folio of @order. */
static inline size_t order_size(unsigned order)
{
	return (size_t)SECTOR_SIZE << order;
}

static inline u32 order_sectors(unsigned order)
{
	return 1u << order;
}

/* Sectors that @bytes need, the last one possibly in part; cannot overflow. */
static inline u64 bytes_to_sectors_up(u64 bytes)
{
	return (bytes >> SECTOR_SHIFT) + ((bytes & SECTOR_MASK) != 0);
}

#endif
