/*
 * See world.h: the memory of versions and promises, and the life of a world.
 *
 * 1. Operations are numbered from 1; state 0 is the empty file system. An operation that has begun
 *    when the crash comes may be there.
 * 2. Versions are appended when an operation has changed something; what was not changed has the
 *    version before.
 * 3. A promise is remembered with the number of events when the call returned: images with fewer
 *    events are not bound by it.
 */
#include "world.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "blk/sim.h"

#define OK(expr) ck_assert_int_eq((expr), 0)

u64 world_random(struct world *w)
{
	w->state += 0x9e3779b97f4a7c15ull;
	return hash_mix64(w->state);
}

u64 world_below(struct world *w, u64 n)
{
	return world_random(w) % n;
}

static void *grown(void *array, u32 nr, u32 *max, size_t size)
{
	if (nr < *max)
		return array;
	*max = *max ? *max * 2 : 4;
	return reallocarray(array, *max, size);
}

/* ---- versions ---- */

static struct world_version *version_add(struct world *w, struct world_history *h)
{
	h->v = grown(h->v, h->nr, &h->max, sizeof(*h->v));
	h->v[h->nr] = (struct world_version){ .op = w->op };
	return &h->v[h->nr++];
}

static bool is_zero(const u8 *p)
{
	return p[0] == 0 && !memcmp(p, p + 1, SECTOR_SIZE - 1);
}

static bool same_data(const u8 *version, const u8 *now)
{
	return version ? !memcmp(version, now, SECTOR_SIZE) : is_zero(now);
}

void world_note_data(struct world *w, struct world_node *n, bool write)
{
	for (u32 i = 0; i < WORLD_FILE_SECTORS; i++) {
		struct world_history *h = &n->sector[i];
		const u8 *now = n->data + i * SECTOR_SIZE;
		struct world_version *v;

		if (h->nr && same_data(h->v[h->nr - 1].data, now))
			continue;
		v = version_add(w, h);
		if (!is_zero(now))
			v->data = memcpy(malloc(SECTOR_SIZE), now, SECTOR_SIZE);
	}
	if (!n->sizes.nr || n->sizes.v[n->sizes.nr - 1].value != n->size) {
		struct world_version *v = version_add(w, &n->sizes);

		v->value = n->size;
		v->write = write;
	}
}

void world_note_attr(struct world *w, struct world_node *n)
{
	version_add(w, &n->attrs)->value = n->mode | (u64)n->uid << 32;
}

void world_target(char *buf, u32 len)
{
	for (u32 i = 0; i < len; i++)
		buf[i] = i % 20 == 19 ? '/' : (char)('a' + (len + i) % 26);
}

/* ---- promises ---- */

void world_promise(struct world_promises *p, size_t at, u32 op)
{
	p->p = grown(p->p, p->nr, &p->max, sizeof(*p->p));
	p->p[p->nr++] = (struct world_promise){ at, op };
}

void world_promise_all(struct world *w, bool data)
{
	size_t at = sim_nr_events(w->dev);

	world_promise(&w->names_kept, at, w->op);
	for (u32 i = 0; i < w->nr_nodes; i++) {
		world_promise(&w->node[i]->attr_kept, at, w->op);
		if (data)
			world_promise(&w->node[i]->data_kept, at, w->op);
	}
}

/* ---- names ---- */

u64 world_xattr_hash(const void *val, size_t len)
{
	return hash64_seed(val, len, 99) | 1;
}

u64 world_sig_entry(const struct world_node *dir, u32 name, const struct world_node *n,
		    const u64 xattr[WORLD_XATTRS])
{
	u64 key[4 + WORLD_XATTRS] = { dir->ino, name, n->ino, 0 };

	memcpy(key + 4, xattr, WORLD_XATTRS * sizeof(u64));
	return hash64(key, sizeof(key));
}

static u64 sig_now(const struct world *w)
{
	u64 sum = 0;

	for (u32 i = 0; i < w->nr_entries; i++) {
		const struct world_entry *e = &w->entry[i];
		const struct world_node *n = w->node[e->id];

		sum += world_sig_entry(w->node[e->dir], e->name, n, n->xattr);
	}
	return sum;
}

struct world_node *world_node_new(struct world *w, u32 mode, u64 ino)
{
	struct world_node *n = calloc(1, sizeof(*n));

