/*
 * Requests as the kernel sends them, answered over a socket pair instead of /dev/fuse, on a file
 * system in memory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"
#include "cache/cache.h"
#include "check_main.h"
#include "format/format.h"
#include "front/file.h"
#include "front/front.h"
#include "front/req.h"
#include "stat/stat.h"

static struct front fr;
static int fds[2];               /* [0] is the kernel's end */
static u8 out[REQ_OUT_SIZE];
static u64 unique;

static struct {
	struct fuse_out_header head;
	u8 data[128 << 10];
} answer;

static void start(enum front_cache cache)
{
	const struct cache_config cfg = { .bytes = 16 << 20, .max_order = 0xff };
	const struct fs_opts opts = { 0 };
	const int size = 1 << 20;
	struct fmt_geo geo;

	fr = (struct front){ .opts.cache = cache, .opts.transport = FRONT_TRANSPORT_DEV,
			     .max_pages = PROTO_PAGES,
			     .kernel_cache = cache == FRONT_CACHE_KERNEL };
	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(cache_init(&cfg), 0);
	ck_assert_int_eq(blk_open("ram:32M", BLK_RDWR, NULL, &fr.dev), 0);
	ck_assert_int_eq(fs_format(fr.dev, &(struct fs_format_opts){ 0 }, &geo), 0);
	ck_assert_int_eq(fs_mount(fr.dev, &opts, &fr.fs), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	fr.event_fd = eventfd(0, EFD_NONBLOCK);
}

static void end(void)
{
	file_close_all(&fr);
	ck_assert_int_eq(fs_unmount(fr.fs, false), 0);
	blk_close(fr.dev);
	cache_fini();
	close(fds[0]);
	close(fds[1]);
	close(fr.event_fd);
}

static bool was_up;             /* the mount counted as up when the last answer was sent */

static int send_answer(struct req *rq, const struct iovec *iov, unsigned nr_iov, size_t len)
{
	was_up = rq->front->init_done;
	return writev(fds[1], iov, (int)nr_iov) == (ssize_t)len ? 0 : -errno;
}

/* Sends a request made of two parts. Length of the answer's payload, -errno, or 1 for no answer. */
static int ask(u32 opcode, u64 nodeid, const void *a, size_t a_len, const void *b, size_t b_len)
{
	static u8 buf[256 << 10] __attribute__((aligned(8)));
	struct fuse_in_header *in = (void *)buf;
	ssize_t n;

	*in = (struct fuse_in_header){ .opcode = opcode, .unique = ++unique, .nodeid = nodeid };
	in->len = (u32)(sizeof(*in) + a_len + b_len);
	if (a_len)
		memcpy(in + 1, a, a_len);
	if (b_len)
		memcpy((u8 *)(in + 1) + a_len, b, b_len);
	req_dispatch(&(struct req){ .front = &fr, .send = send_answer, .in = in, .arg = in + 1,
				    .arg_len = in->len - sizeof(*in), .out = out },
		     now_ns());
	n = recv(fds[0], &answer, sizeof(answer), MSG_DONTWAIT);
	if (n < 0)
		return 1;
	ck_assert_uint_eq(answer.head.unique, unique);
	ck_assert_uint_eq(answer.head.len, (u32)n);
	if (answer.head.error)
		return answer.head.error;
	return (int)(n - (ssize_t)sizeof(answer.head));
}

#define ASK(op, node, arg) ask(op, node, &(arg), sizeof(arg), NULL, 0)

static int ask_name(u32 opcode, u64 nodeid, const char *name)
{
	return ask(opcode, nodeid, name, strlen(name) + 1, NULL, 0);
}

static u64 create(const char *name, u64 *nodeid)
{
	const struct fuse_create_in in = { .flags = O_RDWR, .mode = 0644 };
	const struct fuse_open_out *open;
	struct fuse_entry_out entry;

	ck_assert_int_eq(ask(FUSE_CREATE, 1, &in, sizeof(in), name, strlen(name) + 1),
			 sizeof(entry) + sizeof(*open));
	memcpy(&entry, answer.data, sizeof(entry));
	open = (const void *)(answer.data + sizeof(entry));
	*nodeid = entry.nodeid;
	return open->fh;
}

static struct fuse_init_in offer(u32 minor)
{
	return (struct fuse_init_in){ .major = 7, .minor = minor, .max_readahead = 1 << 17,
				      .flags = UINT32_MAX, .flags2 = UINT32_MAX };
}

START_TEST(init_asks_for_the_kernels_cache_with_cache_kernel_only)
{
	const struct fuse_init_in in = offer(45);
	const struct fuse_init_out *o = (const void *)answer.data;

	start(FRONT_CACHE_KERNEL);
	ck_assert_int_eq(ASK(FUSE_INIT, 0, in), sizeof(*o));
	ck_assert(o->flags & FUSE_WRITEBACK_CACHE);
	ck_assert(!(o->flags & FUSE_POSIX_LOCKS));
	ck_assert(o->flags & FUSE_POSIX_ACL);
	ck_assert_uint_eq(o->max_write, 1 << 20);
	ck_assert(fr.init_done && fr.kernel_cache);
	end();
	start(FRONT_CACHE_DAEMON);
	ck_assert_int_eq(ASK(FUSE_INIT, 0, in), sizeof(*o));
	ck_assert(!(o->flags & FUSE_WRITEBACK_CACHE));
	ck_assert_uint_eq(o->flags2, (PROTO_DIRECT_IO_ALLOW_MMAP | PROTO_ALLOW_IDMAP) >> 32);
	ck_assert(fr.mmap_shared);
	end();
}
END_TEST

/* The kernel sets limits of the mount when it takes the answer in. */
START_TEST(a_mount_is_up_after_the_answer_to_init_and_not_before)
{
	const struct fuse_init_in in = offer(45);

	start(FRONT_CACHE_KERNEL);
	ck_assert_int_eq(ASK(FUSE_INIT, 0, in), sizeof(struct fuse_init_out));
	ck_assert(!was_up && fr.init_done);
	end();
}
END_TEST

START_TEST(init_takes_what_a_kernel_without_features_offers)
{
	struct fuse_init_in in = offer(31);
	const struct fuse_init_out *o = (const void *)answer.data;

	start(FRONT_CACHE_DAEMON);
	in.flags = FUSE_ASYNC_READ;
	in.flags2 = 0;
	ck_assert_int_eq(ASK(FUSE_INIT, 0, in), sizeof(*o));
	ck_assert_uint_eq(o->minor, 31);
	ck_assert_uint_eq(o->flags, FUSE_ASYNC_READ);
	ck_assert_uint_eq(o->flags2, 0);
	ck_assert_uint_eq(o->max_write, 128 << 10);
	ck_assert(!fr.mmap_shared);
	end();
}
END_TEST

START_TEST(init_of_a_kernel_that_is_too_old_is_refused)
{
	const struct fuse_init_in in = offer(27);

	start(FRONT_CACHE_KERNEL);
	ck_assert_int_eq(ASK(FUSE_INIT, 0, in), -EPROTO);
	ck_assert(!fr.init_done);
	end();
}
END_TEST

START_TEST(a_missing_name_is_a_negative_entry_that_may_be_kept)
{
	const struct fuse_entry_out *e = (const void *)answer.data;

	start(FRONT_CACHE_KERNEL);
	ck_assert_int_eq(ask_name(FUSE_LOOKUP, 1, "nothing"), sizeof(*e));
	ck_assert_uint_eq(e->nodeid, 0);
	ck_assert_uint_gt(e->entry_valid, 0);
	end();
}
END_TEST

START_TEST(a_long_name_is_refused_by_every_operation_that_takes_one)
{
	static const struct { u32 op; size_t fixed; } cases[] = {
		{ FUSE_LOOKUP, 0 }, { FUSE_UNLINK, 0 }, { FUSE_RMDIR, 0 }, { FUSE_SYMLINK, 0 },
		{ FUSE_MKNOD, sizeof(struct fuse_mknod_in) },
		{ FUSE_MKDIR, sizeof(struct fuse_mkdir_in) },
		{ FUSE_LINK, sizeof(struct fuse_link_in) },
		{ FUSE_RENAME, sizeof(struct fuse_rename_in) },
		{ FUSE_RENAME2, sizeof(struct fuse_rename2_in) },
		{ FUSE_CREATE, sizeof(struct fuse_create_in) },
	};
	static const u8 zeroes[64];
	char name[300];

	start(FRONT_CACHE_KERNEL);
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		ck_assert_msg(ask(cases[i].op, 1, zeroes, cases[i].fixed, name, 257) ==
			      -ENAMETOOLONG, "opcode %u", cases[i].op);
	end();
}
END_TEST

START_TEST(what_is_written_is_read)
{
	struct fuse_write_in w = { .offset = 5000, .size = 60000 };
	struct fuse_read_in r = { .offset = 0, .size = 128 << 10 };
	const struct fuse_write_out *wo = (const void *)answer.data;
	static u8 data[60000];
	u64 nodeid;

	start(FRONT_CACHE_DAEMON);
	memset(data, 'd', sizeof(data));
	w.fh = r.fh = create("f", &nodeid);
	ck_assert_int_eq(ask(FUSE_WRITE, nodeid, &w, sizeof(w), data, sizeof(data)), sizeof(*wo));
	ck_assert_uint_eq(wo->size, sizeof(data));
	ck_assert_int_eq(ASK(FUSE_READ, nodeid, r), 65000);
	ck_assert_uint_eq(answer.data[4999], 0);
	ck_assert_mem_eq(answer.data + 5000, data, sizeof(data));
	end();
}
END_TEST

START_TEST(sizes_beyond_the_limit_are_efbig)
{
	struct fuse_write_in w = { .offset = INT64_MAX, .size = 1 };
	struct fuse_setattr_in s = { .valid = FATTR_SIZE, .size = 1ull << 63 };
	struct fuse_fallocate_in f = { .offset = INT64_MAX - 4095, .length = 4096 };
	u64 nodeid;

	start(FRONT_CACHE_DAEMON);
	w.fh = f.fh = create("f", &nodeid);
	ck_assert_int_eq(ask(FUSE_WRITE, nodeid, &w, sizeof(w), "x", 1), -EFBIG);
	ck_assert_int_eq(ASK(FUSE_SETATTR, nodeid, s), -EFBIG);
	ck_assert_int_eq(ASK(FUSE_FALLOCATE, nodeid, f), -EFBIG);
	end();
}
END_TEST

START_TEST(opens_are_direct_and_parallel_with_cache_daemon_and_kept_with_cache_kernel)
{
	const struct fuse_open_in in = { .flags = O_RDONLY };
	const struct fuse_open_out *o = (const void *)answer.data;
	u64 nodeid;

	start(FRONT_CACHE_DAEMON);
	create("f", &nodeid);
	ck_assert_int_eq(ASK(FUSE_OPEN, nodeid, in), sizeof(*o));
	ck_assert_uint_eq(o->open_flags, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES |
					 FOPEN_NOFLUSH);
	end();
	start(FRONT_CACHE_KERNEL);
	create("f", &nodeid);
	ck_assert_int_eq(ASK(FUSE_OPEN, nodeid, in), sizeof(*o));
	ck_assert_uint_eq(o->open_flags, FOPEN_KEEP_CACHE);
	end();
}
END_TEST

START_TEST(close_asks_only_where_an_error_may_have_to_be_told)
{
	const struct fuse_open_in in = { .flags = O_RDONLY };
	const struct fuse_open_out *o = (const void *)answer.data;
	struct fuse_flush_in flush = { 0 };
	u64 nodeid;

	start(FRONT_CACHE_KERNEL);
	flush.fh = create("f", &nodeid);
	ck_assert_int_eq(ASK(FUSE_FLUSH, nodeid, flush), -ENOSYS);
	end();
	start(FRONT_CACHE_DAEMON);
	flush.fh = create("f", &nodeid);
	ck_assert_int_eq(ASK(FUSE_FLUSH, nodeid, flush), 0);
	stat_inc(STAT_WRITEBACK_ERRORS);
	ck_assert_int_eq(ASK(FUSE_OPEN, nodeid, in), sizeof(*o));
	ck_assert(!(o->open_flags & FOPEN_NOFLUSH));
	end();
	start(FRONT_CACHE_KERNEL);
	flush.fh = create("f", &nodeid);
	ck_assert_int_eq(ASK(FUSE_FLUSH, nodeid, flush), 0);
	end();
}
END_TEST

START_TEST(an_open_with_o_trunc_empties_the_file_and_takes_its_set_user_id_bit)
{
	struct fuse_write_in w = { .size = 5 };
	const struct fuse_setattr_in mode = { .valid = FATTR_MODE, .mode = 04755 };
	const struct fuse_open_in in = { .flags = O_WRONLY | O_TRUNC,
					 .open_flags = FUSE_OPEN_KILL_SUIDGID };
	const struct fuse_getattr_in get = { 0 };
	const struct fuse_attr_out *attr = (const void *)answer.data;
	u64 nodeid;

	start(FRONT_CACHE_DAEMON);
	w.fh = create("f", &nodeid);
	ck_assert_int_eq(ask(FUSE_WRITE, nodeid, &w, sizeof(w), "hello", 5),
			 sizeof(struct fuse_write_out));
	ck_assert_int_eq(ASK(FUSE_SETATTR, nodeid, mode), sizeof(*attr));
	ck_assert_uint_eq(attr->attr.mode & 07777, 04755);
	ck_assert_int_eq(ASK(FUSE_OPEN, nodeid, in), sizeof(struct fuse_open_out));
	ck_assert_int_eq(ASK(FUSE_GETATTR, nodeid, get), sizeof(*attr));
	ck_assert_uint_eq(attr->attr.size, 0);
	ck_assert_uint_eq(attr->attr.mode & 07777, 0755);
	end();
}
END_TEST

START_TEST(a_kernel_that_needs_no_open_directories_is_told_so_and_another_is_answered)
{
	struct fuse_init_in in = offer(45);
	struct fuse_open_in open = { 0 };
	const struct fuse_open_out *o = (const void *)answer.data;

	start(FRONT_CACHE_DAEMON);
	ck_assert_int_gt(ASK(FUSE_INIT, 0, in), 0);
	ck_assert_int_eq(ASK(FUSE_OPENDIR, 1, open), -ENOSYS);
	in.flags &= ~(u32)FUSE_NO_OPENDIR_SUPPORT;
	ck_assert_int_gt(ASK(FUSE_INIT, 0, in), 0);
	ck_assert_int_eq(ASK(FUSE_OPENDIR, 1, open), sizeof(*o));
	ck_assert_uint_eq(o->open_flags, FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR);
	ck_assert_uint_eq(o->fh, 0);
	end();
}
END_TEST

START_TEST(holes_of_a_file_that_the_kernel_may_hold_back_are_not_told)
{
	struct fuse_lseek_in in = { .whence = SEEK_HOLE };
	struct fuse_release_in release = { 0 };
	const struct fuse_open_in ro = { .flags = O_RDONLY };
	u64 nodeid, writer;

	start(FRONT_CACHE_KERNEL);
	writer = create("f", &nodeid);
	in.fh = release.fh = writer;
	ck_assert_int_eq(ASK(FUSE_LSEEK, nodeid, in), -EINVAL);
	ck_assert_int_eq(ASK(FUSE_OPEN, nodeid, ro), sizeof(struct fuse_open_out));
	in.fh = ((const struct fuse_open_out *)(const void *)answer.data)->fh;
	ck_assert_int_eq(ASK(FUSE_LSEEK, nodeid, in), -EINVAL);
	ck_assert_int_eq(ASK(FUSE_RELEASE, nodeid, release), 0);
	ck_assert_int_eq(ASK(FUSE_LSEEK, nodeid, in), -ENXIO);
	end();
}
END_TEST

START_TEST(forget_and_interrupt_get_no_answer)
{
	const struct fuse_forget_in forget = { .nlookup = 1 };
	const struct fuse_interrupt_in intr = { .unique = 1 };
	const struct { struct fuse_batch_forget_in in; struct fuse_forget_one one; } batch = {
		{ .count = 1000 }, { 0, 1 },
	};
	u64 nodeid;

	start(FRONT_CACHE_KERNEL);
	create("f", &nodeid);
	ck_assert_int_eq(ASK(FUSE_FORGET, nodeid, forget), 1);
	ck_assert_int_eq(ASK(FUSE_INTERRUPT, 0, intr), 1);
	ck_assert_int_eq(ASK(FUSE_BATCH_FORGET, 0, batch), 1);
	end();
}
END_TEST

START_TEST(unknown_requests_are_enosys)
{
	static const u32 ops[] = { 0, FUSE_BMAP, FUSE_POLL, FUSE_GETLK, 63, 64, 4096,
				   UINT32_MAX };

	start(FRONT_CACHE_KERNEL);
	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		ck_assert_int_eq(ask(ops[i], 1, NULL, 0, NULL, 0), -ENOSYS);
	end();
}
END_TEST

START_TEST(a_request_that_is_cut_short_is_refused_and_harmless)
{
	static const u8 zeroes[128];

	start(FRONT_CACHE_KERNEL);
	for (u32 op = 1; op < PROTO_OPCODES; op++)
		for (size_t len = 0; len < 4; len++)
			if (op != FUSE_GETATTR && op != FUSE_STATFS && op != FUSE_READLINK &&
			    op != FUSE_OPENDIR && op != FUSE_SYNCFS && op != FUSE_DESTROY &&
			    op != FUSE_IOCTL)
				ck_assert_msg(ask(op, 1, zeroes, len, NULL, 0) <= 1, "opcode %u",
					      op);
	end();
}
END_TEST

START_TEST(an_answer_that_is_not_taken_gives_back_what_it_gave)
{
	const struct fuse_create_in in = { .flags = O_RDWR, .mode = 0644 };

	start(FRONT_CACHE_KERNEL);
	close(fds[0]);
	fds[0] = -1;
	for (int i = 0; i < 3; i++) {
		char name[2] = { (char)('a' + i), 0 };

		ck_assert_int_eq(ask(FUSE_CREATE, 1, &in, sizeof(in), name, 2), 1);
	}
	ck_assert_uint_eq(fr.nr_files, 0);
	ck_assert(!file_has_writers(2));
	end();
}
END_TEST

START_TEST(a_listing_with_attributes_holds_every_entry)
{
	struct fuse_read_in in = { .size = 4096 };
	struct fuse_release_in release = { 0 };
	unsigned seen = 0;
	u64 nodeid;
	int n;

	start(FRONT_CACHE_KERNEL);
	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "file-%d", i);
		release.fh = create(name, &nodeid);
		ck_assert_int_eq(ASK(FUSE_RELEASE, nodeid, release), 0);
	}
	while ((n = ASK(FUSE_READDIRPLUS, 1, in)) > 0) {
		for (int at = 0; at < n;) {
			const struct fuse_direntplus *d = (const void *)(answer.data + at);

			in.offset = d->dirent.off;
			ck_assert_uint_eq(d->entry_out.attr.ino, d->dirent.ino);
			ck_assert_int_eq(d->entry_out.nodeid == 0, d->dirent.name[0] == '.');
			at += (int)FUSE_DIRENTPLUS_SIZE(d);
			seen++;
		}
	}
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(seen, 102);
	end();
}
END_TEST

