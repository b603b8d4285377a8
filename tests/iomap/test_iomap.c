/*
 * iomap over a fake file (fakefile.h) on a RAM device: what is read and written must equal a
 * byte array, what goes to the device is counted.
 */
#include "check_main.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "fakefile.h"
#include "stat/stat.h"

#define MAX_SIZE (4u << 20)

static struct blk_dev *dev;
static struct fakefile ff;
static u8 *model, *buf;
static u64 model_size;

static void setup(u64 cache_bytes, unsigned max_order, u32 block, bool scatter)
{
	struct cache_config cfg = { .bytes = cache_bytes, .max_order = max_order };

	ck_assert_int_eq(cache_init(&cfg), 0);
	ck_assert_int_eq(blk_open("ram:32M", BLK_RDWR, NULL, &dev), 0);
	fake_init(&ff, dev, block, scatter);
	model = calloc(1, MAX_SIZE);
	buf = malloc(MAX_SIZE);
	model_size = 0;
}

static void teardown(void)
{
	fake_fini(&ff);
	blk_close(dev);
	cache_fini();
	free(model);
	free(buf);
}

static void fill_random(u8 *p, size_t n, u32 seed)
{
	u32 x = seed | 1;

	for (size_t i = 0; i < n; i++)
		p[i] = (u8)fake_random(&x);
}

/* As the file system does: the gap behind the old end first. */
static void do_write(u64 pos, u64 len, u32 seed)
{
	fill_random(buf, len, seed);
	if (pos > model_size)
		ck_assert_int_eq(iomap_zero_eof(&ff.file, model_size), 0);
	ck_assert_int_eq(iomap_write(&ff.file, pos, buf, len), (ssize_t)len);
	memcpy(model + pos, buf, len);
	model_size = MAX(model_size, pos + len);
	ck_assert_uint_eq(ff.file.size, model_size);
}

static void do_read(u64 pos, u64 len, struct readahead *ra)
{
	u64 want = pos >= model_size ? 0 : MIN(len, model_size - pos);
	ssize_t n = iomap_read(&ff.file, pos, buf, len, ra);

	ck_assert_int_eq(n, (ssize_t)want);
	if (memcmp(buf, model + pos, want)) {
		u64 i = 0;

		while (buf[i] == model[pos + i])
			i++;
		ck_abort_msg("read of %llu+%llu differs at %llu", (unsigned long long)pos,
			     (unsigned long long)len, (unsigned long long)(pos + i));
	}
}

static void do_writeback(void)
{
	ck_assert_int_eq(iomap_writeback(&ff.file, 0, UINT64_MAX, IOMAP_WB_WAIT, 0, NULL), 0);
	ck_assert_uint_eq(ff.file.mapping.nr_dirty, 0);
}

static void do_truncate(u64 size)
{
	u64 old = model_size;

	if (size >= old) {
		ck_assert_int_eq(iomap_zero_eof(&ff.file, old), 0);
		ff.file.size = size;
	} else {
		ff.file.size = size;
		ck_assert_int_eq(iomap_truncate_cache(&ff.file, size), 0);
		fake_truncate(&ff, size);
		memset(model + size, 0, old - size);
	}
	model_size = size;
}

static void drop_clean(void)
{
	cache_drop_clean(&ff.file.mapping, 0, UINT64_MAX);
}

static u64 data_written(void)
{
	return stat_read(STAT_WRITE_BYTES_DATA);
}

static u64 data_read(void)
{
	return stat_read(STAT_READ_BYTES_DATA);
}

START_TEST(what_was_written_is_read_from_cache_and_from_disk)
{
	setup(4u << 20, 9, 1, false);
	do_write(0, 100000, 7);
	do_read(0, 200000, NULL);
	do_writeback();
	drop_clean();
	ck_assert_uint_eq(ff.file.mapping.nr_sectors, 0);
	do_read(0, 200000, NULL);
	do_read(99999, 10, NULL);
	teardown();
}
END_TEST

