/*
 * From the bytes that the kernel sent to a handler, and from its result to the answer.
 *
 * Rules
 * 1. Every request but FORGET, BATCH_FORGET and INTERRUPT gets exactly one answer, here.
 * 2. This is the one place where errors become the kernel's errno values, where failures of the
 *    disk or of its contents are logged, and where requests are timed.
 * 3. While a request is served its thread is about it (base/work.h), so that whatever finds damage
 *    says in which operation, and for which inode.
 * 4. What is not in the table is answered ENOSYS: the kernel then does it itself or tells the
 *    program that it is not supported, and does not ask again.
 *
 * Locking: none. The log limit is atomic.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/block.h"
#include "base/err.h"
#include "base/log.h"
#include "base/time.h"
#include "base/work.h"
#include "front/front.h"
#include "front/req.h"
#include "stat/stat.h"

struct op_row {
	enum work_kind work;
	req_handler handler;
	enum hist_id hist;
};

static const struct op_row ops[PROTO_OPCODES] = {
	[FUSE_LOOKUP] = { WORK_LOOKUP, op_lookup, HIST_REQ_LOOKUP },
	[FUSE_FORGET] = { WORK_FORGET, op_forget, HIST_REQ_FORGET },
	[FUSE_GETATTR] = { WORK_GETATTR, op_getattr, HIST_REQ_GETATTR },
	[FUSE_SETATTR] = { WORK_SETATTR, op_setattr, HIST_REQ_SETATTR },
	[FUSE_READLINK] = { WORK_READLINK, op_readlink, HIST_REQ_READLINK },
	[FUSE_SYMLINK] = { WORK_SYMLINK, op_symlink, HIST_REQ_SYMLINK },
	[FUSE_MKNOD] = { WORK_MKNOD, op_mknod, HIST_REQ_MKNOD },
	[FUSE_MKDIR] = { WORK_MKDIR, op_mkdir, HIST_REQ_MKDIR },
	[FUSE_UNLINK] = { WORK_UNLINK, op_unlink, HIST_REQ_UNLINK },
	[FUSE_RMDIR] = { WORK_RMDIR, op_rmdir, HIST_REQ_RMDIR },
	[FUSE_RENAME] = { WORK_RENAME, op_rename, HIST_REQ_RENAME },
	[FUSE_LINK] = { WORK_LINK, op_link, HIST_REQ_LINK },
	[FUSE_OPEN] = { WORK_OPEN, op_open, HIST_REQ_OPEN },
	[FUSE_READ] = { WORK_READ, op_read, HIST_REQ_READ },
	[FUSE_WRITE] = { WORK_WRITE, op_write, HIST_REQ_WRITE },
	[FUSE_STATFS] = { WORK_STATFS, op_statfs, HIST_REQ_STATFS },
	[FUSE_RELEASE] = { WORK_RELEASE, op_release, HIST_REQ_RELEASE },
	[FUSE_FSYNC] = { WORK_FSYNC, op_fsync, HIST_REQ_FSYNC },
	[FUSE_SETXATTR] = { WORK_SETXATTR, op_setxattr, HIST_REQ_SETXATTR },
	[FUSE_GETXATTR] = { WORK_GETXATTR, op_getxattr, HIST_REQ_GETXATTR },
	[FUSE_LISTXATTR] = { WORK_LISTXATTR, op_listxattr, HIST_REQ_LISTXATTR },
	[FUSE_REMOVEXATTR] = { WORK_REMOVEXATTR, op_removexattr, HIST_REQ_REMOVEXATTR },
	[FUSE_FLUSH] = { WORK_FLUSH, op_flush, HIST_REQ_FLUSH },
	[FUSE_INIT] = { WORK_INIT, op_init, HIST_REQ_OTHER },
	[FUSE_OPENDIR] = { WORK_OPENDIR, op_opendir, HIST_REQ_OPENDIR },
	[FUSE_READDIR] = { WORK_READDIR, op_readdir, HIST_REQ_READDIR },
	[FUSE_RELEASEDIR] = { WORK_RELEASEDIR, op_releasedir, HIST_REQ_RELEASEDIR },
	[FUSE_FSYNCDIR] = { WORK_FSYNCDIR, op_fsyncdir, HIST_REQ_FSYNCDIR },
	[FUSE_CREATE] = { WORK_CREATE, op_create, HIST_REQ_CREATE },
	[FUSE_DESTROY] = { WORK_DESTROY, op_destroy, HIST_REQ_OTHER },
	[FUSE_IOCTL] = { WORK_IOCTL, op_ioctl, HIST_REQ_IOCTL },
	[FUSE_BATCH_FORGET] = { WORK_FORGET, op_batch_forget, HIST_REQ_FORGET },
	[FUSE_FALLOCATE] = { WORK_FALLOCATE, op_fallocate, HIST_REQ_FALLOCATE },
	[FUSE_READDIRPLUS] = { WORK_READDIRPLUS, op_readdirplus, HIST_REQ_READDIR },
	[FUSE_RENAME2] = { WORK_RENAME, op_rename2, HIST_REQ_RENAME },
	[FUSE_LSEEK] = { WORK_LSEEK, op_lseek, HIST_REQ_LSEEK },
	[FUSE_SYNCFS] = { WORK_SYNCFS, op_syncfs, HIST_REQ_SYNCFS },
	[FUSE_COPY_FILE_RANGE] = { WORK_COPY_FILE_RANGE, op_copy_file_range,
				   HIST_REQ_COPY_FILE_RANGE },
	[PROTO_COPY_FILE_RANGE_64] = { WORK_COPY_FILE_RANGE, op_copy_file_range_64,
				       HIST_REQ_COPY_FILE_RANGE },
	[FUSE_TMPFILE] = { WORK_TMPFILE, op_tmpfile, HIST_REQ_TMPFILE },
	[PROTO_STATX] = { WORK_STATX, op_statx, HIST_REQ_GETATTR },
};

const char *req_name(const struct req *rq, size_t at, size_t *len)
{
	const char *s = (const char *)rq->arg + at;
	const char *end;

	if (at >= rq->arg_len)
		return NULL;
	end = memchr(s, '\0', rq->arg_len - at);
	if (!end)
		return NULL;
	*len = (size_t)(end - s);
	return s;
}

int req_inode(const struct req *rq, struct inode **out)
{
	return fs_iget(rq->front->fs, rq->in->nodeid, out);
}

struct fs_cred req_cred(const struct req *rq, u32 umask)
{
	return (struct fs_cred){ .uid = rq->in->uid, .gid = rq->in->gid, .umask = umask };
}

int req_send_iov(struct req *rq, struct iovec *iov, unsigned nr_iov)
{
	struct fuse_out_header head = { .unique = rq->in->unique };
	size_t len = sizeof(head);

	iov[0] = (struct iovec){ .iov_base = &head, .iov_len = sizeof(head) };
	for (unsigned i = 1; i < nr_iov; i++)
		len += iov[i].iov_len;
	head.len = (u32)len;
	rq->answered = true;
	return rq->send(rq, iov, nr_iov, len);
}

/* An offset below 0 leaves the kernel's pages alone. */
void req_forget_attr(const struct req *rq, u64 ino)
{
	struct fuse_notify_inval_inode_out what = { .ino = ino, .off = -1 };
	struct fuse_out_header head = {
		.len = sizeof(head) + sizeof(what), .error = FUSE_NOTIFY_INVAL_INODE,
	};
	struct iovec iov[] = { { &head, sizeof(head) }, { &what, sizeof(what) } };

	/* ENOENT: the kernel does not know the inode any more. */
	if (writev(rq->front->fuse_fd, iov, 2) < 0 && errno != ENOENT && errno != ENODEV)
		log_warn("inode %llu: the kernel keeps old attributes: %s",
			 (unsigned long long)ino, err_text(-errno));
}

