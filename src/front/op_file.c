/*
 * Operations on open files.
 *
 * Rules
 * 1. WRITE copies once, from the request buffer to the folios. READ is in op_read.c.
 * 2. cache=daemon: every open is direct and takes parallel writes; our cache is the only one but
 *    for mapped pages. cache=kernel: the kernel's pages serve programs, it owns size and times of
 *    what it holds (FS_WRITE_CACHE), and fsync after O_SYNC writes is its business.
 * 3. close(2) asks us (FLUSH) only where it may have an error to tell: with cache=daemon for files
 *    that are opened after a write of this mount has failed. With cache=kernel the kernel asks
 *    always or never; it is told never, and its own pages' errors still reach close(2).
 *    What a close has to set going for a file that was replaced by truncation happens at RELEASE.
 * 4. With ATOMIC_O_TRUNC the open truncates; O_TRUNC reaches us in no other way.
 * 5. SEEK_DATA and SEEK_HOLE can't be answered for contents that the kernel still holds back: with
 *    cache=kernel a file that is open for writing answers EINVAL, and programs copy it all.
 *
 * Locking: none here.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/limits.h"
#include "front/caller.h"
#include "front/file.h"
#include "front/front.h"
#include "front/req.h"
#include "stat/stat.h"

/* No write of this process has failed yet. */
static bool writes_are_well(void)
{
	return stat_read(STAT_WRITEBACK_ERRORS) == 0;
}

/* With cache=kernel only we know of a file's own flag to write synchronously. */
static u32 open_answer_flags(const struct front *fr, struct inode *ip)
{
	if (fr->kernel_cache)
		return fs_get_flags(ip) & FS_FLAG_SYNC ? FOPEN_DIRECT_IO : FOPEN_KEEP_CACHE;
	return FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES |
	       (writes_are_well() ? FOPEN_NOFLUSH : 0);
}

