/*
 * Requests of iomap: one contiguous range of the disk, gathered out of pieces of several
 * folios. Shared by read.c, fill.c and writeback.c; not for other layers.
 */
#ifndef FOLIOFS_IOMAP_REQUEST_H
#define FOLIOFS_IOMAP_REQUEST_H

#include <bsd/sys/queue.h>

#include "iomap/iomap.h"

/*
 * Most pieces of one request: 1 MiB of single-sector folios; larger folios reach
 * BLK_MAX_IO_SECTORS first.
 */
#define REQUEST_PIECES_MAX 256u

/* A copy that comes upon bad memory is tried so often, mending in between. */
#define MEND_TRIES 3u

struct request_piece {
	struct folio *folio;
	u32 first, nr;                  /* sectors within the folio */
};

struct request {
	struct blk_io io;               /* io.sector, io.nr: the range on the disk */
	TAILQ_ENTRY(request) link;
	u64 sector;                     /* in the file, of the first piece */
	u64 size_end;                   /* writeback: struct iomap_ioend */
	enum iomap_how how;             /* the same */
	void *intent;                   /* the same */
	unsigned cap;
	struct request_piece *piece;
	u32 *sum;                       /* map entries of the sectors, BLK_MAX_IO_SECTORS */
	struct iovec iov[];
};
TAILQ_HEAD(request_list, request);

/*
 * An empty request at a place of file and disk with room for `pieces` (capped); NULL when
 * memory is short.
 */
struct request *request_new(enum blk_op op, u64 sector, u64 disk, unsigned pieces);
void request_free(struct request *rq);
/* Nothing will be added: the same in as much memory as it needs, if there is any. Not linked. */
struct request *request_fit(struct request *rq);
/* Does a piece at these addresses continue the request, and is there room for it? */
bool request_takes(const struct request *rq, u64 sector, u64 disk, u32 nr);
void request_add(struct request *rq, struct folio *folio, u32 first, u32 nr);

/*
 * What must be read to make stale sectors uptodate. All folios that were added stay locked and
 * referenced by the caller until the plan has been carried out.
 */
struct read_plan {
	struct iomap_file *file;
	struct iomap map;               /* the mapping looked up last; length 0 = none */
	struct request_list reqs;
	u32 nr_sectors;                 /* to be read */
	unsigned pieces;                /* size of the requests to be made */
	int error;                      /* first error: bad sectors, failed reads and lookups */
};

void read_plan_init(struct read_plan *p, struct iomap_file *file, unsigned pieces);
void read_plan_fini(struct read_plan *p);
/*
 * Stale sectors of a locked folio: zeroes what reads as zero at once, plans reads for the rest.
 */
int read_plan_add(struct read_plan *p, struct folio *folio, u32 first, u32 nr);
/* Reads everything in one pipeline and marks what succeeded; returns p->error. */
int read_plan_run(struct read_plan *p);
/*
 * A read has ended well: what matches its entry is uptodate, what does not is reported and
 * poisoned. 0 or -EIO. Folios locked.
 */
int request_verify(struct iomap_file *f, struct request *rq);
/* The same for one piece, which begins `at` sectors from the start of the request. */
int request_verify_piece(struct iomap_file *f, struct request *rq, unsigned i, u32 at);

/* The same without a word about what does not match: marks all of it or nothing, takes no lock. */
bool request_accepted(struct request *rq);

/*
 * A read that ends later, while it is made: takes copies of the slices (and their references when
 * it starts). NULL when memory is short or too much of the cache is under way in such reads.
 */
struct pending_fill *pending_new(const struct iomap_async *async, const struct iomap_slice *slices,
				 unsigned nr, u64 bytes);
/* False: somebody else has the lock. */
bool pending_lock(struct pending_fill *pf, struct folio *folio);
/* Takes the requests of the plan, which has some. */
void pending_start(struct pending_fill *pf, struct read_plan *plan);
/* As if it had never been. */
void pending_cancel(struct pending_fill *pf);

/*
 * Which of nr (at most SECTORS_DATA_MAX) sectors from `sector`, all inside the mapping m, hold
 * data: dirty in the cache, or written by the map. Waits for writeback. A hole has none.
 */
#define SECTORS_DATA_MAX 512u
int sectors_data(struct iomap_file *f, const struct iomap *m, u64 sector, u32 nr, u64 *bits);

/* Something else must come first, and then again: so often. */
#define IOMAP_SETTLE_TRIES 16u

/* Bytes behind the end of the file in its last sector become zero, if the locked folio has it. */
void folio_zero_tail(struct folio *folio, u64 size);
/*
 * Makes [off, off+len) bytes of a locked folio zero: reads the sectors that are covered in
 * part, dirties all.
 */
int folio_zero_bytes(struct folio *folio, u32 off, u32 len);

static inline u64 iomap_end(const struct iomap *m)
{
	return m->offset + m->length;
}

static inline bool iomap_contains(const struct iomap *m, u64 pos)
{
	return pos >= m->offset && pos - m->offset < m->length;
}

/* The disk sector of a file sector inside a MAPPED mapping. */
static inline u64 iomap_disk(const struct iomap *m, u64 sector)
{
	return m->disk + (sector - (m->offset >> SECTOR_SHIFT));
}

static inline u64 iomap_size(const struct iomap_file *f)
{
	return __atomic_load_n(&f->size, __ATOMIC_ACQUIRE);
}

#endif
