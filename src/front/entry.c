/*
 * Requests and answers in the memory of an io_uring entry.
 *
 * Rules
 * 1. What older requests and answers have left in the memory is never seen: a request ends where
 *    the kernel says, checked against the head and the payload; of an answer the kernel takes the
 *    payload_sz bytes that were written for it.
 * 2. Lengths are read once, then checked, then used.
 *
 * Locking: none; an entry belongs to its thread while it holds a request.
 */
#include "front/entry.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "mem/bad.h"

#define HEAD_ROOM 4096u   /* of the head, at the start of the mapping */

size_t entry_memory(size_t len)
{
	return HEAD_ROOM + ENTRY_LEAD + len;
}

int entry_init(struct entry *e, size_t len)
{
	size_t all = entry_memory(len);
	u8 *mem = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return -ENOMEM;
	/* A child process would get copies of what the kernel writes to. */
	madvise(mem, all, MADV_DONTFORK);
	e->head = (void *)mem;
	e->payload = mem + HEAD_ROOM + ENTRY_LEAD;
	e->len = len;
	return 0;
}

void entry_fini(struct entry *e)
{
	if (e->head)
		munmap(e->head, entry_memory(e->len));
	e->head = NULL;
}

const struct fuse_in_header *entry_request(struct entry *e)
{
	struct fuse_in_header in;
	size_t arg, data = e->head->ent.payload_sz;
	u8 *at;

	memcpy(&in, e->head->in_out, sizeof(in));
	if (data > e->len || in.len < sizeof(in) + data)
		return NULL;
	arg = in.len - sizeof(in) - data;
	if (arg > sizeof(e->head->op_in))
		return NULL;
	at = e->payload - arg - sizeof(in);
	memcpy(at, &in, sizeof(in));
	memcpy(at + sizeof(in), e->head->op_in, arg);
	return (const void *)at;
}

int entry_answer(struct entry *e, const struct iovec *iov, unsigned nr_iov, size_t len)
{
	u8 *at = e->payload;

	if (len > e->len + sizeof(struct fuse_out_header))
		return -EINVAL;
	memcpy(e->head->in_out, iov[0].iov_base, sizeof(struct fuse_out_header));
	for (unsigned i = 1; i < nr_iov; i++) {
		if (mem_copy(at, iov[i].iov_base, iov[i].iov_len))
			return -EIO;
		at += iov[i].iov_len;
	}
	e->head->ent.payload_sz = (u32)(at - e->payload);
	return 0;
}

void entry_answer_error(struct entry *e, int error)
{
	struct fuse_out_header out = { .len = sizeof(out), .error = error };
	struct fuse_in_header in;

	memcpy(&in, e->head->in_out, sizeof(in));
	out.unique = in.unique;
	memcpy(e->head->in_out, &out, sizeof(out));
	e->head->ent.payload_sz = 0;
}