START_TEST(a_4k_overwrite_writes_exactly_4k)
{
	for (unsigned order = 0; order <= 9; order++) {
		u64 before;

		setup(4u << 20, order, 16, false);
		do_write(0, 1u << 20, 3);
		do_writeback();
		for (unsigned dropped = 0; dropped < 2; dropped++) {
			if (dropped)
				drop_clean();
			before = data_written();
			do_write(77 * 4096, 4096, 5 + dropped);
			do_writeback();
			ck_assert_uint_eq(data_written() - before, 4096);
		}
		teardown();
	}
}
END_TEST

/* Folios by order that doing it makes: many[k] of order k, and no others. */
static void made(u64 before[FOLIO_NR_ORDERS])
{
	for (unsigned k = 0; k < FOLIO_NR_ORDERS; k++)
		before[k] = stat_read(STAT_FOLIO_ALLOC_O0 + k);
}

static void check_made(const u64 before[FOLIO_NR_ORDERS], unsigned order, u64 many)
{
	for (unsigned k = 0; k < FOLIO_NR_ORDERS; k++)
		ck_assert_uint_eq(stat_read(STAT_FOLIO_ALLOC_O0 + k) - before[k],
				  k == order ? many : 0);
}

/* Blocks of 2 MiB: they are no reason for anything. */
START_TEST(folios_are_as_long_as_reads_and_writes_whatever_the_block)
{
	u64 before[FOLIO_NR_ORDERS];

	setup(16u << 20, 9, 512, false);
	for (unsigned order = 0; order <= 9; order++) {
		made(before);
		do_write(0, (u64)SECTOR_SIZE << order, order);
		check_made(before, order, 1);
		do_writeback();
		drop_clean();
	}
	do_write(0, 2u << 20, 11);
	do_writeback();
	drop_clean();
	/* In no order that readahead could take for one. */
	made(before);
	for (u64 i = 12; i > 0; i--)
		do_read(i * 37 * SECTOR_SIZE, SECTOR_SIZE, NULL);
	check_made(before, 0, 12);
	made(before);
	do_read(256 * SECTOR_SIZE, 64 * SECTOR_SIZE, NULL);
	ck_assert_uint_ge(stat_read(STAT_FOLIO_ALLOC_O4) - before[4], 1);
	teardown();
}
END_TEST

START_TEST(a_write_that_covers_whole_sectors_reads_nothing)
{
	u64 before;

	setup(4u << 20, 9, 1, false);
	do_write(0, 1u << 20, 3);
	do_writeback();
	drop_clean();
	before = data_read();
	do_write(4096 * 3, 4096 * 100, 4);
	ck_assert_uint_eq(data_read() - before, 0);
	do_write(4096 * 150 + 10, 100, 5);
	ck_assert_uint_eq(data_read() - before, 4096);
	do_write(4096 * 160 - 10, 4096 * 2, 6);
	ck_assert_uint_eq(data_read() - before, 4096 * 3);
	do_read(0, 1u << 20, NULL);
	teardown();
}
END_TEST

START_TEST(a_partial_write_of_unwritten_space_reads_nothing)
{
	u64 before;

	setup(4u << 20, 9, 64, false);
	do_write(0, 4096, 3);
	do_writeback();
	drop_clean();
	before = data_read();
	do_write(4096 * 20 + 10, 100, 5);
	do_read(4096, 4096 * 20, NULL);
	ck_assert_uint_eq(data_read() - before, 0);
	teardown();
}
END_TEST

START_TEST(adjacent_sectors_of_several_folios_become_one_request)
{
	u64 writes, reads;

	setup(4u << 20, 0, 1, false);
	do_write(0, 512 << 10, 3);
	writes = stat_read(STAT_WRITE_IOS_DATA);
	do_writeback();
	ck_assert_uint_eq(stat_read(STAT_WRITE_IOS_DATA) - writes, 1);
	drop_clean();
	reads = stat_read(STAT_READ_IOS_DATA);
	do_read(0, 256 << 10, NULL);
	ck_assert_uint_eq(stat_read(STAT_READ_IOS_DATA) - reads, 2);
	teardown();
}
END_TEST

