/*
 * Mounting and unmounting a file system, and what concerns it as a whole.
 *
 * Order at mount: superblock (or one of its copies), features, journal with recovery, space, root
 * directory, orphans, flusher. Unmounting goes the other way and tries everything, however much
 * fails.
 *
 * Rules:
 *  1. Nothing is written before the superblock is understood: unknown incompat features refuse the
 *     mount, unknown ro_compat features make it read-only.
 *  2. A read-only mount never writes; a dirty log is replayed into memory.
 *  3. fs_readonly() is also true after the journal failed. fs->readonly is what the mount chose and
 *     never changes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "fs/inode.h"

/* A name and an inode take about this much of the trees: how many inodes still fit. */
#define BYTES_AN_INODE 512u

#define COMMIT_MS 5000u
#define LOG_DATA (64u << 10)

/* ---- superblock ---- */

static int read_super(struct blk_dev *dev, u64 sector, u8 *buf, struct fmt_geo *out, enum why *why)
{
	int r;

	*why = WHY_NONE;
	if (sector >= blk_sectors(dev))
		return -ERANGE;
	r = blk_read(dev, sector, buf, 1, BLK_META);
	if (r)
		return r;
	*why = fmt_super_why((struct fmt_super *)(buf + FMT_SUPER_OFFSET), out);
	return why_errno(*why);
}

/* The copy in the root sector. */
static int read_root_copy(struct blk_dev *dev, u8 *buf, struct fmt_geo *out)
{
	const struct fmt_root *root = (const struct fmt_root *)buf;
	int r = blk_sectors(dev) > 1 ? blk_read(dev, 1, buf, 1, BLK_META) : -ERANGE;

	return r ? r : fmt_super_decode(&root->super, out);
}

/* That one, or the one in group 1, whose place depends on the size of a group. */
static int read_copy(struct blk_dev *dev, u8 *buf, struct fmt_geo *out)
{
	enum why why;

	if (!read_root_copy(dev, buf, out))
		return 0;
	for (u32 n = FMT_GROUP_SECTORS; n >= FMT_GROUP_SECTORS_MIN; n /= 2)
		if (!read_super(dev, n, buf, out, &why) && out->group_sectors == n)
			return 0;
	return -EUCLEAN;
}

static int load_super(struct blk_dev *dev, struct fmt_geo *out)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	enum why why;
	int r, first;

	if (!buf)
		return -ENOMEM;
	r = first = read_super(dev, 0, buf, out, &why);
	if (first == -EBADMSG || first == -EUCLEAN || first == -EIO) {
		if (why)
			corrupt(why, CORRUPT_NO_INO, 0);
		r = read_copy(dev, buf, out) ? first : 0;
		if (!r)
			log_warn("the superblock is damaged, a copy of it is used");
	}
	free(buf);
	if (!r && out->nr_sectors > blk_sectors(dev))
		r = corrupt(WHY_SB_SIZE, CORRUPT_NO_INO, 0);
	return r;
}

/* A piece need not begin at a sector: one more. */
static u32 log_sectors(const struct fs_opts *o)
{
	u64 bytes = o->log_data ? o->log_data : LOG_DATA;

	if (bytes < SECTOR_SIZE)
		return 0;
	return (u32)(MIN(bytes, (u64)FS_LOG_DATA_MAX) >> SECTOR_SHIFT) + 1;
}

static int check_features(struct fs *fs)
{
	u64 unknown = fs->geo.ro_compat & ~FMT_RO_COMPAT_KNOWN;

	if (unknown && !fs->readonly) {
		log_warn("features unknown here (ro_compat %#llx): mounted read-only",
			 (unsigned long long)unknown);
		fs->readonly = true;
	}
	fs->log_max = log_sectors(&fs->opts);
	fs->nosum = fs->opts.nodatasum || !(fs->geo.ro_compat & FMT_RO_COMPAT_DATASUM);
	return !fs->readonly && blk_is_rdonly(fs->dev) ? -EROFS : 0;
}

/* ---- mount ---- */

/* The journal has told the log. */
static void went_readonly(void *host, int error)
{
	struct fs *fs = host;

	if (fs->opts.on_readonly)
		fs->opts.on_readonly(fs->opts.arg, error);
}

static void pre_commit(void *host)
{
	fs_pre_commit(host);
}

