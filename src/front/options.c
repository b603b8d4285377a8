/*
 * Options: one table feeds the parser, the help text and the check of the manual page.
 *
 * Rules
 * 1. What other file systems' fstab lines carry and what is meant for mount(8) or systemd is
 *    accepted and ignored, by name; everything else unknown is refused and the nearest known name
 *    is told.
 * 2. Later options win. -o may be given often.
 * 3. Nothing here looks at the disk.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/nearest.h"
#include "base/size.h"
#include "fs/fs.h"
#include "front/front.h"

enum opt_kind {
	OPT_FLAG,     /* a bool becomes `value` */
	OPT_ENUM,     /* an int becomes `value` */
	OPT_SIZE,     /* a u64, bytes */
	OPT_COUNT,    /* a u64, min..max */
	OPT_AUTO,     /* the same, or a word: off (0) or auto (all ones) */
	OPT_PATH,     /* a char *, allocated */
	OPT_WORD,     /* one of `words` (separated by |): its index, or the word itself */
	OPT_IGNORED,  /* with or without a value */
};

struct opt_row {
	const char *name;
	enum opt_kind kind;
	size_t offset;
	int value;
	u64 min, max;
	const char *words;
	const char *value_text;   /* for help: what stands after = */
	const char *help;         /* NULL: not in the help (mount(8) describes it) */
};

#define AT(field) offsetof(struct front_opts, field)

