/*
 * Transfers on every backend: content, pipelines, errors, alignment, faults. Method: each test
 * loops over the backends (loop index = enum t_backend); content is compared with a model in
 * memory.
 */
#include "blk_test.h"

#include <semaphore.h>

#include "base/err.h"
#include "stat/stat.h"

static struct blk_dev *dev;

START_TEST(what_is_written_is_read_back)
{
	u8 *w = t_buf(16), *r = t_buf(16);

	dev = t_open(_i);
	t_fill(w, 16 * SECTOR_SIZE, 1);
	ck_assert_int_eq(blk_write(dev, 100, w, 16, BLK_DATA), 0);
	ck_assert_int_eq(blk_read(dev, 100, r, 16, BLK_DATA), 0);
	ck_assert_mem_eq(w, r, 16 * SECTOR_SIZE);
	blk_close(dev);
	free(w);
	free(r);
}
END_TEST

START_TEST(a_new_device_reads_as_zero)
{
	u8 *r = t_buf(8), *zeroes = t_buf(8);

	dev = t_open(_i);
	memset(r, 1, 8 * SECTOR_SIZE);
	ck_assert_int_eq(blk_read(dev, T_SECTORS - 8, r, 8, BLK_DATA), 0);
	ck_assert_mem_eq(r, zeroes, 8 * SECTOR_SIZE);
	blk_close(dev);
	free(zeroes);
	free(r);
}
END_TEST

START_TEST(long_transfers_are_split_and_whole)
{
	u32 nr = 5 * BLK_MAX_IO_SECTORS + 77;
	u8 *w = t_buf(nr), *r = t_buf(nr);

	dev = t_open(_i);
	t_fill(w, (size_t)nr * SECTOR_SIZE, 2);
	ck_assert_int_eq(blk_write(dev, 3, w, nr, BLK_DATA), 0);
	ck_assert_int_eq(blk_read(dev, 3, r, nr, BLK_DATA), 0);
	ck_assert_int_eq(memcmp(w, r, (size_t)nr * SECTOR_SIZE), 0);
	blk_close(dev);
	free(w);
	free(r);
}
END_TEST

START_TEST(buffers_of_any_alignment_work)
{
	u32 nr = BLK_MAX_IO_SECTORS + 3;
	u8 *w = t_buf(nr + 1), *r = t_buf(nr + 1);

	dev = t_open(_i);
	t_fill(w, (size_t)nr * SECTOR_SIZE, 3);
	ck_assert_int_eq(blk_write(dev, 9, w + 1, nr, BLK_DATA), 0);
	ck_assert_int_eq(blk_read(dev, 9, r + 3, nr, BLK_DATA), 0);
	ck_assert_int_eq(memcmp(w + 1, r + 3, (size_t)nr * SECTOR_SIZE), 0);
	blk_close(dev);
	free(w);
	free(r);
}
END_TEST

START_TEST(lists_of_segments_are_one_range_on_disk)
{
	u8 *w = t_buf(4), *r = t_buf(4);
	struct iovec iov[3] = { { w + 3 * SECTOR_SIZE, SECTOR_SIZE }, { w, 512 },
				{ w + SECTOR_SIZE, SECTOR_SIZE - 512 } };

	dev = t_open(_i);
	t_fill(w, 4 * SECTOR_SIZE, 4);
	ck_assert_int_eq(blk_writev(dev, 50, iov, 3, BLK_META), 0);
	ck_assert_int_eq(blk_read(dev, 50, r, 2, BLK_META), 0);
	ck_assert_mem_eq(r, w + 3 * SECTOR_SIZE, SECTOR_SIZE);
	ck_assert_mem_eq(r + SECTOR_SIZE, w, 512);
	ck_assert_mem_eq(r + SECTOR_SIZE + 512, w + SECTOR_SIZE, SECTOR_SIZE - 512);
	memset(w, 0, 4 * SECTOR_SIZE);
	ck_assert_int_eq(blk_readv(dev, 50, iov, 3, BLK_META), 0);
	ck_assert_mem_eq(r, w + 3 * SECTOR_SIZE, SECTOR_SIZE);
	ck_assert_mem_eq(r + SECTOR_SIZE, w, 512);
	blk_close(dev);
	free(w);
	free(r);
}
END_TEST

