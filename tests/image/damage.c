/*
 * See damage.h. Where nothing may be lost, `gone` and `different` are 0; where a leaf is lost, they
 * are what the leaf held.
 */
#include "damage.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FIELD(s, f) offsetof(struct s, f), sizeof(((struct s *)NULL)->f)

static void patch_inode(struct sample *s, u64 ino, u32 off, u32 len, u64 value)
{
	le64 v = put64(value);

	sample_patch(s, FMT_TREE_INODE, (struct fmt_key){ ino, 0 }, off, &v, len);
}

struct field { u32 off, len; u64 value; };

static void set_field(void *buf, void *arg)
{
	const struct field *f = arg;
	le64 v = put64(f->value);

	memcpy((u8 *)buf + f->off, &v, f->len);
}

static void root_field(struct sample *s, u32 off, u32 len, u64 value)
{
	struct field f = { off, len, value };

	sample_edit(s, FMT_KIND_ROOT, s->geo.root_sector, set_field, &f);
}

/* ---- superblock, root sector, journal ---- */

static void super_smashed(struct sample *s) { sample_smash(s, 0, 1); }
static void super_flipped(struct sample *s) { sample_flip(s, 0, 8 * (FMT_SUPER_OFFSET + 190)); }
static void copy_in_group(struct sample *s) { sample_smash(s, s->geo.group_sectors, 1); }
static void root_smashed(struct sample *s) { sample_smash(s, s->geo.root_sector, 1); }
static void root_flipped(struct sample *s) { sample_flip(s, s->geo.root_sector, 8 * 180); }

static void copy_in_root(struct sample *s)
{
	root_field(s, offsetof(struct fmt_root, super) + 20, 4, 65536);
}

static void next_ino_low(struct sample *s) { root_field(s, FIELD(fmt_root, next_ino), 10); }
static void nr_inodes_wrong(struct sample *s) { root_field(s, FIELD(fmt_root, nr_inodes), 3); }
static void free_wrong(struct sample *s) { root_field(s, FIELD(fmt_root, free_sectors), 3); }

static void nodes_wrong(struct sample *s)
{
	root_field(s, FIELD(fmt_root, node_sectors_used), 4);
}

static void jnl_head_newest(struct sample *s)
{
	struct fmt_jnl_head h[2];

	sample_get(s, s->geo.jnl_sector, 2, h);
	sample_smash(s, s->geo.jnl_sector + (get64(h[1].serial) > get64(h[0].serial)), 1);
}

static void jnl_head_older(struct sample *s)
{
	struct fmt_jnl_head h[2];

	sample_get(s, s->geo.jnl_sector, 2, h);
	sample_flip(s, s->geo.jnl_sector + (get64(h[1].serial) < get64(h[0].serial)), 700);
}

static void jnl_heads_both(struct sample *s) { sample_smash(s, s->geo.jnl_sector, 2); }

/* The second transaction of several. */
static void log_in_the_middle(struct sample *s)
{
	struct fmt_jnl_head h[2];
	const struct fmt_jnl_head *head;
	struct fmt_txn *t = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	u64 ring = s->geo.jnl_sector + 2, pos;

	sample_get(s, s->geo.jnl_sector, 2, h);
	head = &h[get64(h[1].serial) > get64(h[0].serial)];
	ck_assert_uint_eq(get32(head->clean), 0);
	pos = get64(head->tail);
	sample_get(s, ring + pos, 1, t);
	pos += get64(t->len) / SECTOR_SIZE;
	sample_flip(s, ring + pos, 8 * 100);
	free(t);
}

/* ---- space ---- */

static void gtable_smashed(struct sample *s) { sample_smash(s, s->geo.gtable_sector, 1); }
static void gtable_flipped(struct sample *s) { sample_flip(s, s->geo.gtable_sector, 8 * 50); }

static void group_free_wrong(struct sample *s)
{
	struct field f = { sizeof(struct fmt_hdr), 4, 7 };

	sample_edit(s, FMT_KIND_GTABLE, s->geo.gtable_sector, set_field, &f);
}

