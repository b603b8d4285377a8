/*
 * Access control lists: which are valid, how list and mode follow each other, and what a new inode
 * gets from its directory. The kernel decides by them; tests/posix shows that.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/xattr.h>

#include "fs/acl.h"
#include "fs_test.h"

static struct box b;

/* "u::7 u:1000:6 g::5 g:100:4 m::7 o::0" as the kernel hands it over. */
static u32 parse(const char *text, u8 *out)
{
	u32 len = 4;
	char kind;
	unsigned perm, used;
	char id[12];

	memcpy(out, "\2\0\0\0", 4);
	for (; *text; text += used) {
		u16 tag = 0;
		u32 who = UINT32_MAX;
		bool named;

		used = 0;
		if (sscanf(text, " %c::%o%n", &kind, &perm, &used) != 2 || !used) {
			ck_assert_int_eq(sscanf(text, " %c:%11[0-9]:%o%n", &kind, id, &perm,
						&used), 3);
			who = (u32)atoi(id);
		}
		named = who != UINT32_MAX;
		tag = kind == 'u' ? (named ? 2 : 1) : kind == 'g' ? (named ? 8 : 4) :
		      kind == 'm' ? 16 : 32;
		memcpy(out + len, &tag, 2);
		memcpy(out + len + 2, &perm, 2);
		memcpy(out + len + 4, &who, 4);
		len += 8;
	}
	return len;
}

static int set(struct inode *ip, const char *name, const char *text, int flags)
{
	/* Where a request may bring it; the sanitizers look. */
	u8 odd[ACL_BYTES_MAX + 1], *acl = odd + 1;
	u32 len = parse(text, acl);

	return fs_setxattr(ip, name, acl, len, flags);
}

static void assert_list(struct inode *ip, const char *name, const char *text)
{
	u8 want[ACL_BYTES_MAX], got[ACL_BYTES_MAX];
	u32 len = parse(text, want);

	ck_assert_int_eq(fs_getxattr(ip, name, got, sizeof(got)), (int)len);
	ck_assert_mem_eq(got, want, len);
}

static void assert_none(struct inode *ip, const char *name)
{
	FAILS(fs_getxattr(ip, name, NULL, 0), ENODATA);
}

static int chmod_to(struct inode *ip, u32 mode)
{
	struct fs_attr a = { .valid = FS_ATTR_MODE, .mode = mode };

	return fs_setattr(ip, &a);
}

static struct inode *begin(const char *name, u32 mode)
{
	box_open(&b, "ram:64M", 0);
	return make(b.root, name, mode);
}

static struct inode *make_masked(struct inode *dir, const char *name, u32 mode, u32 umask)
{
	struct fs_cred cred = { 1000, 100, umask };
	struct inode *ip;

	OK(fs_mknod(dir, name, strlen(name), mode, 0, cred, &ip));
	return ip;
}

START_TEST(only_lists_that_the_kernel_would_take_are_valid)
{
	static const struct { const char *text; int err; } lists[] = {
		{ "u::7 g::5 o::1", 0 },
		{ "u::7 u:1:7 u:2:1 g::5 g:3:1 g:4:2 m::7 o::1", 0 },
		{ "u::7 g::5 m::1 o::1", 0 },
		{ "", -EINVAL },
		{ "u::7 g::5", -EINVAL },
		{ "u::7 o::5 g::1", -EINVAL },
		{ "u::7 u::7 g::5 o::1", -EINVAL },
		{ "u::7 g::5 m::1 m::1 o::1", -EINVAL },
		{ "u::7 u:1:7 g::5 o::1", -EINVAL },
		{ "u::7 g::5 g:1:1 o::1", -EINVAL },
		{ "u::10 g::5 o::1", -EINVAL },
	};
	u8 acl[ACL_BYTES_MAX + 16] = { 0 };

	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		ck_assert_msg(acl_check(acl, parse(lists[i].text, acl)) == lists[i].err, "%s",
			      lists[i].text);
	ck_assert_int_eq(acl_check(acl, parse("u::7 g::5 o::1", acl) - 1), -EINVAL);
	ck_assert_int_eq(acl_check(acl, 3), -EINVAL);
	acl[0] = 3;
	ck_assert_int_eq(acl_check(acl, 28), -EOPNOTSUPP);
	acl[0] = 2;
	ck_assert_int_eq(acl_check(acl, ACL_BYTES_MAX + 8), -ENOSPC);
}
END_TEST

