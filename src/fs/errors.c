/*
 * The record of errors: what was found damaged, on the disk itself, so that it is known after the
 * daemon has ended.
 *
 * Rules
 * 1. corrupt() may be called with any lock held, in the middle of any body. So a report only joins
 *    the pending ones here, in memory that is always there, behind a flag that is held for a few
 *    comparisons; the flusher, sync and unmount put them into the root sector by a handle.
 * 2. The same reason at the same place is one record with a count, in memory and on the disk.
 * 3. The device's own errors come with an address only; whose it is, is found out before they are
 *    stored, by a pass over the extents. What then has no inode of its own (a node, a bitmap) gets
 *    that of the operation that met it last, which does not make it another place.
 * 4. A device that fails each request must not be kept busy by telling so: what comes from it wakes
 *    nobody, and is stored every STORE_MS, at sync and at unmount.
 * 5. The record is never in the way: what can't be stored (a read-only mount, a failed journal, a
 *    damaged root sector) stays in memory and is shown from there.
 */
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "base/time.h"
#include "fs/errors.h"
#include "fs/inode.h"

#define STORE_MS 10000u

struct store_arg {
	struct fs_error e[FMT_NR_ERRORS];
	u32 nr;
	u64 lost;
};

static void pending_enter(struct errors *er)
{
	while (__atomic_test_and_set(&er->busy, __ATOMIC_ACQUIRE))
		;
}

static void pending_leave(struct errors *er)
{
	__atomic_clear(&er->busy, __ATOMIC_RELEASE);
}

static bool same_place(const struct fs_error *x, const struct fs_error *y)
{
	return x->why == y->why && x->ino == y->ino && x->sector == y->sector;
}

/* Rule 3: what the record shows as the inode. */
static u64 shown_ino(const struct fs_error *e)
{
	return e->ino != CORRUPT_NO_INO ? e->ino : e->by;
}

/* er entered; others look whether there is anything without entering. */
static void pending_set_nr(struct errors *er, u32 nr)
{
	__atomic_store_n(&er->nr, nr, __ATOMIC_RELAXED);
}

/* er entered. */
static void pending_add(struct errors *er, const struct fs_error *e)
{
	for (u32 i = 0; i < er->nr; i++) {
		if (!same_place(&er->e[i], e))
			continue;
		er->e[i].count += e->count;
		if (e->time >= er->e[i].time) {
			er->e[i].time = e->time;
			er->e[i].op = e->op;
			er->e[i].by = e->by;
		}
		return;
	}
	/* The newest are kept, as on the disk. */
	if (er->nr == FMT_NR_ERRORS) {
		er->lost += er->e[0].count;
		memmove(er->e, er->e + 1, (er->nr - 1) * sizeof(er->e[0]));
		pending_set_nr(er, er->nr - 1);
	}
	er->e[er->nr] = *e;
	pending_set_nr(er, er->nr + 1);
}

static void note(void *arg, const struct corrupt_report *r)
{
	struct fs *fs = arg;
	struct fs_error e = { .time = time(NULL), .ino = r->ino, .sector = r->sector, .count = 1,
			      .why = (u16)r->why, .op = r->work.kind, .by = r->work.ino };

	pending_enter(&fs->errors);
	pending_add(&fs->errors, &e);
	pending_leave(&fs->errors);
	/* Rule 4. */
	if (!why_is_io(r->why))
		fs_want_writeback(fs);
}

void errors_init(struct fs *fs)
{
	corrupt_sink_take(note, fs);
}

void errors_fini(struct fs *fs)
{
	corrupt_sink_drop(fs);
}

/* ---- on the disk ---- */

static bool is_record_of(const struct fmt_error *r, const struct fs_error *e)
{
	if (!get32(r->count) || get16(r->why) != e->why || get64(r->sector) != e->sector)
		return false;
	return e->ino == CORRUPT_NO_INO || get64(r->ino) == e->ino;
}

static void record_put(struct fmt_root *root, const struct fs_error *e)
{
	struct fmt_error *to = NULL;
	u32 next = get32(root->error_next) % FMT_NR_ERRORS;

	for (u32 i = 0; i < FMT_NR_ERRORS; i++) {
		struct fmt_error *r = &root->error[i];

		if (is_record_of(r, e))
			to = r;
	}
	if (!to) {
		to = &root->error[next];
		*to = (struct fmt_error){ .count = put32(0) };
		root->error_next = put32((next + 1) % FMT_NR_ERRORS);
	}
	to->time = put64((u64)e->time);
	to->ino = put64(shown_ino(e));
	to->sector = put64(e->sector);
	to->count = put32(get32(to->count) + e->count);
	to->why = put16(e->why);
	to->op = put16(e->op);
	root->errors_total = put64(get64(root->errors_total) + e->count);
}

static int store_body(struct view *v, void *arg)
{
	const struct store_arg *a = arg;
	struct fmt_root *root;
	void *buf;
	int r = view_edit(v, view_geo(v)->root_sector, FMT_KIND_ROOT, &buf);

	if (r)
		return r;
	root = buf;
	for (u32 i = 0; i < a->nr; i++)
		record_put(root, &a->e[i]);
	root->errors_total = put64(get64(root->errors_total) + a->lost);
	return 0;
}

