/*
 * Goal: a metadata buffer is accepted exactly as it was sealed, and no bytes make a check fault.
 * Method: each kind sealed, flipped bit by bit; wrong identity; damaged contents with a right
 * checksum; random bytes (in the sanitizer build a fault is a failure).
 */
#include "check_main.h"

#include <string.h>

#include "base/err.h"
#include "bits.h"
#include "format/format.h"

static struct fmt_geo geo;
static u8 buf[NODE_SIZE] __attribute__((aligned(4096)));
static u64 node_addr;

static void setup(void)
{
	memset(&geo, 0, sizeof(geo));
	ck_assert_int_eq(fmt_geo_make(8192, 4096, 0, &geo), 0);
	geo.fsid = 42;
	node_addr = ALIGN_UP(fmt_space_start(&geo, 0), NODE_SECTORS);
}

static u64 kind_addr(enum fmt_kind k)
{
	switch (k) {
	case FMT_KIND_ROOT:
		return geo.root_sector;
	case FMT_KIND_GTABLE:
		return geo.gtable_sector;
	case FMT_KIND_BITMAP:
		return fmt_bitmap_sector(&geo, 0);
	case FMT_KIND_MAP:
		return fmt_map_sector(&geo, 0);
	case FMT_KIND_NODE:
		return node_addr;
	case FMT_KIND_JNL:
		return geo.jnl_sector;
	case FMT_KIND_DATA:
		break;
	}
	return 0;
}

static u32 kind_bytes(enum fmt_kind k)
{
	return fmt_kind_sectors(k) * SECTOR_SIZE;
}

static void add_orphan(struct fmt_node *n, u32 i, u64 ino)
{
	struct fmt_orphan o = { .kind = FMT_ORPHAN_DELETE };
	u32 heap = get32(n->heap) - sizeof(o);

	memcpy((u8 *)n + heap, &o, sizeof(o));
	n->heap = put32(heap);
	n->slot[i].a = put64(ino);
	n->slot[i].off = put16((u16)heap);
	n->slot[i].len = put16(sizeof(o));
	n->nr = put16((u16)(i + 1));
}

static struct fmt_node *make_leaf(void)
{
	struct fmt_node *n = (void *)buf;

	memset(buf, 0, sizeof(buf));
	fmt_hdr_init(buf, FMT_KIND_NODE, node_addr, geo.fsid, FMT_TREE_ORPHAN);
	n->heap = put32(NODE_SIZE);
	for (u32 i = 0; i < 10; i++)
		add_orphan(n, i, 10 + i);
	return n;
}

static struct fmt_node *make_interior(void)
{
	struct fmt_node *n = (void *)buf;

	memset(buf, 0, sizeof(buf));
	fmt_hdr_init(buf, FMT_KIND_NODE, node_addr, geo.fsid, FMT_TREE_INODE);
	n->level = put16(1);
	n->nr = put16(5);
	for (u32 i = 0; i < 5; i++) {
		n->child[i].a = put64(i * 100);
		n->child[i].child = put64(node_addr + 4 + 4 * i);
	}
	return n;
}

static void make(enum fmt_kind k)
{
	if (k == FMT_KIND_NODE) {
		make_leaf();
		return;
	}
	memset(buf, 0, sizeof(buf));
	fmt_hdr_init(buf, k, kind_addr(k), geo.fsid, 0);
	if (k == FMT_KIND_ROOT)
		((struct fmt_root *)buf)->next_ino = put64(2);
}

static void seal(enum fmt_kind k)
{
	fmt_hdr_seal(buf, kind_bytes(k), 5);
}

