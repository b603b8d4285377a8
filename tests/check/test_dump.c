/*
 * Goal: every dump is valid JSON, its text has the same fields, and damage gives errors, no faults.
 * Method: the image built by hand, dumped into memory.
 */
#include "check_main.h"

#include <json-c/json.h>
#include <string.h>

#include "../format/bits.h"
#include "base/err.h"
#include "check/dump.h"
#include "image.h"

static struct image im;
static char *text;
static size_t text_len;

static void setup(void)
{
	image_init(&im);
	image_write(&im);
}

static void teardown(void)
{
	free(text);
	text = NULL;
	image_fini(&im);
}

static int dump(const char *what, const char *arg, bool json)
{
	struct dump *d;
	FILE *out;
	int r;

	free(text);
	out = open_memstream(&text, &text_len);
	r = dump_open(im.dev, true, &d);
	if (!r) {
		r = dump_print(d, what, arg, json, out);
		dump_close(d);
	}
	fclose(out);
	return r;
}

static struct json_object *parsed(const char *what, const char *arg)
{
	struct json_object *o;

	ck_assert_int_eq(dump(what, arg, true), 0);
	o = json_tokener_parse(text);
	ck_assert_msg(o != NULL, "%s is no JSON: %s", what, text);
	return o;
}

static u64 number(struct json_object *o, const char *name)
{
	struct json_object *v;

	ck_assert_msg(json_object_object_get_ex(o, name, &v), "no field %s", name);
	return json_object_get_uint64(v);
}

START_TEST(info_tells_geometry_state_and_counts)
{
	struct json_object *o = parsed("info", NULL), *v;

	ck_assert_uint_eq(number(o, "size_bytes"), 8u << 20);
	ck_assert_uint_eq(number(o, "block_size"), 4096);
	ck_assert_uint_eq(number(o, "inodes"), 7);
	ck_assert_uint_eq(number(o, "used_bytes") + number(o, "free_bytes"), 8u << 20);
	ck_assert(json_object_object_get_ex(o, "state", &v));
	ck_assert_str_eq(json_object_get_string(v), "clean");
	ck_assert(json_object_object_get_ex(o, "label", &v));
	ck_assert_str_eq(json_object_get_string(v), "test");
	json_object_put(o);
}
END_TEST

START_TEST(each_dump_is_json_and_its_text_has_the_same_fields)
{
	static const char *const dumps[][2] = {
		{ "info", NULL },     { "super", NULL },     { "groups", NULL },
		{ "tree", "inode" },  { "tree", "dirent" },  { "tree", "extent" },
		{ "tree", "xattr" },  { "tree", "orphan" },  { "inode", "3" },
		{ "journal", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(dumps); i++) {
		struct json_object *o = parsed(dumps[i][0], dumps[i][1]), *first = o;

		if (json_object_is_type(o, json_type_array)) {
			ck_assert_uint_gt(json_object_array_length(o), 0);
			first = json_object_array_get_idx(o, 0);
		}
		ck_assert_int_eq(dump(dumps[i][0], dumps[i][1], false), 0);
		json_object_object_foreach(first, name, value) {
			(void)value;
			ck_assert_msg(strstr(text, name) != NULL, "%s: no %s in the text",
				      dumps[i][0], name);
		}
		json_object_put(o);
	}
}
END_TEST

START_TEST(an_inode_is_dumped_with_what_it_owns)
{
	struct json_object *o = parsed("inode", "3");

	ck_assert_uint_eq(json_object_array_length(o), 1 + 2 + 2);
	json_object_put(o);
	o = parsed("inode", "1");
	ck_assert_uint_eq(json_object_array_length(o), 1 + 5);
	json_object_put(o);
}
END_TEST

START_TEST(any_metadata_sector_is_shown)
{
	char arg[32];

	snprintf(arg, sizeof(arg), "%llu", (unsigned long long)im.node[FMT_TREE_DIRENT]);
	ck_assert_int_eq(dump("sector", arg, false), 0);
	ck_assert_ptr_nonnull(strstr(text, "'small'"));
	ck_assert_int_eq(dump("sector", "1999", false), 0);
	ck_assert_ptr_nonnull(strstr(text, "no metadata header"));
	ck_assert_int_eq(dump("sector", "2048", false), -EINVAL);
}
END_TEST

START_TEST(what_is_not_there_is_an_error)
{
	ck_assert_int_eq(dump("nonsense", NULL, false), -EINVAL);
	ck_assert_int_eq(dump("tree", NULL, false), -EINVAL);
	ck_assert_int_eq(dump("tree", "nonsense", false), -ENOENT);
	ck_assert_int_eq(dump("inode", "x", false), -EINVAL);
	ck_assert_int_eq(dump("inode", "77", true), -ENOENT);
}
END_TEST

static u64 state = 11;

static void scribble(void *buf)
{
	for (int i = 0; i < 4; i++)
		((u8 *)buf)[48 + next_random(&state) % 300] = (u8)next_random(&state);
}

START_TEST(dumps_of_damaged_images_never_fault)
{
	for (int i = 0; i < 300; i++) {
		enum fmt_tree t = (enum fmt_tree)(i % FMT_NR_TREES);

		image_write(&im);
		image_edit(&im, FMT_KIND_NODE, im.node[t], scribble);
		(void)dump("tree", fmt_tree_name(t), i % 2);
		(void)dump("inode", "3", i % 2);
	}
}
END_TEST

static void add(Suite *s, const TTest *t, const char *name)
{
	tcase_add_checked_fixture(check_add_tcase(s, t, name), setup, teardown);
}

int main(void)
{
	Suite *s = suite_create("dump");

#define ADD(test) add(s, test, #test)
	ADD(info_tells_geometry_state_and_counts);
	ADD(each_dump_is_json_and_its_text_has_the_same_fields);
	ADD(an_inode_is_dumped_with_what_it_owns);
	ADD(any_metadata_sector_is_shown);
	ADD(what_is_not_there_is_an_error);
	ADD(dumps_of_damaged_images_never_fault);
	return check_main(s);
}