static int open_journal(struct fs *fs)
{
	struct jnl_config cfg = {
		.dev = fs->dev,
		.geo = &fs->geo,
		.host = fs,
		.readonly = fs->readonly,
		.threads = fs->opts.threads,
		.commit_ms = fs->opts.commit_ms,
		.pre_commit = pre_commit,
		.on_readonly = went_readonly,
	};
	int r = jnl_open(&cfg, &fs->jnl, &fs->recovery);

	/* Nothing may be built on what a damaged log has left. */
	if (!r && fs->recovery.lost_first)
		fs->readonly = true;
	if (r || fs->recovery.was_clean)
		return r;
	log_info("recovered %llu transactions with %llu records in %llu buffers%s",
		 (unsigned long long)fs->recovery.transactions,
		 (unsigned long long)fs->recovery.records,
		 (unsigned long long)fs->recovery.buffers,
		 fs->readonly ? " (in memory: read-only)" : "");
	return 0;
}

static int check_root(struct fs *fs)
{
	struct inode *root;
	int r = fs_iget(fs, FMT_ROOT_INO, &root);

	if (r == -ESTALE)
		return corrupt(WHY_INODE_ROOT, FMT_ROOT_INO, CORRUPT_NO_SECTOR);
	if (r)
		return r;
	if (!S_ISDIR(fs_mode(root)))
		r = corrupt(WHY_INODE_ROOT_TYPE, FMT_ROOT_INO, CORRUPT_NO_SECTOR);
	fs_iput(root);
	return r;
}

/* Orphans that can't be finished are left for the next time or fsck; they take space, no more. */
static int start(struct fs *fs)
{
	int r = check_root(fs);

	torn_report(fs);
	if (r || fs->readonly)
		return r;
	r = orphan_recover(fs);
	if (r && r != -EUCLEAN)
		return r;
	return fs->opts.threads ? flusher_start(fs) : 0;
}

static struct fs *fs_new(struct blk_dev *dev, const struct fs_opts *o)
{
	struct fs *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return NULL;
	fs->dev = dev;
	fs->opts = *o;
	fs->readonly = o->readonly;
	if (!fs->opts.commit_ms)
		fs->opts.commit_ms = COMMIT_MS;
	mutex_init(&fs->rename, RANK_RENAME);
	mutex_init(&fs->label, RANK_CTL);
	if (itable_init(fs)) {
		mutex_fini(&fs->rename);
		mutex_fini(&fs->label);
		free(fs);
		return NULL;
	}
	return fs;
}

/* Everything but the journal's own end; usable for whatever a mount got to. */
static void fs_free(struct fs *fs, bool crash)
{
	errors_fini(fs);
	itable_fini(fs, crash);
	space_close(fs->space);
	mutex_fini(&fs->rename);
	mutex_fini(&fs->label);
}

int fs_mount(struct blk_dev *dev, const struct fs_opts *o, struct fs **out)
{
	struct fs *fs = fs_new(dev, o);
	struct work before;
	int r;

	if (!fs)
		return -ENOMEM;
	errors_init(fs);
	before = work_begin(WORK_MOUNT, CORRUPT_NO_INO);
	if ((r = load_super(dev, &fs->geo)) || (r = check_features(fs)) || (r = open_journal(fs)))
		goto out_free;
	if ((r = space_open(fs->jnl, &fs->geo, &fs->space)) || (r = start(fs)))
		goto out_close;
	work_end(before);
	*out = fs;
	return 0;

out_close:
	fs_free(fs, true);
	jnl_close(fs->jnl, true);
	free(fs);
	work_end(before);
	return r;
out_free:
	fs_free(fs, true);
	free(fs);
	work_end(before);
	return r;
}

int fs_repair_begin(struct blk_dev *dev, struct fs **out)
{
	const struct fs_opts o = { .threads = false };
	struct fs *fs = fs_new(dev, &o);
	int r;

	if (!fs)
		return -ENOMEM;
	r = load_super(dev, &fs->geo);
	if (!r)
		r = open_journal(fs);
	if (!r) {
		r = space_open(fs->jnl, &fs->geo, &fs->space);
		if (r)
			jnl_close(fs->jnl, true);
	}
	if (r) {
		fs_free(fs, true);
		free(fs);
		return r;
	}
	*out = fs;
	return 0;
}

