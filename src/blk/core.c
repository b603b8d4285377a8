/*
 * Requests to a device, whatever the backend: checks, counters, faults, pipelines.
 *
 * A request goes  blk_batch_add / blk_submit_async  ->  admit()  ->  backend  ->  blk_io_end()
 * ->  done().
 *
 * Invariants:
 * 1. Each request ends in exactly one blk_io_end(), also if it was refused.
 * 2. A request that admit() let pass lies inside the device and sums up to its length.
 * 3. A batch is used by one thread; requests of it end in that thread (they are on its ring or
 *    complete at once), so in_flight needs no atomics.
 *
 * Locking: none here. Waiting functions assert that the caller may wait for I/O.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/time.h"
#include "blk/blk_priv.h"
#include "stat/stat.h"

/* Requests queued before they are sent without being asked: one system call for that many. */
#define SEND_GROUP 16u

/* Pieces of one synchronous call under way at once. */
#define SYNC_SLOTS 8u

void blk_dev_init(struct blk_dev *dev, const struct blk_backend *ops, u64 sectors, u32 logical)
{
	dev->ops = ops;
	dev->sectors = sectors;
	dev->logical_size = logical;
	blk_flush_init(&dev->flush);
	blk_gate_init(&dev->gate);
}

/* -------------------------------------------------------------------- facts */

u64 blk_sectors(const struct blk_dev *dev)
{
	return dev->sectors;
}

u32 blk_logical_size(const struct blk_dev *dev)
{
	return dev->logical_size;
}

bool blk_is_rdonly(const struct blk_dev *dev)
{
	return dev->rdonly;
}

bool blk_is_file(const struct blk_dev *dev)
{
	return dev->is_file;
}

bool blk_is_direct(const struct blk_dev *dev)
{
	return dev->direct;
}

u32 blk_queue_depth(const struct blk_dev *dev)
{
	return dev->depth;
}

bool blk_has_fua(const struct blk_dev *dev)
{
	return dev->fua;
}

const char *blk_backend(const struct blk_dev *dev)
{
	return dev->ops->name;
}

const char *blk_path(const struct blk_dev *dev)
{
	return dev->path ? dev->path : "";
}

void blk_shutdown(struct blk_dev *dev)
{
	atomic_store(&dev->down, true);
}

bool blk_is_down(const struct blk_dev *dev)
{
	return atomic_load_explicit(&dev->down, memory_order_relaxed);
}

/* ----------------------------------------------------------------- requests */

void blk_fault_set(struct blk_dev *dev, blk_fault_fn *fn, void *arg)
{
	dev->fault = fn;
	dev->fault_arg = arg;
}

int blk_fault_check(struct blk_dev *dev, enum blk_fault_op op, enum blk_kind kind, u64 sector,
		    u64 nr)
{
	struct blk_fault f = { .op = op, .kind = kind, .sector = sector, .nr = nr };

	return likely(!dev->fault) ? 0 : dev->fault(dev->fault_arg, &f);
}

static int check_range(const struct blk_dev *dev, u64 sector, u64 nr)
{
	if (nr > dev->sectors || sector > dev->sectors - nr)
		return -ERANGE;
	return 0;
}

/* Alignment is the caller's own doing, so a mistake there stops the program on every backend. */
static void assert_aligned(const struct blk_io *io)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < io->nr_iov; i++) {
		ASSERT((uintptr_t)io->iov[i].iov_base % 512 == 0);
		ASSERT(io->iov[i].iov_len % 512 == 0);
		bytes += io->iov[i].iov_len;
	}
	ASSERT(bytes == (size_t)io->nr << SECTOR_SHIFT && bytes > 0);
}

