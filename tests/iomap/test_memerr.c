/*
 * Memory errors over a fake file. A frame that the machine lost is made by mapping a file without
 * contents there: like a frame that the kernel has taken away it raises SIGBUS at every access,
 * and system calls that copy from it fail with EFAULT. Where the kernel injects real ones
 * (MADV_HWPOISON) the same is done with them.
 */
#include "check_main.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "fakefile.h"
#include "mem/bad.h"
#include "stat/stat.h"

#define NR 32u                  /* sectors of the file: one folio, where folios may be so large */
#define BYTES (NR * (u32)SECTOR_SIZE)

static struct blk_dev *dev;
static struct fakefile ff;
static u8 *want, *got;
static int nothing = -1;        /* a file without contents */
static u32 nr_bus;              /* atomic */

static void on_bus(int sig UNUSED, siginfo_t *si, void *context)
{
	__atomic_add_fetch(&nr_bus, 1, __ATOMIC_RELAXED);
	if (mem_note_error(si->si_addr, SECTOR_SHIFT))
		mem_guard_leave(context);
	signal(SIGBUS, SIG_DFL);
}

static void setup(void)
{
	struct cache_config cfg = { .bytes = 8u << 20, .max_order = 5 };
	struct sigaction sa = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };

	ck_assert_int_eq(cache_init(&cfg), 0);
	ck_assert_int_eq(blk_open("ram:32M", BLK_RDWR, NULL, &dev), 0);
	fake_init(&ff, dev, 1, false);
	want = malloc(BYTES);
	got = malloc(BYTES);
	nothing = memfd_create("nothing", 0);
	sigaction(SIGBUS, &sa, NULL);
	__atomic_store_n(&nr_bus, 0, __ATOMIC_RELAXED);
}

static void teardown(void)
{
	fake_fini(&ff);
	blk_close(dev);
	cache_fini();
	close(nothing);
	free(want);
	free(got);
}

static void scribble(u8 *p, u32 len, u32 seed)
{
	u32 x = seed | 1;

	for (u32 i = 0; i < len; i++)
		p[i] = (u8)(fake_random(&x) | 1);
}

/* The whole file, cached and dirty. */
static void write_all(u32 seed)
{
	scribble(want, BYTES, seed);
	ck_assert_int_eq(iomap_write(&ff.file, 0, want, BYTES), (ssize_t)BYTES);
}

static int write_back(void)
{
	return iomap_writeback(&ff.file, 0, UINT64_MAX, IOMAP_WB_WAIT, 0, NULL);
}

static void write_clean(u32 seed)
{
	write_all(seed);
	ck_assert_int_eq(write_back(), 0);
}

static u8 *addr_of(u32 sector)
{
	struct folio *f = cache_find(&ff.file.mapping, sector);
	u8 *at;

	ck_assert_ptr_nonnull(f);
	at = (u8 *)folio_data(f) + ((sector - f->index) << SECTOR_SHIFT);
	folio_put(f);
	return at;
}

/* The kernel has taken the frame away, and nobody has been told. */
static void take_away(u8 *at)
{
	ck_assert_ptr_eq(mmap(at, SECTOR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			      nothing, 0), at);
}

/* As the signal that comes in the background. */
static void lose_at(u8 *at)
{
	take_away(at);
	ck_assert(mem_note_error(at + 100, SECTOR_SHIFT));
}

static void check_reads(u32 first, u32 nr)
{
	u64 pos = (u64)first << SECTOR_SHIFT, len = (u64)nr << SECTOR_SHIFT;

	ck_assert_int_eq(iomap_read(&ff.file, pos, got, len, NULL), (ssize_t)len);
	ck_assert_mem_eq(got, want + pos, len);
}

static void check_eio(u32 sector)
{
	ck_assert_int_eq(iomap_read(&ff.file, (u64)sector << SECTOR_SHIFT, got, 1, NULL), -EIO);
}

/* ---- clean ---- */

START_TEST(clean_sector_is_read_again)
{
	u64 reported = corrupt_count(WHY_MEM_CLEAN);

	setup();
	write_clean(1);
	lose_at(addr_of(7));
	ck_assert_uint_eq(mem_nr_bad, 1);
	ck_assert_uint_eq(cache_mend_memory(), 0);
	ck_assert_uint_eq(mem_nr_bad, 0);
	check_reads(0, NR);
	ck_assert_uint_eq(nr_bus, 0);
	ck_assert_int_eq(write_back(), 0);
	ck_assert_uint_eq(corrupt_count(WHY_MEM_CLEAN), reported + 1);
	teardown();
}
END_TEST

START_TEST(reader_that_comes_first_mends_itself)
{
	setup();
	write_clean(2);
	lose_at(addr_of(0));
	check_reads(0, NR);
	ck_assert_uint_eq(mem_nr_bad, 0);
	ck_assert_uint_eq(nr_bus, 0);
	teardown();
}
END_TEST

