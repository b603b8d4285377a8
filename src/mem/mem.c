/*
 * mem: arena, frame words, buddy allocator and descriptors of folios.
 *
 * Invariants (all under mem.lock unless they say otherwise):
 *  1. Every frame belongs to exactly one free block or one folio. A block of order k starts at a
 *     multiple of 2^k frames and has at most mem.max_order.
 *  2. free[k] has bit b exactly if the frames b << k .. are a free block of order k whose buddy is
 *     not a free block of order k (else they would be one block).
 *  3. The frame word of every frame of a folio holds the number of its descriptor; the word of the
 *     first frame of a free block holds its order; other words are 0. Words are read without the
 *     lock.
 *  4. The lowest block of the smallest order that fits is taken. Memory above the highest address
 *     ever needed is never touched, so the resident size grows only with use.
 *  5. Without MEM_RESERVE no allocation leaves less than mem.reserve frames in blocks of at least
 *     RESERVE_ORDER: the reserve is not only enough frames but frames in runs that hold a tree
 *     node. Smaller fragments are anybody's.
 *  6. Memory of descriptors is never given back before mem_fini(); refs is 0 while one is free.
 *  7. Free frames are poisoned for the address sanitizer.
 *  8. Claimed blocks are free blocks that are in no freemap and not counted as free, until the run
 *     that they lie in is released.
 *  9. A block with a bad frame (bad.h) is not handed out before its frames were replaced. Where
 *     that fails it is retired: no block any more, and nobody's.
 */
#include "mem/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/log.h"
#include "mem/bad.h"
#include "mem/freemap.h"
#include "stat/stat.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(addr, len) ((void)(addr), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(addr, len) ((void)(addr), (void)(len))
#endif

#define HUGE_SIZE (2ull << 20)
#define RESERVE_ORDER 2u   /* a tree node: NODE_SECTORS == 1 << 2 */
#define CHUNK_FOLIOS 1024u /* descriptors that come into use at once: 64 KiB */
#define MEM_MIN_BYTES (1ull << 20)
#define TABLE_HUGE (16ull << 20) /* tables from here on are in huge pages */

static_assert(1u << RESERVE_ORDER == NODE_SECTORS, "the reserve is in runs of one node");

/* Low bits of a frame word. */
enum frame_tag {
	FRAME_NONE = 0,  /* inside a free block */
	FRAME_FREE = 1,  /* first frame of a free block; the order is above the tag */
	FRAME_FOLIO = 2, /* the rest is the number of the descriptor in mem.folios */
	FRAME_CLAIMED = 3, /* as FRAME_FREE, but out of use: mem_run_claim() */
	FRAME_TAKEN = 4, /* nobody's, but about to get a folio: mem_move() */
	FRAME_RETIRED = 5, /* bad, and not to be replaced; the order is above the tag */
	FRAME_TAG_MASK = 7,
};
#define FRAME_TAG_SHIFT 3
static_assert((LIMIT_CACHE_MAX >> SECTOR_SHIFT) - 1 <= UINT32_MAX >> FRAME_TAG_SHIFT,
	      "each descriptor has a number that fits into a frame word");

static struct {
	struct mutex lock;
	u32 *word;            /* frame words */
	u32 nr_frames;
	unsigned max_order;
	unsigned reserve_order;
	u32 reserve;          /* frames */
	u32 nr_free;          /* frames, atomic for readers */
	u32 nr_retired;       /* frames */
	u32 nr_big;           /* of them in blocks of at least reserve_order */
	struct freemap free[FOLIO_NR_ORDERS];
	u32 nr_folios[FOLIO_NR_ORDERS]; /* atomic for readers */
	struct folio *spare;  /* free descriptors, linked by lru.tqe_next */
	struct folio *folios; /* room for one each frame, used from the start in chunks */
	u32 nr_chunks;        /* in use; atomic for readers */
} mem = { .lock = MUTEX_INIT(RANK_MEM) };

u8 *mem_arena;

static u64 frames_to_bytes(u32 frames)
{
	return (u64)frames << SECTOR_SHIFT;
}

static void word_set(u32 frame, u32 word)
{
	__atomic_store_n(&mem.word[frame], word, __ATOMIC_RELEASE);
}

/* ---- blocks (lock held) ---- */

static void count_free(u32 frames, unsigned order, int sign)
{
	u32 delta = sign < 0 ? -frames : frames;

	__atomic_store_n(&mem.nr_free, mem.nr_free + delta, __ATOMIC_RELAXED);
	if (order >= mem.reserve_order)
		mem.nr_big += delta;
}

