/*
 * Goal: one bit that is wrong is reported under the code of the one rule that it breaks, with the
 * address of the structure.
 * Method: the sample with one bit flipped in each kind of structure, raw or under a right checksum
 * (as a fault of memory or of a program leaves it); then it is mounted, all of it is read, some is
 * written and deleted, and it is scrubbed. What was reported is caught where the record of errors
 * gets it.
 */
#include "check_main.h"

#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "cache/cache.h"
#include "check/scrub.h"
#include "fs/fs.h"
#include "sample.h"

#define REPORTS_MAX 4096u

struct flip {
	const char *name;
	u64 (*fn)(struct sample *s);    /* flips; returns the sector that must be named */
	enum why why;
	enum why also;                  /* what may follow from it; WHY_NONE: nothing */
};

static struct sample clean;
static struct corrupt_report seen[REPORTS_MAX];
static u32 nr_seen;

static void no_log(enum log_level level, const char *line, void *arg)
{
	(void)level, (void)line, (void)arg;
}

static void note(void *arg, const struct corrupt_report *r)
{
	(void)arg;
	if (nr_seen < REPORTS_MAX)
		seen[nr_seen++] = *r;
}

static void setup(void)
{
	log_set_sink(no_log, NULL);
	sample_init(&clean, SAMPLE_SMALL);
	/* Before any mount does. */
	ck_assert(corrupt_sink_take(note, seen));
}

static void teardown(void)
{
	corrupt_sink_drop(seen);
	sample_fini(&clean);
}

/* ---- flipping ---- */

static u64 raw(struct sample *s, u64 addr, u32 bit)
{
	sample_flip(s, addr + bit / (8 * SECTOR_SIZE), bit % (8 * SECTOR_SIZE));
	return addr;
}

static void flip_in(void *buf, void *arg)
{
	u32 bit = *(u32 *)arg;

	((u8 *)buf)[bit / 8] ^= (u8)(1u << bit % 8);
}

/* Under a right checksum: bit `bit` of the field at byte `off`. */
static u64 sealed(struct sample *s, enum fmt_kind k, u64 addr, size_t off, u32 bit)
{
	u32 at = (u32)off * 8 + bit;

	sample_edit(s, k, addr, flip_in, &at);
	return addr;
}

static u64 sealed_node(struct sample *s, enum fmt_tree t, u32 level, u32 nr, size_t off, u32 bit)
{
	u64 addr = sample_node(s, t, level, nr);

	ck_assert_uint_ne(addr, 0);
	return sealed(s, FMT_KIND_NODE, addr, off, bit);
}

/* In the value of the first item with key >= (a, 0). */
static u64 sealed_value(struct sample *s, enum fmt_tree t, u64 a, size_t off, u32 bit)
{
	struct fmt_key k = { a, 0 };
	u8 val[FMT_VALUE_MAX];
	u32 slot;
	u64 addr = sample_leaf(s, t, k, &slot);

	sample_item(s, t, &k, val);
	val[off + bit / 8] ^= (u8)(1u << bit % 8);
	sample_patch(s, t, k, (u32)off + bit / 8, val + off + bit / 8, 1);
	return addr;
}

static u64 sealed_super(struct sample *s, size_t off, u32 bit)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	struct fmt_super *sb = (struct fmt_super *)(buf + FMT_SUPER_OFFSET);
	u32 at = (u32)off * 8 + bit;

	sample_get(s, 0, 1, buf);
	flip_in(sb, &at);
	sb->csum = put64(0);
	sb->csum = put64(hash64(sb, sizeof(*sb)));
	sample_put(s, 0, 1, buf);
	free(buf);
	return 0;
}

#define AT(st, f) offsetof(struct st, f)
#define SLOT(i, f) (offsetof(struct fmt_node, slot) + (i) * sizeof(struct fmt_slot) +              \
		    offsetof(struct fmt_slot, f))
#define CHILD(i, f) (offsetof(struct fmt_node, child) + (i) * sizeof(struct fmt_child) +           \
		     offsetof(struct fmt_child, f))

#define CASE(name, call) static u64 name(struct sample *s) { return call; }

/* ---- superblock, root sector, group table, bitmap, map ---- */

