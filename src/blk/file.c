/*
 * Regular files and block devices, by io_uring or by system calls.
 *
 * Invariants:
 * 1. The lock is held by a descriptor of its own (lock_fd, and excl_fd for O_EXCL), which never
 *    does I/O: rings of other threads may keep the I/O descriptor open for a while after close,
 *    but never the lock.
 * 2. Nothing is changed before the lock is held; a file that this open created is removed again
 *    if the open fails.
 * 3. A thread that can't have a ring (no io_uring, no memory) does its I/O by system calls, one
 *    by one.
 *
 * Locking: none; all fields are constant while the device is open.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/block.h"
#include "base/err.h"
#include "base/log.h"
#include "base/time.h"
#include "blk/blk_priv.h"
#include "stat/stat.h"

/* udev takes a short shared lock on block devices that change; nobody else does. */
#define LOCK_TRIES 20
#define LOCK_PAUSE_NS 50000000ull

/* Segments in one system call: half of the kernel's limit, enough for 2 MiB in sectors. */
#define SYNC_SEGMENTS 512u

struct file_dev {
	struct blk_dev dev;
	int fd;                 /* I/O */
	int lock_fd;            /* flock */
	int excl_fd;            /* O_EXCL on a block device, or -1 */
	int handle;             /* in the rings, or -1 */
	bool is_bdev;
};

static struct file_dev *file_of(struct blk_dev *dev)
{
	return container_of(dev, struct file_dev, dev);
}

/* ---------------------------------------------------------------- transfers */

static ssize_t sync_piece(int fd, const struct blk_io *io, const struct iovec *iov, unsigned nr,
			  u64 off)
{
	u64 began = block_begin();
	ssize_t n;

	do
		n = io->op == BLK_READ ? preadv(fd, iov, (int)nr, (off_t)off)
				       : pwritev2(fd, iov, (int)nr, (off_t)off,
						  io->durable ? RWF_DSYNC : 0);
	while (n < 0 && errno == EINTR);
	n = n < 0 ? -errno : n;
	block_end(BLOCK_DISK, began);
	return n;
}

static int file_transfer(struct blk_dev *dev, struct blk_io *io)
{
	u64 off = io->sector << SECTOR_SHIFT;
	const struct iovec *iov = NULL;
	struct iov_cursor cur;
	unsigned nr = 0;

	iov_cursor_init(&cur, io->iov, io->nr_iov);
	while (iov_cursor_piece(&cur, RING_MAX_PIECE, SYNC_SEGMENTS, &iov, &nr)) {
		ssize_t n = sync_piece(file_of(dev)->fd, io, iov, nr, off);

		if (n <= 0)
			return n ? (int)n : -EIO;
		off += (u64)n;
		iov_cursor_advance(&cur, (size_t)n);
	}
	return 0;
}

/* Fewer bytes than asked: the file is shorter than it was when it was opened. */
static void ring_done(struct ring_req *rq)
{
	struct blk_io *io = rq->arg;
	int res = (int)MIN_T(s64, rq->res, 0);

	if (ring_req_registered(rq))
		stat_inc(STAT_DISK_FIXED_IOS);
	if (!res && rq->res < (s64)io->nr << SECTOR_SHIFT)
		res = -EIO;
	blk_io_end(io, res);
}

static void prepare_req(struct blk_dev *dev, struct blk_io *io)
{
	io->rq.op = io->op == BLK_READ ? RING_READ : RING_WRITE;
	io->rq.file = file_of(dev)->handle;
	io->rq.durable = io->durable;
	io->rq.off = io->sector << SECTOR_SHIFT;
	io->rq.iov = io->iov;
	io->rq.nr_iov = io->nr_iov;
	io->rq.done = ring_done;
	io->rq.arg = io;
}

static int file_start(struct blk_dev *dev, struct blk_io *io)
{
	struct ring *ring;
	int err = ring_local(&ring);

	if (unlikely(err))
		return err;
	prepare_req(dev, io);
	ring_queue(ring, &io->rq);
	return 0;
}

static int file_start_shared(struct blk_dev *dev, struct blk_io **io, unsigned nr)
{
	struct ring_req_list list = STAILQ_HEAD_INITIALIZER(list);
	int err = ring_shared_start();

	if (unlikely(err))
		return err;
	for (unsigned i = 0; i < nr; i++) {
		prepare_req(dev, io[i]);
		STAILQ_INSERT_TAIL(&list, &io[i]->rq, link);
	}
	ring_shared_submit_list(&list);
	return 0;
}

/*
 * By a plain system call: io_uring hands every fsync to a kernel worker thread, which costs two
 * context switches, and the caller has nothing else to do.
 */
static int file_flush(struct blk_dev *dev)
{
	u64 began = block_begin();
	int ret;

	do
		ret = fdatasync(file_of(dev)->fd);
	while (ret && errno == EINTR);
	ret = ret ? -errno : 0;
	block_end(BLOCK_DISK, began);
	return ret;
}