static void bitmap_forgotten(struct sample *s)
{
	struct field f = { sizeof(struct fmt_hdr) + 8, 8, 0 };

	sample_edit(s, FMT_KIND_GTABLE, s->geo.gtable_sector, set_field, &f);
}

static u64 bitmap_at(struct sample *s) { return fmt_bitmap_sector(&s->geo, 0); }
static void bitmap_smashed(struct sample *s) { sample_smash(s, bitmap_at(s), 1); }
static void bitmap_flipped(struct sample *s) { sample_flip(s, bitmap_at(s), 9000); }

static void all_free(void *buf, void *arg)
{
	(void)arg;
	memset(((struct fmt_bitmap *)buf)->bits, 0, SAMPLE_SECTORS / 8);
}

static void all_used(void *buf, void *arg)
{
	(void)arg;
	memset(((struct fmt_bitmap *)buf)->bits, 0xff, SAMPLE_SECTORS / 8);
}

static void free_beyond(void *buf, void *arg)
{
	(void)arg;
	((struct fmt_bitmap *)buf)->bits[SAMPLE_SECTORS / 64] = put64(0);
}

static void used_is_free(struct sample *s)
{
	sample_edit(s, FMT_KIND_BITMAP, bitmap_at(s), all_free, NULL);
}

static void free_is_used(struct sample *s)
{
	sample_edit(s, FMT_KIND_BITMAP, bitmap_at(s), all_used, NULL);
}

static void bits_beyond(struct sample *s)
{
	sample_edit(s, FMT_KIND_BITMAP, bitmap_at(s), free_beyond, NULL);
}

/* The map sector of the data of /d1/f... that is, of any extent. */
static u64 map_at(struct sample *s, u64 *sector)
{
	struct fmt_key k = { s->big, 0 };
	struct fmt_extent e;

	sample_item(s, FMT_TREE_EXTENT, &k, &e);
	*sector = get64(e.disk);
	return fmt_map_sector(&s->geo, 0) + *sector / FMT_MAP_PER_SECTOR;
}

static void map_smashed(struct sample *s)
{
	u64 sector;

	sample_smash(s, map_at(s, &sector), 1);
}

static void map_flipped(struct sample *s)
{
	u64 sector;

	sample_flip(s, map_at(s, &sector), 8 * 2000);
}

/* Metadata of the last node: it is in use, but has no data. */
static void map_of_a_node(struct sample *s)
{
	u64 sector, at = map_at(s, &sector), node = 0;
	u64 first = sector - sector % FMT_MAP_PER_SECTOR;
	struct field f;

	/* One that lies under the same map sector. */
	for (u32 i = 0; node < first || node >= first + FMT_MAP_PER_SECTOR; i++)
		node = sample_node(s, FMT_TREE_INODE, 0, i);
	f = (struct field){ (u32)(sizeof(struct fmt_hdr) + (node - first) * 4), 4, 77 };
	sample_edit(s, FMT_KIND_MAP, at, set_field, &f);
}

/* ---- nodes ---- */

static void smash_node(struct sample *s, enum fmt_tree t, u32 level, u32 nr)
{
	u64 addr = sample_node(s, t, level, nr);

	ck_assert_uint_ne(addr, 0);
	sample_smash(s, addr + 1, 1);
}

static void inode_leaf(struct sample *s) { smash_node(s, FMT_TREE_INODE, 0, 2); }
static void inode_first_leaf(struct sample *s) { smash_node(s, FMT_TREE_INODE, 0, 0); }
static void inode_node(struct sample *s) { smash_node(s, FMT_TREE_INODE, 1, 0); }
static void dirent_leaf(struct sample *s) { smash_node(s, FMT_TREE_DIRENT, 0, 1); }
static void dirent_node(struct sample *s) { smash_node(s, FMT_TREE_DIRENT, 1, 0); }
static void extent_leaf(struct sample *s) { smash_node(s, FMT_TREE_EXTENT, 0, 0); }
static void extent_node(struct sample *s) { smash_node(s, FMT_TREE_EXTENT, 1, 0); }
static void xattr_leaf(struct sample *s) { smash_node(s, FMT_TREE_XATTR, 0, 1); }
static void xattr_node(struct sample *s) { smash_node(s, FMT_TREE_XATTR, 1, 0); }
static void orphan_leaf(struct sample *s) { smash_node(s, FMT_TREE_ORPHAN, 0, 0); }

