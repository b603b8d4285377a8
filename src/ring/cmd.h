/*
 * A ring for the commands of a driver: IORING_OP_URING_CMD in entries of 128 bytes. It belongs to
 * one thread, which has one command under way at a time and sleeps until that has its result.
 */
#ifndef RING_CMD_H
#define RING_CMD_H

#include <sys/uio.h>

#include "base/types.h"

struct ring_cmd;

/* What the driver finds in the entry. */
#define RING_CMD_DATA 80u
struct ring_cmd_args {
	int fd;
	u32 op;
	const struct iovec *iov;        /* as the driver's op wants it, or NULL */
	unsigned nr_iov;
	u8 data[RING_CMD_DATA];
};

/*
 * In the thread that will use it. -ENOSYS: there is no io_uring here (old, forbidden, switched
 * off); -EINVAL: none with entries of this size; -ENOMEM: locked memory or memory is short.
 */
int ring_cmd_new(struct ring_cmd **out);
/* Also with a command under way: the driver is told to give it up. */
void ring_cmd_free(struct ring_cmd *r);

/*
 * Sends a command, waits for its result and returns it. -EINTR: a signal came first; the command
 * goes on, and ring_cmd_wait() waits for it again.
 */
int ring_cmd_run(struct ring_cmd *r, const struct ring_cmd_args *args);
int ring_cmd_wait(struct ring_cmd *r);

#endif
