/*
 * The first request: what kernel and daemon agree on; and the last.
 *
 * Rules
 * 1. Only flags that the kernel offered are asked for. What is missing is done without, or named in
 *    the log when somebody will notice.
 * 2. io_uring as transport is promised only after all threads, rings and memory for it are there.
 *    Why it is not used is logged: with transport=uring as a warning.
 * 3. FOLIOFS_FUSE_MASK (a number) hides offered flags, so that older kernels can be tested.
 *
 * Locking: runs before any other request (INIT) or after all (DESTROY).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "front/front.h"
#include "front/req.h"
#include "front/uring.h"

/*
 * Asked for whenever offered. Not among them: AUTO_INVAL_DATA (nobody but the kernel changes
 * anything), locks (the kernel's own are right for one machine).
 */
#define FLAGS_ALWAYS                                                                               \
	((u64)FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_PARALLEL_DIROPS | FUSE_DO_READDIRPLUS |     \
	 FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_EXPORT_SUPPORT | FUSE_MAX_PAGES |           \
	 FUSE_CACHE_SYMLINKS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_HAS_IOCTL_DIR | FUSE_INIT_EXT |      \
	 FUSE_NO_OPENDIR_SUPPORT | FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_SETXATTR_EXT)

/*
 * Requests that the kernel keeps under way while nobody waits for them one by one (readahead,
 * writeback, direct I/O in depth): as many as the disk below takes.
 */
#define BACKGROUND 64u          /* where nobody knows */
#define BACKGROUND_MAX 256u

static u16 background(const struct front *fr)
{
	u32 depth = blk_queue_depth(fr->dev);

	return (u16)MIN(depth ? depth : BACKGROUND, BACKGROUND_MAX);
}

u32 init_max_pages(void)
{
	FILE *f = fopen("/proc/sys/fs/fuse/max_pages_limit", "re");
	unsigned limit = PROTO_PAGES;

	if (f && fscanf(f, "%u", &limit) != 1)
		limit = PROTO_PAGES;
	if (f)
		fclose(f);
	return MIN(MAX(limit, PROTO_PAGES), PROTO_PAGES_TOP);
}

static u64 masked(u64 flags)
{
	const char *text = getenv("FOLIOFS_FUSE_MASK");

	return text ? flags & ~strtoull(text, NULL, 0) : flags;
}

static u64 offered_flags(const struct req *rq, const struct fuse_init_in *in)
{
	u64 flags = in->flags;

	if (rq->arg_len >= offsetof(struct fuse_init_in, unused) && (flags & FUSE_INIT_EXT))
		flags |= (u64)in->flags2 << 32;
	return masked(flags);
}

static u64 choose_flags(struct front *fr, u64 offered)
{
	u64 want = FLAGS_ALWAYS;

	fr->no_opendir = (offered & FUSE_NO_OPENDIR_SUPPORT) != 0;
	/* Without V2 nobody would tell the open whether set-user-id bits go. */
	if (offered & FUSE_HANDLE_KILLPRIV_V2)
		want |= FUSE_ATOMIC_O_TRUNC;
	want |= PROTO_DIRECT_IO_ALLOW_MMAP | PROTO_ALLOW_IDMAP;
	fr->mmap_shared = (offered & PROTO_DIRECT_IO_ALLOW_MMAP) != 0;
	if (fr->opts.cache == FRONT_CACHE_KERNEL) {
		want |= FUSE_WRITEBACK_CACHE;
		fr->kernel_cache = true;
	} else {
		if (!fr->mmap_shared)
			log_warn("this kernel can't map files shared with cache=daemon; "
				 "cache=kernel can");
	}
	fr->setxattr_ext = (offered & FUSE_SETXATTR_EXT) != 0;
	fr->acls = (offered & FUSE_POSIX_ACL) != 0;
	return want & offered;
}