START_TEST(holes_take_no_cache_and_read_zero)
{
	setup(4u << 20, 9, 1, false);
	do_truncate(3u << 20);
	do_read(0, 3u << 20, NULL);
	ck_assert_uint_eq(ff.file.mapping.nr_sectors, 0);
	ck_assert_uint_eq(ff.used, 0);
	teardown();
}
END_TEST

START_TEST(an_inline_file_that_can_t_be_written_has_an_error_as_others_do)
{
	struct mapping *map = &ff.file.mapping;

	setup(4u << 20, 9, 1, false);
	ff.inl = true;
	do_write(0, 700, 9);
	ff.inline_error = -ENOSPC;
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(iomap_writeback(&ff.file, 0, UINT64_MAX, IOMAP_WB_WAIT, 0, NULL),
				 -ENOSPC);
		ck_assert_uint_eq(map->nr_dirty, 1);
		ck_assert_uint_eq(map->nr_error, 1);
		ck_assert_int_eq(map->error, -ENOSPC);
	}
	ff.inline_error = 0;
	do_writeback();
	ck_assert_int_eq(map->error, 0);
	ck_assert_int_eq(memcmp(ff.inline_data, model, 700), 0);
	teardown();
}
END_TEST

START_TEST(an_inline_file_goes_through_the_same_cache)
{
	setup(4u << 20, 9, 1, false);
	ff.inl = true;
	do_write(0, 700, 9);
	do_writeback();
	ck_assert_uint_eq(ff.inline_len, 700);
	ck_assert_int_eq(memcmp(ff.inline_data, model, 700), 0);
	ck_assert_uint_eq(data_written(), 0);
	drop_clean();
	do_write(650, 200, 10);
	do_read(0, 2000, NULL);
	do_writeback();
	drop_clean();
	do_read(0, 2000, NULL);
	teardown();
}
END_TEST

START_TEST(bytes_behind_the_end_are_zero_on_disk_and_after_growing)
{
	u8 sector[SECTOR_SIZE];

	setup(4u << 20, 9, 1, false);
	do_write(0, 8192, 3);
	do_writeback();
	do_truncate(5000);
	do_writeback();
	ck_assert_int_eq(blk_read(dev, ff.disk[1], sector, 1, BLK_DATA), 0);
	for (u32 i = 5000 - 4096; i < SECTOR_SIZE; i++)
		ck_assert_uint_eq(sector[i], 0);
	drop_clean();
	do_truncate(8192);
	do_read(0, 8192, NULL);
	do_write(20000, 10, 4);
	do_read(0, 30000, NULL);
	teardown();
}
END_TEST

START_TEST(the_size_of_an_ioend_is_the_end_of_file_not_of_the_sector)
{
	setup(4u << 20, 9, 16, false);
	do_write(0, 12345, 3);
	do_writeback();
	ck_assert_uint_eq(ff.size_end, 12345);
	ck_assert_uint_gt(ff.nr_fresh, 0);
	ff.nr_fresh = 0;
	do_write(0, 4096, 4);
	do_writeback();
	ck_assert_uint_eq(ff.nr_fresh, 0);
	teardown();
}
END_TEST

static u64 bad_from, bad_to;
static u64 nr_faults;

static int fail_range(void *arg UNUSED, const struct blk_fault *f)
{
	if ((f->op == BLK_FAULT_READ || f->op == BLK_FAULT_WRITE) && f->sector < bad_to &&
	    f->sector + f->nr > bad_from) {
		nr_faults++;
		return -EIO;
	}
	return 0;
}