START_TEST(past_the_end_is_refused_whole)
{
	u8 *buf = t_buf(4), *r = t_buf(1);

	dev = t_open(_i);
	memset(buf, 5, 4 * SECTOR_SIZE);
	ck_assert_int_eq(blk_write(dev, T_SECTORS - 2, buf, 4, BLK_DATA), -ERANGE);
	ck_assert_int_eq(blk_read(dev, T_SECTORS, buf, 1, BLK_DATA), -ERANGE);
	ck_assert_int_eq(blk_read(dev, UINT64_MAX, buf, 1, BLK_DATA), -ERANGE);
	ck_assert_int_eq(blk_discard(dev, T_SECTORS - 1, 2), -ERANGE);
	ck_assert_int_eq(blk_zero(dev, 1, UINT64_MAX, BLK_DATA), -ERANGE);
	ck_assert_int_eq(blk_read(dev, T_SECTORS - 2, r, 1, BLK_DATA), 0);
	ck_assert_uint_eq(r[0], 0);
	blk_close(dev);
	free(buf);
	free(r);
}
END_TEST

/* ------------------------------------------------------------------ batches */

#define NR_IO 1000u
#define IO_MAX 8u

struct job {
	struct blk_io io;
	struct iovec iov[2];
	u8 *buf;
	unsigned *left;
	int expect;
};

static void job_done(struct blk_io *io)
{
	struct job *j = io->arg;

	ck_assert_int_eq(io->res, j->expect);
	--*j->left;
}

static void prepare_job(struct job *j, u64 sector, u32 nr, enum blk_op op)
{
	size_t bytes = (size_t)nr * SECTOR_SIZE, cut = nr / 2 * SECTOR_SIZE;

	j->iov[0] = (struct iovec){ j->buf, cut ? cut : bytes };
	j->iov[1] = (struct iovec){ j->buf + cut, bytes - cut };
	j->io = (struct blk_io){ .op = op, .kind = BLK_DATA, .sector = sector, .nr = nr,
				 .iov = j->iov, .nr_iov = cut ? 2 : 1, .done = job_done,
				 .arg = j };
}

/* Writes in one batch do not overlap (their order would be open): each has a region of its own. */
START_TEST(a_batch_of_1000_random_requests_equals_the_model)
{
	struct job *jobs = calloc(NR_IO, sizeof(*jobs));
	u8 *model = t_buf(T_SECTORS), *all = t_buf(T_SECTORS);
	unsigned left = 0;
	u64 rnd = 77;
	struct blk_batch b;

	dev = t_open(_i);
	for (unsigned i = 0; i < NR_IO; i++) {
		jobs[i].buf = t_buf(IO_MAX);
		jobs[i].left = &left;
	}
	for (unsigned round = 0; round < 4; round++) {
		blk_batch_init(&b, dev);
		for (unsigned i = 0; i < NR_IO; i++) {
			u64 region = (u64)i * T_SECTORS / NR_IO;
			u32 room = (u32)((i + 1ull) * T_SECTORS / NR_IO - region);
			u32 nr = 1 + (u32)(t_random(&rnd) % room);

			t_fill(jobs[i].buf, nr * (size_t)SECTOR_SIZE, t_random(&rnd));
			memcpy(model + region * SECTOR_SIZE, jobs[i].buf, nr * (size_t)SECTOR_SIZE);
			prepare_job(&jobs[i], region, nr, BLK_WRITE);
			left++;
			blk_batch_add(&b, &jobs[i].io);
			ck_assert_uint_le(b.in_flight, BLK_MAX_IN_FLIGHT);
		}
		ck_assert_int_eq(blk_batch_fini(&b), 0);
		ck_assert_uint_eq(left, 0);
	}
	blk_batch_init(&b, dev);
	for (unsigned i = 0; i < NR_IO; i++) {
		u64 sector = t_random(&rnd) % (T_SECTORS - IO_MAX);

		prepare_job(&jobs[i], sector, 1 + (u32)(t_random(&rnd) % IO_MAX), BLK_READ);
		left++;
		blk_batch_add(&b, &jobs[i].io);
	}
	blk_batch_wait(&b, 10);
	ck_assert_uint_le(b.in_flight, 10);
	ck_assert_int_eq(blk_batch_fini(&b), 0);
	for (unsigned i = 0; i < NR_IO; i++)
		ck_assert_int_eq(memcmp(jobs[i].buf, model + jobs[i].io.sector * SECTOR_SIZE,
					jobs[i].io.nr * (size_t)SECTOR_SIZE), 0);
	ck_assert_int_eq(blk_read(dev, 0, all, T_SECTORS, BLK_DATA), 0);
	ck_assert_int_eq(memcmp(all, model, (size_t)T_SECTORS * SECTOR_SIZE), 0);
	blk_close(dev);
	for (unsigned i = 0; i < NR_IO; i++)
		free(jobs[i].buf);
	free(jobs);
	free(model);
	free(all);
}
END_TEST

