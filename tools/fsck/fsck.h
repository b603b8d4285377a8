/* Inside fsck.foliofs: options and output. */
#ifndef TOOLS_FSCK_FSCK_H
#define TOOLS_FSCK_FSCK_H

#include "check/check.h"

/* The exit status is a sum of these. */
enum { FSCK_OK = 0, FSCK_CORRECTED = 1, FSCK_UNCORRECTED = 4, FSCK_FAILED = 8, FSCK_USAGE = 16,
	FSCK_CANCELLED = 32 };

struct fsck_args {
	const char *target;
	char mode;              /* n, y or p, as given; 0 = none was */
	bool check_only;        /* -n */
	bool repair;            /* -y */
	bool data;              /* -c */
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

/*
 * progress.c. -C sets it; else a bar is drawn where standard error is a terminal, and SIGUSR1 and
 * SIGUSR2 switch it on and off.
 */
void progress_init(const struct fsck_args *a);
void progress_show(void *arg, unsigned pass, u64 done, u64 total);  /* for check_opts */
void progress_clear(void);       /* before a line is printed */

#endif