START_TEST(each_kind_is_accepted_as_sealed_and_not_with_any_bit_flipped)
{
	for (enum fmt_kind k = FMT_KIND_ROOT; k <= FMT_KIND_MAX; k++) {
		u32 step = k == FMT_KIND_NODE ? 7 : 1;

		make(k);
		seal(k);
		ck_assert_int_eq(fmt_buf_check(buf, k, kind_addr(k), &geo), 0);
		ck_assert_uint_eq(get64(((struct fmt_hdr *)buf)->gen), 5);
		for (u64 bit = 0; bit < kind_bytes(k) * 8ull; bit += step) {
			flip_bit(buf, bit);
			ck_assert_int_lt(fmt_buf_check(buf, k, kind_addr(k), &geo), 0);
			flip_bit(buf, bit);
		}
	}
}
END_TEST

START_TEST(a_sound_buffer_of_another_place_kind_or_file_system_is_rejected)
{
	make(FMT_KIND_MAP);
	seal(FMT_KIND_MAP);
	ck_assert_int_eq((int)fmt_buf_why(buf, FMT_KIND_MAP, kind_addr(FMT_KIND_MAP) + 1, &geo),
			 WHY_HDR_ADDRESS);
	ck_assert_int_eq((int)fmt_buf_why(buf, FMT_KIND_BITMAP, kind_addr(FMT_KIND_MAP), &geo),
			 WHY_HDR_TYPE);
	geo.fsid++;
	ck_assert_int_eq((int)fmt_buf_why(buf, FMT_KIND_MAP, kind_addr(FMT_KIND_MAP), &geo),
			 WHY_HDR_UUID);
}
END_TEST

START_TEST(zeros_are_not_a_buffer)
{
	memset(buf, 0, sizeof(buf));
	ck_assert_int_eq((int)fmt_buf_why(buf, FMT_KIND_MAP, 0, &geo), WHY_HDR_MAGIC);
}
END_TEST

static int node_result(void)
{
	seal(FMT_KIND_NODE);
	return (int)fmt_buf_why(buf, FMT_KIND_NODE, node_addr, &geo);
}

START_TEST(a_leaf_with_values_out_of_bounds_is_rejected)
{
	struct fmt_node *n = make_leaf();

	n->slot[3].off = put16((u16)(get32(n->heap) - 1));
	ck_assert_int_eq(node_result(), WHY_LEAF_VALUE_LOW);
	n = make_leaf();
	n->slot[0].len = put16(17);
	ck_assert_int_eq(node_result(), WHY_LEAF_VALUE_END);
	n = make_leaf();
	n->heap = put32(65);
	ck_assert_int_eq(node_result(), WHY_LEAF_HEAP);
	n = make_leaf();
	n->dead = put32(1);
	ck_assert_int_eq(node_result(), WHY_LEAF_SUM);
	n = make_leaf();
	n->nr = put16(0);
	ck_assert_int_eq(node_result(), WHY_LEAF_SUM);
	n = make_leaf();
	n->nr = put16(UINT16_MAX);
	ck_assert_int_eq(node_result(), WHY_NODE_COUNT);
}
END_TEST

START_TEST(keys_out_of_order_are_rejected)
{
	struct fmt_node *n = make_leaf();

	n->slot[4].a = n->slot[3].a;
	ck_assert_int_eq(node_result(), WHY_NODE_KEY_ORDER);
	n = make_interior();
	ck_assert_int_eq(node_result(), 0);
	n->child[1].a = put64(1000);
	ck_assert_int_eq(node_result(), WHY_CHILD_KEY_ORDER);
}
END_TEST

START_TEST(children_outside_the_device_are_rejected)
{
	struct fmt_node *n = make_interior();

	n->child[2].child = put64(geo.nr_sectors);
	ck_assert_int_eq(node_result(), WHY_CHILD_ADDRESS);
	n = make_interior();
	n->child[2].child = put64(UINT64_MAX & ~3ull);
	ck_assert_int_eq(node_result(), WHY_CHILD_ADDRESS);
	n = make_interior();
	n->child[2].child = put64(node_addr + 1);
	ck_assert_int_eq(node_result(), WHY_CHILD_ADDRESS);
	n = make_interior();
	n->child[2].child = put64(0);
	ck_assert_int_eq(node_result(), WHY_CHILD_ADDRESS);
	n = make_interior();
	n->level = put16(FMT_HEIGHT_MAX);
	ck_assert_int_eq(node_result(), WHY_NODE_HEIGHT);
}
END_TEST

