/*
 * Between recover.c and recover_intent.c: what a recovery has gathered. Not for others.
 */
#ifndef FOLIOFS_JOURNAL_RECOVER_H
#define FOLIOFS_JOURNAL_RECOVER_H

#include "journal/jnl_priv.h"

/* A buffer, or a sector of file data, as the log leaves it. */
struct rbuf {
	RB_ENTRY(rbuf) node;
	STAILQ_ENTRY(rbuf) fresh_link;
	u64 addr;
	enum fmt_kind kind;
	u64 seq;                       /* newest transaction applied */
	int base_error;                /* what is in place is not good, and nothing mended it yet */
	bool newer;                    /* what is in place is newer than the rest of the log */
	u8 *data;
	struct blk_io io;              /* of what is in place */
	struct iovec iov;
};
RB_HEAD(jnl_rbuf_tree, rbuf);

/* An address that records speak of: those older than `seq` are void, file data also before
 * `data_seq`. */
struct rrev {
	RB_ENTRY(rrev) node;
	u64 addr, seq, data_seq;
};
RB_HEAD(jnl_rrev_tree, rrev);

/* One range of an open intent. */
struct rintent {
	TAILQ_ENTRY(rintent) link;
	u64 first_seq;                 /* with `number` the name of the intent */
	u32 number;
	u64 addr;
	u32 nr;
	u32 entries[];                 /* the new ones */
};
TAILQ_HEAD(rintents, rintent);

struct scan {
	struct jnl *j;                  /* NULL: only the end is wanted */
	struct blk_dev *dev;
	const struct fmt_geo *geo;
	u64 epoch, seq, pos;           /* next transaction */
	u64 tail_seq;                  /* the first one */
	u64 left;                      /* sectors of the ring not looked at */
	u8 *txn;                       /* current transaction */
	u64 txn_max;                   /* bytes allocated */
	enum why why;                  /* what the last one is not a transaction for */
	struct jnl_rbuf_tree bufs;
	STAILQ_HEAD(, rbuf) fresh;     /* of this transaction: what is in place is being read */
	u64 buf_bytes;                 /* of bufs; see recover.c, rule 5 */
	struct jnl_rrev_tree revokes;
	struct rintents intents;
	struct jnl_recovery *rec;
	bool again;                     /* a recovery was under way when the power went */
	bool cut;                       /* the log is damaged, and ends too early: rule 8 */
	bool lenient;                   /* a buffer that is damaged is left as it is... */
	bool was_left;                  /* ...and one was */
	u64 end_seq;                    /* the first transaction that is not there */
	u64 newest_gen;                 /* of what is in place and newer */
};

struct rbuf *rbuf_find(struct scan *s, u64 addr);

/* A record of an intent, of its end. -ENOMEM, -EUCLEAN */
int rintent_note(struct scan *s, const struct fmt_rec *rec, const void *payload);
void rintent_end(struct scan *s, const struct fmt_rec *rec);
/*
 * After replay: each sector of an open intent is compared with its old checksum and with the new
 * one, and its entry in the replayed sector map set to what it holds.
 */
int rintents_settle(struct scan *s);
void rintents_free(struct scan *s);

#endif