START_TEST(copy_that_comes_upon_it_is_done_again)
{
	setup();
	write_clean(3);
	take_away(addr_of(NR - 1));
	check_reads(0, NR);
	ck_assert_uint_eq(nr_bus, 1);
	/* And again: the signal is not blocked afterwards. */
	take_away(addr_of(1));
	check_reads(0, NR);
	ck_assert_uint_eq(nr_bus, 2);
	ck_assert_uint_eq(mem_nr_bad, 0);
	teardown();
}
END_TEST

START_TEST(system_call_never_gets_other_bytes)
{
	int fds[2];
	u8 *at;

	setup();
	write_clean(4);
	at = addr_of(3);
	lose_at(at);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(write(fds[1], at, SECTOR_SIZE), -1);
	ck_assert_int_eq(errno, EFAULT);
	ck_assert_uint_eq(cache_mend_memory(), 0);
	ck_assert_int_eq(write(fds[1], at, SECTOR_SIZE), (int)SECTOR_SIZE);
	ck_assert_int_eq(read(fds[0], got, SECTOR_SIZE), (int)SECTOR_SIZE);
	ck_assert_mem_eq(got, want + 3 * SECTOR_SIZE, SECTOR_SIZE);
	close(fds[0]);
	close(fds[1]);
	teardown();
}
END_TEST

/* ---- dirty ---- */

static void lose_dirty(u32 sector)
{
	lose_at(addr_of(sector));
	ck_assert_uint_eq(cache_mend_memory(), 0);
}

START_TEST(dirty_sector_is_lost_alone_and_said_until_rewritten)
{
	setup();
	write_clean(5);
	write_all(6);
	lose_dirty(9);
	check_eio(9);
	check_reads(0, 9);
	check_reads(10, NR - 10);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(write_back(), -EIO);
	ck_assert_uint_eq(ff.file.mapping.nr_dirty, 0);
	/* Nothing brings back the version before. */
	cache_evict(8u << 20);
	check_eio(9);
	/* A part of it can't be written, for the rest is unknown. */
	ck_assert_int_eq(iomap_write(&ff.file, 9 * SECTOR_SIZE + 5, want, 10), -EIO);
	scribble(want + 9 * SECTOR_SIZE, SECTOR_SIZE, 60);
	ck_assert_int_eq(iomap_write(&ff.file, 9 * SECTOR_SIZE, want + 9 * SECTOR_SIZE,
				     SECTOR_SIZE), (ssize_t)SECTOR_SIZE);
	ck_assert_uint_eq(mem_nr_bad, 0);
	check_reads(0, NR);
	ck_assert_int_eq(write_back(), 0);
	cache_evict(8u << 20);
	check_reads(0, NR);
	teardown();
}
END_TEST

START_TEST(partly_dirty_folio_loses_by_sector)
{
	setup();
	write_clean(7);
	scribble(want + 4 * SECTOR_SIZE, SECTOR_SIZE, 70);
	ck_assert_int_eq(iomap_write(&ff.file, 4 * SECTOR_SIZE, want + 4 * SECTOR_SIZE,
				     SECTOR_SIZE), (ssize_t)SECTOR_SIZE);
	lose_at(addr_of(4));
	lose_at(addr_of(5));
	ck_assert_uint_eq(cache_mend_memory(), 0);
	ck_assert_uint_eq(mem_nr_bad, 1);
	check_eio(4);
	check_reads(0, 4);
	check_reads(5, NR - 5);
	teardown();
}
END_TEST

START_TEST(write_stops_before_a_sector_that_it_does_not_cover)
{
	u32 pos = 2 * SECTOR_SIZE, len = 2 * SECTOR_SIZE + 100;

	setup();
	write_clean(8);
	write_all(9);
	take_away(addr_of(4));
	scribble(want + pos, len, 90);
	ck_assert_int_eq(iomap_write(&ff.file, pos, want + pos, len), (ssize_t)(2 * SECTOR_SIZE));
	check_eio(4);
	check_reads(0, 4);
	check_reads(5, NR - 5);
	teardown();
}
END_TEST

START_TEST(writeback_never_writes_what_was_lost)
{
	setup();
	write_clean(10);
	memcpy(got, want, BYTES);
	write_all(11);
	take_away(addr_of(12));
	ck_assert_int_eq(write_back(), -EIO);
	ck_assert_uint_eq(nr_bus, 1);
	ck_assert_int_eq(write_back(), -EIO);
	ck_assert_uint_eq(ff.file.mapping.nr_dirty, 0);
	check_eio(12);
	/* The disk has the old version of this one, and the new one of all others. */
	memcpy(want + 12 * SECTOR_SIZE, got + 12 * SECTOR_SIZE, SECTOR_SIZE);
	cache_drop(&ff.file.mapping, 0, UINT64_MAX);
	ck_assert_int_eq(ff.file.mapping.error, 0);
	ck_assert_int_eq(iomap_read(&ff.file, 0, got, BYTES, NULL), (ssize_t)BYTES);
	for (u32 i = 0; i < NR; i++)
		if (i != 12)
			ck_assert_mem_eq(got + i * SECTOR_SIZE, want + i * SECTOR_SIZE,
					 SECTOR_SIZE);
	teardown();
}
END_TEST

