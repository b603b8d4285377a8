/*
 * Opening the image, the cache and the file system; every way in which that fails, in words.
 *
 * Rules
 * 1. A message names the object, what is wrong, and what to do. The exit status is mount(8)'s.
 * 2. An image that may not be written is mounted read-only with a warning, as mount(8) does.
 * 3. An image whose last daemon is just writing its end is waited for, START_WAIT_MS at most: plain
 *    FUSE unmounts return before that. An image that is mounted is refused at once.
 *
 * Locking: runs before and after all other threads.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "base/size.h"
#include "cache/cache.h"
#include "format/format.h"
#include "front/front.h"
#include "front/memerr.h"
#include "front/mountinfo.h"
#include "front/start.h"
#include "ring/ring.h"

#define START_WAIT_MS 10000u
#define START_STEP_MS 50u

static bool is_ram(const char *image)
{
	return strncmp(image, "ram:", 4) == 0;
}

static void sleep_ms(unsigned ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

/* Held by a daemon that has no mount any more, or by nobody to be found: it has just ended. */
static bool holder_is_ending(const char *image)
{
	struct mountinfo m;
	char who[128];

	blk_who_holds(image, who, sizeof(who));
	return (!who[0] || strstr(who, "foliofs")) &&
	       mountinfo_of_image(image, &m) == -ENOENT;
}

static int open_patiently(const char *image, unsigned flags, const struct blk_opts *opts,
			  struct blk_dev **out)
{
	int err = blk_open(image, flags, opts, out);

	for (unsigned ms = 0; err == -EBUSY && ms < START_WAIT_MS; ms += START_STEP_MS) {
		if (!holder_is_ending(image))
			break;
		sleep_ms(START_STEP_MS);
		err = blk_open(image, flags, opts, out);
	}
	return err;
}

static int open_failed(const char *image, int err)
{
	struct mountinfo m;
	char who[128];

	if (err == -EBUSY && mountinfo_of_image(image, &m) == 0)
		log_err("%s: already mounted on %s", image, m.point);
	else if (err == -EBUSY)
		log_err("%s: in use by %s", image,
			*blk_who_holds(image, who, sizeof(who)) ? who : "another program");
	else if (err == -ENOTBLK)
		log_err("%s: neither an image file nor a block device", image);
	else
		log_err("%s: can't open: %s", image, err_text(err));
	return EXIT_MOUNT;
}

static int open_image(struct front *fr)
{
	const struct blk_opts opts = { .fua = fr->opts.fua };
	const char *image = fr->opts.image;
	int err = -EROFS;

	if (!fr->opts.readonly)
		err = open_patiently(image, BLK_RDWR, &opts, &fr->dev);
	if (!fr->opts.readonly && (err == -EROFS || err == -EACCES)) {
		err = open_patiently(image, BLK_RDONLY, &opts, &fr->dev);
		if (err == 0) {
			log_warn("%s: write-protected, mounting read-only", image);
			fr->opts.readonly = true;
		}
	} else if (fr->opts.readonly) {
		err = open_patiently(image, BLK_RDONLY, &opts, &fr->dev);
	}
	return err ? open_failed(image, err) : 0;
}

static void want_writeback(void *arg)
{
	struct front *fr = arg;
	struct fs *fs = __atomic_load_n(&fr->fs, __ATOMIC_ACQUIRE);

	if (fs)
		fs_want_writeback(fs);
}

static void want_checkpoint(void *arg)
{
	struct front *fr = arg;
	struct fs *fs = __atomic_load_n(&fr->fs, __ATOMIC_ACQUIRE);

	if (fs)
		fs_want_checkpoint(fs);
}

static void became_readonly(void *arg, int error)
{
	const struct front *fr = arg;

	log_err("%s: metadata can't be kept (%s): the file system is read-only until it is mounted "
		"again", fr->opts.image, err_text(error));
}

static int start_cache(struct front *fr)
{
	const struct front_opts *o = &fr->opts;
	const struct cache_config cfg = {
		.bytes = o->cache_size,
		.max_order = o->max_folio ? ilog2(o->max_folio >> SECTOR_SHIFT) : 0xff,
		.min_order = o->min_folio ? ilog2(o->min_folio >> SECTOR_SHIFT) : 0,
		.policy = o->policy[0] ? o->policy : NULL,
		.want_writeback = want_writeback,
		.want_checkpoint = want_checkpoint,
		.arg = fr,
	};
	int err = cache_init(&cfg);

	if (err == -EINVAL && o->min_folio) {
		log_err("min_folio: larger than the largest folio of this cache "
			"(1/64 of cache_size, or max_folio)");
		return EXIT_USAGE;
	}
	if (err) {
		log_err("cache: %s", err_text(err));
		return EXIT_SYSTEM;
	}
	/* A child process would get a copy of what is pinned for I/O. */
	madvise(mem_base(), mem_len(), MADV_DONTFORK);
	err = memerr_start();
	if (err)
		log_warn("memory errors will end the daemon: %s", err_text(err));
	return 0;
}

