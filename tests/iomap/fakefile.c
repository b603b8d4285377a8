/* The mapping operations of a fake file; see fakefile.h. */
#include "fakefile.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "check_main.h"
#include "format/format.h"

/* Writes that this thread has begun and not ended. With any of them it may not block on others. */
static __thread u64 under_way;
static u8 the_intent;

u32 fake_random(u32 *state)
{
	u32 x = *state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

static struct fakefile *fake_of(struct iomap_file *f)
{
	return container_of(f, struct fakefile, file);
}

static u32 run_of(const struct fakefile *f, u32 s)
{
	u32 n = 1;

	while (s + n < FAKE_SECTORS && f->state[s + n] == f->state[s] &&
	       (f->state[s] != FAKE_MAPPED || f->disk[s + n] == f->disk[s] + n))
		n++;
	return n;
}

static int reserve(struct fakefile *f, u32 from, u32 to)
{
	from = ALIGN_DOWN(from, f->block);
	to = MIN(ALIGN_UP(to, f->block), FAKE_SECTORS);
	for (u32 s = from; s < to; s += f->block) {
		if (f->state[s] != FAKE_HOLE)
			break;
		if (f->used + f->block > f->reserve_max)
			return s == from ? -ENOSPC : 0;
		f->used += f->block;
		memset(&f->state[s], FAKE_DELALLOC, MIN(f->block, FAKE_SECTORS - s));
		f->seq++;
	}
	return 0;
}

static int fake_map(struct iomap_file *file, u64 pos, u64 len, unsigned flags, struct iomap *out)
{
	struct fakefile *f = fake_of(file);
	u32 s = (u32)(pos >> SECTOR_SHIFT);
	int r = 0;

	if (pos + len > (u64)FAKE_SECTORS << SECTOR_SHIFT && (flags & IOMAP_WRITE))
		return -EFBIG;
	if (s >= FAKE_SECTORS) {
		*out = (struct iomap){ pos & ~(u64)SECTOR_MASK, SECTOR_SIZE, 0, IOMAP_HOLE,
				       f->seq };
		return 0;
	}
	mutex_lock(&f->lock);
	f->nr_map++;
	if (f->inl && s == 0) {
		*out = (struct iomap){ 0, SECTOR_SIZE, 0, IOMAP_INLINE, f->seq };
	} else {
		if ((flags & IOMAP_WRITE) && f->state[s] == FAKE_HOLE)
			r = reserve(f, s, (u32)bytes_to_sectors_up(pos + len));
		*out = (struct iomap){
			.offset = (u64)s << SECTOR_SHIFT,
			.length = (u64)run_of(f, s) << SECTOR_SHIFT,
			.disk = f->disk[s],
			.type = f->state[s] == FAKE_HOLE ? IOMAP_HOLE :
				f->state[s] == FAKE_MAPPED ? IOMAP_MAPPED : IOMAP_DELALLOC,
			.cookie = f->seq,
		};
	}
	mutex_unlock(&f->lock);
	return r;
}

static bool fake_valid(struct iomap_file *file, const struct iomap *m)
{
	struct fakefile *f = fake_of(file);
	bool same;

	mutex_lock(&f->lock);
	same = f->seq == m->cookie;
	mutex_unlock(&f->lock);
	return same;
}

static u64 place(struct fakefile *f)
{
	u64 blocks = FAKE_DISK_SECTORS / f->block, b;

	if (f->scatter)
		f->next_disk += (u64)f->block * (1 + fake_random(&f->rnd) % 5);
	/* Entries of space in use are never 0xffffffff, which marks free space. */
	for (b = f->next_disk / f->block;; b++)
		if (f->entry[b % blocks * f->block] == UINT32_MAX)
			break;
	b %= blocks;
	f->next_disk = (b + 1) * f->block;
	return b * f->block;
}

static int fake_allocate(struct iomap_file *file, u64 start, u64 end)
{
	struct fakefile *f = fake_of(file);
	u32 s = (u32)ALIGN_DOWN(MIN(start >> SECTOR_SHIFT, (u64)FAKE_SECTORS), (u64)f->block);
	u32 stop = (u32)MIN(bytes_to_sectors_up(end), (u64)FAKE_SECTORS);

	ASSERT(!under_way);
	mutex_lock(&f->lock);
	for (; s < stop; s += f->block) {
		u64 disk;

		if (f->state[s] != FAKE_DELALLOC)
			continue;
		disk = place(f);
		for (u32 i = 0; i < f->block && s + i < FAKE_SECTORS; i++) {
			f->state[s + i] = FAKE_MAPPED;
			f->disk[s + i] = disk + i;
			f->entry[disk + i] = 0;
		}
		f->seq++;
	}
	mutex_unlock(&f->lock);
	return 0;
}

static int fake_map_entries(struct iomap_file *file, u64 disk, u32 nr, u32 *entries)
{
	struct fakefile *f = fake_of(file);

	mutex_lock(&f->lock);
	f->nr_entries++;
	memcpy(entries, &f->entry[disk], nr * sizeof(u32));
	mutex_unlock(&f->lock);
	return 0;
}

static int fake_inline_read(struct iomap_file *file, void *buf)
{
	struct fakefile *f = fake_of(file);

	memcpy(buf, f->inline_data, f->inline_len);
	return (int)f->inline_len;
}

static int fake_inline_write(struct iomap_file *file, const void *data, u64 size)
{
	struct fakefile *f = fake_of(file);

	ASSERT(!under_way);
	if (f->inline_error)
		return f->inline_error;
	memcpy(f->inline_data, data, size);
	f->inline_len = (u32)size;
	return 0;
}

static int fake_write_begin(struct iomap_file *file, enum iomap_how how, u64 disk, u32 nr,
			    unsigned ends)
{
	struct fakefile *f = fake_of(file);

	(void)how, (void)disk, (void)nr;
	if (f->no_memory)
		return -ENOMEM;
	under_way += ends;
	mutex_lock(&f->lock);
	f->ends_due += ends;
	mutex_unlock(&f->lock);
	return 0;
}

static void fake_ioend(struct iomap_file *file, const struct iomap_ioend *io)
{
	struct fakefile *f = fake_of(file);

	ASSERT(under_way > 0);
	under_way--;
	mutex_lock(&f->lock);
	ASSERT(f->ends_due > 0);
	f->ends_due--;
	if (io->unsent) {
		for (u32 i = 0; i < io->nr && io->intent; i++)
			f->said[io->disk + i] = 0;
		mutex_unlock(&f->lock);
		return;
	}
	f->nr_ioend++;
	if (io->how == IOMAP_NEW)
		f->nr_fresh++;
	ASSERT(io->how != IOMAP_OVERWRITE || io->intent == &the_intent);
	if (io->error)
		f->nr_error_sectors += io->nr;
	for (u32 i = 0; i < io->nr && !io->error; i++) {
		ASSERT(f->disk[io->sector + i] == io->disk + i);
		f->entry[io->disk + i] = io->entries[i];
	}
	if (!io->error)
		f->size_end = MAX(f->size_end, io->size_end);
	mutex_unlock(&f->lock);
}

static int fake_read_logged(struct iomap_file *file UNUSED, u64 disk UNUSED, void *buf UNUSED)
{
	return 0;
}

static int fake_write_how(struct iomap_file *file, u64 disk, u32 nr, u8 *how)
{
	struct fakefile *f = fake_of(file);

	mutex_lock(&f->lock);
	for (u32 i = 0; how && i < nr; i++) {
		u32 entry = f->entry[disk + i];

		how[i] = entry >= FMT_MAP_CSUM_MIN ? IOMAP_OVERWRITE :
			 entry == FMT_MAP_NOCSUM && file->nosum ? IOMAP_SAME : IOMAP_NEW;
	}
	mutex_unlock(&f->lock);
	return 0;
}

static int fake_write_settle(struct iomap_file *file UNUSED, u64 disk UNUSED, u32 nr UNUSED,
			     bool in_place UNUSED)
{
	return 0;
}

static int fake_announce(struct iomap_file *file, struct iomap_overwrite *ow, unsigned nr,
			 bool drained, u64 *announcement)
{
	struct fakefile *f = fake_of(file);

	if (f->announce_busy && !drained)
		return -EBUSY;
	if (f->announce_error)
		return f->announce_error;
	mutex_lock(&f->lock);
	*announcement = ++f->nr_announce;
	for (unsigned i = 0; i < nr; i++) {
		ow[i].intent = &the_intent;
		for (u32 k = 0; k < ow[i].nr; k++)
			f->said[ow[i].disk + k] = *announcement;
		f->nr_announced += ow[i].nr;
	}
	mutex_unlock(&f->lock);
	return 0;
}

static void fake_announce_soon(struct iomap_file *file, u64 announcement)
{
	struct fakefile *f = fake_of(file);

	mutex_lock(&f->lock);
	f->announced_soon = MAX(f->announced_soon, announcement);
	mutex_unlock(&f->lock);
}

static int fake_announce_wait(struct iomap_file *file, u64 announcement)
{
	struct fakefile *f = fake_of(file);

	if (f->wait_error)
		return f->wait_error;
	mutex_lock(&f->lock);
	f->announced = MAX(f->announced, announcement);
	mutex_unlock(&f->lock);
	return 0;
}

/* Its log is the disk itself. */
static int fake_log(struct iomap_file *file, const struct iomap_logged *s, u32 nr, u64 size_end,
		    bool item UNUSED)
{
	struct fakefile *f = fake_of(file);

	if (f->log_error)
		return f->log_error;
	for (u32 i = 0; i < nr; i++) {
		ASSERT(blk_write(file->dev, s[i].disk, s[i].data, 1, BLK_LOG) == 0);
		f->entry[s[i].disk] = fmt_map_csum(s[i].data);
	}
	f->nr_logged += nr;
	f->nr_log++;
	f->size_end = MAX(f->size_end, size_end);
	return 0;
}

static const struct iomap_ops fake_ops = {
	.map = fake_map,
	.valid = fake_valid,
	.allocate = fake_allocate,
	.map_entries = fake_map_entries,
	.read_logged = fake_read_logged,
	.write_how = fake_write_how,
	.write_settle = fake_write_settle,
	.announce = fake_announce,
	.announce_soon = fake_announce_soon,
	.announce_wait = fake_announce_wait,
	.log = fake_log,
	.inline_read = fake_inline_read,
	.inline_write = fake_inline_write,
	.write_begin = fake_write_begin,
	.ioend = fake_ioend,
};

struct blk_dev *fake_disk(u64 cache_bytes)
{
	struct cache_config cfg = { .bytes = cache_bytes, .max_order = 9 };
	struct blk_opts opts = { .size = FAKE_DISK_SECTORS * SECTOR_SIZE };
	char path[] = "fake_disk.XXXXXX";
	struct blk_dev *dev;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(cache_init(&cfg), 0);
	ck_assert_int_eq(blk_open(path, BLK_RDWR | BLK_CREATE | BLK_TRUNCATE, &opts, &dev), 0);
	unlink(path);
	return dev;
}

void fake_init(struct fakefile *f, struct blk_dev *dev, u32 block, bool scatter)
{
	memset(f, 0, sizeof(*f));
	memset(f->entry, 0xff, sizeof(f->entry));
	mutex_init(&f->lock, RANK_INODE_STATE);
	iomap_file_init(&f->file, &fake_ops, dev, 1);
	f->block = block;
	f->scatter = scatter;
	f->reserve_max = UINT64_MAX;
	f->rnd = 2463534242u;
}

void fake_truncate(struct fakefile *f, u64 size)
{
	u32 first = (u32)bytes_to_sectors_up(size);

	mutex_lock(&f->lock);
	for (u32 s = first; s < FAKE_SECTORS; s++) {
		bool whole = s >= ALIGN_UP(first, f->block);

		if (f->state[s] == FAKE_MAPPED)
			f->entry[f->disk[s]] = whole ? UINT32_MAX : 0;
		if (whole && f->state[s] != FAKE_HOLE)
			f->used--;
		if (whole)
			f->state[s] = FAKE_HOLE;
	}
	f->seq++;
	mutex_unlock(&f->lock);
}

void fake_fini(struct fakefile *f)
{
	ASSERT(f->ends_due == 0);
	cache_drop(&f->file.mapping, 0, UINT64_MAX);
	iomap_file_fini(&f->file);
	mutex_fini(&f->lock);
}