START_TEST(a_bad_sector_costs_only_itself_when_reading)
{
	setup(4u << 20, 9, 1, false);
	do_write(0, 64 * 4096, 3);
	do_writeback();
	drop_clean();
	bad_from = ff.disk[20];
	bad_to = bad_from + 1;
	blk_fault_set(dev, fail_range, NULL);
	ck_assert_int_eq(iomap_read(&ff.file, 0, buf, 64 * 4096, NULL), 20 * 4096);
	ck_assert_int_eq(memcmp(buf, model, 20 * 4096), 0);
	ck_assert_int_eq(iomap_read(&ff.file, 20 * 4096 + 5, buf, 10, NULL), -EIO);
	do_read(21 * 4096, 43 * 4096, NULL);
	/* Overwritten whole, it needs no reading. */
	blk_fault_set(dev, NULL, NULL);
	do_write(20 * 4096, 4096, 8);
	do_read(0, 64 * 4096, NULL);
	teardown();
}
END_TEST

START_TEST(a_sector_that_the_map_calls_bad_fails_alone)
{
	setup(4u << 20, 9, 1, false);
	do_write(0, 8 * 4096, 3);
	do_writeback();
	drop_clean();
	ff.entry[ff.disk[2]] = 2;
	ck_assert_int_eq(iomap_read(&ff.file, 2 * 4096, buf, 1, NULL), -EIO);
	do_read(3 * 4096, 4096, NULL);
	do_read(0, 2 * 4096, NULL);
	do_write(2 * 4096, 4096, 4);
	do_writeback();
	drop_clean();
	do_read(0, 8 * 4096, NULL);
	teardown();
}
END_TEST

START_TEST(failed_writes_stay_dirty_are_reported_and_heal)
{
	setup(4u << 20, 9, 1, false);
	do_write(0, 64 * 4096, 3);
	do_writeback();
	do_write(0, 64 * 4096, 4);
	bad_from = ff.disk[20];
	bad_to = bad_from + 2;
	blk_fault_set(dev, fail_range, NULL);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(iomap_writeback(&ff.file, 0, UINT64_MAX, IOMAP_WB_WAIT, 0, NULL),
				 -EIO);
		ck_assert_uint_eq(ff.file.mapping.nr_dirty, 2);
		ck_assert_int_eq(ff.file.mapping.error, -EIO);
	}
	ck_assert_uint_eq(ff.nr_error_sectors, 3 * 2);
	blk_fault_set(dev, NULL, NULL);
	do_read(0, 64 * 4096, NULL);
	do_writeback();
	ck_assert_int_eq(ff.file.mapping.error, 0);
	drop_clean();
	do_read(0, 64 * 4096, NULL);
	teardown();
}
END_TEST

START_TEST(a_full_disk_makes_the_write_short)
{
	setup(4u << 20, 9, 4, false);
	ff.reserve_max = 40;
	memset(buf, 1, 1u << 20);
	ck_assert_int_eq(iomap_write(&ff.file, 0, buf, 1u << 20), 40 * 4096);
	ck_assert_int_eq(iomap_write(&ff.file, 40 * 4096, buf, 1), -ENOSPC);
	ck_assert_int_eq(iomap_write(&ff.file, 0, buf, 1), 1);
	ck_assert_uint_eq(ff.file.size, 40 * 4096);
	teardown();
}
END_TEST

START_TEST(seek_finds_written_and_dirty_sectors_exactly)
{
	setup(4u << 20, 9, 64, false);
	do_write(100 * 4096, 4096, 3);
	do_writeback();
	do_write(110 * 4096 + 5, 1, 4);
	do_truncate(200 * 4096);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(iomap_seek(&ff.file, 0, SEEK_DATA), 100 * 4096);
		ck_assert_int_eq(iomap_seek(&ff.file, 100 * 4096 + 7, SEEK_DATA), 100 * 4096 + 7);
		ck_assert_int_eq(iomap_seek(&ff.file, 100 * 4096, SEEK_HOLE), 101 * 4096);
		ck_assert_int_eq(iomap_seek(&ff.file, 101 * 4096, SEEK_DATA), 110 * 4096);
		ck_assert_int_eq(iomap_seek(&ff.file, 5, SEEK_HOLE), 5);
		ck_assert_int_eq(iomap_seek(&ff.file, 111 * 4096, SEEK_DATA), -ENXIO);
		ck_assert_int_eq(iomap_seek(&ff.file, 200 * 4096, SEEK_HOLE), -ENXIO);
		do_writeback();
		drop_clean();
	}
	teardown();
}
END_TEST

