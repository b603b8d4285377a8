/*
 * io_uring: rings of threads, and how one request becomes pieces and a result.
 *
 * A request is sent piece by piece, one at a time: a piece is at most RING_MAX_PIECE bytes, and
 * the next one starts where the completion of the last says, so long requests and short transfers
 * are the same code.
 *
 * Invariants:
 * 1. in_flight counts pieces in the submission queue or in the kernel, one per request, and is at
 *    most depth = entries of the submission queue. So getting a queue entry never fails and the
 *    completion queue never overflows.
 * 2. Requests in `waiting` exist only while in_flight == depth.
 * 3. A completion is taken out of the queue before done() runs, one at a time, so done() may
 *    itself queue and reap, and an inner reap can reach every outstanding completion.
 * 4. After done() was called the request is not touched.
 *
 * Locking: a local ring belongs to its thread. The shared ring (shared.c) calls the same functions
 * under its mutex.
 */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/err.h"
#include "base/lock.h"
#include "ring/ring_priv.h"

/* Since Linux 6.15; not in the headers of liburing 2.3. */
#define OP_READV_FIXED 60
#define OP_WRITEV_FIXED 61

/* How a piece was sent. */
enum { HOW_PLAIN, HOW_FIXED, HOW_FIXED_VECTOR, HOW_FORCED_PLAIN };

/* A device that answers EAGAIN for ever is broken; its requests fail in the end. */
#define MAX_RETRIES 100

/* -------------------------------------------------------------------- set-up */

/* The set-ups to try, best first: each line is refused by some older kernel. */
static const unsigned setups[] = {
	IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
	IORING_SETUP_SUBMIT_ALL,
	0,
};

static int init_queues(struct ring *r, unsigned depth, bool local, bool plain)
{
	int err = -EINVAL;

	for (unsigned i = local && !plain ? 0 : 1; i < ARRAY_LEN(setups) && err == -EINVAL; i++) {
		struct io_uring_params p = { .flags = setups[i] };

		err = io_uring_queue_init_params(depth, &r->u, &p);
		r->defer_taskrun = setups[i] & IORING_SETUP_DEFER_TASKRUN;
	}
	return err;
}

static bool probe_vector(struct ring *r, bool wanted)
{
	struct io_uring_probe *probe;
	bool has;

	if (!wanted || !ring_feature_ok(RING_F_VECTOR))
		return false;
	probe = io_uring_get_probe_ring(&r->u);
	has = probe && io_uring_opcode_supported(probe, OP_READV_FIXED) &&
	      io_uring_opcode_supported(probe, OP_WRITEV_FIXED);
	io_uring_free_probe(probe);
	if (!has)
		ring_feature_lost(RING_F_VECTOR, -EOPNOTSUPP);
	return has;
}

int ring_setup(struct ring *r, unsigned depth, bool local)
{
	struct ring_opts o;
	int err;

	ring_opts_get(&o);
	if (o.off || !ring_feature_ok(RING_F_RING))
		return -ENOSYS;
	memset(r, 0, sizeof(*r));
	err = init_queues(r, depth, local, o.plain_setup);
	if (err == -ENOSYS || err == -EPERM || err == -EACCES) {
		ring_feature_lost(RING_F_RING, err);
		return -ENOSYS;
	}
	if (err)
		return err;
	r->opts = o;
	r->depth = depth;
	STAILQ_INIT(&r->waiting);
	STAILQ_INIT(&r->settled);
	r->has_vector = probe_vector(r, !o.no_vector);
	/* Saves a look-up of the ring's descriptor per call; not having it costs nothing else. */
	if (local)
		io_uring_register_ring_fd(&r->u);
	ring_count(RING_RINGS);
	return 0;
}

void ring_teardown(struct ring *r)
{
	ASSERT(r->in_flight == 0 && r->nr_waiting == 0);
	io_uring_queue_exit(&r->u);
	ring_reg_fini(r);
}

/* -------------------------------------------------------------------- pieces */

