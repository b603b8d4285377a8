/*
 * Attributes: getattr, setattr, statfs.
 *
 * Rules
 * 1. With HANDLE_KILLPRIV_V2 the kernel leaves it to us to take set-user-id bits and capabilities
 *    away: FATTR_KILL_SUIDGID says when for the bits; capabilities go with every change of owner or
 *    size.
 * 2. Sizes beyond 2^63 - 1 (negative ones) reach us: EFBIG.
 *
 * Locking: none here.
 */
#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "front/file.h"
#include "front/front.h"
#include "front/req.h"

/*
 * Of what the kernel's cache still holds back no space is taken yet, and programs take a file with
 * a size and no blocks for one big hole (tar stores nothing of it).
 */
void req_stat(struct inode *ip, struct stat *st)
{
	fs_getattr(ip, st);
	if (S_ISREG(st->st_mode) && file_has_writers(st->st_ino))
		st->st_blocks = MAX(st->st_blocks, (blkcnt_t)(SECTOR_SIZE / 512));
}

void req_fill_attr(struct inode *ip, struct fuse_attr *out)
{
	struct stat st;

	req_stat(ip, &st);
	*out = (struct fuse_attr){
		.ino = st.st_ino,
		.size = (u64)st.st_size,
		.blocks = (u64)st.st_blocks,
		.atime = (u64)st.st_atim.tv_sec,
		.mtime = (u64)st.st_mtim.tv_sec,
		.ctime = (u64)st.st_ctim.tv_sec,
		.atimensec = (u32)st.st_atim.tv_nsec,
		.mtimensec = (u32)st.st_mtim.tv_nsec,
		.ctimensec = (u32)st.st_ctim.tv_nsec,
		.mode = st.st_mode,
		.nlink = (u32)st.st_nlink,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.rdev = (u32)st.st_rdev,
		.blksize = (u32)st.st_blksize,
	};
}

static void answer_attr(struct req *rq, struct inode *ip)
{
	struct fuse_attr_out *out = req_out(rq, sizeof(*out));

	out->attr_valid = REQ_VALID_S;
	req_fill_attr(ip, &out->attr);
}

int op_getattr(struct req *rq)
{
	struct inode *ip;
	int err = req_inode(rq, &ip);

	if (err)
		return err;
	answer_attr(rq, ip);
	fs_iput(ip);
	return 0;
}

static struct timespec stamp(u64 sec, u32 nsec)
{
	return (struct timespec){ .tv_sec = (time_t)sec, .tv_nsec = nsec };
}

/* The kernel's bits and ours, one to one; *_NOW stand beside the plain bit in the kernel's word. */
static void attr_from_wire(const struct fuse_setattr_in *in, struct fs_attr *a)
{
	static const struct { u32 wire, ours; } bits[] = {
		{ FATTR_MODE, FS_ATTR_MODE }, { FATTR_UID, FS_ATTR_UID },
		{ FATTR_GID, FS_ATTR_GID }, { FATTR_SIZE, FS_ATTR_SIZE },
		{ FATTR_ATIME, FS_ATTR_ATIME }, { FATTR_MTIME, FS_ATTR_MTIME },
		{ FATTR_CTIME, FS_ATTR_CTIME }, { FATTR_KILL_SUIDGID, FS_ATTR_KILL_SUID },
	};

	*a = (struct fs_attr){
		.mode = in->mode & 07777, .uid = in->uid, .gid = in->gid, .size = in->size,
		.atime = stamp(in->atime, in->atimensec), .mtime = stamp(in->mtime, in->mtimensec),
		.ctime = stamp(in->ctime, in->ctimensec),
	};
	for (size_t i = 0; i < ARRAY_LEN(bits); i++)
		if (in->valid & bits[i].wire)
			a->valid |= bits[i].ours;
	if (in->valid & FATTR_ATIME_NOW)
		a->valid = (a->valid & ~(u32)FS_ATTR_ATIME) | FS_ATTR_ATIME_NOW;
	if (in->valid & FATTR_MTIME_NOW)
		a->valid = (a->valid & ~(u32)FS_ATTR_MTIME) | FS_ATTR_MTIME_NOW;
}

/*
 * Times that the kernel's cache of writes hands over. It takes them from a file that it believes
 * to have changed, also when we refused the change because of the file's flags: no error then.
 */
static bool hands_over(const struct req *rq, const struct fuse_setattr_in *in)
{
	return rq->front->kernel_cache && in->valid == (FATTR_MTIME | FATTR_CTIME | FATTR_FH);
}

int op_setattr(struct req *rq)
{
	const struct fuse_setattr_in *in = req_arg(rq, sizeof(*in));
	struct fs_attr a;
	struct inode *ip;
	int err;

	if (!in)
		return -EINVAL;
	if ((in->valid & FATTR_SIZE) && in->size > LIMIT_FILE_SIZE)
		return -EFBIG;
	err = req_inode(rq, &ip);
	if (err)
		return err;
	attr_from_wire(in, &a);
	if ((a.valid & (FS_ATTR_UID | FS_ATTR_GID | FS_ATTR_SIZE)) && !S_ISDIR(fs_mode(ip)))
		err = caps_kill(ip);
	if (!err)
		err = fs_setattr(ip, &a);
	if (err == -EPERM && hands_over(rq, in))
		err = 0;
	if (!err)
		answer_attr(rq, ip);
	fs_iput(ip);
	return err;
}

int op_statfs(struct req *rq)
{
	struct fuse_statfs_out *out;
	struct statvfs st;
	int err = fs_statfs(rq->front->fs, &st);

	if (err)
		return err;
	out = req_out(rq, sizeof(*out));
	out->st = (struct fuse_kstatfs){
		.blocks = st.f_blocks, .bfree = st.f_bfree, .bavail = st.f_bavail,
		.files = st.f_files, .ffree = st.f_ffree, .bsize = (u32)st.f_bsize,
		.frsize = (u32)st.f_frsize, .namelen = LIMIT_NAME,
	};
	return 0;
}