/* What is in the way, or NULL. */
static const char *why_no_uring(const struct front *fr, u64 offered)
{
	char value[4] = "";
	FILE *f;

	if (fr->opts.transport == FRONT_TRANSPORT_DEV)
		return "transport=dev";
	if (offered & PROTO_OVER_IO_URING)
		return NULL;
	f = fopen("/sys/module/fuse/parameters/enable_uring", "re");
	if (!f)
		return "this kernel has no FUSE over io_uring";
	if (!fgets(value, sizeof(value), f))
		value[0] = '\0';
	fclose(f);
	return value[0] == 'Y' ? "the kernel does not offer it" :
				 "the kernel's parameter fuse.enable_uring is off";
}

/* The flag for the kernel when everything is ready, else 0. */
static u64 start_uring(struct front *fr, u64 offered)
{
	const char *why = why_no_uring(fr, offered);
	unsigned cpus = (unsigned)sysconf(_SC_NPROCESSORS_CONF);
	int err;

	if (!why) {
		err = uring_new(fr, uring_per_cpu(fr->opts.threads, cpus), &fr->uring);
		if (!err)
			return PROTO_OVER_IO_URING;
		why = err_text(err);
	}
	if (fr->opts.transport == FRONT_TRANSPORT_URING)
		log_warn("transport: /dev/fuse instead of io_uring: %s", why);
	else if (fr->opts.transport == FRONT_TRANSPORT_AUTO)
		log_info("transport: /dev/fuse, not io_uring: %s", why);
	return 0;
}

static void wake_ready(struct front *fr)
{
	__atomic_store_n(&fr->init_done, true, __ATOMIC_RELEASE);
	front_wake(fr);
}

/*
 * When the answer has been sent the kernel has taken it in: before, it would set the limits of the
 * mount over those that mount_tune() sets.
 */
static int answer_init(struct req *rq, struct fuse_init_out *out)
{
	struct iovec iov[2] = { [1] = { out, sizeof(*out) } };
	int err = req_send_iov(rq, iov, 2);

	if (!err)
		wake_ready(rq->front);
	return err;
}

int op_init(struct req *rq)
{
	const struct fuse_init_in *in = req_arg(rq, offsetof(struct fuse_init_in, flags2));
	struct fuse_init_out *out;
	u64 flags, offered;

	if (!in)
		return -EPROTO;
	if (in->major != FUSE_KERNEL_VERSION || in->minor < PROTO_MINOR_MIN) {
		log_err("the kernel speaks FUSE %u.%u, at least %u.%u is needed", in->major,
			in->minor, FUSE_KERNEL_VERSION, PROTO_MINOR_MIN);
		return -EPROTO;
	}
	offered = offered_flags(rq, in);
	flags = choose_flags(rq->front, offered) | start_uring(rq->front, offered);
	out = req_out(rq, sizeof(*out));
	*out = (struct fuse_init_out){
		.major = FUSE_KERNEL_VERSION,
		.minor = MIN(in->minor, PROTO_MINOR),
		.max_readahead = in->max_readahead,
		.flags = (u32)flags,
		.flags2 = (u32)(flags >> 32),
		.max_background = background(rq->front),
		.congestion_threshold = (u16)(background(rq->front) * 3 / 4),
		.max_write = flags & FUSE_MAX_PAGES ? (u32)front_max_bytes(rq->front) : 128u << 10,
		.max_pages = flags & FUSE_MAX_PAGES ? (u16)rq->front->max_pages : 0,
		.time_gran = 1,
	};
	rq->front->proto_minor = out->minor;
	if (rq->front->uring)
		uring_go(rq->front->uring);
	return answer_init(rq, out);
}

/*
 * Comes from fuseblk mounts only: umount(2) waits for the answer. So it is given at the very end
 * (daemon.c), when all is on the disk and the image is free.
 */
int op_destroy(struct req *rq)
{
	rq->front->destroy_fd = rq->fd;
	rq->front->destroy_via = rq->via;
	__atomic_store_n(&rq->front->destroy_unique, rq->in->unique, __ATOMIC_RELEASE);
	rq->answered = true;
	front_wake(rq->front);
	return 0;
}
