/*
 * The operations of a world. All of them succeed: what can't is not tried. What an operation
 * promises is noted when it has returned.
 *
 * The flusher is not left to the clock: operation "write back" does what it would do, without
 * waiting for durability, and "tick" commits what there is.
 */
#include "world.h"

#include <check.h>
#include <linux/falloc.h>
#include <string.h>

#include "blk/sim.h"
#include "fs/inode.h"
#include "iomap/iomap.h"

#define OK(expr) ck_assert_int_eq((expr), 0)

static const struct fs_cred cred = { 0, 0 };

/* ---- choosing and finding ---- */

static struct inode *get(struct world *w, const struct world_node *n)
{
	struct inode *ip;

	OK(fs_iget(w->fs, n->ino, &ip));
	return ip;
}

/* An entry of this type whose node is still there; NULL after some tries. */
static struct world_entry *choose(struct world *w, u32 type)
{
	for (unsigned tries = 0; w->nr_entries && tries < 12; tries++) {
		struct world_entry *e = &w->entry[world_below(w, w->nr_entries)];

		if (!type || (w->node[e->id]->mode & S_IFMT) == type)
			return e;
	}
	return NULL;
}

static struct world_node *choose_file(struct world *w)
{
	struct world_entry *e;

	if (w->held.node && world_below(w, 8) == 0)
		return w->held.node;
	e = choose(w, S_IFREG);
	return e ? w->node[e->id] : NULL;
}

static u32 choose_dir(struct world *w)
{
	struct world_entry *e = world_below(w, 3) ? NULL : choose(w, S_IFDIR);

	return e ? e->id : 0;
}

static unsigned name_text(u32 name, char buf[40])
{
	return (unsigned)sprintf(buf, "%u%s", name, name % 3 ? "" : "-name-that-takes-more-room");
}

static u32 count(const struct world *w, u32 type)
{
	u32 nr = 0;

	for (u32 i = 0; i < w->nr_entries; i++)
		nr += (w->node[w->entry[i].id]->mode & S_IFMT) == type;
	return nr;
}

void world_detail(struct world *w, const struct world_node *n, u64 pos, u64 len)
{
	snprintf(w->detail, sizeof(w->detail), " (inode %llu, size %llu: %llu + %llu)",
		 (unsigned long long)n->ino, (unsigned long long)n->size, (unsigned long long)pos,
		 (unsigned long long)len);
}

/* ---- names ---- */

static void make(struct world *w, u32 mode)
{
	u32 dir = choose_dir(w), name = (u32)world_below(w, WORLD_NAMES);
	struct inode *dp, *ip;
	char text[40];

	if (world_entry_find(w, dir, name))
		return;
	dp = get(w, w->node[dir]);
	OK(fs_mknod(dp, text, name_text(name, text), mode, 0, cred, &ip));
	world_entry_add(w, dir, name, world_node_new(w, mode, fs_ino(ip))->id);
	fs_iput(ip);
	fs_iput(dp);
}

static void op_create(struct world *w)
{
	if (count(w, S_IFREG) < WORLD_FILES)
		make(w, S_IFREG | 0644);
}

static void op_mkdir(struct world *w)
{
	if (count(w, S_IFDIR) < 5)
		make(w, S_IFDIR | 0755);
}

static void op_unlink(struct world *w)
{
	struct world_entry *e = choose(w, S_IFREG);
	struct inode *dp;
	char text[40];

	if (!e)
		return;
	dp = get(w, w->node[e->dir]);
	OK(fs_unlink(dp, text, name_text(e->name, text)));
	world_entry_remove(w, e);
	fs_iput(dp);
}

static void op_rmdir(struct world *w)
{
	struct world_entry *e = choose(w, S_IFDIR);
	struct inode *dp;
	char text[40];

	if (!e)
		return;
	for (u32 i = 0; i < w->nr_entries; i++)
		if (w->entry[i].dir == e->id)
			return;
	dp = get(w, w->node[e->dir]);
	OK(fs_rmdir(dp, text, name_text(e->name, text)));
	world_entry_remove(w, e);
	fs_iput(dp);
}