static void block_add(u32 frame, unsigned order)
{
	freemap_set(&mem.free[order], frame >> order);
	word_set(frame, order << FRAME_TAG_SHIFT | FRAME_FREE);
	count_free(1u << order, order, 1);
}

static void block_remove(u32 frame, unsigned order)
{
	freemap_clear(&mem.free[order], frame >> order);
	word_set(frame, FRAME_NONE);
	count_free(1u << order, order, -1);
}

/* The smallest order of at least @order with a free block that @flags may use, or -1. */
static int block_pick(unsigned order, unsigned flags)
{
	u32 taken = 1u << MAX(order, mem.reserve_order);

	for (unsigned k = order; k <= mem.max_order; k++) {
		if (mem.free[k].count == 0)
			continue;
		if (k < mem.reserve_order || flags & MEM_RESERVE)
			return (int)k;
		return mem.nr_big >= mem.reserve + taken ? (int)k : -1;
	}
	return -1;
}

/* The frames of a block that is out of the freemaps are fit for use; if not it is retired. */
static bool block_mend(u32 frame, unsigned order)
{
	u32 end = frame + (1u << order);

	for (u32 i = frame; mem_next_bad(&i) && i < end;) {
		if (mem_replace(mem_arena + frames_to_bytes(i), NULL) == 0)
			continue;
		word_set(frame, order << FRAME_TAG_SHIFT | FRAME_RETIRED);
		mem.nr_retired += 1u << order;
		stat_add(STAT_MEMORY_RETIRED, 1ull << order);
		return false;
	}
	return true;
}

/* Takes the lowest block of order @have and gives back what is above order @want. */
static u32 block_take(unsigned have, unsigned want)
{
	u32 frame = freemap_first(&mem.free[have]) << have;

	block_remove(frame, have);
	while (have > want) {
		have--;
		block_add(frame + (1u << have), have);
		stat_inc(STAT_BUDDY_SPLITS);
	}
	return frame;
}

static void block_give(u32 frame, unsigned order)
{
	while (order < mem.max_order) {
		u32 buddy = frame ^ (1u << order);

		if (!freemap_test(&mem.free[order], buddy >> order))
			break;
		block_remove(buddy, order);
		frame &= ~(1u << order);
		order++;
		stat_inc(STAT_BUDDY_MERGES);
	}
	block_add(frame, order);
}

/* A block of exactly this order, out of the freemaps; false: there is none. */
static bool block_get(unsigned order, unsigned flags, u32 *frame)
{
	int have;

	while ((have = block_pick(order, flags)) >= 0) {
		*frame = block_take((unsigned)have, order);
		if (!mem_any_bad() || block_mend(*frame, order))
			return true;
	}
	return false;
}

/* ---- descriptors (lock held) ---- */

static bool spare_refill(void)
{
	struct folio *chunk = mem.folios + (u64)mem.nr_chunks * CHUNK_FOLIOS;

	if ((u64)mem.nr_chunks * CHUNK_FOLIOS >= mem.nr_frames)
		return false;
	for (u32 i = CHUNK_FOLIOS; i-- > 0;) {
		chunk[i].lru.tqe_next = mem.spare;
		mem.spare = &chunk[i];
	}
	__atomic_store_n(&mem.nr_chunks, mem.nr_chunks + 1, __ATOMIC_RELAXED);
	return true;
}

/*
 * Somebody with an old pointer may look at any field but the private ones at any time, so those are
 * stored atomically. refs is still 0, and goes last: only who sees it non-zero may rely on the
 * rest.
 */
static void folio_setup(struct folio *f, u32 frame, unsigned order)
{
	__atomic_store_n(&f->flags, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&f->index, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&f->order, (u8)order, __ATOMIC_RELAXED);
	__atomic_store_n(&f->last_hit, 0, __ATOMIC_RELAXED);
	f->frame = frame;
	f->nr_writeback = 0;
	f->state = NULL;
	f->priv = NULL;
}

static void words_fill(u32 frame, unsigned order, u32 word)
{
	for (u32 i = 0; i < 1u << order; i++)
		word_set(frame + i, word);
}

static u32 folio_word(const struct folio *f)
{
	return (u32)(f - mem.folios) << FRAME_TAG_SHIFT | FRAME_FOLIO;
}

static void count_folios(unsigned order, int change)
{
	__atomic_store_n(&mem.nr_folios[order], mem.nr_folios[order] + (u32)change,
			 __ATOMIC_RELAXED);
}

