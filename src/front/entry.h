/*
 * The memory of one io_uring entry: a head and a payload that kernel and daemon share.
 *
 * The payload is preceded by a page of room in the same mapping. A request is put together right
 * before it, so that it lies in one piece, without its data being copied.
 */
#ifndef FOLIOFS_FRONT_ENTRY_H
#define FOLIOFS_FRONT_ENTRY_H

#include <sys/uio.h>

#include "front/proto.h"

#define ENTRY_LEAD 4096u

struct entry {
	struct proto_ring_head *head;
	u8 *payload;            /* len bytes, ENTRY_LEAD before it; page aligned */
	size_t len;
};

/* len: of the payload, whole pages. -ENOMEM. */
int entry_init(struct entry *e, size_t len);
void entry_fini(struct entry *e);
/*
 * The request in the entry: header and in.len - sizeof(header) bytes of arguments. NULL if the
 * lengths that the kernel gave don't add up.
 */
const struct fuse_in_header *entry_request(struct entry *e);
/* Puts an answer of len bytes in all, header first, into the entry. -EINVAL: too long. */
int entry_answer(struct entry *e, const struct iovec *iov, unsigned nr_iov, size_t len);
/* The same for one without payload, to the request in the entry. */
void entry_answer_error(struct entry *e, int error);
/* Bytes of one with such a payload. */
size_t entry_memory(size_t len);

#endif