static const struct opt_row rows[] = {
	{ "cache", OPT_WORD, AT(cache), .words = "kernel|daemon", .value_text = "MODE",
	  .help = "whose page cache serves programs: 'kernel' (default) or 'daemon'" },
	{ "cache_size", OPT_SIZE, AT(cache_size), .min = LIMIT_CACHE_MIN, .max = LIMIT_CACHE_MAX,
	  .value_text = "SIZE",
	  .help = "memory of the cache (default: 1/8 of RAM, at most 1 GiB)" },
	{ "cache_policy", OPT_WORD, AT(policy), .value = 1, .words = "s3fifo|clock|lru|sieve",
	  .value_text = "NAME",
	  .help = "what is evicted first: s3fifo (default), clock, lru, sieve" },
	{ "max_folio", OPT_SIZE, AT(max_folio), .min = SECTOR_SIZE, .max = 2u << 20,
	  .value_text = "SIZE",
	  .help = "largest folio, 4k to 2m (default: the most that cache_size/64 allows)" },
	{ "min_folio", OPT_SIZE, AT(min_folio), .min = SECTOR_SIZE, .max = 2u << 20,
	  .value_text = "SIZE",
	  .help = "smallest folio of file data, for experiments (default: 4k)" },
	{ "readahead", OPT_SIZE, AT(readahead), .min = SECTOR_SIZE, .max = (u64)64 << 20,
	  .value_text = "SIZE", .help = "how far to read ahead at most (default: 8m)" },
	{ "commit", OPT_COUNT, AT(commit_s), .min = 1, .max = 300, .value_text = "SECONDS",
	  .help = "how old a change gets before it is committed (default: 5)" },
	{ "log_data", OPT_SIZE, AT(log_data), .min = 0, .max = FS_LOG_DATA_MAX,
	  .value_text = "SIZE",
	  .help = "most data that an fsync writes through the log (default: 64k; 0: none)" },
	{ "fua", OPT_WORD, AT(fua), .words = "auto|on|off", .value_text = "MODE",
	  .help = "log writes without flushes: auto (where the device has it, default), on, off" },
	{ "nodatasum", OPT_FLAG, AT(nodatasum), 1,
	  .help = "what is written gets no checksum: damage to it is not noticed" },
	{ "datasum", OPT_FLAG, AT(nodatasum), 0,
	  .help = "it does, if the file system has them (default)" },
	{ "threads", OPT_COUNT, AT(threads), .min = 1, .max = FRONT_THREADS_MAX,
	  .value_text = "N", .help = "threads that serve requests (default: by CPUs, 4 to 8)" },
	{ "transport", OPT_WORD, AT(transport), .words = "auto|dev|uring", .value_text = "NAME",
	  .help = "how requests come: io_uring where the kernel offers it (auto), dev, uring" },
	{ "poll", OPT_AUTO, AT(poll_us), .min = 1, .max = 1000, .value_text = "MODE",
	  .help = "stay awake while requests flow: auto (default), off, or microseconds" },
	{ "writelog", OPT_PATH, AT(writelog), .value_text = "FILE",
	  .help = "record all writes and flushes in FILE, for crash tests" },
	{ "allow_other", OPT_FLAG, AT(allow_other), 1,
	  .help = "other users may use the mount (default when root mounts)" },
	{ "noallow_other", OPT_FLAG, AT(allow_other), 0,
	  .help = "nobody but who mounts may use it" },
	{ "replace_stale", OPT_FLAG, AT(replace_stale), 1,
	  .help = "unmount a dead mount at MOUNTPOINT first" },
	{ "ro", OPT_FLAG, AT(readonly), 1, .help = "mount read-only" },
	{ "rw", OPT_FLAG, AT(readonly), 0, .help = "mount read-write (default)" },
	{ "sync", OPT_FLAG, AT(sync), 1, .help = "every write is durable when it returns" },
	{ "async", OPT_FLAG, AT(sync), 0, .help = "the opposite (default)" },
	{ "dirsync", OPT_FLAG, AT(dirsync), 1,
	  .help = "every change of names is durable when it returns" },
	{ "relatime", OPT_ENUM, AT(atime), FRONT_RELATIME,
	  .help = "access times are updated when older than the change (default)" },
	{ "noatime", OPT_ENUM, AT(atime), FRONT_NOATIME, .help = "access times are not updated" },
	{ "strictatime", OPT_ENUM, AT(atime), FRONT_STRICTATIME,
	  .help = "access times are always updated" },
	{ "nodiratime", OPT_FLAG, AT(nodiratime), 1,
	  .help = "access times of directories are not updated" },
	{ "diratime", OPT_FLAG, AT(nodiratime), 0, .help = "they are (default)" },
	{ "suid", OPT_FLAG, AT(nosuid), 0, .help = "set-user-id bits work (root only)" },
	{ "nosuid", OPT_FLAG, AT(nosuid), 1, .help = "they do not (default)" },
	{ "dev", OPT_FLAG, AT(nodev), 0, .help = "device files work (root only)" },
	{ "nodev", OPT_FLAG, AT(nodev), 1, .help = "they do not (default)" },
	{ "exec", OPT_FLAG, AT(noexec), 0, .help = "programs may be executed (default)" },
	{ "noexec", OPT_FLAG, AT(noexec), 1, .help = "they may not" },
	{ "remount", OPT_FLAG, AT(remount), 1 },
	/* mount(8) repeats these from mountinfo */
	{ "user_id", OPT_IGNORED },
	{ "group_id", OPT_IGNORED },
	{ "max_read", OPT_IGNORED },
	{ "blksize", OPT_IGNORED },
	{ "defaults", OPT_IGNORED },
	{ "auto", OPT_IGNORED },
	{ "noauto", OPT_IGNORED },
	{ "user", OPT_IGNORED },
	{ "nouser", OPT_IGNORED },
	{ "users", OPT_IGNORED },
	{ "owner", OPT_IGNORED },
	{ "group", OPT_IGNORED },
	{ "nofail", OPT_IGNORED },
	{ "_netdev", OPT_IGNORED },
	{ "comment", OPT_IGNORED },
	{ "helper", OPT_IGNORED },
	{ "uhelper", OPT_IGNORED },
	{ "default_permissions", OPT_IGNORED },
};

