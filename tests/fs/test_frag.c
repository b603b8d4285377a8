/*
 * Long pieces: of files, however many are written at once, and of free space, however much comes
 * and goes. And fsync of one file leaves the data of others alone. All counted.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/file_priv.h"
#include "fs_test.h"
#include "stat/stat.h"

#define MIB (1u << 20)
#define PIECE (64u << 10)

static struct box b;
static u8 data[PIECE];
static const u32 blocks[] = { 4096, 65536 };

static struct inode *new_file(unsigned n)
{
	char name[16];

	snprintf(name, sizeof(name), "f%u", n);
	return make(b.root, name, S_IFREG | 0644);
}

static void put_piece(struct inode *f, u64 pos, u64 len)
{
	ck_assert_int_eq(fs_write(f, pos, data, len, 0), (ssize_t)len);
}

static struct fs_frag_file frag_of(struct inode *f)
{
	struct fs_frag_file frag;

	OK(fs_fsync(f, false));
	OK(fs_frag_file(f, &frag));
	return frag;
}

START_TEST(a_file_written_in_order_is_one_extent)
{
	struct fs_frag_file frag;
	struct inode *f;

	box_open(&b, "ram:128M", 4096);
	f = new_file(0);
	for (u64 pos = 0; pos < 32 * MIB; pos += PIECE)
		put_piece(f, pos, PIECE);
	frag = frag_of(f);
	printf("%llu extents\n", (unsigned long long)frag.extents);
	ck_assert_uint_eq(frag.sectors, 32 * MIB / SECTOR_SIZE);
	ck_assert_uint_le(frag.extents, 2);
	fs_iput(f);
	box_close(&b);
}
END_TEST

/* How many extents the files have together; the references go. */
static u64 put_counted(struct inode **f, unsigned nr)
{
	u64 extents = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct fs_frag_file frag = frag_of(f[i]);

		printf("file %u: %llu extents, longest %llu KiB\n", i,
		       (unsigned long long)frag.extents, (unsigned long long)frag.longest * 4);
		extents += frag.extents;
		fs_iput(f[i]);
	}
	return extents;
}

/* Turn by turn, with memory for a quarter of it, so that writeback comes in between. */
START_TEST(files_written_at_once_get_long_extents_each)
{
	struct inode *f[4];

	box_open(&b, "ram:256M", 4096);
	for (unsigned i = 0; i < 4; i++)
		f[i] = new_file(i);
	for (u64 pos = 0; pos < 16 * MIB; pos += PIECE)
		for (unsigned i = 0; i < 4; i++)
			put_piece(f[i], pos, PIECE);
	/* On average no shorter than 256 KiB, though the cache holds 4 MiB of each at most. */
	ck_assert_uint_le(put_counted(f, 4), 64 * MIB / (256u << 10));
	box_close(&b);
}
END_TEST

/* As logs are: little by little, each piece durable, with memory for all. */
START_TEST(files_appended_to_in_turn_get_long_extents_each)
{
	struct inode *f[4];

	box_open(&b, "ram:128M", blocks[_i]);
	for (unsigned i = 0; i < 4; i++)
		f[i] = new_file(i);
	for (u64 pos = 0; pos < 4 * MIB; pos += 4096)
		for (unsigned i = 0; i < 4; i++) {
			put_piece(f[i], pos, 4096);
			OK(fs_fsync(f[i], false));
		}
	ck_assert_uint_le(put_counted(f, 4), 64);
	box_close(&b);
}
END_TEST

/* What was ahead of a file that grew is no hole between it and the next one. */
START_TEST(a_closed_file_has_nothing_ahead)
{
	struct extent_run run;
	struct inode *f;
	u64 end;

	box_open(&b, "ram:128M", 4096);
	f = new_file(0);
	for (u64 pos = 0; pos < 10 * SECTOR_SIZE; pos += SECTOR_SIZE) {
		put_piece(f, pos, SECTOR_SIZE);
		OK(fs_fsync(f, false));
	}
	OK(extent_find(f, 0, &run));
	ck_assert_uint_eq(run.end, 10);
	end = run.disk + 10;
	fs_iput(f);
	f = new_file(1);
	put_piece(f, 0, PIECE);
	OK(fs_fsync(f, false));
	OK(extent_find(f, 0, &run));
	ck_assert_uint_eq(run.disk, end);
	fs_iput(f);
	box_close(&b);
}
END_TEST

static struct fs_frag_space free_space(void)
{
	struct fs_frag_space s;

	OK(fs_sync(b.fs));
	OK(fs_frag_space(b.fs, &s));
	return s;
}

START_TEST(free_space_is_whole_again_when_files_have_come_and_gone)
{
	struct fs_frag_space before, between, after;
	char name[16];

	box_open(&b, "ram:128M", 4096);
	before = free_space();
	srand(1);
	for (unsigned n = 0; n < 400; n++) {
		struct inode *f = new_file(n);

		for (u64 pos = 0, len = (u64)(rand() % 16 + 1) * 16384; pos < len; pos += 16384)
			put_piece(f, pos, 16384);
		fs_iput(f);
		if (n >= 40) {
			snprintf(name, sizeof(name), "f%u", n - 40);
			OK(unlink_name(b.root, name));
		}
	}
	between = free_space();
	for (unsigned n = 360; n < 400; n++) {
		snprintf(name, sizeof(name), "f%u", n);
		OK(unlink_name(b.root, name));
	}
	after = free_space();
	printf("free runs: %llu before, %llu with 40 files, %llu after; longest %llu, %llu, %llu\n",
	       (unsigned long long)before.runs, (unsigned long long)between.runs,
	       (unsigned long long)after.runs, (unsigned long long)before.longest,
	       (unsigned long long)between.longest, (unsigned long long)after.longest);
	ck_assert_uint_le(between.runs, before.runs + 60);
	/* They lie together: one of the two sides of them is whole. */
	ck_assert_uint_ge(between.longest * 2 + before.sectors - between.sectors, before.longest);
	ck_assert_uint_le(after.runs, before.runs + 8);
	ck_assert_uint_ge(after.longest * 10, before.longest * 9);
	box_close(&b);
}
END_TEST