static int admit(struct blk_dev *dev, struct blk_io *io)
{
	int err;

	assert_aligned(io);
	ASSERT(!io->durable || (io->op == BLK_WRITE && dev->fua));
	io->dev = dev;
	io->began = now_ns();
	io->work = work_now();
	if (io->op == BLK_WRITE && dev->rdonly)
		return -EROFS;
	err = check_range(dev, io->sector, io->nr);
	if (err)
		return err;
	if (blk_is_down(dev))
		return -EIO;
	return blk_fault_check(dev, io->op == BLK_READ ? BLK_FAULT_READ : BLK_FAULT_WRITE,
			       io->kind, io->sector, io->nr);
}

static void count(const struct blk_io *io)
{
	u64 bytes = (u64)io->nr << SECTOR_SHIFT;
	bool read = io->op == BLK_READ;

	stat_add((enum stat_id)((read ? STAT_READ_BYTES_DATA : STAT_WRITE_BYTES_DATA) + io->kind),
		 bytes);
	stat_inc((enum stat_id)((read ? STAT_READ_IOS_DATA : STAT_WRITE_IOS_DATA) + io->kind));
	if (io->durable)
		stat_inc(STAT_DURABLE_WRITES);
	stat_time(read ? HIST_DISK_READ : HIST_DISK_WRITE, now_ns() - io->began);
}

int blk_errno(int err)
{
	switch (-err) {
	case 0:
	case EIO:
	case ENOSPC:
	case ENOMEM:
	case EROFS:
	case ERANGE:
	case EOPNOTSUPP:
	case ECANCELED:
		return err;
	case EDQUOT:
		return -ENOSPC;
	default:
		return -EIO;
	}
}

void blk_note_error(const struct blk_dev *dev, enum why why, struct work w, u64 sector, int err)
{
	stat_inc(STAT_DISK_ERRORS);
	if (err != -ENOMEM && err != -EROFS && err != -ERANGE && !blk_is_down(dev))
		corrupt_io(why, w, sector, err);
}

void blk_io_end(struct blk_io *io, int res)
{
	/* Several sectors of file data are asked for once more, one by one. */
	if (res && (io->kind != BLK_DATA || io->nr == 1))
		blk_note_error(io->dev, io->op == BLK_READ ? WHY_IO_READ : WHY_IO_WRITE,
			       io->work, io->sector, res);
	else if (res)
		stat_inc(STAT_DISK_ERRORS);
	else
		count(io);
	res = blk_errno(res);
	if (io->op == BLK_WRITE && !io->durable)
		blk_flush_owe(&io->dev->flush);
	if (!res && io->op == BLK_WRITE && io->dev->writelog)
		blk_writelog_write(io->dev, io);
	if (io->batch) {
		io->batch->in_flight--;
		if (res && !io->batch->err)
			io->batch->err = res;
	}
	if (!io->batch && io->op == BLK_WRITE)
		blk_gate_leave(&io->dev->gate);
	io->res = res;
	if (io->done)
		io->done(io);
}

static int admit_async(struct blk_dev *dev, struct blk_io *io)
{
	if (io->op == BLK_WRITE)
		blk_gate_enter(&dev->gate);
	io->batch = NULL;
	io->rq.early = false;
	return admit(dev, io);
}

void blk_submit_async_list(struct blk_dev *dev, struct blk_io **io, unsigned nr)
{
	unsigned good = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct blk_io *one = io[i];
		int err = admit_async(dev, one);

		if (err)
			blk_io_end(one, err);
		else
			io[good++] = one;
	}
	if (!good || (dev->ops->start_shared && dev->ops->start_shared(dev, io, good) == 0))
		return;
	for (unsigned i = 0; i < good; i++)
		blk_io_end(io[i], dev->ops->transfer(dev, io[i]));
}

void blk_submit_async(struct blk_dev *dev, struct blk_io *io)
{
	blk_submit_async_list(dev, &io, 1);
}

void blk_start_read(struct blk_dev *dev, struct blk_io *io)
{
	int err = admit(dev, io);

	ASSERT(io->op == BLK_READ);
	io->batch = NULL;
	io->rq.early = true;
	if (!err) {
		if (dev->ops->start && dev->ops->start(dev, io) == 0)
			return;
		err = dev->ops->transfer(dev, io);
	}
	blk_io_end(io, err);
}

