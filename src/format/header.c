/*
 * The common header of metadata buffers, and the checks of the fixed-layout kinds.
 *
 * Rules
 * 1. A checksum covers the whole buffer with the checksum field as 0. It is stamped only when a
 *    buffer goes to the disk and looked at only when it comes from there.
 * 2. fmt_buf_why() finding nothing means: every later access through offsets and addresses found in
 *    the buffer stays inside the buffer and inside the device.
 *
 * Pure functions, no locks.
 */
#include "format/format.h"

#include <string.h>

#include "base/err.h"
#include "base/hash.h"

u32 fmt_kind_sectors(enum fmt_kind k)
{
	return k == FMT_KIND_NODE ? NODE_SECTORS : 1;
}

void fmt_hdr_init(void *buf, enum fmt_kind k, u64 addr, u64 fsid, u64 owner)
{
	struct fmt_hdr h = {
		.magic = put32(FMT_HDR_MAGIC),
		.kind = put16((u16)k),
		.version = put16(FMT_VERSION),
		.addr = put64(addr),
		.fsid = put64(fsid),
		.owner = put64(owner),
	};

	memcpy(buf, &h, sizeof(h));
}

static u64 buf_csum(const void *buf, u32 len_bytes)
{
	u8 copy[NODE_SIZE] __attribute__((aligned(64)));

	ASSERT(len_bytes <= sizeof(copy) && len_bytes >= sizeof(struct fmt_hdr));
	memcpy(copy, buf, len_bytes);
	memset(copy + offsetof(struct fmt_hdr, csum), 0, sizeof(le64));
	return hash64(copy, len_bytes);
}

u64 fmt_buf_sum(const void *buf, u32 len_bytes)
{
	const u32 head = sizeof(struct fmt_hdr);

	return hash64((const u8 *)buf + head, len_bytes - head);
}

void fmt_hdr_seal(void *buf, u32 len_bytes, u64 gen)
{
	struct fmt_hdr *h = buf;

	h->gen = put64(gen);
	h->csum = put64(0);
	h->csum = put64(hash64(buf, len_bytes));
}

static bool version_known(enum fmt_kind k, u32 version)
{
	return version == FMT_VERSION || (k == FMT_KIND_JNL && version == FMT_JNL_SUMS);
}

enum why fmt_hdr_why(const void *buf, u32 len_bytes, enum fmt_kind k, u64 addr, u64 fsid)
{
	const struct fmt_hdr *h = buf;

	if (get32(h->magic) != FMT_HDR_MAGIC)
		return WHY_HDR_MAGIC;
	if (buf_csum(buf, len_bytes) != get64(h->csum))
		return WHY_HDR_CHECKSUM;
	if (get16(h->kind) != k)
		return WHY_HDR_TYPE;
	if (!version_known(k, get16(h->version)))
		return WHY_HDR_VERSION;
	if (get64(h->addr) != addr)
		return WHY_HDR_ADDRESS;
	if (get64(h->fsid) != fsid)
		return WHY_HDR_UUID;
	return WHY_NONE;
}

static bool node_addr_valid(u64 addr, const struct fmt_geo *g)
{
	return IS_ALIGNED(addr, NODE_SECTORS) && addr >= fmt_space_start(g, 0) &&
	       addr < g->nr_sectors && g->nr_sectors - addr >= NODE_SECTORS;
}

static enum why roots_why(const struct fmt_root *r, const struct fmt_geo *g)
{
	for (unsigned t = 0; t < ARRAY_LEN(r->tree); t++) {
		u64 root = get64(r->tree[t].root);
		u32 height = get32(r->tree[t].height);

		if (root == 0 && height == 0)
			continue;
		if (t >= FMT_NR_TREES)
			return WHY_ROOT_TREE;
		if (height == 0 || height > FMT_HEIGHT_MAX)
			return WHY_ROOT_HEIGHT;
		if (!node_addr_valid(root, g))
			return WHY_ROOT_ADDRESS;
	}
	return WHY_NONE;
}

static enum why root_why(const struct fmt_root *r, const struct fmt_geo *g)
{
	enum why why = roots_why(r, g);

	if (why)
		return why;
	if (get64(r->next_ino) <= FMT_ROOT_INO)
		return WHY_ROOT_NEXT_INO;
	if (get64(r->free_sectors) > g->nr_sectors)
		return WHY_ROOT_FREE;
	if (get64(r->node_sectors_used) > g->nr_sectors)
		return WHY_ROOT_NODES;
	return WHY_NONE;
}

/* Init bits beyond the sectors that a group has. */
static bool map_init_valid(const struct fmt_group *gd, const struct fmt_geo *g)
{
	for (u32 i = 0; i < ARRAY_LEN(gd->map_init); i++) {
		u32 nr = g->map_nr > i * 64 ? g->map_nr - i * 64 : 0;

		if (nr < 64 && get64(gd->map_init[i]) >> nr)
			return false;
	}
	return true;
}