static void all_tree_nodes(struct sample *s)
{
	for (int t = 0; t < FMT_NR_TREES; t++)
		if (sample_node(s, (enum fmt_tree)t, 1, 0))
			smash_node(s, (enum fmt_tree)t, 1, 0);
}

static void root_and_nodes(struct sample *s)
{
	smash_node(s, FMT_TREE_DIRENT, 1, 0);
	root_smashed(s);
}

static void bitmap_and_node(struct sample *s)
{
	smash_node(s, FMT_TREE_INODE, 1, 0);
	bitmap_smashed(s);
}

static void node_flipped(struct sample *s)
{
	sample_flip(s, sample_node(s, FMT_TREE_INODE, 0, 1) + 3, 12345);
}

static void flips_everywhere(struct sample *s)
{
	for (int t = 0; t < FMT_NR_TREES; t++) {
		u64 addr;

		for (u32 level = 0; level < 2; level++)
			if ((addr = sample_node(s, (enum fmt_tree)t, level, 0)))
				sample_flip(s, addr, 8 * 90 + 3);
	}
	root_flipped(s);
	gtable_flipped(s);
	map_flipped(s);
}

static void node_field(struct sample *s, enum fmt_tree t, u32 level, u32 nr, struct field f)
{
	sample_edit(s, FMT_KIND_NODE, sample_node(s, t, level, nr), set_field, &f);
}

static void node_of_another_tree(struct sample *s)
{
	node_field(s, FMT_TREE_DIRENT, 0, 1,
		   (struct field){ offsetof(struct fmt_hdr, owner), 8, FMT_TREE_XATTR });
}

static void node_of_another_level(struct sample *s)
{
	node_field(s, FMT_TREE_DIRENT, 1, 0,
		   (struct field){ offsetof(struct fmt_node, level), 2, 2 });
}

static void keys_out_of_order(struct sample *s)
{
	node_field(s, FMT_TREE_INODE, 0, 3,
		   (struct field){ offsetof(struct fmt_node, slot) + 24 * 5, 8, 1 });
}

static void value_out_of_bounds(struct sample *s)
{
	node_field(s, FMT_TREE_EXTENT, 0, 1,
		   (struct field){ offsetof(struct fmt_node, slot) + 16, 2, 20 });
}

static void child_is(struct sample *s, enum fmt_tree t, u32 nr, u64 addr)
{
	node_field(s, t, 1, 0,
		   (struct field){ offsetof(struct fmt_node, child) + 24 * nr + 16, 8, addr });
}

static void node_used_twice(struct sample *s)
{
	child_is(s, FMT_TREE_INODE, 2, sample_node(s, FMT_TREE_INODE, 0, 1));
}

static void child_is_data(struct sample *s)
{
	u64 sector;

	map_at(s, &sector);
	child_is(s, FMT_TREE_DIRENT, 1, ALIGN_UP(sector, NODE_SECTORS));
}

static void node_below_itself(struct sample *s)
{
	child_is(s, FMT_TREE_EXTENT, 1, sample_node(s, FMT_TREE_EXTENT, 1, 0));
}

/* ---- inodes and names ---- */

static void nlink_wrong(struct sample *s) { patch_inode(s, s->file, FIELD(fmt_inode, nlink), 9); }
static void dir_nlink(struct sample *s) { patch_inode(s, s->dir, FIELD(fmt_inode, nlink), 9); }
static void entries_wrong(struct sample *s)
{
	patch_inode(s, s->dir, FIELD(fmt_inode, entries), 1);
}

static void sectors_wrong(struct sample *s)
{
	patch_inode(s, s->big, FIELD(fmt_inode, sectors), 1);
}