static struct folio *spare_take(void)
{
	struct folio *f;

	if (!mem.spare && !spare_refill())
		return NULL;
	f = mem.spare;
	mem.spare = f->lru.tqe_next;
	return f;
}

static struct folio *alloc_locked(unsigned order, unsigned flags)
{
	struct folio *f = spare_take();
	u32 frame;

	if (f && !block_get(order, flags, &frame)) {
		f->lru.tqe_next = mem.spare;
		mem.spare = f;
		f = NULL;
	}
	if (!f)
		return NULL;
	words_fill(frame, order, folio_word(f));
	count_folios(order, 1);
	folio_setup(f, frame, order);
	__atomic_store_n(&f->refs, 1, __ATOMIC_RELEASE);
	return f;
}

/* ---- public ---- */

struct folio *mem_alloc(unsigned order, unsigned flags)
{
	struct folio *f;

	ASSERT(order <= mem.max_order);
	mutex_lock(&mem.lock);
	f = alloc_locked(order, flags);
	mutex_unlock(&mem.lock);
	if (!f) {
		stat_inc(STAT_FOLIO_ALLOC_FAILS);
		return NULL;
	}
	ASAN_UNPOISON_MEMORY_REGION(folio_data(f), folio_bytes(f));
	stat_inc(STAT_FOLIO_ALLOC_O0 + order);
	return f;
}

void mem_free(struct folio *f)
{
	ASSERT(__atomic_load_n(&f->refs, __ATOMIC_ACQUIRE) == 0);
	ASSERT(f->mapping == NULL);
	ASSERT(f->state == NULL);
	ASAN_POISON_MEMORY_REGION(folio_data(f), folio_bytes(f));
	mutex_lock(&mem.lock);
	words_fill(f->frame, f->order, FRAME_NONE);
	count_folios(f->order, -1);
	block_give(f->frame, f->order);
	f->lru.tqe_next = mem.spare;
	mem.spare = f;
	mutex_unlock(&mem.lock);
}

/* ---- other shapes and places ---- */

struct folio *mem_split(struct folio *f)
{
	struct folio *g;

	ASSERT(__atomic_load_n(&f->refs, __ATOMIC_RELAXED) == 0 && f->order > 0);
	mutex_lock(&mem.lock);
	g = spare_take();
	if (g) {
		count_folios(f->order, -1);
		__atomic_store_n(&f->order, (u8)(f->order - 1), __ATOMIC_RELAXED);
		count_folios(f->order, 2);
		folio_setup(g, f->frame + folio_sectors(f), f->order);
		words_fill(g->frame, g->order, folio_word(g));
	}
	mutex_unlock(&mem.lock);
	return g;
}

/* Frames of this order that are nobody's until they get a word; false when there are none. */
static bool frames_take(unsigned order, u32 *frame)
{
	bool got;

	mutex_lock(&mem.lock);
	got = block_get(order, 0, frame);
	if (got)
		words_fill(*frame, order, FRAME_TAKEN);
	mutex_unlock(&mem.lock);
	return got;
}

static void frames_give(u32 frame, unsigned order)
{
	ASAN_POISON_MEMORY_REGION(mem_arena + frames_to_bytes(frame), frames_to_bytes(1u << order));
	mutex_lock(&mem.lock);
	words_fill(frame, order, FRAME_NONE);
	block_give(frame, order);
	mutex_unlock(&mem.lock);
}

bool mem_move(struct folio *f)
{
	u32 from = f->frame, to;
	void *old = folio_data(f);

	ASSERT(__atomic_load_n(&f->refs, __ATOMIC_RELAXED) == 0);
	if (f->order > MEM_MOVE_ORDER || !frames_take(f->order, &to))
		return false;
	f->frame = to;
	ASAN_UNPOISON_MEMORY_REGION(folio_data(f), folio_bytes(f));
	if (mem_copy(folio_data(f), old, folio_bytes(f))) {
		f->frame = from;
		frames_give(to, f->order);
		return false;
	}
	ASAN_POISON_MEMORY_REGION(old, folio_bytes(f));
	mutex_lock(&mem.lock);
	words_fill(to, f->order, folio_word(f));
	words_fill(from, f->order, FRAME_NONE);
	word_set(from, (u32)f->order << FRAME_TAG_SHIFT | FRAME_CLAIMED);
	mutex_unlock(&mem.lock);
	return true;
}

