/*
 * What it costs to make data durable, in writes and flushes of the device, and data that goes
 * through the log.
 */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "file_test.h"
#include "fs/inode.h"
#include "stat/stat.h"

START_TEST(an_overwrite_is_synced_by_two_flushes_and_one_log_write)
{
	struct inode *f;
	u64 flushes, writes, log;

	begin("ram:64M", 65536);
	f = new_file("f");
	put_data(f, 0, 1u << 20);
	OK(fs_sync(b.fs));
	OK(fs_fsync(f, true));
	flushes = stat_read(STAT_FLUSHES);
	log = stat_read(STAT_WRITE_IOS_LOG);
	writes = stat_read(STAT_WRITE_IOS_DATA);
	for (unsigned i = 0; i < 10; i++) {
		put_data(f, i * 81920, 81920);
		OK(fs_fsync(f, i % 2));
	}
	ck_assert_uint_eq(stat_read(STAT_FLUSHES) - flushes, 20);
	ck_assert_uint_eq(stat_read(STAT_WRITE_IOS_LOG) - log, 10);
	ck_assert_uint_eq(stat_read(STAT_WRITE_IOS_DATA) - writes, 10);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(an_fsync_with_nothing_to_do_does_no_io)
{
	struct inode *f;
	u64 flushes, log, written;

	begin("ram:64M", 0);
	f = new_file("f");
	put_data(f, 0, 1u << 20);
	OK(fs_fsync(f, false));
	flushes = stat_read(STAT_FLUSHES);
	log = stat_read(STAT_WRITE_BYTES_LOG);
	written = stat_read(STAT_WRITE_BYTES_DATA);
	OK(fs_fsync(f, false));
	OK(fs_fsync(f, true));
	ck_assert_uint_eq(stat_read(STAT_FLUSHES), flushes);
	ck_assert_uint_eq(stat_read(STAT_WRITE_BYTES_LOG), log);
	ck_assert_uint_eq(stat_read(STAT_WRITE_BYTES_DATA), written);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(an_append_and_fsync_costs_two_flushes)
{
	struct inode *f;
	u64 flushes;

	begin("ram:64M", 65536);
	f = new_file("f");
	put_data(f, 0, 8192);
	OK(fs_fsync(f, false));
	flushes = stat_read(STAT_FLUSHES);
	for (unsigned i = 1; i <= 8; i++) {
		put_data(f, i * 131072, 131072);
		OK(fs_fsync(f, true));
	}
	/* Data; then the transaction with map entries and size. */
	ck_assert_uint_eq(stat_read(STAT_FLUSHES) - flushes, 16);
	fs_iput(f);
	end();
}
END_TEST

struct costs { u64 flushes, log, data, meta; };

static struct costs costs_now(void)
{
	return (struct costs){ stat_read(STAT_FLUSHES), stat_read(STAT_WRITE_IOS_LOG),
			       stat_read(STAT_WRITE_IOS_DATA), stat_read(STAT_WRITE_IOS_META) };
}

/* `nr` times one write to the log and one flush, and nothing else. */
static void assert_one_write_one_flush(const struct costs *from, u64 nr)
{
	struct costs now = costs_now();

	ck_assert_uint_eq(now.flushes - from->flushes, nr);
	ck_assert_uint_eq(now.log - from->log, nr);
	ck_assert_uint_eq(now.data, from->data);
	ck_assert_uint_eq(now.meta, from->meta);
}

START_TEST(a_small_overwrite_is_synced_by_one_write_and_one_flush)
{
	struct costs from;
	struct inode *f;

	begin("ram:64M", 65536);
	f = new_file("f");
	put_data(f, 0, 1u << 20);
	OK(fs_sync(b.fs));
	from = costs_now();
	for (unsigned i = 0; i < 10; i++) {
		put_new(f, i * 40960 + 100, 4096 + i * 3000);
		OK(fs_fsync(f, i % 2));
	}
	assert_one_write_one_flush(&from, 10);
	f = crash(f, "f");
	expect(f, 1u << 20, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_small_append_is_synced_by_one_write_and_one_flush)
{
	struct costs from;
	struct inode *f;

	begin("ram:64M", 65536);
	f = new_file("f");
	put_data(f, 0, 10000);
	OK(fs_fsync(f, false));
	from = costs_now();
	for (unsigned i = 0; i < 20; i++) {
		put_data(f, 10000 + i * 5000, 5000);
		OK(fs_fsync(f, i % 2));
	}
	assert_one_write_one_flush(&from, 20);
	f = crash(f, "f");
	expect(f, 110000, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(on_a_device_with_fua_a_small_sync_is_one_write_and_no_flush)
{
	struct costs from, now;
	struct inode *f;
	u64 durable;

	begin_fua("ram:64M", 65536);
	f = new_file("f");
	put_data(f, 0, 1u << 20);
	OK(fs_sync(b.fs));
	from = costs_now();
	durable = stat_read(STAT_DURABLE_WRITES);
	for (unsigned i = 0; i < 10; i++) {
		put_new(f, i * 40960 + 100, 4096 + i * 3000);
		OK(fs_fsync(f, i % 2));
	}
	now = costs_now();
	ck_assert_uint_eq(now.flushes, from.flushes);
	ck_assert_uint_eq(now.log - from.log, 10);
	ck_assert_uint_eq(stat_read(STAT_DURABLE_WRITES) - durable, 10);
	f = crash(f, "f");
	expect(f, 1u << 20, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(on_a_device_with_fua_new_space_costs_one_flush_and_that_of_the_data)
{
	struct costs from, now;
	struct inode *f;

	begin_fua("ram:64M", 65536);
	f = new_file("f");
	put_data(f, 0, 8192);
	OK(fs_fsync(f, false));
	from = costs_now();
	for (unsigned i = 1; i <= 8; i++) {
		put_data(f, i * 131072, 131072);
		OK(fs_fsync(f, true));
	}
	now = costs_now();
	/* The transaction with map entries and size comes when nothing else is left to flush. */
	ck_assert_uint_eq(now.flushes - from.flushes, 8);
	ck_assert_uint_eq(now.log - from.log, 8);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_sync_write_that_fits_costs_one_write_and_one_flush)
{
	struct costs from;
	struct inode *f;

	begin("ram:64M", 0);
	f = new_file("f");
	put_data(f, 0, 1u << 20);
	OK(fs_sync(b.fs));
	from = costs_now();
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(fs_write(f, i * 70000, data + i * 70000, 65536,
					  i % 2 ? FS_WRITE_SYNC : FS_WRITE_DSYNC), 65536);
	assert_one_write_one_flush(&from, 10);
	fs_iput(f);
	end();
}
END_TEST

/* The first flush waits until the others have put their data into the next transaction. */
#define NR_SYNCERS 4u
static struct { bool armed, inside; u64 logged; } meeting;

static int meet(void *arg UNUSED, const struct blk_fault *f)
{
	if (f->op != BLK_FAULT_FLUSH ||
	    !__atomic_exchange_n(&meeting.armed, false, __ATOMIC_ACQ_REL))
		return 0;
	__atomic_store_n(&meeting.inside, true, __ATOMIC_RELEASE);
	while (stat_read(STAT_DATA_LOGGED) < meeting.logged + NR_SYNCERS)
		sched_yield();
	return 0;
}

static void *write_and_sync(void *arg)
{
	u64 i = (u64)(uintptr_t)arg;
	struct inode *f = get(b.root, (const char[2]){ (char)('a' + i), 0 });

	ck_assert_int_eq(fs_write(f, 0, data + i * 999, 5000, FS_WRITE_DSYNC), 5000);
	fs_iput(f);
	return NULL;
}

START_TEST(synchronous_writes_that_meet_share_a_commit)
{
	pthread_t t[NR_SYNCERS];
	struct costs from;

	begin("ram:64M", 4096);
	for (unsigned i = 0; i < NR_SYNCERS; i++) {
		struct inode *f = new_file((const char[2]){ (char)('a' + i), 0 });

		put_data(f, 0, 10000);
		fs_iput(f);
	}
	OK(fs_sync(b.fs));
	from = costs_now();
	/* Two sectors each. */
	meeting.logged = stat_read(STAT_DATA_LOGGED) + NR_SYNCERS;
	meeting.armed = true;
	blk_fault_set(b.dev, meet, NULL);
	for (unsigned i = 0; i < NR_SYNCERS; i++) {
		pthread_create(&t[i], NULL, write_and_sync, (void *)(uintptr_t)i);
		while (i == 0 && !__atomic_load_n(&meeting.inside, __ATOMIC_ACQUIRE))
			sched_yield();
	}
	for (unsigned i = 0; i < NR_SYNCERS; i++)
		pthread_join(t[i], NULL);
	assert_one_write_one_flush(&from, 2);
	blk_fault_set(b.dev, NULL, NULL);
	end();
}
END_TEST

START_TEST(what_the_log_holds_is_read_from_it_until_it_is_in_its_place)
{
	struct inode *f;

	begin("ram:64M", 4096);
	f = new_file("f");
	put_data(f, 0, 1u << 20);
	OK(fs_sync(b.fs));
	put_new(f, 40000, 50000);
	OK(fs_fsync(f, true));
	fs_drop_cache(b.fs, f);
	expect(f, 1u << 20, 0, 0);
	OK(jnl_checkpoint_all(fs_jnl(b.fs)));
	fs_drop_cache(b.fs, f);
	expect(f, 1u << 20, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(a_read_only_mount_reads_data_from_a_log_that_it_may_not_replay)
{
	struct inode *f;

	begin("ram:64M", 4096);
	f = new_file("f");
	put_data(f, 0, 1u << 20);
	OK(fs_sync(b.fs));
	put_new(f, 40000, 50000);
	OK(fs_fsync(f, true));
	b.opts.readonly = true;
	f = crash(f, "f");
	expect(f, 1u << 20, 0, 0);
	b.opts.readonly = false;
	f = again(f, "f");
	expect(f, 1u << 20, 0, 0);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(sectors_freed_while_the_log_holds_them_do_not_come_back)
{
	struct inode *f, *g;

	begin("ram:16M", 4096);
	f = new_file("f");
	put_data(f, 0, 60000);
	OK(fs_fsync(f, true));
	OK(fs_truncate(f, 0));
	OK(fs_sync(b.fs));
	/* All the space there is: that of the file before, too. */
	g = new_file("g");
	for (u64 pos = 0; pos < 12u << 20; pos += 1u << 20)
		if (fs_write(g, pos, data + 100, 1u << 20, 0) != 1 << 20)
			break;
	OK(fs_fsync(g, true));
	fs_iput(g);
	f = crash(f, "f");
	g = get(b.root, "g");
	for (u64 pos = 0, n; pos < inode_size(g); pos += n) {
		n = (u64)fs_read(g, pos, back, 1u << 20, NULL);
		ck_assert(n <= 1u << 20 && !memcmp(back, data + 100, n));
	}
	fs_iput(g);
	fs_iput(f);
	end();
}
END_TEST

/* A device that is not done at once, which is removed when it is closed. */
static void begin_on_file(u64 bytes)
{
	char path[] = "sync_test.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	OK(ftruncate(fd, (off_t)bytes));
	close(fd);
	begin(path, 0);
	unlink(path);
}

static u64 nr_sent, most_sent, ended_before;

/* Writes end where they are waited for, so only what was sent without waiting adds up. */
static int watch(void *arg UNUSED, const struct blk_fault *f)
{
	u64 sent, ended;

	if (f->op != BLK_FAULT_WRITE || f->kind != BLK_DATA)
		return 0;
	sent = __atomic_add_fetch(&nr_sent, 1, __ATOMIC_RELAXED);
	ended = stat_read(STAT_WRITE_IOS_DATA) - ended_before;
	if (sent > ended && sent - ended > __atomic_load_n(&most_sent, __ATOMIC_RELAXED))
		__atomic_store_n(&most_sent, sent - ended, __ATOMIC_RELAXED);
	return 0;
}

START_TEST(many_small_files_are_under_way_together)
{
	enum { FILES = 300 };

	begin_on_file(64u << 20);
	for (unsigned i = 0; i < FILES; i++) {
		char name[16];
		struct inode *f;

		snprintf(name, sizeof(name), "f%u", i);
		f = new_file(name);
		put_data(f, 0, 4096);
		fs_iput(f);
	}
	ended_before = stat_read(STAT_WRITE_IOS_DATA);
	blk_fault_set(b.dev, watch, NULL);
	OK(fs_sync(b.fs));
	blk_fault_set(b.dev, NULL, NULL);
	if (!strcmp(blk_backend(b.dev), "uring"))
		ck_assert_uint_ge(most_sent, 32);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sync");

	check_add(s, an_overwrite_is_synced_by_two_flushes_and_one_log_write);
	check_add(s, an_fsync_with_nothing_to_do_does_no_io);
	check_add(s, many_small_files_are_under_way_together);
	check_add(s, an_append_and_fsync_costs_two_flushes);
	check_add(s, a_small_overwrite_is_synced_by_one_write_and_one_flush);
	check_add(s, a_small_append_is_synced_by_one_write_and_one_flush);
	check_add(s, a_sync_write_that_fits_costs_one_write_and_one_flush);
	check_add(s, on_a_device_with_fua_a_small_sync_is_one_write_and_no_flush);
	check_add(s, on_a_device_with_fua_new_space_costs_one_flush_and_that_of_the_data);
	check_add(s, synchronous_writes_that_meet_share_a_commit);
	check_add(s, what_the_log_holds_is_read_from_it_until_it_is_in_its_place);
	check_add(s, a_read_only_mount_reads_data_from_a_log_that_it_may_not_replay);
	check_add(s, sectors_freed_while_the_log_holds_them_do_not_come_back);
	return check_main(s);
}
