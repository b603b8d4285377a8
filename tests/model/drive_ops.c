/*
 * The operations of a driver. Each chooses what it works on, asks the model what must come, does
 * it, and takes over the change if it was done.
 *
 * 1. An operation on data that failed for a reason that is allowed may have been done in part:
 *    then each byte is the old or the new one, and the model takes over what is there (settle()).
 * 2. An operation on names that failed has done nothing.
 */
#include "drive.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

static const struct fs_cred nobody = { 7, 8 };

static u64 below(struct drive *d, u64 n)
{
	return drive_random(d) % n;
}

/* ---- choosing ---- */

struct target {
	struct mnode *node;
	struct inode *ip;
	struct drive_open *open;        /* or NULL: ip is the target's own reference */
};

/* A regular file, by name or one that is open. false: none was found. */
static bool choose_file(struct drive *d, struct target *t)
{
	struct drive_open *o = &d->open[below(d, DRIVE_OPEN)];

	*t = (struct target){ 0 };
	if (o->node && below(d, 2)) {
		*t = (struct target){ o->node, o->ip, o };
		return true;
	}
	for (unsigned tries = 0; tries < 8; tries++) {
		struct mnode *dir = model_dir(&d->m, drive_random(d));
		const struct mentry *e = dir->nr_e ? &dir->e[below(d, dir->nr_e)] : NULL;

		if (!e || !S_ISREG(e->node->mode))
			continue;
		t->node = e->node;
		t->ip = drive_lookup(d, dir, e->name);
		return true;
	}
	return false;
}

static void put(struct target *t)
{
	if (!t->open)
		fs_iput(t->ip);
}

static u64 choose_len(struct drive *d)
{
	switch (below(d, 10)) {
	case 0: case 1:
		return 1 + below(d, 100);
	case 2: case 3: case 4:
		return 1 + below(d, 9000);
	case 5: case 6: case 7:
		return 1 + below(d, 130000);
	case 8:
		return (1 + below(d, 40)) * SECTOR_SIZE;
	default:
		return 1 + below(d, 1500000);
	}
}

static u64 choose_pos(struct drive *d, const struct mnode *n, u64 len)
{
	u64 top = MODEL_FILE_MAX - len, pos;

	switch (below(d, 6)) {
	case 0:
		pos = n->size;
		break;
	case 1:
		pos = below(d, 4096);
		break;
	case 2:
		pos = below(d, MODEL_FILE_MAX / SECTOR_SIZE) * SECTOR_SIZE;
		break;
	case 3:
		pos = n->size + below(d, 100000);
		break;
	default:
		pos = below(d, n->size + 1);
		break;
	}
	return MIN(pos, top);
}

/* ---- rule 1 ---- */

/* A copy to apply the change to. */
static struct mnode copy_of(const struct mnode *n)
{
	struct mnode c = *n;

	c.data = malloc(MODEL_FILE_MAX);
	memcpy(c.data, n->data, MODEL_FILE_MAX);
	return c;
}

static void settle_bytes(struct drive *d, struct mnode *old, const struct mnode *new,
			 struct inode *ip)
{
	ssize_t got = fs_read(ip, 0, d->buf2, old->size, NULL);

	if (got != (ssize_t)old->size)
		drive_fail(d, "read of all of inode %llu after an error: %zd",
			   (unsigned long long)old->ino, got);
	for (u64 i = 0; i < old->size; i++)
		if (d->buf2[i] != old->data[i] && d->buf2[i] != new->data[i])
			drive_fail(d, "byte %llu of inode %llu is neither old nor new",
				   (unsigned long long)i, (unsigned long long)old->ino);
	memcpy(old->data, d->buf2, old->size);
	memset(old->data + old->size, 0, MODEL_FILE_MAX - old->size);
}

/* Takes over what is there; frees `new`. */
static void settle(struct drive *d, struct mnode *old, struct mnode *new, struct inode *ip)
{
	bool was_on = d->faults_on && *d->faults_on;
	u64 lo = MIN(old->size, new->size), hi = MAX(old->size, new->size);
	struct stat st;

	if (was_on)
		*d->faults_on = false;
	fs_getattr(ip, &st);
	if ((u64)st.st_size < lo || (u64)st.st_size > hi)
		drive_fail(d, "size %lld after an error, between %llu and %llu expected",
			   (long long)st.st_size, (unsigned long long)lo, (unsigned long long)hi);
	old->size = (u64)st.st_size;
	old->mtime.tv_nsec = -1;
	settle_bytes(d, old, new, ip);
	free(new->data);
	if (was_on)
		*d->faults_on = true;
}

