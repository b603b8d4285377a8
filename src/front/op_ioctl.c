/*
 * ioctl(2): flags of files, the label, discarding free space, shutting down. Everything else is
 * ENOTTY, which is what programs expect, and not ENOSYS.
 *
 * Rules
 * 1. Flags: the kernel's VFS has checked who asks (owner, CAP_LINUX_IMMUTABLE) before it sends
 *    FS_IOC_SETFLAGS or FS_IOC_FSSETXATTR, whichever of the two the program used.
 * 2. What concerns the whole file system is root's alone; the kernel does not check that.
 * 3. The kernel takes just the number of bytes that the command's definition says.
 * 4. FS_IOC_FIEMAP, FIBMAP, FICLONE and the like never get here: the VFS answers them for FUSE.
 *
 * Locking: none here.
 */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/limits.h"
#include "front/caller.h"
#include "front/file.h"
#include "front/front.h"
#include "front/req.h"

struct call {
	struct req *rq;
	struct inode *ip;
	const void *in;          /* in_size bytes from the program */
	u32 in_size;
	void *out;               /* room for out_size bytes to the program */
	u32 out_size;
};

/* Ours, and what the two interfaces call them. */
static const struct { u32 flag, fl, xflag; } flag_bits[] = {
	{ FS_FLAG_SYNC, FS_SYNC_FL, FS_XFLAG_SYNC },
	{ FS_FLAG_IMMUTABLE, FS_IMMUTABLE_FL, FS_XFLAG_IMMUTABLE },
	{ FS_FLAG_APPEND, FS_APPEND_FL, FS_XFLAG_APPEND },
	{ FS_FLAG_NODUMP, FS_NODUMP_FL, FS_XFLAG_NODUMP },
	{ FS_FLAG_NOATIME, FS_NOATIME_FL, FS_XFLAG_NOATIME },
};

static u32 to_wire(u32 flags, bool x)
{
	u32 wire = 0;

	for (size_t i = 0; i < ARRAY_LEN(flag_bits); i++)
		if (flags & flag_bits[i].flag)
			wire |= x ? flag_bits[i].xflag : flag_bits[i].fl;
	return wire;
}

static int from_wire(u32 wire, bool x, u32 *flags)
{
	*flags = 0;
	for (size_t i = 0; i < ARRAY_LEN(flag_bits); i++) {
		u32 bit = x ? flag_bits[i].xflag : flag_bits[i].fl;

		if (wire & bit)
			*flags |= flag_bits[i].flag;
		wire &= ~bit;
	}
	return wire ? -EOPNOTSUPP : 0;
}

static int get_flags(struct call *c)
{
	u32 flags = to_wire(fs_get_flags(c->ip), false);

	memcpy(c->out, &flags, MIN(sizeof(flags), (size_t)c->out_size));
	return 0;
}

static int change_flags(struct call *c, u32 flags)
{
	int err = fs_set_flags(c->ip, flags);

	if (!err)
		req_forget_attr(c->rq, fs_ino(c->ip));
	return err;
}

static int set_flags(struct call *c)
{
	u32 wire, flags;
	int err;

	if (c->in_size < sizeof(wire))
		return -EINVAL;
	memcpy(&wire, c->in, sizeof(wire));
	err = from_wire(wire, false, &flags);
	return err ? err : change_flags(c, flags);
}

static int get_xflags(struct call *c)
{
	struct fsxattr x = { .fsx_xflags = to_wire(fs_get_flags(c->ip), true) };

	memcpy(c->out, &x, MIN(sizeof(x), (size_t)c->out_size));
	return 0;
}

/* Projects and extent sizes are not kept, so they are refused. */
static int set_xflags(struct call *c)
{
	struct fsxattr x;
	u32 flags;
	int err;

	if (c->in_size < sizeof(x))
		return -EINVAL;
	memcpy(&x, c->in, sizeof(x));
	if (x.fsx_extsize || x.fsx_projid || x.fsx_cowextsize)
		return -EOPNOTSUPP;
	err = from_wire(x.fsx_xflags & ~(u32)FS_XFLAG_HASATTR, true, &flags);
	return err ? err : change_flags(c, flags);
}

static int get_generation(struct call *c)
{
	long gen = (long)fs_generation(c->ip);

	memcpy(c->out, &gen, MIN(sizeof(gen), (size_t)c->out_size));
	return 0;
}

static int get_label(struct call *c)
{
	char label[FSLABEL_MAX] = "";

	fs_get_label(c->rq->front->fs, label, sizeof(label));
	memcpy(c->out, label, MIN(sizeof(label), (size_t)c->out_size));
	return 0;
}

static int set_label(struct call *c)
{
	const char *label = c->in;

	if (caller_uid(c->rq) != 0)
		return -EPERM;
	if (!c->in_size || !memchr(label, 0, c->in_size))
		return -EINVAL;
	return fs_set_label(c->rq->front->fs, label);
}

static int trim(struct call *c)
{
	struct fstrim_range range;
	u64 trimmed;
	int err;

	if (caller_uid(c->rq) != 0)
		return -EPERM;
	if (c->in_size < sizeof(range) || c->out_size < sizeof(range))
		return -EINVAL;
	memcpy(&range, c->in, sizeof(range));
	err = fs_trim(c->rq->front->fs, range.start, range.len, range.minlen, &trimmed);
	if (err)
		return err;
	range.len = trimmed;
	memcpy(c->out, &range, sizeof(range));
	return 0;
}

/*
 * The request to shut down that XFS, ext4 and f2fs know. The kernel takes it for one that reads,
 * as its number says, so its flags (flush first or not) don't come here: it is always a power cut.
 */
#define IOC_SHUTDOWN _IOR('X', 125, u32)

static int shut_down(struct call *c)
{
	u32 uid;

	if (c->rq->in->nodeid != FUSE_ROOT_ID)
		return -ENOTTY;
	uid = caller_uid(c->rq);
	if (uid == CALLER_UNKNOWN || (uid != 0 && uid != geteuid()))
		return -EPERM;
	fs_shutdown(c->rq->front->fs);
	memset(c->out, 0, c->out_size);
	return 0;
}

static const struct {
	u32 cmd;
	int (*fn)(struct call *c);
} calls[] = {
	{ FS_IOC_GETFLAGS, get_flags },   { FS_IOC_SETFLAGS, set_flags },
	{ FS_IOC_FSGETXATTR, get_xflags }, { FS_IOC_FSSETXATTR, set_xflags },
	{ FS_IOC_GETVERSION, get_generation }, { FS_IOC_GETFSLABEL, get_label },
	{ FS_IOC_SETFSLABEL, set_label }, { FITRIM, trim },
	{ IOC_SHUTDOWN, shut_down },
};

static int run(struct call *c, u32 cmd)
{
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (calls[i].cmd == cmd)
			return calls[i].fn(c);
	return -ENOTTY;
}

int op_ioctl(struct req *rq)
{
	const struct fuse_ioctl_in *in = req_arg(rq, sizeof(*in));
	struct fuse_ioctl_out *out;
	struct call c = { .rq = rq };
	int err;

	if (!in || rq->arg_len - sizeof(*in) < in->in_size ||
	    in->out_size > REQ_OUT_SIZE - sizeof(*out))
		return -EINVAL;
	err = req_inode(rq, &c.ip);
	if (err)
		return err;
	out = req_out(rq, sizeof(*out) + in->out_size);
	c.in = in + 1;
	c.in_size = in->in_size;
	c.out = out + 1;
	c.out_size = in->out_size;
	err = run(&c, in->cmd);
	fs_iput(c.ip);
	return err;
}
