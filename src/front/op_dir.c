/*
 * Listing directories, with and without attributes.
 *
 * Rules
 * 1. The offset of an entry is its cookie: the place to go on after it.
 * 2. READDIRPLUS counts each entry with attributes as one that the kernel knows (fs_remember), but
 *    not "." and ".."; if the kernel does not take the buffer, all are given back.
 * 3. An entry that goes away between listing and looking is left without attributes: nodeid 0.
 * 4. An open directory has no state here: requests name it by its node id, which the kernel holds
 *    while it is open, removed or not. The kernel keeps what was listed until it changes the
 *    directory itself; nobody else does.
 * 5. Attributes of directories in a listing are for the moment. A name made in one of them after it
 *    was listed here and before the kernel has read the answer makes them old, and the kernel, to
 *    which the answer to MKDIR says nothing of the parent, would not notice.
 *
 * Locking: none here; fill runs without fs's locks.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "front/front.h"
#include "front/req.h"

struct listing {
	struct req *rq;
	size_t room;
	bool plus;
};

/*
 * ENOSYS: the kernel needs no OPENDIR and no RELEASEDIR, for good, and keeps listings. A kernel
 * that does not know that gets the same by an answer.
 */
int op_opendir(struct req *rq)
{
	struct fuse_open_out *out;

	if (rq->front->no_opendir)
		return -ENOSYS;
	out = req_out(rq, sizeof(*out));
	out->open_flags = FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR;
	return 0;
}

int op_releasedir(struct req *rq)
{
	(void)rq;
	return 0;
}

static bool is_dots(const char *name, size_t len)
{
	return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

static void fill_dirent(struct fuse_dirent *d, const char *name, size_t len, u64 ino,
			unsigned dtype, u64 cookie)
{
	d->ino = ino;
	d->off = cookie;
	d->namelen = (u32)len;
	d->type = dtype;
	memcpy(d->name, name, len);
}

static void fill_entry(struct listing *ls, u64 ino, unsigned dtype, const char *name, size_t len,
		       struct fuse_entry_out *out)
{
	struct inode *ip;

	if (is_dots(name, len) || fs_iget(ls->rq->front->fs, ino, &ip)) {
		out->attr.ino = ino;
		out->attr.mode = dtype << 12;
		return;
	}
	req_out_entry(ls->rq, ip, out);
	if (S_ISDIR(out->attr.mode))
		out->attr_valid = 0;
}

static int fill(void *arg, const char *name, size_t len, u64 ino, unsigned dtype, u64 cookie)
{
	struct listing *ls = arg;
	struct req *rq = ls->rq;
	u8 *at = rq->out + rq->out_len;
	size_t head = ls->plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
	size_t size = FUSE_DIRENT_ALIGN(head + len);

	if (size > ls->room - rq->out_len)
		return 1;
	memset(at, 0, size);
	if (ls->plus) {
		struct fuse_direntplus *dp = (void *)at;

		fill_entry(ls, ino, dtype, name, len, &dp->entry_out);
		fill_dirent(&dp->dirent, name, len, ino, dtype, cookie);
	} else {
		fill_dirent((void *)at, name, len, ino, dtype, cookie);
	}
	rq->out_len += size;
	return 0;
}

static void undo_plus(struct req *rq)
{
	size_t at = 0;

	while (at < rq->out_len) {
		const struct fuse_direntplus *dp = (const void *)(rq->out + at);

		if (dp->entry_out.nodeid > FUSE_ROOT_ID)
			fs_forget(rq->front->fs, dp->entry_out.nodeid, 1);
		at += FUSE_DIRENTPLUS_SIZE(dp);
	}
}

static int list(struct req *rq, bool plus)
{
	const struct fuse_read_in *in = req_arg(rq, sizeof(*in));
	struct listing ls = { .rq = rq, .plus = plus };
	struct inode *dir;
	int err = in ? req_inode(rq, &dir) : -EINVAL;

	if (err)
		return err;
	ls.room = MIN_T(size_t, in->size, REQ_OUT_SIZE);
	err = fs_readdir(dir, in->offset, fill, &ls);
	fs_iput(dir);
	rq->undo = plus ? undo_plus : NULL;
	/* What was listed before an error is worth having; the error comes with the next call. */
	return err < 0 && rq->out_len == 0 ? err : 0;
}

int op_readdir(struct req *rq)
{
	return list(rq, false);
}

int op_readdirplus(struct req *rq)
{
	return list(rq, true);
}
