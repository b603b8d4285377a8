/*
 * See drive.h: the driver itself, and the comparison of everything.
 *
 * 1. An error that the model does not ask for is ENOSPC (when little is free), or EIO while
 *    faults are injected.
 * 2. A driver has random numbers of its own, so one thread's run does not depend on another's.
 */
#include "drive.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"

void drive_fail(struct drive *d, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s, seed %llu, operation %llu (%s): ", d->test,
		(unsigned long long)d->seed, (unsigned long long)d->ops, d->op);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nrepeat: CK_FORK=no CK_RUN_CASE=%s MODEL_SEED=%llu %s\n", d->test,
		(unsigned long long)d->seed, "tests/model_test_model");
	abort();
}

void drive_fail_byte(struct drive *d, const struct mnode *n, u64 pos, u8 got)
{
	drive_fail(d, "inode %llu, size %llu: byte %llu is %02x, expected %02x",
		   (unsigned long long)n->ino, (unsigned long long)n->size,
		   (unsigned long long)pos, got, n->data[pos]);
}

u64 drive_random(struct drive *d)
{
	d->state += 0x9e3779b97f4a7c15ull;
	return hash_mix64(d->state);
}

void drive_fill(struct drive *d, void *buf, u64 len)
{
	u64 r = drive_random(d);
	u8 *p = buf;

	for (u64 i = 0; i < len; i += 8, r += 0x0101010101010101ull)
		memcpy(p + i, &r, MIN(len - i, (u64)8));
}

bool drive_allowed(struct drive *d, int error)
{
	struct statvfs s;

	if (d->faults && (error == -EIO || error == -ENOSPC)) {
		d->refused++;
		return true;
	}
	if (error != -ENOSPC || fs_statfs(d->fs, &s))
		return false;
	if (s.f_bavail * SECTOR_SIZE > d->loose_bytes)
		drive_fail(d, "no space with %llu KiB free", (unsigned long long)s.f_bavail * 4);
	d->refused++;
	d->shrink = true;
	return true;
}

bool drive_expect(struct drive *d, int got, int want)
{
	if (got == want)
		return got == 0;
	if (got < 0 && drive_allowed(d, got))
		return false;
	drive_fail(d, "returned %d (%s), expected %d (%s)", got, err_text(got), want,
		   err_text(want));
}

void drive_init(struct drive *d, const char *test, u64 seed, const char *base)
{
	*d = (struct drive){ .test = test, .seed = seed, .state = hash_mix64(seed + 1) };
	d->op = "start";
	d->loose_bytes = 12u << 20;
	snprintf(d->base, sizeof(d->base), "%s", base);
	model_init(&d->m);
	d->buf = malloc(MODEL_FILE_MAX);
	d->buf2 = malloc(MODEL_FILE_MAX);
}

void drive_fini(struct drive *d)
{
	model_fini(&d->m);
	free(d->buf);
	free(d->buf2);
}

/* ---- finding inodes ---- */

struct inode *drive_dir(struct drive *d, const struct mnode *dir)
{
	struct inode *up, *ip;
	char name[MODEL_NAME_BUF];
	size_t len;
	int r;

	if (dir->parent) {
		up = drive_dir(d, dir->parent);
		len = model_name(dir->name, name);
	} else {
		r = fs_iget(d->fs, FMT_ROOT_INO, &up);
		if (r)
			drive_fail(d, "root: %s", err_text(r));
		len = strlen(strcpy(name, d->base));
	}
	r = fs_lookup(up, name, len, &ip);
	fs_iput(up);
	if (r || fs_ino(ip) != dir->ino)
		drive_fail(d, "directory %s: %s", name, err_text(r));
	return ip;
}

struct inode *drive_lookup(struct drive *d, const struct mnode *dir, u32 name)
{
	struct inode *up = drive_dir(d, dir), *ip = NULL;
	struct mnode *n = model_find(dir, name);
	char text[MODEL_NAME_BUF];
	int r = fs_lookup(up, text, model_name(name, text), &ip);

	fs_iput(up);
	if (r != (n ? 0 : -ENOENT) || (n && fs_ino(ip) != n->ino))
		drive_fail(d, "lookup of %s: %s", text, err_text(r));
	return ip;
}

