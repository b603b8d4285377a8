/*
 * See exercise.h.
 *
 * 1. The model of a file is an array and a size; bytes behind the size are zero in it.
 * 2. After each operation that may change it, the size is compared; a read compares what it reads,
 *    a seek is compared with what must be zero; at the end everything is read.
 * 3. Bytes that are written depend on the operation alone, so that a byte that is wrong can be
 *    traced to the operation that should have written it.
 */
#include "exercise.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct model {
	uint8_t *data;
	uint64_t size;
};

struct exercise {
	struct ex_backend b;
	unsigned files;
	uint64_t size_max, state;
	struct model m[EX_FILES_MAX];
	uint8_t *buf;
	struct ex_op *done;
	size_t nr, max;
	uint64_t counts[EX_KINDS];
	bool quiet;
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static uint64_t below(struct exercise *x, uint64_t n)
{
	x->state += 0x9e3779b97f4a7c15ull;
	return mix(x->state) % n;
}

struct exercise *exercise_new(const struct ex_backend *b, unsigned files, uint64_t size_max)
{
	struct exercise *x = calloc(1, sizeof(*x));

	if (!x || files == 0 || files > EX_FILES_MAX)
		abort();
	x->b = *b;
	x->files = files;
	x->size_max = size_max;
	for (unsigned i = 0; i < files; i++)
		x->m[i].data = calloc(1, size_max);
	if (posix_memalign((void **)&x->buf, EX_ALIGN, size_max + EX_ALIGN))
		abort();
	return x;
}

void exercise_free(struct exercise *x)
{
	for (unsigned i = 0; i < x->files; i++)
		free(x->m[i].data);
	free(x->buf);
	free(x->done);
	free(x);
}

const struct ex_op *exercise_done(const struct exercise *x, size_t *nr)
{
	*nr = x->nr;
	return x->done;
}

void exercise_print_counts(const struct exercise *x)
{
	for (unsigned i = 0; i < EX_KINDS; i++)
		if (x->counts[i])
			printf("%s %llu ", ex_kind_name(i), (unsigned long long)x->counts[i]);
	printf("\n");
}

static bool differs(struct exercise *x, const struct ex_op *op, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static bool differs(struct exercise *x, const struct ex_op *op, const char *fmt, ...)
{
	va_list ap;

	if (x->quiet)
		return false;
	fprintf(stderr, "operation %zu, %s file %u at %llu, %llu bytes: ", x->nr,
		ex_kind_name(op->kind), op->file, (unsigned long long)op->pos,
		(unsigned long long)op->len);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	return false;
}

/* ---- choosing ---- */

static const struct {
	uint8_t kind, weight;
} weights[] = {
	{ EX_WRITE, 22 }, { EX_WRITEV, 5 }, { EX_APPEND, 5 }, { EX_DIRECT_WRITE, 8 },
	{ EX_MAP_WRITE, 8 }, { EX_SYNC_WRITE, 1 }, { EX_READ, 14 }, { EX_READV, 4 },
	{ EX_DIRECT_READ, 6 }, { EX_MAP_READ, 6 }, { EX_PRIVATE_READ, 2 }, { EX_SEEK, 4 },
	{ EX_TRUNCATE, 9 }, { EX_EMPTY, 1 }, { EX_ALLOCATE, 4 }, { EX_ALLOCATE_KEEP, 3 },
	{ EX_PUNCH, 7 }, { EX_ZERO, 4 }, { EX_ZERO_KEEP, 3 }, { EX_COPY, 6 }, { EX_FSYNC, 2 },
	{ EX_FDATASYNC, 2 }, { EX_REOPEN, 2 }, { EX_DROP, 2 },
};

static uint64_t choose_len(struct exercise *x)
{
	uint64_t len;

	switch (below(x, 8)) {
	case 0:
		len = 1 + below(x, 16);
		break;
	case 1: case 2: case 3:
		len = 1 + below(x, 6000);
		break;
	case 4: case 5:
		len = (1 + below(x, 8)) * EX_ALIGN;
		break;
	default:
		len = 1 + below(x, x->size_max / 3);
		break;
	}
	return len < x->size_max ? len : x->size_max;
}

/* Somewhere in the file, at its end, behind it, near a multiple of the sector. */
static uint64_t choose_pos(struct exercise *x, uint64_t size, uint64_t len)
{
	uint64_t top = x->size_max - len, pos;

	switch (below(x, 8)) {
	case 0:
		pos = size;
		break;
	case 1:
		pos = below(x, x->size_max);
		break;
	case 2:
		pos = below(x, x->size_max / EX_ALIGN) * EX_ALIGN;
		break;
	case 3:
		pos = below(x, 5000);
		break;
	case 4:
		pos = size > len ? size - len : 0;
		break;
	default:
		pos = below(x, size + 1);
		break;
	}
	return pos < top ? pos : top;
}

static unsigned choose_kind(struct exercise *x)
{
	unsigned total = 0, i = 0;
	uint64_t dice;

	if (!(x->b.mask >> EX_REMOUNT & 1) && below(x, 4000) == 0)
		return EX_REMOUNT;
	for (unsigned k = 0; k < sizeof(weights) / sizeof(weights[0]); k++)
		total += x->b.mask >> weights[k].kind & 1 ? 0 : weights[k].weight;
	dice = below(x, total);
	for (;; i++) {
		if (x->b.mask >> weights[i].kind & 1)
			continue;
		if (dice < weights[i].weight)
			return weights[i].kind;
		dice -= weights[i].weight;
	}
}

static void choose(struct exercise *x, struct ex_op *op)
{
	uint64_t size;

	*op = (struct ex_op){ .kind = (uint8_t)choose_kind(x) };
	op->file = (uint8_t)below(x, x->files);
	op->file2 = (uint8_t)below(x, x->files);
	op->len = choose_len(x);
	size = x->m[op->file].size;
	op->pos = choose_pos(x, size, op->len);
	op->pos2 = choose_pos(x, x->m[op->file2].size, op->len);
	op->seed = below(x, UINT64_MAX);
	if (op->kind == EX_TRUNCATE && below(x, 3))
		op->pos = below(x, size + 1);
	if (op->kind == EX_DIRECT_WRITE || op->kind == EX_DIRECT_READ) {
		op->pos -= op->pos % EX_ALIGN;
		op->len += EX_ALIGN - 1;
		op->len -= op->len % EX_ALIGN;
	}
}

/* ---- what must happen ---- */

static void fill(uint8_t *buf, uint64_t len, uint64_t seed)
{
	for (uint64_t i = 0; i < len; i += 8) {
		uint64_t v = mix(seed + i) | 0x0101010101010101ull;

		memcpy(buf + i, &v, len - i < 8 ? len - i : 8);
	}
}

static bool is_write(unsigned kind)
{
	return kind <= EX_SYNC_WRITE;
}

static bool is_read(unsigned kind)
{
	return kind >= EX_READ && kind <= EX_PRIVATE_READ;
}

/* Makes the operation fit the state; false: pass it over. */
static bool fit(struct exercise *x, struct ex_op *op)
{
	const struct model *m = &x->m[op->file];

	if (op->kind >= EX_KINDS || op->file >= x->files || op->file2 >= x->files)
		return false;
	if (op->len > x->size_max || op->pos > x->size_max - op->len ||
	    op->pos2 > x->size_max - op->len)
		return false;
	switch (op->kind) {
	case EX_APPEND:
		op->pos = m->size;
		return op->pos + op->len <= x->size_max;
	case EX_MAP_WRITE:
	case EX_MAP_READ:
	case EX_PRIVATE_READ:
		if (op->pos >= m->size)
			return false;
		op->len = op->len < m->size - op->pos ? op->len : m->size - op->pos;
		return true;
	case EX_SEEK:
		return op->pos < m->size;
	case EX_EMPTY:
		op->pos = 0;
		return true;
	default:
		return true;
	}
}

static void set_size(struct model *m, uint64_t size)
{
	if (size < m->size)
		memset(m->data + size, 0, m->size - size);
	m->size = size;
}

static uint64_t rest(const struct model *m, uint64_t pos, uint64_t len)
{
	if (pos >= m->size)
		return 0;
	return len < m->size - pos ? len : m->size - pos;
}

/* What the operation returns when it does what it should. */
static int64_t expected(const struct exercise *x, const struct ex_op *op)
{
	const struct model *m = &x->m[op->file];

	if (is_write(op->kind))
		return (int64_t)op->len;
	if (is_read(op->kind))
		return (int64_t)rest(m, op->pos, op->len);
	if (op->kind != EX_COPY)
		return 0;
	/* The overlap is looked at after the length was cut to the end of the file. */
	uint64_t len = rest(m, op->pos, op->len);

	if (op->file == op->file2 && op->pos2 < op->pos + len && op->pos < op->pos2 + len)
		return -EINVAL;
	return (int64_t)len;
}

static void apply(struct exercise *x, const struct ex_op *op, int64_t got)
{
	struct model *m = &x->m[op->file], *to = &x->m[op->file2];
	uint64_t end = op->pos + op->len;

	if (is_write(op->kind)) {
		memcpy(m->data + op->pos, x->buf, op->len);
		m->size = m->size > end ? m->size : end;
		return;
	}
	switch (op->kind) {
	case EX_TRUNCATE:
	case EX_EMPTY:
		set_size(m, op->pos);
		break;
	case EX_PUNCH:
	case EX_ZERO_KEEP:
		memset(m->data + op->pos, 0, rest(m, op->pos, op->len));
		break;
	case EX_ZERO:
		memset(m->data + op->pos, 0, rest(m, op->pos, op->len));
		set_size(m, m->size > end ? m->size : end);
		break;
	case EX_ALLOCATE:
		set_size(m, m->size > end ? m->size : end);
		break;
	case EX_COPY:
		if (got <= 0)
			break;
		memmove(to->data + op->pos2, m->data + op->pos, (uint64_t)got);
		if (to->size < op->pos2 + (uint64_t)got)
			to->size = op->pos2 + (uint64_t)got;
		break;
	default:
		break;
	}
}

/* ---- doing and comparing ---- */

static bool compare(struct exercise *x, const struct ex_op *op, const uint8_t *got, uint64_t len)
{
	const struct model *m = &x->m[op->file];
	const uint8_t *want = m->data + op->pos;
	uint64_t i = 0, last = len;

	if (!memcmp(got, want, len))
		return true;
	while (got[i] == want[i])
		i++;
	while (got[last - 1] == want[last - 1])
		last--;
	return differs(x, op, "byte %llu is %02x, expected %02x; bytes to %llu differ, size %llu",
		       (unsigned long long)(op->pos + i), got[i], want[i],
		       (unsigned long long)(op->pos + last), (unsigned long long)m->size);
}

/* From pos on: what is a hole must be zero, and positions must make sense. */
static bool seek(struct exercise *x, const struct ex_op *op)
{
	const struct model *m = &x->m[op->file];
	int64_t data = x->b.seek(x->b.arg, op->file, op->pos, SEEK_DATA);
	int64_t hole = x->b.seek(x->b.arg, op->file, op->pos, SEEK_HOLE);
	int64_t pos = (int64_t)op->pos, size = (int64_t)m->size;

	if (data == -ENXIO)
		data = size;
	if (data < pos || data > size || hole < pos || hole > size || (data > pos && hole != pos) ||
	    (data == pos && hole == pos))
		return differs(x, op, "data at %lld, hole at %lld, size %lld", (long long)data,
			       (long long)hole, (long long)size);
	for (int64_t i = pos; i < data; i++)
		if (m->data[i])
			return differs(x, op, "byte %lld holds data, no data before %lld",
				       (long long)i, (long long)data);
	return true;
}

static bool size_is_right(struct exercise *x, const struct ex_op *op, unsigned file)
{
	int64_t size = x->b.size(x->b.arg, file);

	if (size == (int64_t)x->m[file].size)
		return true;
	return differs(x, op, "file %u has size %lld, expected %llu", file, (long long)size,
		       (unsigned long long)x->m[file].size);
}

static void remember(struct exercise *x, const struct ex_op *op)
{
	if (x->nr == x->max) {
		x->max = x->max ? 2 * x->max : 1024;
		x->done = realloc(x->done, x->max * sizeof(*op));
		if (!x->done)
			abort();
	}
	x->done[x->nr++] = *op;
}

/*
 * A copy may stop early, as long as it makes progress; so it is asked again. Adds up in *got what
 * was done.
 */
static int64_t copy_on(struct exercise *x, const struct ex_op *op, int64_t want)
{
	struct ex_op more = *op;
	int64_t done = 0, got;

	do {
		got = x->b.run(x->b.arg, &more, x->buf);
		if (got <= 0)
			return done ? done : got;
		done += got;
		more.pos += (uint64_t)got;
		more.pos2 += (uint64_t)got;
		more.len -= (uint64_t)got;
	} while (done < want);
	return done;
}

static bool do_op(struct exercise *x, struct ex_op op)
{
	int64_t want, got;

	remember(x, &op);
	if (!fit(x, &op))
		return true;
	x->counts[op.kind]++;
	if (op.kind == EX_SEEK)
		return seek(x, &op);
	want = expected(x, &op);
	if (is_write(op.kind))
		fill(x->buf, op.len, op.seed);
	got = op.kind == EX_COPY ? copy_on(x, &op, want) : x->b.run(x->b.arg, &op, x->buf);
	if (got != want)
		return differs(x, &op, "returned %lld (%s), expected %lld", (long long)got,
			       got < 0 ? strerror((int)-got) : "bytes", (long long)want);
	if (is_read(op.kind))
		return compare(x, &op, x->buf, (uint64_t)got);
	apply(x, &op, got);
	return size_is_right(x, &op, op.kind == EX_COPY ? op.file2 : op.file);
}

static bool compare_all(struct exercise *x)
{
	for (unsigned i = 0; i < x->files; i++) {
		struct ex_op op = { .kind = EX_READ, .file = (uint8_t)i, .len = x->m[i].size };
		int64_t got = x->b.run(x->b.arg, &op, x->buf);

		if (!size_is_right(x, &op, i))
			return false;
		if (got != (int64_t)op.len)
			return differs(x, &op, "returned %lld", (long long)got);
		if (!compare(x, &op, x->buf, op.len))
			return false;
	}
	return true;
}

static bool start(struct exercise *x)
{
	int err = x->b.reset(x->b.arg);

	if (err) {
		fprintf(stderr, "the files can't be made: %s\n", strerror(-err));
		return false;
	}
	x->nr = 0;
	for (unsigned i = 0; i < x->files; i++)
		set_size(&x->m[i], 0);
	return true;
}

bool exercise_random(struct exercise *x, uint64_t seed, uint64_t nr)
{
	x->state = mix(seed + 1);
	x->quiet = false;
	if (!start(x))
		return false;
	for (uint64_t i = 0; i < nr; i++) {
		struct ex_op op;

		choose(x, &op);
		if (!do_op(x, op))
			return false;
	}
	return compare_all(x);
}

bool exercise_list(struct exercise *x, const struct ex_op *ops, size_t nr, bool quiet)
{
	x->quiet = quiet;
	if (!start(x))
		return false;
	for (size_t i = 0; i < nr; i++)
		if (!do_op(x, ops[i]))
			return false;
	return compare_all(x);
}