struct nested {
	struct blk_io io;
	struct iovec iov;
	struct blk_batch *b;
	u8 *other;
	unsigned left, inner;
};

static void nested_done(struct blk_io *io)
{
	struct nested *n = io->arg;

	ck_assert_int_eq(io->res, 0);
	if (!n->left--)
		return;
	ck_assert_int_eq(blk_read(dev, 0, n->other, 1, BLK_DATA), 0);
	n->inner++;
	blk_batch_add(n->b, io);
}

START_TEST(done_may_add_to_the_batch_and_do_synchronous_io)
{
	struct nested n = { .left = 30, .other = t_buf(1) };
	struct blk_batch b;
	u8 *buf = t_buf(1);

	dev = t_open(_i);
	blk_batch_init(&b, dev);
	n.b = &b;
	n.iov = (struct iovec){ buf, SECTOR_SIZE };
	n.io = (struct blk_io){ .op = BLK_WRITE, .sector = 7, .nr = 1, .iov = &n.iov,
				.nr_iov = 1, .done = nested_done, .arg = &n };
	blk_batch_add(&b, &n.io);
	ck_assert_int_eq(blk_batch_fini(&b), 0);
	ck_assert_uint_eq(n.inner, 30);
	blk_close(dev);
	free(buf);
	free(n.other);
}
END_TEST

static int fail_sector_40(void *arg, const struct blk_fault *f)
{
	(void)arg;
	return f->sector <= 40 && 40 < f->sector + f->nr ? -EIO : 0;
}

START_TEST(an_error_reaches_only_its_own_request)
{
	struct job jobs[20] = { 0 };
	unsigned left = 20;
	struct blk_batch b;
	u8 *r = t_buf(1);

	dev = t_open(_i);
	blk_fault_set(dev, fail_sector_40, NULL);
	blk_batch_init(&b, dev);
	for (unsigned i = 0; i < 20; i++) {
		jobs[i].buf = t_buf(1);
		jobs[i].left = &left;
		jobs[i].expect = i == 10 ? -EIO : 0;
		memset(jobs[i].buf, (int)i + 1, SECTOR_SIZE);
		prepare_job(&jobs[i], 30 + i, 1, BLK_WRITE);
		blk_batch_add(&b, &jobs[i].io);
	}
	ck_assert_int_eq(blk_batch_fini(&b), -EIO);
	ck_assert_uint_eq(left, 0);
	blk_fault_set(dev, NULL, NULL);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_int_eq(blk_read(dev, 30 + i, r, 1, BLK_DATA), 0);
		ck_assert_uint_eq(r[0], i == 10 ? 0 : i + 1);
		free(jobs[i].buf);
	}
	blk_close(dev);
	free(r);
}
END_TEST

static void async_done(struct blk_io *io)
{
	sem_post(io->arg);
}