/* Calls what for each block of the run whose first word has this tag. A block of a higher order
 * than the run's is its buddy's or the run itself. */
static void run_walk(u32 frame, unsigned order, enum frame_tag tag,
		     void (*what)(u32 frame, unsigned order))
{
	u32 end = frame + (1u << order);

	while (frame < end) {
		u32 word = mem.word[frame];
		unsigned k = word >> FRAME_TAG_SHIFT;

		if ((word & FRAME_TAG_MASK) != tag) {
			frame++;
			continue;
		}
		what(frame, k);
		frame += 1u << k;
	}
}

static void block_claim(u32 frame, unsigned order)
{
	block_remove(frame, order);
	word_set(frame, order << FRAME_TAG_SHIFT | FRAME_CLAIMED);
}

static void block_release(u32 frame, unsigned order)
{
	word_set(frame, FRAME_NONE);
	block_give(frame, order);
}

void mem_run_claim(u32 frame, unsigned order)
{
	mutex_lock(&mem.lock);
	run_walk(frame, order, FRAME_FREE, block_claim);
	mutex_unlock(&mem.lock);
}

void mem_run_release(u32 frame, unsigned order)
{
	mutex_lock(&mem.lock);
	run_walk(frame, order, FRAME_CLAIMED, block_release);
	mutex_unlock(&mem.lock);
}

int mem_replace_free(u32 frame)
{
	u32 tag;
	int r = -EBUSY;

	mutex_lock(&mem.lock);
	tag = mem.word[frame] & FRAME_TAG_MASK;
	if (tag != FRAME_FOLIO && tag != FRAME_TAKEN)
		r = mem_replace(mem_arena + frames_to_bytes(frame), NULL);
	mutex_unlock(&mem.lock);
	return r;
}

struct folio *mem_folio_at(u32 frame)
{
	u32 word;

	ASSERT(frame < mem.nr_frames);
	word = __atomic_load_n(&mem.word[frame], __ATOMIC_ACQUIRE);
	if ((word & FRAME_TAG_MASK) != FRAME_FOLIO)
		return NULL;
	return mem.folios + (word >> FRAME_TAG_SHIFT);
}

struct folio *mem_folio_of(const void *addr)
{
	u64 off = (u64)((const u8 *)addr - mem_arena);

	if ((const u8 *)addr < mem_arena || off >= frames_to_bytes(mem.nr_frames))
		return NULL;
	return mem_folio_at((u32)(off >> SECTOR_SHIFT));
}

unsigned mem_max_order(void)
{
	return mem.max_order;
}

u32 mem_nr_frames(void)
{
	return mem.nr_frames;
}

u64 mem_total_bytes(void)
{
	return frames_to_bytes(mem.nr_frames);
}

u64 mem_free_bytes(void)
{
	return frames_to_bytes(__atomic_load_n(&mem.nr_free, __ATOMIC_RELAXED));
}

u64 mem_reserve_bytes(void)
{
	return frames_to_bytes(mem.reserve);
}

u64 mem_used_bytes(void)
{
	return mem_total_bytes() - mem_free_bytes();
}

u64 mem_folios_of_order(unsigned order)
{
	return __atomic_load_n(&mem.nr_folios[order], __ATOMIC_RELAXED);
}

void *mem_base(void)
{
	return mem_arena;
}

u64 mem_len(void)
{
	return mem_total_bytes();
}

static u64 words_bytes(void)
{
	return (u64)mem.nr_frames * sizeof(*mem.word);
}

u64 mem_overhead_bytes(void)
{
	u64 bytes = words_bytes() + bad_bytes();

	for (unsigned k = 0; k <= mem.max_order; k++)
		bytes += freemap_bytes(&mem.free[k]);
	return bytes + (u64)__atomic_load_n(&mem.nr_chunks, __ATOMIC_RELAXED) * CHUNK_FOLIOS *
			       sizeof(struct folio);
}

/* ---- set up and tear down ---- */

/* Reserves @bytes at a multiple of 2 MiB, so that huge pages fit, and opens them for use. */
static int arena_map(u64 bytes)
{
	u64 span = ALIGN_UP(bytes, HUGE_SIZE) + HUGE_SIZE;
	u8 *raw = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	u8 *base;

	if (raw == MAP_FAILED)
		return -ENOMEM;
	base = (u8 *)(uintptr_t)ALIGN_UP((u64)(uintptr_t)raw, HUGE_SIZE);
	if (base > raw)
		munmap(raw, (size_t)(base - raw));
	munmap(base + bytes, (size_t)(raw + span - (base + bytes)));
	if (mprotect(base, bytes, PROT_READ | PROT_WRITE)) {
		munmap(base, bytes);
		return -ENOMEM;
	}
	/* A wish only: without huge pages everything works the same. */
	if (madvise(base, bytes, MADV_HUGEPAGE))
		log_debug("the cache gets no transparent huge pages: %s", err_text(errno));
	mem_arena = base;
	return 0;
}

