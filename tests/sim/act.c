/* See act.h. The flusher is not left to the clock: write_back and tick do what it would do. */
#include "act.h"

#include <check.h>
#include <linux/falloc.h>
#include <string.h>

#include "blk/sim.h"
#include "fs/inode.h"
#include "iomap/iomap.h"
#include "journal/jnl_priv.h"

#define OK(expr) ck_assert_int_eq((expr), 0)

static const struct fs_cred cred = { 0, 0 };

static struct inode *get(struct world *w, const struct world_node *n)
{
	struct inode *ip;

	OK(fs_iget(w->fs, n->ino, &ip));
	return ip;
}

static unsigned name_text(u32 name, char buf[40])
{
	return (unsigned)sprintf(buf, "%u%s", name, name % 3 ? "" : "-name-that-takes-more-room");
}

static void focus(struct world *w, struct world_node *n, u32 dir)
{
	w->focus = n;
	w->focus_dir = w->node[dir];
}

static void detail(struct world *w, const struct world_node *n, u64 pos, u64 len)
{
	w->focus = w->node[n->id];
	snprintf(w->detail, sizeof(w->detail), " (inode %llu, size %llu: %llu + %llu)",
		 (unsigned long long)n->ino, (unsigned long long)n->size, (unsigned long long)pos,
		 (unsigned long long)len);
}

/* ---- names ---- */

static struct world_node *made(struct world *w, u32 dir, u32 name, u32 mode, struct inode *ip)
{
	struct world_node *n = world_node_new(w, mode, fs_ino(ip));

	world_entry_add(w, dir, name, n->id);
	focus(w, n, dir);
	fs_iput(ip);
	return n;
}

struct world_node *act_make(struct world *w, u32 dir, u32 name, u32 mode)
{
	struct inode *dp = get(w, w->node[dir]), *ip;
	char text[40];

	OK(fs_mknod(dp, text, name_text(name, text), mode,
		    S_ISCHR(mode) ? WORLD_RDEV : 0, cred, &ip));
	fs_iput(dp);
	return made(w, dir, name, mode, ip);
}

struct world_node *act_symlink(struct world *w, u32 dir, u32 name, u32 target_len)
{
	struct inode *dp = get(w, w->node[dir]), *ip;
	char text[40], target[WORLD_TARGET_MAX];
	struct world_node *n;

	world_target(target, target_len);
	OK(fs_symlink(dp, text, name_text(name, text), target, target_len, cred, &ip));
	fs_iput(dp);
	n = made(w, dir, name, S_IFLNK | 0777, ip);
	n->size = target_len;
	return n;
}

struct world_node *act_name_tmpfile(struct world *w, u32 dir, u32 name)
{
	struct inode *dp = get(w, w->node[dir]), *ip;
	char text[40];

	OK(fs_tmpfile(dp, 0644, cred, &ip));
	OK(fs_link(ip, dp, text, name_text(name, text)));
	fs_iput(dp);
	return made(w, dir, name, S_IFREG | 0644, ip);
}

void act_link(struct world *w, const struct world_entry *e, u32 dir, u32 name)
{
	struct inode *dp = get(w, w->node[dir]), *ip = get(w, w->node[e->id]);
	char text[40];
	u32 id = e->id;

	OK(fs_link(ip, dp, text, name_text(name, text)));
	world_entry_add(w, dir, name, id);
	focus(w, w->node[id], dir);
	fs_iput(ip);
	fs_iput(dp);
}

void act_remove(struct world *w, struct world_entry *e)
{
	struct inode *dp = get(w, w->node[e->dir]);
	char text[40];

	focus(w, w->node[e->id], e->dir);
	if (S_ISDIR(w->node[e->id]->mode))
		OK(fs_rmdir(dp, text, name_text(e->name, text)));
	else
		OK(fs_unlink(dp, text, name_text(e->name, text)));
	world_entry_remove(w, e);
	fs_iput(dp);
}