/* The value that the kernel gets: only errors that programs can understand leave the daemon. */
static int wire_error(int err)
{
	if (err == -EBADMSG)
		return -EIO;
	return err > -512 && err < 0 ? err : -EIO;
}

static int send_error(struct req *rq, int err)
{
	struct fuse_out_header head = {
		.len = sizeof(head), .error = wire_error(err), .unique = rq->in->unique,
	};
	const struct iovec iov = { .iov_base = &head, .iov_len = sizeof(head) };

	rq->answered = true;
	return rq->send(rq, &iov, 1, sizeof(head));
}

/* Fifty lines at once, then one every other second: a dying disk must not fill the log as well. */
static bool may_log(void)
{
	static u64 next_ns;
	const u64 step = 2 * NS_PER_SEC, burst = 50 * step;
	u64 now = now_ns() + burst, next = __atomic_load_n(&next_ns, __ATOMIC_RELAXED);

	if (next > now)
		return false;
	return __atomic_compare_exchange_n(&next_ns, &next, MAX(next, now - burst) + step, false,
					   __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Damage and failed I/O are told to the person who runs the daemon, not only to the program. */
static void log_failure(const struct req *rq, const struct op_row *op, int err)
{
	if (err != -EIO && err != -EUCLEAN && err != -EBADMSG)
		return;
	if (may_log())
		log_err("%s: inode %llu: %s (uid %u, pid %u)", work_text(op->work),
			(unsigned long long)rq->in->nodeid, err_text(err), rq->in->uid,
			rq->in->pid);
}

/* A name or attribute that is not there is an answer, not a failure. */
static bool counts_as_error(u32 opcode, int err)
{
	if (opcode == FUSE_LOOKUP && err == -ENOENT)
		return false;
	return err != -ENODATA && err != -ENOSYS;
}

static int send_result(struct req *rq, const struct op_row *op, int err)
{
	struct iovec iov[2];

	if (err) {
		log_failure(rq, op, err);
		if (counts_as_error(rq->in->opcode, err))
			stat_inc(STAT_REQUEST_ERRORS);
		return rq->answered ? 0 : send_error(rq, err);
	}
	if (rq->answered)
		return 0;
	iov[1] = (struct iovec){ .iov_base = rq->out, .iov_len = rq->out_len };
	return req_send_iov(rq, iov, rq->out_len ? 2 : 1);
}

/* The time of a request and its parts. A part that it did not have is not counted as zero. */
static void count_times(const struct op_row *op, u64 start_ns, u64 handled_ns, u64 end_ns,
			u64 disk_ns, u64 wait_ns)
{
	u64 work_ns = handled_ns - start_ns;

	stat_time(op->hist, end_ns - start_ns);
	stat_time(op->hist + (HIST_REQCACHE_LOOKUP - HIST_REQ_LOOKUP),
		  work_ns - MIN(work_ns, disk_ns + wait_ns));
	stat_time(op->hist + (HIST_REQREPLY_LOOKUP - HIST_REQ_LOOKUP), end_ns - handled_ns);
	if (disk_ns)
		stat_time(op->hist + (HIST_REQDISK_LOOKUP - HIST_REQ_LOOKUP), disk_ns);
	if (wait_ns)
		stat_time(op->hist + (HIST_REQWAIT_LOOKUP - HIST_REQ_LOOKUP), wait_ns);
}

static u64 finish(struct req *rq, const struct op_row *op, u64 start_ns, int err)
{
	u64 handled_ns = now_ns(), end_ns;
	int sent;

	if (rq->answered_later)
		return handled_ns;
	sent = send_result(rq, op, err);
	end_ns = now_ns();
	if (sent && rq->undo)
		rq->undo(rq);
	if (sent && sent != -ENOENT && sent != -ENODEV)
		log_warn("%s: the kernel did not take the answer: %s", work_text(op->work),
			 err_text(sent));
	count_times(op, start_ns, handled_ns, end_ns, block_ns(BLOCK_DISK),
		    block_ns(BLOCK_OTHERS));
	log_debug("%s: inode %llu: %s (%llu us)", work_text(op->work),
		  (unsigned long long)rq->in->nodeid, err_name(err),
		  (unsigned long long)((end_ns - start_ns) / NS_PER_US));
	return end_ns;
}

/* After a shutdown only what gives back something is done; the kernel waits for it. */
static bool is_refused(const struct front *fr, u32 opcode)
{
	switch (opcode) {
	case FUSE_INIT:
	case FUSE_DESTROY:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		return false;
	}
	return fr->fs && fs_is_down(fr->fs);
}

/* With -o sync or dirsync: what the request changed, beside the data of WRITE. */
static int make_durable(struct req *rq)
{
	const struct front_opts *o = &rq->front->opts;
	struct inode *ip;
	int err;

	switch (rq->in->opcode) {
	case FUSE_MKNOD: case FUSE_MKDIR: case FUSE_SYMLINK: case FUSE_LINK: case FUSE_CREATE:
	case FUSE_UNLINK: case FUSE_RMDIR: case FUSE_RENAME: case FUSE_RENAME2:
		return fs_commit(rq->front->fs);
	case FUSE_SETATTR: case FUSE_SETXATTR: case FUSE_REMOVEXATTR: case FUSE_FALLOCATE:
		if (!o->sync)
			return 0;
		err = req_inode(rq, &ip);
		if (err)
			return err;
		err = fs_fsync(ip, false);
		fs_iput(ip);
		return err;
	}
	return 0;
}

static int handle(struct req *rq, const struct op_row *op)
{
	const struct front_opts *o = &rq->front->opts;
	int err;

	if (!op->handler)
		return -ENOSYS;
	if (is_refused(rq->front, rq->in->opcode))
		return -EIO;
	err = op->handler(rq);
	/* It was shut down meanwhile. */
	if (err == -EROFS && is_refused(rq->front, rq->in->opcode))
		err = -EIO;
	if (err || !(o->sync || o->dirsync))
		return err;
	err = make_durable(rq);
	if (err && rq->undo)
		rq->undo(rq);
	return err;
}

u64 req_dispatch(struct req *rq, u64 start_ns)
{
	static const struct op_row other = { WORK_NONE, NULL, HIST_REQ_OTHER };
	const struct op_row *op = &other;
	u32 opcode = rq->in->opcode;
	struct work before;
	u64 end_ns;
	int err;

	/* Every operation runs to its end: there is nothing to interrupt, and no answer to it. */
	if (opcode == FUSE_INTERRUPT || opcode == FUSE_NOTIFY_REPLY)
		return start_ns;
	if (opcode < PROTO_OPCODES && ops[opcode].handler)
		op = &ops[opcode];
	block_clear();
	rq->start_ns = start_ns;
	if (rq->later)
		rq->later->serving = rq->in->unique;
	before = work_begin(op->work, rq->in->nodeid);
	err = handle(rq, op);
	if (rq->later)
		rq->later->serving = 0;
	end_ns = finish(rq, op, start_ns, err);
	work_end(before);
	return end_ns;
}

void req_count_later(const struct req *rq, u64 start_ns, u64 disk_ns, u64 ready_ns)
{
	count_times(&ops[rq->in->opcode], start_ns, ready_ns, now_ns(), disk_ns, 0);
}
