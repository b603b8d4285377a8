/*
 * Rings for driver commands.
 *
 * Rules
 * 1. One command at a time: the queue has room for it always, and its completion is the only one.
 * 2. One system call for each command: it sends this one and waits for the result.
 * 3. The owner alone touches the ring, so the kernel is told so (SINGLE_ISSUER, DEFER_TASKRUN): the
 *    driver's part that must run in the owner's context then runs inside that one system call.
 *
 * Locking: none.
 */
#include "ring/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/err.h"
#include "ring/ring_priv.h"

#define CMD_ENTRIES 2u

struct ring_cmd {
	struct io_uring u;
};

/* Best first; each line is refused by some older kernel. */
static const unsigned setups[] = {
	IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	IORING_SETUP_SQE128 | IORING_SETUP_COOP_TASKRUN,
	IORING_SETUP_SQE128,
};

int ring_cmd_new(struct ring_cmd **out)
{
	struct ring_opts o;
	struct ring_cmd *r;
	int err = -EINVAL;

	ring_opts_get(&o);
	if (o.off)
		return -ENOSYS;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	for (unsigned i = o.plain_setup ? 2 : 0; i < ARRAY_LEN(setups) && err == -EINVAL; i++)
		err = io_uring_queue_init(CMD_ENTRIES, &r->u, setups[i]);
	if (err) {
		free(r);
		return err == -EPERM || err == -EACCES ? -ENOSYS : err;
	}
	/* Saves a look-up of the descriptor per call; not having it costs nothing else. */
	io_uring_register_ring_fd(&r->u);
	ring_count(RING_RINGS);
	*out = r;
	return 0;
}

void ring_cmd_free(struct ring_cmd *r)
{
	if (!r)
		return;
	io_uring_queue_exit(&r->u);
	free(r);
}

/* The result if it is there, else -EINTR. */
static int take_result(struct ring_cmd *r)
{
	struct io_uring_cqe *cqe;
	int res;

	if (io_uring_peek_cqe(&r->u, &cqe))
		return -EINTR;
	res = cqe->res;
	io_uring_cqe_seen(&r->u, cqe);
	return res;
}

int ring_cmd_wait(struct ring_cmd *r)
{
	block_announce();
	ring_count(RING_ENTERS);
	/* Whatever ended the wait, the result is there or it is not. */
	io_uring_submit_and_wait(&r->u, 1);
	return take_result(r);
}

int ring_cmd_run(struct ring_cmd *r, const struct ring_cmd_args *args)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->u);

	ASSERT(sqe);
	memset(sqe, 0, 2 * sizeof(*sqe));
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, args->fd, args->iov, args->nr_iov, 0);
	sqe->cmd_op = args->op;
	memcpy(sqe->cmd, args->data, RING_CMD_DATA);
	return ring_cmd_wait(r);
}