START_TEST(zeroing_leaves_holes_alone)
{
	setup(4u << 20, 9, 1, false);
	do_write(10 * 4096, 10 * 4096, 3);
	do_truncate(40 * 4096);
	ck_assert_int_eq(iomap_zero(&ff.file, 4096 * 12 + 100, 4096 * 20), 0);
	memset(model + 4096 * 12 + 100, 0, 4096 * 20);
	do_read(0, 40 * 4096, NULL);
	ck_assert_uint_eq(ff.used, 10);
	do_writeback();
	drop_clean();
	do_read(0, 40 * 4096, NULL);
	teardown();
}
END_TEST

/* ---- random operations against the model ---- */

static u32 fault_rnd;
static bool fault_on;

static int fail_some(void *arg UNUSED, const struct blk_fault *f)
{
	return fault_on && f->op <= BLK_FAULT_WRITE && fake_random(&fault_rnd) % 4 == 0 ? -EIO : 0;
}

static void read_under_faults(u64 pos, u64 len, struct readahead *ra)
{
	u64 want = pos >= model_size ? 0 : MIN(len, model_size - pos);
	ssize_t n = iomap_read(&ff.file, pos, buf, len, ra);

	ck_assert(n == -EIO || (n >= 0 && (u64)n <= want));
	if (n > 0)
		ck_assert_int_eq(memcmp(buf, model + pos, (size_t)n), 0);
}

static void check_seek(u64 pos)
{
	s64 data = iomap_seek(&ff.file, pos, SEEK_DATA);
	u64 end = data == -ENXIO ? model_size : (u64)data;

	if (pos >= model_size)
		return;
	ck_assert(data == -ENXIO || data >= (s64)pos);
	for (u64 i = pos; i < end; i++)
		if (model[i])
			ck_abort_msg("data at %llu in a hole", (unsigned long long)i);
}

static void random_step(u32 *rnd, struct readahead *ra, bool faults)
{
	u64 pos = fake_random(rnd) % MAX_SIZE;
	u64 len = 1 + fake_random(rnd) % (1u << fake_random(rnd) % 21);
	u64 written;

	len = MIN(len, MAX_SIZE - pos);
	if (fake_random(rnd) % 3 == 0)
		pos = ALIGN_DOWN(pos, (u64)4096);
	switch (fake_random(rnd) % 16) {
	case 0: case 1: case 2: case 3: case 4:
		/* The cache has no flusher here: room is made between the writes. */
		len = MIN(len, mem_total_bytes() / 4);
		do_write(pos, len, *rnd);
		if (ff.file.mapping.nr_dirty * 4096 > cache_bytes() / 4)
			iomap_writeback(&ff.file, 0, UINT64_MAX, IOMAP_WB_WAIT, 0, NULL);
		break;
	case 5: case 6: case 7: case 8:
		if (faults) {
			fault_on = true;
			read_under_faults(pos, len, ra);
			fault_on = false;
		} else {
			do_read(pos, len, fake_random(rnd) % 2 ? ra : NULL);
		}
		break;
	case 9:
		do_truncate(fake_random(rnd) % 4 ? MIN(pos, model_size) : pos);
		break;
	case 10: case 11:
		fault_on = faults;
		iomap_writeback(&ff.file, pos, pos + len, fake_random(rnd) % 2,
				fake_random(rnd) % 100, &written);
		fault_on = false;
		break;
	case 12:
		do_writeback();
		break;
	case 13:
		drop_clean();
		break;
	case 14:
		check_seek(pos);
		break;
	default:
		if (pos >= model_size)
			break;
		len = MIN(len, model_size - pos);
		ck_assert_int_eq(iomap_zero(&ff.file, pos, len), 0);
		memset(model + pos, 0, len);
	}
}

