/*
 * The iterator, and the life of an iomap_file.
 *
 * 1. it->map contains it->pos whenever iomap_iter() returned 1.
 * 2. A mapping that the body has not used up is kept, as long as it is valid; a body that did
 *    nothing gets a new one.
 */
#include "base/err.h"
#include "iomap/request.h"

int iomap_iter(struct iomap_iter *it)
{
	struct iomap_file *f = it->file;
	int r;

	if (it->error)
		return it->error;
	ASSERT(it->done <= it->len);
	if (it->done == 0)
		it->map.length = 0;
	it->pos += it->done;
	it->len -= it->done;
	it->done = 0;
	if (it->len == 0)
		return 0;
	if (iomap_contains(&it->map, it->pos) && f->ops->valid(f, &it->map))
		return 1;
	r = f->ops->map(f, it->pos, it->len, it->flags, &it->map);
	if (r) {
		it->map.length = 0;
		return r;
	}
	ASSERT(iomap_contains(&it->map, it->pos));
	return 1;
}

void iomap_file_init(struct iomap_file *f, const struct iomap_ops *ops, struct blk_dev *dev,
		     u64 ino)
{
	mapping_init(&f->mapping, &iomap_mapping_ops, f);
	mapping_set_id(&f->mapping, ino);
	f->ops = ops;
	f->dev = dev;
	f->size = 0;
	f->ino = ino;
	f->nosum = false;
	f->hold_start = f->hold_end = 0;
}

void iomap_file_fini(struct iomap_file *f)
{
	mapping_fini(&f->mapping);
}