static void xattrs_wrong(struct sample *s) { patch_inode(s, s->big, FIELD(fmt_inode, xattrs), 1); }
static void parent_wrong(struct sample *s) { patch_inode(s, s->dir, FIELD(fmt_inode, parent), 7); }
static void no_root_dir(struct sample *s)
{
	sample_remove(s, FMT_TREE_INODE, (struct fmt_key){ 1, 0 });
}

static void no_file_inode(struct sample *s)
{
	sample_remove(s, FMT_TREE_INODE, (struct fmt_key){ s->big, 0 });
}

static void no_dir_inode(struct sample *s)
{
	sample_remove(s, FMT_TREE_INODE, (struct fmt_key){ s->dir, 0 });
}

static void file_name_lost(struct sample *s)
{
	sample_remove(s, FMT_TREE_DIRENT, sample_name_of(s, s->big));
}

static void dir_name_lost(struct sample *s)
{
	sample_remove(s, FMT_TREE_DIRENT, sample_name_of(s, s->dir));
}


static void root_is_a_file(struct sample *s)
{
	patch_inode(s, 1, FIELD(fmt_inode, mode), S_IFREG | 0644);
}

static void name_type(struct sample *s)
{
	u8 type = 10;

	sample_patch(s, FMT_TREE_DIRENT, sample_name_of(s, s->file), 8, &type, 1);
}

static void name_hash(struct sample *s)
{
	struct fmt_key k = sample_name_of(s, s->file), to = { k.a, k.b ^ 0x10000 };

	sample_rekey(s, FMT_TREE_DIRENT, k, to);
}

static void name_of_nothing(struct sample *s)
{
	le64 ino = put64(123456);

	sample_patch(s, FMT_TREE_DIRENT, sample_name_of(s, s->file), 0, &ino, 8);
}

/* A directory is named again, in place of a file. */
static void dir_named_twice(struct sample *s)
{
	le64 ino = put64(s->dir);
	u8 type = 4;
	struct fmt_key k = sample_name_of(s, s->file);

	sample_patch(s, FMT_TREE_DIRENT, k, 0, &ino, 8);
	sample_patch(s, FMT_TREE_DIRENT, k, 8, &type, 1);
}

/* /a/b/c/d: c's entry for d now names b. */
static void ring_of_dirs(struct sample *s)
{
	struct fmt_key a = { s->big, 0 }, d;
	u64 parent[5] = { 0 };
	struct fmt_inode i;
	u32 depth = 0;
	le64 ino;

	/* The directory that is deepest: three parents up to /a. */
	for (u64 at = 2; at < s->big && depth < 4; at++) {
		a = (struct fmt_key){ at, 0 };
		u8 val[FMT_VALUE_MAX];

		sample_item(s, FMT_TREE_INODE, &a, val);
		memcpy(&i, val, sizeof(i));
		if (a.a != at || !S_ISDIR(get32(i.mode)))
			continue;
		if (depth && get64(i.parent) == parent[depth - 1])
			parent[depth++] = at;
		else if (get64(i.parent) == FMT_ROOT_INO)
			parent[(depth = 1) - 1] = at;
	}
	ck_assert_uint_eq(depth, 4);
	d = sample_name_of(s, parent[3]);
	ino = put64(parent[1]);
	sample_patch(s, FMT_TREE_DIRENT, d, 0, &ino, 8);
	patch_inode(s, parent[1], FIELD(fmt_inode, parent), parent[2]);
}

/* ---- orphans ---- */

static void orphan_with_links(struct sample *s)
{
	patch_inode(s, s->orphan, FIELD(fmt_inode, nlink), 1);
}

static void orphan_of_nothing(struct sample *s)
{
	sample_rekey(s, FMT_TREE_ORPHAN, (struct fmt_key){ s->orphan, 0 },
		     (struct fmt_key){ 99999, 0 });
}

static void named_orphan(struct sample *s)
{
	sample_rekey(s, FMT_TREE_ORPHAN, (struct fmt_key){ s->orphan, 0 },
		     (struct fmt_key){ s->file, 0 });
}