/* Known to other file systems, and a promise that this one would break by ignoring it. */
static const char *const refused[] = { "lazytime", "mand", "loop", "offset", "quota", "usrquota",
	"grpquota", "prjquota", "uquota", "gquota", "pquota",
	/* Flushes are not switched off. */
	"barrier", "nobarrier" };

static void complain(const struct front_opts *o, const char *what, const char *name,
		     const char *more)
{
	fprintf(stderr, "%s: %s '%s'%s; see %s(8)\n", o->helper ? "mount.foliofs" : "foliofs", what,
		name, more, o->helper ? "mount.foliofs" : "foliofs");
}

const char *const *front_option_names(size_t *nr)
{
	static const char *names[ARRAY_LEN(rows)];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		names[i] = rows[i].name;
	*nr = ARRAY_LEN(rows);
	return names;
}

/* Index of word in "a|b|c", or -EINVAL. */
static int word_find(const char *words, const char *word)
{
	const char *at = words;

	for (int i = 0; at; i++) {
		const char *bar = strchr(at, '|');
		size_t len = bar ? (size_t)(bar - at) : strlen(at);

		if (strlen(word) == len && memcmp(word, at, len) == 0)
			return i;
		at = bar ? bar + 1 : NULL;
	}
	return -EINVAL;
}

static int set_word(const struct opt_row *row, const char *text, struct front_opts *o)
{
	int i = word_find(row->words, text);

	if (i < 0)
		return i;
	if (row->value)
		snprintf((char *)o + row->offset, OPTION_WORD_MAX, "%s", text);
	else
		*(int *)((char *)o + row->offset) = i;
	return 0;
}

/* 0 or all ones for a word, else -EINVAL. */
static int set_auto(const struct opt_row *row, const char *text, struct front_opts *o)
{
	u64 *out = (u64 *)((char *)o + row->offset);

	if (strcmp(text, "off") == 0)
		*out = 0;
	else if (strcmp(text, "auto") == 0)
		*out = UINT64_MAX;
	else
		return -EINVAL;
	return 0;
}

static int set_number(const struct opt_row *row, const char *text, struct front_opts *o)
{
	u64 n;
	int err = row->kind == OPT_SIZE ? parse_size(text, &n) :
					  parse_u64(text, row->min, row->max, &n);

	if (err)
		return err;
	if (n < row->min || n > row->max)
		return -ERANGE;
	*(u64 *)((char *)o + row->offset) = n;
	return 0;
}

static int set_path(const struct opt_row *row, const char *text, struct front_opts *o)
{
	char **field = (char **)((char *)o + row->offset);

	free(*field);
	*field = strdup(text);
	return *field ? 0 : -ENOMEM;
}

static int set_value(const struct opt_row *row, const char *text, struct front_opts *o)
{
	if (row->kind == OPT_IGNORED)
		return 0;
	if (row->kind == OPT_FLAG || row->kind == OPT_ENUM) {
		if (text)
			return -EINVAL;
		if (row->kind == OPT_ENUM)
			*(int *)((char *)o + row->offset) = row->value;
		else
			*(bool *)((char *)o + row->offset) = row->value;
		if (row->offset == AT(allow_other))
			o->allow_other_set = true;
		return 0;
	}
	if (!text || *text == '\0')
		return -EINVAL;
	if (row->kind == OPT_AUTO && set_auto(row, text, o) == 0)
		return 0;
	if (row->kind == OPT_PATH)
		return set_path(row, text, o);
	return row->kind == OPT_WORD ? set_word(row, text, o) : set_number(row, text, o);
}

