/*
 * Extended attributes.
 *
 * Rules
 * 1. Namespaces: user, trusted, security, and the access control lists (system.posix_acl_*) where
 *    the kernel looks at them. Everything else is refused with EOPNOTSUPP, never stored without
 *    effect. Who may do what is checked by the kernel.
 * 2. trusted.* is not listed to users without privileges.
 *
 * Locking: none here; caps_gen is atomic.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "front/caller.h"
#include "front/file.h"
#include "front/front.h"
#include "front/req.h"

static int check_name(const struct req *rq, const char *name, size_t len)
{
	static const char *const spaces[] = { "user.", "trusted.", "security." };

	if (!name)
		return -EINVAL;
	if (len > LIMIT_XATTR_NAME)
		return -ERANGE;
	for (size_t i = 0; i < ARRAY_LEN(spaces); i++) {
		size_t space = strlen(spaces[i]);

		if (len > space && memcmp(name, spaces[i], space) == 0)
			return 0;
	}
	/* fs knows which there are. */
	if (rq->front->acls && strncmp(name, "system.posix_acl_", 17) == 0)
		return 0;
	return -EOPNOTSUPP;
}

int op_setxattr(struct req *rq)
{
	/* Without SETXATTR_EXT the kernel sends the short form. */
	bool ext = rq->front->setxattr_ext;
	size_t head = ext ? sizeof(struct fuse_setxattr_in) : FUSE_COMPAT_SETXATTR_IN_SIZE;
	const struct fuse_setxattr_in *in = req_arg(rq, head);
	const char *name;
	size_t len, at;
	struct inode *ip;
	int err, flags;

	if (!in)
		return -EINVAL;
	name = req_name(rq, head, &len);
	err = check_name(rq, name, len);
	if (err)
		return err;
	at = head + len + 1;
	if (rq->arg_len - at < in->size)
		return -EINVAL;
	err = req_inode(rq, &ip);
	if (err)
		return err;
	flags = (int)in->flags;
	if (ext && (in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID))
		flags |= FS_XATTR_KILL_SGID;
	err = fs_setxattr(ip, name, (const u8 *)rq->arg + at, in->size, flags);
	fs_iput(ip);
	if (!err && strcmp(name, XATTR_CAPS) == 0)
		__atomic_fetch_add(&rq->front->caps_gen, 1, __ATOMIC_RELEASE);
	return err;
}

static int answer_size(struct req *rq, int len)
{
	struct fuse_getxattr_out *out;

	if (len < 0)
		return len;
	out = req_out(rq, sizeof(*out));
	out->size = (u32)len;
	return 0;
}

static int answer_bytes(struct req *rq, int len, size_t asked)
{
	if (len < 0)
		return len;
	if ((size_t)len > asked)
		return -ERANGE;
	rq->out_len = (size_t)len;
	return 0;
}

int op_getxattr(struct req *rq)
{
	const struct fuse_getxattr_in *in = req_arg(rq, sizeof(*in));
	const char *name;
	size_t len;
	struct inode *ip;
	int err;

	if (!in)
		return -EINVAL;
	name = req_name(rq, sizeof(*in), &len);
	err = check_name(rq, name, len);
	if (!err)
		err = req_inode(rq, &ip);
	if (err)
		return err;
	if (in->size == 0)
		err = answer_size(rq, fs_getxattr(ip, name, NULL, 0));
	else
		err = answer_bytes(rq, fs_getxattr(ip, name, rq->out,
						   MIN_T(size_t, in->size, REQ_OUT_SIZE)),
				   in->size);
	fs_iput(ip);
	return err;
}

/* Takes names that the caller may not see out of a list; returns what is left of its length. */
static int drop_trusted(const struct req *rq, char *list, int len)
{
	int kept = 0;

	for (int at = 0; at < len;) {
		int name = (int)strnlen(list + at, (size_t)(len - at)) + 1;
		bool trusted = strncmp(list + at, "trusted.", 8) == 0;

		/* Few lists have one, and only then is it asked who that is. */
		if (trusted && caller_uid(rq) == 0)
			return len;
		if (!trusted) {
			memmove(list + kept, list + at, (size_t)name);
			kept += name;
		}
		at += name;
	}
	return kept;
}

int op_listxattr(struct req *rq)
{
	const struct fuse_getxattr_in *in = req_arg(rq, sizeof(*in));
	struct inode *ip;
	int len = in ? req_inode(rq, &ip) : -EINVAL;

	if (len)
		return len;
	len = fs_listxattr(ip, (char *)rq->out, REQ_OUT_SIZE);
	fs_iput(ip);
	if (len > 0)
		len = drop_trusted(rq, (char *)rq->out, len);
	return in->size == 0 ? answer_size(rq, len) : answer_bytes(rq, len, in->size);
}

int op_removexattr(struct req *rq)
{
	const char *name;
	size_t len;
	struct inode *ip;
	int err;

	name = req_name(rq, 0, &len);
	err = check_name(rq, name, len);
	if (!err)
		err = req_inode(rq, &ip);
	if (err)
		return err;
	err = fs_removexattr(ip, name);
	fs_iput(ip);
	return err;
}
