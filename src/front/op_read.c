/*
 * READ.
 *
 * Rules
 * 1. It is answered straight from the folios: header and slices leave in one writev(), then the
 *    folios are put.
 * 2. A short answer means end of file to the kernel, so an error never shortens one that fills the
 *    kernel's pages.
 * 3. Where the transport allows it (rq->later), a read of what is not cached does not wait: the
 *    answer is sent when the disk has brought all of it, by the same thread, out of whatever it
 *    waits in then; what is left to do is done in the loop of the thread. If anything went wrong,
 *    that loop reads again in the waiting way, which finds out what to say.
 * 4. Once a read is answered, another thread may close the file. So it is not answered while its
 *    own handler still runs.
 *
 * Locking: none here; a struct req_later belongs to one thread.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/time.h"
#include "front/file.h"
#include "front/front.h"
#include "front/req.h"

/* Slices of the longest READ over the smallest folios, one more when it starts within a sector. */
#define READ_SLICES (PROTO_PAGES_TOP + 2u)

/* So many reads of one thread are under way; its ring takes twice as many requests. */
#define LATER_MAX 64u

struct read_answer {
	unsigned nr;
	u64 bytes;
	struct iomap_slice slices[READ_SLICES];
};

/* A read that is answered later: what is needed to answer it, or to do it again. */
struct read_job {
	struct req_later *later;
	struct fuse_in_header in;
	struct fuse_read_in arg;
	struct front *front;
	int (*send)(struct req *rq, const struct iovec *iov, unsigned nr_iov, size_t len);
	void *via;
	int fd;
	u64 start_ns;
	bool direct;
	bool sent;
};

/* What was not taken leaves nothing to undo. */
static void send_slices(struct req *rq, const struct iomap_slice *slices, unsigned nr)
{
	struct iovec iov[READ_SLICES + 1];      /* [0] is the header's */

	for (unsigned i = 0; i < nr; i++)
		iov[i + 1] = (struct iovec){
			.iov_base = (void *)(uintptr_t)slices[i].data,
			.iov_len = slices[i].len,
		};
	(void)req_send_iov(rq, iov, nr + 1);
}

/* The kernel keeps the bytes in its own page cache: what it has read to its end is not needed. */
static void demote_slices(const struct iomap_slice *slices, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		const u8 *end = (const u8 *)slices[i].data + slices[i].len;
		struct folio *f = slices[i].folio;

		if (f && end == (u8 *)folio_data(f) + folio_bytes(f))
			cache_demote(f);
	}
}

/* ---- later ---- */

void req_later_init(struct req_later *l)
{
	*l = (struct req_later){ 0 };
	STAILQ_INIT(&l->done);
}

static struct req job_request(struct read_job *j)
{
	return (struct req){ .front = j->front, .send = j->send, .via = j->via, .fd = j->fd,
			     .in = &j->in, .arg = &j->arg, .arg_len = sizeof(j->arg) };
}

static void job_answer(struct read_job *j, struct iomap_pending *p)
{
	struct req rq = job_request(j);
	u64 ready_ns = now_ns();

	send_slices(&rq, p->slices, p->nr);
	j->sent = true;
	req_count_later(&rq, j->start_ns, ready_ns - p->began_ns, ready_ns);
}

static void job_done(struct iomap_pending *p)
{
	struct read_job *j = p->own;

	if (p->good && j->later->serving != j->in.unique)
		job_answer(j, p);
	STAILQ_INSERT_TAIL(&j->later->done, p, link);
}

struct read_async {
	struct iomap_async async;
	const struct req *rq;
	const struct front_file *f;
};

static void job_save(const struct iomap_async *async, void *own)
{
	const struct read_async *a = container_of(async, struct read_async, async);
	const struct req *rq = a->rq;

	*(struct read_job *)own = (struct read_job){ .later = rq->later, .in = *rq->in,
		.arg = *(const struct fuse_read_in *)rq->arg, .front = rq->front, .send = rq->send,
		.via = rq->via, .fd = rq->fd, .start_ns = rq->start_ns, .direct = a->f->direct };
}

static void job_finish(struct read_job *j, struct iomap_pending *p, u8 *out)
{
	if (p->good && !j->sent)
		job_answer(j, p);
	if (!p->good) {
		struct req rq = job_request(j);

		rq.out = out;
		req_dispatch(&rq, j->start_ns);
	} else if (!j->direct) {
		demote_slices(p->slices, p->nr);
	}
	iomap_pending_free(p);
}

void req_later_finish(struct req_later *l, u8 *out)
{
	struct iomap_pending *p;

	while ((p = STAILQ_FIRST(&l->done))) {
		STAILQ_REMOVE_HEAD(&l->done, link);
		l->nr--;
		job_finish(p->own, p, out);
	}
}

/* ---- now ---- */

/* Gathers slices until len bytes, end of file or an error; -EINPROGRESS. */
static int gather(struct req *rq, struct front_file *f, u64 pos, u64 len, struct read_answer *ra)
{
	const struct read_async a = {
		.async = { job_done, job_save, sizeof(struct read_job) }, .rq = rq, .f = f };
	struct readahead *state = file_ra_get(f);
	bool may_wait = rq->later && rq->later->nr < LATER_MAX;
	int n = 1;

	while (ra->bytes < len && ra->nr < READ_SLICES && n > 0) {
		u64 got = 0;

		n = fs_read_slices(f->ip, pos + ra->bytes, len - ra->bytes, state,
				   may_wait && !ra->nr ? &a.async : NULL, ra->slices + ra->nr,
				   READ_SLICES - ra->nr, &got);
		if (n > 0) {
			ra->nr += (unsigned)n;
			ra->bytes += got;
		}
	}
	file_ra_put(f, state);
	return MIN(n, 0);
}

int op_read(struct req *rq)
{
	const struct fuse_read_in *in = req_arg(rq, sizeof(*in));
	struct read_answer ra;
	struct front_file *f;
	bool direct, good;
	int err;

	if (!in || in->offset > INT64_MAX)
		return -EINVAL;
	ra.nr = 0;
	ra.bytes = 0;
	f = file_of(in->fh);
	err = gather(rq, f, in->offset, MIN_T(u64, in->size, front_max_bytes(rq->front)), &ra);
	if (err == -EINPROGRESS) {
		rq->later->nr++;
		rq->answered_later = true;
		return 0;
	}
	/* Once it is answered, another thread may close the file. */
	direct = f->direct;
	good = err == 0 || (ra.bytes > 0 && direct);
	if (good)
		send_slices(rq, ra.slices, ra.nr);
	if (good && !direct)
		demote_slices(ra.slices, ra.nr);
	for (unsigned i = 0; i < ra.nr; i++)
		if (ra.slices[i].folio)
			folio_put(ra.slices[i].folio);
	return good ? 0 : err;
}