static void op_link(struct world *w)
{
	struct world_entry *e = choose(w, S_IFREG);
	u32 dir = choose_dir(w), name = (u32)world_below(w, WORLD_NAMES);
	struct inode *dp, *ip;
	char text[40];

	if (!e || world_entry_find(w, dir, name) || w->nr_entries > 2 * WORLD_FILES)
		return;
	dp = get(w, w->node[dir]);
	ip = get(w, w->node[e->id]);
	OK(fs_link(ip, dp, text, name_text(name, text)));
	world_entry_add(w, dir, name, e->id);
	fs_iput(ip);
	fs_iput(dp);
}

/* The model's part of a rename over `to` (which may be NULL). */
static void moved(struct world *w, struct world_entry *from, u32 dir, u32 name)
{
	struct world_entry *to = world_entry_find(w, dir, name);
	struct world_node *n = w->node[from->id];
	u32 sdir = from->dir, sname = from->name;

	world_detail(w, n, dir, name);
	if (to) {
		world_promise(&n->forced, w->op, w->op);
		world_entry_remove(w, to);
	}
	world_entry_remove(w, world_entry_find(w, sdir, sname));
	world_entry_add(w, dir, name, n->id);
}

static void rename_to(struct world *w, struct world_entry *e, u32 dir, u32 name, unsigned flags)
{
	struct inode *sp = get(w, w->node[e->dir]), *dp = get(w, w->node[dir]);
	char stext[40], dtext[40];

	OK(fs_rename(sp, stext, name_text(e->name, stext), dp, dtext, name_text(name, dtext),
		     flags, (struct fs_cred){ 0 }));
	fs_iput(sp);
	fs_iput(dp);
}

static void op_rename(struct world *w)
{
	struct world_entry *e = choose(w, S_IFREG), *to;
	u32 dir = choose_dir(w), name = (u32)world_below(w, WORLD_NAMES);

	if (!e)
		return;
	to = world_entry_find(w, dir, name);
	if (to && (!S_ISREG(w->node[to->id]->mode) || to->id == e->id))
		return;
	rename_to(w, e, dir, name, 0);
	moved(w, e, dir, name);
}

static void op_replace(struct world *w)
{
	struct world_entry *e = choose(w, S_IFREG), *to = choose(w, S_IFREG);

	if (!e || !to || e->id == to->id)
		return;
	rename_to(w, e, to->dir, to->name, 0);
	moved(w, e, to->dir, to->name);
}

static void op_exchange(struct world *w)
{
	struct world_entry *x = choose(w, S_IFREG), *y = choose(w, S_IFREG), a, b;

	if (!x || !y || x->id == y->id)
		return;
	a = *x;
	b = *y;
	rename_to(w, x, y->dir, y->name, FS_RENAME_EXCHANGE);
	world_entry_remove(w, world_entry_find(w, a.dir, a.name));
	world_entry_remove(w, world_entry_find(w, b.dir, b.name));
	world_entry_add(w, a.dir, a.name, b.id);
	world_entry_add(w, b.dir, b.name, a.id);
}

/*
 * A directory moves; never below itself, because only into the root or from it into one of its
 * neighbours.
 */
static void op_move_dir(struct world *w)
{
	struct world_entry *e = choose(w, S_IFDIR);
	u32 name = (u32)world_below(w, WORLD_NAMES);

	if (!e || world_entry_find(w, 0, name))
		return;
	rename_to(w, e, 0, name, 0);
	moved(w, e, 0, name);
}

/* ---- data ---- */

static void write_at(struct world *w, struct world_node *n, u64 pos, u64 len)
{
	struct inode *ip = get(w, n);
	static u8 buf[WORLD_FILE_MAX];
	u64 stamp = world_random(w);

	len = MIN(len, WORLD_FILE_MAX - pos);
	world_detail(w, n, pos, len);
	if (len > 0) {
		for (u64 i = 0; i < len; i += 8, stamp += 0x0101010101010101ull)
			memcpy(buf + i, &stamp, MIN(len - i, (u64)8));
		ck_assert_int_eq(fs_write(ip, pos, buf, len, 0), (ssize_t)len);
		memcpy(n->data + pos, buf, len);
		n->size = MAX(n->size, pos + len);
		world_note_data(w, n, true);
	}
	fs_iput(ip);
}