static void random_run(u64 cache_bytes_max, unsigned order, u32 block, bool scatter, bool faults,
		       u32 seed, unsigned steps)
{
	struct readahead ra = { 0 };
	u32 rnd = seed * 2654435761u | 1;

	setup(cache_bytes_max, order, block, scatter);
	fault_rnd = seed | 1;
	fault_on = false;
	blk_fault_set(dev, fail_some, NULL);
	for (unsigned i = 0; i < steps; i++)
		random_step(&rnd, &ra, faults);
	do_read(0, MAX_SIZE, NULL);
	do_writeback();
	drop_clean();
	do_read(0, MAX_SIZE, &ra);
	teardown();
}

START_TEST(random_operations_equal_a_byte_array)
{
	for (u32 seed = 1; seed <= 20; seed++) {
		u32 block = 1u << seed % 7;

		printf("seed %u\n", seed);
		random_run((1u << 20) << seed % 5, seed % 10, block, seed % 2, false, seed, 400);
	}
}
END_TEST

START_TEST(random_operations_with_io_errors_lose_nothing)
{
	for (u32 seed = 1; seed <= 20; seed++) {
		printf("seed %u\n", seed);
		random_run((2u << 20) << seed % 3, seed % 10, 1u << seed % 5, seed % 2, true, seed,
			   300);
	}
}
END_TEST

/* ---- several threads ---- */

struct thread_arg {
	pthread_t t;
	u32 rnd;
};

static struct rwlock inode_lock;
static bool stop;

static void *flush_thread(void *arg UNUSED)
{
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
		iomap_writeback(&ff.file, 0, UINT64_MAX, 0, 64, NULL);
	return NULL;
}

/* Every sector holds the same word all over: readers must never see a mixture. */
static void *reader_thread(void *arg)
{
	struct thread_arg *a = arg;
	struct readahead ra = { 0 };
	u32 words[4 * 1024];

	for (unsigned i = 0; i < 3000; i++) {
		u64 pos = (u64)(fake_random(&a->rnd) % 250) * 4096;
		ssize_t n;

		rwlock_rdlock(&inode_lock);
		n = iomap_read(&ff.file, pos, words, sizeof(words), i % 2 ? &ra : NULL);
		rwlock_unlock(&inode_lock);
		ck_assert_int_ge(n, 0);
		for (ssize_t k = 0; k < n / 4; k++)
			if (words[k] != words[k / 1024 * 1024])
				ck_abort_msg("a sector that is half old, half new");
	}
	return NULL;
}

static void *writer_thread(void *arg)
{
	struct thread_arg *a = arg;
	u32 words[4 * 1024];

	for (unsigned i = 0; i < 2000; i++) {
		u64 pos = (u64)(fake_random(&a->rnd) % 250) * 4096;

		for (unsigned k = 0; k < ARRAY_LEN(words); k++)
			words[k] = i * 4 + k / 1024;
		while (__atomic_load_n(&ff.file.mapping.nr_dirty, __ATOMIC_ACQUIRE) > 100)
			iomap_writeback(&ff.file, 0, UINT64_MAX, IOMAP_WB_WAIT, 0, NULL);
		rwlock_wrlock(&inode_lock);
		ck_assert_int_eq(iomap_write(&ff.file, pos, words, sizeof(words)), sizeof(words));
		rwlock_unlock(&inode_lock);
		if (i % 16 == 0)
			cache_drop_clean(&ff.file.mapping, 0, UINT64_MAX);
	}
	return NULL;
}

START_TEST(readers_writers_and_flushers_see_whole_sectors)
{
	struct thread_arg a[4] = { { .rnd = 1 }, { .rnd = 77 }, { .rnd = 500 }, { .rnd = 9 } };

	setup(2u << 20, 9, 4, true);
	rwlock_init(&inode_lock, RANK_INODE);
	stop = false;
	pthread_create(&a[0].t, NULL, flush_thread, NULL);
	pthread_create(&a[1].t, NULL, reader_thread, &a[1]);
	pthread_create(&a[2].t, NULL, reader_thread, &a[2]);
	pthread_create(&a[3].t, NULL, writer_thread, &a[3]);
	for (unsigned i = 1; i < 4; i++)
		pthread_join(a[i].t, NULL);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(a[0].t, NULL);
	do_writeback();
	rwlock_fini(&inode_lock);
	teardown();
}
END_TEST