START_TEST(a_root_sector_with_an_impossible_tree_is_rejected)
{
	struct fmt_root *r = (void *)buf;
	u64 addr = geo.root_sector;

	make(FMT_KIND_ROOT);
	r->tree[0].root = put64(node_addr);
	seal(FMT_KIND_ROOT);
	ck_assert_int_eq((int)fmt_buf_why(buf, FMT_KIND_ROOT, addr, &geo), WHY_ROOT_HEIGHT);
	r->tree[0].height = put32(1);
	seal(FMT_KIND_ROOT);
	ck_assert_int_eq((int)fmt_buf_why(buf, FMT_KIND_ROOT, addr, &geo), 0);
	r->tree[0].height = put32(FMT_HEIGHT_MAX + 1);
	seal(FMT_KIND_ROOT);
	ck_assert_int_eq((int)fmt_buf_why(buf, FMT_KIND_ROOT, addr, &geo), WHY_ROOT_HEIGHT);
	make(FMT_KIND_ROOT);
	r->tree[7].root = put64(node_addr);
	r->tree[7].height = put32(1);
	seal(FMT_KIND_ROOT);
	ck_assert_int_eq((int)fmt_buf_why(buf, FMT_KIND_ROOT, addr, &geo), WHY_ROOT_TREE);
}
END_TEST

START_TEST(random_contents_never_fault)
{
	FILE *null = fopen("/dev/null", "w");
	u64 state = 3;

	ck_assert_ptr_nonnull(null);
	for (int i = 0; i < 4000; i++) {
		enum fmt_kind k = (enum fmt_kind)(1 + next_random(&state) % FMT_KIND_MAX);

		fill_random(buf, i % 3 ? 256 : kind_bytes(k), &state);
		fmt_hdr_init(buf, k, kind_addr(k), geo.fsid, next_random(&state) % 6);
		seal(k);
		(void)fmt_buf_check(buf, k, kind_addr(k), &geo);
		fmt_buf_to_text(buf, k, null);
	}
	fclose(null);
}
END_TEST

START_TEST(damaged_leaves_never_fault)
{
	FILE *null = fopen("/dev/null", "w");
	u64 state = 4;

	ck_assert_ptr_nonnull(null);
	for (int i = 0; i < 20000; i++) {
		struct fmt_node *n = make_leaf();

		for (u64 j = next_random(&state) % 4; j < 4; j++)
			buf[48 + next_random(&state) % 300] = (u8)next_random(&state);
		n->hdr.owner = put64(next_random(&state) % 6);
		(void)node_result();
		if (i % 20 == 0)
			fmt_buf_to_text(buf, FMT_KIND_NODE, null);
	}
	fclose(null);
}
END_TEST

static void add(Suite *s, const TTest *t, const char *name)
{
	tcase_add_checked_fixture(check_add_tcase(s, t, name), setup, NULL);
}

int main(void)
{
	Suite *s = suite_create("buffers");

#define ADD(test) add(s, test, #test)
	ADD(each_kind_is_accepted_as_sealed_and_not_with_any_bit_flipped);
	ADD(a_sound_buffer_of_another_place_kind_or_file_system_is_rejected);
	ADD(zeros_are_not_a_buffer);
	ADD(a_leaf_with_values_out_of_bounds_is_rejected);
	ADD(keys_out_of_order_are_rejected);
	ADD(children_outside_the_device_are_rejected);
	ADD(a_root_sector_with_an_impossible_tree_is_rejected);
	ADD(random_contents_never_fault);
	ADD(damaged_leaves_never_fault);
	return check_main(s);
}