static void pending_take(struct errors *er, struct store_arg *a)
{
	pending_enter(er);
	a->nr = er->nr;
	a->lost = er->lost;
	memcpy(a->e, er->e, er->nr * sizeof(er->e[0]));
	pending_set_nr(er, 0);
	er->lost = 0;
	pending_leave(er);
}

static void give_back(struct errors *er, const struct store_arg *a)
{
	pending_enter(er);
	for (u32 i = 0; i < a->nr; i++)
		pending_add(er, &a->e[i]);
	er->lost += a->lost;
	pending_leave(er);
}

/* Rule 3. */
static void find_owners(struct fs *fs, struct store_arg *a)
{
	struct owner owner[FMT_NR_ERRORS];
	u32 at[FMT_NR_ERRORS], nr = 0;

	for (u32 i = 0; i < a->nr; i++) {
		if (!why_is_io(a->e[i].why) || a->e[i].ino != CORRUPT_NO_INO ||
		    a->e[i].sector == CORRUPT_NO_SECTOR)
			continue;
		owner[nr].disk = a->e[i].sector;
		at[nr++] = i;
	}
	if (nr)
		owners_find(fs, owner, nr);
	for (u32 i = 0; i < nr; i++) {
		if (owner[i].ino == CORRUPT_NO_INO)
			continue;
		a->e[at[i]].ino = owner[i].ino;
		log_err("I/O error: sector %llu is file sector %llu of inode %llu",
			(unsigned long long)owner[i].disk, (unsigned long long)owner[i].sector,
			(unsigned long long)owner[i].ino);
	}
}

int errors_store(struct fs *fs)
{
	struct errors *er = &fs->errors;
	struct store_arg a;
	int r;

	if (!__atomic_load_n(&er->nr, __ATOMIC_RELAXED))
		return 0;
	pending_take(er, &a);
	find_owners(fs, &a);
	r = fs_readonly(fs) ? -EROFS : jnl_run(fs->jnl, 1, store_body, &a, NULL);
	if (!r)
		return 0;
	give_back(er, &a);
	return r == -EROFS ? 0 : r;
}

void errors_tick(struct fs *fs)
{
	u64 now = now_ns();

	if (!__atomic_load_n(&fs->errors.nr, __ATOMIC_RELAXED) ||
	    now < __atomic_load_n(&fs->errors.next_ns, __ATOMIC_RELAXED))
		return;
	errors_store(fs);
	__atomic_store_n(&fs->errors.next_ns, now + STORE_MS * NS_PER_MS, __ATOMIC_RELAXED);
}

u64 errors_due_ns(struct fs *fs)
{
	if (!__atomic_load_n(&fs->errors.nr, __ATOMIC_RELAXED) || fs_readonly(fs))
		return FLUSHER_NEVER;
	return __atomic_load_n(&fs->errors.next_ns, __ATOMIC_RELAXED);
}

int fs_error_record(struct jnl *j, const struct fs_error *e)
{
	struct store_arg a = { .nr = 1, .e[0] = *e };

	return jnl_run(j, 1, store_body, &a, NULL);
}

/* ---- showing and clearing ---- */

void fs_errors_decode(const struct fmt_root *root, struct fs_errors *out)
{
	u32 first = get32(root->error_next) % FMT_NR_ERRORS;

	*out = (struct fs_errors){ .total = get64(root->errors_total) };
	for (u32 i = 0; i < FMT_NR_ERRORS; i++) {
		const struct fmt_error *r = &root->error[(first + i) % FMT_NR_ERRORS];

		if (get32(r->count))
			out->e[out->nr++] = (struct fs_error){
				.time = (s64)get64(r->time), .ino = get64(r->ino),
				.sector = get64(r->sector), .count = get32(r->count),
				.why = get16(r->why), .op = get16(r->op),
			};
	}
}

static int read_body(struct view *v, void *arg)
{
	const void *root;
	int r = view_get(v, view_geo(v)->root_sector, FMT_KIND_ROOT, &root);

	if (!r)
		fs_errors_decode(root, arg);
	return r;
}

int fs_errors(struct fs *fs, struct fs_errors *out)
{
	struct errors *er = &fs->errors;
	int r;

	errors_store(fs);
	r = jnl_read(fs->jnl, read_body, out);
	if (r)
		*out = (struct fs_errors){ 0 };
	pending_enter(er);
	for (u32 i = 0; i < er->nr && out->nr < ARRAY_LEN(out->e); i++) {
		out->e[out->nr] = er->e[i];
		out->e[out->nr++].ino = shown_ino(&er->e[i]);
		out->total += er->e[i].count;
	}
	pending_leave(er);
	return 0;
}

static int clear_body(struct view *v, void *arg)
{
	struct fmt_root *root;
	void *buf;
	int r = view_edit(v, view_geo(v)->root_sector, FMT_KIND_ROOT, &buf);

	(void)arg;
	if (r)
		return r;
	root = buf;
	root->errors_total = put64(0);
	root->error_next = put32(0);
	memset(root->error, 0, sizeof(root->error));
	return 0;
}

int fs_errors_clear(struct fs *fs)
{
	struct store_arg none;
	u64 seq = 0;
	int r = jnl_run(fs->jnl, 1, clear_body, NULL, &seq);

	if (r)
		return r;
	pending_take(&fs->errors, &none);
	return seq ? jnl_commit(fs->jnl, seq) : 0;
}