START_TEST(overwrites_are_announced_together_and_before_they_are_sent)
{
	setup(16u << 20, 9, 1, false);
	do_write(0, 1u << 20, 5);
	do_writeback();
	ck_assert_uint_eq(ff.nr_announce, 0);
	for (u64 pos = 0; pos < 1u << 20; pos += 8192)
		do_write(pos, 4096, (u32)pos + 1);
	do_writeback();
	ck_assert_uint_eq(ff.nr_announce, 1);
	ck_assert_uint_eq(ff.nr_announced, 128);
	drop_clean();
	do_read(0, 1u << 20, NULL);
	teardown();
}
END_TEST

START_TEST(a_refused_announcement_keeps_the_data_dirty_and_the_disk_as_it_was)
{
	u64 written;

	setup(16u << 20, 9, 1, false);
	do_write(0, 100000, 5);
	do_writeback();
	do_write(4096, 40960, 6);
	written = data_written();
	ff.announce_error = -EROFS;
	ck_assert_int_eq(iomap_writeback(&ff.file, 0, UINT64_MAX, IOMAP_WB_WAIT, 0, NULL), -EROFS);
	ck_assert_uint_eq(data_written(), written);
	ck_assert_uint_eq(ff.file.mapping.nr_dirty, 10);
	ff.announce_error = 0;
	ff.announce_busy = true;
	do_writeback();
	drop_clean();
	do_read(0, 100000, NULL);
	teardown();
}
END_TEST

/* What overwrites have met, in the order of the calls. */
static struct {
	u64 sent;               /* sectors that were written in place */
	u64 early;              /* of them, whose announcement was not durable */
	u64 behind;             /* of them, with a later announcement already under way */
	size_t memory;          /* most that was allocated */
} seen;

static int look_at_write(void *arg UNUSED, const struct blk_fault *f)
{
	for (u64 i = f->sector; i < f->sector + f->nr && f->op == BLK_FAULT_WRITE; i++) {
		seen.sent += ff.said[i] > 0;
		seen.early += ff.said[i] > ff.announced;
		seen.behind += ff.said[i] > 0 && ff.announced_soon > ff.said[i];
	}
	seen.memory = MAX(seen.memory, mallinfo2().uordblks);
	return 0;
}

/* Every second sector of 1 MiB: two rounds, of 1/16 of the cache. */
static void overwrite_rounds(void)
{
	setup(4u << 20, 3, 1, false);
	for (u64 pos = 0; pos < MAX_SIZE; pos += 256u << 10) {
		do_write(pos, 256u << 10, 5);
		do_writeback();
	}
	for (u64 pos = 0; pos < MAX_SIZE / 4; pos += 8192)
		do_write(pos, 4096, (u32)pos + 1);
	memset(&seen, 0, sizeof(seen));
	blk_fault_set(dev, look_at_write, NULL);
}

START_TEST(a_round_is_gathered_while_the_one_before_becomes_durable)
{
	size_t memory;

	overwrite_rounds();
	memory = mallinfo2().uordblks;
	do_writeback();
	ck_assert_uint_eq(ff.nr_announce, 2);
	ck_assert_uint_eq(ff.announced_soon, 2);
	ck_assert_uint_eq(ff.announced, 2);
	ck_assert_uint_eq(seen.sent, 128);
	ck_assert_uint_eq(seen.early, 0);
	ck_assert_uint_gt(seen.behind, 0);
	/* Requests that wait have the size of what they hold: one sector each. */
	ck_assert_uint_lt(seen.memory - memory, 128 * 1024);
	blk_fault_set(dev, NULL, NULL);
	drop_clean();
	do_read(0, MAX_SIZE, NULL);
	teardown();
}
END_TEST