/* ---- data ---- */

static void op_write(struct drive *d)
{
	u64 len = choose_len(d), pos;
	unsigned flags = below(d, 4) ? 0 : FS_WRITE_APPEND;
	struct mnode new;
	struct target t;
	ssize_t n;

	if (!choose_file(d, &t))
		return;
	if ((flags & FS_WRITE_APPEND) && t.node->size + len > MODEL_FILE_MAX)
		flags = 0;
	pos = flags ? t.node->size : choose_pos(d, t.node, len);
	if (below(d, 40) == 0)
		flags |= below(d, 2) ? FS_WRITE_SYNC : FS_WRITE_DSYNC;
	drive_fill(d, d->buf, len);
	n = fs_write(t.ip, pos, d->buf, len, flags);
	if (n == (ssize_t)len) {
		model_write(t.node, pos, d->buf, len);
	} else if (n > 0 && (d->faults || drive_allowed(d, -ENOSPC))) {
		model_write(t.node, pos, d->buf, (u64)n);
	} else if (n < 0 && drive_allowed(d, (int)n)) {
		new = copy_of(t.node);
		model_write(&new, pos, d->buf, len);
		settle(d, t.node, &new, t.ip);
	} else {
		drive_fail(d, "write of %llu at %llu: %zd", (unsigned long long)len,
			   (unsigned long long)pos, n);
	}
	put(&t);
}

static void op_read(struct drive *d)
{
	struct target t;
	u64 pos, len, want;
	ssize_t got;

	if (!choose_file(d, &t))
		return;
	len = choose_len(d);
	pos = below(d, t.node->size + 5000);
	if (t.open && below(d, 3))
		pos = MIN(t.open->ra.next << SECTOR_SHIFT, t.node->size);
	want = pos < t.node->size ? MIN(len, t.node->size - pos) : 0;
	got = fs_read(t.ip, pos, d->buf2, len, t.open ? &t.open->ra : NULL);
	if (got < 0 && !drive_allowed(d, (int)got))
		drive_fail(d, "read: %s", err_text((int)got));
	if (got >= 0 && got != (ssize_t)want && !(d->faults && got < (ssize_t)want))
		drive_fail(d, "read of %llu at %llu: %zd, expected %llu", (unsigned long long)len,
			   (unsigned long long)pos, got, (unsigned long long)want);
	for (ssize_t i = 0; i < got; i++)
		if (d->buf2[i] != t.node->data[pos + (u64)i])
			drive_fail_byte(d, t.node, pos + (u64)i, d->buf2[i]);
	put(&t);
}

static u64 choose_size(struct drive *d, const struct mnode *n)
{
	switch (d->shrink ? 0 : below(d, 5)) {
	case 0:
		return below(d, 3000);
	case 1:
		return ALIGN_DOWN(below(d, n->size + 1), (u64)SECTOR_SIZE);
	case 2:
		return MIN(n->size + below(d, 100000), (u64)MODEL_FILE_MAX);
	default:
		return below(d, n->size + 1);
	}
}

static void op_truncate(struct drive *d)
{
	struct fs_attr a = { .valid = FS_ATTR_SIZE };
	struct target t;
	int r;

	if (!choose_file(d, &t))
		return;
	a.size = choose_size(d, t.node);
	r = below(d, 2) ? fs_truncate(t.ip, a.size) : fs_setattr(t.ip, &a);
	if (drive_expect(d, r, 0)) {
		model_truncate(t.node, a.size);
	} else {
		struct mnode new = copy_of(t.node);

		model_truncate(&new, a.size);
		settle(d, t.node, &new, t.ip);
	}
	put(&t);
}

