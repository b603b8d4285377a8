/*
 * Places in lists of memory segments.
 *
 * Invariants:
 * 1. The caller's list is never written.
 * 2. skip < iov[seg].iov_len, or seg == nr: segments of length 0 are stepped over.
 *
 * Locking: none; a cursor belongs to one request.
 */
#include "ring/iov.h"

#include <string.h>

#include "base/err.h"

static void step_over_empty(struct iov_cursor *c)
{
	while (c->seg < c->nr && c->skip == c->iov[c->seg].iov_len) {
		c->seg++;
		c->skip = 0;
	}
}

void iov_cursor_init(struct iov_cursor *c, const struct iovec *iov, unsigned nr)
{
	*c = (struct iov_cursor){ .iov = iov, .nr = nr };
	step_over_empty(c);
}

/* A part of the first segment: it was begun before, or is too long for one piece. */
static size_t part_piece(struct iov_cursor *c, size_t max)
{
	const struct iovec *first = &c->iov[c->seg];

	c->part.iov_base = (u8 *)first->iov_base + c->skip;
	c->part.iov_len = MIN_T(size_t, first->iov_len - c->skip, max);
	return c->part.iov_len;
}

size_t iov_cursor_piece(struct iov_cursor *c, size_t max, unsigned max_seg,
			const struct iovec **out, unsigned *nr)
{
	const struct iovec *first = &c->iov[c->seg];
	size_t bytes = 0;
	unsigned n = 0;

	if (c->seg == c->nr)
		return 0;
	if (c->skip || first->iov_len > max) {
		*out = &c->part;
		*nr = 1;
		return part_piece(c, max);
	}
	while (c->seg + n < c->nr && n < max_seg && bytes + first[n].iov_len <= max)
		bytes += first[n++].iov_len;
	*out = first;
	*nr = n;
	return bytes;
}

void iov_cursor_advance(struct iov_cursor *c, size_t bytes)
{
	while (bytes) {
		size_t left, n;

		ASSERT(c->seg < c->nr);
		left = c->iov[c->seg].iov_len - c->skip;
		n = MIN(left, bytes);
		c->skip += n;
		bytes -= n;
		step_over_empty(c);
	}
}

size_t iov_bytes(const struct iovec *iov, unsigned nr)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < nr; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

void iov_gather(void *flat, const struct iovec *iov, unsigned nr)
{
	u8 *to = flat;

	for (unsigned i = 0; i < nr; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
}

void iov_scatter(const struct iovec *iov, unsigned nr, const void *flat)
{
	const u8 *from = flat;

	for (unsigned i = 0; i < nr; i++) {
		memcpy(iov[i].iov_base, from, iov[i].iov_len);
		from += iov[i].iov_len;
	}
}