static void rename_to(struct world *w, struct world_entry *e, u32 dir, u32 name, unsigned flags)
{
	struct inode *sp = get(w, w->node[e->dir]), *dp = get(w, w->node[dir]);
	char stext[40], dtext[40];

	OK(fs_rename(sp, stext, name_text(e->name, stext), dp, dtext, name_text(name, dtext),
		     flags, cred));
	fs_iput(sp);
	fs_iput(dp);
}

void act_rename(struct world *w, struct world_entry *e, u32 dir, u32 name)
{
	struct world_node *n = w->node[e->id];
	struct world_entry *to = world_entry_find(w, dir, name);
	u32 sdir = e->dir, sname = e->name;

	rename_to(w, e, dir, name, 0);
	detail(w, n, dir, name);
	focus(w, n, dir);
	if (to) {
		world_promise(&n->forced, w->op, w->op);
		world_entry_remove(w, to);
	}
	world_entry_remove(w, world_entry_find(w, sdir, sname));
	world_entry_add(w, dir, name, n->id);
}

void act_exchange(struct world *w, struct world_entry *x, struct world_entry *y)
{
	struct world_entry a = *x, b = *y;

	rename_to(w, x, y->dir, y->name, FS_RENAME_EXCHANGE);
	world_entry_remove(w, world_entry_find(w, a.dir, a.name));
	world_entry_remove(w, world_entry_find(w, b.dir, b.name));
	world_entry_add(w, a.dir, a.name, b.id);
	world_entry_add(w, b.dir, b.name, a.id);
	focus(w, w->node[a.id], b.dir);
}

/* ---- data ---- */

static void write_with(struct world *w, struct world_node *n, u64 pos, u64 len, unsigned flags)
{
	struct inode *ip = get(w, n);
	static u8 buf[WORLD_FILE_MAX];
	u64 stamp = world_random(w);

	len = MIN(len, WORLD_FILE_MAX - pos);
	detail(w, n, pos, len);
	if (len > 0) {
		for (u64 i = 0; i < len; i += 8, stamp += 0x0101010101010101ull)
			memcpy(buf + i, &stamp, MIN(len - i, (u64)8));
		ck_assert_int_eq(fs_write(ip, pos, buf, len, flags), (ssize_t)len);
		memcpy(n->data + pos, buf, len);
		n->size = MAX(n->size, pos + len);
		world_note_data(w, n, true);
	}
	fs_iput(ip);
}

void act_write(struct world *w, struct world_node *n, u64 pos, u64 len)
{
	write_with(w, n, pos, len, 0);
}

/*
 * What was written before and is still dirty is not promised by the write: so it is synced first,
 * and all is promised in the end.
 */
void act_write_sync(struct world *w, struct world_node *n, u64 pos, u64 len)
{
	struct inode *ip = get(w, n);
	size_t at;

	OK(fs_fsync(ip, true));
	fs_iput(ip);
	write_with(w, n, pos, len, FS_WRITE_DSYNC);
	at = sim_nr_events(w->dev);
	world_promise(&n->data_kept, at, w->op);
	world_promise(&w->names_kept, at, n->created);
}

void act_copy(struct world *w, struct world_node *src, struct world_node *dst, u64 len)
{
	struct inode *sp = get(w, src), *dp = get(w, dst);

	len = MIN(len, src->size);
	detail(w, dst, 0, len);
	ck_assert_int_eq(fs_copy_range(sp, 0, dp, 0, len, 0), (ssize_t)len);
	memcpy(dst->data, src->data, len);
	dst->size = MAX(dst->size, len);
	world_note_data(w, dst, true);
	fs_iput(sp);
	fs_iput(dp);
}

void act_truncate(struct world *w, struct world_node *n, u64 size)
{
	struct inode *ip = get(w, n);

	detail(w, n, size, 0);
	OK(fs_truncate(ip, size));
	fs_iput(ip);
	if (size < n->size)
		memset(n->data + size, 0, n->size - size);
	n->size = size;
	world_note_data(w, n, false);
}

