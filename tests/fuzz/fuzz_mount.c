/*
 * A whole image, damaged below its checksums, is mounted: everything is listed and read, then
 * changed, synced and deleted. Any error is fine; a crash, a hang or a leak is not.
 */
#include "fuzz.h"

#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fs/fs.h"

/* Directories may form circles. */
#define DEPTH_MAX 6u
#define VISITS_MAX 64u

struct walk {
	struct fs *fs;
	u64 ino[VISITS_MAX];
	char name[VISITS_MAX][24];
	u32 nr;
	u32 visits;
	bool change;
};

static const struct fs_cred cred = { 0, 0 };
static u8 buf[20000];

static void try_xattrs(struct inode *ip, bool change)
{
	int len = fs_listxattr(ip, (char *)buf, 4096);

	for (int at = 0; at < len; at += (int)strlen((char *)buf + at) + 1)
		fs_getxattr(ip, (char *)buf + at, buf + 4096, sizeof(buf) - 4096);
	if (change && len > 0) {
		fs_setxattr(ip, "user.new", buf, 5000, 0);
		fs_removexattr(ip, "user.large");
	}
}

static void try_change(struct inode *ip)
{
	fs_write(ip, 100, buf, 5000, 0);
	fs_write(ip, 1u << 20, buf, 10, 0);
	fs_fallocate(ip, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192);
	fs_truncate(ip, 3000);
	fs_fsync(ip, false);
}

static void try_file(struct walk *w, struct inode *ip)
{
	struct stat st;

	fs_getattr(ip, &st);
	try_xattrs(ip, w->change);
	if (S_ISLNK(st.st_mode))
		fs_readlink(ip, (char *)buf, sizeof(buf));
	if (!S_ISREG(st.st_mode))
		return;
	fs_read(ip, 0, buf, sizeof(buf), NULL);
	fs_read(ip, (u64)st.st_size & ~4095ull, buf, 4096, NULL);
	fs_seek(ip, 0, SEEK_DATA);
	fs_seek(ip, 0, SEEK_HOLE);
	if (w->change)
		try_change(ip);
}

static int list(void *arg, const char *name, size_t len, u64 ino, unsigned dtype, u64 cookie)
{
	struct walk *w = arg;

	(void)dtype;
	if (cookie <= 2)
		return 0;
	if (w->nr == VISITS_MAX)
		return 1;
	w->ino[w->nr] = ino;
	snprintf(w->name[w->nr], sizeof(w->name[0]), "%.*s", (int)MIN(len, sizeof(w->name[0]) - 1),
		 name);
	w->nr++;
	return 0;
}

static void walk_dir(struct walk *w, struct inode *dir, unsigned depth)
{
	u32 first = w->nr;

	fs_readdir(dir, 0, list, w);
	for (u32 i = first; i < w->nr && w->visits++ < VISITS_MAX; i++) {
		struct inode *ip;

		if (fs_lookup(dir, w->name[i], strlen(w->name[i]), &ip) &&
		    fs_iget(w->fs, w->ino[i], &ip))
			continue;
		if (S_ISDIR(fs_mode(ip)) && depth < DEPTH_MAX)
			walk_dir(w, ip, depth + 1);
		else
			try_file(w, ip);
		fs_iput(ip);
		if (w->change && i % 2)
			fs_unlink(dir, w->name[i], strlen(w->name[i]));
	}
	w->nr = first;
}

static void add_names(struct inode *root)
{
	struct inode *ip;

	if (!fs_mknod(root, "fresh", 5, S_IFREG | 0644, 0, cred, &ip)) {
		fs_write(ip, 0, buf, sizeof(buf), 0);
		fs_iput(ip);
	}
	if (!fs_mknod(root, "folder", 6, S_IFDIR | 0755, 0, cred, &ip))
		fs_iput(ip);
	fs_rename(root, "long", 4, root, "inline", 6, 0, cred);
	fs_rename(root, "dir", 3, root, "folder", 6, FS_RENAME_EXCHANGE, cred);
	fs_rmdir(root, "folder", 6);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct walk w;
	struct fuzz_input in = { data, size };
	u8 how = (u8)fuzz_take(&in, 1);
	enum fuzz_base which = how % FUZZ_NR_BASES;
	struct blk_dev *dev = fuzz_image(which);
	struct fs_opts mo = { .readonly = (how & 12) == 12, .commit_ms = 3600 * 1000 };
	struct inode *root;

	fuzz_damage(dev, which, &in);
	w = (struct walk){ .change = how & 2 };
	if (!fs_mount(dev, &mo, &w.fs)) {
		if (!fs_iget(w.fs, FMT_ROOT_INO, &root)) {
			walk_dir(&w, root, 0);
			if (w.change)
				add_names(root);
			fs_iput(root);
		}
		fs_sync(w.fs);
		fs_unmount(w.fs, how & 16);
	}
	blk_close(dev);
	return 0;
}