static int mount_failed(const char *image, int err)
{
	if (err == -EINVAL)
		log_err("%s: not a FolioFS file system; 'mkfs.foliofs' makes one", image);
	else if (err == -EUCLEAN || err == -EBADMSG)
		log_err("%s: the file system is damaged; see what 'fsck.foliofs -n %s' says", image,
			image);
	else if (err == -EOPNOTSUPP)
		log_err("%s: made by a newer FolioFS, with features that this one does not know",
			image);
	else
		log_err("%s: can't mount: %s", image, err_text(err));
	return EXIT_MOUNT;
}

static int format_ram(struct front *fr)
{
	const struct fs_format_opts opts = { .label = "ram" };
	struct fmt_geo geo;
	int err = fs_format(fr->dev, &opts, &geo);

	if (err)
		log_err("%s: can't format: %s", fr->opts.image, err_text(err));
	return err ? EXIT_MOUNT : 0;
}

static int mount_fs(struct front *fr)
{
	const struct front_opts *o = &fr->opts;
	const struct fs_opts opts = {
		.readonly = o->readonly,
		.threads = true,
		.commit_ms = (unsigned)o->commit_s * 1000,
		.nodatasum = o->nodatasum,
		.log_data = o->log_data ? o->log_data : 1,
		.atime = o->atime == FRONT_NOATIME ? FS_NOATIME :
			 o->atime == FRONT_STRICTATIME ? FS_STRICTATIME : FS_RELATIME,
		.nodiratime = o->nodiratime,
		.kernel_times = o->cache == FRONT_CACHE_KERNEL,
		.on_readonly = became_readonly,
		.arg = fr,
	};
	struct fs *fs;
	int err = fs_mount(fr->dev, &opts, &fs);

	if (err)
		return mount_failed(o->image, err);
	__atomic_store_n(&fr->fs, fs, __ATOMIC_RELEASE);
	return 0;
}

/* What was chosen, so that a slow mount can be explained from its log. */
static void say_what(const struct front *fr)
{
	const struct jnl_recovery *rec = fs_recovery(fr->fs);
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], ring[160];

	log_info("%s: FolioFS %s, %s in %s blocks%s", fr->opts.image, FOLIOFS_VERSION,
		 size_to_text(blk_sectors(fr->dev) << SECTOR_SHIFT, a),
		 size_to_text((u64)fs_geo(fr->fs)->block_sectors << SECTOR_SHIFT, b),
		 fr->opts.readonly ? ", read-only" : "");
	log_info("device: %s%s; %s", blk_backend(fr->dev),
		 blk_is_direct(fr->dev) ? blk_has_fua(fr->dev) ? ", O_DIRECT, FUA" : ", O_DIRECT" :
					  ", through the kernel's page cache",
		 strcmp(blk_backend(fr->dev), "uring") == 0 ? ring_describe(ring, sizeof(ring)) :
							      "no io_uring");
	log_info("cache: %s, folios up to %s, policy %s",
		 size_to_text(mem_total_bytes(), a),
		 size_to_text((u64)SECTOR_SIZE << mem_max_order(), b),
		 fr->opts.policy[0] ? fr->opts.policy : "s3fifo");
	if (rec->was_clean)
		log_info("journal: clean");
	else
		log_info("journal: not unmounted cleanly; replayed %llu transactions, %llu records",
			 (unsigned long long)rec->transactions, (unsigned long long)rec->records);
}

static int start_writelog(struct front *fr)
{
	const char *path = fr->opts.writelog;
	int err = path ? blk_writelog_start(fr->dev, path) : 0;

	if (err == -EEXIST)
		log_err("%s: not an older block log: not written over", path);
	else if (err)
		log_err("%s: can't record a block log there: %s", path, err_text(err));
	else if (path)
		log_info("%s: all writes are recorded in the block log %s", fr->opts.image, path);
	return err ? EXIT_MOUNT : 0;
}

int start_fs(struct front *fr)
{
	int status = open_image(fr);

	if (status)
		return status;
	status = start_writelog(fr);
	if (!status)
		status = start_cache(fr);
	if (status)
		goto out_dev;
	if (is_ram(fr->opts.image))
		status = format_ram(fr);
	if (!status)
		status = mount_fs(fr);
	if (status)
		goto out_cache;
	say_what(fr);
	return 0;

out_cache:
	memerr_stop();
	ring_shutdown();
	cache_fini();
out_dev:
	blk_close(fr->dev);
	fr->dev = NULL;
	return status;
}

int stop_fs(struct front *fr)
{
	struct fs *fs = fr->fs;
	bool down;
	int err;

	__atomic_store_n(&fr->fs, NULL, __ATOMIC_RELEASE);
	down = fs_is_down(fs);
	err = fs_unmount(fs, down);
	memerr_stop();
	if (down)
		log_info("%s: was shut down; what was not durable is lost", fr->opts.image);
	else if (err)
		log_err("%s: not everything could be written at unmount: %s", fr->opts.image,
			err_text(err));
	ring_shutdown();
	blk_close(fr->dev);
	cache_fini();
	log_info("%s: unmounted%s", fr->opts.image,
		 err ? " with errors" : down ? " after a shutdown" : ", clean");
	return err;
}