/* -------------------------------------------------------- space on the host */

static int do_fallocate(struct blk_dev *dev, int mode, u64 sector, u64 nr)
{
	int ret;

	do
		ret = fallocate(file_of(dev)->fd, mode, (off_t)(sector << SECTOR_SHIFT),
				(off_t)(nr << SECTOR_SHIFT));
	while (ret && errno == EINTR);
	return ret ? -errno : 0;
}

/* The many ways in which the kernel says that a device has no such operation. */
static int unsupported(int err)
{
	return err == -EINVAL || err == -ENODEV || err == -ENOTTY || err == -ENOSYS ? -EOPNOTSUPP
										     : err;
}

static int file_discard(struct blk_dev *dev, u64 sector, u64 nr)
{
	u64 range[2] = { sector << SECTOR_SHIFT, nr << SECTOR_SHIFT };

	if (!file_of(dev)->is_bdev)
		return unsupported(do_fallocate(dev, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						sector, nr));
	return ioctl(file_of(dev)->fd, BLKDISCARD, range) ? unsupported(-errno) : 0;
}

static int file_zero(struct blk_dev *dev, u64 sector, u64 nr)
{
	int mode = file_of(dev)->is_bdev ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;

	return unsupported(do_fallocate(dev, mode | FALLOC_FL_KEEP_SIZE, sector, nr));
}

static int file_prealloc(struct blk_dev *dev, u64 sector, u64 nr)
{
	if (file_of(dev)->is_bdev)
		return 0;
	return unsupported(do_fallocate(dev, FALLOC_FL_KEEP_SIZE, sector, nr));
}

static int file_resize(struct blk_dev *dev, u64 sectors)
{
	if (file_of(dev)->is_bdev)
		return -EOPNOTSUPP;
	return ftruncate(file_of(dev)->fd, (off_t)(sectors << SECTOR_SHIFT)) ? -errno : 0;
}

/* ------------------------------------------------------------- open, close */

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void file_close(struct blk_dev *dev)
{
	struct file_dev *f = file_of(dev);

	if (f->handle >= 0)
		ring_file_del(f->handle);
	close_fd(f->fd);
	close_fd(f->excl_fd);
	close_fd(f->lock_fd);
	free(f);
}

static const struct blk_backend uring_ops = {
	.name = "uring",
	.transfer = file_transfer,
	.start = file_start,
	.start_shared = file_start_shared,
	.flush = file_flush,
	.discard = file_discard,
	.zero = file_zero,
	.prealloc = file_prealloc,
	.resize = file_resize,
	.close = file_close,
};

static const struct blk_backend sync_ops = {
	.name = "sync",
	.transfer = file_transfer,
	.flush = file_flush,
	.discard = file_discard,
	.zero = file_zero,
	.prealloc = file_prealloc,
	.resize = file_resize,
	.close = file_close,
};

