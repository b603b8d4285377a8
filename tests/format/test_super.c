/*
 * Goal: a superblock is accepted exactly as it was written.
 * Method: round trip; every single-bit flip; impossible values with a right checksum; random bytes.
 */
#include "check_main.h"

#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "bits.h"
#include "format/format.h"

static struct fmt_geo sample(void)
{
	struct fmt_geo g;

	memset(&g, 0, sizeof(g));
	ck_assert_int_eq(fmt_geo_make(1 << 20, 65536, 0, &g), 0);
	strcpy(g.label, "a label");
	memset(g.uuid, 7, sizeof(g.uuid));
	g.fsid = 0x1122334455667788;
	g.hash_seed = 99;
	g.mkfs_time = 1700000000;
	return g;
}

static void seal(struct fmt_super *sb)
{
	sb->csum = put64(0);
	sb->csum = put64(hash64(sb, sizeof(*sb)));
}

START_TEST(what_is_encoded_decodes_to_the_same)
{
	struct fmt_geo g = sample(), back;
	struct fmt_super sb;

	fmt_super_encode(&g, 3, &sb);
	ck_assert_uint_eq(sb.copy, 3);
	memset(&back, 0xff, sizeof(back));
	ck_assert_int_eq(fmt_super_decode(&sb, &back), 0);
	ck_assert_int_eq(memcmp(&g, &back, sizeof(g)), 0);
}
END_TEST

START_TEST(every_single_bit_flip_is_rejected)
{
	struct fmt_geo g = sample(), back;
	struct fmt_super sb;

	fmt_super_encode(&g, 0, &sb);
	for (u64 bit = 0; bit < sizeof(sb) * 8; bit++) {
		flip_bit(&sb, bit);
		ck_assert_int_lt(fmt_super_decode(&sb, &back), 0);
		flip_bit(&sb, bit);
	}
	ck_assert_int_eq(fmt_super_decode(&sb, &back), 0);
}
END_TEST

START_TEST(errors_tell_foreign_from_newer_from_damaged)
{
	struct fmt_geo g = sample(), back;
	struct fmt_super sb;

	fmt_super_encode(&g, 0, &sb);
	sb.magic[0] = 'X';
	ck_assert_int_eq(fmt_super_decode(&sb, &back), -EINVAL);
	fmt_super_encode(&g, 0, &sb);
	sb.version = put32(2);
	seal(&sb);
	ck_assert_int_eq(fmt_super_decode(&sb, &back), -EOPNOTSUPP);
	fmt_super_encode(&g, 0, &sb);
	sb.incompat = put64(1);
	seal(&sb);
	ck_assert_int_eq(fmt_super_decode(&sb, &back), -EOPNOTSUPP);
	fmt_super_encode(&g, 0, &sb);
	sb.fsid = put64(1);
	ck_assert_int_eq(fmt_super_decode(&sb, &back), -EBADMSG);
}
END_TEST

START_TEST(unknown_compat_and_ro_compat_bits_pass)
{
	struct fmt_geo g = sample(), back;
	struct fmt_super sb;

	g.compat = 1ull << 60;
	g.ro_compat = 1ull << 3;
	fmt_super_encode(&g, 0, &sb);
	ck_assert_int_eq(fmt_super_decode(&sb, &back), 0);
	ck_assert_uint_eq(back.ro_compat, 1ull << 3);
}
END_TEST

START_TEST(impossible_geometry_is_rejected_though_the_checksum_is_right)
{
	struct fmt_geo back;
	struct fmt_super sb;
	u64 state = 1;

	for (int i = 0; i < 20000; i++) {
		struct fmt_geo g = sample();
		size_t field = offsetof(struct fmt_super, nr_sectors) +
			       next_random(&state) % (offsetof(struct fmt_super, compat) -
						      offsetof(struct fmt_super, nr_sectors));

		fmt_super_encode(&g, 0, &sb);
		((u8 *)&sb)[field] ^= (u8)(1 + next_random(&state) % 255);
		seal(&sb);
		if (fmt_super_decode(&sb, &back) != 0)
			continue;
		/* Another size or journal that is possible: the rules of geo.c hold. */
		ck_assert_uint_lt(fmt_space_start(&back, 0), fmt_group_len(&back, 0));
		ck_assert_uint_le(fmt_group_start(&back, back.nr_groups - 1) +
				  fmt_group_len(&back, back.nr_groups - 1), back.nr_sectors);
	}
}
END_TEST

START_TEST(each_rule_of_the_geometry_is_named)
{
	static const struct { size_t off; u8 value; enum why why; } rules[] = {
#define RULE(field, value, why) { offsetof(struct fmt_super, field), value, WHY_##why }
		RULE(block_bytes, 1, SB_BLOCK_SIZE), RULE(group_sectors, 1, SB_GROUP_SIZE),
		RULE(nr_groups, 200, SB_GROUPS), RULE(root_sector, 9, SB_ROOT),
		RULE(gtable_sector, 9, SB_GTABLE), RULE(gtable_nr, 9, SB_GTABLE_SIZE),
		RULE(jnl_sector, 99, SB_JNL), RULE(node_sectors, 8, SB_NODE_SIZE),
		RULE(label[63], 'x', SB_LABEL),
#undef RULE
	};
	struct fmt_geo g = sample(), back;
	struct fmt_super sb;

	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		fmt_super_encode(&g, 0, &sb);
		((u8 *)&sb)[rules[i].off] = rules[i].value;
		seal(&sb);
		ck_assert_str_eq(why_name(fmt_super_why(&sb, &back)), why_name(rules[i].why));
	}
	fmt_super_encode(&g, 0, &sb);
	sb.jnl_nr = put64(1);
	seal(&sb);
	ck_assert_int_eq(fmt_super_why(&sb, &back), WHY_SB_JNL_SIZE);
	sb.nr_sectors = put64(0);
	seal(&sb);
	ck_assert_int_eq(fmt_super_why(&sb, &back), WHY_SB_SECTORS);
}
END_TEST

START_TEST(random_bytes_are_never_a_superblock)
{
	struct fmt_geo back;
	struct fmt_super sb;
	u64 state = 2;

	for (int i = 0; i < 2000; i++) {
		fill_random(&sb, sizeof(sb), &state);
		if (i % 2)
			memcpy(sb.magic, FMT_SUPER_MAGIC, sizeof(sb.magic));
		if (i % 4 == 3)
			seal(&sb);
		ck_assert_int_lt(fmt_super_decode(&sb, &back), 0);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("super");

	check_add(s, what_is_encoded_decodes_to_the_same);
	check_add(s, every_single_bit_flip_is_rejected);
	check_add(s, errors_tell_foreign_from_newer_from_damaged);
	check_add(s, unknown_compat_and_ro_compat_bits_pass);
	check_add(s, impossible_geometry_is_rejected_though_the_checksum_is_right);
	check_add(s, each_rule_of_the_geometry_is_named);
	check_add(s, random_bytes_are_never_a_superblock);
	return check_main(s);
}
