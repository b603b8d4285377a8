/*
 * Reads that end later, over a fake file (fakefile.h) on a real file, so that they are under way
 * for a while: who gets what, and that nobody waits for himself.
 */
#include "check_main.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/block.h"
#include "base/log.h"
#include "fakefile.h"
#include "mem/mem.h"
#include "stat/stat.h"

#define SECTORS 256u
#define MAX_READS 256u

static struct blk_dev *dev;
static struct fakefile ff;
static u8 *model;

struct result {
	struct iomap_pending *p;        /* set by done() */
	bool begun;
	u64 pos;
};
static struct result result[MAX_READS];

struct wanted {
	struct iomap_async async;
	struct result *result;
};

static void save(const struct iomap_async *a, void *own)
{
	*(struct result **)own = container_of(a, struct wanted, async)->result;
}

static void done(struct iomap_pending *p)
{
	struct result *r = *(struct result **)p->own;

	ck_assert_ptr_null(r->p);
	r->p = p;
}

/* nr sectors with blocks of one, written and out of the cache. */
static void setup(u32 nr)
{
	dev = fake_disk(4u << 20);
	fake_init(&ff, dev, 1, false);
	model = malloc(SECTORS * SECTOR_SIZE);
	for (u32 i = 0; i < SECTORS * SECTOR_SIZE; i++)
		model[i] = (u8)(i * 2654435761u >> 22);
	ck_assert_int_eq(iomap_write(&ff.file, 0, model, (u64)nr * SECTOR_SIZE),
			 (ssize_t)(nr * SECTOR_SIZE));
	ck_assert_int_eq(iomap_writeback(&ff.file, 0, UINT64_MAX, IOMAP_WB_WAIT, 0, NULL), 0);
	cache_drop_clean(&ff.file.mapping, 0, UINT64_MAX);
	memset(result, 0, sizeof(result));
}

static void teardown(void)
{
	fake_fini(&ff);
	blk_close(dev);
	cache_fini();
	free(model);
}

/* Begins a read; what it returns. Slices that it gives at once are compared and put. */
static int begin(struct result *r, u64 pos, u64 len)
{
	const struct wanted w = { { done, save, sizeof(struct result *) }, r };
	struct iomap_slice slice[64];
	u64 bytes = 0, at = pos;
	int n;

	r->pos = pos;
	n = iomap_read_slices(&ff.file, pos, len, NULL, &w.async, slice, ARRAY_LEN(slice), &bytes);
	r->begun = n == -EINPROGRESS;
	for (int i = 0; i < n; i++) {
		ck_assert_int_eq(memcmp(slice[i].data, model + at, slice[i].len), 0);
		at += slice[i].len;
		if (slice[i].folio)
			folio_put(slice[i].folio);
	}
	return n;
}

static void reap(struct result *r)
{
	struct ring *ring;

	while (r->begun && !r->p) {
		ck_assert_int_eq(ring_local(&ring), 0);
		ring_reap(ring, true);
	}
}

static void compare_and_free(struct result *r)
{
	u64 at = r->pos;

	ck_assert(r->p->good);
	for (unsigned i = 0; i < r->p->nr; i++) {
		const struct iomap_slice *s = &r->p->slices[i];

		ck_assert_int_eq(memcmp(s->data, model + at, s->len), 0);
		at += s->len;
	}
	ck_assert_uint_eq(at - r->pos, r->p->bytes);
	iomap_pending_free(r->p);
}

START_TEST(a_read_of_what_is_not_cached_ends_later_with_every_byte)
{
	setup(64);
	ck_assert_int_eq(begin(&result[0], 3 * SECTOR_SIZE + 7, 20 * SECTOR_SIZE), -EINPROGRESS);
	reap(&result[0]);
	compare_and_free(&result[0]);
	ck_assert_int_gt(begin(&result[1], 3 * SECTOR_SIZE + 7, 20 * SECTOR_SIZE), 0);
	teardown();
}
END_TEST

