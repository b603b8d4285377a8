/*
 * "ram:SIZE": a device of sparse private memory, for tests and file systems that need not survive.
 *
 * Invariants:
 * 1. Memory is reserved, not committed: untouched sectors cost nothing and read as zero.
 * 2. A flush has nothing to do and can't fail.
 *
 * Locking: none. Requests that overlap and run at the same time have no order, as on any device.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/size.h"
#include "blk/blk_priv.h"

struct ram_dev {
	struct blk_dev dev;
	u8 *mem;
};

static struct ram_dev *ram_of(struct blk_dev *dev)
{
	return container_of(dev, struct ram_dev, dev);
}

static size_t bytes_of(u64 sectors)
{
	return (size_t)sectors << SECTOR_SHIFT;
}

static int ram_transfer(struct blk_dev *dev, struct blk_io *io)
{
	u8 *at = ram_of(dev)->mem + bytes_of(io->sector);

	if (io->op == BLK_READ)
		iov_scatter(io->iov, io->nr_iov, at);
	else
		iov_gather(at, io->iov, io->nr_iov);
	return 0;
}

static int ram_flush(struct blk_dev *dev)
{
	(void)dev;
	return 0;
}

/* Gives the memory back; the next read finds zeroes. */
static int ram_zero(struct blk_dev *dev, u64 sector, u64 nr)
{
	u8 *at = ram_of(dev)->mem + bytes_of(sector);

	return madvise(at, bytes_of(nr), MADV_DONTNEED) ? -errno : 0;
}

static int ram_resize(struct blk_dev *dev, u64 sectors)
{
	struct ram_dev *r = ram_of(dev);
	void *mem = mremap(r->mem, bytes_of(dev->sectors), bytes_of(sectors), MREMAP_MAYMOVE);

	if (mem == MAP_FAILED)
		return -errno;
	r->mem = mem;
	return 0;
}

static void ram_close(struct blk_dev *dev)
{
	struct ram_dev *r = ram_of(dev);

	munmap(r->mem, bytes_of(dev->sectors));
	free(r);
}

static const struct blk_backend ram_ops = {
	.name = "ram",
	.transfer = ram_transfer,
	.flush = ram_flush,
	.discard = ram_zero,
	.zero = ram_zero,
	.resize = ram_resize,
	.close = ram_close,
};

int blk_ram_open(const char *path, unsigned flags, struct blk_dev **out)
{
	struct ram_dev *r;
	u64 bytes;

	if (parse_size(path + strlen("ram:"), &bytes) || bytes < SECTOR_SIZE)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	bytes = ALIGN_DOWN(bytes, SECTOR_SIZE);
	r->mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->mem == MAP_FAILED) {
		free(r);
		return -ENOMEM;
	}
	blk_dev_init(&r->dev, &ram_ops, bytes >> SECTOR_SHIFT, 512);
	r->dev.rdonly = !(flags & BLK_RDWR);
	*out = &r->dev;
	return 0;
}