/* How the piece can be sent, and in which registered buffer it lies. */
static u8 choose_how(struct ring *r, const struct ring_req *req, const struct iovec *iov,
		     unsigned nr, int *buffer)
{
	if (req->how == HOW_FORCED_PLAIN)
		return HOW_FORCED_PLAIN;
	*buffer = ring_reg_buffer(r, iov[0].iov_base, iov[0].iov_len);
	if (*buffer < 0)
		return HOW_PLAIN;
	if (nr == 1)
		return HOW_FIXED;
	if (!r->has_vector || !ring_feature_ok(RING_F_VECTOR))
		return HOW_PLAIN;
	for (unsigned i = 1; i < nr; i++)
		if (ring_reg_chunk_of(iov[i].iov_base, iov[i].iov_len) != *buffer)
			return HOW_PLAIN;
	return HOW_FIXED_VECTOR;
}

static void count_how(u8 how)
{
	ring_count(how == HOW_FIXED	   ? RING_FIXED
		   : how == HOW_FIXED_VECTOR ? RING_FIXED_VECTOR
					     : RING_PLAIN);
}

static void prep_transfer(struct ring *r, struct ring_req *req, struct io_uring_sqe *sqe, int fd)
{
	bool read = req->op == RING_READ;
	u64 off = req->off + req->transferred;
	const struct iovec *iov = NULL;
	unsigned nr = 0;
	int buffer = -1;

	req->piece = (u32)iov_cursor_piece(&req->cur, RING_MAX_PIECE, RING_MAX_SEGMENTS, &iov, &nr);
	ASSERT(req->piece);
	req->how = choose_how(r, req, iov, nr, &buffer);
	if (req->how == HOW_FIXED)
		io_uring_prep_rw(read ? IORING_OP_READ_FIXED : IORING_OP_WRITE_FIXED, sqe, fd,
				 iov->iov_base, (unsigned)iov->iov_len, off);
	else if (req->how == HOW_FIXED_VECTOR)
		io_uring_prep_rw(read ? OP_READV_FIXED : OP_WRITEV_FIXED, sqe, fd, iov, nr, off);
	else if (nr == 1)
		io_uring_prep_rw(read ? IORING_OP_READ : IORING_OP_WRITE, sqe, fd, iov->iov_base,
				 (unsigned)iov->iov_len, off);
	else
		io_uring_prep_rw(read ? IORING_OP_READV : IORING_OP_WRITEV, sqe, fd, iov, nr, off);
	if (buffer >= 0)
		sqe->buf_index = (u16)buffer;
	if (req->durable)
		sqe->rw_flags = RWF_DSYNC;
	count_how(req->how);
}

/* Puts the next piece of a request that has a slot into the submission queue. */
static void send_piece(struct ring *r, struct ring_req *req)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->u);
	int fd;
	bool fixed_file = ring_reg_file(r, req->file, &fd);

	ASSERT(sqe);
	switch (req->op) {
	case RING_READ:
	case RING_WRITE:
		prep_transfer(r, req, sqe, fd);
		break;
	case RING_DATASYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case RING_FALLOCATE:
		io_uring_prep_fallocate(sqe, fd, req->mode, (off_t)req->off, (off_t)req->len);
		break;
	}
	if (fixed_file)
		sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, req);
	/* Pairs with the load in ring_absorb(): the request may come back in another thread. */
	atomic_store_explicit(&req->phase, 1, memory_order_release);
}

void ring_req_start(struct ring_req *req)
{
	iov_cursor_init(&req->cur, req->iov, req->nr_iov);
	req->transferred = 0;
	req->piece = 0;
	req->how = HOW_PLAIN;
	req->retries = 0;
	req->res = 0;
}

void ring_send(struct ring *r, struct ring_req *req)
{
	if (r->in_flight == r->depth) {
		STAILQ_INSERT_TAIL(&r->waiting, req, link);
		r->nr_waiting++;
		return;
	}
	r->in_flight++;
	send_piece(r, req);
}

/* A request left the ring: its slot goes to the one that waits longest. */
void ring_slot_freed(struct ring *r)
{
	struct ring_req *next = STAILQ_FIRST(&r->waiting);

	r->in_flight--;
	if (!next)
		return;
	STAILQ_REMOVE_HEAD(&r->waiting, link);
	r->nr_waiting--;
	r->in_flight++;
	send_piece(r, next);
}

/* --------------------------------------------------------------- completions */

static bool is_transfer(const struct ring_req *req)
{
	return req->op == RING_READ || req->op == RING_WRITE;
}

