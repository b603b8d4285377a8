/*
 * A world of random operations (act.h) out of its seed. What can't succeed is not tried. Every
 * world has a temper, which makes it long to some kinds of operations: a few syncs and large xattrs
 * make transactions that fill a small log.
 */
#include "act.h"

#include <linux/falloc.h>
#include <string.h>

/* Buffers of a checkpoint at a time, in every second world. */
#define BATCH 4u

/* ---- choosing ---- */

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

static u32 choose_name(struct world *w)
{
	return (u32)world_below(w, WORLD_NAMES);
}

static u32 count(const struct world *w, u32 type)
{
	u32 nr = 0;

	for (u32 i = 0; i < w->nr_entries; i++)
		nr += (w->node[w->entry[i].id]->mode & S_IFMT) == type;
	return nr;
}

/* ---- names ---- */

static void make(struct world *w, u32 mode)
{
	u32 dir = choose_dir(w), name = choose_name(w);

	if (!world_entry_find(w, dir, name))
		act_make(w, dir, name, mode);
}

static void op_create(struct world *w)
{
	if (count(w, S_IFREG) < w->max_files)
		make(w, S_IFREG | 0644);
}

static void op_mkdir(struct world *w)
{
	if (count(w, S_IFDIR) < WORLD_DIRS)
		make(w, S_IFDIR | 0755);
}

static void op_special(struct world *w)
{
	u32 dir = choose_dir(w), name = choose_name(w);

	if (world_entry_find(w, dir, name) || w->nr_entries > 2 * w->max_files)
		return;
	if (world_below(w, 2))
		act_symlink(w, dir, name, 1 + (u32)world_below(w, WORLD_TARGET_MAX - 1));
	else
		act_make(w, dir, name, world_below(w, 2) ? S_IFIFO | 0600 : S_IFCHR | 0600);
}

static void op_unlink(struct world *w)
{
	struct world_entry *e = choose(w, 0);

	if (e && !S_ISDIR(w->node[e->id]->mode))
		act_remove(w, e);
}

static void op_rmdir(struct world *w)
{
	struct world_entry *e = choose(w, S_IFDIR);

	for (u32 i = 0; e && i < w->nr_entries; i++)
		if (w->entry[i].dir == e->id)
			return;
	if (e)
		act_remove(w, e);
}

static void op_link(struct world *w)
{
	struct world_entry *e = choose(w, S_IFREG);
	u32 dir = choose_dir(w), name = choose_name(w);

	if (e && !world_entry_find(w, dir, name) && w->nr_entries <= 2 * w->max_files)
		act_link(w, e, dir, name);
}

static void op_rename(struct world *w)
{
	struct world_entry *e = choose(w, S_IFREG), *to;
	u32 dir = choose_dir(w), name = choose_name(w);

	if (!e)
		return;
	to = world_entry_find(w, dir, name);
	if (!to || (S_ISREG(w->node[to->id]->mode) && to->id != e->id))
		act_rename(w, e, dir, name);
}

static void op_replace(struct world *w)
{
	struct world_entry *e = choose(w, S_IFREG), *to = choose(w, S_IFREG);

	if (e && to && e->id != to->id)
		act_rename(w, e, to->dir, to->name);
}

static void op_exchange(struct world *w)
{
	struct world_entry *x = choose(w, S_IFREG), *y = choose(w, S_IFREG);

	if (x && y && x->id != y->id)
		act_exchange(w, x, y);
}

/*
 * A directory moves; never below itself, because only into the root or from it into one of its
 * neighbours.
 */
static void op_move_dir(struct world *w)
{
	struct world_entry *e = choose(w, S_IFDIR);
	u32 name = choose_name(w);

	if (e && !world_entry_find(w, 0, name))
		act_rename(w, e, 0, name);
}

/* ---- data ---- */

static void op_write(struct world *w)
{
	static const u64 most[] = { 300, 3000, 9000, 70000 };
	struct world_node *n = choose_file(w);
	u64 len = 1 + world_below(w, most[world_below(w, ARRAY_LEN(most))]);

	if (!n)
		return;
	if (world_below(w, 2))
		act_write(w, n, world_below(w, n->size + 1), len);
	else
		act_write(w, n, world_below(w, WORLD_FILE_SECTORS) * SECTOR_SIZE, len);
}

static void op_write_sync(struct world *w)
{
	struct world_node *n = choose_file(w);
	u64 len = 1 + world_below(w, world_below(w, 3) ? 5000 : 30000);

	if (n)
		act_write_sync(w, n, world_below(w, n->size + 1), len);
}

static void op_append(struct world *w)
{
	struct world_node *n = choose_file(w);

	if (n)
		act_write(w, n, n->size, 1 + world_below(w, 6000));
}

static void op_truncate(struct world *w)
{
	struct world_node *n = choose_file(w);
	u64 size;

	if (!n)
		return;
	size = world_below(w, world_below(w, 3) ? n->size + 1 : WORLD_FILE_MAX);
	if (world_below(w, 3) == 0)
		size = ALIGN_DOWN(size, (u64)SECTOR_SIZE);
	act_truncate(w, n, size);
}

