/*
 * The model: a file system of the simplest kind, a tree of arrays in memory. It says what each
 * operation of fs.h must return and what must be there afterwards. No I/O, no locks: one thread
 * a model.
 */
#ifndef TESTS_MODEL_MODEL_H
#define TESTS_MODEL_MODEL_H

#include <sys/stat.h>

#include "base/types.h"

#define MODEL_NAMES 40u                 /* numbers of names, so that they meet often */
#define MODEL_NAME_BUF 256u
#define MODEL_FILE_MAX (4u << 20)       /* bytes of the longest file */
#define MODEL_XATTRS 6u                 /* numbers of xattr names of one inode */
#define MODEL_XATTR_MAX 6000u

struct mnode;

struct mentry {
	u32 name;                       /* number, see model_name() */
	struct mnode *node;
};

struct mxattr {
	bool set;
	u32 len;
	u8 *val;
};

struct mnode {
	u64 ino;
	u32 mode, uid, nlink, opens;    /* freed when the last two are 0 */
	struct timespec mtime;          /* what setattr set; tv_nsec < 0: not known */
	u8 *data;                       /* regular: MODEL_FILE_MAX bytes, zero behind size */
	u64 size;
	char *target;                   /* symbolic link */
	struct mxattr x[MODEL_XATTRS];
	struct mentry *e;               /* directory: MODEL_NAMES entries at most */
	u32 nr_e;
	struct mnode *parent;           /* directory; NULL at the root */
	u32 name;                       /* of a directory in its parent */
	struct mnode *next_dir;         /* all directories */
};

struct model {
	struct mnode *root;
	struct mnode *dirs;
	u32 nr_dirs, nr_files;
};

void model_init(struct model *m);
void model_fini(struct model *m);       /* no node is open */

/* Text of a name; some are short, some as long as they may be. Returns its length. */
size_t model_name(u32 number, char buf[MODEL_NAME_BUF]);

struct mnode *model_find(const struct mnode *dir, u32 name);
bool model_is_above(const struct mnode *above, const struct mnode *dir);  /* or the same */
struct mnode *model_dir(const struct model *m, u64 dice);

/* What the name operations do when they succeed. */
struct mnode *model_add(struct model *m, struct mnode *dir, u32 name, u32 mode);
void model_link(struct mnode *n, struct mnode *dir, u32 name);
void model_remove(struct model *m, struct mnode *dir, u32 name);
void model_move(struct model *m, struct mnode *sdir, u32 sname, struct mnode *ddir, u32 dname);
void model_exchange(struct mnode *sdir, u32 sname, struct mnode *ddir, u32 dname);
void model_close(struct model *m, struct mnode *n);

/*
 * What rename must return: 0 success, 1 success without any change, or one of `errors` (negative;
 * several reasons may hold at once), the first of them returned.
 */
int model_rename_check(const struct mnode *sdir, u32 sname, const struct mnode *ddir, u32 dname,
		       unsigned flags, int errors[8]);

/* Contents. */
void model_write(struct mnode *n, u64 pos, const void *buf, u64 len);
void model_truncate(struct mnode *n, u64 size);
void model_zero(struct mnode *n, u64 pos, u64 len);     /* within the file */

#endif