START_TEST(asynchronous_requests_complete)
{
	enum { NR = 300 };
	static struct blk_io io[NR];
	static struct iovec iov[NR];
	u8 *w = t_buf(NR), *r = t_buf(NR);
	sem_t done;

	sem_init(&done, 0, 0);
	dev = t_open(_i);
	t_fill(w, NR * SECTOR_SIZE, 6);
	for (unsigned i = 0; i < NR; i++) {
		iov[i] = (struct iovec){ w + i * SECTOR_SIZE, SECTOR_SIZE };
		io[i] = (struct blk_io){ .op = BLK_WRITE, .sector = i, .nr = 1, .iov = &iov[i],
					 .nr_iov = 1, .done = async_done, .arg = &done };
		blk_submit_async(dev, &io[i]);
	}
	for (unsigned i = 0; i < NR; i++)
		while (sem_wait(&done))
			;
	for (unsigned i = 0; i < NR; i++)
		ck_assert_int_eq(io[i].res, 0);
	ck_assert_int_eq(blk_read(dev, 0, r, NR, BLK_DATA), 0);
	ck_assert_mem_eq(w, r, NR * SECTOR_SIZE);
	ring_shutdown();
	blk_close(dev);
	free(w);
	free(r);
}
END_TEST

static int refuse_three(void *arg UNUSED, const struct blk_fault *f)
{
	return f->sector == 3 ? -EIO : 0;
}

START_TEST(what_is_refused_of_a_list_ends_alone)
{
	enum { NR = 8 };
	static struct blk_io io[NR], *list[NR];
	struct iovec iov[NR];
	u8 *r = t_buf(NR);
	sem_t done;

	sem_init(&done, 0, 0);
	dev = t_open(_i);
	blk_fault_set(dev, refuse_three, NULL);
	for (unsigned i = 0; i < NR; i++) {
		iov[i] = (struct iovec){ r + i * SECTOR_SIZE, SECTOR_SIZE };
		io[i] = (struct blk_io){ .op = BLK_READ, .sector = i, .nr = 1, .iov = &iov[i],
					 .nr_iov = 1, .done = async_done, .arg = &done };
		list[i] = &io[i];
	}
	blk_submit_async_list(dev, list, NR);
	for (unsigned i = 0; i < NR; i++)
		while (sem_wait(&done))
			;
	for (unsigned i = 0; i < NR; i++)
		ck_assert_int_eq(io[i].res, i == 3 ? -EIO : 0);
	ring_shutdown();
	blk_close(dev);
	free(r);
}
END_TEST

/* ------------------------------------------------------------------- others */

START_TEST(zeroed_ranges_read_as_zero_and_the_rest_stays)
{
	u8 *w = t_buf(64), *r = t_buf(64);

	dev = t_open(_i);
	memset(w, 3, 64 * SECTOR_SIZE);
	ck_assert_int_eq(blk_write(dev, 0, w, 64, BLK_DATA), 0);
	ck_assert_int_eq(blk_zero(dev, 10, 20, BLK_META), 0);
	ck_assert_int_eq(blk_read(dev, 0, r, 64, BLK_DATA), 0);
	memset(w + 10 * SECTOR_SIZE, 0, 20 * SECTOR_SIZE);
	ck_assert_mem_eq(w, r, 64 * SECTOR_SIZE);
	blk_close(dev);
	free(w);
	free(r);
}
END_TEST

START_TEST(discard_leaves_the_neighbours)
{
	u8 *w = t_buf(3), *r = t_buf(3);
	int err;

	dev = t_open(_i);
	t_fill(w, 3 * SECTOR_SIZE, 8);
	ck_assert_int_eq(blk_write(dev, 0, w, 3, BLK_DATA), 0);
	err = blk_discard(dev, 1, 1);
	ck_assert(err == 0 || err == -EOPNOTSUPP);
	ck_assert_int_eq(blk_read(dev, 0, r, 3, BLK_DATA), 0);
	ck_assert_mem_eq(w, r, SECTOR_SIZE);
	ck_assert_mem_eq(w + 2 * SECTOR_SIZE, r + 2 * SECTOR_SIZE, SECTOR_SIZE);
	blk_close(dev);
	free(w);
	free(r);
}
END_TEST

START_TEST(preallocation_keeps_content)
{
	u8 *w = t_buf(1), *r = t_buf(1);

	dev = t_open(_i);
	t_fill(w, SECTOR_SIZE, 8);
	ck_assert_int_eq(blk_write(dev, 5, w, 1, BLK_DATA), 0);
	ck_assert_int_eq(blk_prealloc(dev, 0, 100), 0);
	ck_assert_int_eq(blk_read(dev, 5, r, 1, BLK_DATA), 0);
	ck_assert_mem_eq(w, r, SECTOR_SIZE);
	blk_close(dev);
	free(w);
	free(r);
}
END_TEST