/* Whether an error is worth another try, maybe sent in another way. */
static bool try_again(struct ring *r, struct ring_req *req, s32 res)
{
	if ((res == -EINTR || res == -EAGAIN) && req->retries < MAX_RETRIES) {
		req->retries++;
		return true;
	}
	/*
	 * The memory may be unregistered, the operation unknown: these are no errors of the disk.
	 */
	if ((res == -EINVAL || res == -EOPNOTSUPP) && req->how == HOW_FIXED_VECTOR) {
		r->has_vector = false;
		req->how = HOW_FORCED_PLAIN;
		return true;
	}
	if (res == -EFAULT && (req->how == HOW_FIXED || req->how == HOW_FIXED_VECTOR)) {
		req->how = HOW_FORCED_PLAIN;
		return true;
	}
	return false;
}

/*
 * Takes the result of a piece. Returns true if the request is complete (req->res is set; the
 * caller gives its slot back and runs done()), false if its next piece is in the submission
 * queue.
 */
bool ring_absorb(struct ring *r, struct ring_req *req, s32 res)
{
	atomic_load_explicit(&req->phase, memory_order_acquire);
	if (res < 0 && try_again(r, req, res)) {
		send_piece(r, req);
		return false;
	}
	if (res < 0 || !is_transfer(req)) {
		req->res = res;
		return true;
	}
	req->transferred += (u32)res;
	req->res = (s64)req->transferred;
	if (res == 0) {
		if (req->op == RING_WRITE)
			req->res = -EIO;
		return true;
	}
	iov_cursor_advance(&req->cur, (u32)res);
	if (req->cur.seg == req->cur.nr)
		return true;
	ring_count(RING_CONTINUED);
	send_piece(r, req);
	return false;
}

void ring_finish(struct ring_req *req)
{
	req->done(req);
}

/* --------------------------------------------------------------- local rings */

static __thread struct ring *self;
static pthread_key_t self_key;
static pthread_once_t self_once = PTHREAD_ONCE_INIT;
static bool self_key_made;

static void free_self(void *arg)
{
	struct ring *r = arg;

	self = NULL;
	ring_teardown(r);
	free(r);
}

bool ring_req_registered(const struct ring_req *req)
{
	return req->how == HOW_FIXED || req->how == HOW_FIXED_VECTOR;
}

/* The child of a fork may not use its parent's ring: it gives back its copy and makes another. */
static void forget_self(void)
{
	if (!self)
		return;
	pthread_setspecific(self_key, NULL);
	io_uring_queue_exit(&self->u);
	ring_reg_fini(self);
	free(self);
	self = NULL;
}

static void make_key(void)
{
	pthread_atfork(NULL, NULL, forget_self);
	self_key_made = pthread_key_create(&self_key, free_self) == 0;
}

int ring_local(struct ring **out)
{
	struct ring_opts o;
	struct ring *r;
	int err;

	if (likely(self != NULL)) {
		*out = self;
		return 0;
	}
	pthread_once(&self_once, make_key);
	ring_opts_get(&o);
	if (!self_key_made || o.off)
		return -ENOSYS;
	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	err = ring_setup(r, RING_LOCAL_DEPTH, true);
	if (!err && pthread_setspecific(self_key, r)) {
		ring_teardown(r);
		err = -ENOMEM;
	}
	if (err) {
		free(r);
		return err;
	}
	*out = self = r;
	return 0;
}

/* An empty transfer has no piece to send; it completes here. */
static bool is_empty(const struct ring_req *req)
{
	return is_transfer(req) && req->cur.seg == req->cur.nr;
}

void ring_queue(struct ring *r, struct ring_req *req)
{
	ring_req_start(req);
	ASSERT(!is_empty(req));
	r->nr_early += req->early;
	ring_send(r, req);
}

static bool is_transient(int err)
{
	return err == -EINTR || err == -EAGAIN || err == -EBUSY || err == -ENOMEM;
}

void ring_submit(struct ring *r)
{
	int ret;

	if (!io_uring_sq_ready(&r->u))
		return;
	ring_count(RING_ENTERS);
	ret = io_uring_submit(&r->u);
	/* What could not be sent for now stays queued for the next ring_reap(). */
	ASSERT(ret >= 0 || is_transient(ret));
}

