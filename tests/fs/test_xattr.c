/* Extended attributes: names, values up to 64 KiB, flags, listing, and their end with the inode. */
#include <errno.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "base/limits.h"
#include "fs_test.h"

static struct box b;
static struct inode *f;
static u8 val[70000], got[70000];

static void begin(void)
{
	box_open(&b, "ram:64M", 0);
	f = make(b.root, "f", S_IFREG | 0644);
	for (unsigned i = 0; i < sizeof(val); i++)
		val[i] = (u8)(i * 7 + i / 251);
}

static void end(void)
{
	fs_iput(f);
	box_close(&b);
}

static void remount(void)
{
	fs_iput(f);
	box_remount(&b, false);
	f = get(b.root, "f");
}

static void assert_value(const char *name, u32 len)
{
	memset(got, 0, sizeof(got));
	ck_assert_int_eq(fs_getxattr(f, name, NULL, 0), (int)len);
	ck_assert_int_eq(fs_getxattr(f, name, got, sizeof(got)), (int)len);
	ck_assert_mem_eq(got, val, len);
}

START_TEST(values_of_every_size_come_back)
{
	static const u32 sizes[] = { 0, 1, 100, 3499, 3500, 3501, 7000, 7001, 20000, 65535, 65536 };
	char name[32];

	begin();
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
			snprintf(name, sizeof(name), "user.v%u", sizes[i]);
			if (round == 0)
				OK(fs_setxattr(f, name, val, sizes[i], 0));
			assert_value(name, sizes[i]);
		}
		remount();
	}
	end();
}
END_TEST

START_TEST(a_value_is_replaced_by_one_of_any_size)
{
	u32 size;

	begin();
	srand(7);
	for (int i = 0; i < 200; i++) {
		size = (u32)rand() % (LIMIT_XATTR_VALUE + 1);
		if (i % 3)
			size %= 5000;
		OK(fs_setxattr(f, "user.a", val, size, i ? XATTR_REPLACE : XATTR_CREATE));
		assert_value("user.a", size);
	}
	remount();
	assert_value("user.a", size);
	end();
}
END_TEST

START_TEST(create_and_replace_say_what_must_be_there)
{
	begin();
	FAILS(fs_setxattr(f, "user.a", "x", 1, XATTR_REPLACE), ENODATA);
	OK(fs_setxattr(f, "user.a", "x", 1, XATTR_CREATE));
	FAILS(fs_setxattr(f, "user.a", "x", 1, XATTR_CREATE), EEXIST);
	FAILS(fs_setxattr(f, "user.a", "x", 1, 8), EINVAL);
	OK(fs_removexattr(f, "user.a"));
	FAILS(fs_removexattr(f, "user.a"), ENODATA);
	FAILS(fs_getxattr(f, "user.a", got, 10), ENODATA);
	end();
}
END_TEST

START_TEST(a_buffer_too_small_is_refused)
{
	char list[8];

	begin();
	OK(fs_setxattr(f, "user.a", val, 100, 0));
	FAILS(fs_getxattr(f, "user.a", got, 99), ERANGE);
	ck_assert_int_eq(fs_getxattr(f, "user.a", got, 100), 100);
	FAILS(fs_listxattr(f, list, 6), ERANGE);
	ck_assert_int_eq(fs_listxattr(f, NULL, 0), 7);
	ck_assert_int_eq(fs_listxattr(f, list, 7), 7);
	ck_assert_str_eq(list, "user.a");
	end();
}
END_TEST

START_TEST(names_and_values_have_limits)
{
	char name[300];

	begin();
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[256] = 0;
	FAILS(fs_setxattr(f, name, "x", 1, 0), ERANGE);
	name[255] = 0;
	OK(fs_setxattr(f, name, val, 65536, 0));
	assert_value(name, 65536);
	FAILS(fs_setxattr(f, "user.big", val, 65537, 0), E2BIG);
	FAILS(fs_setxattr(f, "user.", "x", 1, 0), EINVAL);
	FAILS(fs_setxattr(f, "", "x", 1, 0), ERANGE);
	end();
}
END_TEST

START_TEST(namespaces_that_are_not_kept_are_refused)
{
	begin();
	FAILS(fs_setxattr(f, "system.other", "x", 1, 0), EOPNOTSUPP);
	FAILS(fs_getxattr(f, "system.posix_acl_other", got, 10), EOPNOTSUPP);
	FAILS(fs_setxattr(f, "nonsense", "x", 1, 0), EOPNOTSUPP);
	OK(fs_setxattr(f, "trusted.a", val, 3, 0));
	OK(fs_setxattr(f, "security.capability", val, 20, 0));
	assert_value("trusted.a", 3);
	assert_value("security.capability", 20);
	end();
}
END_TEST

START_TEST(many_attributes_are_all_listed)
{
	static char list[1 << 20];
	char name[32];
	int len, nr = 0;

	begin();
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "user.n%d", i);
		OK(fs_setxattr(f, name, val, (size_t)i, 0));
	}
	for (int i = 0; i < 1000; i += 2) {
		snprintf(name, sizeof(name), "user.n%d", i);
		OK(fs_removexattr(f, name));
	}
	len = fs_listxattr(f, list, sizeof(list));
	for (char *p = list; p < list + len; p += strlen(p) + 1) {
		ck_assert_int_eq(atoi(p + 6) % 2, 1);
		nr++;
	}
	ck_assert_int_eq(nr, 500);
	end();
}
END_TEST

START_TEST(attributes_end_with_their_inode)
{
	struct census c;
	char name[32];

	begin();
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "user.n%d", i);
		OK(fs_setxattr(f, name, val, 9000, 0));
	}
	OK(unlink_name(b.root, "f"));
	census_take(b.fs, &c);
	ck_assert_uint_eq(c.xattrs, 120);
	fs_iput(f);
	census_take(b.fs, &c);
	ck_assert_uint_eq(c.xattrs + c.orphans, 0);
	box_close(&b);
}
END_TEST

START_TEST(a_change_of_attributes_moves_ctime)
{
	struct fs_attr old = { .valid = FS_ATTR_CTIME };
	struct stat st;

	begin();
	OK(fs_setattr(f, &old));
	OK(fs_setxattr(f, "user.a", "x", 1, 0));
	fs_getattr(f, &st);
	ck_assert_int_gt(st.st_ctim.tv_sec, 0);
	OK(fs_setattr(f, &old));
	OK(fs_removexattr(f, "user.a"));
	fs_getattr(f, &st);
	ck_assert_int_gt(st.st_ctim.tv_sec, 0);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("xattr");

	check_add(s, values_of_every_size_come_back);
	check_add(s, a_value_is_replaced_by_one_of_any_size);
	check_add(s, create_and_replace_say_what_must_be_there);
	check_add(s, a_buffer_too_small_is_refused);
	check_add(s, names_and_values_have_limits);
	check_add(s, namespaces_that_are_not_kept_are_refused);
	check_add(s, many_attributes_are_all_listed);
	check_add(s, attributes_end_with_their_inode);
	check_add(s, a_change_of_attributes_moves_ctime);
	return check_main(s);
}