START_TEST(bytes_and_requests_are_counted_by_kind)
{
	u8 *buf = t_buf(8);
	u64 bytes = stat_read(STAT_WRITE_BYTES_LOG), ios = stat_read(STAT_WRITE_IOS_LOG);
	u64 meta = stat_read(STAT_READ_BYTES_META), flushes = stat_read(STAT_FLUSHES);

	dev = t_open(_i);
	ck_assert_int_eq(blk_write(dev, 0, buf, 8, BLK_LOG), 0);
	ck_assert_int_eq(blk_read(dev, 0, buf, 4, BLK_META), 0);
	ck_assert_int_eq(blk_flush(dev), 0);
	ck_assert_uint_eq(stat_read(STAT_WRITE_BYTES_LOG) - bytes, 8 * SECTOR_SIZE);
	ck_assert_uint_eq(stat_read(STAT_WRITE_IOS_LOG) - ios, 1);
	ck_assert_uint_eq(stat_read(STAT_READ_BYTES_META) - meta, 4 * SECTOR_SIZE);
	ck_assert_uint_eq(stat_read(STAT_FLUSHES) - flushes, 1);
	blk_close(dev);
	free(buf);
}
END_TEST

static int no_flush(void *arg UNUSED, const struct blk_fault *f)
{
	return f->op == BLK_FAULT_FLUSH ? -EIO : 0;
}

/* What the kernel makes of it can't be seen here, but that it takes it, and no flush of ours. */
START_TEST(a_durable_write_goes_to_a_file_by_either_way_without_a_flush)
{
	struct blk_opts opts = { .fua = BLK_FUA_ON, .size = 1u << 20, .sync = _i };
	u64 durable = stat_read(STAT_DURABLE_WRITES);
	u8 *w = t_buf(8), *r = t_buf(8);
	char path[] = "durable.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(blk_open(path, BLK_RDWR | BLK_CREATE | BLK_TRUNCATE, &opts, &dev), 0);
	unlink(path);
	ck_assert(blk_has_fua(dev));
	blk_fault_set(dev, no_flush, NULL);
	t_fill(w, 8 * SECTOR_SIZE, 3);
	ck_assert_int_eq(blk_write_durable(dev, 5, w, 8, BLK_LOG), 0);
	ck_assert_int_eq(blk_read(dev, 5, r, 8, BLK_LOG), 0);
	ck_assert_mem_eq(w, r, 8 * SECTOR_SIZE);
	ck_assert_uint_eq(stat_read(STAT_DURABLE_WRITES) - durable, 1);
	blk_close(dev);
	free(w);
	free(r);
}
END_TEST

START_TEST(a_write_goes_alone_if_the_device_has_fua_and_nothing_else_waits_for_a_flush)
{
	struct sim_opts opts = { .sectors = 64, .fua = true };
	u8 *w = t_buf(1);

	ck_assert_int_eq(sim_open(&opts, &dev), 0);
	ck_assert(blk_goes_alone(dev));
	ck_assert_int_eq(blk_write_durable(dev, 5, w, 1, BLK_LOG), 0);
	ck_assert(blk_goes_alone(dev));
	ck_assert_int_eq(blk_write(dev, 6, w, 1, BLK_DATA), 0);
	ck_assert(!blk_goes_alone(dev));
	ck_assert_int_eq(blk_flush(dev), 0);
	ck_assert(blk_goes_alone(dev));
	ck_assert_int_eq(blk_zero(dev, 6, 2, BLK_DATA), 0);
	ck_assert(!blk_goes_alone(dev));
	blk_close(dev);
	opts.fua = false;
	ck_assert_int_eq(sim_open(&opts, &dev), 0);
	ck_assert(!blk_goes_alone(dev));
	blk_close(dev);
	free(w);
}
END_TEST

static int refuse_as_asked(void *arg, const struct blk_fault *f)
{
	(void)f;
	return *(const int *)arg;
}