/* Sends, and waits for a completion unless there is one already. */
static void submit_and_wait(struct ring *r)
{
	int ret;

	if (io_uring_cq_ready(&r->u)) {
		ring_submit(r);
		return;
	}
	ring_count(RING_ENTERS);
	ret = io_uring_submit_and_wait(&r->u, 1);
	ASSERT(ret >= 0 || is_transient(ret));
}

/* The same as a sleep inside of what this thread does. What is early comes back here, too. */
static void sleep_for_some(struct ring *r)
{
	bool settling = r->settling;
	u64 began;

	r->settling = true;
	/*
	 * Who is told of the sleep may wake another thread, which takes as long as the device
	 * needs to begin. So what is to be waited for goes out before, at the price of one more
	 * call.
	 */
	if (block_is_told())
		ring_submit(r);
	began = block_begin();
	submit_and_wait(r);
	block_end(BLOCK_DISK, began);
	r->settling = settling;
}

static void submit_and_poll(struct ring *r)
{
	if (!r->defer_taskrun || !r->in_flight) {
		ring_submit(r);
		return;
	}
	ring_count(RING_ENTERS);
	io_uring_submit_and_get_events(&r->u);
}

static void finish_own(struct ring *r, struct ring_req *req)
{
	r->nr_early -= req->early;
	ring_finish(req);
}

/* The next request that is complete, or NULL: nothing more has come back. */
static struct ring_req *next_complete(struct ring *r)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&r->u, &cqe) == 0) {
		struct ring_req *req = io_uring_cqe_get_data(cqe);
		s32 res = cqe->res;

		io_uring_cqe_seen(&r->u, cqe);
		if (!req) {
			r->watching = false;
			r->readable = true;
			continue;
		}
		if (!ring_absorb(r, req, res))
			continue;
		ring_slot_freed(r);
		return req;
	}
	return NULL;
}

static unsigned finish_all(struct ring *r)
{
	struct ring_req *req;
	unsigned nr = 0;

	while ((req = next_complete(r))) {
		finish_own(r, req);
		nr++;
	}
	ring_submit(r);
	return nr;
}

static unsigned finish_settled(struct ring *r)
{
	struct ring_req *req;
	unsigned nr = 0;

	while ((req = STAILQ_FIRST(&r->settled))) {
		STAILQ_REMOVE_HEAD(&r->settled, link);
		finish_own(r, req);
		nr++;
	}
	return nr;
}

unsigned ring_reap(struct ring *r, bool wait)
{
	unsigned nr = finish_settled(r);

	if (!wait || nr || !r->in_flight)
		submit_and_poll(r);
	else if (io_uring_cq_ready(&r->u))
		ring_submit(r);
	else
		sleep_for_some(r);
	return nr + finish_all(r);
}

void ring_settle(void)
{
	struct ring *r = self;

	if (likely(!r || !r->nr_early || r->settling))
		return;
	r->settling = true;
	while (r->nr_early) {
		struct ring_req *req;

		submit_and_wait(r);
		while ((req = next_complete(r))) {
			if (req->early)
				finish_own(r, req);
			else
				STAILQ_INSERT_TAIL(&r->settled, req, link);
		}
	}
	r->settling = false;
	ring_submit(r);
}

/* Completions of the poll are told by having no request. */
static void watch(struct ring *r, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->u);

	if (!sqe) {
		ring_submit(r);
		sqe = io_uring_get_sqe(&r->u);
	}
	/* The kernel is short of memory and took nothing: it is tried again at the next call. */
	if (!sqe)
		return;
	io_uring_prep_poll_add(sqe, fd, POLLIN);
	io_uring_sqe_set_data(sqe, NULL);
	r->watching = true;
}

unsigned ring_reap_or_readable(struct ring *r, int fd, bool *readable, bool *slept)
{
	unsigned nr = finish_settled(r);

	if (!nr && !r->readable) {
		if (!r->watching)
			watch(r, fd);
		/* With a single request under way the answer is known, and costs no call. */
		if (r->in_flight != 1)
			submit_and_poll(r);
		if (!io_uring_cq_ready(&r->u)) {
			*slept = true;
			submit_and_wait(r);
		}
		nr = finish_all(r);
	}
	*readable = *readable || r->readable;
	r->readable = false;
	return nr;
}

unsigned ring_in_flight(const struct ring *r)
{
	return r->in_flight + r->nr_waiting;
}
