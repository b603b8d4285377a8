/*
 * SEEK_DATA and SEEK_HOLE, exact to the sector: dirty or written sectors are data, everything
 * else is a hole. The end of the file is a hole, too.
 */
#include <unistd.h>

#include "base/bitmap.h"
#include "base/err.h"
#include "iomap/request.h"

/*
 * Looks for a sector that is data (or is not) in at most SECTORS_DATA_MAX sectors of the
 * mapping: true and *found (bytes), or false and *done (bytes without one).
 */
static int seek_some(struct iomap_iter *it, bool data, bool *hit, u64 *found, u64 *done)
{
	u64 bits[BITMAP_WORDS(SECTORS_DATA_MAX)];
	u64 first = it->pos >> SECTOR_SHIFT;
	u64 end = MIN(it->pos + it->len, iomap_end(&it->map));
	u32 nr = (u32)MIN(bytes_to_sectors_up(end) - first, (u64)SECTORS_DATA_MAX);
	size_t at;
	int r;

	if (it->map.type == IOMAP_HOLE) {
		*hit = !data;
		*found = it->pos;
		*done = end - it->pos;
		return 0;
	}
	r = sectors_data(it->file, &it->map, first, nr, bits);
	if (r)
		return r;
	at = data ? bitmap_next_set(bits, 0, nr) : bitmap_next_zero(bits, 0, nr);
	*hit = at < nr;
	*found = MAX(it->pos, (first + at) << SECTOR_SHIFT);
	*done = MIN(end, (first + nr) << SECTOR_SHIFT) - it->pos;
	return 0;
}

s64 iomap_seek(struct iomap_file *f, u64 pos, int whence)
{
	u64 size = iomap_size(f), found = 0;
	struct iomap_iter it = { .file = f, .pos = pos, .flags = IOMAP_REPORT };
	bool hit = false;
	int r;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (pos >= size)
		return -ENXIO;
	it.len = size - pos;
	while ((r = iomap_iter(&it)) > 0) {
		it.error = seek_some(&it, whence == SEEK_DATA, &hit, &found, &it.done);
		if (hit)
			return (s64)found;
	}
	if (r < 0)
		return r;
	return whence == SEEK_HOLE ? (s64)size : -ENXIO;
}
