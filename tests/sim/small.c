/* See small.h. One thread, no background work: what is written is written by the calls here. */
#include "small.h"

#include "base/err.h"
#include "blk/sim.h"

#include <check.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#define OK(expr) ck_assert_int_eq((expr), 0)

static const struct fs_cred cred = { 0, 0 };

/* ---- remembering ---- */

static void file_load(struct inode *ip, struct small_file *f)
{
	struct stat st;

	fs_getattr(ip, &st);
	f->ino = st.st_ino;
	f->mode = st.st_mode;
	f->size = (u64)st.st_size;
	if (fs_getxattr(ip, "user.x", &f->xattr, sizeof(f->xattr)) != sizeof(f->xattr))
		f->xattr = 0;
	if (!S_ISREG(st.st_mode))
		return;
	f->data = calloc(1, SMALL_BYTES);
	ck_assert_int_eq(fs_read(ip, 0, f->data, SMALL_BYTES, NULL), (ssize_t)f->size);
}

struct listing { struct small_state *state; };

static int list_name(void *arg, const char *name, size_t len, u64 ino, unsigned dtype, u64 cookie)
{
	struct listing *l = arg;
	struct small_file *f = &l->state->file[l->state->nr];

	(void)ino;
	(void)dtype;
	(void)cookie;
	if (name[0] == '.')
		return 0;
	ck_assert_uint_lt(l->state->nr++, SMALL_NAMES);
	memset(f, 0, sizeof(*f));
	memcpy(f->name, name, len);
	return 0;
}

/* All that programs see in the root directory. */
static int state_load(struct inode *root, struct small_state *out)
{
	struct listing l = { .state = out };
	int r;

	out->nr = 0;
	r = fs_readdir(root, 0, list_name, &l);
	for (unsigned i = 0; !r && i < out->nr; i++) {
		struct inode *ip;

		r = fs_lookup(root, out->file[i].name, strlen(out->file[i].name), &ip);
		if (r)
			return r;
		file_load(ip, &out->file[i]);
		fs_iput(ip);
	}
	return r;
}

static void state_free(struct small_state *s)
{
	for (unsigned i = 0; i < s->nr; i++)
		free(s->file[i].data);
	s->nr = 0;
}

static void remember(struct small *s)
{
	ck_assert_uint_lt(s->nr_states, SMALL_STATES);
	OK(state_load(s->root, &s->state[s->nr_states++]));
}

/* ---- operations ---- */

static struct inode *get(struct small *s, const char *name)
{
	struct inode *ip;

	return fs_lookup(s->root, name, strlen(name), &ip) ? NULL : ip;
}

static void put(struct small *s, const char *name, u64 pos, u32 len, u8 fill)
{
	struct inode *ip = get(s, name);
	u8 *buf;

	if (!ip)
		return;
	buf = malloc(len);
	memset(buf, fill, len);
	ck_assert_int_eq(fs_write(ip, pos, buf, len, 0), len);
	free(buf);
	fs_iput(ip);
}

static void create(struct small *s, const char *name, u32 mode)
{
	struct inode *ip;

	if (!fs_mknod(s->root, name, strlen(name), mode, 0, cred, &ip))
		fs_iput(ip);
}

static void rename_to(struct small *s, const char *from, const char *to, unsigned flags)
{
	fs_rename(s->root, from, strlen(from), s->root, to, strlen(to), flags,
		  (struct fs_cred){ 0 });
}

static void truncate_to(struct small *s, u64 size)
{
	struct inode *ip = get(s, "a");

	if (!ip)
		return;
	OK(fs_truncate(ip, size));
	fs_iput(ip);
}

static void fallocate_a(struct small *s, int mode, u64 pos, u64 len)
{
	struct inode *ip = get(s, "a");

	if (!ip)
		return;
	OK(fs_fallocate(ip, mode, pos, len));
	fs_iput(ip);
}

static void op_create(struct small *s) { create(s, "n", S_IFREG | 0644); }
static void op_overwrite(struct small *s) { put(s, "a", 4096, 4096, (u8)(0x50 + s->nr_states)); }
static void op_partial(struct small *s) { put(s, "a", 100, 50, (u8)(0x60 + s->nr_states)); }
static void op_grow_b(struct small *s) { put(s, "b", 0, 5000, (u8)(0x70 + s->nr_states)); }
static void op_shrink(struct small *s) { truncate_to(s, 5000); }
static void op_extend(struct small *s) { truncate_to(s, 40000); }
static void op_rename(struct small *s) { rename_to(s, "a", "c", 0); }
static void op_replace(struct small *s) { rename_to(s, "b", "a", 0); }
static void op_exchange(struct small *s) { rename_to(s, "a", "b", FS_RENAME_EXCHANGE); }
static void op_unlink(struct small *s) { fs_unlink(s->root, "a", 1); }
static void op_mkdir(struct small *s) { create(s, "e", S_IFDIR | 0755); }
static void op_rmdir(struct small *s) { fs_rmdir(s->root, "d", 1); }

