/*
 * bench_null MOUNTPOINT MIB: a FUSE server with no file system behind it.
 *
 * One file, "data", of MIB MiB in memory, in whole pages as any cache keeps it (docs/PERFORMANCE.md
 * says why that counts), read and written directly (past the kernel's page cache)
 * by libfuse's own multi-threaded loop with a cloned device for each thread. What it needs for a
 * request is what FUSE itself and the usual way to serve it cost.
 */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_INO 2
#define PAGE 4096
#define VALID_S 3600.0

static char *data;
static size_t size;

static int fill(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
	st->st_nlink = ino == FUSE_ROOT_ID ? 2 : 1;
	st->st_size = ino == FILE_INO ? (off_t)size : 0;
	return ino == FUSE_ROOT_ID || ino == FILE_INO ? 0 : ENOENT;
}

static void null_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {
		.ino = FILE_INO, .attr_timeout = VALID_S, .entry_timeout = VALID_S,
	};

	if (parent != FUSE_ROOT_ID || strcmp(name, "data") != 0 || fill(FILE_INO, &e.attr))
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_entry(req, &e);
}

static void null_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	if (fill(ino, &st))
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_attr(req, &st, VALID_S);
}

static void null_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
}

static void null_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t pos,
		      struct fuse_file_info *fi)
{
	size_t at = (size_t)pos < size ? (size_t)pos : size;

	(void)ino;
	(void)fi;
	fuse_reply_buf(req, data + at, len < size - at ? len : size - at);
}

static void null_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t len, off_t pos,
		       struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	if ((size_t)pos > size || len > size - (size_t)pos) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	memcpy(data + pos, buf, len);
	fuse_reply_write(req, len);
}

/* Lists nothing: who asks knows the one name. */
static void null_readdir(fuse_req_t req, fuse_ino_t ino, size_t len, off_t pos,
			 struct fuse_file_info *fi)
{
	(void)ino;
	(void)len;
	(void)pos;
	(void)fi;
	fuse_reply_buf(req, NULL, 0);
}

static const struct fuse_lowlevel_ops ops = {
	.lookup = null_lookup, .getattr = null_getattr, .open = null_open, .read = null_read,
	.write = null_write, .readdir = null_readdir,
};

static int serve(const char *point)
{
	char *argv[] = { (char[]){ "bench_null" }, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_session *se = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int status = 1;

	if (se && config && fuse_set_signal_handlers(se) == 0 &&
	    fuse_session_mount(se, point) == 0) {
		fuse_loop_cfg_set_clone_fd(config, 1);
		status = fuse_session_loop_mt(se, config) != 0;
		fuse_session_unmount(se);
	}
	fuse_loop_cfg_destroy(config);
	if (se)
		fuse_session_destroy(se);
	return status;
}

int main(int argc, char **argv)
{
	size = argc == 3 ? strtoul(argv[2], NULL, 10) << 20 : 0;
	data = size ? aligned_alloc(PAGE, size) : NULL;
	if (!data) {
		fprintf(stderr, "usage: bench_null MOUNTPOINT MIB\n");
		return 2;
	}
	memset(data, 'n', size);
	return serve(argv[1]);
}