void act_fallocate(struct world *w, struct world_node *n, int mode, u64 pos, u64 len)
{
	struct inode *ip = get(w, n);
	u64 end;

	len = MIN(len, WORLD_FILE_MAX - pos);
	end = pos + len;
	detail(w, n, pos, len);
	OK(fs_fallocate(ip, mode, pos, len));
	fs_iput(ip);
	if ((mode & ~FALLOC_FL_KEEP_SIZE) && pos < n->size)
		memset(n->data + pos, 0, MIN(end, n->size) - pos);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		n->size = MAX(n->size, end);
	world_note_data(w, n, false);
}

/* ---- attributes ---- */

void act_setattr(struct world *w, struct world_node *n, u32 mode, u32 uid)
{
	struct fs_attr a = { .valid = FS_ATTR_MODE | FS_ATTR_UID, .mode = mode, .uid = uid };
	struct inode *ip = get(w, n);

	detail(w, n, mode, uid);
	OK(fs_setattr(ip, &a));
	fs_iput(ip);
	n->mode = (n->mode & S_IFMT) | mode;
	n->uid = uid;
	world_note_attr(w, n);
}

static const char *xattr_name(u32 i)
{
	static char name[8] = "user.x";

	name[5] = (char)('0' + i);
	return name;
}

void act_setxattr(struct world *w, struct world_node *n, u32 i, size_t len)
{
	static u8 val[WORLD_XATTR_MAX];
	struct inode *ip = get(w, n);

	detail(w, n, i, len);
	memset(val, (int)world_below(w, 256), len);
	OK(fs_setxattr(ip, xattr_name(i), val, len, 0));
	fs_iput(ip);
	n->xattr[i] = world_xattr_hash(val, len);
	n->touched = w->op;
}

void act_removexattr(struct world *w, struct world_node *n, u32 i)
{
	struct inode *ip = get(w, n);

	detail(w, n, i, 0);
	OK(fs_removexattr(ip, xattr_name(i)));
	fs_iput(ip);
	n->xattr[i] = 0;
	n->touched = w->op;
}

/* ---- open files ---- */

void act_hold(struct world *w, struct world_node *n)
{
	w->held.node = n;
	w->held.ip = get(w, n);
}

void act_release(struct world *w)
{
	if (w->held.ip)
		fs_iput(w->held.ip);
	w->held.ip = NULL;
	w->held.node = NULL;
}

/* ---- what makes durable ---- */

void act_fsync(struct world *w, struct world_node *n, bool datasync)
{
	struct inode *ip = get(w, n);
	size_t at;

	detail(w, n, 0, n->size);
	OK(fs_fsync(ip, datasync));
	fs_iput(ip);
	at = sim_nr_events(w->dev);
	world_promise(&n->data_kept, at, w->op);
	world_promise(&w->names_kept, at, datasync ? n->created : n->touched);
	if (!datasync)
		world_promise(&n->attr_kept, at, w->op);
}

void act_sync(struct world *w)
{
	OK(fs_sync(w->fs));
	world_promise_all(w, true);
}

void act_tick(struct world *w)
{
	OK(fs_tick(w->fs));
	world_promise_all(w, false);
}

void act_checkpoint(struct world *w)
{
	OK(jnl_checkpoint_all(fs_jnl(w->fs)));
}

void act_checkpoint_some(struct world *w)
{
	struct jnl *j = fs_jnl(w->fs);

	OK(checkpoint_to(j, world_below(w, j->used + 1), UINT64_MAX));
}

void act_write_back(struct world *w, struct world_node *n)
{
	struct inode *ip = get(w, n);

	detail(w, n, 0, n->size);
	OK(iomap_writeback(&ip->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL));
	fs_iput(ip);
}

void act_remount(struct world *w)
{
	act_release(w);
	OK(fs_unmount(w->fs, false));
	world_promise_all(w, true);
	world_mount(w);
}