CASE(super_bit, raw(s, 0, 8 * (FMT_SUPER_OFFSET + 190)))
CASE(super_block_size, sealed_super(s, AT(fmt_super, block_bytes), 13))
CASE(super_groups, sealed_super(s, AT(fmt_super, nr_groups), 3))
CASE(super_label, sealed_super(s, AT(fmt_super, label) + 63, 1))
CASE(root_bit, raw(s, s->geo.root_sector, 8 * 180))
CASE(root_of_tree, sealed(s, FMT_KIND_ROOT, s->geo.root_sector, AT(fmt_root, tree), 63))
CASE(root_height, sealed(s, FMT_KIND_ROOT, s->geo.root_sector, AT(fmt_root, tree) + 8, 30))
CASE(root_free, sealed(s, FMT_KIND_ROOT, s->geo.root_sector, AT(fmt_root, free_sectors), 50))
CASE(group_bit, raw(s, s->geo.gtable_sector, 8 * 50))
CASE(group_free, sealed(s, FMT_KIND_GTABLE, s->geo.gtable_sector, AT(fmt_gtable, g), 31))
CASE(group_flags, sealed(s, FMT_KIND_GTABLE, s->geo.gtable_sector, AT(fmt_gtable, g) + 4, 0))
CASE(group_map_init, sealed(s, FMT_KIND_GTABLE, s->geo.gtable_sector,
			    AT(fmt_gtable, g) + AT(fmt_group, map_init), 60))
CASE(bitmap_bit, raw(s, fmt_bitmap_sector(&s->geo, 0), 9000))
CASE(bitmap_group, sealed(s, FMT_KIND_BITMAP, fmt_bitmap_sector(&s->geo, 0), AT(fmt_hdr, owner), 9))
CASE(bitmap_address, sealed(s, FMT_KIND_BITMAP, fmt_bitmap_sector(&s->geo, 0), AT(fmt_hdr, addr),
			    9))

static u64 data_at(struct sample *s)
{
	struct fmt_key k = { s->big, 0 };
	struct fmt_extent e;

	sample_item(s, FMT_TREE_EXTENT, &k, &e);
	return get64(e.disk);
}

static u64 map_at(struct sample *s)
{
	return fmt_map_sector(&s->geo, 0) + data_at(s) / FMT_MAP_PER_SECTOR;
}

/* Found when /big is deleted. */
static u64 bitmap_used(struct sample *s)
{
	sealed(s, FMT_KIND_BITMAP, fmt_bitmap_sector(&s->geo, 0), AT(fmt_bitmap, bits),
	       (u32)data_at(s));
	return data_at(s);
}

CASE(map_bit, raw(s, map_at(s), 8 * 2000))
CASE(map_file_system, sealed(s, FMT_KIND_MAP, map_at(s), AT(fmt_hdr, fsid), 7))
CASE(data_bit, raw(s, data_at(s), 12345))

/* ---- nodes ---- */

CASE(node_bit, raw(s, sample_node(s, FMT_TREE_DIRENT, 0, 1), 8 * 9000))
CASE(node_magic, raw(s, sample_node(s, FMT_TREE_DIRENT, 0, 1), 5))
CASE(node_kind, sealed_node(s, FMT_TREE_DIRENT, 0, 1, AT(fmt_hdr, kind), 1))
CASE(node_version, sealed_node(s, FMT_TREE_DIRENT, 0, 1, AT(fmt_hdr, version), 3))
CASE(node_address, sealed_node(s, FMT_TREE_DIRENT, 0, 1, AT(fmt_hdr, addr), 4))
CASE(node_tree, sealed_node(s, FMT_TREE_DIRENT, 1, 0, AT(fmt_hdr, owner), 1))
CASE(node_no_tree, sealed_node(s, FMT_TREE_DIRENT, 1, 0, AT(fmt_hdr, owner), 7))
CASE(node_level, sealed_node(s, FMT_TREE_DIRENT, 1, 0, AT(fmt_node, level), 1))
CASE(node_height, sealed_node(s, FMT_TREE_DIRENT, 1, 0, AT(fmt_node, level), 9))
CASE(node_count, sealed_node(s, FMT_TREE_XATTR, 0, 1, AT(fmt_node, nr), 14))
CASE(leaf_heap, sealed_node(s, FMT_TREE_XATTR, 0, 1, AT(fmt_node, heap), 20))
CASE(leaf_dead, sealed_node(s, FMT_TREE_XATTR, 0, 1, AT(fmt_node, dead), 1))
CASE(leaf_key, sealed_node(s, FMT_TREE_INODE, 0, 1, SLOT(2, a), 40))
CASE(leaf_offset, sealed_node(s, FMT_TREE_EXTENT, 0, 1, SLOT(3, off), 14))
CASE(leaf_offset_low, sealed_node(s, FMT_TREE_EXTENT, 0, 1, SLOT(3, off), 13))
CASE(leaf_length, sealed_node(s, FMT_TREE_EXTENT, 0, 1, SLOT(3, len), 14))
CASE(child_key, sealed_node(s, FMT_TREE_INODE, 1, 0, CHILD(1, a), 40))
CASE(child_address, sealed_node(s, FMT_TREE_INODE, 1, 0, CHILD(1, child), 0))

/* ---- items ---- */