START_TEST(a_listing_gives_attributes_that_may_be_kept_of_all_but_directories)
{
	const struct fuse_mkdir_in mk = { .mode = 0755 };
	struct fuse_read_in in = { .size = 4096 };
	struct fuse_release_in release = { 0 };
	unsigned files = 0, dirs = 0;
	u64 nodeid;
	int n;

	start(FRONT_CACHE_KERNEL);
	release.fh = create("file", &nodeid);
	ck_assert_int_eq(ASK(FUSE_RELEASE, nodeid, release), 0);
	ck_assert_int_gt(ask(FUSE_MKDIR, 1, &mk, sizeof(mk), "dir", 4), 0);
	n = ASK(FUSE_READDIRPLUS, 1, in);
	for (int at = 0; at < n;) {
		const struct fuse_direntplus *d = (const void *)(answer.data + at);
		const struct fuse_entry_out *e = &d->entry_out;

		if (e->nodeid) {
			ck_assert_uint_gt(e->entry_valid, 0);
			ck_assert_int_eq(e->attr_valid == 0, d->dirent.type == DT_DIR);
			files += d->dirent.type == DT_REG;
			dirs += d->dirent.type == DT_DIR;
		}
		at += (int)FUSE_DIRENTPLUS_SIZE(d);
	}
	ck_assert_uint_eq(files, 1);
	ck_assert_uint_eq(dirs, 1);
	end();
}
END_TEST

