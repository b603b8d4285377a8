/*
 * Command line of mkfs.foliofs: one table feeds getopt, --help and the suggestion for
 * typing errors.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/nearest.h"
#include "base/size.h"
#include "format/format.h"
#include "mkfs.h"

#define OPT_SIZE 256

struct option_row {
	int id;                 /* the letter, or OPT_* */
	const char *name;       /* long, NULL = none */
	const char *arg;        /* NULL = takes none */
	const char *help;
};

static const struct option_row rows[] = {
	{ 'b', "block-size", "SIZE", "allocation block, 4k .. 2m, a power of two (default 4k)" },
	{ 'L', "label", "LABEL", "volume label, at most 63 bytes" },
	{ 'U', "uuid", "UUID", "identifier, or 'random' (the default)" },
	{ 'J', "journal-size", "SIZE", "size of the journal (default 1/32 of the target)" },
	{ OPT_SIZE, "size", "SIZE", "size; creates the image file if there is none" },
	{ 'N', "inodes", "COUNT", "accepted and ignored: inodes are not limited" },
	{ 'O', "features", "LIST", "features; 'list' prints those that are known" },
	{ 'T', "timestamp", "SECONDS", "time of creation (default SOURCE_DATE_EPOCH, else now)" },
	{ 'f', "force", NULL, "format although the target holds something" },
	{ 'n', "dry-run", NULL, "print what would be done" },
	{ 'q', "quiet", NULL, "print only errors" },
	{ 'v', "verbose", NULL, "print the layout too" },
	{ 'K', "no-discard", NULL, "do not discard the old contents of the device" },
	{ 'V', "version", NULL, "print the version" },
	{ 'h', "help", NULL, "print this help" },
};

int fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("mkfs.foliofs: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

static int bad(const char *opt, const char *value, const char *why)
{
	fail("option %s: '%s': %s", opt, value, why);
	return -EINVAL;
}

static void print_help(void)
{
	printf("usage: mkfs.foliofs [OPTIONS] TARGET [SIZE-IN-BLOCKS]\n\n"
	       "Makes a FolioFS file system on an image file or a block device.\n\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char left[40];

		snprintf(left, sizeof(left), "%c%c%s--%s%s%s", rows[i].id < 256 ? '-' : ' ',
			 rows[i].id < 256 ? rows[i].id : ' ', rows[i].id < 256 ? ", " : "  ",
			 rows[i].name, rows[i].arg ? "=" : "", rows[i].arg ? rows[i].arg : "");
		printf("  %-26s  %s\n", left, rows[i].help);
	}
	printf("\nSizes are bytes or have a unit: k, m, g, t (1024). See mkfs.foliofs(8).\n");
}

static int parse_block(const char *text, struct mkfs_args *a)
{
	u64 bytes;

	if (parse_size(text, &bytes) || bytes == 0)
		return bad("-b", text, "not a size");
	if (!is_pow2(bytes))
		return bad("-b", text, "a block size must be a power of two");
	if (bytes < FMT_BLOCK_MIN || bytes > FMT_BLOCK_MAX)
		return bad("-b", text, "a block size must be 4 KiB to 2 MiB");
	a->block_bytes = (u32)bytes;
	return 0;
}

static int parse_bytes(const char *opt, const char *text, u64 *out)
{
	u64 bytes;

	if (parse_size(text, &bytes) || bytes == 0)
		return bad(opt, text, "not a size");
	*out = bytes;
	return 0;
}

static int parse_label(const char *text, struct mkfs_args *a)
{
	if (strlen(text) >= LIMIT_LABEL)
		return bad("-L", text, "a label has at most 63 bytes");
	a->label = text;
	return 0;
}

static int parse_uuid(const char *text, struct mkfs_args *a)
{
	a->has_uuid = false;
	if (strcmp(text, "random") == 0)
		return 0;
	if (uuid_parse(text, &a->uuid))
		return bad("-U", text, "not a UUID");
	a->has_uuid = true;
	return 0;
}

static int parse_feature(const char *text, const char *word, size_t len, struct mkfs_args *a)
{
	bool off = len && word[0] == '^';
	size_t skip = off ? 1 : 0;

	if (len == 0)
		return 0;
	if (len == strlen("none") && memcmp(word, "none", len) == 0) {
		a->no_datasum = true;
		return 0;
	}
	if (len - skip != strlen("datasum") || memcmp(word + skip, "datasum", len - skip) != 0)
		return bad("-O", text, "unknown feature; '-O list' prints those that are known");
	a->no_datasum = off;
	return 0;
}

static int parse_feature_list(const char *text, struct mkfs_args *a)
{
	int r = 0;

	for (const char *at = text; at && !r;) {
		size_t len = strcspn(at, ",");

		r = parse_feature(text, at, len, a);
		at = at[len] ? at + len + 1 : NULL;
	}
	return r;
}

static int parse_features(const char *text, struct mkfs_args *a)
{
	if (strcmp(text, "list") == 0) {
		printf("datasum  checksums of file data (default; ^datasum leaves them out)\n");
		a->done = true;
		return 0;
	}
	return parse_feature_list(text, a);
}

static int parse_time(const char *opt, const char *text, struct mkfs_args *a)
{
	u64 seconds;

	if (parse_u64(text, 0, INT64_MAX, &seconds))
		return bad(opt, text, "not a number of seconds since 1970");
	a->time = (s64)seconds;
	return 0;
}

static int parse_inodes(const char *text, struct mkfs_args *a)
{
	u64 nr;

	if (parse_u64(text, 0, UINT64_MAX, &nr))
		return bad("-N", text, "not a number");
	a->inodes_given = true;
	return 0;
}

static int parse_one(int id, const char *text, struct mkfs_args *a)
{
	switch (id) {
	case 'b':
		return parse_block(text, a);
	case 'L':
		return parse_label(text, a);
	case 'U':
		return parse_uuid(text, a);
	case 'J':
		return parse_bytes("-J", text, &a->jnl_bytes);
	case OPT_SIZE:
		return parse_bytes("--size", text, &a->size_bytes);
	case 'N':
		return parse_inodes(text, a);
	case 'O':
		return parse_features(text, a);
	case 'T':
		return parse_time("-T", text, a);
	case 'f':
		a->force = true;
		return 0;
	case 'n':
		a->dry_run = true;
		return 0;
	case 'q':
		a->quiet = true;
		return 0;
	case 'v':
		a->verbose = true;
		return 0;
	case 'K':
		a->no_discard = true;
		return 0;
	case 'V':
		printf("mkfs.foliofs %s\n", FOLIOFS_VERSION);
		a->done = true;
		return 0;
	case 'h':
		print_help();
		a->done = true;
		return 0;
	}
	return -EINVAL;
}

static int unknown_option(const char *word)
{
	const char *names[ARRAY_LEN(rows)], *near;
	char clean[64];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		names[i] = rows[i].name;
	snprintf(clean, sizeof(clean), "%s", word + strspn(word, "-"));
	clean[strcspn(clean, "=")] = 0;
	near = strncmp(word, "--", 2) == 0 ? nearest_name(clean, names, ARRAY_LEN(names)) : NULL;
	if (near)
		fail("unknown option '%s' (did you mean '--%s'?); see mkfs.foliofs --help", word,
		     near);
	else
		fail("unknown option '%s'; see mkfs.foliofs --help", word);
	return -EINVAL;
}

static int getopt_failed(int c, int optopt_now, char **argv)
{
	char letter[3] = { '-', (char)optopt_now, 0 };
	const char *word = argv[optind - 1];

	if (c == ':') {
		fail("option '%s' needs a value; see mkfs.foliofs --help", word);
		return -EINVAL;
	}
	if (optopt_now > 0 && optopt_now < 256)
		return unknown_option(letter);
	if (optopt_now) {
		fail("option '%s' takes no value; see mkfs.foliofs --help", word);
		return -EINVAL;
	}
	return unknown_option(word);
}

static int parse_operands(int argc, char **argv, struct mkfs_args *a)
{
	if (optind >= argc) {
		fail("no target given; see mkfs.foliofs --help");
		return -EINVAL;
	}
	a->target = argv[optind++];
	if (optind < argc) {
		if (parse_u64(argv[optind], 1, UINT64_MAX / FMT_BLOCK_MAX, &a->size_blocks))
			return bad("size", argv[optind], "not a number of blocks");
		optind++;
	}
	if (optind < argc) {
		fail("'%s': one argument too many; see mkfs.foliofs --help", argv[optind]);
		return -EINVAL;
	}
	if (a->size_blocks && a->size_bytes) {
		fail("both --size and a number of blocks are given");
		return -EINVAL;
	}
	return 0;
}

static void make_getopt_tables(struct option *longs, char *shorts)
{
	*shorts++ = ':';
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		longs[i] = (struct option){ rows[i].name, rows[i].arg ? 1 : 0, NULL, rows[i].id };
		if (rows[i].id >= 256)
			continue;
		*shorts++ = (char)rows[i].id;
		if (rows[i].arg)
			*shorts++ = ':';
	}
	*shorts = 0;
}

int args_parse(int argc, char **argv, struct mkfs_args *out)
{
	struct option longs[ARRAY_LEN(rows) + 1] = { 0 };
	char shorts[2 * ARRAY_LEN(rows) + 2];
	struct mkfs_args a = { .block_bytes = FMT_BLOCK_MIN };
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	int c, r = 0;

	if (epoch && *epoch)
		r = parse_time("SOURCE_DATE_EPOCH", epoch, &a);
	make_getopt_tables(longs, shorts);
	opterr = 0;
	while (!r && !a.done && (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (c == '?' || c == ':')
			r = getopt_failed(c, optopt, argv);
		else
			r = parse_one(c, optarg, &a);
	}
	if (!r && !a.done)
		r = parse_operands(argc, argv, &a);
	if (!r)
		*out = a;
	return r;
}