static enum why group_why(const struct fmt_group *gd, const struct fmt_geo *g, u32 group)
{
	u64 end = fmt_group_start(g, group) + fmt_group_len(g, group);

	if (get32(gd->free) > end - fmt_space_start(g, group))
		return WHY_GROUP_FREE;
	if (get32(gd->flags) != 0)
		return WHY_GROUP_FLAGS;
	if (g->bitmap_nr < 64 && get64(gd->bitmap_init) >> g->bitmap_nr)
		return WHY_GROUP_BITMAP_INIT;
	if (!map_init_valid(gd, g))
		return WHY_GROUP_MAP_INIT;
	return WHY_NONE;
}

static enum why gtable_why(const struct fmt_gtable *t, const struct fmt_geo *g)
{
	u64 index = get64(t->hdr.addr) - g->gtable_sector;
	u64 first = index * FMT_GROUPS_PER_SECTOR;
	enum why why = WHY_NONE;

	if (index >= g->gtable_nr)
		return WHY_GROUP_INDEX;
	for (u32 i = 0; !why && i < FMT_GROUPS_PER_SECTOR && first + i < g->nr_groups; i++)
		why = group_why(&t->g[i], g, (u32)first + i);
	return why;
}

/* Bitmap and map sectors: the owner is the group, the address one of that group's own. */
static enum why group_part_why(const struct fmt_hdr *h, const struct fmt_geo *g)
{
	bool bitmap = get16(h->kind) == FMT_KIND_BITMAP;
	u64 owner = get64(h->owner), addr = get64(h->addr), first;

	if (owner >= g->nr_groups)
		return WHY_PART_GROUP;
	first = bitmap ? fmt_bitmap_sector(g, (u32)owner) : fmt_map_sector(g, (u32)owner);
	if (addr < first || addr - first >= (bitmap ? g->bitmap_nr : g->map_nr))
		return WHY_PART_ADDRESS;
	return WHY_NONE;
}

static enum why leaf_values_why(const struct fmt_node *n, enum fmt_tree t, const struct fmt_geo *g)
{
	enum why why = WHY_NONE;

	for (u32 i = 0; !why && i < get16(n->nr); i++) {
		const struct fmt_slot *s = &n->slot[i];
		struct fmt_key k = { get64(s->a), get64(s->b) };

		why = fmt_value_why(t, k, (const u8 *)n + get16(s->off), get16(s->len), g);
	}
	return why;
}

static enum why node_why(const struct fmt_node *n, const struct fmt_geo *g)
{
	u64 tree = get64(n->hdr.owner);
	enum why why;

	if (tree >= FMT_NR_TREES)
		return WHY_NODE_TREE;
	if (!node_addr_valid(get64(n->hdr.addr), g))
		return WHY_NODE_ADDRESS;
	why = fmt_node_why(n);
	if (why)
		return why;
	if (get16(n->level) == 0)
		return leaf_values_why(n, (enum fmt_tree)tree, g);
	for (u32 i = 0; i < get16(n->nr); i++) {
		if (!node_addr_valid(get64(n->child[i].child), g))
			return WHY_CHILD_ADDRESS;
	}
	return WHY_NONE;
}

static enum why jnl_head_why(const struct fmt_jnl_head *h, const struct fmt_geo *g)
{
	u64 addr = get64(h->hdr.addr);

	if (addr != g->jnl_sector && addr != g->jnl_sector + 1)
		return WHY_JNL_HEAD_PLACE;
	if (get64(h->tail) >= g->jnl_nr - 2)
		return WHY_JNL_HEAD_TAIL;
	if (get32(h->clean) > 1)
		return WHY_JNL_HEAD_CLEAN;
	if (get32(h->recovering) > 1)
		return WHY_JNL_HEAD_RECOVERING;
	return WHY_NONE;
}

enum why fmt_content_why(const void *buf, enum fmt_kind k, const struct fmt_geo *g)
{
	switch (k) {
	case FMT_KIND_ROOT:
		return root_why(buf, g);
	case FMT_KIND_GTABLE:
		return gtable_why(buf, g);
	case FMT_KIND_BITMAP:
	case FMT_KIND_MAP:
		return group_part_why(buf, g);
	case FMT_KIND_NODE:
		return node_why(buf, g);
	case FMT_KIND_JNL:
		return jnl_head_why(buf, g);
	case FMT_KIND_DATA:
		break;
	}
	return WHY_KIND;
}

enum why fmt_buf_why(const void *buf, enum fmt_kind k, u64 addr, const struct fmt_geo *g)
{
	enum why why = fmt_hdr_why(buf, fmt_kind_sectors(k) * SECTOR_SIZE, k, addr, g->fsid);

	return why ? why : fmt_content_why(buf, k, g);
}
