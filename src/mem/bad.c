/*
 * Bad frames. See bad.h for the rule.
 *
 * 1. One bit a frame: set by the signal handler, cleared when the frame has been replaced. The
 *    bitmap is also the queue of what is to be dealt with, so it never overflows.
 * 2. mem_nr_bad is the number of bits: raised after its bit was set, lowered after it was cleared.
 *    Both by whoever really changed the bit.
 * 3. A guard is the jump buffer of the thread's innermost guarded call. It is left by siglongjmp()
 *    out of the handler of a signal that an access to memory raised: between two instructions of
 *    the guarded function, never inside a library's lock.
 *
 * Locks: none, all is atomic.
 */
#include "mem/bad.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/bitmap.h"
#include "base/err.h"
#include "stat/stat.h"

u32 mem_nr_bad;

static u64 *bad;         /* atomic words */
static u32 bad_frames;   /* bits in it */
static __thread sigjmp_buf *volatile guard;

/* ---- the bitmap ---- */

static void bad_set(u32 frame)
{
	u64 bit = 1ull << (frame % 64);

	if (!(__atomic_fetch_or(&bad[frame / 64], bit, __ATOMIC_SEQ_CST) & bit))
		__atomic_add_fetch(&mem_nr_bad, 1, __ATOMIC_SEQ_CST);
}

static void bad_clear(u32 frame)
{
	u64 bit = 1ull << (frame % 64);

	if (__atomic_fetch_and(&bad[frame / 64], ~bit, __ATOMIC_SEQ_CST) & bit)
		__atomic_sub_fetch(&mem_nr_bad, 1, __ATOMIC_SEQ_CST);
}

static u64 arena_bytes(void)
{
	return (u64)bad_frames << SECTOR_SHIFT;
}

bool mem_note_error(const void *addr, unsigned lsb)
{
	u64 len = 1ull << MIN(MAX(lsb, (unsigned)SECTOR_SHIFT), 30u);
	u64 base = (u64)(uintptr_t)mem_arena, at = ALIGN_DOWN((u64)(uintptr_t)addr, len);
	u64 from = MAX(at, base), to = MIN(at + len, base + arena_bytes());

	if (!bad || from >= to)
		return false;
	for (; from < to; from += SECTOR_SIZE)
		bad_set((u32)((from - base) >> SECTOR_SHIFT));
	return true;
}

bool mem_next_bad(u32 *frame)
{
	for (u32 i = *frame; i < bad_frames; i++) {
		u64 word = __atomic_load_n(&bad[i / 64], __ATOMIC_ACQUIRE) >> (i % 64);

		if (word & 1) {
			*frame = i;
			return true;
		}
		if (!word)
			i |= 63;
	}
	return false;
}

bool mem_is_bad(const void *addr, size_t len)
{
	u64 off = (u64)((const u8 *)addr - mem_arena);
	u32 frame = (u32)(off >> SECTOR_SHIFT);

	if (!mem_any_bad() || len == 0 || (const u8 *)addr < mem_arena || off >= arena_bytes())
		return false;
	return mem_next_bad(&frame) && (u64)frame << SECTOR_SHIFT < off + len;
}

/* ---- replacing ---- */

int mem_replace(void *addr, const void *contents)
{
	u8 *page = mmap(NULL, SECTOR_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			0);
	int err;

	ASSERT(IS_ALIGNED((u64)(uintptr_t)addr, (u64)SECTOR_SIZE));
	if (page == MAP_FAILED)
		return -errno;
	if (contents)
		memcpy(page, contents, SECTOR_SIZE);
	/* As the daemon does for the whole arena; a wish only. */
	(void)madvise(page, SECTOR_SIZE, MADV_DONTFORK);
	/* Others see the old page or the new one: whoever faults between waits for the kernel. */
	if (mremap(page, SECTOR_SIZE, SECTOR_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, addr) !=
	    MAP_FAILED) {
		bad_clear((u32)((u64)((u8 *)addr - mem_arena) >> SECTOR_SHIFT));
		stat_inc(STAT_MEMORY_REPLACED);
		return 0;
	}
	err = -errno;
	munmap(page, SECTOR_SIZE);
	return err;
}

/* ---- guards ---- */

int mem_guarded(void (*fn)(void *arg), void *arg)
{
	sigjmp_buf env;

	ASSERT(!guard);
	/* The mask is restored by who leaves: saving it here would be a system call. */
	if (sigsetjmp(env, 0)) {
		guard = NULL;
		return -EHWPOISON;
	}
	guard = &env;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	fn(arg);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	guard = NULL;
	return 0;
}

void mem_guard_leave(const void *context)
{
	const ucontext_t *before = context;

	if (!guard)
		return;
	pthread_sigmask(SIG_SETMASK, &before->uc_sigmask, NULL);
	siglongjmp(*guard, 1);
}

struct copy {
	u8 *to;
	const u8 *from;  /* NULL: zeroes */
	size_t len;
};

static void copy_run(void *arg)
{
	struct copy c = *(const struct copy *)arg;

	while (c.len) {
		/* Up to where one of the two may come to another frame: both are mostly aligned. */
		size_t n = MIN(c.len, SECTOR_SIZE - ((size_t)(uintptr_t)c.to & SECTOR_MASK));

		if (c.from)
			memcpy(c.to, c.from, n);
		else
			memset(c.to, 0, n);
		c.to += n;
		c.from = c.from ? c.from + n : NULL;
		c.len -= n;
	}
}

int mem_copy(void *to, const void *from, size_t len)
{
	struct copy c = { to, from, len };

	return mem_guarded(copy_run, &c);
}

int mem_zero(void *to, size_t len)
{
	struct copy c = { to, NULL, len };

	return mem_guarded(copy_run, &c);
}

/* ---- life ---- */

u64 bad_bytes(void)
{
	return BITMAP_WORDS((u64)bad_frames) * sizeof(u64);
}

int bad_init(u32 nr_frames)
{
	void *map;

	bad_frames = nr_frames;
	map = mmap(NULL, bad_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED) {
		bad_frames = 0;
		return -ENOMEM;
	}
	__atomic_store_n(&bad, (u64 *)map, __ATOMIC_RELEASE);
	return 0;
}

void bad_fini(void)
{
	u64 *map = bad;

	__atomic_store_n(&bad, NULL, __ATOMIC_RELEASE);
	if (map)
		munmap(map, bad_bytes());
	bad_frames = 0;
	mem_nr_bad = 0;
}
