/*
 * Goal: the check finds each kind of inconsistency, names it, and finds nothing else.
 * Method: a sound image built by hand, one mistake in each test.
 */
#include "check_main.h"

#include <string.h>
#include <sys/stat.h>

#include "image.h"

static struct image im;

static void setup(void)
{
	image_init(&im);
}

static void teardown(void)
{
	image_fini(&im);
}

static struct fmt_inode *inode(u64 ino)
{
	return image_item(&im, FMT_TREE_INODE, ino, 0);
}

#define NONE CHECK_NR

START_TEST(a_sound_image_has_no_problems)
{
	struct check_result res;

	image_write(&im);
	image_expect(&im, NONE);
	ck_assert_int_eq(check_run(im.dev, NULL, &res), 0);
	ck_assert_uint_eq(res.inodes, 7);
	ck_assert_uint_eq(res.directories, 3);
	ck_assert_uint_eq(res.nodes, 5);
	ck_assert_uint_eq(res.written_sectors, 8);
}
END_TEST

/* ---- links and directories ---- */

START_TEST(a_wrong_link_count_is_found)
{
	inode(3)->nlink = put32(3);
	image_write(&im);
	image_expect(&im, CHECK_NLINK, NONE);
}
END_TEST

START_TEST(a_wrong_link_count_of_a_directory_is_found)
{
	inode(1)->nlink = put32(2);
	image_write(&im);
	image_expect(&im, CHECK_NLINK, NONE);
}
END_TEST

START_TEST(an_inode_without_name_is_found)
{
	struct fmt_inode i = { .mode = put32(S_IFREG | 0600), .nlink = put32(1) };

	image_add(&im, FMT_TREE_INODE, 20, 0, &i, sizeof(i));
	image_write(&im);
	image_expect(&im, CHECK_NLINK, NONE);
}
END_TEST

START_TEST(a_name_of_an_inode_that_does_not_exist_is_found)
{
	image_add_name(&im, 2, "ghost", 50, 8);
	inode(2)->entries = put64(2);
	image_write(&im);
	image_expect(&im, CHECK_DIRENT_TARGET, NONE);
}
END_TEST

START_TEST(a_name_in_what_is_no_directory_is_found)
{
	image_add_name(&im, 5, "odd", 3, 8);
	inode(3)->nlink = put32(3);
	image_write(&im);
	image_expect(&im, CHECK_DIRENT_OWNER, NONE);
}
END_TEST

START_TEST(a_name_with_the_wrong_type_is_found)
{
	((struct fmt_dirent *)image_dirent(&im, 1, "link"))->type = 8;
	image_write(&im);
	image_expect(&im, CHECK_DIRENT, NONE);
}
END_TEST

START_TEST(a_name_under_the_hash_of_another_is_found)
{
	((struct fmt_dirent *)image_dirent(&im, 1, "small"))->name[0] = 'S';
	image_write(&im);
	image_expect(&im, CHECK_DIRENT, NONE);
}
END_TEST

START_TEST(a_name_that_is_there_twice_is_found)
{
	struct fmt_dirent *d = image_dirent(&im, 1, "small");
	u64 b = fmt_name_hash(&im.geo, "small", 5) << 8 | 1;
	u8 copy[64];

	memcpy(copy, d, sizeof(*d) + 5);
	image_add(&im, FMT_TREE_DIRENT, 1, b, copy, sizeof(*d) + 5);
	inode(1)->entries = put64(6);
	inode(5)->nlink = put32(2);
	image_write(&im);
	image_expect(&im, CHECK_DIRENT, NONE);
}
END_TEST

START_TEST(a_wrong_number_of_entries_is_found)
{
	inode(2)->entries = put64(7);
	image_write(&im);
	image_expect(&im, CHECK_ENTRIES, NONE);
}
END_TEST

START_TEST(a_wrong_parent_is_found)
{
	inode(6)->parent = put64(1);
	image_write(&im);
	image_expect(&im, CHECK_PARENT, NONE);
}
END_TEST

START_TEST(a_directory_with_two_names_is_found)
{
	image_add_name(&im, 2, "again", 6, 4);
	inode(2)->entries = put64(2);
	inode(2)->nlink = put32(4);
	image_write(&im);
	image_expect(&im, CHECK_PARENT, NONE);
}
END_TEST

