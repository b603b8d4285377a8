/*
 * Goal: damage under a mounted file system is found by a scrub, named, and written to the record of
 * errors, which is there after a remount; what does not depend on it goes on working.
 * Method: the sample, damaged on the device, mounted without threads.
 */
#include "check_main.h"

#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/log.h"
#include "cache/cache.h"
#include "check/check.h"
#include "check/scrub.h"
#include "sample.h"

static struct sample s;
static struct fs *fs;
static char last[1200];
static unsigned lines;

static void no_log(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

static void setup(void)
{
	log_set_sink(no_log, NULL);
	sample_init(&s, SAMPLE_TINY);
}

static void teardown(void)
{
	sample_fini(&s);
}

static void open_fs(void)
{
	struct cache_config cfg = { .bytes = 32ull << 20, .max_order = 0xff };
	struct fs_opts o = { .threads = false };

	ck_assert_int_eq(cache_init(&cfg), 0);
	ck_assert_int_eq(fs_mount(s.dev, &o, &fs), 0);
}

static void close_fs(void)
{
	ck_assert_int_eq(fs_unmount(fs, false), 0);
	cache_fini();
}

static void line(void *arg, const char *text)
{
	(void)arg;
	printf("  %s\n", text);
	snprintf(last, sizeof(last), "%s", text);
	lines++;
}

static struct scrub_state scrubbed(void)
{
	struct scrub_opts o = { .damage = line };
	struct scrub_state st = { 0 };

	lines = 0;
	ck_assert_int_eq(scrub_run(fs, &o, &st), 0);
	return st;
}

static const struct fs_cred cred;

/* name NULL: a new file of the name "new". */
static struct inode *lookup(const char *dir, const char *name)
{
	struct inode *root, *at, *ip;

	ck_assert_int_eq(fs_iget(fs, FMT_ROOT_INO, &root), 0);
	at = root;
	if (dir)
		ck_assert_int_eq(fs_lookup(root, dir, strlen(dir), &at), 0);
	if (name)
		ck_assert_int_eq(fs_lookup(at, name, strlen(name), &ip), 0);
	else
		ck_assert_int_eq(fs_mknod(at, "new", 3, S_IFREG | 0600, 0, cred, &ip), 0);
	if (at != root)
		fs_iput(at);
	fs_iput(root);
	return ip;
}

START_TEST(a_scrub_of_a_healthy_file_system_reads_all_and_finds_nothing)
{
	struct scrub_state st;

	open_fs();
	st = scrubbed();
	ck_assert_uint_eq(st.meta_errors + st.data_errors, 0);
	ck_assert_uint_gt(st.meta_done, 50);
	ck_assert_uint_gt(st.data_done, 30);
	close_fs();
}
END_TEST

START_TEST(changes_that_are_not_on_the_disk_yet_are_no_damage)
{
	struct inode *ip;
	struct scrub_state st;
	char buf[9000];

	open_fs();
	memset(buf, 'x', sizeof(buf));
	ip = lookup("empty", NULL);
	ck_assert_int_eq(fs_write(ip, 1000, buf, sizeof(buf), 0), (int)sizeof(buf));
	fs_iput(ip);
	st = scrubbed();
	ck_assert_uint_eq(st.meta_errors + st.data_errors, 0);
	ip = lookup("empty", "new");
	ck_assert_int_eq(fs_fsync(ip, true), 0);
	fs_iput(ip);
	st = scrubbed();
	ck_assert_uint_eq(st.meta_errors + st.data_errors, 0);
	close_fs();
}
END_TEST

START_TEST(a_damaged_sector_of_data_is_named_by_path)
{
	struct fmt_key k = { s.big, 0 };
	struct scrub_state st;
	struct fmt_extent e;

	sample_item(&s, FMT_TREE_EXTENT, &k, &e);
	sample_flip(&s, get64(e.disk), 12345);
	open_fs();
	st = scrubbed();
	ck_assert_uint_eq(st.data_errors, 1);
	ck_assert_uint_eq(st.meta_errors, 0);
	ck_assert_uint_eq(lines, 1);
	ck_assert_msg(strncmp(last, "/big: file sector 0", 19) == 0, "%s", last);
	close_fs();
}
END_TEST

START_TEST(a_damaged_node_is_found_and_what_does_not_depend_on_it_works)
{
	u64 addr = sample_node(&s, FMT_TREE_XATTR, 0, 1), ino;
	struct fmt_node *n = aligned_alloc(SECTOR_SIZE, NODE_SIZE);
	struct scrub_state st;
	struct inode *ip;
	char buf[100];

	sample_get(&s, addr, NODE_SECTORS, n);
	ino = get64(n->slot[1].a);
	free(n);
	sample_smash(&s, addr + 2, 1);
	open_fs();
	st = scrubbed();
	ck_assert_uint_eq(st.meta_errors, 1);
	ck_assert_uint_eq(st.data_errors, 0);
	ck_assert_ptr_nonnull(strstr(last, "node at sector"));
	ck_assert_int_eq(fs_iget(fs, ino, &ip), 0);
	ck_assert_int_lt(fs_listxattr(ip, buf, 0), 0);
	ck_assert_int_gt(fs_write(ip, 0, "data", 4, 0), 0);
	ck_assert_int_eq(fs_fsync(ip, false), 0);
	ck_assert_int_eq(fs_read(ip, 0, buf, sizeof(buf), NULL), 4);
	fs_iput(ip);
	ip = lookup(NULL, "hard");
	ck_assert_int_eq(fs_fsync(ip, false), 0);
	fs_iput(ip);
	ck_assert(!fs_readonly(fs));
	close_fs();
}
END_TEST

/* ---- the record ---- */

static struct fs_errors e;

START_TEST(what_was_found_is_recorded_and_there_after_a_remount)
{
	u64 addr = sample_node(&s, FMT_TREE_XATTR, 0, 1), count = 0;
	char text[256];

	sample_smash(&s, addr + 2, 1);
	open_fs();
	ck_assert_int_eq(fs_errors(fs, &e), 0);
	ck_assert_uint_eq(e.nr, 0);
	scrubbed();
	close_fs();
	open_fs();
	ck_assert_int_eq(fs_errors(fs, &e), 0);
	for (u32 i = 0; i < e.nr; i++) {
		fs_error_to_text(&e.e[i], text, sizeof(text));
		printf("  %s\n", text);
		if (e.e[i].sector == addr && e.e[i].op == WORK_SCRUB &&
		    e.e[i].why == WHY_HDR_CHECKSUM)
			count += e.e[i].count;
	}
	fflush(stdout);
	ck_assert_uint_gt(count, 0);
	ck_assert_uint_ge(e.total, count);
	ck_assert_int_eq(fs_errors_clear(fs), 0);
	close_fs();
	open_fs();
	ck_assert_int_eq(fs_errors(fs, &e), 0);
	ck_assert_uint_eq(e.nr + e.total, 0);
	close_fs();
}
END_TEST

START_TEST(the_record_counts_the_same_place_once_and_keeps_the_newest)
{
	open_fs();
	for (u32 i = 0; i < 3 * FMT_NR_ERRORS; i++) {
		corrupt(WHY_DIRENT_NAME, 7, CORRUPT_NO_SECTOR);
		corrupt(WHY_BITMAP, CORRUPT_NO_INO, 1000 + i);
		if (i % 8 == 0)
			ck_assert_int_eq(fs_tick(fs), 0);
	}
	ck_assert_int_eq(fs_tick(fs), 0);
	ck_assert_int_eq(fs_errors(fs, &e), 0);
	ck_assert_uint_eq(e.total, 6 * FMT_NR_ERRORS);
	ck_assert_uint_eq(e.nr, FMT_NR_ERRORS);
	ck_assert_uint_eq(e.e[e.nr - 1].sector, 1000 + 3 * FMT_NR_ERRORS - 1);
	close_fs();
}
END_TEST

/* Of nodes and bitmaps the inode only says who met them: it makes no other place. */
START_TEST(what_belongs_to_no_inode_is_one_place_whoever_meets_it)
{
	struct work before;

	open_fs();
	for (u64 ino = 10; ino < 20; ino++) {
		before = work_begin(ino == 19 ? WORK_LOOKUP : WORK_GETATTR, ino);
		corrupt(WHY_HDR_CHECKSUM, CORRUPT_NO_INO, 1000);
		work_end(before);
		if (ino % 3 == 0)
			ck_assert_int_eq(fs_tick(fs), 0);
	}
	close_fs();
	open_fs();
	ck_assert_int_eq(fs_errors(fs, &e), 0);
	ck_assert_uint_eq(e.nr, 1);
	ck_assert_uint_eq(e.e[0].count, 10);
	ck_assert_uint_eq(e.e[0].op, WORK_LOOKUP);
	ck_assert_uint_eq(e.e[0].ino, 19);
	close_fs();
}
END_TEST

START_TEST(numbers_without_a_name_are_shown_as_numbers)
{
	const struct fs_error one = { .sector = 9, .count = 2, .why = 60000, .op = 60001 };
	char text[256];

	fs_error_to_text(&one, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "  operation 60001  reason 60000, sector 9, 2 times"));
}
END_TEST

