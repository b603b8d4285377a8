/*
 * The kernel's FUSE protocol: <linux/fuse.h> and what newer kernels added to it.
 *
 * The header that a distribution ships is often older than the kernel that runs: Debian 12 has
 * 7.38, Linux 6.18 speaks 7.45. Names here begin with PROTO_ so that they never clash with a newer
 * header.
 */
#ifndef FOLIOFS_FRONT_PROTO_H
#define FOLIOFS_FRONT_PROTO_H

#include <linux/fuse.h>

#include "base/types.h"

/* We speak this minor version, or the kernel's if that is lower. */
#define PROTO_MINOR 42u
/* Below this the layout of requests differs from what the code here expects (Linux 4.20). */
#define PROTO_MINOR_MIN 28u

/* Opcodes after those of 7.38. */
#define PROTO_STATX 52u
#define PROTO_COPY_FILE_RANGE_64 53u
#define PROTO_OPCODES 64u

/*
 * FUSE over io_uring (7.42): what the kernel writes into an entry before its payload, and what it
 * reads there when the answer is committed.
 */
struct proto_ring_head {
	u8 in_out[128];                 /* struct fuse_in_header; then struct fuse_out_header */
	u8 op_in[128];                  /* the fixed first argument of the operation */
	struct {
		u64 flags;
		u64 commit_id;          /* names the request to the commit */
		u32 payload_sz;         /* bytes of the other arguments; then of the answer */
		u32 padding;
		u64 reserved;
	} ent;
};

/* The command area of an io_uring entry. */
struct proto_ring_cmd {
	u64 flags;
	u64 commit_id;
	u16 qid;                        /* the CPU whose requests are meant */
	u8 padding[6];
};

#define PROTO_RING_REGISTER 1u
#define PROTO_RING_COMMIT_AND_FETCH 2u
#define PROTO_ALLOW_IDMAP (1ull << 40)
#define PROTO_OVER_IO_URING (1ull << 41)

/* STATX: like statx(2), with the FUSE_GETATTR part in front. */
struct proto_sx_time {
	s64 sec;
	u32 nsec;
	s32 pad;
};

struct proto_statx {
	u32 mask, blksize;
	u64 attributes;
	u32 nlink, uid, gid;
	u16 mode, pad;
	u64 ino, size, blocks, attributes_mask;
	struct proto_sx_time atime, btime, ctime, mtime;
	u32 rdev_major, rdev_minor, dev_major, dev_minor;
	u64 pad2[14];
};

struct proto_statx_in {
	u32 getattr_flags, pad;
	u64 fh;
	u32 sx_flags, sx_mask;
};

struct proto_statx_out {
	u64 attr_valid;             /* s */
	u32 attr_valid_nsec, flags;
	u64 spare[2];
	struct proto_statx stat;
};

/* INIT flags, the upper 32 in flags2 (valid with FUSE_INIT_EXT). */
#define PROTO_DIRECT_IO_ALLOW_MMAP (1ull << 36)

/*
 * The longest WRITE, READ and READDIR: 256 pages, the kernel's own limit, or what the sysctl
 * fs.fuse.max_pages_limit says instead, up to the largest folio (front.max_pages).
 */
#define PROTO_PAGES 256u
#define PROTO_PAGES_TOP 512u

/* What stands before the data of a WRITE. */
#define PROTO_WRITE_HEAD (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))

#endif