/* ------------------------------------------------------------------ batches */

void blk_batch_init(struct blk_batch *b, struct blk_dev *dev)
{
	*b = (struct blk_batch){ .dev = dev };
}

void blk_batch_send(struct blk_batch *b)
{
	struct ring *ring;

	if (b->unsent && ring_local(&ring) == 0)
		ring_submit(ring);
	b->unsent = 0;
}

void blk_batch_add(struct blk_batch *b, struct blk_io *io)
{
	struct blk_dev *dev = b->dev;
	int err;

	if (io->op == BLK_WRITE && !b->writes) {
		blk_write_begin(dev);
		b->writes = true;
	}
	err = admit(dev, io);
	io->rq.early = false;
	io->batch = b;
	b->in_flight++;
	if (!err) {
		if (dev->ops->start && dev->ops->start(dev, io) == 0) {
			if (++b->unsent >= SEND_GROUP)
				blk_batch_send(b);
			if (b->in_flight > BLK_MAX_IN_FLIGHT)
				blk_batch_wait(b, BLK_MAX_IN_FLIGHT);
			return;
		}
		err = dev->ops->transfer(dev, io);
	}
	blk_io_end(io, err);
}

void blk_batch_wait(struct blk_batch *b, unsigned max_in_flight)
{
	struct ring *ring;

	if (b->in_flight <= max_in_flight)
		return;
	lock_assert_may_io();
	b->unsent = 0;
	/* Something is under way, so this thread has a ring. */
	ASSERT(ring_local(&ring) == 0);
	while (b->in_flight > max_in_flight)
		ring_reap(ring, true);
}

int blk_batch_fini(struct blk_batch *b)
{
	blk_batch_wait(b, 0);
	if (b->writes)
		blk_write_end(b->dev);
	b->writes = false;
	return b->err;
}

/* -------------------------------------------------------------- synchronous */

static int transfer_list(struct blk_dev *dev, struct blk_io io)
{
	struct blk_batch b;

	io.nr = (u32)(iov_bytes(io.iov, io.nr_iov) >> SECTOR_SHIFT);
	if (!io.nr)
		return 0;
	blk_batch_init(&b, dev);
	blk_batch_add(&b, &io);
	return blk_batch_fini(&b);
}

int blk_readv(struct blk_dev *dev, u64 sector, const struct iovec *iov, unsigned nr_iov,
	      enum blk_kind kind)
{
	return transfer_list(dev, (struct blk_io){ .op = BLK_READ, .kind = kind, .sector = sector,
						   .iov = iov, .nr_iov = nr_iov });
}

int blk_writev(struct blk_dev *dev, u64 sector, const struct iovec *iov, unsigned nr_iov,
	       enum blk_kind kind)
{
	return transfer_list(dev, (struct blk_io){ .op = BLK_WRITE, .kind = kind, .sector = sector,
						   .iov = iov, .nr_iov = nr_iov });
}

/* One slot of the pipeline of a long synchronous transfer. */
struct slot {
	struct blk_io io;
	struct iovec iov;
	bool busy;
};

static void slot_done(struct blk_io *io)
{
	*(bool *)io->arg = false;
}

static struct slot *free_slot(struct blk_batch *b, struct slot *slots)
{
	for (;;) {
		for (unsigned i = 0; i < SYNC_SLOTS; i++)
			if (!slots[i].busy)
				return &slots[i];
		blk_batch_wait(b, SYNC_SLOTS - 1);
	}
}

