/*
 * foliofsctl: one file for each group of commands, one table of commands (main.c).
 * A command gets its own argv (argv[0] is its name) and returns the exit status.
 */
#ifndef FOLIOFS_CTL_H
#define FOLIOFS_CTL_H

#include <stdio.h>

#include "front/mountinfo.h"

enum { CTL_OK, CTL_FAILED, CTL_USAGE };

/* "foliofsctl: TEXT" on standard error; returns CTL_FAILED. */
int ctl_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* The same for a wrong command line; returns CTL_USAGE. */
int ctl_usage(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* The FolioFS mount that path lies in; exit status, explained on standard error. */
int ctl_find_mount(const char *path, struct mountinfo *out);
/* A connection to the daemon of a mount with the command sent, or -errno. */
int ctl_connect(const struct mountinfo *m, const char *command);
/* Reads the answer; its text after the status line goes to *text (freed by the caller, may be
 * NULL). Exit status; an error is explained. */
int ctl_answer(int fd, char **text);
/* All three for one command. */
int ctl_ask(const char *path, const char *command, char **text);

int cmd_stats(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_cache(int argc, char **argv);
int cmd_set(int argc, char **argv);
int cmd_frag(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_sync(int argc, char **argv);
int cmd_freeze(int argc, char **argv);
int cmd_thaw(int argc, char **argv);
int cmd_drop(int argc, char **argv);
int cmd_mark(int argc, char **argv);
int cmd_shutdown(int argc, char **argv);
int cmd_umount(int argc, char **argv);
int cmd_scrub(int argc, char **argv);
int cmd_errors(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_dump(int argc, char **argv);

#endif