START_TEST(setting_an_access_list_sets_the_mode_and_one_that_is_a_mode_is_not_kept)
{
	struct inode *f = begin("f", S_IFREG | 02644);
	struct stat st;

	OK(set(f, ACL_ACCESS, "u::7 u:1:6 g::1 m::5 o::4", 0));
	fs_getattr(f, &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 02754);
	assert_list(f, ACL_ACCESS, "u::7 u:1:6 g::1 m::5 o::4");
	OK(set(f, ACL_ACCESS, "u::6 g::4 o::0", FS_XATTR_KILL_SGID));
	fs_getattr(f, &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
	assert_none(f, ACL_ACCESS);
	ck_assert_int_eq(fs_listxattr(f, NULL, 0), 0);
	FAILS(set(f, ACL_DEFAULT, "u::6 g::4 o::0", 0), EACCES);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(chmod_changes_owner_mask_and_others_of_the_list)
{
	struct inode *f = begin("f", S_IFREG | 0644);
	struct stat st;

	OK(set(f, ACL_ACCESS, "u::7 u:1:6 g::1 g:2:7 m::5 o::4", 0));
	OK(chmod_to(f, 0421));
	assert_list(f, ACL_ACCESS, "u::4 u:1:6 g::1 g:2:7 m::2 o::1");
	OK(fs_fsync(f, false));
	fs_iput(f);
	box_remount(&b, true);
	f = get(b.root, "f");
	fs_getattr(f, &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0421);
	assert_list(f, ACL_ACCESS, "u::4 u:1:6 g::1 g:2:7 m::2 o::1");
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(the_umask_counts_only_without_a_default_list)
{
	struct inode *d = begin("d", S_IFDIR | 0755), *f;
	struct stat st;

	f = make_masked(d, "plain", S_IFREG | 0666, 027);
	fs_getattr(f, &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
	fs_iput(f);
	OK(set(d, ACL_DEFAULT, "u::7 u:1:6 g::5 m::7 o::4", 0));
	f = make_masked(d, "f", S_IFREG | 0666, 077);
	fs_getattr(f, &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0664);
	assert_list(f, ACL_ACCESS, "u::6 u:1:6 g::5 m::6 o::4");
	assert_none(f, ACL_DEFAULT);
	fs_iput(f);
	OK(fs_symlink(d, "l", 1, "f", 1, somebody, &f));
	fs_getattr(f, &st);
	ck_assert_uint_eq(st.st_mode, S_IFLNK | 0777);
	assert_none(f, ACL_ACCESS);
	fs_iput(f);
	fs_iput(d);
	box_close(&b);
}
END_TEST

START_TEST(a_directory_passes_its_default_list_on)
{
	struct inode *d = begin("d", S_IFDIR | 02775), *sub, *f;
	struct stat st;

	OK(set(d, ACL_DEFAULT, "u::7 g::5 g:9:7 m::7 o::0", 0));
	sub = make_masked(d, "sub", S_IFDIR | 0777, 077);
	fs_getattr(sub, &st);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 02770);
	assert_list(sub, ACL_ACCESS, "u::7 g::5 g:9:7 m::7 o::0");
	assert_list(sub, ACL_DEFAULT, "u::7 g::5 g:9:7 m::7 o::0");
	/* Of three entries: the list is the mode. */
	OK(set(sub, ACL_DEFAULT, "u::7 g::5 o::0", 0));
	f = make_masked(sub, "f", S_IFREG | 0666, 0);
	fs_getattr(f, &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
	assert_none(f, ACL_ACCESS);
	fs_iput(f);
	OK(fs_removexattr(sub, ACL_DEFAULT));
	f = make_masked(sub, "g", S_IFREG | 0666, 0);
	fs_getattr(f, &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0666);
	fs_iput(f);
	fs_iput(sub);
	fs_iput(d);
	box_close(&b);
}
END_TEST

START_TEST(the_longest_list_is_kept_and_passed_on)
{
	struct inode *d = begin("d", S_IFDIR | 0755), *sub;
	char text[ACL_ENTRIES_MAX * 12], *at = text;

	at += sprintf(at, "u::7");
	for (unsigned i = 0; i < ACL_ENTRIES_MAX - 4; i++)
		at += sprintf(at, " u:%u:5", 1000 + i);
	sprintf(at, " g::5 m::7 o::0");
	OK(set(d, ACL_DEFAULT, text, 0));
	sub = make_masked(d, "sub", S_IFDIR | 0777, 0);
	assert_list(sub, ACL_DEFAULT, text);
	assert_list(sub, ACL_ACCESS, text);
	fs_iput(sub);
	fs_iput(d);
	box_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("acl");

	check_add(s, only_lists_that_the_kernel_would_take_are_valid);
	check_add(s, setting_an_access_list_sets_the_mode_and_one_that_is_a_mode_is_not_kept);
	check_add(s, chmod_changes_owner_mask_and_others_of_the_list);
	check_add(s, the_umask_counts_only_without_a_default_list);
	check_add(s, a_directory_passes_its_default_list_on);
	check_add(s, the_longest_list_is_kept_and_passed_on);
	return check_main(s);
}
