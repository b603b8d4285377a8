/* Command lines and mount options; finding mounts. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "check_main.h"
#include "front/front.h"
#include "front/mountinfo.h"
#include "front/options.h"

#define ARGV_MAX 12

/* Splits at blanks; strings of the options point into the line, which lives until the next call. */
static int parse(const char *line, struct front_opts *o)
{
	static char copy[1024];
	char *save = NULL, *argv[ARGV_MAX + 1];
	int argc = 0;

	ck_assert_uint_lt(strlen(line), sizeof(copy));
	strcpy(copy, line);
	for (char *w = strtok_r(copy, " ", &save); w && argc < ARGV_MAX;
	     w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	optind = 0;
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
	return front_parse(argc, argv, o);
}

START_TEST(names_may_stand_before_or_after_options)
{
	struct front_opts o;

	ck_assert_int_eq(parse("foliofs img mnt -o ro -f", &o), 0);
	ck_assert_str_eq(o.image, "img");
	ck_assert_str_eq(o.mountpoint, "mnt");
	ck_assert(o.readonly && o.foreground && !o.helper);
	ck_assert_int_eq(parse("foliofs -f -o rw img mnt", &o), 0);
	ck_assert_str_eq(o.image, "img");
	ck_assert(!o.readonly);
}
END_TEST

START_TEST(the_last_of_two_options_wins)
{
	struct front_opts o;

	ck_assert_int_eq(parse("foliofs i m -o ro,rw,cache=daemon -o cache=kernel,suid,nosuid", &o),
			 0);
	ck_assert(!o.readonly && o.nosuid);
	ck_assert_int_eq(o.cache, FRONT_CACHE_KERNEL);
}
END_TEST

START_TEST(values_are_read_with_their_units)
{
	struct front_opts o;

	ck_assert_int_eq(parse("foliofs i m -o cache_size=64m,max_folio=64k,readahead=1MiB,"
			       "commit=30,threads=3,cache_policy=lru,noatime", &o), 0);
	ck_assert_uint_eq(o.cache_size, 64 << 20);
	ck_assert_uint_eq(o.max_folio, 64 << 10);
	ck_assert_uint_eq(o.readahead, 1 << 20);
	ck_assert_uint_eq(o.commit_s, 30);
	ck_assert_uint_eq(o.threads, 3);
	ck_assert_str_eq(o.policy, "lru");
	ck_assert_int_eq(o.atime, FRONT_NOATIME);
}
END_TEST

START_TEST(polling_takes_a_word_or_a_number)
{
	struct front_opts o;

	ck_assert_int_eq(parse("foliofs i m -o poll=off", &o), 0);
	ck_assert_uint_eq(o.poll_us, 0);
	ck_assert_int_eq(parse("foliofs i m -o poll=70", &o), 0);
	ck_assert_uint_eq(o.poll_us, 70);
	ck_assert_int_eq(parse("foliofs i m -o poll=70,poll=auto", &o), 0);
	ck_assert_uint_eq(o.poll_us, FRONT_POLL_AUTO);
}
END_TEST

START_TEST(defaults_are_safe)
{
	struct front_opts o;

	ck_assert_int_eq(parse("foliofs i m", &o), 0);
	ck_assert(o.nosuid && o.nodev && !o.noexec && !o.readonly && !o.sync);
	ck_assert_uint_ge(o.cache_size, 16 << 20);
	ck_assert_uint_le(o.cache_size, 1 << 30);
	ck_assert_uint_eq(o.commit_s, 5);
	ck_assert_int_eq(o.atime, FRONT_RELATIME);
	ck_assert_uint_eq(o.poll_us, FRONT_POLL_AUTO);
}
END_TEST

START_TEST(wrong_values_and_unknown_names_are_refused)
{
	static const char *const lines[] = {
		"foliofs", "foliofs i", "foliofs i m x", "foliofs i m -o", "foliofs i m -x",
		"foliofs i m -o cahce=daemon", "foliofs i m -o cache=",
		"foliofs i m -o cache_size=1k",
		"foliofs i m -o commit=-1", "foliofs i m -o ro=yes", "foliofs i m -o lazytime",
		"foliofs i m -o threads=65", "foliofs i m -o max_folio=4m",
		"foliofs i m -o poll=0", "foliofs i m -o poll=1001", "foliofs i m -o poll=on",
		"foliofs i m -o poll",
		"mount.foliofs i m -o nosuch", "mount.foliofs i -o ro",
	};
	struct front_opts o;

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		ck_assert_msg(parse(lines[i], &o) == EXIT_USAGE, "%s", lines[i]);
}
END_TEST

START_TEST(the_mount_helper_takes_what_mount_8_gives)
{
	struct front_opts o;

	ck_assert_int_eq(parse("/sbin/mount.foliofs i m -n -v -t foliofs -o rw,nofail,_netdev,user,"
			       "x-a.b=c,comment=x", &o), 0);
	ck_assert(o.helper && o.verbose);
	ck_assert_int_eq(parse("mount.fuse.foliofs i m -o nosuch=1 -s -f", &o), 0);
	ck_assert(o.fake && o.sloppy);
}
END_TEST

START_TEST(every_option_has_a_name_of_its_own)
{
	size_t nr;
	const char *const *names = front_option_names(&nr);

	for (size_t i = 0; i < nr; i++)
		for (size_t k = 0; k < i; k++)
			ck_assert_str_ne(names[i], names[k]);
}
END_TEST

START_TEST(mounts_are_found_by_point_and_by_what_lies_in_them)
{
	struct mountinfo m;

	ck_assert_int_eq(mountinfo_at("/proc", &m), 0);
	ck_assert_str_eq(m.type, "proc");
	ck_assert_int_eq(mountinfo_over("/proc/self/status", &m), 0);
	ck_assert_str_eq(m.point, "/proc");
	ck_assert_int_eq(mountinfo_over("/procession", &m), 0);
	ck_assert_str_ne(m.point, "/proc");
	ck_assert_int_eq(mountinfo_at("/no/such/place", &m), -ENOENT);
	ck_assert_int_eq(mountinfo_of_image("/no/such/image", &m), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("options");

	check_add(s, names_may_stand_before_or_after_options);
	check_add(s, the_last_of_two_options_wins);
	check_add(s, values_are_read_with_their_units);
	check_add(s, polling_takes_a_word_or_a_number);
	check_add(s, defaults_are_safe);
	check_add(s, wrong_values_and_unknown_names_are_refused);
	check_add(s, the_mount_helper_takes_what_mount_8_gives);
	check_add(s, every_option_has_a_name_of_its_own);
	check_add(s, mounts_are_found_by_point_and_by_what_lies_in_them);
	return check_main(s);
}
