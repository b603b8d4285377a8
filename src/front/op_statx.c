/*
 * statx(2): getattr with the time of birth.
 *
 * The kernel asks for it when a program wants what GETATTR does not have; everything is answered,
 * whatever it asked for.
 *
 * Locking: none here.
 */
#include <errno.h>
#include <sys/sysmacros.h>

#include "front/front.h"
#include "front/req.h"

static struct proto_sx_time stamp(struct timespec t)
{
	return (struct proto_sx_time){ .sec = t.tv_sec, .nsec = (u32)t.tv_nsec };
}

static void fill_statx(struct inode *ip, struct proto_statx *out)
{
	struct stat st;

	req_stat(ip, &st);
	*out = (struct proto_statx){
		.mask = STATX_BASIC_STATS | STATX_BTIME,
		.blksize = (u32)st.st_blksize,
		.nlink = (u32)st.st_nlink,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.mode = (u16)st.st_mode,
		.ino = st.st_ino,
		.size = (u64)st.st_size,
		.blocks = (u64)st.st_blocks,
		.atime = stamp(st.st_atim),
		.btime = stamp(fs_btime(ip)),
		.ctime = stamp(st.st_ctim),
		.mtime = stamp(st.st_mtim),
		.rdev_major = major(st.st_rdev),
		.rdev_minor = minor(st.st_rdev),
	};
}

int op_statx(struct req *rq)
{
	const struct proto_statx_in *in = req_arg(rq, sizeof(*in));
	struct proto_statx_out *out;
	struct inode *ip;
	int err = in ? req_inode(rq, &ip) : -EINVAL;

	if (err)
		return err;
	out = req_out(rq, sizeof(*out));
	out->attr_valid = REQ_VALID_S;
	fill_statx(ip, &out->stat);
	fs_iput(ip);
	return 0;
}