START_TEST(frame_under_writeback_is_left_until_it_ends)
{
	struct folio *f;
	u8 *at;

	setup();
	write_clean(12);
	f = cache_find(&ff.file.mapping, 0);
	folio_lock(f);
	folio_mark_dirty(f, 0, 1);
	folio_begin_writeback(f, 1);
	folio_clear_dirty(f, 0, 1);
	folio_unlock(f);
	at = folio_data(f);
	lose_at(at);
	/* Its write fails: dirty again, so it is lost and not read again. */
	folio_end_writeback(f, 0, 1, -EIO);
	ck_assert_uint_eq(cache_mend_memory(), 0);
	folio_put(f);
	check_eio(0);
	check_reads(1, NR - 1);
	teardown();
}
END_TEST

START_TEST(truncate_forgets_what_was_lost)
{
	setup();
	write_all(13);
	lose_dirty(20);
	ff.file.size = 10 * SECTOR_SIZE;
	ck_assert_int_eq(iomap_truncate_cache(&ff.file, ff.file.size), 0);
	fake_truncate(&ff, ff.file.size);
	ck_assert_int_eq(write_back(), 0);
	check_reads(0, 10);
	ck_assert_uint_eq(cache_mend_memory(), 0);
	ck_assert_uint_eq(mem_nr_bad, 0);
	teardown();
}
END_TEST

/* ---- other memory ---- */

START_TEST(free_frames_are_replaced_before_anybody_gets_them)
{
	u32 nr = (2u << 20) / SECTOR_SIZE;

	setup();
	for (u32 i = 0; i < 4; i++)
		take_away(mem_arena + (u64)(nr + i * 7) * SECTOR_SIZE);
	ck_assert(mem_note_error(mem_arena + (2u << 20), 21));
	ck_assert_uint_eq(mem_nr_bad, nr);
	ck_assert(!mem_note_error(mem_arena + (64u << 20), SECTOR_SHIFT));
	for (u32 i = 0; i < 8; i++) {
		struct folio *f = mem_alloc(5, MEM_RESERVE);

		ck_assert_ptr_nonnull(f);
		memset(folio_data(f), 1, folio_bytes(f));
		folio_put(f);
	}
	ck_assert_uint_eq(cache_mend_memory(), 0);
	ck_assert_uint_eq(mem_nr_bad, 0);
	ck_assert_uint_eq(nr_bus, 0);
	teardown();
}
END_TEST

/* ---- readers at the same time ---- */

#define READERS 3
#define ROUNDS 200

static bool stop;

static void *reader(void *arg)
{
	u8 *mine = malloc(BYTES);

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		ssize_t n = iomap_read(&ff.file, 0, mine, BYTES, NULL);

		/* Fewer bytes, if memory is lost again and again: never others. */
		if (n < 0 ? n != -EIO : memcmp(mine, want, (size_t)n) != 0) {
			__atomic_add_fetch((u32 *)arg, 1, __ATOMIC_RELAXED);
			break;
		}
	}
	free(mine);
	return NULL;
}

START_TEST(readers_see_the_bytes_or_an_error)
{
	pthread_t t[READERS];
	u32 wrong = 0;

	setup();
	write_clean(14);
	stop = false;
	for (int i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, reader, &wrong), 0);
	for (u32 i = 0; i < ROUNDS; i++) {
		lose_at(addr_of(i % NR));
		cache_mend_memory();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < READERS; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(wrong, 0);
	cache_mend_memory();
	check_reads(0, NR);
	teardown();
}
END_TEST

START_TEST(real_poison_is_read_again)
{
	setup();
	write_clean(15);
	if (madvise(addr_of(6), SECTOR_SIZE, MADV_HWPOISON)) {
		printf("skipped: MADV_HWPOISON: %s\n", err_text(-errno));
	} else {
		check_reads(0, NR);
		ck_assert_uint_eq(mem_nr_bad, 0);
	}
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("iomap/memerr");

	check_add(s, clean_sector_is_read_again);
	check_add(s, reader_that_comes_first_mends_itself);
	check_add(s, copy_that_comes_upon_it_is_done_again);
	check_add(s, system_call_never_gets_other_bytes);
	check_add(s, dirty_sector_is_lost_alone_and_said_until_rewritten);
	check_add(s, partly_dirty_folio_loses_by_sector);
	check_add(s, write_stops_before_a_sector_that_it_does_not_cover);
	check_add(s, writeback_never_writes_what_was_lost);
	check_add(s, frame_under_writeback_is_left_until_it_ends);
	check_add(s, truncate_forgets_what_was_lost);
	check_add(s, free_frames_are_replaced_before_anybody_gets_them);
	check_add(s, readers_see_the_bytes_or_an_error);
	check_add(s, real_poison_is_read_again);
	return check_main(s);
}