START_TEST(reads_of_one_thread_are_under_way_together_and_read_each_sector_once)
{
	u64 before;

	setup(SECTORS);
	before = stat_read(STAT_READ_BYTES_DATA);
	for (u32 i = 0; i < 32; i++)
		ck_assert_int_eq(begin(&result[i], (u64)i * 5 * SECTOR_SIZE, 100), -EINPROGRESS);
	for (u32 i = 0; i < 32; i++)
		reap(&result[i]);
	ck_assert_uint_eq(stat_read(STAT_READ_BYTES_DATA) - before, 32 * SECTOR_SIZE);
	for (u32 i = 0; i < 32; i++)
		compare_and_free(&result[i]);
	teardown();
}
END_TEST

START_TEST(holes_in_the_range_are_part_of_it)
{
	setup(8);
	ck_assert_int_eq(iomap_write(&ff.file, 12 * SECTOR_SIZE, model + 12 * SECTOR_SIZE,
				     SECTOR_SIZE), (ssize_t)SECTOR_SIZE);
	memset(model + 8 * SECTOR_SIZE, 0, 4 * SECTOR_SIZE);
	ck_assert_int_eq(begin(&result[0], 6 * SECTOR_SIZE, 7 * SECTOR_SIZE), -EINPROGRESS);
	reap(&result[0]);
	compare_and_free(&result[0]);
	teardown();
}
END_TEST

/* Of the file's first sector, which stays in the cache. */
static struct folio *slice_folio(u64 sector)
{
	struct folio *f = cache_find(&ff.file.mapping, sector);

	ck_assert_ptr_nonnull(f);
	folio_put(f);
	return f;
}

static void settle_hook(void *arg)
{
	(void)arg;
	ring_settle();
}

/* Would never end if the thread waited for the folio that it has locked itself. */
START_TEST(who_sleeps_on_a_folio_of_its_own_read_ends_the_read_first)
{
	setup(64);
	block_hook_set(settle_hook, NULL);
	ck_assert_int_eq(begin(&result[0], 0, 8 * SECTOR_SIZE), -EINPROGRESS);
	/* The same folio: the second read waits for its lock and then has a hit. */
	ck_assert_int_gt(begin(&result[1], SECTOR_SIZE, SECTOR_SIZE), 0);
	ck_assert_ptr_nonnull(result[0].p);
	compare_and_free(&result[0]);
	cache_drop_clean(&ff.file.mapping, 0, UINT64_MAX);
	ck_assert_int_eq(begin(&result[2], 0, 8 * SECTOR_SIZE), -EINPROGRESS);
	ff.file.size = 0;
	ck_assert_int_eq(iomap_truncate_cache(&ff.file, 0), 0);
	ck_assert_ptr_nonnull(result[2].p);
	compare_and_free(&result[2]);
	block_hook_set(NULL, NULL);
	teardown();
}
END_TEST

START_TEST(who_waits_for_a_folio_that_is_read_waits_for_io)
{
	u64 io, other;

	setup(64);
	block_hook_set(settle_hook, NULL);
	io = stat_read(STAT_FOLIO_LOCK_IO_WAITS);
	other = stat_read(STAT_FOLIO_LOCK_WAITS);
	ck_assert_int_eq(begin(&result[0], 0, 8 * SECTOR_SIZE), -EINPROGRESS);
	ck_assert_int_gt(begin(&result[1], SECTOR_SIZE, SECTOR_SIZE), 0);
	ck_assert_uint_eq(stat_read(STAT_FOLIO_LOCK_IO_WAITS) - io, 1);
	ck_assert_uint_eq(stat_read(STAT_FOLIO_LOCK_WAITS), other);
	compare_and_free(&result[0]);
	/* And not for longer than the lock. */
	ck_assert(!folio_has(slice_folio(0), FOLIO_READING));
	block_hook_set(NULL, NULL);
	teardown();
}
END_TEST