static void op_append(struct small *s)
{
	struct inode *ip = get(s, "a");
	struct stat st;

	if (!ip)
		return;
	fs_getattr(ip, &st);
	if (st.st_size <= 30000)
		put(s, "a", (u64)st.st_size, 5000, (u8)(0x10 + s->nr_states));
	fs_iput(ip);
}

static void op_punch(struct small *s)
{
	fallocate_a(s, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096);
}

static void op_zero(struct small *s)
{
	fallocate_a(s, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 2000, 9000);
}

static void op_allocate(struct small *s)
{
	fallocate_a(s, FALLOC_FL_KEEP_SIZE, 0, 45056);
}

static void op_link(struct small *s)
{
	struct inode *ip = get(s, "a");

	if (!ip)
		return;
	fs_link(ip, s->root, "l", 1);
	fs_iput(ip);
}

static void op_setxattr(struct small *s)
{
	u32 value = 7 + s->nr_states;
	struct inode *ip = get(s, "a");

	if (!ip)
		return;
	OK(fs_setxattr(ip, "user.x", &value, sizeof(value), 0));
	fs_iput(ip);
}

static void op_unlink_open(struct small *s)
{
	if (!s->held)
		s->held = get(s, "b");
	fs_unlink(s->root, "b", 1);
}

static void op_name_tmpfile(struct small *s)
{
	struct inode *ip;

	OK(fs_tmpfile(s->root, 0644, cred, &ip));
	fs_link(ip, s->root, "t", 1);
	fs_iput(ip);
}

static void op_copy(struct small *s)
{
	struct inode *a = get(s, "a"), *b = get(s, "b");

	if (a && b && a != b)
		ck_assert_int_ge(fs_copy_range(a, 0, b, 0, 2 * SECTOR_SIZE, 0), 0);
	fs_iput(a);
	fs_iput(b);
}

static const struct { const char *name; void (*run)(struct small *s); } ops[] = {
	{ "create", op_create }, { "overwrite", op_overwrite }, { "append", op_append },
	{ "partial", op_partial }, { "shrink", op_shrink }, { "extend", op_extend },
	{ "punch", op_punch }, { "zero", op_zero }, { "fallocate", op_allocate },
	{ "rename", op_rename }, { "replace", op_replace }, { "exchange", op_exchange },
	{ "link", op_link }, { "unlink", op_unlink }, { "mkdir", op_mkdir }, { "rmdir", op_rmdir },
	{ "setxattr", op_setxattr }, { "grow_b", op_grow_b }, { "unlink_open", op_unlink_open },
	{ "name_tmpfile", op_name_tmpfile }, { "copy", op_copy },
};

const unsigned small_nr_ops = ARRAY_LEN(ops);

const char *small_op_name(unsigned op)
{
	return ops[op].name;
}

void small_step(struct small *s, unsigned op)
{
	ops[op].run(s);
	remember(s);
}

static u64 sync_file(struct small *s, bool datasync)
{
	struct inode *ip = get(s, "a");
	u64 ino;

	if (!ip)
		return 1;
	OK(fs_fsync(ip, datasync));
	ino = fs_ino(ip);
	fs_iput(ip);
	return ino;
}

void small_sync(struct small *s, enum small_sync how)
{
	s->sync = how;
	s->synced_ino = 0;
	if (how == SMALL_FSYNC || how == SMALL_FDATASYNC)
		s->synced_ino = sync_file(s, how == SMALL_FDATASYNC);
	else if (how == SMALL_FSYNCDIR)
		OK(fs_fsync(s->root, false));
	else
		OK(fs_sync(s->fs));
	s->synced_at = sim_nr_events(s->dev);
}

/* ---- life ---- */

void small_open(struct small *s, u32 block_bytes)
{
	struct sim_opts so = { .sectors = 4096, .record = true };
	struct fs_format_opts fo = { .block_bytes = block_bytes,
		.jnl_sectors = FMT_JNL_MIN_SECTORS };
	struct fs_opts mo = { .threads = false };
	struct fmt_geo geo;

	memset(s, 0, sizeof(*s));
	s->synced_at = SIZE_MAX;
	OK(sim_open(&so, &s->dev));
	OK(fs_format(s->dev, &fo, &geo));
	OK(fs_mount(s->dev, &mo, &s->fs));
	OK(fs_iget(s->fs, FMT_ROOT_INO, &s->root));
	create(s, "a", S_IFREG | 0644);
	create(s, "b", S_IFREG | 0644);
	create(s, "d", S_IFDIR | 0755);
	put(s, "a", 0, 12288, 0xa1);
	put(s, "b", 0, 100, 0xb1);
	OK(fs_sync(s->fs));
	s->base = sim_nr_events(s->dev);
	remember(s);
}

void small_crash(struct small *s)
{
	if (s->held)
		fs_iput(s->held);
	s->held = NULL;
	fs_iput(s->root);
	fs_unmount(s->fs, true);
}

void small_close(struct small *s)
{
	for (unsigned i = 0; i < s->nr_states; i++)
		state_free(&s->state[i]);
	blk_close(s->dev);
}