static void no_links(struct sample *s) { patch_inode(s, s->file, FIELD(fmt_inode, nlink), 0); }

/* ---- extents and data ---- */

static u64 disk_of(struct sample *s, u64 ino, u64 sector)
{
	struct fmt_key k = { ino, sector };
	struct fmt_extent e;

	sample_item(s, FMT_TREE_EXTENT, &k, &e);
	return get64(e.disk);
}

static void move_extent(struct sample *s, u64 ino, u64 sector, u64 disk)
{
	le64 v = put64(disk);

	sample_patch(s, FMT_TREE_EXTENT, (struct fmt_key){ ino, sector }, 0, &v, 8);
}

static void extents_shared(struct sample *s)
{
	move_extent(s, s->big, 8, disk_of(s, s->big, 4));
}

static void extent_on_a_node(struct sample *s)
{
	move_extent(s, s->big, 8, sample_node(s, FMT_TREE_INODE, 0, 0));
}

static void extent_on_its_tree(struct sample *s)
{
	move_extent(s, s->big, 8, sample_node(s, FMT_TREE_EXTENT, 0, 1));
}

static void extents_overlap(struct sample *s)
{
	le32 nr = put32(4);

	sample_patch(s, FMT_TREE_EXTENT, (struct fmt_key){ s->big, 8 }, 8, &nr, 4);
}

static void extent_of_nothing(struct sample *s)
{
	sample_rekey(s, FMT_TREE_EXTENT, (struct fmt_key){ s->orphan, 0 },
		     (struct fmt_key){ 70000, 0 });
}

static void data_flipped(struct sample *s) { sample_flip(s, disk_of(s, s->big, 4), 5000); }

/* ---- attributes ---- */

static void xattr_piece_lost(struct sample *s)
{
	struct fmt_key k = { 2, 0 };
	u8 val[FMT_VALUE_MAX];

	/* The first one that has pieces. */
	do {
		k.b++;
		sample_item(s, FMT_TREE_XATTR, &k, val);
	} while ((k.b & 0xff) != 1);
	sample_remove(s, FMT_TREE_XATTR, k);
}

static void xattr_hash(struct sample *s)
{
	struct fmt_key k = { 2, 0 };
	u8 val[FMT_VALUE_MAX];

	do {
		k.b++;
		sample_item(s, FMT_TREE_XATTR, &k, val);
	} while (((const struct fmt_xattr *)val)->chunks != 1 || (k.b & 0xff) != 0);
	sample_patch(s, FMT_TREE_XATTR, k, 8 + 5, "X", 1);
}

static void no_xattr_inode(struct sample *s)
{
	struct fmt_key k = { 2, 0 };
	u8 val[FMT_VALUE_MAX];

	sample_item(s, FMT_TREE_XATTR, &k, val);
	sample_remove(s, FMT_TREE_INODE, (struct fmt_key){ k.a, 0 });
}

#define D(name, code, gone, different) { #name, name, CHECK_##code, gone, different, false, false }