static void op_fallocate(struct world *w)
{
	static const int modes[] = {
		0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	int mode = modes[world_below(w, ARRAY_LEN(modes))];
	u64 pos = world_below(w, WORLD_FILE_MAX - 1);
	struct world_node *n = choose_file(w);

	if (!n)
		return;
	pos = world_below(w, 2) ? ALIGN_DOWN(pos, (u64)SECTOR_SIZE) : pos;
	act_fallocate(w, n, mode, pos, 1 + world_below(w, 40000));
}

/* ---- attributes ---- */

static void op_setattr(struct world *w)
{
	struct world_node *n = choose_file(w);
	u32 mode = (u32)world_below(w, 01000);

	if (n)
		act_setattr(w, n, mode, (u32)world_below(w, 1000));
}

static void op_xattr(struct world *w)
{
	size_t len = 1 + world_below(w, world_below(w, 3) ? 50 : WORLD_XATTR_MAX);
	u32 i = (u32)world_below(w, WORLD_XATTRS);
	struct world_node *n = choose_file(w);

	if (n && n->xattr[i] && world_below(w, 2))
		act_removexattr(w, n, i);
	else if (n)
		act_setxattr(w, n, i, len);
}

static void op_large_xattr(struct world *w)
{
	struct world_node *n = choose_file(w);
	size_t len = WORLD_XATTR_MAX - world_below(w, 2000);

	if (n)
		act_setxattr(w, n, (u32)world_below(w, WORLD_XATTRS), len);
}

/* ---- open files ---- */

static void op_hold(struct world *w)
{
	struct world_node *n = w->held.node ? NULL : choose_file(w);

	act_release(w);
	if (n)
		act_hold(w, n);
}

/* ---- what makes durable ---- */

static void op_fsync(struct world *w)
{
	struct world_node *n = choose_file(w);

	if (n)
		act_fsync(w, n, false);
}

static void op_fdatasync(struct world *w)
{
	struct world_node *n = choose_file(w);

	if (n)
		act_fsync(w, n, true);
}

static void op_fsync_dir(struct world *w)
{
	act_fsync(w, w->node[choose_dir(w)], false);
}

static void op_write_back(struct world *w)
{
	struct world_node *n = choose_file(w);

	if (n)
		act_write_back(w, n);
}

/* How often, by temper. */
static const struct {
	const char *name;
	void (*fn)(struct world *w);
	u8 weight[WORLD_TEMPERS];
} ops[] = {
	{ "create", op_create, { 14, 20, 4 } }, { "mkdir", op_mkdir, { 3, 2, 0 } },
	{ "special", op_special, { 3, 1, 0 } }, { "unlink", op_unlink, { 8, 2, 1 } },
	{ "rmdir", op_rmdir, { 2, 1, 0 } }, { "link", op_link, { 2, 1, 0 } },
	{ "rename", op_rename, { 4, 1, 0 } }, { "replace", op_replace, { 5, 0, 1 } },
	{ "exchange", op_exchange, { 2, 1, 0 } }, { "move directory", op_move_dir, { 2, 0, 0 } },
	{ "write", op_write, { 24, 2, 20 } }, { "synchronous write", op_write_sync, { 3, 0, 30 } },
	{ "append", op_append, { 8, 1, 4 } }, { "truncate", op_truncate, { 6, 1, 4 } },
	{ "fallocate", op_fallocate, { 6, 0, 4 } }, { "setattr", op_setattr, { 3, 30, 0 } },
	{ "xattr", op_xattr, { 12, 2, 0 } }, { "large xattr", op_large_xattr, { 0, 60, 0 } },
	{ "hold", op_hold, { 3, 0, 1 } }, { "fsync", op_fsync, { 5, 1, 8 } },
	{ "fdatasync", op_fdatasync, { 3, 0, 8 } },
	{ "fsync of a directory", op_fsync_dir, { 2, 1, 0 } }, { "sync", act_sync, { 1, 0, 0 } },
	{ "tick", act_tick, { 4, 1, 2 } }, { "checkpoint", act_checkpoint, { 1, 0, 1 } },
	{ "part of a checkpoint", act_checkpoint_some, { 3, 0, 12 } },
	{ "write back", op_write_back, { 6, 0, 16 } }, { "remount", act_remount, { 1, 0, 1 } },
};

static void random_op(struct world *w)
{
	u64 total = 0, dice;
	unsigned i = 0;

	for (unsigned k = 0; k < ARRAY_LEN(ops); k++)
		total += ops[k].weight[w->temper];
	dice = world_below(w, total);
	while (dice >= ops[i].weight[w->temper])
		dice -= ops[i++].weight[w->temper];
	w->op_name = ops[i].name;
	ops[i].fn(w);
}

void world_make_random(struct world *w, u64 seed, u32 nr_ops, enum world_temper temper,
		       enum world_sums sums)
{
	static const u32 block_bytes[] = { 4096, FMT_BLOCK_MAX, 16384, 65536 };
	static const u32 max_files[] = { 20, 50, 5 };
	u32 block = block_bytes[seed % ARRAY_LEN(block_bytes)];
	/* Preallocation takes whole blocks, and must find some. */
	u32 sectors = block == FMT_BLOCK_MAX ? 8192 : 1536;
	struct world_geo geo[WORLD_TEMPERS] = {
		{ block, sectors, FMT_JNL_MIN_SECTORS, sums },
		{ 4096, 4096, 3 * FMT_JNL_MIN_SECTORS, sums },
		{ block, sectors, FMT_JNL_MIN_SECTORS, sums },
	};

	world_open(w, seed, &geo[temper], nr_ops);
	w->temper = temper;
	w->max_files = max_files[temper];
	jnl_batch_max(temper != WORLD_LARGE_TXN && seed % 2 ? BATCH : 0);
	while (w->op < nr_ops)
		world_step(w, random_op);
	jnl_batch_max(0);
	world_crash(w);
}
