/*
 * One request from the kernel, and how it is answered.
 *
 * A handler (op_*.c) gets a struct req, does its work and returns
 *   0        and the answer's payload is the first out_len bytes of rq->out, or rq->answered is
 *            set because the handler sent the answer itself (req_send_iov) or there is none;
 *   -errno   and that is the answer.
 * The dispatcher (dispatch.c) sends what is to be sent: nothing else writes to the device.
 * If the kernel does not take the answer (the caller was killed meanwhile), rq->undo runs: it gives
 * back what the kernel would have owned.
 * A request belongs to the thread that read it, from start to end; but the thread may serve others
 * before it answers (struct req_later).
 */
#ifndef FOLIOFS_FRONT_REQ_H
#define FOLIOFS_FRONT_REQ_H

#include <sys/uio.h>

#include "fs/fs.h"
#include "iomap/iomap.h"
#include "front/front.h"
#include "front/proto.h"

/* Room for every answer but that of READ: an xattr of 64 KiB, a buffer of directory entries. */
#define REQ_OUT_SIZE ((size_t)68 << 10)

/*
 * Requests of one thread that wait for the disk while it serves others. Its loop calls
 * req_later_finish() after each request and whenever it has reaped its ring, until nr is 0.
 */
struct req_later {
	unsigned nr;                     /* not finished */
	u64 serving;                     /* the request whose handler runs */
	STAILQ_HEAD(, iomap_pending) done;
};
void req_later_init(struct req_later *l);
/* No lock held. out: REQ_OUT_SIZE bytes. */
void req_later_finish(struct req_later *l, u8 *out);

struct req {
	struct front *front;
	/*
	 * Sends header and segments, len bytes in all; the way that the request came. 0, or -errno
	 * when the kernel does not take them.
	 */
	int (*send)(struct req *rq, const struct iovec *iov, unsigned nr_iov, size_t len);
	void *via;                       /* who sends it: the transport's own */
	int fd;                          /* of the device that the request came from, or -1 */
	const struct fuse_in_header *in;
	const void *arg;                 /* after the header */
	size_t arg_len;
	u8 *out;
	size_t out_len;
	bool answered;
	u64 start_ns;
	struct req_later *later;         /* NULL: every request is answered before it returns */
	bool answered_later;
	void (*undo)(struct req *rq);
	u64 undo_ino;
	struct front_file *undo_file;
};

typedef int (*req_handler)(struct req *rq);

/* The fixed part of the argument, or NULL if the kernel sent less (the handler answers -EINVAL). */
static inline const void *req_arg(const struct req *rq, size_t size)
{
	return likely(rq->arg_len >= size) ? rq->arg : NULL;
}

/* The string at offset at of the argument: checked to end within it; its length in *len. */
const char *req_name(const struct req *rq, size_t at, size_t *len);

/* The inode that the request names; fs_iput() it. */
int req_inode(const struct req *rq, struct inode **out);

/* Zeroed room for an answer of size bytes, which becomes the answer. */
static inline void *req_out(struct req *rq, size_t size)
{
	rq->out_len = size;
	return __builtin_memset(rq->out, 0, size);
}

/* umask: as the kernel sends it with what makes an inode. */
struct fs_cred req_cred(const struct req *rq, u32 umask);

/* Sends header and segments now; iov[0] is left free for the header. -errno when not taken. */
int req_send_iov(struct req *rq, struct iovec *iov, unsigned nr_iov);

/* Answers with an entry: the kernel knows the inode from here on. Consumes the reference. */
void req_out_entry(struct req *rq, struct inode *ip, struct fuse_entry_out *out);
/* fs_getattr(), as the kernel is told it. */
void req_stat(struct inode *ip, struct stat *st);
void req_fill_attr(struct inode *ip, struct fuse_attr *out);

/*
 * The kernel asks for the attributes of this inode again: for changes by requests whose answer
 * does not carry them. Waits for nobody.
 */
void req_forget_attr(const struct req *rq, u64 ino);

/*
 * Runs the handler of a request that was received at start_ns, and answers. front, send, fd, in,
 * arg, arg_len and out are set; the rest is zero. Returns when the answer had left, in ns.
 */
u64 req_dispatch(struct req *rq, u64 start_ns);

/* Times of a request that was answered later: ready at ready_ns, disk_ns of it for the disk. */
void req_count_later(const struct req *rq, u64 start_ns, u64 disk_ns, u64 ready_ns);

/* Times that the kernel may keep names and attributes: nobody but it changes anything. */
#define REQ_VALID_S 3600u

/* Handlers. */
int op_init(struct req *rq);
int op_destroy(struct req *rq);
int op_lookup(struct req *rq);
int op_forget(struct req *rq);
int op_batch_forget(struct req *rq);
int op_mknod(struct req *rq);
int op_mkdir(struct req *rq);
int op_symlink(struct req *rq);
int op_readlink(struct req *rq);
int op_link(struct req *rq);
int op_unlink(struct req *rq);
int op_rmdir(struct req *rq);
int op_rename(struct req *rq);
int op_rename2(struct req *rq);
int op_getattr(struct req *rq);
int op_setattr(struct req *rq);
int op_statfs(struct req *rq);
int op_open(struct req *rq);
int op_create(struct req *rq);
int op_read(struct req *rq);
int op_write(struct req *rq);
int op_flush(struct req *rq);
int op_release(struct req *rq);
int op_fsync(struct req *rq);
int op_fsyncdir(struct req *rq);
int op_syncfs(struct req *rq);
int op_fallocate(struct req *rq);
int op_lseek(struct req *rq);
int op_ioctl(struct req *rq);
int op_copy_file_range(struct req *rq);
int op_copy_file_range_64(struct req *rq);
int op_statx(struct req *rq);
int op_tmpfile(struct req *rq);
int op_opendir(struct req *rq);
int op_releasedir(struct req *rq);
int op_readdir(struct req *rq);
int op_readdirplus(struct req *rq);
int op_setxattr(struct req *rq);
int op_getxattr(struct req *rq);
int op_listxattr(struct req *rq);
int op_removexattr(struct req *rq);

#endif
