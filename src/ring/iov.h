#ifndef RING_IOV_H
#define RING_IOV_H

#include <sys/uio.h>

#include "base/types.h"

/*
 * A place in a list of memory segments.
 *
 * One request may need several system requests: it is longer than the limit, has more segments than
 * the kernel takes, or came back short. The cursor cuts the next piece out of the caller's list
 * without changing or copying the list: a piece is either a run of whole segments (a pointer into
 * the list) or a part of one segment (described in `part`).
 */
struct iov_cursor {
	const struct iovec *iov;
	unsigned nr;            /* segments in the list */
	unsigned seg;           /* first segment that is not finished */
	size_t skip;            /* bytes of it that are finished */
	struct iovec part;
};

void iov_cursor_init(struct iov_cursor *c, const struct iovec *iov, unsigned nr);

/* The next piece of at most `max` bytes and `max_seg` segments; returns its bytes, 0 at the end. */
size_t iov_cursor_piece(struct iov_cursor *c, size_t max, unsigned max_seg,
			const struct iovec **out, unsigned *nr);

/* Moves on by `bytes`, which may end anywhere in the last piece. */
void iov_cursor_advance(struct iov_cursor *c, size_t bytes);

/* Bytes in a list. */
size_t iov_bytes(const struct iovec *iov, unsigned nr);

/* Copies between `flat` and the whole list. */
void iov_gather(void *flat, const struct iovec *iov, unsigned nr);
void iov_scatter(const struct iovec *iov, unsigned nr, const void *flat);

#endif