START_TEST(directories_that_are_each_others_parents_are_found)
{
	image_remove(&im, FMT_TREE_DIRENT, 1, fmt_name_hash(&im.geo, "dir", 3) << 8);
	image_add_name(&im, 6, "dir", 2, 4);
	inode(1)->entries = put64(4);
	inode(1)->nlink = put32(2);
	inode(6)->entries = put64(1);
	inode(6)->nlink = put32(3);
	inode(2)->parent = put64(6);
	image_write(&im);
	image_expect(&im, CHECK_PARENT, NONE);
}
END_TEST

START_TEST(a_missing_root_directory_is_found)
{
	inode(1)->mode = put32(S_IFREG | 0644);
	inode(1)->parent = put64(0);
	inode(1)->entries = put64(0);
	image_write(&im);
	image_expect(&im, CHECK_INODE, CHECK_DIRENT_OWNER, CHECK_NLINK, CHECK_PARENT, NONE);
}
END_TEST

/* ---- orphans ---- */

START_TEST(an_inode_without_links_that_is_no_orphan_is_found)
{
	image_remove(&im, FMT_TREE_ORPHAN, 7, 0);
	image_write(&im);
	image_expect(&im, CHECK_ORPHAN, NONE);
}
END_TEST

START_TEST(an_orphan_with_links_is_found)
{
	struct fmt_orphan o = { .kind = FMT_ORPHAN_DELETE };

	image_add(&im, FMT_TREE_ORPHAN, 3, 0, &o, sizeof(o));
	image_write(&im);
	image_expect(&im, CHECK_ORPHAN, NONE);
}
END_TEST

START_TEST(an_orphan_that_does_not_exist_is_found)
{
	struct fmt_orphan o = { .kind = FMT_ORPHAN_TRUNCATE };

	image_add(&im, FMT_TREE_ORPHAN, 60, 0, &o, sizeof(o));
	image_write(&im);
	image_expect(&im, CHECK_ORPHAN, NONE);
}
END_TEST

START_TEST(a_file_with_links_that_is_to_be_truncated_is_sound)
{
	struct fmt_orphan o = { .kind = FMT_ORPHAN_TRUNCATE };

	image_add(&im, FMT_TREE_ORPHAN, 3, 0, &o, sizeof(o));
	image_write(&im);
	image_expect(&im, NONE);
}
END_TEST

/* ---- extents ---- */

START_TEST(two_files_on_the_same_sectors_are_found)
{
	((struct fmt_extent *)image_item(&im, FMT_TREE_EXTENT, 7, 0))->disk = put64(IMAGE_DATA + 7);
	image_write(&im);
	image_expect(&im, CHECK_EXTENT_SHARED, NONE);
}
END_TEST

START_TEST(a_file_on_a_tree_node_is_found)
{
	image_write(&im);
	((struct fmt_extent *)image_item(&im, FMT_TREE_EXTENT, 7, 0))->disk =
		put64(im.node[FMT_TREE_INODE]);
	image_write(&im);
	image_expect(&im, CHECK_EXTENT_SHARED, NONE);
}
END_TEST

START_TEST(two_extents_for_one_part_of_a_file_are_found)
{
	struct fmt_extent *e = image_item(&im, FMT_TREE_EXTENT, 3, 0);

	e->nr = put32(9);
	inode(3)->sectors = put64(13);
	image_write(&im);
	image_expect(&im, CHECK_EXTENT, NONE);
}
END_TEST

START_TEST(a_wrong_number_of_sectors_is_found)
{
	inode(3)->sectors = put64(11);
	image_write(&im);
	image_expect(&im, CHECK_SECTORS, NONE);
}
END_TEST

START_TEST(extents_of_what_is_no_file_are_found)
{
	struct fmt_extent e = { .disk = put64(IMAGE_DATA + 300), .nr = put32(1) };

	image_add(&im, FMT_TREE_EXTENT, 2, 0, &e, sizeof(e));
	image_add(&im, FMT_TREE_EXTENT, 70, 0, &e, sizeof(e));
	((struct fmt_extent *)image_item(&im, FMT_TREE_EXTENT, 70, 0))->disk =
		put64(IMAGE_DATA + 310);
	image_write(&im);
	image_expect(&im, CHECK_EXTENT_OWNER, NONE);
}
END_TEST

START_TEST(unwritten_extents_of_an_inline_file_are_sound)
{
	struct fmt_extent e = { .disk = put64(IMAGE_DATA + 300), .nr = put32(4) };

	image_add(&im, FMT_TREE_EXTENT, 5, 0, &e, sizeof(e));
	inode(5)->sectors = put64(4);
	image_write(&im);
	image_expect(&im, NONE);
}
END_TEST