/* A descriptor for the lock. Makes the file if that is asked for, and says so. */
static int open_lock_fd(const char *path, unsigned flags, bool *created, int *out)
{
	int mode = (flags & BLK_RDWR ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd = -1;

	*created = false;
	if (flags & BLK_CREATE) {
		fd = open(path, mode | O_CREAT | O_EXCL, 0666);
		*created = fd >= 0;
		if (fd < 0 && errno != EEXIST)
			return -errno;
	}
	if (fd < 0)
		fd = open(path, mode);
	if (fd < 0)
		return errno == ENXIO ? -ENOTBLK : -errno;
	*out = fd;
	return 0;
}

/* Only EWOULDBLOCK means somebody else; a host without flock gives no protection. */
static int lock_file(int fd, unsigned flags, bool is_bdev)
{
	int how = (flags & BLK_RDWR ? LOCK_EX : LOCK_SH) | LOCK_NB;
	int tries = is_bdev ? LOCK_TRIES : 1;

	if (flags & BLK_NOLOCK)
		return 0;
	for (;;) {
		if (flock(fd, how) == 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK) {
			log_warn("no lock on the image: %s", err_text(errno));
			return 0;
		}
		if (--tries == 0)
			return -EBUSY;
		sleep_ns(LOCK_PAUSE_NS);
	}
}

static int claim_bdev(const char *path, unsigned flags, int *out)
{
	if (!(flags & BLK_RDWR) || flags & BLK_NOLOCK)
		return 0;
	*out = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	return *out < 0 ? -errno : 0;
}

/* The descriptor for I/O, of the same file that was locked. */
static int open_io_fd(struct file_dev *f, const char *path, unsigned flags, bool direct)
{
	int mode = (flags & BLK_RDWR ? O_RDWR : O_RDONLY) | O_CLOEXEC;
	struct stat locked, opened;

	f->fd = open(path, mode | (direct ? O_DIRECT : 0));
	if (f->fd < 0)
		return -errno;
	if (fstat(f->lock_fd, &locked) || fstat(f->fd, &opened))
		return -errno;
	if (locked.st_dev != opened.st_dev || locked.st_ino != opened.st_ino)
		return -ESTALE;
	return 0;
}

/* O_DIRECT where the file takes it in whole sectors. */
static int open_direct(struct file_dev *f, const char *path, unsigned flags, bool buffered)
{
	int err = buffered ? -EINVAL : open_io_fd(f, path, flags, true);
	u32 align;

	f->dev.direct = false;
	f->dev.logical_size = 512;
	if (!err) {
		align = blk_dio_align(f->fd);
		f->dev.direct = align > 0 && align <= SECTOR_SIZE;
		f->dev.logical_size = align > 512 && f->dev.direct ? SECTOR_SIZE : 512;
		if (f->dev.direct)
			return 0;
	} else if (err != -EINVAL) {
		return err;
	}
	close_fd(f->fd);
	if (!buffered)
		log_info("%s: no direct I/O on this file, the host's page cache is used", path);
	return open_io_fd(f, path, flags, false);
}

static int read_bdev_facts(struct file_dev *f, u64 *bytes)
{
	int logical = 512, rdonly = 0;

	if (ioctl(f->fd, BLKGETSIZE64, bytes))
		return -errno;
	if (ioctl(f->fd, BLKSSZGET, &logical) == 0)
		f->dev.logical_size = logical > 512 ? SECTOR_SIZE : 512;
	if (ioctl(f->fd, BLKROGET, &rdonly) == 0 && rdonly && !f->dev.rdonly)
		return -EROFS;
	return 0;
}

static int read_size(struct file_dev *f, u64 *bytes)
{
	struct stat st;

	if (f->is_bdev)
		return read_bdev_facts(f, bytes);
	if (fstat(f->fd, &st))
		return -errno;
	*bytes = (u64)st.st_size;
	return 0;
}

/* Everything after the lock descriptor exists. The caller cleans up after an error. */
static int open_rest(struct file_dev *f, const char *path, unsigned flags,
		     const struct blk_opts *opts, bool created)
{
	struct stat st;
	u64 bytes;
	int err;

	if (fstat(f->lock_fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -ENOTBLK;
	f->is_bdev = S_ISBLK(st.st_mode);
	f->dev.is_file = !f->is_bdev;
	err = lock_file(f->lock_fd, flags, f->is_bdev);
	if (!err && f->is_bdev)
		err = claim_bdev(path, flags, &f->excl_fd);
	if (!err)
		err = open_direct(f, path, flags, opts->buffered);
	if (err)
		return err;
	if ((created || flags & BLK_TRUNCATE) && !f->is_bdev &&
	    ftruncate(f->fd, (off_t)opts->size))
		return -errno;
	err = read_size(f, &bytes);
	if (!err)
		f->dev.sectors = bytes >> SECTOR_SHIFT;
	return err;
}

/* Decides by which way I/O goes. */
static const struct blk_backend *choose_backend(struct file_dev *f, const char *path, bool sync)
{
	struct ring *ring;
	int err = sync ? -ENOSYS : ring_local(&ring);

	if (!err)
		err = ring_file_add(f->fd, &f->handle);
	if (!err)
		return &uring_ops;
	log_info("%s: I/O by system calls (%s)", path,
		 sync ? "asked for" : err == -ENOSYS ? "no io_uring here" : err_text(err));
	return &sync_ops;
}

int blk_file_open(const char *path, unsigned flags, const struct blk_opts *opts,
		  struct blk_dev **out)
{
	struct file_dev *f = calloc(1, sizeof(*f));
	bool created = false;
	int err;

	if (!f)
		return -ENOMEM;
	f->fd = f->lock_fd = f->excl_fd = f->handle = -1;
	f->dev.rdonly = !(flags & BLK_RDWR);
	err = open_lock_fd(path, flags, &created, &f->lock_fd);
	if (!err)
		err = open_rest(f, path, flags, opts, created);
	if (err) {
		if (created)
			unlink(path);
		file_close(&f->dev);
		return err;
	}
	blk_dev_init(&f->dev, choose_backend(f, path, opts->sync), f->dev.sectors,
		     f->dev.logical_size);
	f->dev.fua = f->dev.direct && blk_queue_says(f->fd, "fua") == 1;
	f->dev.depth = blk_queue_says(f->fd, "nr_requests");
	*out = &f->dev;
	return 0;
}

void blk_release_excl(struct blk_dev *dev)
{
	struct file_dev *f = file_of(dev);

	if (dev->ops != &uring_ops && dev->ops != &sync_ops)
		return;
	close_fd(f->excl_fd);
	f->excl_fd = -1;
}
