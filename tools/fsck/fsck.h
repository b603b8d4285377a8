/* Inside fsck.foliofs: options and output. */
#ifndef TOOLS_FSCK_FSCK_H
#define TOOLS_FSCK_FSCK_H

#include "check/check.h"

/* The exit status is a sum of these. */
enum { FSCK_OK = 0, FSCK_CORRECTED = 1, FSCK_UNCORRECTED = 4, FSCK_FAILED = 8, FSCK_USAGE = 16,
	FSCK_CANCELLED = 32 };

struct fsck_args {
	const char *target;
	bool check_only;        /* -n */
	bool force;             /* -f */
	bool verbose;
	bool timing;            /* -t */
	int progress_fd;        /* -C: -1 none, 0 a bar */
	bool done;              /* help or version was printed */
};

/* Prints what is wrong itself. 0, or FSCK_USAGE. */
int args_parse(int argc, char **argv, struct fsck_args *out);

/* "fsck.foliofs: " and the message on standard error. Returns status. */
int fail(int status, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* For check_opts; arg is the struct fsck_args. */
void show_problem(void *arg, const struct check_problem *p);
void show_progress(void *arg, unsigned pass, u64 done, u64 total);
void end_progress(const struct fsck_args *a);

#endif
