/*
 * Open files; who writes to an inode; file capabilities of what is written.
 *
 * Rules
 * 1. front->caps_gen grows whenever a capability is set on any inode. A file that was seen without
 *    one at the present value need not look again: writes pay one comparison.
 * 2. With cache=kernel an inode is in the tree of writers from the open for writing to the release,
 *    which the kernel sends after it has written back what it held.
 *
 * 3. All open files are listed: an aborted connection, and often an unmount, sends no RELEASE, and
 *    fs wants every reference back.
 *
 * Locking: files_lock guards tree and list and is a leaf. error_cursor and caps_gen of a file are
 * changed by its own requests; a lost update costs a second look, nothing else.
 */
#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <errno.h>
#include <stdlib.h>

#include "base/lock.h"
#include "front/file.h"
#include "front/front.h"

struct writers {
	RB_ENTRY(writers) node;
	u64 ino;
	u64 count;
};

static int writers_compare(const struct writers *a, const struct writers *b)
{
	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

RB_HEAD(writers_tree, writers);
RB_PROTOTYPE_INTERNAL(writers_tree, writers, node, writers_compare, UNUSED static)
RB_GENERATE_INTERNAL(writers_tree, writers, node, writers_compare, UNUSED static)

static struct writers_tree writers_tree = RB_INITIALIZER(&writers_tree);
static TAILQ_HEAD(, front_file) files = TAILQ_HEAD_INITIALIZER(files);
static struct mutex files_lock = MUTEX_INIT(RANK_STAT);

static int writers_add(u64 ino)
{
	struct writers *w = calloc(1, sizeof(*w)), *old;

	if (!w)
		return -ENOMEM;
	w->ino = ino;
	w->count = 1;
	mutex_lock(&files_lock);
	old = RB_INSERT(writers_tree, &writers_tree, w);
	if (old)
		old->count++;
	mutex_unlock(&files_lock);
	if (old)
		free(w);
	return 0;
}

static void writers_sub(u64 ino)
{
	struct writers key = { .ino = ino }, *w;

	mutex_lock(&files_lock);
	w = RB_FIND(writers_tree, &writers_tree, &key);
	if (w && --w->count == 0)
		RB_REMOVE(writers_tree, &writers_tree, w);
	else
		w = NULL;
	mutex_unlock(&files_lock);
	free(w);
}

bool file_has_writers(u64 ino)
{
	struct writers key = { .ino = ino };
	bool has;

	mutex_lock(&files_lock);
	has = RB_FIND(writers_tree, &writers_tree, &key) != NULL;
	mutex_unlock(&files_lock);
	return has;
}

int file_open(struct front *fr, struct inode *ip, bool writer, struct front_file **out)
{
	struct front_file *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	if (writer && fr->kernel_cache) {
		if (writers_add(fs_ino(ip))) {
			free(f);
			return -ENOMEM;
		}
		f->counted = true;
	}
	f->ip = ip;
	f->writer = writer;
	f->error_cursor = fs_error_cursor(ip);
	f->caps_gen = UINT64_MAX;
	f->ra.max_sectors = (u32)(fr->opts.readahead >> SECTOR_SHIFT);
	mutex_lock(&files_lock);
	TAILQ_INSERT_TAIL(&files, f, link);
	fr->nr_files++;
	mutex_unlock(&files_lock);
	*out = f;
	return 0;
}

void file_close(struct front *fr, struct front_file *f)
{
	mutex_lock(&files_lock);
	TAILQ_REMOVE(&files, f, link);
	fr->nr_files--;
	mutex_unlock(&files_lock);
	if (f->counted)
		writers_sub(fs_ino(f->ip));
	fs_iput(f->ip);
	free(f);
}

void file_close_all(struct front *fr)
{
	struct front_file *f;

	while ((f = TAILQ_FIRST(&files)))
		file_close(fr, f);
}

int caps_kill(struct inode *ip)
{
	int len = fs_getxattr(ip, XATTR_CAPS, NULL, 0);

	if (len < 0)
		return len == -ENODATA ? 0 : len;
	len = fs_removexattr(ip, XATTR_CAPS);
	return len == -ENODATA ? 0 : len;
}

int file_caps_kill(struct front *fr, struct front_file *f)
{
	u64 gen = __atomic_load_n(&fr->caps_gen, __ATOMIC_ACQUIRE);
	int err;

	if (likely(f->caps_gen == gen))
		return 0;
	err = caps_kill(f->ip);
	if (!err)
		f->caps_gen = gen;
	return err;
}