/* A medium that fails has many words for it. */
START_TEST(errors_of_a_device_are_few)
{
	static const struct { int kernel, seen; } errors[] = {
		{ -EIO, -EIO }, { -ENODATA, -EIO }, { -EILSEQ, -EIO }, { -ETIMEDOUT, -EIO },
		{ -EREMOTEIO, -EIO }, { -ENOSPC, -ENOSPC }, { -EDQUOT, -ENOSPC },
		{ -ENOMEM, -ENOMEM }, { -EROFS, -EROFS },
	};
	u8 *buf = t_buf(1);
	int error;

	dev = t_open(_i);
	blk_fault_set(dev, refuse_as_asked, &error);
	for (unsigned i = 0; i < ARRAY_LEN(errors); i++) {
		error = errors[i].kernel;
		ck_assert_int_eq(blk_read(dev, 0, buf, 1, BLK_DATA), errors[i].seen);
		ck_assert_int_eq(blk_write(dev, 0, buf, 1, BLK_DATA), errors[i].seen);
		ck_assert_int_eq(blk_prealloc(dev, 0, 1), errors[i].seen);
		ck_assert_int_eq(blk_flush(dev), -EIO);
	}
	blk_close(dev);
	free(buf);
}
END_TEST

static int refuse_all(void *arg, const struct blk_fault *f)
{
	++*(unsigned *)arg;
	return f->op == BLK_FAULT_PREALLOC ? -ENOSPC : -EIO;
}

START_TEST(every_operation_can_be_made_to_fail)
{
	u8 *buf = t_buf(1);
	unsigned calls = 0;

	dev = t_open(_i);
	blk_fault_set(dev, refuse_all, &calls);
	ck_assert_int_eq(blk_write(dev, 0, buf, 1, BLK_DATA), -EIO);
	ck_assert_int_eq(blk_read(dev, 0, buf, 1, BLK_DATA), -EIO);
	ck_assert_int_eq(blk_flush(dev), -EIO);
	ck_assert_int_eq(blk_discard(dev, 0, 1), -EIO);
	ck_assert_int_eq(blk_zero(dev, 0, 1, BLK_DATA), -EIO);
	ck_assert_int_eq(blk_prealloc(dev, 0, 1), -ENOSPC);
	ck_assert_uint_eq(calls, 6);
	blk_close(dev);
	free(buf);
}
END_TEST

START_TEST(a_file_that_became_shorter_gives_an_error_not_zeroes)
{
	struct blk_opts opts = { .size = 1 << 20, .sync = _i };
	u8 *buf = t_buf(16);

	ck_assert_int_eq(blk_open(t_new_path(), BLK_RDWR | BLK_CREATE, &opts, &dev), 0);
	ck_assert_int_eq(truncate(t_path, 252 * SECTOR_SIZE), 0);
	unlink(t_path);
	ck_assert_int_eq(blk_read(dev, 240, buf, 16, BLK_DATA), -EIO);
	ck_assert_int_eq(blk_read(dev, 240, buf, 12, BLK_DATA), 0);
	blk_close(dev);
	free(buf);
}
END_TEST

static void take_report(void *arg, const struct corrupt_report *r)
{
	*(struct corrupt_report *)arg = *r;
}

/* Its end is met by another thread where there is io_uring, and later in any case. */
START_TEST(a_failed_request_is_reported_with_the_operation_that_sent_it)
{
	struct blk_opts opts = { .size = 1 << 20, .sync = _i };
	struct corrupt_report report = { 0 };
	struct work before;
	struct blk_io io;
	struct iovec iov;
	u8 *buf = t_buf(1);
	sem_t done;

	sem_init(&done, 0, 0);
	ck_assert(corrupt_sink_take(take_report, &report));
	ck_assert_int_eq(blk_open(t_new_path(), BLK_RDWR | BLK_CREATE, &opts, &dev), 0);
	ck_assert_int_eq(truncate(t_path, 0), 0);
	unlink(t_path);
	iov = (struct iovec){ buf, SECTOR_SIZE };
	io = (struct blk_io){ .op = BLK_READ, .kind = BLK_META, .sector = 9, .nr = 1, .iov = &iov,
			      .nr_iov = 1, .done = async_done, .arg = &done };
	before = work_begin(WORK_FSYNC, 12);
	blk_submit_async(dev, &io);
	work_end(before);
	while (sem_wait(&done))
		;
	ck_assert_int_eq(io.res, -EIO);
	ck_assert_int_eq(report.why, WHY_IO_READ);
	ck_assert_uint_eq(report.sector, 9);
	ck_assert_uint_eq(report.work.kind, WORK_FSYNC);
	ck_assert_uint_eq(report.work.ino, 12);
	corrupt_sink_drop(&report);
	ring_shutdown();
	blk_close(dev);
	free(buf);
}
END_TEST

