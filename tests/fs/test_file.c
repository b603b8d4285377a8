/*
 * Data of regular files on a whole file system: what is read, what survives a crash, what an
 * fsync costs.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "fs/inode.h"
#include "file_test.h"
#include "stat/stat.h"

static u64 sectors_free(void)
{
	struct statvfs st;

	OK(fs_statfs(b.fs, &st));
	return st.f_bfree;
}

START_TEST(a_small_file_lives_in_its_item)
{
	struct inode *f;
	u64 before;

	begin("ram:64M", 65536);
	f = new_file("f");
	OK(fs_fsync(b.root, false));
	before = stat_read(STAT_WRITE_BYTES_DATA);
	put_data(f, 0, 2000);
	OK(fs_fsync(f, false));
	ck_assert_uint_eq(stat_read(STAT_WRITE_BYTES_DATA), before);
	f = crash(f, "f");
	expect(f, 2000, 0, 0);
	put_data(f, 1000, 1048);
	expect(f, 2048, 0, 0);
	f = again(f, "f");
	expect(f, 2048, 0, 0);
	OK(fs_truncate(f, 10));
	OK(fs_truncate(f, 100));
	expect(f, 100, 10, 100);
	f = again(f, "f");
	expect(f, 100, 10, 100);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_synchronous_write_takes_a_file_out_of_its_item_that_was_cut_before)
{
	u8 sevens[5000], seen[5000] = { 0 };
	struct inode *f;

	begin("ram:64M", 4096);
	f = new_file("f");
	put_data(f, 0, 2000);
	OK(fs_fsync(f, false));
	OK(fs_truncate(f, 100));
	memset(sevens, 7, sizeof(sevens));
	ck_assert_int_eq(fs_write(f, 50, sevens, 5000, FS_WRITE_SYNC), 5000);
	f = crash(f, "f");
	ck_assert_uint_eq(fs_size(f), 5050);
	ck_assert_int_eq(fs_read(f, 50, seen, 5000, NULL), 5000);
	ck_assert_int_eq(memcmp(seen, sevens, 5000), 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_file_that_outgrows_its_item_keeps_its_bytes)
{
	for (u32 block = 4096; block <= 2u << 20; block *= 8) {
		struct inode *f;

		begin("ram:64M", block);
		f = new_file("f");
		put_data(f, 0, 1500);
		OK(fs_fsync(f, false));
		put_data(f, 100000, 5000);
		expect(f, 105000, 1500, 100000);
		f = crash(f, "f");
		expect(f, 1500, 0, 0);
		put_data(f, 100000, 5000);
		OK(fs_fsync(f, true));
		f = crash(f, "f");
		expect(f, 105000, 1500, 100000);
		fs_iput(f);
		end();
	}
}
END_TEST

START_TEST(an_inline_file_that_grew_and_was_half_written_keeps_its_old_bytes)
{
	struct inode *f;

	begin("ram:64M", 0);
	f = new_file("f");
	put_data(f, 0, 1500);
	OK(fs_fsync(f, false));
	put_data(f, 1500, 50000);
	/* Its later sectors are written and could complete, its first is not. */
	OK(iomap_writeback(&f->file, 8192, 50000, IOMAP_WB_WAIT, 0, NULL));
	OK(file_complete(f));
	OK(jnl_commit(fs_jnl(b.fs), jnl_newest_seq(fs_jnl(b.fs))));
	f = crash(f, "f");
	expect(f, 1500, 0, 0);
	put_data(f, 1500, 50000);
	OK(fs_fsync(f, false));
	f = crash(f, "f");
	expect(f, 51500, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_punched_first_sector_counts_as_moved_out_of_the_item)
{
	struct inode *f;

	begin("ram:64M", 0);
	f = new_file("f");
	put_data(f, 0, 1500);
	OK(fs_fsync(f, false));
	put_data(f, 1500, 50000);
	OK(fs_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192));
	OK(fs_fsync(f, false));
	f = crash(f, "f");
	expect(f, 51500, 0, 8192);
	fs_iput(f);
	f = new_file("g");
	put_data(f, 0, 1500);
	OK(fs_fsync(f, false));
	OK(fs_fallocate(f, FALLOC_FL_KEEP_SIZE, 0, 8192));
	OK(fs_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192));
	OK(fs_fsync(f, false));
	f = crash(f, "g");
	expect(f, 1500, 0, 1500);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_file_that_shrank_and_then_left_its_item_has_its_size)
{
	struct inode *f;

	begin("ram:64M", 0);
	f = new_file("f");
	put_data(f, 0, 1500);
	OK(fs_fsync(f, false));
	OK(fs_truncate(f, 0));
	put_data(f, 40000, 1000);
	OK(fs_fsync(f, false));
	f = crash(f, "f");
	expect(f, 41000, 0, 40000);
	fs_iput(f);
	f = new_file("g");
	put_data(f, 0, 1500);
	OK(fs_fsync(f, false));
	OK(fs_truncate(f, 100));
	OK(fs_fallocate(f, FALLOC_FL_KEEP_SIZE, 0, 8192));
	OK(fs_fsync(f, false));
	f = crash(f, "g");
	expect(f, 100, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(fsync_makes_data_and_size_durable)
{
	for (u32 block = 4096; block <= 2u << 20; block *= 8) {
		struct inode *f;
		u32 step = 1;

		begin("ram:64M", block);
		f = new_file("f");
		for (u32 size = 0; size + step < BIG; size += step, step = step * 2 + 77) {
			put_data(f, size, step);
			OK(fs_fsync(f, step % 2));
			f = crash(f, "f");
			expect(f, size + step, 0, 0);
		}
		fs_iput(f);
		end();
	}
}
END_TEST

START_TEST(what_was_not_synced_is_not_there_in_half)
{
	struct inode *f;

	begin("ram:64M", 65536);
	f = new_file("f");
	put_data(f, 0, 10000);
	OK(fs_fsync(f, false));
	put_data(f, 10000, 300000);
	f = crash(f, "f");
	expect(f, 10000, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(what_truncate_cut_off_never_comes_back)
{
	for (u32 block = 4096; block <= 2u << 20; block *= 8) {
		static const u32 cut[] = { 0, 1, 100, 4095, 4096, 5000, 70000, 300001 };

		for (u32 i = 0; i < ARRAY_LEN(cut); i++) {
			struct inode *f;

			begin("ram:64M", block);
			f = new_file("f");
			put_data(f, 0, 400000);
			if (i % 2)
				OK(fs_fsync(f, false));
			OK(fs_truncate(f, cut[i]));
			expect(f, cut[i], 0, 0);
			if (i % 3 == 1)
				f = again(f, "f");
			OK(fs_truncate(f, 400000));
			expect(f, 400000, cut[i], 400000);
			OK(fs_fsync(f, false));
			f = crash(f, "f");
			expect(f, 400000, cut[i], 400000);
			/* And behind a write that leaves a gap. */
			OK(fs_truncate(f, cut[i]));
			put_data(f, 410000, 10);
			expect(f, 410010, cut[i], 410000);
			OK(fs_fsync(f, true));
			f = crash(f, "f");
			expect(f, 410010, cut[i], 410000);
			fs_iput(f);
			end();
		}
	}
}
END_TEST

START_TEST(truncate_frees_all_space_at_once)
{
	struct inode *f;
	u64 before;

	begin("ram:64M", 65536);
	f = new_file("f");
	OK(fs_sync(b.fs));
	before = sectors_free();
	put_data(f, 0, BIG);
	OK(fs_fsync(f, false));
	ck_assert_uint_lt(sectors_free(), before - 1000);
	OK(fs_truncate(f, 0));
	/* A node or two of the trees may stay. */
	ck_assert_uint_ge(sectors_free() + 16, before);
	/* Delayed ranges alone: */
	put_data(f, 0, BIG);
	OK(fs_truncate(f, 0));
	ck_assert_uint_ge(sectors_free() + 16, before);
	ck_assert_uint_eq(f->delalloc_share, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_full_disk_fails_the_write_not_the_fsync)
{
	for (u32 block = 4096; block <= 1u << 20; block *= 16) {
		begin("ram:32M", block);
		for (unsigned round = 0; round < 3; round++) {
			struct inode *f = new_file("f");
			u64 size = 0, before = sectors_free();
			ssize_t n;

			while ((n = fs_write(f, size, data, 100000, 0)) > 0)
				size += (u64)n;
			ck_assert_int_eq(n, -ENOSPC);
			ck_assert_uint_gt(size >> SECTOR_SHIFT, before * 7 / 10);
			OK(fs_fsync(f, false));
			f = crash(f, "f");
			ck_assert_uint_eq(inode_size(f), size);
			for (u64 at = 0; at + 100000 <= size; at += 100000) {
				ck_assert_int_eq(fs_read(f, at, back, 100000, NULL), 100000);
				ck_assert_int_eq(memcmp(back, data, 100000), 0);
			}
			/* Overwriting needs no space. */
			ck_assert_int_eq(fs_write(f, 0, data, 100000, 0), 100000);
			OK(fs_fsync(f, false));
			fs_iput(f);
			OK(unlink_name(b.root, "f"));
			OK(fs_sync(b.fs));
			ck_assert_uint_ge(sectors_free() + 64, before);
		}
		end();
	}
}
END_TEST

START_TEST(what_is_no_write_is_refused_by_name)
{
	struct inode *f, *d;

	begin("ram:64M", 0);
	f = new_file("f");
	make_dir(b.root, "d");
	d = get(b.root, "d");
	ck_assert_int_eq(fs_write(d, 0, data, 1, 0), -EISDIR);
	ck_assert_int_eq(fs_read(d, 0, back, 1, NULL), -EISDIR);
	FAILS(fs_truncate(d, 0), EISDIR);
	FAILS(fs_truncate(f, (u64)INT64_MAX + 1), EFBIG);
	ck_assert_int_eq(fs_write(f, (u64)INT64_MAX, data, 10, 0), -EFBIG);
	ck_assert_int_eq(fs_write(f, (u64)INT64_MAX - 5, data, 10, 0), 5);
	ck_assert_int_eq(fs_write(f, 0, data, 0, 0), 0);
	ck_assert_int_eq(fs_read(f, 100, back, 0, NULL), 0);
	ck_assert_int_eq(fs_read(f, (u64)INT64_MAX, back, 100, NULL), 0);
	OK(fs_truncate(f, (u64)INT64_MAX));
	ck_assert_int_eq(fs_seek(f, (u64)INT64_MAX - 4096 * 10, SEEK_HOLE), INT64_MAX - 4096 * 10);
	OK(fs_fsync(f, false));
	fs_iput(d);
	f = crash(f, "f");
	ck_assert_int_eq(fs_read(f, (u64)INT64_MAX - 5, back, 100, NULL), 5);
	ck_assert_int_eq(memcmp(back, data, 5), 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(appends_go_to_the_end_wherever_they_ask_for)
{
	struct inode *f;

	begin("ram:64M", 0);
	f = new_file("f");
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(fs_write(f, 7, data + i * 500, 500, FS_WRITE_APPEND), 500);
	expect(f, 50000, 0, 0);
	f = again(f, "f");
	expect(f, 50000, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_sync_write_is_durable_when_it_returns)
{
	struct inode *f;

	begin("ram:64M", 0);
	f = new_file("f");
	OK(fs_fsync(b.root, false));
	for (unsigned i = 0; i < 10; i++) {
		unsigned how = i % 2 ? FS_WRITE_SYNC : FS_WRITE_DSYNC;

		ck_assert_int_eq(fs_write(f, i * 3000, data + i * 3000, 3000, how), 3000);
		f = crash(f, "f");
		expect(f, (i + 1) * 3000, 0, 0);
	}
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_file_rewritten_and_closed_is_never_found_empty)
{
	struct inode *f;
	u32 cursor = 0;

	begin("ram:64M", 0);
	f = new_file("f");
	put_data(f, 0, 100000);
	OK(fs_fsync(f, false));
	OK(fs_truncate(f, 0));
	put_data(f, 0, 50000);
	OK(fs_flush(f, &cursor));
	/* Whatever commits now takes both. */
	make_file(b.root, "other");
	OK(fs_fsync(b.root, false));
	f = crash(f, "f");
	expect(f, 50000, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(dropping_the_cache_loses_nothing)
{
	struct inode *f;

	begin("ram:64M", 0);
	f = new_file("f");
	put_data(f, 0, BIG / 2);
	for (u64 at = 0; at < BIG / 2; at += 65536)
		ck_assert_int_eq(fs_read(f, at, back, 10, NULL), 10);
	OK(fs_fsync(f, false));
	expect(f, BIG / 2, 0, 0);
	fs_drop_cache(b.fs, f);
	expect(f, BIG / 2, 0, 0);
	fs_drop_cache(b.fs, NULL);
	expect(f, BIG / 2, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

/* ---- random operations against a byte array ---- */

#define NR_FILES 3
#define MODEL_MAX (2u << 20)
#define BUSY_MAX (8u << 20)

static struct {
	struct inode *ip;
	u8 *bytes, *synced;
	u64 size, synced_size;
	bool clean;             /* nothing changed since it was synced */
} m[NR_FILES];

static u64 model_max = MODEL_MAX;
static __thread u64 rnd_state;

static u32 rnd(u32 below)
{
	rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(rnd_state >> 33) % below;
}

static void model_compare(unsigned i)
{
	ck_assert_uint_eq(inode_size(m[i].ip), m[i].size);
	ck_assert_int_eq(fs_read(m[i].ip, 0, back, model_max, NULL), (ssize_t)m[i].size);
	for (u64 k = 0; k < m[i].size; k++)
		if (back[k] != m[i].bytes[k])
			ck_abort_msg("file %u byte %llu of %llu: %u, not %u", i,
				     (unsigned long long)k, (unsigned long long)m[i].size, back[k],
				     m[i].bytes[k]);
}

static void model_open(void)
{
	for (unsigned i = 0; i < NR_FILES; i++) {
		char name[2] = { (char)('a' + i), 0 };

		m[i].ip = get(b.root, name);
	}
}

static void model_sync(unsigned i)
{
	OK(fs_fsync(m[i].ip, rnd(2)));
	memcpy(m[i].synced, m[i].bytes, model_max);
	m[i].synced_size = m[i].size;
	m[i].clean = true;
}

/*
 * After a crash a file that was synced, and not touched again, is what it was; others are
 * looked at as they are.
 */
static void model_crash(void)
{
	for (unsigned i = 0; i < NR_FILES; i++) {
		if (rnd(2))
			model_sync(i);
		fs_iput(m[i].ip);
	}
	box_remount(&b, true);
	model_open();
	for (unsigned i = 0; i < NR_FILES; i++) {
		if (m[i].clean)
			model_compare(i);
		m[i].size = inode_size(m[i].ip);
		ck_assert_uint_le(m[i].size, model_max);
		memset(m[i].bytes, 0, model_max);
		ck_assert_int_eq(fs_read(m[i].ip, 0, m[i].bytes, model_max, NULL),
				 (ssize_t)m[i].size);
		model_sync(i);
	}
}

static void model_write(unsigned i, u64 pos, u64 len)
{
	u32 from = rnd(BIG / 2);

	len = MIN(len, model_max - pos);
	ck_assert_int_eq(fs_write(m[i].ip, pos, data + from, len, 0), (ssize_t)len);
	memcpy(m[i].bytes + pos, data + from, len);
	m[i].size = MAX(m[i].size, pos + len);
}

static void model_punch(unsigned i, u64 pos, u64 len, int mode)
{
	len = MIN(len, model_max - pos);
	OK(fs_fallocate(m[i].ip, mode, pos, len));
	if (mode & 0x12)        /* PUNCH_HOLE, ZERO_RANGE */
		memset(m[i].bytes + pos, 0, len);
	if (!(mode & 1))        /* KEEP_SIZE */
		m[i].size = MAX(m[i].size, pos + len);
}

static void model_change(unsigned i, u32 op, u64 pos, u64 len)
{
	static const int modes[] = { 0, 1, 3, 0x10, 0x11 };
	u64 size;

	m[i].clean = false;
	if (op < 40) {
		model_write(i, pos, len);
	} else if (op < 52) {
		size = rnd(3) ? MIN(pos, m[i].size) : pos;
		OK(fs_truncate(m[i].ip, size));
		if (size < m[i].size)
			memset(m[i].bytes + size, 0, m[i].size - size);
		m[i].size = size;
	} else {
		model_punch(i, pos, len, modes[rnd(ARRAY_LEN(modes))]);
	}
}

static void model_remount(void)
{
	for (unsigned k = 0; k < NR_FILES; k++)
		fs_iput(m[k].ip);
	box_remount(&b, false);
	model_open();
}

static void model_step(void)
{
	unsigned i = rnd(NR_FILES), op = rnd(100);
	u64 pos = rnd(1u << (1 + rnd(21))), len = 1 + rnd(1u << rnd(19));

	if (op < 70)
		model_change(i, op, pos, len);
	else if (op < 80)
		model_compare(i);
	else if (op < 86)
		model_sync(i);
	else if (op < 90)
		fs_drop_cache(b.fs, m[i].ip);
	else if (op < 94)
		OK(fs_tick(b.fs));
	else if (op < 96)
		iomap_writeback(&m[i].ip->file, pos, pos + len, 0, 1 + rnd(50), NULL);
	else if (op < 97)
		OK(fs_sync(b.fs));
	else if (op < 98)
		model_crash();
	else if (op < 99)
		model_remount();
}

static void model_begin(const char *path, u32 block_bytes, u64 max)
{
	begin(path, block_bytes);
	model_max = max;
	for (unsigned i = 0; i < NR_FILES; i++) {
		char name[2] = { (char)('a' + i), 0 };

		make_file(b.root, name);
		m[i].bytes = calloc(1, max);
		m[i].synced = calloc(1, max);
		m[i].size = 0;
	}
	OK(fs_sync(b.fs));
	model_open();
	for (unsigned i = 0; i < NR_FILES; i++)
		model_sync(i);
}

static void model_end(void)
{
	for (unsigned i = 0; i < NR_FILES; i++) {
		model_compare(i);
		fs_iput(m[i].ip);
		free(m[i].bytes);
		free(m[i].synced);
	}
	end();
}

static void model_run(u32 block_bytes, u64 seed, unsigned steps)
{
	rnd_state = seed;
	model_begin("ram:64M", block_bytes, MODEL_MAX);
	for (unsigned s = 0; s < steps; s++)
		model_step();
	model_end();
}

START_TEST(random_operations_and_crashes_equal_a_byte_array)
{
	const char *more = getenv("FOLIOFS_TEST_SEEDS");
	u64 seeds = more ? strtoull(more, NULL, 10) : 12;

	for (u64 seed = 1; seed <= seeds; seed++) {
		printf("seed %llu\n", (unsigned long long)seed);
		fflush(stdout);
		model_run(4096u << (seed % 10), seed, 600);
	}
}
END_TEST

/* ---- with the flusher and the commit thread, in a cache smaller than the files ---- */

static void *busy_thread(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;

	back = malloc(BUSY_MAX);
	rnd_state = i + 17;
	for (unsigned s = 0; s < 800; s++) {
		u32 op = rnd(100);
		u64 pos = rnd(1u << (13 + rnd(11))), len = 1 + rnd(1u << rnd(20));

		if (op < 70)
			model_change(i, rnd(4) ? rnd(40) : op, pos, len);
		else if (op < 90)
			model_compare(i);
		else if (op < 96)
			model_sync(i);
		else if (op < 97)
			OK(fs_sync(b.fs));
		else
			fs_drop_cache(b.fs, rnd(2) ? m[i].ip : NULL);
	}
	model_sync(i);
	free(back);
	return NULL;
}

START_TEST(busy_files_larger_than_the_cache_equal_byte_arrays)
{
	for (u32 block = 4096; block <= 1u << 20; block *= 16) {
		pthread_t t[NR_FILES];
		u8 *keep;

		model_begin("ram:96M", block, BUSY_MAX);
		keep = back = realloc(back, BUSY_MAX);
		for (unsigned i = 0; i < NR_FILES; i++)
			fs_iput(m[i].ip);
		b.opts.threads = true;
		b.opts.commit_ms = 40;
		box_remount(&b, false);
		model_open();
		for (uintptr_t i = 0; i < NR_FILES; i++)
			ck_assert_int_eq(pthread_create(&t[i], NULL, busy_thread, (void *)i), 0);
		for (unsigned i = 0; i < NR_FILES; i++)
			pthread_join(t[i], NULL);
		back = keep;
		for (unsigned i = 0; i < NR_FILES; i++)
			fs_iput(m[i].ip);
		box_remount(&b, true);
		model_open();
		model_end();
	}
}
END_TEST

/* Or a file that never stops changing would be written all the time. */
START_TEST(what_a_round_of_the_flusher_finds_dirty_again_has_to_get_old_first)
{
	const struct timespec old = { .tv_nsec = 2 * NS_PER_MS };
	struct inode *f;
	struct mapping *map;
	u64 began;

	begin("ram:64M", 4096);
	b.opts.commit_ms = 2;           /* a millisecond is old */
	box_remount(&b, false);
	f = new_file("f");
	map = &f->file.mapping;
	put_data(f, 0, 1 << 20);
	nanosleep(&old, NULL);
	iomap_hold(&f->file, 0, 4096);  /* stays dirty, as if changed behind the flusher */
	began = now_ns();
	OK(flusher_round(b.fs, false));
	ck_assert_uint_eq(map->nr_dirty, 1);
	ck_assert_uint_ge(map->dirtied_ns, began);
	iomap_release(&f->file);
	nanosleep(&old, NULL);
	OK(flusher_round(b.fs, false));
	ck_assert_uint_eq(map->nr_dirty, 0);
	fs_iput(f);
	end();
}
END_TEST

static bool flusher_rests(void)
{
	bool rests;

	mutex_lock(&b.fs->dirty_lock);
	rests = b.fs->flusher_due_ns == FLUSHER_NEVER && TAILQ_EMPTY(&b.fs->dirty);
	mutex_unlock(&b.fs->dirty_lock);
	return rests;
}

/*
 * Overwritten sectors, whose intent is durable before they are written: no transaction is open
 * then that would bring the commit thread. And what becomes dirty afterwards is found again.
 */
START_TEST(without_fsync_everything_is_written_and_the_flusher_sleeps_without_a_timer)
{
	const struct timespec pause = { .tv_nsec = 5 * NS_PER_MS };
	struct inode *f;

	begin("ram:64M", 4096);
	f = new_file("f");
	put_data(f, 0, BIG);
	OK(fs_fsync(f, false));
	fs_iput(f);
	b.opts.threads = true;
	b.opts.commit_ms = 40;
	box_remount(&b, false);
	f = get(b.root, "f");
	for (unsigned i = 0; i < 3; i++) {
		put_new(f, 0, BIG);
		OK(inode_store(f));     /* its times: they would open one */
		OK(fs_commit(b.fs));
		for (unsigned n = 0; !flusher_rests(); n++) {
			ck_assert_uint_lt(n, 4000);
			nanosleep(&pause, NULL);
		}
		ck_assert_uint_eq(f->file.mapping.nr_dirty, 0);
		ck_assert(inode_is_idle(f));
	}
	fs_iput(f);
	end();
}
END_TEST

START_TEST(delayed_data_counts_as_used_before_it_is_written)
{
	for (u32 block = 4096; block <= 2u << 20; block *= 8) {
		struct inode *f;
		u64 empty, delayed;

		begin("ram:256M", block);
		f = new_file("f");
		OK(fs_fsync(f, false));
		empty = sectors_free();
		put_data(f, 0, BIG - 5000);
		delayed = sectors_free();
		ck_assert_uint_le(delayed, empty - BIG / SECTOR_SIZE);
		OK(fs_fsync(f, false));
		ck_assert_uint_ge(sectors_free(), delayed);
		fs_iput(f);
		end();
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("file");

	check_add(s, a_small_file_lives_in_its_item);
	check_add(s, what_a_round_of_the_flusher_finds_dirty_again_has_to_get_old_first);
	check_add(s, delayed_data_counts_as_used_before_it_is_written);
	check_add(s, without_fsync_everything_is_written_and_the_flusher_sleeps_without_a_timer);
	check_add(s, a_synchronous_write_takes_a_file_out_of_its_item_that_was_cut_before);
	check_add(s, a_file_that_outgrows_its_item_keeps_its_bytes);
	check_add(s, an_inline_file_that_grew_and_was_half_written_keeps_its_old_bytes);
	check_add(s, a_file_that_shrank_and_then_left_its_item_has_its_size);
	check_add(s, a_punched_first_sector_counts_as_moved_out_of_the_item);
	check_add(s, fsync_makes_data_and_size_durable);
	check_add(s, what_was_not_synced_is_not_there_in_half);
	check_add(s, what_truncate_cut_off_never_comes_back);
	check_add(s, truncate_frees_all_space_at_once);
	check_add(s, a_full_disk_fails_the_write_not_the_fsync);
	check_add(s, what_is_no_write_is_refused_by_name);
	check_add(s, appends_go_to_the_end_wherever_they_ask_for);
	check_add(s, a_sync_write_is_durable_when_it_returns);
	check_add(s, a_file_rewritten_and_closed_is_never_found_empty);
	check_add(s, dropping_the_cache_loses_nothing);
	check_add_slow(s, random_operations_and_crashes_equal_a_byte_array, 200);
	check_add_slow(s, busy_files_larger_than_the_cache_equal_byte_arrays, 200);
	return check_main(s);
}
