/*
 * Command line of fsck.foliofs. What fsck(8) and other checkers pass is accepted: -A, -M, -R, -T,
 * -l and -r mean nothing here.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/size.h"
#include "fsck.h"

#define SHORTS ":napfycvtC:VhAMRTlr"

static const struct option longs[] = {
	{ "no-change", 0, NULL, 'n' }, { "auto", 0, NULL, 'a' },    { "preen", 0, NULL, 'p' },
	{ "force", 0, NULL, 'f' },     { "yes", 0, NULL, 'y' },     { "verbose", 0, NULL, 'v' },
	{ "check-data", 0, NULL, 'c' }, { "timing", 0, NULL, 't' }, { "progress", 1, NULL, 'C' },
	{ "version", 0, NULL, 'V' },   { "help", 0, NULL, 'h' },    { NULL, 0, NULL, 0 },
};

static const char help[] =
	"usage: fsck.foliofs [OPTIONS] TARGET\n\n"
	"Checks a FolioFS file system on an image file or a block device.\n\n"
	"  -n, --no-change    full check that writes nothing; the log is replayed in memory\n"
	"  -a, -p             the default: replay the log if there is one, trust a clean mark,\n"
	"                     repair what can be repaired without losing anything\n"
	"  -y, --yes          full check, and repair of all that is found\n"
	"  -f, --force        full check even of a file system that is marked clean\n"
	"  -c, --check-data   read all data and hold it against its checksums, too\n"
	"  -v, --verbose      print what was counted\n"
	"  -t, --timing       print how long it took\n"
	"  -C, --progress=FD  progress as lines 'PASS DONE TOTAL TARGET' to FD, as a bar for 0\n"
	"  -V, --version      print the version\n"
	"  -h, --help         print this help\n\n"
	"Exit status: 0 clean, 1 corrected, 4 damage was left, 8 failed, 16 usage, 32 cancelled.\n";

int fail(int status, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("fsck.foliofs: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return status;
}

static int parse_fd(const char *text, struct fsck_args *a)
{
	u64 fd;

	if (parse_u64(text, 0, INT_MAX, &fd))
		return fail(FSCK_USAGE, "option -C: '%s': not a file descriptor", text);
	a->progress_fd = (int)fd;
	return 0;
}

/* -n, -y and -a or -p exclude each other. */
static int choose(int c, struct fsck_args *a)
{
	char mode = c == 'a' ? 'p' : (char)c;

	if (a->mode && a->mode != mode)
		return fail(FSCK_USAGE, "only one of -n, -y and -p can be given");
	a->mode = mode;
	a->check_only = mode == 'n';
	a->repair = mode == 'y';
	return 0;
}

static int parse_one(int c, const char *text, struct fsck_args *a)
{
	switch (c) {
	case 'n':
	case 'y':
	case 'a':
	case 'p':
		return choose(c, a);
	case 'c':
		a->data = a->force = true;
		return 0;
	case 'f':
		a->force = true;
		return 0;
	case 'v':
		a->verbose = true;
		return 0;
	case 't':
		a->timing = true;
		return 0;
	case 'C':
		return parse_fd(text, a);
	case 'V':
		printf("fsck.foliofs %s\n", FOLIOFS_VERSION);
		a->done = true;
		return 0;
	case 'h':
		fputs(help, stdout);
		a->done = true;
		return 0;
	}
	return 0;
}

static int unknown_option(char **argv)
{
	const char *names[ARRAY_LEN(longs) - 1], *word = argv[optind - 1], *near;

	if (optopt > 0)
		return fail(FSCK_USAGE, "unknown option '-%c'; see fsck.foliofs --help", optopt);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		names[i] = longs[i].name;
	near = nearest_name(word + strspn(word, "-"), names, ARRAY_LEN(names));
	if (near)
		return fail(FSCK_USAGE, "unknown option '%s' (did you mean '--%s'?); "
			    "see fsck.foliofs --help", word, near);
	return fail(FSCK_USAGE, "unknown option '%s'; see fsck.foliofs --help", word);
}

int args_parse(int argc, char **argv, struct fsck_args *out)
{
	struct fsck_args a = { .progress_fd = -1 };
	int c, r = 0;

	opterr = 0;
	while (!r && !a.done && (c = getopt_long(argc, argv, SHORTS, longs, NULL)) != -1) {
		if (c == '?')
			r = unknown_option(argv);
		else if (c == ':')
			r = fail(FSCK_USAGE, "option '%s' needs a value; see fsck.foliofs --help",
				 argv[optind - 1]);
		else
			r = parse_one(c, optarg, &a);
	}
	if (!r && !a.done && optind + 1 != argc)
		r = fail(FSCK_USAGE, "%s; see fsck.foliofs --help",
			 optind < argc ? "one argument too many" : "no target given");
	if (!r && !a.done)
		a.target = argv[optind];
	if (!r)
		*out = a;
	return r;
}
