/*
 * Operations on names: lookup, create, remove, rename, links; and the kernel's count of the inodes
 * that it knows.
 *
 * Rules
 * 1. nodeid = inode number. Each answer that carries an entry is one fs_remember(), each FORGET
 *    gives some back; an answer that the kernel did not take is given back at once (undo).
 *    The root is not counted.
 * 2. Names longer than 255 bytes reach us: ENAMETOOLONG, before anything else is looked at.
 * 3. A name that does not exist is answered as a negative entry that the kernel keeps.
 *
 * Locking: none here; fs locks what it needs.
 */
#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "front/front.h"
#include "front/req.h"

static void undo_entry(struct req *rq)
{
	if (rq->undo_ino != FUSE_ROOT_ID)
		fs_forget(rq->front->fs, rq->undo_ino, 1);
}

void req_out_entry(struct req *rq, struct inode *ip, struct fuse_entry_out *out)
{
	*out = (struct fuse_entry_out){
		.nodeid = fs_ino(ip), .entry_valid = REQ_VALID_S, .attr_valid = REQ_VALID_S,
	};
	req_fill_attr(ip, &out->attr);
	/* The root's is 0: the kernel has it before it asks. */
	if (out->nodeid != FUSE_ROOT_ID)
		out->generation = fs_generation(ip);
	if (out->nodeid != FUSE_ROOT_ID)
		fs_remember(rq->front->fs, out->nodeid);
	rq->undo_ino = out->nodeid;
	rq->undo = undo_entry;
	fs_iput(ip);
}

static int answer_entry(struct req *rq, struct inode *ip)
{
	req_out_entry(rq, ip, req_out(rq, sizeof(struct fuse_entry_out)));
	return 0;
}

/* The name after `at` bytes of fixed argument: 0 and it, or why not. */
static int get_name(const struct req *rq, size_t at, const char **name, size_t *len)
{
	*name = req_name(rq, at, len);
	if (!*name || *len == 0)
		return -EINVAL;
	return *len > LIMIT_NAME ? -ENAMETOOLONG : 0;
}

static int lookup_in(struct req *rq, const char *name, size_t len, struct inode **out)
{
	struct inode *dir;
	int err = req_inode(rq, &dir);

	if (err)
		return err;
	/*
	 * "." comes from file handles (NFS) and may name what is no directory. The kernel has
	 * forgotten the inode, though that may not have reached us: without links it is gone.
	 */
	if (len == 1 && name[0] == '.') {
		struct stat st;

		fs_getattr(dir, &st);
		if (st.st_nlink == 0) {
			fs_iput(dir);
			return -ESTALE;
		}
		*out = dir;
		return 0;
	}
	err = fs_lookup(dir, name, len, out);
	fs_iput(dir);
	return err;
}

int op_lookup(struct req *rq)
{
	const char *name;
	size_t len;
	struct inode *ip;
	struct fuse_entry_out *out;
	int err = get_name(rq, 0, &name, &len);

	if (!err)
		err = lookup_in(rq, name, len, &ip);
	if (!err)
		return answer_entry(rq, ip);
	if (err != -ENOENT)
		return err;
	out = req_out(rq, sizeof(*out));
	out->entry_valid = REQ_VALID_S;
	return 0;
}

static void forget(struct req *rq, u64 nodeid, u64 count)
{
	if (nodeid != FUSE_ROOT_ID)
		fs_forget(rq->front->fs, nodeid, count);
}

int op_forget(struct req *rq)
{
	const struct fuse_forget_in *in = req_arg(rq, sizeof(*in));

	rq->answered = true;
	if (in)
		forget(rq, rq->in->nodeid, in->nlookup);
	return 0;
}

int op_batch_forget(struct req *rq)
{
	const struct fuse_batch_forget_in *in = req_arg(rq, sizeof(*in));
	const struct fuse_forget_one *one = (const void *)(in + 1);
	size_t room;

	rq->answered = true;
	if (!in)
		return 0;
	room = (rq->arg_len - sizeof(*in)) / sizeof(*one);
	for (size_t i = 0; i < MIN_T(size_t, in->count, room); i++)
		forget(rq, one[i].nodeid, one[i].nlookup);
	return 0;
}