static u64 sum_of(enum hist_id id)
{
	struct stat_hist h;

	stat_hist_read(id, &h);
	return h.sum;
}

START_TEST(the_parts_of_the_time_of_a_request_add_up)
{
	struct fuse_write_in w = { .size = 4096 };
	struct fuse_fsync_in sync = { 0 };
	static u8 data[4096];
	u64 nodeid, all, parts;

	start(FRONT_CACHE_DAEMON);
	w.fh = sync.fh = create("f", &nodeid);
	for (int i = 0; i < 50; i++) {
		w.offset = (u64)i * 4096;
		ck_assert_int_gt(ask(FUSE_WRITE, nodeid, &w, sizeof(w), data, sizeof(data)), 0);
		ck_assert_int_eq(ASK(FUSE_FSYNC, nodeid, sync), 0);
	}
	end();
	for (unsigned op = HIST_REQ_LOOKUP; op <= HIST_REQ_OTHER; op++) {
		unsigned at = op - HIST_REQ_LOOKUP;

		all = sum_of(op);
		parts = sum_of(HIST_REQWAIT_LOOKUP + at) + sum_of(HIST_REQCACHE_LOOKUP + at) +
			sum_of(HIST_REQDISK_LOOKUP + at) + sum_of(HIST_REQREPLY_LOOKUP + at);
		ck_assert_uint_eq(all, parts);
	}
	ck_assert_uint_gt(sum_of(HIST_REQCACHE_WRITE), 0);
	ck_assert_uint_gt(sum_of(HIST_REQREPLY_WRITE), 0);
}
END_TEST