static void op_write(struct world *w)
{
	static const u64 most[] = { 300, 3000, 9000, 70000 };
	struct world_node *n = choose_file(w);
	u64 len = 1 + world_below(w, most[world_below(w, ARRAY_LEN(most))]);

	if (!n)
		return;
	if (world_below(w, 2))
		write_at(w, n, world_below(w, n->size + 1), len);
	else
		write_at(w, n, world_below(w, WORLD_FILE_SECTORS) * SECTOR_SIZE, len);
}

static void op_append(struct world *w)
{
	struct world_node *n = choose_file(w);

	if (n)
		write_at(w, n, n->size, 1 + world_below(w, 6000));
}

static void op_truncate(struct world *w)
{
	struct world_node *n = choose_file(w);
	struct inode *ip;
	u64 size;

	if (!n)
		return;
	size = world_below(w, world_below(w, 3) ? n->size + 1 : WORLD_FILE_MAX);
	if (world_below(w, 3) == 0)
		size = ALIGN_DOWN(size, (u64)SECTOR_SIZE);
	world_detail(w, n, size, 0);
	ip = get(w, n);
	OK(fs_truncate(ip, size));
	fs_iput(ip);
	if (size < n->size)
		memset(n->data + size, 0, n->size - size);
	n->size = size;
	world_note_data(w, n, false);
}