int fs_unmount(struct fs *fs, bool crash)
{
	struct work before = work_begin(WORK_UNMOUNT, CORRUPT_NO_INO);
	int r = 0, closed;

	if (fs->opts.threads && !fs->readonly)
		flusher_stop(fs);
	fs_pre_commit_stop(fs);
	if (!crash)
		r = fs_sync(fs);
	if (!crash)
		errors_store(fs);
	/* It calls back into what goes away now. */
	jnl_stop(fs->jnl);
	/* Deletes what was unlinked and is still known outside, so the journal ends last. */
	fs_free(fs, crash);
	closed = jnl_close(fs->jnl, crash);
	free(fs);
	work_end(before);
	return r ? r : closed;
}

/* ---- facts ---- */

const struct fmt_geo *fs_geo(const struct fs *fs)
{
	return &fs->geo;
}

struct blk_dev *fs_dev(struct fs *fs)
{
	return fs->dev;
}

struct space *fs_space(struct fs *fs)
{
	return fs->space;
}

struct jnl *fs_jnl(struct fs *fs)
{
	return fs->jnl;
}

bool fs_readonly(const struct fs *fs)
{
	return fs->readonly || jnl_error(fs->jnl) != 0;
}

/* -EROFS, or -EIO after a shutdown: what was promised can't be kept, and nobody chose that. */
int fs_may_change(struct fs *fs)
{
	if (fs_is_down(fs))
		return -EIO;
	return fs_readonly(fs) ? -EROFS : 0;
}

/* The device first: what the journal was about to write must not arrive either. */
void fs_shutdown(struct fs *fs)
{
	bool was = fs_is_down(fs);

	blk_shutdown(fs->dev);
	/* Who waits at the gate of a frozen device gets on, to its error. */
	fs_thaw(fs);
	if (!was)
		log_warn("shut down: nothing is written any more, what is not durable is lost");
	jnl_shutdown(fs->jnl);
}

bool fs_is_down(const struct fs *fs)
{
	return blk_is_down(fs->dev);
}

const struct jnl_recovery *fs_recovery(const struct fs *fs)
{
	return &fs->recovery;
}

/*
 * From any thread, with any locks outside. The flag is what counts: should the wake-up fall
 * between the flusher's look at it and its sleep, it is seen at the end of that sleep: a second at
 * most, or when something becomes dirty.
 */
void fs_want_writeback(struct fs *fs)
{
	__atomic_store_n(&fs->flusher_kick, true, __ATOMIC_RELEASE);
	cond_signal(&fs->dirty_cond);
}

void fs_want_checkpoint(struct fs *fs)
{
	jnl_kick_checkpoint(fs->jnl);
}

static int root_body(struct view *v, void *arg)
{
	const struct fmt_root *root;
	int r = view_get(v, view_geo(v)->root_sector, FMT_KIND_ROOT, (const void **)&root);

	if (r == 0)
		*(u64 *)arg = get64(root->nr_inodes);
	return r;
}

/*
 * Counted in sectors: f_bsize and f_frsize are the same, because statfs(2) counts in the first
 * and statvfs(3) in the second. The number of inodes has no limit of its own: what is free is what
 * the free space could hold. What delayed data will take counts as taken, so that nothing gets less
 * when it is written.
 */
int fs_statfs(struct fs *fs, struct statvfs *out)
{
	struct space_counts c;
	u64 nr_inodes;
	int r = jnl_read(fs->jnl, root_body, &nr_inodes);

	if (r)
		return r;
	space_counts(fs->space, &c);
	*out = (struct statvfs){
		.f_bsize = SECTOR_SIZE,
		.f_frsize = SECTOR_SIZE,
		.f_blocks = c.total,
		.f_bfree = c.free - MIN(c.free, c.reserved),
		.f_bavail = c.available,
		.f_ffree = c.available * (SECTOR_SIZE / BYTES_AN_INODE),
		.f_favail = c.available * (SECTOR_SIZE / BYTES_AN_INODE),
		.f_fsid = fs->geo.fsid,
		.f_flag = fs_readonly(fs) ? ST_RDONLY : 0,
		.f_namemax = FMT_NAME_MAX,
	};
	out->f_files = nr_inodes + out->f_ffree;
	return 0;
}