void drive_attach(struct drive *d, struct fs *fs)
{
	struct inode *root, *ip;
	int r;

	d->fs = fs;
	if (d->m.root->ino)
		return;
	r = fs_iget(fs, FMT_ROOT_INO, &root);
	if (!r)
		r = fs_mknod(root, d->base, strlen(d->base), S_IFDIR | 0755, 0,
			     (struct fs_cred){ 0 }, &ip);
	if (r)
		drive_fail(d, "can't make %s: %s", d->base, err_text(r));
	d->m.root->ino = fs_ino(ip);
	fs_iput(ip);
	fs_iput(root);
}

void drive_close(struct drive *d, struct drive_open *o)
{
	fs_iput(o->ip);
	model_close(&d->m, o->node);
	*o = (struct drive_open){ 0 };
}

void drive_detach(struct drive *d)
{
	for (unsigned i = 0; i < DRIVE_OPEN; i++)
		if (d->open[i].node)
			drive_close(d, &d->open[i]);
	d->fs = NULL;
}

static void watch_space(struct drive *d)
{
	struct statvfs s;

	if (d->ops % 32 == 0 && fs_statfs(d->fs, &s) == 0)
		d->shrink = s.f_bavail < s.f_blocks / (d->shrink ? 2 : 8);
}

void drive_run(struct drive *d, u64 ops)
{
	while (ops--) {
		watch_space(d);
		drive_op(d);
		d->ops++;
	}
}

/* ---- comparing ---- */

void drive_compare(struct drive *d, const struct mnode *n, struct inode *ip)
{
	struct stat st;

	fs_getattr(ip, &st);
	if (st.st_ino != n->ino || st.st_mode != n->mode || st.st_uid != n->uid ||
	    st.st_nlink != n->nlink)
		drive_fail(d, "inode %llu: mode %o uid %u links %u, expected %o, %u, %u",
			   (unsigned long long)st.st_ino, st.st_mode, st.st_uid,
			   (unsigned)st.st_nlink, n->mode, n->uid, n->nlink);
	if (S_ISREG(n->mode) && (u64)st.st_size != n->size)
		drive_fail(d, "inode %llu: size %llu, expected %llu", (unsigned long long)n->ino,
			   (unsigned long long)st.st_size, (unsigned long long)n->size);
	if (n->mtime.tv_nsec >= 0 && memcmp(&n->mtime, &st.st_mtim, sizeof(n->mtime)))
		drive_fail(d, "inode %llu: mtime %lld.%09ld, expected %lld.%09ld",
			   (unsigned long long)n->ino, (long long)st.st_mtim.tv_sec,
			   st.st_mtim.tv_nsec, (long long)n->mtime.tv_sec, n->mtime.tv_nsec);
}

void drive_compare_data(struct drive *d, const struct mnode *n, struct inode *ip)
{
	u64 pos = 0;

	while (pos < n->size) {
		u64 want = MIN(n->size - pos, (u64)1 << 20);
		ssize_t got = fs_read(ip, pos, d->buf2, want, NULL);

		if (got != (ssize_t)want)
			drive_fail(d, "read of %llu at %llu of inode %llu: %zd",
				   (unsigned long long)want, (unsigned long long)pos,
				   (unsigned long long)n->ino, got);
		for (u64 i = 0; memcmp(d->buf2, n->data + pos, want) && i < want; i++)
			if (d->buf2[i] != n->data[pos + i])
				drive_fail_byte(d, n, pos + i, d->buf2[i]);
		pos += want;
	}
}

static void compare_xattrs(struct drive *d, const struct mnode *n, struct inode *ip)
{
	static const char prefix[] = "user.x";
	size_t total = 0;
	int r;

	for (unsigned i = 0; i < MODEL_XATTRS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%s%u", prefix, i);
		r = fs_getxattr(ip, name, d->buf2, MODEL_XATTR_MAX);
		if (r != (n->x[i].set ? (int)n->x[i].len : -ENODATA) ||
		    (r > 0 && memcmp(d->buf2, n->x[i].val, n->x[i].len)))
			drive_fail(d, "inode %llu, xattr %s: %d", (unsigned long long)n->ino, name,
				   r);
		total += n->x[i].set ? strlen(name) + 1 : 0;
	}
	r = fs_listxattr(ip, NULL, 0);
	if (r != (int)total)
		drive_fail(d, "inode %llu: list of xattrs has %d bytes",
			   (unsigned long long)n->ino, r);
}

struct listing {
	struct drive *d;
	const struct mnode *dir;
	u32 seen;
};