START_TEST(written_extents_of_an_inline_file_are_found)
{
	/* The written sectors change hands: from inode 3 to the inline file. */
	struct fmt_extent e = *(struct fmt_extent *)image_item(&im, FMT_TREE_EXTENT, 3, 0);

	image_remove(&im, FMT_TREE_EXTENT, 3, 0);
	inode(3)->sectors = put64(4);
	image_add(&im, FMT_TREE_EXTENT, 5, 0, &e, sizeof(e));
	inode(5)->sectors = put64(8);
	image_write(&im);
	image_expect(&im, CHECK_MAP_ENTRY, NONE);
}
END_TEST

/* ---- extended attributes ---- */

START_TEST(a_wrong_number_of_xattrs_is_found)
{
	inode(3)->xattrs = put32(2);
	image_write(&im);
	image_expect(&im, CHECK_XATTR_COUNT, NONE);
}
END_TEST

START_TEST(an_xattr_without_its_second_piece_is_found)
{
	image_remove(&im, FMT_TREE_XATTR, 3, (fmt_xattr_hash(&im.geo, "user.a", 6) << 16) + 1);
	image_write(&im);
	image_expect(&im, CHECK_XATTR, NONE);
}
END_TEST

START_TEST(an_xattr_without_its_first_piece_is_found)
{
	image_remove(&im, FMT_TREE_XATTR, 3, fmt_xattr_hash(&im.geo, "user.a", 6) << 16);
	image_write(&im);
	image_expect(&im, CHECK_XATTR, CHECK_XATTR_COUNT, NONE);
}
END_TEST

START_TEST(an_xattr_of_an_inode_that_does_not_exist_is_found)
{
	u8 val[sizeof(struct fmt_xattr) + 6] = { 0 };
	struct fmt_xattr *x = (void *)val;

	x->namelen = 6;
	x->chunks = 1;
	memcpy(x->name, "user.a", 6);
	image_add(&im, FMT_TREE_XATTR, 90, fmt_xattr_hash(&im.geo, "user.a", 6) << 16, val,
		  sizeof(val));
	image_write(&im);
	image_expect(&im, CHECK_XATTR_OWNER, NONE);
}
END_TEST

/* ---- space ---- */

static void clear_a_used_bit(void *buf)
{
	struct fmt_bitmap *b = buf;
	le64 *w = &b->bits[IMAGE_DATA / 64];

	*w = put64(get64(*w) & ~(1ull << (IMAGE_DATA % 64)));
}

START_TEST(used_space_that_is_marked_free_is_found)
{
	image_write(&im);
	image_edit(&im, FMT_KIND_BITMAP, fmt_bitmap_sector(&im.geo, 0), clear_a_used_bit);
	image_expect(&im, CHECK_BITMAP_FREE, CHECK_GROUP_FREE, NONE);
}
END_TEST

static void set_a_free_bit(void *buf)
{
	struct fmt_bitmap *b = buf;
	le64 *w = &b->bits[2000 / 64];

	*w = put64(get64(*w) | 1ull << (2000 % 64));
}

START_TEST(free_space_that_is_marked_used_is_found)
{
	image_write(&im);
	image_edit(&im, FMT_KIND_BITMAP, fmt_bitmap_sector(&im.geo, 0), set_a_free_bit);
	image_expect(&im, CHECK_BITMAP_USED, CHECK_GROUP_FREE, NONE);
}
END_TEST

static void clear_a_bit_beyond(void *buf)
{
	((struct fmt_bitmap *)buf)->bits[IMAGE_SECTORS / 64] = put64(~1ull);
}

START_TEST(a_free_bit_beyond_the_end_is_found)
{
	image_write(&im);
	image_edit(&im, FMT_KIND_BITMAP, fmt_bitmap_sector(&im.geo, 0), clear_a_bit_beyond);
	image_expect(&im, CHECK_BITMAP, NONE);
}
END_TEST

static void one_free_less(void *buf)
{
	struct fmt_gtable *t = buf;

	t->g[0].free = put32(get32(t->g[0].free) - 1);
}

START_TEST(a_wrong_free_count_of_a_group_is_found)
{
	image_write(&im);
	image_edit(&im, FMT_KIND_GTABLE, im.geo.gtable_sector, one_free_less);
	image_expect(&im, CHECK_GROUP_FREE, CHECK_COUNTERS, NONE);
}
END_TEST

static void forget_the_bitmap(void *buf)
{
	((struct fmt_gtable *)buf)->g[0].bitmap_init = put64(0);
}