static void op_fallocate(struct world *w)
{
	static const int modes[] = {
		0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	int mode = modes[world_below(w, ARRAY_LEN(modes))];
	u64 pos = world_below(w, WORLD_FILE_MAX - 1), len, end;
	struct world_node *n = choose_file(w);
	struct inode *ip;

	if (!n)
		return;
	pos = world_below(w, 2) ? ALIGN_DOWN(pos, (u64)SECTOR_SIZE) : pos;
	len = 1 + world_below(w, MIN(WORLD_FILE_MAX - pos, (u64)40000));
	end = pos + len;
	world_detail(w, n, pos, len);
	ip = get(w, n);
	OK(fs_fallocate(ip, mode, pos, len));
	fs_iput(ip);
	if ((mode & ~FALLOC_FL_KEEP_SIZE) && pos < n->size)
		memset(n->data + pos, 0, MIN(end, n->size) - pos);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		n->size = MAX(n->size, end);
	world_note_data(w, n, false);
}

/* ---- attributes ---- */

static void op_setattr(struct world *w)
{
	struct fs_attr a = { .valid = FS_ATTR_MODE | FS_ATTR_UID };
	struct world_node *n = choose_file(w);
	struct inode *ip;

	if (!n)
		return;
	a.mode = (u32)world_below(w, 01000);
	a.uid = (u32)world_below(w, 1000);
	ip = get(w, n);
	OK(fs_setattr(ip, &a));
	fs_iput(ip);
	n->mode = (n->mode & S_IFMT) | a.mode;
	n->uid = a.uid;
	world_note_attr(w, n);
}

static void op_xattr(struct world *w)
{
	static u8 val[8000];
	size_t len = 1 + world_below(w, world_below(w, 3) ? 50 : sizeof(val));
	u32 i = (u32)world_below(w, WORLD_XATTRS);
	struct world_node *n = choose_file(w);
	char name[8] = "user.x";
	struct inode *ip;

	if (!n)
		return;
	name[5] = (char)('0' + i);
	ip = get(w, n);
	if (n->xattr[i] && world_below(w, 2)) {
		OK(fs_removexattr(ip, name));
		n->xattr[i] = 0;
	} else {
		memset(val, (int)world_below(w, 256), len);
		OK(fs_setxattr(ip, name, val, len, 0));
		n->xattr[i] = world_xattr_hash(val, len);
	}
	n->touched = w->op;
	fs_iput(ip);
}

/* ---- open files ---- */

static void op_hold(struct world *w)
{
	if (w->held.node) {
		fs_iput(w->held.ip);
		w->held.ip = NULL;
		w->held.node = NULL;
		return;
	}
	w->held.node = choose_file(w);
	if (w->held.node)
		w->held.ip = get(w, w->held.node);
}

/* ---- what makes durable ---- */

static void sync_node(struct world *w, struct world_node *n, bool datasync)
{
	struct inode *ip = get(w, n);
	size_t at;

	world_detail(w, n, 0, n->size);
	OK(fs_fsync(ip, datasync));
	fs_iput(ip);
	at = sim_nr_events(w->dev);
	world_promise(&n->data_kept, at, w->op);
	world_promise(&w->names_kept, at, datasync ? n->created : n->touched);
	if (!datasync)
		world_promise(&n->attr_kept, at, w->op);
}

static void op_fsync(struct world *w)
{
	struct world_node *n = choose_file(w);

	if (n)
		sync_node(w, n, false);
}

static void op_fdatasync(struct world *w)
{
	struct world_node *n = choose_file(w);

	if (n)
		sync_node(w, n, true);
}

static void op_fsync_dir(struct world *w)
{
	sync_node(w, w->node[choose_dir(w)], false);
}

static void op_sync(struct world *w)
{
	OK(fs_sync(w->fs));
	world_promise_all(w, true);
}

static void op_tick(struct world *w)
{
	OK(fs_tick(w->fs));
	world_promise_all(w, false);
}

static void op_checkpoint(struct world *w)
{
	OK(jnl_checkpoint_all(fs_jnl(w->fs)));
}

static void op_write_back(struct world *w)
{
	struct world_node *n = choose_file(w);
	struct inode *ip;

	if (!n)
		return;
	world_detail(w, n, 0, n->size);
	ip = get(w, n);
	OK(iomap_writeback(&ip->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL));
	fs_iput(ip);
}

/* Unmounted and mounted again, cleanly. */
static void op_remount(struct world *w)
{
	struct fs_opts mo = { .commit_ms = 3600 * 1000 };

	if (w->held.node)
		op_hold(w);
	OK(fs_unmount(w->fs, false));
	world_promise_all(w, true);
	OK(fs_mount(w->dev, &mo, &w->fs));
}

static const struct {
	const char *name;
	void (*fn)(struct world *w);
	u32 weight;
} ops[] = {
	{ "create", op_create, 14 }, { "mkdir", op_mkdir, 3 }, { "unlink", op_unlink, 8 },
	{ "rmdir", op_rmdir, 2 }, { "link", op_link, 2 }, { "rename", op_rename, 4 },
	{ "replace", op_replace, 5 }, { "exchange", op_exchange, 2 },
	{ "move directory", op_move_dir, 2 }, { "write", op_write, 24 },
	{ "append", op_append, 8 }, { "truncate", op_truncate, 6 },
	{ "fallocate", op_fallocate, 6 }, { "setattr", op_setattr, 3 }, { "xattr", op_xattr, 12 },
	{ "hold", op_hold, 3 }, { "fsync", op_fsync, 5 }, { "fdatasync", op_fdatasync, 3 },
	{ "fsync of a directory", op_fsync_dir, 2 }, { "sync", op_sync, 1 },
	{ "tick", op_tick, 4 }, { "checkpoint", op_checkpoint, 1 },
	{ "write back", op_write_back, 6 }, { "remount", op_remount, 1 },
};

void world_do(struct world *w)
{
	u64 total = 0, dice;
	unsigned i = 0;

	for (unsigned k = 0; k < ARRAY_LEN(ops); k++)
		total += ops[k].weight;
	dice = world_below(w, total);
	while (dice >= ops[i].weight)
		dice -= ops[i++].weight;
	w->op_name = ops[i].name;
	ops[i].fn(w);
}
