/*
 * The cache's part of making a file shorter. The size in memory is lowered before, so that
 * writeback and reads that begin now stay below it; cache_drop() waits for I/O that began
 * earlier.
 */
#include "base/err.h"
#include "iomap/request.h"

int iomap_truncate_cache(struct iomap_file *f, u64 size)
{
	ASSERT(iomap_size(f) <= size);
	cache_drop(&f->mapping, bytes_to_sectors_up(size), UINT64_MAX >> SECTOR_SHIFT);
	return iomap_zero_eof(f, size);
}
