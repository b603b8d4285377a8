/*
 * Goal: fs_format makes sound file systems of every shape, and check finds its way when the
 * superblock, the journal or the device itself is not as it should be.
 * Method: memory devices; fault injection; random damage anywhere (the sanitizer build watches).
 */
#include "check_main.h"

#include <string.h>
#include <unistd.h>

#include "../format/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "fs/fs.h"
#include "image.h"

static void no_log(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

static struct blk_dev *formatted(const char *path, const struct fs_format_opts *o)
{
	struct blk_dev *dev;
	struct fmt_geo geo;

	ck_assert_int_eq(blk_open(path, BLK_RDWR, NULL, &dev), 0);
	ck_assert_int_eq(fs_format(dev, o, &geo), 0);
	return dev;
}

static struct check_result checked(struct blk_dev *dev)
{
	struct check_result res;

	ck_assert_int_eq(check_run(dev, NULL, &res), 0);
	return res;
}

START_TEST(a_fresh_file_system_of_any_size_and_block_size_is_sound)
{
	static const char *const sizes[] = { "ram:2M", "ram:5M", "ram:32M", "ram:1000M", "ram:1G",
					     "ram:3500M", "ram:1T" };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		for (u32 block = 4096; block <= FMT_BLOCK_MAX; block *= 8) {
			struct fs_format_opts o = { .block_bytes = i < 2 ? 4096 : block };
			struct blk_dev *dev = formatted(sizes[i], &o);
			struct check_result res = checked(dev);

			ck_assert_uint_eq(res.problems, 0);
			ck_assert_uint_eq(res.inodes, 1);
			blk_close(dev);
		}
	}
}
END_TEST

START_TEST(what_was_asked_for_is_in_the_superblock)
{
	u8 uuid[16] = { 1, 2, 3 };
	struct fs_format_opts o = { .block_bytes = 65536, .jnl_sectors = 1000, .label = "hello",
				    .uuid = uuid, .time = 12345, .nr_sectors = 8000 };
	struct blk_dev *dev = formatted("ram:64M", &o);
	struct check_state st;

	ck_assert_int_eq(check_state(dev, &st), 0);
	ck_assert_uint_eq(st.geo.block_bytes, 65536);
	ck_assert_uint_eq(st.geo.jnl_nr, 1000);
	ck_assert_uint_eq(st.geo.nr_sectors, 8000);
	ck_assert_str_eq(st.geo.label, "hello");
	ck_assert_int_eq(memcmp(st.geo.uuid, uuid, 16), 0);
	ck_assert_int_eq(st.geo.mkfs_time, 12345);
	ck_assert(st.clean);
	ck_assert_uint_eq(st.inodes, 1);
	blk_close(dev);
}
END_TEST

START_TEST(a_plan_that_fails_changes_nothing)
{
	struct fs_format_opts good = { .label = "keep" };
	struct blk_dev *dev = formatted("ram:16M", &good);
	struct fs_format_opts bad[] = {
		{ .block_bytes = 1000 }, { .block_bytes = 8192 * 1024 }, { .jnl_sectors = 10 },
		{ .jnl_sectors = 100000 }, { .nr_sectors = 5000 }, { .nr_sectors = 100 },
		{ .label = "0123456789012345678901234567890123456789012345678901234567890123" },
	};
	struct check_state st;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_lt(fs_format(dev, &bad[i], NULL), 0);
	ck_assert_int_eq(check_state(dev, &st), 0);
	ck_assert_str_eq(st.geo.label, "keep");
	blk_close(dev);
}
END_TEST

static int no_room(void *arg, const struct blk_fault *f)
{
	(void)arg;
	return f->op == BLK_FAULT_PREALLOC ? -ENOSPC : 0;
}

START_TEST(without_room_on_the_host_the_old_contents_are_kept)
{
	struct fs_format_opts o = { .label = "keep" };
	struct blk_dev *dev = formatted("ram:16M", &o);
	struct check_state st;

	o.label = "new";
	blk_fault_set(dev, no_room, NULL);
	ck_assert_int_eq(fs_format(dev, &o, NULL), -ENOSPC);
	blk_fault_set(dev, NULL, NULL);
	ck_assert_int_eq(check_state(dev, &st), 0);
	ck_assert_str_eq(st.geo.label, "keep");
	blk_close(dev);
}
END_TEST

static u64 log_written;          /* sectors */