	w->node = grown(w->node, w->nr_nodes, &w->max_nodes, sizeof(*w->node));
	*n = (struct world_node){ .ino = ino, .id = w->nr_nodes, .mode = mode };
	n->created = n->touched = w->op;
	w->node[w->nr_nodes++] = n;
	world_note_attr(w, n);
	if (S_ISREG(mode)) {
		n->data = calloc(1, WORLD_FILE_MAX);
		world_note_data(w, n, false);
	}
	return n;
}

struct world_entry *world_entry_find(struct world *w, u32 dir, u32 name)
{
	for (u32 i = 0; i < w->nr_entries; i++)
		if (w->entry[i].dir == dir && w->entry[i].name == name)
			return &w->entry[i];
	return NULL;
}

static void touch(struct world *w, const struct world_entry *e)
{
	w->node[e->dir]->touched = w->op;
	w->node[e->id]->touched = w->op;
}

void world_entry_add(struct world *w, u32 dir, u32 name, u32 id)
{
	w->entry = grown(w->entry, w->nr_entries, &w->max_entries, sizeof(*w->entry));
	w->entry[w->nr_entries] = (struct world_entry){ dir, name, id };
	w->node[id]->links++;
	touch(w, &w->entry[w->nr_entries++]);
}

void world_entry_remove(struct world *w, struct world_entry *e)
{
	touch(w, e);
	w->node[e->id]->links--;
	*e = w->entry[--w->nr_entries];
}

/* ---- life ---- */

void world_mount(struct world *w)
{
	struct fs_opts mo = { .commit_ms = 3600 * 1000 };

	mo.nodatasum = w->sums == WORLD_SUMS_IN_TURNS && w->mounts++ % 2;

	OK(fs_mount(w->dev, &mo, &w->fs));
}

static void format(struct world *w, const struct world_geo *geo)
{
	static const u8 uuid[16] = { 1, 2, 3 };
	/* Every other world is on a device with durable writes, so that both ways are seen. */
	struct sim_opts so = { .sectors = geo->sectors, .record = true, .fua = w->seed & 1 };
	struct fs_format_opts fo = { .jnl_sectors = geo->jnl_sectors, .uuid = uuid, .time = 1,
				     .block_bytes = geo->block_bytes,
				     .no_datasum = geo->sums == WORLD_NO_SUMS };

	OK(sim_open(&so, &w->dev));
	OK(fs_format(w->dev, &fo, NULL));
	world_mount(w);
	OK(fs_sync(w->fs));
	w->base = sim_nr_events(w->dev);
}

void world_open(struct world *w, u64 seed, const struct world_geo *geo, u32 max_ops)
{
	*w = (struct world){ .seed = seed, .state = hash_mix64(seed), .max_ops = max_ops,
			     .block_bytes = geo->block_bytes, .sums = geo->sums,
			     .mounts = (u32)(seed / 2) };
	w->trace = getenv("WORLD_TRACE") != NULL;
	w->sig = calloc(max_ops + 1, sizeof(*w->sig));
	w->began = calloc(max_ops + 1, sizeof(*w->began));
	format(w, geo);
	w->focus = w->focus_dir = world_node_new(w, S_IFDIR | 0755, FMT_ROOT_INO);
	w->sig[0] = sig_now(w);
	world_promise_all(w, true);
}

void world_step(struct world *w, void (*fn)(struct world *w))
{
	ck_assert_uint_lt(w->op, w->max_ops);
	w->op++;
	w->began[w->op] = sim_nr_events(w->dev);
	w->detail[0] = 0;
	fn(w);
	w->sig[w->op] = sig_now(w);
	if (w->trace)
		printf("%u: %s%s, events %zu..%zu\n", w->op, w->op_name, w->detail,
		       w->began[w->op], sim_nr_events(w->dev));
}

void world_crash(struct world *w)
{
	if (w->held.ip)
		fs_iput(w->held.ip);
	w->held.ip = NULL;
	fs_unmount(w->fs, true);
}

static void node_free(struct world_node *n)
{
	for (u32 i = 0; i < WORLD_FILE_SECTORS; i++) {
		for (u32 k = 0; k < n->sector[i].nr; k++)
			free((u8 *)(uintptr_t)n->sector[i].v[k].data);
		free(n->sector[i].v);
	}
	free(n->sizes.v);
	free(n->attrs.v);
	free(n->data_kept.p);
	free(n->attr_kept.p);
	free(n->forced.p);
	free(n->data);
	free(n);
}

void world_free(struct world *w)
{
	blk_close(w->dev);
	for (u32 i = 0; i < w->nr_nodes; i++)
		node_free(w->node[i]);
	free(w->node);
	free(w->entry);
	free(w->names_kept.p);
	free(w->sig);
	free(w->began);
}
