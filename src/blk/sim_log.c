/*
 * A recorded device out of an image file and a block log: sim_load().
 *
 * Invariants:
 * 1. The image is read only where it holds data, so a sparse image of any size costs its contents.
 * 2. What the log says is checked before it is used: it comes from a file.
 *
 * Locking: none; the device has no other user yet.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "blk/dmlog.h"
#include "blk/sim_priv.h"

static int read_all(int fd, u64 pos, void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (u8 *)buf + done, len - done, (off_t)(pos + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EINVAL;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* ---- the image ---- */

static int copy_data(struct sim_dev *s, int fd, u64 from, u64 to)
{
	for (u64 i = from; i < to; i++) {
		u8 *page = sim_pages_own(&s->now, i);
		int err = page ? read_all(fd, i << SECTOR_SHIFT, page, SECTOR_SIZE) : -ENOMEM;

		if (err)
			return err;
	}
	return 0;
}

static int copy_image(struct sim_dev *s, int fd)
{
	off_t end = (off_t)(s->now.sectors << SECTOR_SHIFT), at = 0;
	int err = 0;

	while (!err && at < end) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		at = MIN(hole, end);
		err = copy_data(s, fd, (u64)data >> SECTOR_SHIFT,
				MIN(DIV_ROUND_UP((u64)at, SECTOR_SIZE), s->now.sectors));
	}
	return err;
}

static int load_image(const char *path, struct sim_dev **out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;
	struct stat st;

	if (fd < 0)
		return -errno;
	err = fstat(fd, &st) ? -errno : 0;
	if (!err)
		err = sim_make((u64)st.st_size >> SECTOR_SHIFT, 512, NULL, out);
	if (!err) {
		err = copy_image(*out, fd);
		if (!err)
			err = sim_start_recording(*out);
		if (err)
			blk_close(&(*out)->dev);
	}
	close(fd);
	return err;
}

/* ---- the log ---- */

struct reader {
	int fd;
	u64 pos;                /* bytes */
	u64 unit;
	u64 left;               /* entries */
	struct sim_dev *sim;
};

static int read_super(struct reader *r)
{
	struct dmlog_super s;
	int err = read_all(r->fd, 0, &s, sizeof(s));

	if (err)
		return err;
	r->unit = get32(s.sectorsize);
	r->pos = r->unit;
	r->left = get64(s.nr_entries);
	if (get64(s.magic) != DMLOG_MAGIC || get64(s.version) != DMLOG_VERSION ||
	    (r->unit != 512 && r->unit != SECTOR_SIZE))
		return -EINVAL;
	return 0;
}

/* Memory of `len` bytes of the log at r->pos, which moves on; NULL with *err. */
static void *take(struct reader *r, size_t len, int *err)
{
	u8 *bytes = malloc(len);

	*err = bytes ? read_all(r->fd, r->pos, bytes, len) : -ENOMEM;
	if (*err) {
		free(bytes);
		return NULL;
	}
	r->pos += len;
	return bytes;
}

static int add_mark(struct reader *r, const u8 *unit, u64 len)
{
	struct sim_event ev = { .kind = SIM_MARK };
	char *text;
	int err;

	if (len > r->unit - sizeof(struct dmlog_entry))
		return -EINVAL;
	text = strndup((const char *)unit + sizeof(struct dmlog_entry), len);
	ev.text = text;
	err = text ? sim_push(r->sim, &ev) : -ENOMEM;
	if (err)
		free(text);
	return err;
}

/* A write or a discard: whole sectors inside the device. */
static int add_change(struct reader *r, const struct dmlog_entry *e, enum sim_kind kind)
{
	u64 per_sector = SECTOR_SIZE / r->unit, sectors = r->sim->now.sectors;
	u64 at = get64(e->sector), nr = get64(e->nr_sectors);
	struct sim_event ev = { .kind = kind, .sector = at / per_sector, .nr = nr / per_sector };
	int err = 0;

	if (at % per_sector || nr % per_sector)
		return -EOPNOTSUPP;
	if (ev.nr > sectors || ev.sector > sectors - ev.nr)
		return -EINVAL;
	if (get64(e->flags) & DMLOG_METADATA)
		ev.what = BLK_META;
	ev.durable = kind == SIM_WRITE && (get64(e->flags) & DMLOG_FUA);
	if (kind == SIM_WRITE)
		ev.data = take(r, ev.nr << SECTOR_SHIFT, &err);
	if (!err)
		err = sim_push(r->sim, &ev);
	if (err)
		free((u8 *)(uintptr_t)ev.data);
	return err;
}

/* A flush with data is a flush first. */
static int add_entry(struct reader *r, const u8 *unit)
{
	const struct dmlog_entry *e = (const struct dmlog_entry *)unit;
	u64 flags = get64(e->flags);
	int err = 0;

	if (flags & DMLOG_MARK)
		return add_mark(r, unit, get64(e->data_len));
	if (flags & DMLOG_FLUSH)
		err = sim_push(r->sim, &(struct sim_event){ .kind = SIM_FLUSH });
	if (err || !get64(e->nr_sectors))
		return err;
	return add_change(r, e, flags & DMLOG_DISCARD ? SIM_DISCARD : SIM_WRITE);
}

static int load_log(const char *path, struct sim_dev *s)
{
	struct reader r = { .fd = open(path, O_RDONLY | O_CLOEXEC), .sim = s };
	int err;

	if (r.fd < 0)
		return -errno;
	err = read_super(&r);
	for (; !err && r.left; r.left--) {
		u8 *unit = take(&r, r.unit, &err);

		if (unit)
			err = add_entry(&r, unit);
		free(unit);
	}
	close(r.fd);
	return err;
}

int sim_load(const char *image, const char *log, struct blk_dev **out)
{
	struct sim_dev *s;
	int err = load_image(image, &s);

	if (err)
		return err;
	err = load_log(log, s);
	if (err)
		blk_close(&s->dev);
	else
		*out = &s->dev;
	return err;
}