static int transfer_long(struct blk_dev *dev, const struct blk_io *all, u8 *buf)
{
	struct slot slots[SYNC_SLOTS] = { 0 };
	struct blk_batch b;

	blk_batch_init(&b, dev);
	for (u32 at = 0; at < all->nr && !b.err; at += BLK_MAX_IO_SECTORS) {
		struct slot *s = free_slot(&b, slots);
		u32 nr = MIN(all->nr - at, BLK_MAX_IO_SECTORS);

		s->iov = (struct iovec){ buf + ((size_t)at << SECTOR_SHIFT),
					 (size_t)nr << SECTOR_SHIFT };
		s->io = (struct blk_io){ .op = all->op, .kind = all->kind,
					 .durable = all->durable, .sector = all->sector + at,
					 .nr = nr, .iov = &s->iov, .nr_iov = 1,
					 .done = slot_done, .arg = &s->busy };
		s->busy = true;
		blk_batch_add(&b, &s->io);
		blk_batch_send(&b);
	}
	return blk_batch_fini(&b);
}

/* Through an aligned copy, for buffers that the device can't reach. */
static int transfer_bounced(struct blk_dev *dev, const struct blk_io *all, u8 *buf)
{
	u32 max = MIN(all->nr, BLK_MAX_IO_SECTORS);
	u8 *copy = aligned_alloc(SECTOR_SIZE, (size_t)max << SECTOR_SHIFT);
	int err = 0;

	if (!copy)
		return -ENOMEM;
	for (u32 at = 0; at < all->nr && !err; at += max) {
		u32 nr = MIN(all->nr - at, max);
		size_t bytes = (size_t)nr << SECTOR_SHIFT;
		u8 *here = buf + ((size_t)at << SECTOR_SHIFT);
		struct iovec iov = { copy, bytes };

		if (all->op == BLK_WRITE)
			memcpy(copy, here, bytes);
		err = transfer_list(dev, (struct blk_io){
			.op = all->op, .kind = all->kind, .durable = all->durable,
			.sector = all->sector + at, .iov = &iov, .nr_iov = 1 });
		if (!err && all->op == BLK_READ)
			memcpy(here, copy, bytes);
	}
	free(copy);
	return err;
}

static int transfer(struct blk_dev *dev, struct blk_io *all, u8 *buf)
{
	struct iovec iov = { buf, (size_t)all->nr << SECTOR_SHIFT };
	int err = check_range(dev, all->sector, all->nr);

	if (err)
		return err;
	if ((uintptr_t)buf % SECTOR_SIZE)
		return transfer_bounced(dev, all, buf);
	if (all->nr > BLK_MAX_IO_SECTORS)
		return transfer_long(dev, all, buf);
	all->iov = &iov;
	all->nr_iov = 1;
	return transfer_list(dev, *all);
}

int blk_read(struct blk_dev *dev, u64 sector, void *buf, u32 nr, enum blk_kind kind)
{
	struct blk_io all = { .op = BLK_READ, .kind = kind, .sector = sector, .nr = nr };

	return transfer(dev, &all, buf);
}

int blk_write(struct blk_dev *dev, u64 sector, const void *buf, u32 nr, enum blk_kind kind)
{
	struct blk_io all = { .op = BLK_WRITE, .kind = kind, .sector = sector, .nr = nr };

	return transfer(dev, &all, (u8 *)(uintptr_t)buf);
}

int blk_write_durable(struct blk_dev *dev, u64 sector, const void *buf, u32 nr,
		      enum blk_kind kind)
{
	struct blk_io all = { .op = BLK_WRITE, .kind = kind, .sector = sector, .nr = nr,
			      .durable = true };

	return transfer(dev, &all, (u8 *)(uintptr_t)buf);
}

/* -------------------------------------------------------- space on the host */

static int admit_range(struct blk_dev *dev, enum blk_fault_op op, u64 sector, u64 nr)
{
	int err = check_range(dev, sector, nr);

	if (err)
		return err;
	if (dev->rdonly)
		return -EROFS;
	lock_assert_may_io();
	if (blk_is_down(dev))
		return -EIO;
	return blk_errno(blk_fault_check(dev, op, BLK_DATA, sector, nr));
}