static int no_preallocation(void *arg, const struct blk_fault *f)
{
	(void)arg;
	if (f->op == BLK_FAULT_WRITE && f->kind == BLK_LOG)
		log_written += f->nr;
	return f->op == BLK_FAULT_PREALLOC ? -EOPNOTSUPP : 0;
}

/* Else a log without room would hold up every fsync. */
START_TEST(on_a_host_that_cannot_preallocate_all_of_the_log_is_written)
{
	struct fs_format_opts o = { .jnl_sectors = 3000 };
	const char *path = "nopreallocation.img";
	struct blk_dev *dev;
	FILE *f = fopen(path, "w");

	ck_assert(f && !ftruncate(fileno(f), 64 << 20) && !fclose(f));
	ck_assert_int_eq(blk_open(path, BLK_RDWR, NULL, &dev), 0);
	blk_fault_set(dev, no_preallocation, NULL);
	ck_assert_int_eq(fs_format(dev, &o, NULL), 0);
	blk_fault_set(dev, NULL, NULL);
	ck_assert_uint_ge(log_written, 3000);
	ck_assert_uint_eq(checked(dev).problems, 0);
	blk_close(dev);
	unlink(path);
}
END_TEST

static u64 writes_left;

static int writes_run_out(void *arg, const struct blk_fault *f)
{
	(void)arg;
	if (f->op != BLK_FAULT_WRITE)
		return 0;
	if (writes_left == 0)
		return -EIO;
	writes_left--;
	return 0;
}

START_TEST(formatting_that_breaks_off_leaves_no_superblock_that_is_believed)
{
	struct fs_format_opts o = { .label = "old" };

	for (u64 n = 1; n < 8; n++) {
		struct blk_dev *dev = formatted("ram:16M", &o);
		struct check_result res;

		writes_left = n;
		blk_fault_set(dev, writes_run_out, NULL);
		if (fs_format(dev, &o, NULL) == 0)
			n = 8;
		else
			ck_assert_int_eq(check_run(dev, NULL, &res), -EINVAL);
		blk_fault_set(dev, NULL, NULL);
		blk_close(dev);
	}
}
END_TEST

START_TEST(an_empty_device_holds_no_file_system)
{
	struct blk_dev *dev;
	struct check_result res;
	struct check_state st;

	ck_assert_int_eq(blk_open("ram:8M", BLK_RDWR, NULL, &dev), 0);
	ck_assert_int_eq(check_run(dev, NULL, &res), -EINVAL);
	ck_assert_int_eq(check_state(dev, &st), -EINVAL);
	blk_close(dev);
}
END_TEST

static void damage(struct blk_dev *dev, u64 sector, u32 byte)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	ck_assert_int_eq(blk_read(dev, sector, buf, 1, BLK_META), 0);
	buf[byte] ^= 1;
	ck_assert_int_eq(blk_write(dev, sector, buf, 1, BLK_META), 0);
	free(buf);
}

START_TEST(a_damaged_superblock_is_replaced_by_a_copy)
{
	struct fs_format_opts o = { .label = "x" };
	struct blk_dev *dev = formatted("ram:3G", &o);
	struct check_result res;

	damage(dev, 0, FMT_SUPER_OFFSET + 100);
	res = checked(dev);
	ck_assert_uint_eq(res.problems, 1);
	ck_assert_uint_eq(res.by_code[CHECK_SUPER], 1);
	ck_assert_str_eq(res.geo.label, "x");
	blk_close(dev);
}
END_TEST

START_TEST(a_damaged_copy_is_reported)
{
	struct fs_format_opts o = { .label = "x" };
	struct blk_dev *dev = formatted("ram:3G", &o);
	struct check_result res;

	damage(dev, FMT_GROUP_SECTORS, FMT_SUPER_OFFSET + 100);
	res = checked(dev);
	ck_assert_uint_eq(res.problems, 1);
	ck_assert_uint_eq(res.by_code[CHECK_SUPER_COPY], 1);
	blk_close(dev);
}
END_TEST

START_TEST(damaged_log_headers_are_reported)
{
	struct fs_format_opts o = { 0 };
	struct blk_dev *dev = formatted("ram:16M", &o);
	struct check_result res = checked(dev);
	u64 at = res.geo.jnl_sector;

	damage(dev, at, 50);
	res = checked(dev);
	ck_assert_uint_eq(res.by_code[CHECK_JOURNAL], 1);
	damage(dev, at + 1, 50);
	res = checked(dev);
	ck_assert_uint_eq(res.by_code[CHECK_JOURNAL], 1);
	ck_assert_uint_eq(res.problems, 1);
	blk_close(dev);
}
END_TEST