START_TEST(space_in_use_in_an_uninitialised_bitmap_is_found)
{
	image_write(&im);
	image_edit(&im, FMT_KIND_GTABLE, im.geo.gtable_sector, forget_the_bitmap);
	image_expect(&im, CHECK_BITMAP_FREE, CHECK_GROUP_FREE, NONE);
}
END_TEST

static void write_free_space(void *buf)
{
	((struct fmt_map *)buf)->entry[2000 % FMT_MAP_PER_SECTOR] = put32(FMT_MAP_NOCSUM);
}

START_TEST(free_space_that_is_marked_written_is_found)
{
	image_write(&im);
	image_edit(&im, FMT_KIND_MAP, fmt_map_sector(&im.geo, 0) + 2000 / FMT_MAP_PER_SECTOR,
		   write_free_space);
	image_expect(&im, CHECK_MAP_ENTRY, NONE);
}
END_TEST

static void wrong_counters(void *buf)
{
	((struct fmt_root *)buf)->nr_inodes = put64(70);
}

static void wrong_next_ino(void *buf)
{
	((struct fmt_root *)buf)->next_ino = put64(4);
}

static void wrong_nodes(void *buf)
{
	((struct fmt_root *)buf)->node_sectors_used = put64(4);
}

START_TEST(wrong_counters_of_the_root_sector_are_found)
{
	static void (*const edits[])(void *) = { wrong_counters, wrong_next_ino, wrong_nodes };

	for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
		image_write(&im);
		image_edit(&im, FMT_KIND_ROOT, im.geo.root_sector, edits[i]);
		image_expect(&im, CHECK_COUNTERS, NONE);
	}
}
END_TEST

/* ---- damaged buffers: one report, and no avalanche ---- */

START_TEST(a_damaged_inode_leaf_is_one_problem)
{
	image_write(&im);
	image_damage(&im, im.node[FMT_TREE_INODE] + 1);
	image_expect(&im, CHECK_NODE, NONE);
}
END_TEST

START_TEST(a_damaged_leaf_of_any_other_tree_is_one_problem)
{
	for (int t = FMT_TREE_DIRENT; t < FMT_NR_TREES; t++) {
		image_write(&im);
		image_damage(&im, im.node[t]);
		image_expect(&im, CHECK_NODE, NONE);
	}
}
END_TEST

START_TEST(damaged_bitmap_map_group_table_and_root_are_found)
{
	image_write(&im);
	image_damage(&im, fmt_bitmap_sector(&im.geo, 0));
	image_expect(&im, CHECK_BITMAP, NONE);
	image_write(&im);
	image_damage(&im, fmt_map_sector(&im.geo, 0) + 1);
	image_expect(&im, CHECK_MAP, NONE);
	image_write(&im);
	image_damage(&im, im.geo.gtable_sector);
	image_expect(&im, CHECK_GTABLE, NONE);
	image_write(&im);
	image_damage(&im, im.geo.root_sector);
	image_expect(&im, CHECK_ROOT, NONE);
}
END_TEST

static void leaf_of_another_tree(void *buf)
{
	((struct fmt_node *)buf)->hdr.owner = put64(FMT_TREE_XATTR);
}

START_TEST(a_node_of_another_tree_is_found)
{
	image_remove(&im, FMT_TREE_ORPHAN, 7, 0);
	image_remove(&im, FMT_TREE_INODE, 7, 0);
	image_remove(&im, FMT_TREE_EXTENT, 7, 0);
	image_add(&im, FMT_TREE_ORPHAN, 3, 0, &(struct fmt_orphan){ .kind = FMT_ORPHAN_TRUNCATE },
		  sizeof(struct fmt_orphan));
	image_write(&im);
	image_expect(&im, NONE);
	image_edit(&im, FMT_KIND_NODE, im.node[FMT_TREE_ORPHAN], leaf_of_another_tree);
	image_expect(&im, CHECK_NODE, NONE);
}
END_TEST

static u64 shared_root;

static void share_root(void *buf)
{
	struct fmt_root *r = buf;

	r->tree[FMT_TREE_ORPHAN].root = put64(shared_root);
}

START_TEST(a_node_of_two_trees_is_found)
{
	image_write(&im);
	shared_root = im.node[FMT_TREE_INODE];
	image_edit(&im, FMT_KIND_ROOT, im.geo.root_sector, share_root);
	image_expect(&im, CHECK_NODE_SHARED, NONE);
}
END_TEST

/* ---- reporting ---- */

static u64 calls;

static void count_call(void *arg, const struct check_problem *p)
{
	(void)arg;
	(void)p;
	calls++;
}