int blk_discard(struct blk_dev *dev, u64 sector, u64 nr)
{
	int err = admit_range(dev, BLK_FAULT_DISCARD, sector, nr);

	if (err || !nr)
		return err;
	blk_write_begin(dev);
	err = blk_errno(dev->ops->discard(dev, sector, nr));
	blk_write_end(dev);
	if (!err) {
		stat_inc(STAT_DISCARDS);
		stat_add(STAT_DISCARD_BYTES, nr << SECTOR_SHIFT);
		if (dev->writelog)
			blk_writelog_discard(dev, sector, nr);
	}
	return err;
}

int blk_prealloc(struct blk_dev *dev, u64 sector, u64 nr)
{
	int err = admit_range(dev, BLK_FAULT_PREALLOC, sector, nr);

	if (err || !nr || !dev->ops->prealloc)
		return err;
	return blk_errno(dev->ops->prealloc(dev, sector, nr));
}

static int write_zeroes(struct blk_dev *dev, u64 sector, u64 nr, enum blk_kind kind)
{
	u32 max = (u32)MIN_T(u64, nr, BLK_MAX_IO_SECTORS);
	u8 *zeroes = aligned_alloc(SECTOR_SIZE, (size_t)max << SECTOR_SHIFT);
	int err = 0;

	if (!zeroes)
		return -ENOMEM;
	memset(zeroes, 0, (size_t)max << SECTOR_SHIFT);
	for (u64 at = 0; at < nr && !err; at += max)
		err = blk_write(dev, sector + at, zeroes, (u32)MIN_T(u64, nr - at, max), kind);
	free(zeroes);
	return err;
}

int blk_zero(struct blk_dev *dev, u64 sector, u64 nr, enum blk_kind kind)
{
	int err = check_range(dev, sector, nr);

	if (err || !nr)
		return err;
	if (dev->rdonly)
		return -EROFS;
	if (!dev->ops->zero)
		return write_zeroes(dev, sector, nr, kind);
	/* For whoever injects faults this is the write that it stands for. */
	err = blk_is_down(dev) ? -EIO : blk_fault_check(dev, BLK_FAULT_WRITE, kind, sector, nr);
	blk_write_begin(dev);
	if (!err)
		err = dev->ops->zero(dev, sector, nr);
	blk_flush_owe(&dev->flush);
	if (!err && dev->writelog)
		blk_writelog_zero(dev, sector, nr);
	blk_write_end(dev);
	if (err == -EOPNOTSUPP)
		return write_zeroes(dev, sector, nr, kind);
	if (err)
		blk_note_error(dev, WHY_IO_ZERO, work_now(), sector, err);
	return blk_errno(err);
}

int blk_resize(struct blk_dev *dev, u64 sectors)
{
	int err;

	if (!dev->ops->resize)
		return -EOPNOTSUPP;
	if (sectors < dev->sectors)
		return -EINVAL;
	if (dev->rdonly)
		return -EROFS;
	err = dev->ops->resize(dev, sectors);
	if (!err)
		dev->sectors = sectors;
	return err;
}

/* ------------------------------------------------------------- open, close */

int blk_open(const char *path, unsigned flags, const struct blk_opts *opts, struct blk_dev **out)
{
	static const struct blk_opts defaults;
	enum blk_fua fua = opts ? opts->fua : BLK_FUA_AUTO;
	struct blk_dev *dev;
	char *copy = strdup(path);
	int err;

	if (!copy)
		return -ENOMEM;
	if (!strncmp(path, "ram:", 4))
		err = blk_ram_open(path, flags, &dev);
	else
		err = blk_file_open(path, flags, opts ? opts : &defaults, &dev);
	if (err) {
		free(copy);
		return err;
	}
	dev->path = copy;
	if (fua != BLK_FUA_AUTO)
		dev->fua = fua == BLK_FUA_ON;
	*out = dev;
	return 0;
}

void blk_close(struct blk_dev *dev)
{
	if (!dev)
		return;
	blk_writelog_stop(dev);
	free(dev->path);
	blk_flush_fini(&dev->flush);
	blk_gate_fini(&dev->gate);
	dev->ops->close(dev);
}