const struct damage damages[] = {
	D(super_smashed, SUPER, 0, 0),
	D(super_flipped, SUPER, 0, 0),
	{ "copy_in_group", copy_in_group, CHECK_SUPER_COPY, 0, 0, true, false },
	{ "super_of_two_groups", super_smashed, CHECK_SUPER, 0, 0, true, false },
	D(copy_in_root, SUPER_COPY, 0, 0),
	D(root_smashed, ROOT, 0, 0),
	D(root_flipped, ROOT, 0, 0),
	D(next_ino_low, COUNTERS, 0, 0),
	D(nr_inodes_wrong, COUNTERS, 0, 0),
	D(free_wrong, COUNTERS, 0, 0),
	D(nodes_wrong, COUNTERS, 0, 0),
	D(jnl_head_newest, JOURNAL, 0, 0),
	D(jnl_head_older, JOURNAL, 0, 0),
	D(jnl_heads_both, JOURNAL, 0, 0),
	{ "log_in_the_middle", log_in_the_middle, CHECK_JOURNAL_LOST, 6, 1, false, true },
	{ "log_heads_both", jnl_heads_both, CHECK_JOURNAL, 6, 1, false, true },
	D(gtable_smashed, GTABLE, 0, 0),
	D(gtable_flipped, GTABLE, 0, 0),
	D(group_free_wrong, GROUP_FREE, 0, 0),
	D(bitmap_forgotten, BITMAP_FREE, 0, 0),
	D(bitmap_smashed, BITMAP, 0, 0),
	D(bitmap_flipped, BITMAP, 0, 0),
	D(used_is_free, BITMAP_FREE, 0, 0),
	D(free_is_used, BITMAP_USED, 0, 0),
	D(bits_beyond, BITMAP, 0, 0),
	D(map_smashed, MAP, 0, 0),
	D(map_flipped, MAP, 0, 0),
	D(map_of_a_node, MAP_ENTRY, 0, 0),
	D(inode_leaf, NODE, 97, 97),
	D(inode_first_leaf, NODE, 97, 97),
	D(inode_node, NODE, 0, 0),
	D(dirent_leaf, NODE, 400, 0),
	D(dirent_node, NODE, 0, 0),
	D(extent_leaf, NODE, 0, 400),
	D(extent_node, NODE, 0, 0),
	D(xattr_leaf, NODE, 0, 8),
	D(xattr_node, NODE, 0, 0),
	D(orphan_leaf, NODE, 0, 0),
	D(all_tree_nodes, NODE, 0, 0),
	D(root_and_nodes, ROOT, 0, 0),
	D(bitmap_and_node, NODE, 0, 0),
	D(node_flipped, NODE, 0, 0),
	D(flips_everywhere, ROOT, 0, 0),
	D(node_of_another_tree, NODE, 400, 0),
	D(node_of_another_level, NODE_TREE, 0, 0),
	D(keys_out_of_order, NODE, 97, 97),
	D(value_out_of_bounds, NODE, 0, 400),
	D(node_used_twice, NODE_SHARED, 97, 97),
	D(child_is_data, NODE, 400, 0),
	D(node_below_itself, NODE_SHARED, 0, 400),
	D(nlink_wrong, NLINK, 0, 0),
	D(dir_nlink, NLINK, 0, 0),
	D(entries_wrong, ENTRIES, 0, 0),
	D(sectors_wrong, SECTORS, 0, 0),
	D(xattrs_wrong, XATTR_COUNT, 0, 0),
	D(parent_wrong, PARENT, 0, 0),
	D(no_root_dir, INODE, 0, 0),
	D(root_is_a_file, INODE, 0, 0),
	D(no_file_inode, EXTENT_OWNER, 0, 1),
	D(no_dir_inode, DIRENT_OWNER, 0, 1),
	D(file_name_lost, NLINK, 1, 0),
	D(dir_name_lost, PARENT, 91, 0),
	D(name_type, DIRENT, 0, 0),
	D(name_hash, DIRENT, 0, 0),
	D(name_of_nothing, DIRENT_TARGET, 1, 0),
	D(dir_named_twice, PARENT, 1, 0),
	D(ring_of_dirs, PARENT, 4, 0),
	D(orphan_with_links, ORPHAN, 0, 0),
	D(orphan_of_nothing, ORPHAN, 0, 0),
	D(named_orphan, ORPHAN, 0, 0),
	D(no_links, ORPHAN, 0, 0),
	D(extents_shared, EXTENT_SHARED, 0, 1),
	D(extent_on_a_node, EXTENT_SHARED, 0, 1),
	D(extent_on_its_tree, EXTENT_SHARED, 0, 1),
	D(extents_overlap, EXTENT, 0, 1),
	D(extent_of_nothing, EXTENT_OWNER, 0, 0),
	D(data_flipped, DATA, 0, 1),
	D(xattr_piece_lost, XATTR, 0, 1),
	D(xattr_hash, XATTR, 0, 1),
	D(no_xattr_inode, XATTR_OWNER, 1, 0),
};
const unsigned nr_damages = ARRAY_LEN(damages);