static bool opens_for_writing(u32 flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

/* What the VFS checks in file systems whose flags it knows. */
static int flags_allow(struct inode *ip, u32 flags)
{
	u32 set = fs_get_flags(ip);

	if (!opens_for_writing(flags) || !(set & (FS_FLAG_IMMUTABLE | FS_FLAG_APPEND)))
		return 0;
	return (set & FS_FLAG_IMMUTABLE) || !(flags & O_APPEND) ? -EPERM : 0;
}

static void undo_open(struct req *rq)
{
	file_close(rq->front, rq->undo_file);
}

static void undo_create(struct req *rq)
{
	undo_open(rq);
	if (rq->undo_ino != FUSE_ROOT_ID)
		fs_forget(rq->front->fs, rq->undo_ino, 1);
}

static void fill_open(struct req *rq, struct front_file *f, struct fuse_open_out *out)
{
	out->fh = (uintptr_t)f;
	out->open_flags = open_answer_flags(rq->front, f->ip);
	f->direct = (out->open_flags & FOPEN_DIRECT_IO) != 0;
	rq->undo_file = f;
	rq->undo = undo_open;
}

/* What open(2) with O_TRUNC does to contents, capabilities and set-user-id bits. */
static int open_truncates(struct req *rq, const struct fuse_open_in *in, struct front_file *f)
{
	struct fs_attr a = { .valid = FS_ATTR_SIZE };
	int err;

	if (!(in->flags & O_TRUNC))
		return 0;
	if (in->open_flags & FUSE_OPEN_KILL_SUIDGID)
		a.valid |= FS_ATTR_KILL_SUID;
	err = file_caps_kill(rq->front, f);
	return err ? err : fs_setattr(f->ip, &a);
}

int op_open(struct req *rq)
{
	const struct fuse_open_in *in = req_arg(rq, sizeof(*in));
	struct front_file *f;
	struct inode *ip;
	int err = in ? req_inode(rq, &ip) : -EINVAL;

	if (err)
		return err;
	err = flags_allow(ip, in->flags);
	if (!err)
		err = file_open(rq->front, ip, opens_for_writing(in->flags), &f);
	if (err) {
		fs_iput(ip);
		return err;
	}
	err = open_truncates(rq, in, f);
	if (err) {
		file_close(rq->front, f);
		return err;
	}
	fill_open(rq, f, req_out(rq, sizeof(struct fuse_open_out)));
	return 0;
}

/* A new inode that is open from its first moment; its reference passes. */
static int answer_created(struct req *rq, struct inode *ip, u32 flags)
{
	struct { struct fuse_entry_out entry; struct fuse_open_out open; } *out;
	struct front_file *f;
	int err = file_open(rq->front, ip, opens_for_writing(flags), &f);

	if (err) {
		fs_iput(ip);
		return err;
	}
	out = req_out(rq, sizeof(*out));
	req_out_entry(rq, fs_ihold(ip), &out->entry);
	fill_open(rq, f, &out->open);
	rq->undo = undo_create;
	return 0;
}

/* The kernel knows that the name is free: it holds the directory's lock and asked before. */
int op_create(struct req *rq)
{
	const struct fuse_create_in *in = req_arg(rq, sizeof(*in));
	struct inode *dir, *ip;
	const char *name;
	size_t len;
	int err;

	name = in ? req_name(rq, sizeof(*in), &len) : NULL;
	if (!name || len == 0)
		return -EINVAL;
	if (len > LIMIT_NAME)
		return -ENAMETOOLONG;
	err = req_inode(rq, &dir);
	if (err)
		return err;
	err = fs_mknod(dir, name, len, (in->mode & 07777) | S_IFREG, 0, req_cred(rq, in->umask),
		       &ip);
	fs_iput(dir);
	return err ? err : answer_created(rq, ip, in->flags);
}

/* O_TMPFILE: as a create, and the name that comes with it means nothing. */
int op_tmpfile(struct req *rq)
{
	const struct fuse_create_in *in = req_arg(rq, sizeof(*in));
	struct inode *dir, *ip;
	int err = in ? req_inode(rq, &dir) : -EINVAL;

	if (err)
		return err;
	err = fs_tmpfile(dir, in->mode, req_cred(rq, in->umask), &ip);
	fs_iput(dir);
	return err ? err : answer_created(rq, ip, in->flags);
}

int op_release(struct req *rq)
{
	const struct fuse_release_in *in = req_arg(rq, sizeof(*in));
	struct front_file *f;

	if (!in)
		return -EINVAL;
	f = file_of(in->fh);
	/* Nobody waits for this answer: an error is fsync's to tell. */
	(void)fs_flush(f->ip, &f->error_cursor);
	file_close(rq->front, f);
	return 0;
}

static unsigned write_flags(const struct front *fr, const struct front_file *f,
			    const struct fuse_write_in *in)
{
	bool from_pages = in->write_flags & FUSE_WRITE_CACHE;
	unsigned flags = 0;

	if (in->write_flags & FUSE_WRITE_KILL_SUIDGID)
		flags |= FS_WRITE_KILL_SUID;
	if (from_pages && fr->kernel_cache)
		flags |= FS_WRITE_CACHE;
	if (fr->opts.sync && !from_pages)
		flags |= FS_WRITE_SYNC;
	/* O_SYNC holds O_DSYNC's bit and one of its own. */
	else if (f->direct && !from_pages && (in->flags & O_SYNC) == O_SYNC)
		flags |= FS_WRITE_SYNC;
	else if (f->direct && !from_pages && (in->flags & O_DSYNC))
		flags |= FS_WRITE_DSYNC;
	return flags;
}

int op_write(struct req *rq)
{
	const struct fuse_write_in *in = req_arg(rq, sizeof(*in));
	struct fuse_write_out *out;
	struct front_file *f;
	ssize_t n;
	int err;

	if (!in || rq->arg_len - sizeof(*in) < in->size)
		return -EINVAL;
	if (in->offset >= LIMIT_FILE_SIZE || in->size > LIMIT_FILE_SIZE - in->offset)
		return -EFBIG;
	f = file_of(in->fh);
	err = file_caps_kill(rq->front, f);
	if (err)
		return err;
	n = fs_write(f->ip, in->offset, in + 1, in->size, write_flags(rq->front, f, in));
	if (n < 0)
		return (int)n;
	out = req_out(rq, sizeof(*out));
	out->size = (u32)n;
	return 0;
}

/*
 * close(2): an error of writes made before, told once to each file that is open for writing.
 * ENOSYS: the kernel does not ask again.
 */
int op_flush(struct req *rq)
{
	const struct fuse_flush_in *in = req_arg(rq, sizeof(*in));
	struct front_file *f;

	if (!in)
		return -EINVAL;
	if (rq->front->kernel_cache && writes_are_well())
		return -ENOSYS;
	f = file_of(in->fh);
	return f->writer ? fs_flush(f->ip, &f->error_cursor) : 0;
}

int op_fsync(struct req *rq)
{
	const struct fuse_fsync_in *in = req_arg(rq, sizeof(*in));

	if (!in)
		return -EINVAL;
	return fs_fsync(file_of(in->fh)->ip, in->fsync_flags & FUSE_FSYNC_FDATASYNC);
}

/* Open directories have no handle (op_dir.c). */
int op_fsyncdir(struct req *rq)
{
	const struct fuse_fsync_in *in = req_arg(rq, sizeof(*in));
	struct inode *ip;
	int err = in ? req_inode(rq, &ip) : -EINVAL;

	if (err)
		return err;
	err = fs_fsync(ip, in->fsync_flags & FUSE_FSYNC_FDATASYNC);
	fs_iput(ip);
	return err;
}

int op_syncfs(struct req *rq)
{
	return fs_sync(rq->front->fs);
}

/* What changes a file without the kernel saying whose bits go (WRITE and SETATTR say it). */
static int suid_kill(const struct req *rq, struct inode *ip)
{
	const struct fs_attr kill = { .valid = FS_ATTR_KILL_SUID };

	if (!(fs_mode(ip) & (S_ISUID | S_ISGID)) || caller_uid(rq) == 0)
		return 0;
	return fs_setattr(ip, &kill);
}

int op_fallocate(struct req *rq)
{
	const struct fuse_fallocate_in *in = req_arg(rq, sizeof(*in));
	struct front_file *f;
	int err;

	if (!in || in->length == 0 || in->offset > INT64_MAX || in->length > INT64_MAX)
		return -EINVAL;
	if (in->offset >= LIMIT_FILE_SIZE || in->length > LIMIT_FILE_SIZE - in->offset)
		return -EFBIG;
	f = file_of(in->fh);
	err = file_caps_kill(rq->front, f);
	if (!err)
		err = fs_fallocate(f->ip, (int)in->mode, in->offset, in->length);
	return err ? err : suid_kill(rq, f->ip);
}

int op_lseek(struct req *rq)
{
	const struct fuse_lseek_in *in = req_arg(rq, sizeof(*in));
	struct fuse_lseek_out *out;
	struct front_file *f;
	s64 pos;

	if (!in || (in->whence != SEEK_DATA && in->whence != SEEK_HOLE))
		return -EINVAL;
	f = file_of(in->fh);
	if (rq->front->kernel_cache && file_has_writers(fs_ino(f->ip)))
		return -EINVAL;
	if (in->offset > INT64_MAX)
		return -ENXIO;
	pos = fs_seek(f->ip, in->offset, (int)in->whence);
	if (pos < 0)
		return (int)pos;
	out = req_out(rq, sizeof(*out));
	out->offset = (u64)pos;
	return 0;
}
