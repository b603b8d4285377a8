/*
 * Lists of operations as text, one a line:  KIND FILE FILE2 POS LEN POS2 SEED
 * and the part of a main that both programs have.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exercise.h"

#define SHRINK_TRIES 400u

static const char *const names[EX_KINDS] = {
	[EX_WRITE] = "write", [EX_WRITEV] = "writev", [EX_APPEND] = "append",
	[EX_DIRECT_WRITE] = "direct-write", [EX_MAP_WRITE] = "map-write",
	[EX_SYNC_WRITE] = "sync-write", [EX_READ] = "read", [EX_READV] = "readv",
	[EX_DIRECT_READ] = "direct-read", [EX_MAP_READ] = "map-read",
	[EX_PRIVATE_READ] = "private-read", [EX_SEEK] = "seek", [EX_TRUNCATE] = "truncate",
	[EX_EMPTY] = "empty", [EX_ALLOCATE] = "allocate", [EX_ALLOCATE_KEEP] = "allocate-keep",
	[EX_PUNCH] = "punch", [EX_ZERO] = "zero", [EX_ZERO_KEEP] = "zero-keep",
	[EX_COPY] = "copy", [EX_FSYNC] = "fsync", [EX_FDATASYNC] = "fdatasync",
	[EX_REOPEN] = "reopen", [EX_DROP] = "drop", [EX_REMOUNT] = "remount",
};

const char *ex_kind_name(unsigned kind)
{
	return kind < EX_KINDS ? names[kind] : "?";
}

int replay_save(const char *path, const struct ex_op *ops, size_t nr)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return -errno;
	for (size_t i = 0; i < nr; i++)
		fprintf(f, "%s %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
			ex_kind_name(ops[i].kind), ops[i].file, ops[i].file2, ops[i].pos,
			ops[i].len, ops[i].pos2, ops[i].seed);
	return fclose(f) ? -errno : 0;
}

static bool parse(const char *line, struct ex_op *op)
{
	char name[32];
	unsigned file, file2;

	*op = (struct ex_op){ .kind = EX_KINDS };
	if (sscanf(line, "%31s %u %u %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, name, &file,
		   &file2, &op->pos, &op->len, &op->pos2, &op->seed) != 7)
		return false;
	for (unsigned k = 0; k < EX_KINDS; k++)
		if (!strcmp(name, names[k]))
			op->kind = (uint8_t)k;
	op->file = (uint8_t)file;
	op->file2 = (uint8_t)file2;
	return op->kind < EX_KINDS && file < EX_FILES_MAX && file2 < EX_FILES_MAX;
}

int replay_load(const char *path, struct ex_op **ops, size_t *nr)
{
	FILE *f = fopen(path, "r");
	size_t max = 0;
	char line[256];
	int r = 0;

	if (!f)
		return -errno;
	*ops = NULL;
	*nr = 0;
	while (!r && fgets(line, sizeof(line), f)) {
		if (*nr == max) {
			max = max ? 2 * max : 256;
			*ops = realloc(*ops, max * sizeof(**ops));
			if (!*ops)
				abort();
		}
		if (parse(line, &(*ops)[*nr]))
			(*nr)++;
		else
			r = -EINVAL;
	}
	fclose(f);
	return r;
}

size_t replay_shrink(struct exercise *x, struct ex_op *ops, size_t nr, unsigned tries)
{
	struct ex_op *shorter = malloc((nr + 1) * sizeof(*ops));
	const struct ex_op *done;
	size_t step = nr / 2;

	if (!shorter)
		abort();
	while (step > 0 && tries > 0) {
		size_t from = 0;
		bool gained = false;

		while (from < nr && tries-- > 0) {
			size_t cut = step < nr - from ? step : nr - from;

			memcpy(shorter, ops, from * sizeof(*ops));
			memcpy(shorter + from, ops + from + cut, (nr - from - cut) * sizeof(*ops));
			if (exercise_list(x, shorter, nr - cut, true)) {
				from += cut;
				continue;
			}
			/* The list may differ even earlier now. */
			done = exercise_done(x, &nr);
			memcpy(ops, done, nr * sizeof(*ops));
			gained = true;
		}
		if (!gained || step > nr)
			step = step > nr ? nr / 2 : step / 2;
	}
	free(shorter);
	return nr;
}

static int explain(struct exercise *x, const struct ex_backend *b, const struct ex_run *run)
{
	size_t nr;
	const struct ex_op *done = exercise_done(x, &nr);
	struct ex_op *ops = malloc((nr + 1) * sizeof(*ops));

	if (!ops)
		abort();
	memcpy(ops, done, nr * sizeof(*ops));
	replay_save(run->save, ops, nr);
	fprintf(stderr, "%zu operations are in %s; repeat: %s %s\n", nr, run->save, b->repeat,
		run->save);
	if (exercise_list(x, ops, nr, true)) {
		fprintf(stderr, "done again, nothing differs\n");
	} else {
		(void)exercise_done(x, &nr);
		nr = replay_shrink(x, ops, nr, SHRINK_TRIES);
		replay_save(run->save, ops, nr);
		fprintf(stderr, "%zu of them are enough; they are in %s now:\n", nr, run->save);
		exercise_list(x, ops, nr, false);
	}
	free(ops);
	return 1;
}

static int run_list(struct exercise *x, const struct ex_run *run)
{
	struct ex_op *ops;
	size_t nr;
	int r = replay_load(run->list, &ops, &nr);

	if (r) {
		fprintf(stderr, "%s: %s\n", run->list, strerror(-r));
		return 2;
	}
	r = exercise_list(x, ops, nr, false) ? 0 : 1;
	printf("%s: %zu operations, %s\n", run->list, nr, r ? "something differs" : "as the model");
	free(ops);
	return r;
}

int exercise_main(const struct ex_backend *b, const struct ex_run *run)
{
	struct exercise *x = exercise_new(b, run->files, run->size_max);
	int status = 0;

	if (run->list)
		status = run_list(x, run);
	for (uint64_t i = 0; i < run->runs && !run->list && !status; i++) {
		printf("seed %" PRIu64 ": %" PRIu64 " operations on %u files, sizes to %" PRIu64
		       "\n", run->seed + i, run->ops, run->files, run->size_max);
		fflush(stdout);
		if (!exercise_random(x, run->seed + i, run->ops))
			status = explain(x, b, run);
	}
	exercise_print_counts(x);
	exercise_free(x);
	return status;
}
