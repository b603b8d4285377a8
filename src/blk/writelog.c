/*
 * The block log: every write, flush, discard and mark of a device goes to a file (dmlog.h) too.
 *
 * Rules:
 * 1. A write is logged when it has ended well and before its owner is told, so the log never holds
 *    less than what somebody relies on. Its memory is stable until then.
 * 2. A flush is logged when it begins: writes that end while it runs come behind it and are not
 *    covered. One that fails is followed by the mark "flush failed".
 * 3. The number of entries in the header is brought up to date at each flush, write with FUA and
 *    mark, so a log that was cut short ends at one.
 * 4. A log that can't be written any more is given up, loudly; the device goes on.
 *
 * Locking: writelog.lock (RANK_BLK), held while the file is written: nothing waits for a reader
 * of that file. The order of entries is the order in which the lock is taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "blk/blk_priv.h"
#include "blk/dmlog.h"

struct blk_writelog {
	struct mutex lock;
	int fd;                 /* -1: given up */
	u32 unit;               /* bytes */
	u64 pos;                /* bytes: where the next entry goes */
	u64 nr_entries;
	char *path;
};

/* ---- writing the file; lock held ---- */

static int write_iov(int fd, u64 pos, const struct iovec *iov, unsigned nr_iov)
{
	for (unsigned i = 0; i < nr_iov; i++) {
		const u8 *at = iov[i].iov_base;

		for (size_t done = 0; done < iov[i].iov_len;) {
			ssize_t n = pwrite(fd, at + done, iov[i].iov_len - done, (off_t)pos);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return n ? -errno : -EIO;
			done += (size_t)n;
			pos += (u64)n;
		}
	}
	return 0;
}

static int write_bytes(struct blk_writelog *l, u64 pos, const void *bytes, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	return write_iov(l->fd, pos, &iov, 1);
}

static int write_super(struct blk_writelog *l)
{
	u8 unit[SECTOR_SIZE] = { 0 };
	const struct dmlog_super s = {
		.magic = put64(DMLOG_MAGIC), .version = put64(DMLOG_VERSION),
		.nr_entries = put64(l->nr_entries), .sectorsize = put32(l->unit),
	};

	memcpy(unit, &s, sizeof(s));
	return write_bytes(l, 0, unit, l->unit);
}

static void give_up(struct blk_writelog *l, int err)
{
	log_err("%s: the block log can't be written: %s; nothing more is recorded", l->path,
		err_text(err));
	close(l->fd);
	l->fd = -1;
}

struct entry {
	u64 sector, nr;         /* of the device */
	u64 flags;
	const char *text;       /* mark */
	const struct iovec *iov;
	unsigned nr_iov;
};

static int write_entry(struct blk_writelog *l, const struct entry *e)
{
	u64 per_sector = SECTOR_SIZE / l->unit;
	size_t text_len = e->text ? strlen(e->text) : 0;
	u8 unit[SECTOR_SIZE] = { 0 };
	const struct dmlog_entry head = {
		.sector = put64(e->sector * per_sector), .nr_sectors = put64(e->nr * per_sector),
		.flags = put64(e->flags), .data_len = put64(text_len),
	};
	int err;

	memcpy(unit, &head, sizeof(head));
	if (e->text)
		memcpy(unit + sizeof(head), e->text, text_len);
	err = write_bytes(l, l->pos, unit, l->unit);
	if (!err)
		err = write_iov(l->fd, l->pos + l->unit, e->iov, e->nr_iov);
	if (err)
		return err;
	l->pos += l->unit + (e->iov ? e->nr << SECTOR_SHIFT : 0);
	l->nr_entries++;
	return e->flags & (DMLOG_FLUSH | DMLOG_FUA | DMLOG_MARK) ? write_super(l) : 0;
}

static void add(struct blk_dev *dev, const struct entry *e)
{
	struct blk_writelog *l = dev->writelog;
	int err;

	mutex_lock(&l->lock);
	err = l->fd < 0 ? 0 : write_entry(l, e);
	if (err)
		give_up(l, err);
	mutex_unlock(&l->lock);
}