CASE(inode_mode, sealed_value(s, FMT_TREE_INODE, s->big, AT(fmt_inode, mode), 15))
CASE(inode_size, sealed_value(s, FMT_TREE_INODE, s->big, AT(fmt_inode, size), 63))
CASE(inode_time, sealed_value(s, FMT_TREE_INODE, s->big, AT(fmt_inode, mtime) + 8, 31))
CASE(inode_inline, sealed_value(s, FMT_TREE_INODE, s->big, AT(fmt_inode, inline_len), 1))
CASE(dirent_type, sealed_value(s, FMT_TREE_DIRENT, s->dir, AT(fmt_dirent, type), 7))
CASE(dirent_length, sealed_value(s, FMT_TREE_DIRENT, s->dir, AT(fmt_dirent, namelen), 0))
CASE(extent_disk, sealed_value(s, FMT_TREE_EXTENT, s->big, AT(fmt_extent, disk), 40))
CASE(extent_nr, sealed_value(s, FMT_TREE_EXTENT, s->big, AT(fmt_extent, nr), 30))
CASE(extent_flags, sealed_value(s, FMT_TREE_EXTENT, s->big, AT(fmt_extent, flags), 2))
CASE(xattr_length, sealed_value(s, FMT_TREE_XATTR, 0, AT(fmt_xattr, value_len), 31))
CASE(orphan_kind, sealed_value(s, FMT_TREE_ORPHAN, 0, AT(fmt_orphan, kind), 4))
CASE(orphan_size, sealed_value(s, FMT_TREE_ORPHAN, 0, AT(fmt_orphan, size), 63))

/* ---- the log: one header alone may have been torn ---- */

static u64 jnl_heads(struct sample *s)
{
	raw(s, s->geo.jnl_sector + 1, 600);
	return raw(s, s->geo.jnl_sector, 600);
}

static u64 jnl_tails(struct sample *s)
{
	sealed(s, FMT_KIND_JNL, s->geo.jnl_sector + 1, AT(fmt_jnl_head, tail), 50);
	return sealed(s, FMT_KIND_JNL, s->geo.jnl_sector, AT(fmt_jnl_head, tail), 50);
}

static const struct flip flips[] = {
#define ROW(name, why) { #name, name, WHY_##why, WHY_NONE }
	ROW(super_bit, SB_CHECKSUM), ROW(super_block_size, SB_BLOCK_SIZE),
	ROW(super_groups, SB_GROUPS), ROW(super_label, SB_LABEL),
	ROW(root_bit, HDR_CHECKSUM), ROW(root_of_tree, ROOT_ADDRESS),
	ROW(root_height, ROOT_HEIGHT), ROW(root_free, ROOT_FREE),
	ROW(group_bit, HDR_CHECKSUM), ROW(group_free, GROUP_FREE), ROW(group_flags, GROUP_FLAGS),
	ROW(group_map_init, GROUP_MAP_INIT),
	ROW(bitmap_bit, HDR_CHECKSUM), ROW(bitmap_group, PART_GROUP),
	ROW(bitmap_address, HDR_ADDRESS), ROW(bitmap_used, DOUBLE_FREE),
	ROW(map_bit, HDR_CHECKSUM), ROW(map_file_system, HDR_UUID),
	{ "data_bit", data_bit, WHY_DATA_CHECKSUM, WHY_DATA_SCRUB },
	ROW(node_bit, HDR_CHECKSUM), ROW(node_magic, HDR_MAGIC), ROW(node_kind, HDR_TYPE),
	ROW(node_version, HDR_VERSION), ROW(node_address, HDR_ADDRESS), ROW(node_tree, HDR_OWNER),
	ROW(node_no_tree, NODE_TREE), ROW(node_level, NODE_LEVEL), ROW(node_height, NODE_HEIGHT),
	ROW(node_count, NODE_COUNT), ROW(leaf_heap, LEAF_HEAP_END), ROW(leaf_dead, LEAF_SUM),
	ROW(leaf_key, NODE_KEY_ORDER), ROW(leaf_offset, LEAF_VALUE_END),
	ROW(leaf_offset_low, LEAF_VALUE_LOW),
	ROW(leaf_length, LEAF_VALUE_LONG), ROW(child_key, CHILD_KEY_ORDER),
	ROW(child_address, CHILD_ADDRESS),
	ROW(inode_mode, INODE_MODE), ROW(inode_size, INODE_SIZE), ROW(inode_time, INODE_TIME),
	ROW(inode_inline, INODE_LENGTH), ROW(dirent_type, DIRENT_TYPE),
	ROW(dirent_length, DIRENT_LENGTH), ROW(extent_disk, EXTENT_DISK),
	ROW(extent_nr, EXTENT_DISK_END), ROW(extent_flags, EXTENT_FLAGS),
	ROW(xattr_length, XATTR_VALUE_MAX),
	ROW(orphan_kind, ORPHAN_KIND), ROW(orphan_size, ORPHAN_SIZE),
	ROW(jnl_heads, HDR_CHECKSUM), ROW(jnl_tails, JNL_HEAD_TAIL),
#undef ROW
};