/*
 * Address space that comes into being where it is touched; in huge pages if it is so large that
 * looking up its pages would be felt at each hit.
 */
static void *table_map(u64 bytes)
{
	u8 *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	if (bytes >= TABLE_HUGE && madvise(at, bytes, MADV_HUGEPAGE))
		log_debug("a table gets no transparent huge pages: %s", err_text(errno));
	return at;
}

static u64 folios_bytes(void)
{
	return ALIGN_UP((u64)mem.nr_frames, (u64)CHUNK_FOLIOS) * sizeof(struct folio);
}

static int tables_alloc(void)
{
	int err = bad_init(mem.nr_frames);

	if (err)
		return err;
	mem.word = table_map(words_bytes());
	mem.folios = table_map(folios_bytes());
	if (!mem.word || !mem.folios)
		return -ENOMEM;
	for (unsigned k = 0; k <= mem.max_order; k++) {
		err = freemap_init(&mem.free[k], DIV_ROUND_UP(mem.nr_frames, 1u << k));
		if (err)
			return err;
	}
	return 0;
}

static void tables_free(void)
{
	for (unsigned k = 0; k < FOLIO_NR_ORDERS; k++)
		freemap_fini(&mem.free[k]);
	if (mem.word)
		munmap(mem.word, words_bytes());
	if (mem.folios)
		munmap(mem.folios, folios_bytes());
	mem.word = NULL;
	mem.folios = NULL;
	bad_fini();
	if (mem_arena)
		munmap(mem_arena, mem_total_bytes());
	mem_arena = NULL;
}

/* All frames as blocks as large as alignment and the end allow. */
static void blocks_init(void)
{
	u32 frame = 0;

	while (frame < mem.nr_frames) {
		unsigned order = mem.max_order;

		while (!IS_ALIGNED(frame, 1u << order) || frame + (1u << order) > mem.nr_frames)
			order--;
		block_add(frame, order);
		frame += 1u << order;
	}
}

static unsigned default_max_order(u64 bytes)
{
	u64 sectors = bytes / 64 / SECTOR_SIZE;

	return sectors ? MIN(ilog2(sectors), (unsigned)FOLIO_MAX_ORDER) : 0;
}

static u64 default_reserve(u64 bytes)
{
	return MIN(MAX(bytes / 32, (u64)256 << 10), (u64)16 << 20);
}

int mem_init(const struct mem_config *cfg)
{
	u64 reserve = cfg->reserve_bytes ? cfg->reserve_bytes : default_reserve(cfg->bytes);
	u64 frames = cfg->bytes >> SECTOR_SHIFT;
	int err;

	ASSERT(mem_arena == NULL);
	if (cfg->bytes < MEM_MIN_BYTES || cfg->bytes > LIMIT_CACHE_MAX || reserve >= cfg->bytes)
		return -EINVAL;
	if (cfg->max_order != 0xff && cfg->max_order > FOLIO_MAX_ORDER)
		return -EINVAL;
	mem.nr_frames = (u32)frames;
	mem.max_order = cfg->max_order != 0xff ? cfg->max_order : default_max_order(cfg->bytes);
	mem.reserve_order = MIN(RESERVE_ORDER, mem.max_order);
	mem.reserve = (u32)(reserve >> SECTOR_SHIFT);
	err = arena_map(mem_total_bytes());
	if (!err)
		err = tables_alloc();
	if (err) {
		tables_free();
		return err;
	}
	blocks_init();
	ASAN_POISON_MEMORY_REGION(mem_arena, mem_total_bytes());
	return 0;
}

void mem_fini(void)
{
	if (!mem_arena)
		return;
	ASSERT(mem.nr_free + mem.nr_retired == mem.nr_frames);
	ASAN_UNPOISON_MEMORY_REGION(mem_arena, mem_total_bytes());
	tables_free();
	mem.spare = NULL;
	mem.nr_chunks = mem.nr_retired = mem.nr_free = mem.nr_big = mem.nr_frames = 0;
}
