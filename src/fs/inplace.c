/*
 * Writing data sectors in place: what must come first.
 *
 *	entry in the map        a write in place
 *	0 or bad                at once; the entry is set when it is durable
 *	no checksum             the same; if it gets none again the entry stays as it is
 *	a checksum              after an intent that carries the new one is durable (journal.h)
 *
 * 1. A sector is written in place only if nothing else is on its way to its entry: a finished write
 *    that is not completed is completed first, and what is in the log is checkpointed first. So
 *    each sector is in one state at a time.
 * 2. A write that fails leaves its sector bad on the disk, if it was announced; the cache has the
 *    data, and tries again.
 * 3. Without checksums, data that was logged once could come back over what is written in place: as
 *    long as data is in the log, such writes are announced, too.
 */
#include <stdlib.h>

#include "base/err.h"
#include "fs/file_priv.h"
#include "stat/stat.h"

int file_read_logged(struct iomap_file *f, u64 disk, void *buf)
{
	return jnl_data_read(file_inode(f)->fs->jnl, disk, buf);
}

/* ---- how ---- */

static enum iomap_how how_of(struct inode *ip, u32 entry)
{
	if (entry >= FMT_MAP_CSUM_MIN)
		return IOMAP_OVERWRITE;
	if (entry != FMT_MAP_NOCSUM || !ip->file.nosum)
		return IOMAP_NEW;
	if (fs_omitted == FS_OMIT_SAME || !jnl_data_in_log(ip->fs->jnl))
		return IOMAP_SAME;
	return IOMAP_OVERWRITE;
}

int file_write_how(struct iomap_file *f, u64 disk, u32 nr, u8 *how)
{
	struct inode *ip = file_inode(f);
	u32 entries[1u << FOLIO_MAX_ORDER];
	int r;

	if (fs_omitted != FS_OMIT_PENDING && space_pending_any(ip->fs->space, disk, nr))
		return -EAGAIN;
	if (!how)
		return 0;
	if (fs_omitted != FS_OMIT_SETTLE && jnl_data_logged(ip->fs->jnl, disk, nr))
		return -EAGAIN;
	r = space_map_read(ip->fs->space, disk, nr, entries);
	if (r)
		return r;
	for (u32 i = 0; i < nr; i++)
		how[i] = (u8)how_of(ip, entries[i]);
	return 0;
}

/* ---- settling ---- */

/* Nothing can be completed before the bytes of the item have reached sector 0. */
static int settle_pending(struct inode *ip)
{
	bool move;
	int r = 0;

	mutex_lock(&ip->state);
	move = ip->inl_on_disk && !ip->inl_moved;
	mutex_unlock(&ip->state);
	if (move)
		r = iomap_writeback(&ip->file, 0, SECTOR_SIZE, IOMAP_WB_WAIT, 0, NULL);
	return r ? r : file_complete(ip);
}

int file_write_settle(struct iomap_file *f, u64 disk, u32 nr, bool in_place)
{
	struct inode *ip = file_inode(f);
	int r = 0;

	if (space_pending_any(ip->fs->space, disk, nr))
		r = settle_pending(ip);
	if (!r && in_place)
		r = jnl_data_settle(ip->fs->jnl, disk, nr);
	return r;
}

/* ---- announcing ---- */

struct announce {
	struct inode *ip;
	struct iomap_overwrite *ow;
	unsigned nr, at;                /* those before `at` are in opened intents */
	u64 seq;                        /* transaction of the last of them */
	bool drained;
};

static void announce_undo(struct announce *a)
{
	for (unsigned i = 0; i < a->at; i++)
		jnl_intent_drop(a->ow[i].intent, a->ow[i].nr);
}

/* Too much is open: what has finished, of any file, is closed, and that made durable. */
static int make_room(struct announce *a)
{
	struct fs *fs = a->ip->fs;
	int r = file_complete(a->ip);

	if (!r)
		r = fs_complete_all(fs);
	return r ? r : jnl_commit_any(fs->jnl);
}

static int open_one(struct announce *a, struct jnl_intent *in)
{
	int r = jnl_intent_open(in, &a->seq);

	while (r == -EBUSY && a->drained) {
		r = make_room(a);
		if (!r)
			r = jnl_intent_open(in, &a->seq);
	}
	return r;
}

/* One intent with as much as it takes from a->at on. */
static int announce_some(struct announce *a)
{
	struct jnl_intent *in = jnl_intent_new(a->ip->fs->jnl);
	unsigned end = a->at;
	int r = in ? 0 : -ENOMEM;

	while (!r && end < a->nr) {
		const struct iomap_overwrite *ow = &a->ow[end];

		r = jnl_intent_add(in, ow->disk, ow->nr, ow->entries);
		end += !r;
	}
	if (r == -ENOSPC && end > a->at)
		r = 0;
	if (!r)
		r = open_one(a, in);
	if (r) {
		jnl_intent_free(in);
		return r;
	}
	while (a->at < end)
		a->ow[a->at++].intent = in;
	return 0;
}

int file_announce(struct iomap_file *f, struct iomap_overwrite *ow, unsigned nr, bool drained,
		  u64 *seq)
{
	struct announce a = { .ip = file_inode(f), .ow = ow, .nr = nr, .drained = drained };
	int r = 0;

	while (!r && a.at < nr)
		r = announce_some(&a);
	if (r)
		announce_undo(&a);
	else
		*seq = a.seq;
	return r;
}

void file_announce_soon(struct iomap_file *f, u64 seq)
{
	if (fs_omitted != FS_OMIT_INTENT_COMMIT)
		jnl_commit_soon(file_inode(f)->fs->jnl, seq);
}

int file_announce_wait(struct iomap_file *f, u64 seq)
{
	if (fs_omitted == FS_OMIT_INTENT_COMMIT)
		return 0;
	return jnl_commit(file_inode(f)->fs->jnl, seq);
}