/* ---- using it ---- */

static void change(struct fs *fs)
{
	static char data[5 * SECTOR_SIZE];
	const struct fs_cred cred = { 0 };
	struct inode *root, *ip;

	if (fs_iget(fs, FMT_ROOT_INO, &root))
		return;
	if (!fs_mknod(root, "new", 3, S_IFREG | 0600, 0, cred, &ip)) {
		fs_write(ip, 0, data, sizeof(data), 0);
		fs_fsync(ip, true);
		fs_iput(ip);
	}
	fs_unlink(root, "big", 3);
	fs_iput(root);
}

/* Whatever fails of it. */
static void use(struct sample *s)
{
	struct cache_config cfg = { .bytes = 32ull << 20, .max_order = 0xff };
	struct fs_opts o = { .threads = false };
	struct scrub_opts so = { 0 };
	struct scrub_state st = { 0 };
	struct seen_all all;
	struct fs *fs;

	nr_seen = 0;
	ck_assert_int_eq(cache_init(&cfg), 0);
	if (!fs_mount(s->dev, &o, &fs)) {
		seen_walk(fs, &all);
		seen_free(&all);
		scrub_run(fs, &so, &st);
		change(fs);
		fs_unmount(fs, false);
	}
	cache_fini();
}

static void check_reports(const char *name, enum why why, enum why also, u64 sector)
{
	bool found = false;

	for (u32 i = 0; i < nr_seen; i++) {
		const struct corrupt_report *r = &seen[i];

		ck_assert_msg(r->why == why || (also && r->why == also), "%s: %s, sector %llu",
			      name, why_name(r->why), (unsigned long long)r->sector);
		found |= r->why == why && r->sector == sector;
	}
	ck_assert_msg(found, "%s: not found in %u reports", name, nr_seen);
}

START_TEST(a_healthy_one_has_nothing_to_report)
{
	use(&clean);
	ck_assert_uint_eq(nr_seen, 0);
}
END_TEST

START_TEST(a_flipped_bit_is_reported_under_the_rule_that_it_breaks)
{
	u64 sector;

	sample_restore(&clean);
	sector = flips[_i].fn(&clean);
	use(&clean);
	check_reports(flips[_i].name, flips[_i].why, flips[_i].also, sector);
}
END_TEST

/* The second transaction of several: what comes after it shows that it was there. */
static u64 second_transaction(struct sample *s)
{
	struct fmt_jnl_head *h = aligned_alloc(SECTOR_SIZE, 2 * SECTOR_SIZE);
	struct fmt_txn *t = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	u64 at;

	sample_get(s, s->geo.jnl_sector, 2, h);
	at = s->geo.jnl_sector + 2 + get64(h[get64(h[1].serial) > get64(h[0].serial)].tail);
	sample_get(s, at, 1, t);
	at += get64(t->len) / SECTOR_SIZE;
	free(h);
	free(t);
	return at;
}

START_TEST(a_flipped_bit_in_the_log_says_what_of_the_transaction_is_wrong)
{
	static const struct { const char *name; size_t off; enum why why; } bits[] = {
		{ "magic", AT(fmt_txn, magic), WHY_JNL_TXN_MAGIC },
		{ "epoch", AT(fmt_txn, epoch), WHY_JNL_TXN_EPOCH },
		{ "sequence", AT(fmt_txn, seq), WHY_JNL_SEQUENCE },
		{ "length", AT(fmt_txn, len), WHY_JNL_TXN_ALIGN },
		{ "record", 100, WHY_JNL_TXN_CHECKSUM },
	};
	u64 at;

	sample_restore(&clean);
	sample_make_dirty(&clean);
	at = second_transaction(&clean);
	for (u32 i = 0; i < ARRAY_LEN(bits); i++) {
		raw(&clean, at, (u32)bits[i].off * 8 + 1);
		use(&clean);
		check_reports(bits[i].name, bits[i].why, WHY_JNL_LOST, at);
		raw(&clean, at, (u32)bits[i].off * 8 + 1);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reasons");
	TCase *tc = tcase_create("reasons");

	tcase_add_unchecked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_healthy_one_has_nothing_to_report);
	tcase_add_loop_test(tc, a_flipped_bit_is_reported_under_the_rule_that_it_breaks, 0,
			    ARRAY_LEN(flips));
	tcase_add_test(tc, a_flipped_bit_in_the_log_says_what_of_the_transaction_is_wrong);
	suite_add_tcase(suite, tc);
	return check_main(suite);
}