START_TEST(the_check_stops_at_the_number_of_problems_asked_for)
{
	struct check_opts opts = { .problem = count_call, .max_problems = 3 };
	struct check_result res;

	for (u64 ino = 1; ino <= 6; ino++)
		inode(ino)->nlink = put32(40);
	image_write(&im);
	calls = 0;
	ck_assert_int_eq(check_run(im.dev, &opts, &res), 0);
	ck_assert_uint_eq(calls, 3);
	ck_assert(res.stopped);
}
END_TEST

START_TEST(a_check_writes_nothing)
{
	u64 flushes;
	struct check_result res;
	u8 *before = aligned_alloc(SECTOR_SIZE, IMAGE_SECTORS * SECTOR_SIZE);
	u8 *after = aligned_alloc(SECTOR_SIZE, IMAGE_SECTORS * SECTOR_SIZE);

	inode(3)->nlink = put32(40);
	image_write(&im);
	ck_assert_int_eq(blk_read(im.dev, 0, before, IMAGE_SECTORS, BLK_META), 0);
	flushes = blk_flush_count(im.dev);
	ck_assert_int_eq(check_run(im.dev, NULL, &res), 0);
	ck_assert_int_eq(blk_read(im.dev, 0, after, IMAGE_SECTORS, BLK_META), 0);
	ck_assert_int_eq(memcmp(before, after, IMAGE_SECTORS * SECTOR_SIZE), 0);
	ck_assert_uint_eq(blk_flush_count(im.dev), flushes);
	free(before);
	free(after);
}
END_TEST

static void add(Suite *s, const TTest *t, const char *name)
{
	tcase_add_checked_fixture(check_add_tcase(s, t, name), setup, teardown);
}

int main(void)
{
	Suite *s = suite_create("passes");

#define ADD(test) add(s, test, #test)
	ADD(a_sound_image_has_no_problems);
	ADD(a_wrong_link_count_is_found);
	ADD(a_wrong_link_count_of_a_directory_is_found);
	ADD(an_inode_without_name_is_found);
	ADD(a_name_of_an_inode_that_does_not_exist_is_found);
	ADD(a_name_in_what_is_no_directory_is_found);
	ADD(a_name_with_the_wrong_type_is_found);
	ADD(a_name_under_the_hash_of_another_is_found);
	ADD(a_name_that_is_there_twice_is_found);
	ADD(a_wrong_number_of_entries_is_found);
	ADD(a_wrong_parent_is_found);
	ADD(a_directory_with_two_names_is_found);
	ADD(directories_that_are_each_others_parents_are_found);
	ADD(a_missing_root_directory_is_found);
	ADD(an_inode_without_links_that_is_no_orphan_is_found);
	ADD(an_orphan_with_links_is_found);
	ADD(an_orphan_that_does_not_exist_is_found);
	ADD(a_file_with_links_that_is_to_be_truncated_is_sound);
	ADD(two_files_on_the_same_sectors_are_found);
	ADD(a_file_on_a_tree_node_is_found);
	ADD(two_extents_for_one_part_of_a_file_are_found);
	ADD(a_wrong_number_of_sectors_is_found);
	ADD(extents_of_what_is_no_file_are_found);
	ADD(unwritten_extents_of_an_inline_file_are_sound);
	ADD(written_extents_of_an_inline_file_are_found);
	ADD(a_wrong_number_of_xattrs_is_found);
	ADD(an_xattr_without_its_second_piece_is_found);
	ADD(an_xattr_without_its_first_piece_is_found);
	ADD(an_xattr_of_an_inode_that_does_not_exist_is_found);
	ADD(used_space_that_is_marked_free_is_found);
	ADD(free_space_that_is_marked_used_is_found);
	ADD(a_free_bit_beyond_the_end_is_found);
	ADD(a_wrong_free_count_of_a_group_is_found);
	ADD(space_in_use_in_an_uninitialised_bitmap_is_found);
	ADD(free_space_that_is_marked_written_is_found);
	ADD(wrong_counters_of_the_root_sector_are_found);
	ADD(a_damaged_inode_leaf_is_one_problem);
	ADD(a_damaged_leaf_of_any_other_tree_is_one_problem);
	ADD(damaged_bitmap_map_group_table_and_root_are_found);
	ADD(a_node_of_another_tree_is_found);
	ADD(a_node_of_two_trees_is_found);
	ADD(the_check_stops_at_the_number_of_problems_asked_for);
	ADD(a_check_writes_nothing);
	return check_main(s);
}
