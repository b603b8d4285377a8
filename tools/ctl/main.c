/*
 * foliofsctl: looks into mounted file systems and images.
 *
 * Exit status: 0, 1 when it could not be done, 2 for a wrong command line.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "ctl.h"

static const struct command {
	const char *name, *arguments, *help;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "stats", "[-i SECONDS] [--json | --prometheus] MOUNT",
	  "what the daemon counts: cache, requests, disk", cmd_stats },
	{ "trace", "[-f | -r] [-t SECONDS] MOUNT",
	  "what happened last; -f follows, -r records a trace of cache use", cmd_trace },
	{ "info", "[--json] IMAGE | MOUNT", "geometry, label, state", cmd_info },
	{ "dump", "[--json] IMAGE super | groups | tree NAME | inode N | journal",
	  "what is on the disk", cmd_dump },
	{ "sync", "MOUNT", "make everything written so far durable", cmd_sync },
	{ "freeze", "[-t SECONDS] MOUNT",
	  "write everything, then nothing more until thaw (60 s): copy the image", cmd_freeze },
	{ "thaw", "MOUNT", "go on after freeze; fails when the time was up before", cmd_thaw },
	{ "mark", "MOUNT TEXT", "put a mark into the block log (-o writelog)", cmd_mark },
	{ "shutdown", "MOUNT", "drop all that is not durable, as a power cut would", cmd_shutdown },
	{ "top", "[-i SECONDS] [-n COUNT] [-c TIMES] MOUNT",
	  "files that are read and written most", cmd_top },
	{ "cache", "PATH [RANGE]", "what of a file is cached, dirty, evicted", cmd_cache },
	{ "drop", "MOUNT | [MOUNT] PATH [RANGE]",
	  "drop clean cached data of a mount, a file, a part of it", cmd_drop },
	{ "set", "[MOUNT] PATH budget=SIZE|none priority=low|normal|high",
	  "how much of the cache a file may have, and when it goes", cmd_set },
	{ "frag", "MOUNT | PATH", "how long free runs, or a file's extents, are", cmd_frag },
	{ "scrub", "[-r RATE] [start | stop | status] MOUNT",
	  "verify everything on the disk, while it is used", cmd_scrub },
	{ "errors", "[--clear | --json] MOUNT | IMAGE", "what was found damaged so far",
	  cmd_errors },
	{ "umount", "MOUNT", "unmount, and wait until the image is clean and free", cmd_umount },
};

static int complain(const char *fmt, va_list args)
{
	fprintf(stderr, "foliofsctl: ");
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	return CTL_FAILED;
}

int ctl_fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(fmt, args);
	va_end(args);
	return CTL_FAILED;
}

int ctl_usage(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(fmt, args);
	va_end(args);
	return CTL_USAGE;
}

static void help(FILE *f)
{
	fputs("usage: foliofsctl COMMAND [ARGUMENT...]\n\n", f);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(f, "  %-8s %s\n           %s\n", commands[i].name, commands[i].arguments,
			commands[i].help);
	fputs("\n  -h, --help     this text\n"
	      "  -V, --version  the version\n\nSee foliofsctl(8).\n", f);
}

static int unknown(const char *name)
{
	const char *names[ARRAY_LEN(commands)], *near;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		names[i] = commands[i].name;
	near = nearest_name(name, names, ARRAY_LEN(names));
	if (near)
		return ctl_usage("unknown command '%s' (did you mean '%s'?)", name, near);
	return ctl_usage("unknown command '%s'; try 'foliofsctl --help'", name);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		help(stderr);
		return CTL_USAGE;
	}
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
		help(stdout);
		return CTL_OK;
	}
	if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0) {
		printf("foliofsctl %s\n", FOLIOFS_VERSION);
		return CTL_OK;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, argv[1]) == 0)
			return commands[i].run(argc - 1, argv + 1);
	return unknown(argv[1]);
}
