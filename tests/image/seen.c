/* What programs see of a file system: read whole, and compared. See sample.h. */
#include "sample.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "cache/cache.h"
#include "fs/fs.h"

#define READ_BYTES (256u << 10)

struct listing {
	char name[64][FMT_NAME_MAX + 1];
	u32 nr;
	u64 cookie;
};

static struct seen *seen_add(struct seen_all *a)
{
	if (a->nr == a->max) {
		a->max = a->max ? a->max * 2 : 256;
		a->s = realloc(a->s, a->max * sizeof(*a->s));
		ck_assert_ptr_nonnull(a->s);
	}
	return memset(&a->s[a->nr++], 0, sizeof(*a->s));
}

void seen_free(struct seen_all *a)
{
	free(a->s);
	*a = (struct seen_all){ 0 };
}

static u64 mix(u64 h, const void *buf, size_t len)
{
	return hash64_seed(buf, len, h);
}

/* Sector by sector where there is an error, so that one bad sector is one. */
static void read_data(struct inode *ip, struct seen *out)
{
	static u8 buf[READ_BYTES];

	for (u64 pos = 0; pos < out->size;) {
		ssize_t n = fs_read(ip, pos, buf, READ_BYTES, NULL);

		if (n <= 0)
			n = fs_read(ip, pos, buf, SECTOR_SIZE, NULL);
		if (n <= 0) {
			out->bad_sectors++;
			n = SECTOR_SIZE;
			memset(buf, 0xee, SECTOR_SIZE);
		}
		out->data = mix(out->data, buf, (size_t)n);
		pos += (u64)n;
	}
}

static void read_xattrs(struct inode *ip, struct seen *out)
{
	static char names[65536], val[65536];
	int len = fs_listxattr(ip, names, sizeof(names));

	for (char *at = names; len > 0 && at < names + len; at += strlen(at) + 1) {
		int n = fs_getxattr(ip, at, val, sizeof(val));

		out->xattrs ^= mix(mix(1, at, strlen(at)), val, n > 0 ? (size_t)n : 0);
	}
}

static void read_one(struct inode *ip, const char *path, struct seen_all *all)
{
	struct seen *out = seen_add(all);
	struct stat st;
	char link[4096];

	fs_getattr(ip, &st);
	snprintf(out->path, sizeof(out->path), "%s", path);
	out->ino = st.st_ino;
	out->mode = st.st_mode;
	out->size = S_ISDIR(st.st_mode) ? 0 : (u64)st.st_size;
	out->nlink = S_ISDIR(st.st_mode) ? 0 : (u32)st.st_nlink;
	if (S_ISREG(st.st_mode))
		read_data(ip, out);
	if (S_ISLNK(st.st_mode)) {
		int n = fs_readlink(ip, link, sizeof(link));

		out->data = mix(2, link, n > 0 ? (size_t)n : 0);
	}
	read_xattrs(ip, out);
}

static int take_name(void *arg, const char *name, size_t len, u64 ino, unsigned dtype, u64 cookie)
{
	struct listing *l = arg;

	(void)ino;
	(void)dtype;
	if (l->nr == ARRAY_LEN(l->name))
		return 1;
	l->cookie = cookie;
	if (len <= 2 && memcmp(name, "..", len) == 0)
		return 0;
	memcpy(l->name[l->nr], name, len);
	l->name[l->nr++][len] = 0;
	return 0;
}

static void read_dir(struct inode *dir, const char *path, struct seen_all *all)
{
	struct listing *l = calloc(1, sizeof(*l));

	do {
		l->nr = 0;
		if (fs_readdir(dir, l->cookie, take_name, l))
			break;
		for (u32 i = 0; i < l->nr; i++) {
			char sub[300];
			struct inode *ip;

			snprintf(sub, sizeof(sub), "%.40s/%.250s", path, l->name[i]);
			if (fs_lookup(dir, l->name[i], strlen(l->name[i]), &ip))
				continue;
			read_one(ip, sub, all);
			if (S_ISDIR(fs_mode(ip)))
				read_dir(ip, sub, all);
			fs_iput(ip);
		}
	} while (l->nr);
	free(l);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->path, ((const struct seen *)b)->path);
}

void seen_walk(struct fs *fs, struct seen_all *out)
{
	struct inode *root;

	*out = (struct seen_all){ 0 };
	ck_assert_int_eq(fs_iget(fs, FMT_ROOT_INO, &root), 0);
	read_one(root, "", out);
	read_dir(root, "", out);
	fs_iput(root);
}

void seen_read(struct blk_dev *dev, struct seen_all *out)
{
	struct cache_config cfg = { .bytes = 32ull << 20, .max_order = 0xff };
	struct fs_opts o = { .readonly = true };
	struct fs *fs;

	ck_assert_int_eq(cache_init(&cfg), 0);
	ck_assert_int_eq(fs_mount(dev, &o, &fs), 0);
	seen_walk(fs, out);
	ck_assert_int_eq(fs_unmount(fs, false), 0);
	cache_fini();
	qsort(out->s, out->nr, sizeof(*out->s), by_path);
}

void seen_compare(const struct seen_all *was, const struct seen_all *is, u32 *gone, u32 *different)
{
	*gone = *different = 0;
	for (u32 i = 0; i < was->nr; i++) {
		const struct seen *x = &was->s[i];
		const struct seen *y = bsearch(x, is->s, is->nr, sizeof(*y), by_path);

		if (!y) {
			printf("    gone: %s\n", x->path);
			++*gone;
		} else if (x->size != y->size || x->mode != y->mode || x->nlink != y->nlink ||
			   x->data != y->data || x->xattrs != y->xattrs) {
			printf("    different: %s%s%s%s%s%s\n", x->path,
			       x->size != y->size ? ", size" : "",
			       x->mode != y->mode ? ", mode" : "",
			       x->nlink != y->nlink ? ", links" : "",
			       x->data != y->data ? ", data" : "",
			       x->xattrs != y->xattrs ? ", attributes" : "");
			++*different;
		}
	}
	fflush(stdout);
}