/* ---- what happened ---- */

void blk_writelog_write(struct blk_dev *dev, const struct blk_io *io)
{
	add(dev, &(struct entry){ .sector = io->sector, .nr = io->nr, .iov = io->iov,
				  .nr_iov = io->nr_iov,
				  .flags = (io->kind == BLK_DATA ? 0 : DMLOG_METADATA) |
					   (io->durable ? DMLOG_FUA : 0) });
}

void blk_writelog_flush(struct blk_dev *dev)
{
	add(dev, &(struct entry){ .flags = DMLOG_FLUSH });
}

void blk_writelog_flush_failed(struct blk_dev *dev)
{
	add(dev, &(struct entry){ .flags = DMLOG_MARK, .text = "flush failed" });
}

void blk_writelog_discard(struct blk_dev *dev, u64 sector, u64 nr)
{
	add(dev, &(struct entry){ .sector = sector, .nr = nr, .flags = DMLOG_DISCARD });
}

/* In writes of what replay tools can hold in memory. */
void blk_writelog_zero(struct blk_dev *dev, u64 sector, u64 nr)
{
	static const u8 zeroes[64 * SECTOR_SIZE];

	for (u64 at = 0; at < nr;) {
		u64 n = MIN_T(u64, nr - at, sizeof(zeroes) / SECTOR_SIZE);
		struct iovec iov = { (void *)(uintptr_t)zeroes, n << SECTOR_SHIFT };

		add(dev, &(struct entry){ .sector = sector + at, .nr = n, .iov = &iov,
					  .nr_iov = 1, .flags = DMLOG_METADATA });
		at += n;
	}
}

int blk_writelog_mark(struct blk_dev *dev, const char *text)
{
	struct blk_writelog *l = dev->writelog;
	bool lost;

	if (!l)
		return -ENOENT;
	if (strlen(text) >= l->unit - sizeof(struct dmlog_entry))
		return -ENAMETOOLONG;
	add(dev, &(struct entry){ .flags = DMLOG_MARK, .text = text });
	mutex_lock(&l->lock);
	lost = l->fd < 0;
	mutex_unlock(&l->lock);
	return lost ? -EIO : 0;
}

/* ---- life ---- */

/* An older log may be written over, and nothing else. */
static int may_overwrite(int fd)
{
	struct dmlog_super s;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISREG(st.st_mode) && st.st_size == 0)
		return 0;
	if (pread(fd, &s, sizeof(s), 0) == (ssize_t)sizeof(s) && get64(s.magic) == DMLOG_MAGIC)
		return S_ISREG(st.st_mode) && ftruncate(fd, 0) ? -errno : 0;
	return -EEXIST;
}

int blk_writelog_start(struct blk_dev *dev, const char *path)
{
	struct blk_writelog *l = calloc(1, sizeof(*l));
	int err = 0;

	if (!l)
		return -ENOMEM;
	l->path = strdup(path);
	l->unit = dev->logical_size;
	l->pos = l->unit;
	l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (l->fd < 0)
		err = -errno;
	else if (!l->path)
		err = -ENOMEM;
	if (!err)
		err = may_overwrite(l->fd);
	if (!err)
		err = write_super(l);
	if (err) {
		if (l->fd >= 0)
			close(l->fd);
		free(l->path);
		free(l);
		return err;
	}
	mutex_init(&l->lock, RANK_BLK);
	dev->writelog = l;
	return 0;
}

void blk_writelog_stop(struct blk_dev *dev)
{
	struct blk_writelog *l = dev->writelog;
	int err;

	if (!l)
		return;
	dev->writelog = NULL;
	if (l->fd >= 0) {
		err = write_super(l);
		if (err)
			give_up(l, err);
		else
			close(l->fd);
	}
	mutex_fini(&l->lock);
	free(l->path);
	free(l);
}
