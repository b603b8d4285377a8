/*
 * Goal: every damaged image is found (fsck.foliofs -n: status 4), repaired (-y: 1) and clean after
 * that (0); what was not damaged is still there, with the right contents.
 * Method: damage.c makes each image from the same sample; the tool runs on a file; what programs
 * see is read before and after through a mount.
 */
#include "check_main.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "cache/cache.h"
#include "damage.h"
#include "fs/fs.h"

static struct sample small;
static char dir[64], image[80];

static void no_log(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

/* The device as a file, holes where there are only zeroes. */
static void to_file(struct sample *s)
{
	u64 nr = blk_sectors(s->dev);
	u8 *buf = aligned_alloc(SECTOR_SIZE, 512 * SECTOR_SIZE);
	int fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)(nr * SECTOR_SIZE)), 0);
	for (u64 at = 0; at < nr; at += 512) {
		u32 n = (u32)MIN(nr - at, (u64)512);

		sample_get(s, at, n, buf);
		for (u32 i = 0; i < n; i++) {
			const u8 *p = buf + (size_t)i * SECTOR_SIZE;

			if (p[0] || memcmp(p, p + 1, SECTOR_SIZE - 1))
				ck_assert_int_eq(pwrite(fd, p, SECTOR_SIZE,
							(off_t)((at + i) * SECTOR_SIZE)),
						 SECTOR_SIZE);
		}
	}
	close(fd);
	free(buf);
}

