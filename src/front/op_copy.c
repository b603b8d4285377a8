/*
 * copy_file_range(2): from folio to folio, no byte goes through the kernel.
 *
 * Rules
 * 1. One request copies at most COPY_MAX bytes: the caller asks again, and nobody waits long.
 * 2. With cache=kernel the kernel has written back what it held of both ranges before it asks, and
 *    drops its pages of the target afterwards.
 *
 * Locking: none here.
 */
#include <errno.h>

#include "base/limits.h"
#include "front/caller.h"
#include "front/file.h"
#include "front/front.h"
#include "front/req.h"

#define COPY_MAX ((u64)16 << 20)

static ssize_t copy(struct req *rq, const struct fuse_copy_file_range_in *in)
{
	struct front_file *from = file_of(in->fh_in), *to = file_of(in->fh_out);
	unsigned flags = 0;
	int err;

	if (in->flags)
		return -EINVAL;
	if (in->off_in > INT64_MAX || in->off_out > INT64_MAX)
		return -EINVAL;
	err = file_caps_kill(rq->front, to);
	if (err)
		return err;
	/* Whoever is not root loses set-user-id bits of what he changes. */
	if (fs_mode(to->ip) & (S_ISUID | S_ISGID) && caller_uid(rq) != 0)
		flags |= FS_WRITE_KILL_SUID;
	if (rq->front->opts.sync)
		flags |= FS_WRITE_SYNC;
	return fs_copy_range(from->ip, in->off_in, to->ip, in->off_out, MIN(in->len, COPY_MAX),
			     flags);
}

int op_copy_file_range(struct req *rq)
{
	const struct fuse_copy_file_range_in *in = req_arg(rq, sizeof(*in));
	struct fuse_write_out *out;
	ssize_t n = in ? copy(rq, in) : -EINVAL;

	if (n < 0)
		return (int)n;
	out = req_out(rq, sizeof(*out));
	out->size = (u32)n;
	return 0;
}

/* The same with an answer of 64 bits, from Linux 6.18 on. */
int op_copy_file_range_64(struct req *rq)
{
	const struct fuse_copy_file_range_in *in = req_arg(rq, sizeof(*in));
	u64 *out;
	ssize_t n = in ? copy(rq, in) : -EINVAL;

	if (n < 0)
		return (int)n;
	out = req_out(rq, sizeof(*out));
	*out = (u64)n;
	return 0;
}
