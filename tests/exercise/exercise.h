/*
 * The data exerciser: random operations on the contents of a few files, done by a backend (a real
 * mount, or the file system without FUSE) and by a model in memory, and compared.
 *
 * exercise.c  chooses operations, knows what each must do, compares
 * replay.c    the list of operations as text: written when something differs, read back, made short
 * mount.c     backend and main: files on a mount
 * layer.c     backend and main: fs.h on a device in memory
 *
 * Whatever an operation needs is in its struct, so any part of a list can be done again: what makes
 * no sense in the state it meets (a write behind the largest size) is passed over. One thread.
 */
#ifndef TESTS_EXERCISE_EXERCISE_H
#define TESTS_EXERCISE_EXERCISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define EX_FILES_MAX 8u
#define EX_IOV 3u                /* pieces of WRITEV and READV */
#define EX_ALIGN 4096u           /* of direct access: place, length and memory */

enum ex_kind {
	EX_WRITE, EX_WRITEV, EX_APPEND, EX_DIRECT_WRITE, EX_MAP_WRITE, EX_SYNC_WRITE,
	EX_READ, EX_READV, EX_DIRECT_READ, EX_MAP_READ, EX_PRIVATE_READ, EX_SEEK,
	EX_TRUNCATE, EX_EMPTY,
	EX_ALLOCATE, EX_ALLOCATE_KEEP, EX_PUNCH, EX_ZERO, EX_ZERO_KEEP,
	EX_COPY,
	EX_FSYNC, EX_FDATASYNC, EX_REOPEN, EX_DROP, EX_REMOUNT,
	EX_KINDS
};

struct ex_op {
	uint8_t kind, file, file2;   /* COPY: from file to file2 */
	uint64_t pos, len, pos2;     /* TRUNCATE: to pos */
	uint64_t seed;               /* of the bytes that are written */
};

/*
 * Does one operation. buf: what to write, or room for what is read. Returns bytes for reads, writes
 * and copies, 0 for the others, or -errno; -ENOSYS: this backend does not have it.
 */
struct ex_backend {
	int64_t (*run)(void *arg, const struct ex_op *op, void *buf);
	/* SEEK_DATA or SEEK_HOLE: the position or -errno */
	int64_t (*seek)(void *arg, unsigned file, uint64_t pos, int whence);
	int64_t (*size)(void *arg, unsigned file);
	/* Empty files, as at the start. */
	int (*reset)(void *arg);
	void *arg;
	uint64_t mask;               /* bit k: kind k is not used */
	const char *repeat;          /* command that runs a list again: "PROGRAM ... -r" */
};

struct exercise;

/* size_max: bytes of the largest file. */
struct exercise *exercise_new(const struct ex_backend *b, unsigned files, uint64_t size_max);
void exercise_free(struct exercise *x);

/* nr random operations, and a comparison of all. false: something differed and was explained. */
bool exercise_random(struct exercise *x, uint64_t seed, uint64_t nr);
/* The same for a list, after a reset. quiet: explain nothing. */
bool exercise_list(struct exercise *x, const struct ex_op *ops, size_t nr, bool quiet);

/* How often each kind was done, one line. */
void exercise_print_counts(const struct exercise *x);

/* After a failure: what was done since the start, up to the operation that differed. */
const struct ex_op *exercise_done(const struct exercise *x, size_t *nr);

/* ---- replay.c ---- */
int replay_save(const char *path, const struct ex_op *ops, size_t nr);
/* *ops is malloced. -errno; -EINVAL: a line that is none. */
int replay_load(const char *path, struct ex_op **ops, size_t *nr);
/*
 * Leaves out what is not needed for the difference to show, doing the list at most `tries` times.
 * Returns the new length.
 */
size_t replay_shrink(struct exercise *x, struct ex_op *ops, size_t nr, unsigned tries);
const char *ex_kind_name(unsigned kind);

/*
 * The rest of a main: runs seeds or a list, saves, shrinks, explains. Options that both mains have;
 * returns the exit status.
 */
struct ex_run {
	uint64_t seed, ops, size_max, runs;
	unsigned files;
	const char *list;            /* do this list instead */
	const char *save;            /* where a failing list goes */
};
int exercise_main(const struct ex_backend *b, const struct ex_run *run);

#endif