START_TEST(what_does_not_match_its_checksum_is_left_to_the_waiting_read)
{
	static u8 sector[SECTOR_SIZE] __attribute__((aligned(SECTOR_SIZE)));
	u8 byte;

	setup(16);
	ck_assert_int_eq(blk_read(dev, ff.disk[7], sector, 1, BLK_DATA), 0);
	sector[5] ^= 4;
	ck_assert_int_eq(blk_write(dev, ff.disk[7], sector, 1, BLK_DATA), 0);
	ck_assert_int_eq(begin(&result[0], 0, 16 * SECTOR_SIZE), -EINPROGRESS);
	reap(&result[0]);
	ck_assert(!result[0].p->good);
	iomap_pending_free(result[0].p);
	ck_assert_int_eq(iomap_read(&ff.file, 7 * SECTOR_SIZE, &byte, 1, NULL), -EIO);
	ck_assert_int_gt(begin(&result[1], 8 * SECTOR_SIZE, 8 * SECTOR_SIZE), 0);
	teardown();
}
END_TEST

static int fail_reads(void *arg, const struct blk_fault *f)
{
	(void)arg;
	return f->op == BLK_FAULT_READ ? -EIO : 0;
}

START_TEST(what_can_not_be_read_is_left_to_the_waiting_read)
{
	u8 byte;

	setup(16);
	blk_fault_set(dev, fail_reads, NULL);
	ck_assert_int_eq(begin(&result[0], 0, SECTOR_SIZE), -EINPROGRESS);
	reap(&result[0]);
	ck_assert(!result[0].p->good);
	iomap_pending_free(result[0].p);
	ck_assert_int_eq(iomap_read(&ff.file, 0, &byte, 1, NULL), -EIO);
	blk_fault_set(dev, NULL, NULL);
	ck_assert_int_eq(iomap_read(&ff.file, 0, &byte, 1, NULL), 1);
	teardown();
}
END_TEST

START_TEST(reads_under_way_hold_at_most_an_eighth_of_the_cache)
{
	u64 held = 0;
	u32 nr = 0;

	setup(SECTORS);
	ck_assert_uint_eq(mem_total_bytes() / 8, SECTORS / 2 * SECTOR_SIZE);
	while (nr < MAX_READS && begin(&result[nr], (u64)nr * SECTOR_SIZE, SECTOR_SIZE) < 0) {
		ck_assert(result[nr].begun);
		held += result[nr++].begun ? SECTOR_SIZE : 0;
	}
	ck_assert_uint_eq(held, mem_total_bytes() / 8);
	for (u32 i = 0; i < nr; i++) {
		reap(&result[i]);
		compare_and_free(&result[i]);
	}
	/* And then there is room again. */
	cache_drop_clean(&ff.file.mapping, 0, UINT64_MAX);
	result[0].p = NULL;
	ck_assert_int_eq(begin(&result[0], 0, (u64)SECTORS / 4 * SECTOR_SIZE), -EINPROGRESS);
	reap(&result[0]);
	compare_and_free(&result[0]);
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pending");

	log_set_level(LOG_LEVEL_ERR);
	check_add(s, a_read_of_what_is_not_cached_ends_later_with_every_byte);
	check_add(s, reads_of_one_thread_are_under_way_together_and_read_each_sector_once);
	check_add(s, holes_in_the_range_are_part_of_it);
	check_add(s, who_sleeps_on_a_folio_of_its_own_read_ends_the_read_first);
	check_add(s, who_waits_for_a_folio_that_is_read_waits_for_io);
	check_add(s, what_does_not_match_its_checksum_is_left_to_the_waiting_read);
	check_add(s, what_can_not_be_read_is_left_to_the_waiting_read);
	check_add(s, reads_under_way_hold_at_most_an_eighth_of_the_cache);
	return check_main(s);
}