static int list_one(void *arg, const char *name, size_t len, u64 ino, unsigned dtype, u64 cookie)
{
	struct listing *l = arg;
	char text[MODEL_NAME_BUF];

	(void)cookie;
	if (name[0] == '.')
		return 0;
	for (u32 i = 0; i < l->dir->nr_e; i++) {
		const struct mentry *e = &l->dir->e[i];

		if (model_name(e->name, text) != len || memcmp(text, name, len))
			continue;
		if (e->node->ino != ino || e->node->mode >> 12 != dtype)
			drive_fail(l->d, "entry %s is inode %llu", text, (unsigned long long)ino);
		l->seen++;
		return 0;
	}
	drive_fail(l->d, "entry %.*s should not be there", (int)len, name);
}

static void compare_dir(struct drive *d, const struct mnode *dir)
{
	struct listing l = { d, dir, 0 };
	struct inode *ip = drive_dir(d, dir);
	int r = fs_readdir(ip, 0, list_one, &l);

	if (r || l.seen != dir->nr_e)
		drive_fail(d, "directory %llu: %u entries, expected %u (%s)",
			   (unsigned long long)dir->ino, l.seen, dir->nr_e, err_text(r));
	drive_compare(d, dir, ip);
	compare_xattrs(d, dir, ip);
	fs_iput(ip);
}

static void compare_node(struct drive *d, const struct mnode *dir, const struct mentry *e)
{
	const struct mnode *n = e->node;
	struct inode *ip = drive_lookup(d, dir, e->name);

	drive_compare(d, n, ip);
	compare_xattrs(d, n, ip);
	if (S_ISREG(n->mode))
		drive_compare_data(d, n, ip);
	if (S_ISLNK(n->mode)) {
		int r = fs_readlink(ip, (char *)d->buf2, 4096);

		if (r != (int)strlen(n->target) || memcmp(d->buf2, n->target, (size_t)r))
			drive_fail(d, "symbolic link %llu differs", (unsigned long long)n->ino);
	}
	fs_iput(ip);
}

void drive_verify(struct drive *d)
{
	d->op = "verify";
	for (const struct mnode *dir = d->m.dirs; dir; dir = dir->next_dir) {
		compare_dir(d, dir);
		for (u32 i = 0; i < dir->nr_e; i++)
			if (!S_ISDIR(dir->e[i].node->mode))
				compare_node(d, dir, &dir->e[i]);
	}
	for (unsigned i = 0; i < DRIVE_OPEN; i++)
		if (d->open[i].node)
			drive_compare_data(d, d->open[i].node, d->open[i].ip);
}

void drive_fsync_all(struct drive *d)
{
	d->op = "fsync of everything";
	for (const struct mnode *dir = d->m.dirs; dir; dir = dir->next_dir)
		for (u32 i = 0; i < dir->nr_e; i++) {
			struct inode *ip = drive_lookup(d, dir, dir->e[i].name);
			int r = fs_fsync(ip, i & 1);

			fs_iput(ip);
			if (r)
				drive_fail(d, "fsync: %s", err_text(r));
		}
}

/* ---- deleting everything ---- */

static void empty_dir(struct drive *d, struct mnode *dir)
{
	char name[MODEL_NAME_BUF];
	struct inode *ip;
	int r;

	while (dir->nr_e) {
		struct mentry e = dir->e[0];
		bool is_dir = S_ISDIR(e.node->mode);
		size_t len = model_name(e.name, name);

		if (is_dir)
			empty_dir(d, e.node);
		ip = drive_dir(d, dir);
		r = is_dir ? fs_rmdir(ip, name, len) : fs_unlink(ip, name, len);
		fs_iput(ip);
		if (r)
			drive_fail(d, "can't delete %s: %s", name, err_text(r));
		model_remove(&d->m, dir, e.name);
	}
}

void drive_empty(struct drive *d)
{
	struct inode *root;
	int r;

	d->op = "delete everything";
	for (unsigned i = 0; i < DRIVE_OPEN; i++)
		if (d->open[i].node)
			drive_close(d, &d->open[i]);
	empty_dir(d, d->m.root);
	r = fs_iget(d->fs, FMT_ROOT_INO, &root);
	if (!r)
		r = fs_rmdir(root, d->base, strlen(d->base));
	if (r)
		drive_fail(d, "can't delete %s: %s", d->base, err_text(r));
	fs_iput(root);
	d->m.root->ino = 0;
	for (unsigned i = 0; i < MODEL_XATTRS; i++)
		d->m.root->x[i].set = false;
}