START_TEST(what_is_announced_in_vain_is_taken_back_and_stays_dirty)
{
	overwrite_rounds();
	ff.wait_error = -EROFS;
	ck_assert_int_eq(iomap_writeback(&ff.file, 0, UINT64_MAX, IOMAP_WB_WAIT, 0, NULL), -EROFS);
	ck_assert_uint_eq(seen.sent, 0);
	ck_assert_uint_eq(ff.file.mapping.nr_dirty, 128);
	for (u32 i = 0; i < FAKE_DISK_SECTORS; i++)
		ck_assert_uint_eq(ff.said[i], 0);
	ff.wait_error = 0;
	do_writeback();
	ck_assert_uint_eq(seen.early, 0);
	drop_clean();
	do_read(0, MAX_SIZE, NULL);
	teardown();
}
END_TEST

START_TEST(a_sector_that_does_not_match_its_checksum_fails_alone_and_heals)
{
	u8 sector[SECTOR_SIZE];

	setup(16u << 20, 9, 1, false);
	do_write(0, 16 * SECTOR_SIZE, 5);
	do_writeback();
	ck_assert_int_eq(blk_read(dev, ff.disk[7], sector, 1, BLK_DATA), 0);
	sector[5] ^= 4;
	ck_assert_int_eq(blk_write(dev, ff.disk[7], sector, 1, BLK_DATA), 0);
	drop_clean();
	do_read(0, 1, NULL);
	do_read(8 * SECTOR_SIZE, 8 * SECTOR_SIZE, NULL);
	ck_assert_int_eq(iomap_read(&ff.file, 7 * SECTOR_SIZE, buf, 10, NULL), -EIO);
	ck_assert_int_eq(iomap_read(&ff.file, 0, buf, MAX_SIZE, NULL), 7 * SECTOR_SIZE);
	do_write(7 * SECTOR_SIZE, SECTOR_SIZE, 9);
	do_read(0, 16 * SECTOR_SIZE, NULL);
	do_writeback();
	drop_clean();
	do_read(0, 16 * SECTOR_SIZE, NULL);
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("iomap");

	log_set_level(LOG_LEVEL_ERR);
	check_add(s, what_was_written_is_read_from_cache_and_from_disk);
	check_add(s, a_4k_overwrite_writes_exactly_4k);
	check_add(s, folios_are_as_long_as_reads_and_writes_whatever_the_block);
	check_add(s, a_write_that_covers_whole_sectors_reads_nothing);
	check_add(s, a_partial_write_of_unwritten_space_reads_nothing);
	check_add(s, adjacent_sectors_of_several_folios_become_one_request);
	check_add(s, holes_take_no_cache_and_read_zero);
	check_add(s, an_inline_file_that_can_t_be_written_has_an_error_as_others_do);
	check_add(s, an_inline_file_goes_through_the_same_cache);
	check_add(s, bytes_behind_the_end_are_zero_on_disk_and_after_growing);
	check_add(s, the_size_of_an_ioend_is_the_end_of_file_not_of_the_sector);
	check_add(s, a_bad_sector_costs_only_itself_when_reading);
	check_add(s, a_sector_that_the_map_calls_bad_fails_alone);
	check_add(s, failed_writes_stay_dirty_are_reported_and_heal);
	check_add(s, overwrites_are_announced_together_and_before_they_are_sent);
	check_add(s, a_round_is_gathered_while_the_one_before_becomes_durable);
	check_add(s, what_is_announced_in_vain_is_taken_back_and_stays_dirty);
	check_add(s, a_refused_announcement_keeps_the_data_dirty_and_the_disk_as_it_was);
	check_add(s, a_sector_that_does_not_match_its_checksum_fails_alone_and_heals);
	check_add(s, a_full_disk_makes_the_write_short);
	check_add(s, seek_finds_written_and_dirty_sectors_exactly);
	check_add(s, zeroing_leaves_holes_alone);
	check_add_slow(s, random_operations_equal_a_byte_array, 120);
	check_add_slow(s, random_operations_with_io_errors_lose_nothing, 120);
	check_add_slow(s, readers_writers_and_flushers_see_whole_sectors, 120);
	return check_main(s);
}