static void apply_fallocate(struct mnode *n, int mode, u64 pos, u64 len)
{
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		model_zero(n, pos, len);
	if (!(mode & (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) && pos + len > n->size)
		model_truncate(n, pos + len);
	n->mtime.tv_nsec = -1;
}

static void op_fallocate(struct drive *d)
{
	static const int modes[] = {
		0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	int mode = modes[below(d, ARRAY_LEN(modes))], r;
	u64 len = choose_len(d), pos;
	struct target t;

	if (!choose_file(d, &t))
		return;
	pos = choose_pos(d, t.node, len);
	r = fs_fallocate(t.ip, mode, pos, len);
	if (drive_expect(d, r, 0)) {
		apply_fallocate(t.node, mode, pos, len);
	} else {
		struct mnode new = copy_of(t.node);

		apply_fallocate(&new, mode, pos, len);
		settle(d, t.node, &new, t.ip);
	}
	put(&t);
}

static void assert_zero(struct drive *d, const struct mnode *n, u64 pos, u64 end)
{
	for (; pos < end; pos++)
		if (n->data[pos])
			drive_fail(d, "byte %llu of inode %llu is no hole", (unsigned long long)pos,
				   (unsigned long long)n->ino);
}

static void op_seek(struct drive *d)
{
	struct target t;
	s64 data, hole, size;
	u64 pos;

	if (!choose_file(d, &t))
		return;
	size = (s64)t.node->size;
	pos = below(d, t.node->size + 1);
	data = fs_seek(t.ip, pos, SEEK_DATA);
	hole = fs_seek(t.ip, pos, SEEK_HOLE);
	put(&t);
	if (pos == t.node->size) {
		if (data != -ENXIO || hole != -ENXIO)
			drive_fail(d, "seek at the end: %lld, %lld", (long long)data,
				   (long long)hole);
		return;
	}
	if (data != -ENXIO && (data < (s64)pos || data >= size))
		drive_fail(d, "data from %llu: %lld, size %lld", (unsigned long long)pos,
			   (long long)data, (long long)size);
	if (hole < (s64)pos || hole > size)
		drive_fail(d, "hole from %llu: %lld, size %lld", (unsigned long long)pos,
			   (long long)hole, (long long)size);
	if (data > (s64)pos && hole != (s64)pos)
		drive_fail(d, "neither data nor hole at %llu", (unsigned long long)pos);
	assert_zero(d, t.node, pos, data < 0 ? t.node->size : (u64)data);
}

static void op_fsync(struct drive *d)
{
	struct target t;
	int r;

	if (!choose_file(d, &t))
		return;
	r = fs_fsync(t.ip, below(d, 2));
	if (!r && t.open)
		fs_flush(t.ip, &t.open->error_cursor);
	drive_expect(d, r, 0);
	put(&t);
}

static void op_open(struct drive *d)
{
	struct drive_open *o = &d->open[below(d, DRIVE_OPEN)];
	struct target t;

	if (o->node) {
		drive_close(d, o);
		return;
	}
	if (!choose_file(d, &t))
		return;
	*o = (struct drive_open){ .node = t.node, .ip = fs_ihold(t.ip) };
	t.node->opens++;
	put(&t);
}

/* ---- attributes ---- */

static void op_setattr(struct drive *d)
{
	struct fs_attr a = { .valid = 1 + (u32)below(d, 3) };
	struct target t;
	int r;

	if (!choose_file(d, &t))
		return;
	a.mode = (u32)below(d, 01000);
	a.uid = (u32)below(d, 1000);
	if (below(d, 2)) {
		a.valid |= FS_ATTR_MTIME;
		a.mtime.tv_sec = (time_t)below(d, 2000000000);
		a.mtime.tv_nsec = (long)below(d, 1000000000);
	}
	r = fs_setattr(t.ip, &a);
	if (drive_expect(d, r, 0)) {
		if (a.valid & FS_ATTR_MODE)
			t.node->mode = (t.node->mode & S_IFMT) | a.mode;
		if (a.valid & FS_ATTR_UID)
			t.node->uid = a.uid;
		if (a.valid & FS_ATTR_MTIME)
			t.node->mtime = a.mtime;
	}
	drive_compare(d, t.node, t.ip);
	put(&t);
}

static void xattr_change(struct drive *d, struct mnode *n, struct inode *ip)
{
	struct mxattr *x;
	unsigned i = (unsigned)below(d, MODEL_XATTRS);
	u32 len = (u32)below(d, below(d, 3) ? 100 : MODEL_XATTR_MAX);
	char name[16];
	int r;

	x = &n->x[i];
	snprintf(name, sizeof(name), "user.x%u", i);
	if (below(d, 3) == 0 || d->shrink) {
		r = fs_removexattr(ip, name);
		if (drive_expect(d, r, x->set ? 0 : -ENODATA))
			x->set = false;
		return;
	}
	drive_fill(d, d->buf, len);
	if (!drive_expect(d, fs_setxattr(ip, name, d->buf, len, 0), 0))
		return;
	free(x->val);
	x->val = malloc(len + 1);
	memcpy(x->val, d->buf, len);
	x->len = len;
	x->set = true;
}

static void op_xattr(struct drive *d)
{
	struct target t;

	if (below(d, 4) == 0) {
		struct mnode *dir = model_dir(&d->m, drive_random(d));

		t.ip = drive_dir(d, dir);
		xattr_change(d, dir, t.ip);
		fs_iput(t.ip);
		return;
	}
	if (!choose_file(d, &t))
		return;
	xattr_change(d, t.node, t.ip);
	put(&t);
}

/* ---- names ---- */

static u32 choose_name(struct drive *d)
{
	return (u32)below(d, MODEL_NAMES);
}

static void op_create(struct drive *d)
{
	static const u32 types[] = { S_IFREG, S_IFREG, S_IFREG, S_IFREG, S_IFREG, S_IFDIR,
				     S_IFIFO };
	u32 mode = types[below(d, ARRAY_LEN(types))] | (u32)below(d, 01000);
	struct mnode *dir = model_dir(&d->m, drive_random(d)), *n;
	struct inode *dp, *ip = NULL;
	u32 name = choose_name(d);
	char text[MODEL_NAME_BUF];
	int r;

	if ((S_ISREG(mode) && d->m.nr_files >= 60) || (S_ISDIR(mode) && d->m.nr_dirs >= 12))
		return;
	dp = drive_dir(d, dir);
	r = fs_mknod(dp, text, model_name(name, text), mode, 0, nobody, &ip);
	if (drive_expect(d, r, model_find(dir, name) ? -EEXIST : 0)) {
		n = model_add(&d->m, dir, name, mode);
		n->uid = nobody.uid;
		n->ino = fs_ino(ip);
		drive_compare(d, n, ip);
		fs_iput(ip);
	}
	fs_iput(dp);
}

static void op_symlink(struct drive *d)
{
	struct mnode *dir = model_dir(&d->m, drive_random(d)), *n;
	struct inode *dp = drive_dir(d, dir), *ip = NULL;
	u32 name = choose_name(d);
	char text[MODEL_NAME_BUF];
	size_t len = 1 + below(d, below(d, 8) ? 60 : 3500);
	int r;

	memset(d->buf, 'a' + (int)below(d, 26), len);
	d->buf[len] = 0;
	r = fs_symlink(dp, text, model_name(name, text), (char *)d->buf, len, nobody, &ip);
	if (drive_expect(d, r, model_find(dir, name) ? -EEXIST : 0)) {
		n = model_add(&d->m, dir, name, S_IFLNK | 0777);
		n->uid = nobody.uid;
		n->ino = fs_ino(ip);
		n->target = strdup((char *)d->buf);
		fs_iput(ip);
	}
	fs_iput(dp);
}

static void op_link(struct drive *d)
{
	struct mnode *dir = model_dir(&d->m, drive_random(d));
	struct inode *dp;
	u32 name = choose_name(d);
	char text[MODEL_NAME_BUF];
	struct target t;
	int want = 0, r;

	if (!choose_file(d, &t))
		return;
	dp = drive_dir(d, dir);
	if (model_find(dir, name))
		want = -EEXIST;
	else if (t.node->nlink == 0)
		want = -ENOENT;
	r = fs_link(t.ip, dp, text, model_name(name, text));
	if (drive_expect(d, r, want))
		model_link(t.node, dir, name);
	fs_iput(dp);
	put(&t);
}

static void op_remove(struct drive *d)
{
	struct mnode *dir = model_dir(&d->m, drive_random(d)), *n;
	u32 name = choose_name(d);
	char text[MODEL_NAME_BUF];
	bool rmdir = below(d, 4) == 0;
	struct inode *dp;
	int want = 0, r;

	if (dir->nr_e && below(d, 4))
		name = dir->e[below(d, dir->nr_e)].name;
	n = model_find(dir, name);
	if (!n)
		want = -ENOENT;
	else if (rmdir != S_ISDIR(n->mode))
		want = rmdir ? -ENOTDIR : -EISDIR;
	else if (rmdir && n->nr_e)
		want = -ENOTEMPTY;
	dp = drive_dir(d, dir);
	r = rmdir ? fs_rmdir(dp, text, model_name(name, text)) :
		    fs_unlink(dp, text, model_name(name, text));
	if (drive_expect(d, r, want))
		model_remove(&d->m, dir, name);
	fs_iput(dp);
}

static void rename_result(struct drive *d, int got, int want, const int errors[8])
{
	for (unsigned i = 0; i < 8 && errors[i]; i++)
		if (got == errors[i])
			return;
	drive_expect(d, got, want == 1 ? 0 : want);
}

static void op_rename(struct drive *d)
{
	static const unsigned all_flags[] = { 0, 0, FS_RENAME_NOREPLACE, FS_RENAME_EXCHANGE };
	struct mnode *sdir = model_dir(&d->m, drive_random(d));
	struct mnode *ddir = model_dir(&d->m, drive_random(d));
	unsigned flags = all_flags[below(d, 4)];
	u32 sname = choose_name(d), dname = choose_name(d);
	char stext[MODEL_NAME_BUF], dtext[MODEL_NAME_BUF];
	struct inode *sp, *dp;
	int errors[8], want, r;

	if (sdir->nr_e && below(d, 6))
		sname = sdir->e[below(d, sdir->nr_e)].name;
	if (ddir->nr_e && below(d, 2))
		dname = ddir->e[below(d, ddir->nr_e)].name;
	want = model_rename_check(sdir, sname, ddir, dname, flags, errors);
	sp = drive_dir(d, sdir);
	dp = drive_dir(d, ddir);
	r = fs_rename(sp, stext, model_name(sname, stext), dp, dtext, model_name(dname, dtext),
		      flags, (struct fs_cred){ 0 });
	rename_result(d, r, want, errors);
	if (!r && want == 0 && (flags & FS_RENAME_EXCHANGE))
		model_exchange(sdir, sname, ddir, dname);
	else if (!r && want == 0)
		model_move(&d->m, sdir, sname, ddir, dname);
	fs_iput(sp);
	fs_iput(dp);
}

/* ---- the whole ---- */

static void op_whole(struct drive *d)
{
	struct target t;

	switch (below(d, 4)) {
	case 0:
		drive_expect(d, fs_sync(d->fs), 0);
		break;
	case 1:
		drive_expect(d, fs_tick(d->fs), 0);
		break;
	case 2:
		fs_drop_cache(d->fs, NULL);
		break;
	default:
		if (!choose_file(d, &t))
			return;
		fs_drop_cache(d->fs, t.ip);
		put(&t);
	}
}

static const struct {
	const char *name;
	void (*fn)(struct drive *d);
	u32 weight;
} ops[] = {
	{ "write", op_write, 24 }, { "read", op_read, 14 }, { "truncate", op_truncate, 7 },
	{ "fallocate", op_fallocate, 7 }, { "seek", op_seek, 4 }, { "fsync", op_fsync, 4 },
	{ "open", op_open, 5 }, { "setattr", op_setattr, 3 }, { "xattr", op_xattr, 6 },
	{ "create", op_create, 9 }, { "symlink", op_symlink, 2 }, { "link", op_link, 3 },
	{ "remove", op_remove, 8 }, { "rename", op_rename, 7 }, { "whole", op_whole, 1 },
};

void drive_op(struct drive *d)
{
	u64 total = 0, dice;
	unsigned i = 0;

	for (unsigned k = 0; k < ARRAY_LEN(ops); k++)
		total += ops[k].weight;
	dice = below(d, total);
	while (dice >= ops[i].weight)
		dice -= ops[i++].weight;
	if (d->shrink && ops[i].fn == op_write && below(d, 2)) {
		d->op = "remove";
		op_remove(d);
		return;
	}
	d->op = ops[i].name;
	ops[i].fn(d);
}