/* ---- comparing ---- */

static const struct small_file *by_ino(const struct small_state *s, u64 ino)
{
	for (unsigned i = 0; i < s->nr; i++)
		if (s->file[i].ino == ino)
			return &s->file[i];
	return NULL;
}

static const struct small_file *by_name(const struct small_state *s, const char *name)
{
	for (unsigned i = 0; i < s->nr; i++)
		if (!strcmp(s->file[i].name, name))
			return &s->file[i];
	return NULL;
}

static bool same_names(const struct small_state *x, const struct small_state *y)
{
	if (x->nr != y->nr)
		return false;
	for (unsigned i = 0; i < x->nr; i++) {
		const struct small_file *f = by_name(y, x->file[i].name);

		if (!f || f->ino != x->file[i].ino || f->mode != x->file[i].mode)
			return false;
	}
	return true;
}

static bool all_zero(const u8 *p, u64 len)
{
	for (u64 i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

/* Is this sector of f (its bytes before the end of file) one that the file had? */
static bool sector_known(const struct small *s, const struct small_file *f, u64 at, u64 len)
{
	const struct small_file *first = by_ino(&s->state[0], f->ino);

	if (all_zero(f->data + at, len) && (!first || first->size <= at))
		return true;
	for (unsigned i = 0; i < s->nr_states; i++) {
		const struct small_file *old = by_ino(&s->state[i], f->ino);

		if (old && !memcmp(old->data + at, f->data + at, len))
			return true;
	}
	return false;
}

/* A size that the file had, or, for one that grew, any sector on the way. */
static bool size_known(const struct small *s, const struct small_file *f)
{
	u64 most = 0;

	for (unsigned i = 0; i < s->nr_states; i++) {
		const struct small_file *old = by_ino(&s->state[i], f->ino);

		if (old && old->size == f->size)
			return true;
		if (old)
			most = MAX(most, old->size);
	}
	return f->size % SECTOR_SIZE == 0 && f->size < most;
}

static const char *compare_file(const struct small *s, const struct small_file *f, bool synced,
				bool torn)
{
	const struct small_file *last = by_ino(&s->state[s->nr_states - 1], f->ino);

	if (!S_ISREG(f->mode))
		return NULL;
	if (synced && last) {
		if (f->size != last->size)
			return "a synced file has another size";
		if (memcmp(f->data, last->data, f->size))
			return "a synced file has other contents";
		if (s->sync != SMALL_FDATASYNC && f->xattr != last->xattr)
			return "a synced file has another xattr";
		return NULL;
	}
	if (!size_known(s, f) && f->size)
		return "a size that the file never had";
	for (u64 at = 0; !torn && at < f->size; at += SECTOR_SIZE)
		if (!sector_known(s, f, at, MIN(f->size - at, (u64)SECTOR_SIZE)))
			return "a sector that the file never had";
	return NULL;
}

/* The oldest state that the names may be from. */
static unsigned oldest_state(const struct small *s, size_t events)
{
	bool names = s->sync == SMALL_SYNC || s->sync == SMALL_FSYNCDIR;

	return events >= s->synced_at && names ? s->nr_states - 1 : 0;
}

static const char *compare(const struct small *s, const struct small_state *now, size_t events,
			   bool torn)
{
	bool after = events >= s->synced_at && s->sync != SMALL_FSYNCDIR;
	const char *wrong = NULL;
	bool found = false;

	for (unsigned i = oldest_state(s, events); !found && i < s->nr_states; i++)
		found = same_names(now, &s->state[i]);
	if (!found)
		return "names that never were together, or that a sync had put behind";
	if (after && s->synced_ino > 1 && !by_ino(now, s->synced_ino))
		return "a synced file is gone";
	for (unsigned i = 0; !wrong && i < now->nr; i++) {
		bool synced = after && (!s->synced_ino || now->file[i].ino == s->synced_ino);

		wrong = compare_file(s, &now->file[i], synced, torn);
	}
	return wrong;
}

static const char *verify_mounted(const struct small *s, struct fs *fs, size_t events, bool torn)
{
	struct small_state now;
	const char *wrong;
	struct inode *root;

	if (fs_iget(fs, FMT_ROOT_INO, &root))
		return "no root directory";
	wrong = state_load(root, &now) ? "names or inodes can't be read"
				       : compare(s, &now, events, torn);
	state_free(&now);
	fs_iput(root);
	return wrong;
}

const char *small_verify(const struct small *s, struct blk_dev *img, size_t events, bool torn)
{
	struct fs_opts mo = { .threads = false };
	struct check_result res;
	const char *wrong;
	struct fs *fs;

	if (fs_mount(img, &mo, &fs))
		return "recovery failed";
	wrong = verify_mounted(s, fs, events, torn);
	if (fs_unmount(fs, false) && !wrong)
		return "unmounting failed";
	if (wrong)
		return wrong;
	return check_run(img, &(struct check_opts){ 0 }, &res) || res.problems
		       ? "the recovered image is not consistent"
		       : NULL;
}