static u64 bad_sector;

static int unreadable(void *arg, const struct blk_fault *f)
{
	(void)arg;
	if (f->op == BLK_FAULT_READ && bad_sector >= f->sector && bad_sector < f->sector + f->nr)
		return -EIO;
	return 0;
}

START_TEST(sectors_that_cannot_be_read_are_reported_and_the_rest_is_checked)
{
	struct image im;
	struct check_result res;

	image_init(&im);
	image_write(&im);
	bad_sector = im.node[FMT_TREE_XATTR] + 2;
	blk_fault_set(im.dev, unreadable, NULL);
	res = checked(im.dev);
	blk_fault_set(im.dev, NULL, NULL);
	ck_assert_uint_eq(res.by_code[CHECK_READ], 1);
	ck_assert_uint_eq(res.problems, 1);
	ck_assert_uint_eq(res.written_sectors, 8);
	image_fini(&im);
}
END_TEST

/* Metadata sectors that damage is spread over: all that image_write() made. */
static u64 random_sector(const struct image *im, u64 *state)
{
	u64 pick = next_random(state) % 8;

	switch (pick) {
	case 0:
		return im->geo.root_sector;
	case 1:
		return im->geo.gtable_sector;
	case 2:
		return fmt_bitmap_sector(&im->geo, 0);
	default:
		return im->node[pick - 3];
	}
}

static enum fmt_kind kind_at(const struct image *im, u64 addr)
{
	if (addr == im->geo.root_sector)
		return FMT_KIND_ROOT;
	if (addr == im->geo.gtable_sector)
		return FMT_KIND_GTABLE;
	return addr == fmt_bitmap_sector(&im->geo, 0) ? FMT_KIND_BITMAP : FMT_KIND_NODE;
}

static u64 *edit_state;

/* Most of a small leaf is empty: aim at header, slots and the end of the heap. */
static void scribble(void *buf)
{
	u8 *p = buf;
	bool node = get16(((struct fmt_hdr *)buf)->kind) == FMT_KIND_NODE;

	for (int i = 0; i < 3; i++) {
		u64 at = 48 + next_random(edit_state) % 400;

		if (node && i == 2)
			at = NODE_SIZE - 1 - next_random(edit_state) % 3000;
		p[at] = (u8)next_random(edit_state);
	}
}

START_TEST(random_damage_with_right_checksums_never_faults)
{
	u64 state = 9;
	struct image im;

	edit_state = &state;
	image_init(&im);
	for (int i = 0; i < 3000; i++) {
		struct check_result res;
		u64 addr;

		if (i % 4 == 0)
			image_write(&im);
		addr = random_sector(&im, &state);
		image_edit(&im, kind_at(&im, addr), addr, scribble);
		ck_assert_int_eq(check_run(im.dev, NULL, &res), 0);
	}
	image_fini(&im);
}
END_TEST

START_TEST(random_bytes_anywhere_never_fault)
{
	u64 state = 10;
	struct image im;
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	image_init(&im);
	for (int i = 0; i < 300; i++) {
		struct check_result res;

		image_write(&im);
		for (int j = 0; j < 4; j++) {
			fill_random(buf, 512, &state);
			ck_assert_int_eq(blk_write(im.dev, next_random(&state) % 1300, buf, 1,
						   BLK_META), 0);
		}
		(void)check_run(im.dev, NULL, &res);
	}
	free(buf);
	image_fini(&im);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("devices");

	log_set_sink(no_log, NULL);
	check_add(s, a_fresh_file_system_of_any_size_and_block_size_is_sound);
	check_add(s, what_was_asked_for_is_in_the_superblock);
	check_add(s, a_plan_that_fails_changes_nothing);
	check_add(s, without_room_on_the_host_the_old_contents_are_kept);
	check_add(s, on_a_host_that_cannot_preallocate_all_of_the_log_is_written);
	check_add(s, formatting_that_breaks_off_leaves_no_superblock_that_is_believed);
	check_add(s, an_empty_device_holds_no_file_system);
	check_add(s, a_damaged_superblock_is_replaced_by_a_copy);
	check_add(s, a_damaged_copy_is_reported);
	check_add(s, damaged_log_headers_are_reported);
	check_add(s, sectors_that_cannot_be_read_are_reported_and_the_rest_is_checked);
	check_add(s, random_damage_with_right_checksums_never_faults);
	check_add(s, random_bytes_anywhere_never_fault);
	return check_main(s);
}