START_TEST(the_record_is_no_problem_to_a_check)
{
	struct check_result res;

	open_fs();
	corrupt(WHY_DIRENT_NAME, 7, CORRUPT_NO_SECTOR);
	close_fs();
	ck_assert_int_eq(check_run(s.dev, NULL, &res), 0);
	ck_assert_uint_eq(res.problems, 0);
}
END_TEST

static void add(Suite *suite, const TTest *t, const char *name)
{
	tcase_add_checked_fixture(check_add_tcase(suite, t, name), setup, teardown);
}

int main(void)
{
	Suite *suite = suite_create("online");

#define ADD(test) add(suite, test, #test)
	ADD(a_scrub_of_a_healthy_file_system_reads_all_and_finds_nothing);
	ADD(changes_that_are_not_on_the_disk_yet_are_no_damage);
	ADD(a_damaged_sector_of_data_is_named_by_path);
	ADD(a_damaged_node_is_found_and_what_does_not_depend_on_it_works);
	ADD(what_was_found_is_recorded_and_there_after_a_remount);
	ADD(the_record_counts_the_same_place_once_and_keeps_the_newest);
	ADD(what_belongs_to_no_inode_is_one_place_whoever_meets_it);
	ADD(numbers_without_a_name_are_shown_as_numbers);
	ADD(the_record_is_no_problem_to_a_check);
	return check_main(suite);
}
