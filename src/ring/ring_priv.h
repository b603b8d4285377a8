/* What the files of src/ring share. */
#ifndef RING_RING_PRIV_H
#define RING_RING_PRIV_H

#include <liburing.h>

#include "ring/ring.h"

/*
 * Requests under way in one ring. A ring takes no more, so neither the submission nor the
 * completion queue (twice as long) can overflow; the rest waits in ring->waiting.
 */
#define RING_LOCAL_DEPTH 128u
#define RING_SHARED_DEPTH 256u

/* The kernel's IORING_MAX_REG_BUFFERS: an arena of up to 128 GiB has all its chunks registered. */
#define RING_MAX_CHUNKS 16384u

/* Segments in one piece; the kernel's limit is 1024. */
#define RING_MAX_SEGMENTS 512u

struct ring {
	struct io_uring u;
	struct ring_opts opts;          /* as they were when the ring was made */
	unsigned depth;
	unsigned in_flight;             /* in the submission queue or in the kernel */
	unsigned nr_waiting;
	struct ring_req_list waiting;
	struct ring_req_list settled;   /* complete, done() is still to be run */
	unsigned nr_early;              /* requests with `early` whose done() has not begun */
	bool settling;                  /* ring_settle() has nothing to do */
	bool watching;                  /* a poll of the descriptor is under way */
	bool readable;                  /* it has ended since the last look */
	bool defer_taskrun;             /* completions appear only when we ask for them */
	bool has_vector;                /* READV_FIXED, WRITEV_FIXED */

	/* src/ring/register.c */
	bool fixed_ready;               /* the sparse table of this arena exists */
	bool fixed_refused;             /* not to be had for this arena */
	bool files_ready;
	bool files_refused;
	u32 arena_epoch;
	u32 arena_nr;                   /* chunks of that arena */
	u32 files_epoch;
	u32 *chunk_gen;                 /* generation registered, 0 none */
	u32 file_gen[RING_MAX_FILES];
};

/* ring.c */
int ring_setup(struct ring *r, unsigned depth, bool local);
void ring_teardown(struct ring *r);
void ring_req_start(struct ring_req *req);
void ring_send(struct ring *r, struct ring_req *req);
bool ring_absorb(struct ring *r, struct ring_req *req, s32 res);
void ring_slot_freed(struct ring *r);
void ring_finish(struct ring_req *req);

/* register.c */
void ring_reg_fini(struct ring *r);
/* Index of the registered buffer that holds [base, base + len), or -1. */
int ring_reg_buffer(struct ring *r, const void *base, size_t len);
/* Sets *index and returns true if the file is registered; else *fd. */
bool ring_reg_file(struct ring *r, int handle, int *fd_or_index);
/* The chunk that holds a range, or -1: cheap, registers nothing. */
int ring_reg_chunk_of(const void *base, size_t len);

/* A chunk that could not be registered has this bit beside its generation, until it changes. */
#define CHUNK_FAILED 0x80000000u

/* store.c */
/*
 * r->chunk_gen and the ring's table become those of all rings, with this chunk in them: registered,
 * or marked as failed. -errno: the table is as it was (-EINVAL and others: no clones here; -ENOMEM:
 * also the limit on locked memory).
 */
int ring_store_take(struct ring *r, u32 chunk, const struct iovec *iov, u32 gen);
/* No ring needs it: rings that have clones keep them. */
void ring_store_drop(void);

/* opts.c */
enum ring_count { RING_ENTERS, RING_FIXED, RING_FIXED_VECTOR, RING_PLAIN, RING_CONTINUED,
		  RING_CHUNKS, RING_CLONES, RING_RINGS, RING_NR_COUNTS };
void ring_count(enum ring_count which);
/* Why something is not used, for ring_describe(): keeps the first reason, logs it once. */
enum ring_feature { RING_F_RING, RING_F_FIXED, RING_F_CLONE, RING_F_VECTOR, RING_F_FILES,
		    RING_NR_FEATURES };
void ring_feature_lost(enum ring_feature f, int err);
bool ring_feature_ok(enum ring_feature f);

#endif