static int fsck(const char *options)
{
	const char *build = getenv("FOLIOFS_BUILD");
	char cmd[512];
	int status;

	printf("    fsck.foliofs %s\n", options);
	snprintf(cmd, sizeof(cmd), "cd %s && exec %s/fsck.foliofs %s image 2>&1", dir,
		 build ? build : "build/test", options);
	fflush(stdout);
	status = system(cmd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static u64 found[CHECK_NR];

static void find(struct sample *s)
{
	struct check_opts o = { .data = true };
	struct check_result res;

	memset(found, 0, sizeof(found));
	if (check_run(s->dev, &o, &res) == 0)
		memcpy(found, res.by_code, sizeof(found));
}

static void repair_one(const struct damage *d, struct sample *s)
{
	struct seen_all after;
	struct blk_dev *dev;
	u32 gone, different;

	printf("%s\n", d->name);
	d->fn(s);
	find(s);
	ck_assert_msg(found[d->code] > 0, "%s: '%s' was not found", d->name,
		      check_code_name(d->code));
	to_file(s);
	ck_assert_msg(fsck("-n -c") == 4, "%s: -n", d->name);
	ck_assert_msg(fsck("-y -c") == 1, "%s: -y", d->name);
	ck_assert_msg(fsck("-n -c") == 0, "%s: -n after -y", d->name);
	ck_assert_msg(fsck("-y -c") == 0, "%s: -y after -y", d->name);
	ck_assert_int_eq(blk_open(image, BLK_RDONLY, NULL, &dev), 0);
	seen_read(dev, &after);
	blk_close(dev);
	seen_compare(&s->seen, &after, &gone, &different);
	ck_assert_msg(gone <= d->gone && different <= d->different,
		      "%s: %u names gone, %u different", d->name, gone, different);
	seen_free(&after);
}

START_TEST(a_damaged_image_is_found_repaired_and_then_clean)
{
	const struct damage *d = &damages[_i];
	struct sample s;

	if (!d->large && !d->dirty) {
		sample_restore(&small);
		repair_one(d, &small);
		return;
	}
	sample_init(&s, d->large ? SAMPLE_LARGE : SAMPLE_SMALL);
	if (d->dirty)
		sample_make_dirty(&s);
	repair_one(d, &s);
	sample_fini(&s);
}
END_TEST

static void mount_image(unsigned flags, struct fs **fs, struct blk_dev **dev)
{
	struct cache_config cfg = { .bytes = 32ull << 20, .max_order = 0xff };
	struct fs_opts o = { .readonly = flags == BLK_RDONLY };

	ck_assert_int_eq(cache_init(&cfg), 0);
	ck_assert_int_eq(blk_open(image, flags, NULL, dev), 0);
	ck_assert_int_eq(fs_mount(*dev, &o, fs), 0);
}

static u32 recorded(struct fs *fs, enum why why, u16 op)
{
	static struct fs_errors e;
	u32 n = 0;

	ck_assert_int_eq(fs_errors(fs, &e), 0);
	for (u32 i = 0; i < e.nr; i++)
		n += e.e[i].why == why && e.e[i].op == op ? e.e[i].count : 0;
	return n;
}

static void close_image(struct fs *fs, struct blk_dev *dev)
{
	ck_assert_int_eq(fs_unmount(fs, false), 0);
	blk_close(dev);
	cache_fini();
}

START_TEST(a_log_damaged_in_the_middle_is_left_alone_until_it_is_repaired)
{
	struct sample s;
	struct blk_dev *dev;
	struct inode *root;
	struct fs *fs;

	sample_init(&s, SAMPLE_SMALL);
	sample_make_dirty(&s);
	for (u32 i = 0; i < nr_damages; i++)
		if (damages[i].code == CHECK_JOURNAL_LOST)
			damages[i].fn(&s);
	to_file(&s);
	mount_image(BLK_RDWR, &fs, &dev);
	ck_assert(fs_readonly(fs));
	ck_assert_int_eq(fs_iget(fs, FMT_ROOT_INO, &root), 0);
	ck_assert_int_eq(fs_setxattr(root, "user.a", "b", 1, 0), -EROFS);
	fs_iput(root);
	ck_assert_uint_eq(recorded(fs, WHY_JNL_LOST, WORK_RECOVERY), 1);
	close_image(fs, dev);
	ck_assert_int_eq(fsck(""), 4);
	ck_assert_int_eq(fsck("-n"), 4);
	ck_assert_int_eq(fsck("-y"), 1);
	mount_image(BLK_RDWR, &fs, &dev);
	ck_assert(!fs_readonly(fs));
	ck_assert_uint_eq(recorded(fs, WHY_JNL_CUT, WORK_FSCK), 1);
	close_image(fs, dev);
	ck_assert_int_eq(fsck("-n -c"), 0);
	sample_fini(&s);
}
END_TEST

START_TEST(the_sample_itself_is_clean)
{
	sample_restore(&small);
	find(&small);
	for (int i = 0; i < CHECK_NR; i++)
		ck_assert_msg(found[i] == 0, "%s", check_code_name((enum check_code)i));
	ck_assert_uint_gt(small.seen.nr, 400);
	for (int t = 0; t < FMT_TREE_ORPHAN; t++)
		ck_assert_uint_ne(sample_node(&small, (enum fmt_tree)t, 0, 1), 0);
	ck_assert_uint_ne(sample_node(&small, FMT_TREE_ORPHAN, 0, 0), 0);
}
END_TEST

static void setup(void)
{
	log_set_sink(no_log, NULL);
	snprintf(dir, sizeof(dir), "/tmp/foliofs-image.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/image", dir);
	sample_init(&small, SAMPLE_SMALL);
}

static void teardown(void)
{
	sample_fini(&small);
	unlink(image);
	rmdir(dir);
}

int main(void)
{
	Suite *s = suite_create("repair");
	TCase *tc = tcase_create("repair");

	tcase_add_unchecked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, the_sample_itself_is_clean);
	tcase_add_test(tc, a_log_damaged_in_the_middle_is_left_alone_until_it_is_repaired);
	tcase_add_loop_test(tc, a_damaged_image_is_found_repaired_and_then_clean, 0,
			    (int)nr_damages);
	suite_add_tcase(s, tc);
	return check_main(s);
}