static int make_node(struct req *rq, size_t name_at, u32 mode, u32 umask, u64 rdev)
{
	const char *name;
	size_t len;
	struct inode *dir, *ip;
	int err = get_name(rq, name_at, &name, &len);

	if (!err)
		err = req_inode(rq, &dir);
	if (err)
		return err;
	err = fs_mknod(dir, name, len, mode, rdev, req_cred(rq, umask), &ip);
	fs_iput(dir);
	return err ? err : answer_entry(rq, ip);
}

int op_mknod(struct req *rq)
{
	const struct fuse_mknod_in *in = req_arg(rq, sizeof(*in));

	return in ? make_node(rq, sizeof(*in), in->mode, in->umask, in->rdev) : -EINVAL;
}

int op_mkdir(struct req *rq)
{
	const struct fuse_mkdir_in *in = req_arg(rq, sizeof(*in));

	if (!in)
		return -EINVAL;
	return make_node(rq, sizeof(*in), (in->mode & 07777) | S_IFDIR, in->umask, 0);
}

int op_symlink(struct req *rq)
{
	const char *name, *target;
	size_t len, target_len;
	struct inode *dir, *ip;
	int err = get_name(rq, 0, &name, &len);

	if (err)
		return err;
	target = req_name(rq, len + 1, &target_len);
	if (!target || target_len == 0)
		return -EINVAL;
	if (target_len > LIMIT_SYMLINK)
		return -ENAMETOOLONG;
	err = req_inode(rq, &dir);
	if (err)
		return err;
	err = fs_symlink(dir, name, len, target, target_len, req_cred(rq, 0), &ip);
	fs_iput(dir);
	return err ? err : answer_entry(rq, ip);
}

int op_readlink(struct req *rq)
{
	struct inode *ip;
	int len = req_inode(rq, &ip);

	if (len)
		return len;
	len = fs_readlink(ip, (char *)rq->out, REQ_OUT_SIZE);
	fs_iput(ip);
	if (len < 0)
		return len;
	rq->out_len = (size_t)len;
	return 0;
}

int op_link(struct req *rq)
{
	const struct fuse_link_in *in = req_arg(rq, sizeof(*in));
	const char *name;
	size_t len;
	struct inode *dir, *ip;
	int err = in ? get_name(rq, sizeof(*in), &name, &len) : -EINVAL;

	if (!err)
		err = req_inode(rq, &dir);
	if (err)
		return err;
	err = fs_iget(rq->front->fs, in->oldnodeid, &ip);
	if (!err) {
		err = fs_link(ip, dir, name, len);
		if (err)
			fs_iput(ip);
	}
	fs_iput(dir);
	return err ? err : answer_entry(rq, ip);
}

static int remove_name(struct req *rq, int (*remove)(struct inode *, const char *, size_t))
{
	const char *name;
	size_t len;
	struct inode *dir;
	int err = get_name(rq, 0, &name, &len);

	if (!err)
		err = req_inode(rq, &dir);
	if (err)
		return err;
	err = remove(dir, name, len);
	fs_iput(dir);
	return err;
}

int op_unlink(struct req *rq)
{
	return remove_name(rq, fs_unlink);
}

int op_rmdir(struct req *rq)
{
	return remove_name(rq, fs_rmdir);
}

static int rename_names(struct req *rq, size_t at, u64 newdir, unsigned flags)
{
	const char *from, *to;
	size_t from_len, to_len;
	struct inode *sdir, *ddir;
	int err = get_name(rq, at, &from, &from_len);

	if (!err)
		err = get_name(rq, at + from_len + 1, &to, &to_len);
	if (!err)
		err = req_inode(rq, &sdir);
	if (err)
		return err;
	err = fs_iget(rq->front->fs, newdir, &ddir);
	if (!err) {
		err = fs_rename(sdir, from, from_len, ddir, to, to_len, flags,
				req_cred(rq, 0));
		fs_iput(ddir);
	}
	fs_iput(sdir);
	return err;
}

int op_rename(struct req *rq)
{
	const struct fuse_rename_in *in = req_arg(rq, sizeof(*in));

	return in ? rename_names(rq, sizeof(*in), in->newdir, 0) : -EINVAL;
}

int op_rename2(struct req *rq)
{
	const struct fuse_rename2_in *in = req_arg(rq, sizeof(*in));

	if (!in)
		return -EINVAL;
	return rename_names(rq, sizeof(*in), in->newdir, in->flags);
}