START_TEST(attributes_outside_the_known_namespaces_are_refused)
{
	const struct fuse_getxattr_in get = { .size = 100 };

	start(FRONT_CACHE_KERNEL);
	ck_assert_int_eq(ask(FUSE_GETXATTR, 1, &get, sizeof(get), "system.posix_acl_other", 23),
			 -EOPNOTSUPP);
	ck_assert_int_eq(ask(FUSE_GETXATTR, 1, &get, sizeof(get), "user.", 6), -EOPNOTSUPP);
	ck_assert_int_eq(ask(FUSE_GETXATTR, 1, &get, sizeof(get), "user.none", 10), -ENODATA);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("requests");

	check_add(s, init_asks_for_the_kernels_cache_with_cache_kernel_only);
	check_add(s, a_mount_is_up_after_the_answer_to_init_and_not_before);
	check_add(s, init_takes_what_a_kernel_without_features_offers);
	check_add(s, init_of_a_kernel_that_is_too_old_is_refused);
	check_add(s, a_missing_name_is_a_negative_entry_that_may_be_kept);
	check_add(s, a_long_name_is_refused_by_every_operation_that_takes_one);
	check_add(s, what_is_written_is_read);
	check_add(s, sizes_beyond_the_limit_are_efbig);
	check_add(s, opens_are_direct_and_parallel_with_cache_daemon_and_kept_with_cache_kernel);
	check_add(s, close_asks_only_where_an_error_may_have_to_be_told);
	check_add(s, an_open_with_o_trunc_empties_the_file_and_takes_its_set_user_id_bit);
	check_add(s, a_kernel_that_needs_no_open_directories_is_told_so_and_another_is_answered);
	check_add(s, holes_of_a_file_that_the_kernel_may_hold_back_are_not_told);
	check_add(s, forget_and_interrupt_get_no_answer);
	check_add(s, unknown_requests_are_enosys);
	check_add(s, a_request_that_is_cut_short_is_refused_and_harmless);
	check_add(s, an_answer_that_is_not_taken_gives_back_what_it_gave);
	check_add(s, a_listing_with_attributes_holds_every_entry);
	check_add(s, a_listing_gives_attributes_that_may_be_kept_of_all_but_directories);
	check_add(s, the_parts_of_the_time_of_a_request_add_up);
	check_add(s, attributes_outside_the_known_namespaces_are_refused);
	return check_main(s);
}
