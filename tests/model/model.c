/*
 * See model.h.
 *
 * 1. Bytes behind the end of a file are zero, so that growing it is nothing but a new size.
 * 2. A node lives as long as it has a name or is open.
 */
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"

size_t model_name(u32 number, char buf[MODEL_NAME_BUF])
{
	size_t len = number % 8 == 7 ? 255 : number % 8 == 6 ? 100 : 0;
	size_t n = (size_t)sprintf(buf, "n%u", number);

	if (len <= n)
		return n;
	memset(buf + n, 'a' + (int)(number % 26), len - n);
	buf[len] = 0;
	return len;
}

static struct mnode *node_new(u32 mode)
{
	struct mnode *n = calloc(1, sizeof(*n));

	n->mode = mode;
	n->mtime.tv_nsec = -1;
	if (S_ISREG(mode))
		n->data = calloc(1, MODEL_FILE_MAX);
	if (S_ISDIR(mode))
		n->e = calloc(MODEL_NAMES, sizeof(*n->e));
	return n;
}

static void node_free(struct model *m, struct mnode *n)
{
	if (S_ISREG(n->mode))
		m->nr_files--;
	for (unsigned i = 0; i < MODEL_XATTRS; i++)
		free(n->x[i].val);
	free(n->data);
	free(n->target);
	free(n->e);
	free(n);
}

static void dirs_add(struct model *m, struct mnode *n)
{
	n->next_dir = m->dirs;
	m->dirs = n;
	m->nr_dirs++;
}

static void dirs_remove(struct model *m, struct mnode *n)
{
	struct mnode **p = &m->dirs;

	while (*p != n)
		p = &(*p)->next_dir;
	*p = n->next_dir;
	m->nr_dirs--;
}

void model_init(struct model *m)
{
	*m = (struct model){ .root = node_new(S_IFDIR | 0755) };
	m->root->nlink = 2;
	dirs_add(m, m->root);
}

void model_fini(struct model *m)
{
	while (m->dirs) {
		struct mnode *d = m->dirs;

		m->dirs = d->next_dir;
		for (u32 i = 0; i < d->nr_e; i++) {
			struct mnode *n = d->e[i].node;

			if (!S_ISDIR(n->mode) && --n->nlink == 0)
				node_free(m, n);
		}
		node_free(m, d);
	}
}

static struct mentry *entry_find(const struct mnode *dir, u32 name)
{
	for (u32 i = 0; i < dir->nr_e; i++)
		if (dir->e[i].name == name)
			return &dir->e[i];
	return NULL;
}

struct mnode *model_find(const struct mnode *dir, u32 name)
{
	struct mentry *e = entry_find(dir, name);

	return e ? e->node : NULL;
}

bool model_is_above(const struct mnode *above, const struct mnode *dir)
{
	for (; dir; dir = dir->parent)
		if (dir == above)
			return true;
	return false;
}

struct mnode *model_dir(const struct model *m, u64 dice)
{
	struct mnode *d = m->dirs;

	for (dice %= m->nr_dirs; dice; dice--)
		d = d->next_dir;
	return d;
}

/* ---- names ---- */

static void entry_add(struct mnode *dir, u32 name, struct mnode *n)
{
	dir->e[dir->nr_e++] = (struct mentry){ name, n };
	if (!S_ISDIR(n->mode))
		return;
	n->parent = dir;
	n->name = name;
	dir->nlink++;
}

static struct mnode *entry_remove(struct mnode *dir, u32 name)
{
	struct mentry *e = entry_find(dir, name);
	struct mnode *n = e->node;

	*e = dir->e[--dir->nr_e];
	if (S_ISDIR(n->mode))
		dir->nlink--;
	return n;
}

struct mnode *model_add(struct model *m, struct mnode *dir, u32 name, u32 mode)
{
	struct mnode *n = node_new(mode);

	n->nlink = S_ISDIR(mode) ? 2 : 1;
	entry_add(dir, name, n);
	if (S_ISDIR(mode))
		dirs_add(m, n);
	if (S_ISREG(mode))
		m->nr_files++;
	return n;
}

void model_link(struct mnode *n, struct mnode *dir, u32 name)
{
	n->nlink++;
	entry_add(dir, name, n);
}

void model_close(struct model *m, struct mnode *n)
{
	if (--n->opens == 0 && n->nlink == 0)
		node_free(m, n);
}

static void drop_link(struct model *m, struct mnode *n)
{
	if (S_ISDIR(n->mode)) {
		dirs_remove(m, n);
		n->nlink = 0;
	} else {
		n->nlink--;
	}
	if (n->nlink == 0 && n->opens == 0)
		node_free(m, n);
}

void model_remove(struct model *m, struct mnode *dir, u32 name)
{
	drop_link(m, entry_remove(dir, name));
}

void model_move(struct model *m, struct mnode *sdir, u32 sname, struct mnode *ddir, u32 dname)
{
	struct mnode *n = entry_remove(sdir, sname);

	if (entry_find(ddir, dname))
		model_remove(m, ddir, dname);
	entry_add(ddir, dname, n);
}

void model_exchange(struct mnode *sdir, u32 sname, struct mnode *ddir, u32 dname)
{
	struct mnode *s = entry_remove(sdir, sname), *d = entry_remove(ddir, dname);

	entry_add(sdir, sname, d);
	entry_add(ddir, dname, s);
}

static void note(int errors[8], bool holds, int error)
{
	unsigned i = 0;

	if (!holds)
		return;
	while (errors[i])
		i++;
	errors[i] = -error;
}

int model_rename_check(const struct mnode *sdir, u32 sname, const struct mnode *ddir, u32 dname,
		       unsigned flags, int errors[8])
{
	const struct mnode *s = model_find(sdir, sname), *d = model_find(ddir, dname);
	bool swap = flags & FS_RENAME_EXCHANGE, keep = flags & FS_RENAME_NOREPLACE;
	bool over = d && !swap;

	memset(errors, 0, 8 * sizeof(errors[0]));
	note(errors, !s || (swap && !d), ENOENT);
	if (!s)
		return errors[0];
	note(errors, d && keep, EEXIST);
	if (s == d && !errors[0])
		return 1;
	note(errors, S_ISDIR(s->mode) && model_is_above(s, ddir), EINVAL);
	note(errors, swap && d && S_ISDIR(d->mode) && model_is_above(d, sdir), EINVAL);
	note(errors, over && S_ISDIR(s->mode) && !S_ISDIR(d->mode), ENOTDIR);
	note(errors, over && !S_ISDIR(s->mode) && S_ISDIR(d->mode), EISDIR);
	note(errors, over && S_ISDIR(d->mode) && d->nr_e, ENOTEMPTY);
	return errors[0];
}

/* ---- contents ---- */

void model_write(struct mnode *n, u64 pos, const void *buf, u64 len)
{
	memcpy(n->data + pos, buf, len);
	n->size = MAX(n->size, pos + len);
	n->mtime.tv_nsec = -1;
}

void model_zero(struct mnode *n, u64 pos, u64 len)
{
	if (pos < n->size)
		memset(n->data + pos, 0, MIN(len, n->size - pos));
	n->mtime.tv_nsec = -1;
}

void model_truncate(struct mnode *n, u64 size)
{
	if (size < n->size)
		memset(n->data + size, 0, n->size - size);
	n->size = size;
	n->mtime.tv_nsec = -1;
}
