/*
 * Options of foliofs and mount.foliofs. One table (options.c) gives the parser, the help and,
 * checked by a test, foliofs(5).
 */
#ifndef FOLIOFS_FRONT_OPTIONS_H
#define FOLIOFS_FRONT_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

#include "base/types.h"
#include "blk/blk.h"

enum front_transport { FRONT_TRANSPORT_AUTO, FRONT_TRANSPORT_DEV, FRONT_TRANSPORT_URING };
enum front_cache { FRONT_CACHE_KERNEL, FRONT_CACHE_DAEMON };
enum front_atime { FRONT_RELATIME, FRONT_NOATIME, FRONT_STRICTATIME };
enum front_action { FRONT_RUN, FRONT_HELP, FRONT_VERSION };

#define FRONT_THREADS_MAX 64u
#define FRONT_POLL_AUTO UINT64_MAX
#define OPTION_WORD_MAX 16u      /* a word out of a list, with its end */

struct front_opts {
	enum front_action action;
	bool helper;            /* called as mount.foliofs: its own argument syntax */
	char *image;
	char *mountpoint;
	/* command line */
	bool foreground;
	bool debug;
	bool fake;              /* do everything but mount */
	bool sloppy;            /* ignore unknown options */
	bool verbose;
	/* -o */
	bool readonly;
	/* nosuid and nodev are set unless suid and dev are asked for */
	bool nosuid, nodev, noexec;
	bool sync, dirsync, nodiratime;
	bool remount;           /* change what is mounted at mountpoint, start no daemon */
	bool nodatasum;
	u64 log_data;             /* bytes; 0 = never */
	enum blk_fua fua;
	bool allow_other;
	bool allow_other_set;         /* said by the user, not by default */
	bool replace_stale;
	enum front_atime atime;
	enum front_cache cache;
	enum front_transport transport;
	char policy[OPTION_WORD_MAX];
	u64 cache_size;         /* bytes */
	u64 max_folio;          /* bytes, 0 = by cache size */
	u64 min_folio;          /* bytes, 0 = one sector */
	u64 readahead;          /* bytes, 0 = default */
	u64 commit_s;
	u64 threads;            /* 0 = by CPUs */
	u64 poll_us;            /* 0 = off, FRONT_POLL_AUTO */
	char *writelog;         /* NULL = none */
};

/*
 * Fills *o; strings point into argv or are allocated and live as long as the process. A mistake is
 * explained on standard error; then the exit status is returned, else 0.
 */
int front_parse(int argc, char **argv, struct front_opts *o);

void front_help(FILE *f);

/* The names of all options, as in foliofs(5), for the test that compares them. */
const char *const *front_option_names(size_t *nr);

#endif