static void range_text(const struct opt_row *row, char *buf, size_t len)
{
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX];

	if (row->kind == OPT_WORD)
		snprintf(buf, len, ": it takes one of %s", row->words);
	else if (row->kind == OPT_SIZE)
		snprintf(buf, len, ": it takes a size from %s to %s",
			 size_to_text(row->min, a), size_to_text(row->max, b));
	else if (row->kind == OPT_COUNT || row->kind == OPT_AUTO)
		snprintf(buf, len, ": it takes %sa number from %llu to %llu",
			 row->kind == OPT_AUTO ? "auto, off or " : "",
			 (unsigned long long)row->min, (unsigned long long)row->max);
	else if (row->kind == OPT_PATH)
		snprintf(buf, len, ": it takes a path");
	else
		snprintf(buf, len, ": it takes no value");
}

static int unknown_option(const struct front_opts *o, const char *name)
{
	size_t nr;
	const char *const *names = front_option_names(&nr);
	const char *near = nearest_name(name, names, nr);
	char more[128] = "";

	if (o->sloppy)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		if (strcmp(refused[i], name) == 0) {
			complain(o, "mount option not supported:", name, "");
			return EXIT_USAGE;
		}
	}
	if (near)
		snprintf(more, sizeof(more), " (did you mean '%s'?)", near);
	complain(o, "unknown mount option", name, more);
	return EXIT_USAGE;
}

static int one_option(struct front_opts *o, char *text)
{
	char *value = strchr(text, '=');
	char more[160];

	if (strncmp(text, "x-", 2) == 0 || strncmp(text, "X-", 2) == 0 || *text == '\0')
		return 0;
	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].name, text) != 0)
			continue;
		if (set_value(&rows[i], value, o) == 0)
			return 0;
		range_text(&rows[i], more, sizeof(more));
		complain(o, "bad value for mount option", text, more);
		return EXIT_USAGE;
	}
	return unknown_option(o, text);
}

static int option_list(struct front_opts *o, const char *list)
{
	char *copy = strdup(list), *save = NULL;
	int err = copy ? 0 : EXIT_SYSTEM;

	for (char *t = copy ? strtok_r(copy, ",", &save) : NULL; t && !err;
	     t = strtok_r(NULL, ",", &save))
		err = one_option(o, t);
	free(copy);
	return err;
}

static void help_row(FILE *f, const struct opt_row *row)
{
	char name[48];

	snprintf(name, sizeof(name), "%s%s%s", row->name, row->value_text ? "=" : "",
		 row->value_text ? row->value_text : "");
	fprintf(f, "    %-22s %s\n", name, row->help);
}

void front_help(FILE *f)
{
	/*
	 * 12345678901234567890123456789012345678901234567890123456789012345678901234567890
	 */
	fputs("usage: foliofs [OPTIONS] IMAGE MOUNTPOINT [-o OPTION,...]\n"
	      "       mount.foliofs IMAGE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-t TYPE] "
	      "[-o OPTION,...]\n"
	      "\n"
	      "Mounts a FolioFS file system. IMAGE is an image file, a block device or ram:SIZE.\n"
	      "\n"
	      "  -f, --foreground       stay in the foreground, log to standard error\n"
	      "  -d, --debug            the same, and log every request\n"
	      "  -s, --single-thread    one thread serves all requests\n"
	      "  -h, --help             this text\n"
	      "  -V, --version          the version\n"
	      "  -o OPTION,...          mount options:\n",
	      f);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].help)
			help_row(f, &rows[i]);
	fputs("\nAccepted and left to mount(8) and systemd:", f);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (!rows[i].help)
			fprintf(f, " %s", rows[i].name);
	fputs(" x-* X-*\n\n"
	      "Sizes take k, m, g, t (powers of 1024). See foliofs(8), foliofs(5).\n", f);
}

static int usage_mistake(const struct front_opts *o, const char *text)
{
	const char *name = o->helper ? "mount.foliofs" : "foliofs";

	fprintf(stderr, "%s: %s; try 'foliofs --help'\n", name, text);
	return EXIT_USAGE;
}