START_TEST(registered_memory_is_used_for_device_io)
{
	u8 *buf = t_buf(512);
	u64 before = stat_read(STAT_DISK_FIXED_IOS);
	struct ring_counts c;

	dev = t_open(T_URING);
	ck_assert_int_eq(ring_memory_set(buf, 512 * SECTOR_SIZE), 0);
	ck_assert_int_eq(blk_write(dev, 0, buf, 4, BLK_DATA), 0);
	ring_counts_get(&c);
	ck_assert_uint_eq(stat_read(STAT_DISK_FIXED_IOS) - before, c.fixed);
	ring_memory_set(NULL, 0);
	blk_close(dev);
	free(buf);
}
END_TEST

START_TEST(without_io_uring_the_sync_backend_serves)
{
	struct ring_opts off = { .off = true };
	u8 *buf = t_buf(1);

	ring_opts_set(&off);
	dev = t_open(T_URING);
	ck_assert_str_eq(blk_backend(dev), "sync");
	ck_assert_int_eq(blk_write(dev, 0, buf, 1, BLK_DATA), 0);
	blk_close(dev);
	free(buf);
}
END_TEST

#define ADD(test, loops)                                                                           \
	do {                                                                                       \
		TCase *tc_ = tcase_create(#test);                                                  \
		tcase_add_loop_test(tc_, test, 0, loops);                                          \
		suite_add_tcase(s, tc_);                                                           \
	} while (0)

int main(void)
{
	Suite *s = suite_create("io");

	ADD(what_is_written_is_read_back, T_NR_BACKENDS);
	ADD(a_new_device_reads_as_zero, T_NR_BACKENDS);
	ADD(long_transfers_are_split_and_whole, T_NR_BACKENDS);
	ADD(buffers_of_any_alignment_work, T_NR_BACKENDS);
	ADD(lists_of_segments_are_one_range_on_disk, T_NR_BACKENDS);
	ADD(past_the_end_is_refused_whole, T_NR_BACKENDS);
	ADD(a_batch_of_1000_random_requests_equals_the_model, T_NR_BACKENDS);
	ADD(done_may_add_to_the_batch_and_do_synchronous_io, T_NR_BACKENDS);
	ADD(an_error_reaches_only_its_own_request, T_NR_BACKENDS);
	ADD(asynchronous_requests_complete, T_NR_BACKENDS);
	ADD(what_is_refused_of_a_list_ends_alone, T_NR_BACKENDS);
	ADD(zeroed_ranges_read_as_zero_and_the_rest_stays, T_NR_BACKENDS);
	ADD(discard_leaves_the_neighbours, T_NR_BACKENDS);
	ADD(preallocation_keeps_content, T_NR_BACKENDS);
	ADD(bytes_and_requests_are_counted_by_kind, T_NR_BACKENDS);
	ADD(a_durable_write_goes_to_a_file_by_either_way_without_a_flush, 2);
	ADD(a_write_goes_alone_if_the_device_has_fua_and_nothing_else_waits_for_a_flush, 1);
	ADD(errors_of_a_device_are_few, T_NR_BACKENDS);
	ADD(every_operation_can_be_made_to_fail, T_NR_BACKENDS);
	ADD(a_file_that_became_shorter_gives_an_error_not_zeroes, 2);
	ADD(a_failed_request_is_reported_with_the_operation_that_sent_it, 2);
	ADD(registered_memory_is_used_for_device_io, 1);
	ADD(without_io_uring_the_sync_backend_serves, 1);
	return check_main(s);
}