START_TEST(fsync_of_one_file_writes_nothing_of_another)
{
	struct inode *f, *other;
	u64 written;

	box_open(&b, "ram:128M", 4096);
	f = new_file(0);
	other = new_file(1);
	/* Long enough not to go through the log. */
	for (u64 pos = 0; pos < MIB / 2; pos += PIECE) {
		put_piece(other, pos, PIECE);
		put_piece(f, pos, PIECE);
	}
	written = stat_read(STAT_WRITE_BYTES_DATA);
	OK(fs_fsync(f, false));
	ck_assert_uint_eq(stat_read(STAT_WRITE_BYTES_DATA) - written, MIB / 2);
	OK(fs_fsync(other, false));
	ck_assert_uint_eq(stat_read(STAT_WRITE_BYTES_DATA) - written, MIB);
	fs_iput(f);
	fs_iput(other);
	box_close(&b);
}
END_TEST

/* ---- a file whose writes do not end ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool hangs, let_go;
} device = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static __thread bool is_slow;

static int hang(void *arg, const struct blk_fault *f)
{
	(void)arg;
	if (!is_slow || f->op != BLK_FAULT_WRITE || f->kind != BLK_DATA)
		return 0;
	pthread_mutex_lock(&device.lock);
	device.hangs = true;
	pthread_cond_broadcast(&device.cond);
	while (!device.let_go)
		pthread_cond_wait(&device.cond, &device.lock);
	pthread_mutex_unlock(&device.lock);
	return 0;
}

static void *sync_slowly(void *file)
{
	is_slow = true;
	return (void *)(intptr_t)fs_fsync(file, false);
}

static pthread_t begin_to_hang(struct inode *f)
{
	pthread_t thread;

	device.hangs = device.let_go = false;
	blk_fault_set(b.dev, hang, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, sync_slowly, f), 0);
	pthread_mutex_lock(&device.lock);
	while (!device.hangs)
		pthread_cond_wait(&device.cond, &device.lock);
	pthread_mutex_unlock(&device.lock);
	return thread;
}

static void end_of_hanging(pthread_t thread)
{
	void *result;

	pthread_mutex_lock(&device.lock);
	device.let_go = true;
	pthread_cond_broadcast(&device.cond);
	pthread_mutex_unlock(&device.lock);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_null(result);
	blk_fault_set(b.dev, NULL, NULL);
}

/* In new space, in place, and through the log; the other file's writes hang in either of the first
 * two. That it returns at all is the claim. */
START_TEST(fsync_of_one_file_ends_while_writes_of_another_hang)
{
	static const u64 lens[] = { 8 * PIECE, 8 * PIECE, SECTOR_SIZE };
	struct inode *f, *other;
	pthread_t thread;

	box_open(&b, "ram:128M", 4096);
	f = new_file(0);
	other = new_file(1);
	for (unsigned slow = 0; slow < 2; slow++) {
		for (u64 pos = 0; pos < 8 * PIECE; pos += PIECE)
			put_piece(other, pos, PIECE);
		thread = begin_to_hang(other);
		for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
			for (u64 pos = 0; pos < lens[i]; pos += PIECE)
				put_piece(f, pos, MIN(lens[i], (u64)PIECE));
			OK(fs_fsync(f, false));
		}
		end_of_hanging(thread);
	}
	fs_iput(f);
	fs_iput(other);
	box_close(&b);
}
END_TEST

/* What fallocate took beyond the end is kept; what writing took is no more than was written. */
START_TEST(a_closed_file_holds_no_more_space_than_its_data)
{
	struct inode *f;

	box_open(&b, "ram:128M", 4096);
	for (unsigned n = 0; n < 20; n++) {
		f = new_file(n);
		for (u64 pos = 0; pos < (n + 1) * 16384u; pos += 16384)
			put_piece(f, pos, 16384);
		OK(fs_fsync(f, false));
		ck_assert_uint_eq(frag_of(f).sectors, (n + 1) * 4);
		fs_iput(f);
	}
	box_close(&b);
}
END_TEST

int main(void)
{
	TCase *turns = tcase_create("files_appended_to_in_turn_get_long_extents_each");
	Suite *s = suite_create("frag");

	check_add(s, a_file_written_in_order_is_one_extent);
	check_add(s, files_written_at_once_get_long_extents_each);
	tcase_add_loop_test(turns, files_appended_to_in_turn_get_long_extents_each, 0,
			    (int)ARRAY_LEN(blocks));
	suite_add_tcase(s, turns);
	check_add(s, free_space_is_whole_again_when_files_have_come_and_gone);
	check_add(s, fsync_of_one_file_writes_nothing_of_another);
	check_add(s, fsync_of_one_file_ends_while_writes_of_another_hang);
	check_add(s, a_closed_file_has_nothing_ahead);
	check_add(s, a_closed_file_holds_no_more_space_than_its_data);
	return check_main(s);
}