/* IMAGE MOUNTPOINT among the arguments that are left. */
static int two_names(int argc, char **argv, struct front_opts *o)
{
	if (o->action != FRONT_RUN)
		return 0;
	if (argc - optind != 2)
		return usage_mistake(o, argc - optind < 2 ? "IMAGE and MOUNTPOINT are needed" :
							    "too many arguments");
	o->image = argv[optind];
	o->mountpoint = argv[optind + 1];
	return 0;
}

static int bad_switch(const struct front_opts *o, char **argv)
{
	static const char *const names[] = { "--foreground", "--debug", "--single-thread",
					     "--help", "--version", "--options" };
	const char *word = argv[optind - 1];
	const char *near = word[0] == '-' && word[1] == '-' ?
				   nearest_name(word, names, ARRAY_LEN(names)) : NULL;
	char more[64] = "";

	if (near)
		snprintf(more, sizeof(more), " (did you mean '%s'?)", near);
	complain(o, "unknown or incomplete option", word, more);
	return EXIT_USAGE;
}

static int parse_daemon(int argc, char **argv, struct front_opts *o)
{
	static const struct option longs[] = {
		{ "foreground", no_argument, NULL, 'f' }, { "debug", no_argument, NULL, 'd' },
		{ "single-thread", no_argument, NULL, 's' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { "options", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	int c, err = 0;

	while (!err && (c = getopt_long(argc, argv, "fdshVo:", longs, NULL)) != -1) {
		switch (c) {
		case 'f': o->foreground = true; break;
		case 'd': o->debug = o->foreground = true; break;
		case 's': o->threads = 1; break;
		case 'h': o->action = FRONT_HELP; break;
		case 'V': o->action = FRONT_VERSION; break;
		case 'o': err = option_list(o, optarg); break;
		default: err = bad_switch(o, argv);
		}
	}
	return err ? err : two_names(argc, argv, o);
}

/* mount(8) calls: SPEC DIR [-sfnv] [-N namespace] [-o options] [-t type]. */
static int parse_helper(int argc, char **argv, struct front_opts *o)
{
	const char *lists[64];
	size_t nr = 0;
	int c, err = 0;

	while (!err && (c = getopt(argc, argv, "sfnvhVN:o:t:")) != -1) {
		switch (c) {
		case 's': o->sloppy = true; break;
		case 'f': o->fake = true; break;
		case 'v': o->verbose = true; break;
		/* no mtab; type is known; done by mount(8) */
		case 'n': case 't': case 'N': break;
		case 'h': o->action = FRONT_HELP; break;
		case 'V': o->action = FRONT_VERSION; break;
		case 'o':
			if (nr < ARRAY_LEN(lists))
				lists[nr++] = optarg;
			break;
		default: err = bad_switch(o, argv);
		}
	}
	/* -s may come after -o, so the lists wait. */
	for (size_t i = 0; i < nr && !err; i++)
		err = option_list(o, lists[i]);
	return err ? err : two_names(argc, argv, o);
}

/* 1/8 of the memory, up to 1 GiB, in whole MiB. */
static u64 default_cache_size(void)
{
	u64 ram = (u64)sysconf(_SC_PHYS_PAGES) * (u64)sysconf(_SC_PAGESIZE);
	u64 size = MIN(ram / 8, (u64)1 << 30);

	return MAX(ALIGN_DOWN(size, 1u << 20), LIMIT_CACHE_MIN);
}

int front_parse(int argc, char **argv, struct front_opts *o)
{
	const char *slash = strrchr(argv[0], '/');

	*o = (struct front_opts){
		.cache_size = default_cache_size(),
		.commit_s = 5,
		.poll_us = FRONT_POLL_AUTO,
		.log_data = 64u << 10,
		.nosuid = true,
		.nodev = true,
		.allow_other = geteuid() == 0,
	};
	o->helper = strncmp(slash ? slash + 1 : argv[0], "mount.", 6) == 0;
	opterr = 0;
	return o->helper ? parse_helper(argc, argv, o) : parse_daemon(argc, argv, o);
}
