/*
 * Structures of the disk as text, for foliofsctl dump and for people who debug.
 *
 * Rule: every function here takes untrusted bytes: nothing is followed or printed beyond the
 * buffer, and names are escaped, so that a terminal never sees what an image wants it to see.
 *
 * Pure functions over stdio, no locks.
 */
#include "format/format.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/uuid.h"

static const char *const tree_names[FMT_NR_TREES] = {
	[FMT_TREE_INODE] = "inode",   [FMT_TREE_DIRENT] = "dirent", [FMT_TREE_EXTENT] = "extent",
	[FMT_TREE_XATTR] = "xattr",   [FMT_TREE_ORPHAN] = "orphan",
};

static const char *const kind_names[FMT_KIND_MAX + 1] = {
	[0] = "none",
	[FMT_KIND_ROOT] = "root",
	[FMT_KIND_GTABLE] = "group table",
	[FMT_KIND_BITMAP] = "bitmap",
	[FMT_KIND_MAP] = "sector map",
	[FMT_KIND_NODE] = "node",
	[FMT_KIND_JNL] = "journal header",
};

const char *fmt_tree_name(enum fmt_tree t)
{
	return (unsigned)t < FMT_NR_TREES ? tree_names[t] : "unknown";
}

const char *fmt_kind_name(u32 kind)
{
	return kind <= FMT_KIND_MAX ? kind_names[kind] : "unknown";
}

static void put_name(const char *name, u32 len, FILE *out)
{
	fputc('\'', out);
	for (u32 i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c == '\'' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
	fputc('\'', out);
}

static void put_time(const char *what, struct fmt_time t, FILE *out)
{
	fprintf(out, " %s %" PRId64 ".%09" PRIu32, what, (s64)get64(t.sec), get32(t.nsec));
}

void fmt_super_to_text(const struct fmt_geo *g, FILE *out)
{
	struct uuid u;
	char text[UUID_TEXT_MAX];

	for (unsigned i = 0; i < sizeof(u.b); i++)
		u.b[i] = g->uuid[i];
	fprintf(out, "uuid           %s\n", uuid_to_text(&u, text));
	fprintf(out, "label          ");
	put_name(g->label, (u32)strnlen(g->label, sizeof(g->label)), out);
	fprintf(out, "\nfsid           %016" PRIx64 "\n", g->fsid);
	fprintf(out, "sectors        %" PRIu64 "\n", g->nr_sectors);
	fprintf(out, "block          %" PRIu32 "\n", g->block_bytes);
	fprintf(out, "groups         %" PRIu32 " of %" PRIu32 " sectors\n", g->nr_groups,
		g->group_sectors);
	fprintf(out, "root sector    %" PRIu64 "\n", g->root_sector);
	fprintf(out, "group table    %" PRIu64 " + %" PRIu32 "\n", g->gtable_sector, g->gtable_nr);
	fprintf(out, "journal        %" PRIu64 " + %" PRIu64 "\n", g->jnl_sector, g->jnl_nr);
	fprintf(out, "bitmap, map    %" PRIu32 " and %" PRIu32 " sectors a group\n", g->bitmap_nr,
		g->map_nr);
	fprintf(out, "features       compat %" PRIx64 " ro_compat %" PRIx64, g->compat,
		g->ro_compat);
	fprintf(out, " incompat %" PRIx64 "\n", g->incompat);
	fprintf(out, "made           %" PRId64 "\n", g->mkfs_time);
}

static void hdr_to_text(const struct fmt_hdr *h, FILE *out)
{
	fprintf(out, "%s at %" PRIu64 ": owner %" PRIu64 " gen %" PRIu64 " csum %016" PRIx64 "\n",
		fmt_kind_name(get16(h->kind)), get64(h->addr), get64(h->owner), get64(h->gen),
		get64(h->csum));
}

static void root_to_text(const struct fmt_root *r, FILE *out)
{
	for (unsigned t = 0; t < FMT_NR_TREES; t++)
		fprintf(out, "  tree %-7s root %" PRIu64 " height %" PRIu32 "\n",
			fmt_tree_name((enum fmt_tree)t), get64(r->tree[t].root),
			get32(r->tree[t].height));
	fprintf(out, "  next inode %" PRIu64 ", inodes %" PRIu64 ", free sectors %" PRIu64
		", node sectors %" PRIu64 "\n", get64(r->next_ino), get64(r->nr_inodes),
		get64(r->free_sectors), get64(r->node_sectors_used));
}

static void gtable_to_text(const struct fmt_gtable *t, FILE *out)
{
	for (u32 i = 0; i < FMT_GROUPS_PER_SECTOR; i++) {
		const struct fmt_group *g = &t->g[i];
		unsigned maps = 0;

		for (u32 w = 0; w < ARRAY_LEN(g->map_init); w++)
			maps += (unsigned)__builtin_popcountll(get64(g->map_init[w]));
		if (get32(g->free) || get64(g->bitmap_init) || maps)
			fprintf(out, "  [%2" PRIu32 "] free %" PRIu32 " bitmap_init %" PRIx64
				" map sectors in use %u\n", i, get32(g->free),
				get64(g->bitmap_init), maps);
	}
}

static void bitmap_to_text(const struct fmt_bitmap *b, FILE *out)
{
	u32 start = 0;
	bool in_run = false;

	for (u32 i = 0; i <= FMT_BITS_PER_SECTOR; i++) {
		bool set = i < FMT_BITS_PER_SECTOR &&
			   (get64(b->bits[i / 64]) >> (i % 64) & 1);

		if (set && !in_run)
			start = i;
		if (!set && in_run)
			fprintf(out, "  used %" PRIu32 "..%" PRIu32 "\n", start, i - 1);
		in_run = set;
	}
}

static void map_to_text(const struct fmt_map *m, FILE *out)
{
	u32 start = 0;

	for (u32 i = 1; i <= FMT_MAP_PER_SECTOR; i++) {
		u32 value = get32(m->entry[start]);

		if (i < FMT_MAP_PER_SECTOR && get32(m->entry[i]) == value)
			continue;
		if (value != FMT_MAP_UNWRITTEN)
			fprintf(out, "  %" PRIu32 "..%" PRIu32 " = %08" PRIx32 "\n", start, i - 1,
				value);
		start = i;
	}
}

static void node_to_text(const struct fmt_node *n, FILE *out)
{
	u32 nr = MIN_T(u32, get16(n->nr), FMT_NODE_SLOTS_MAX);
	enum fmt_tree t = (enum fmt_tree)MIN_T(u64, get64(n->hdr.owner), FMT_NR_TREES);

	fprintf(out, "  tree %s level %u items %u heap %" PRIu32 " dead %" PRIu32 "\n",
		fmt_tree_name(t), get16(n->level), get16(n->nr), get32(n->heap), get32(n->dead));
	for (u32 i = 0; i < nr; i++) {
		const struct fmt_slot *s = &n->slot[i];
		struct fmt_key k = { get64(s->a), get64(s->b) };

		if (get16(n->level) > 0) {
			fprintf(out, "  (%" PRIu64 ", %" PRIx64 ") -> %" PRIu64 "\n", k.a, k.b,
				get64(n->child[i].child));
			continue;
		}
		fputs("  ", out);
		if (get16(s->off) + get16(s->len) <= (int)NODE_SIZE)
			fmt_value_to_text(t, k, (const u8 *)n + get16(s->off), get16(s->len), out);
		else
			fputs("(value outside the node)\n", out);
	}
}

static void jnl_head_to_text(const struct fmt_jnl_head *h, FILE *out)
{
	fprintf(out, "  serial %" PRIu64 " epoch %" PRIx64 " tail %" PRIu64 " sequence %" PRIu64
		" %s, mounts %" PRIu32 ", last mounted %" PRIu64 "\n", get64(h->serial),
		get64(h->epoch), get64(h->tail), get64(h->tail_seq),
		get32(h->clean) ? "clean" : "not clean", get32(h->mounts), get64(h->mount_time));
}

void fmt_buf_to_text(const void *buf, enum fmt_kind k, FILE *out)
{
	hdr_to_text(buf, out);
	switch (k) {
	case FMT_KIND_ROOT:
		root_to_text(buf, out);
		break;
	case FMT_KIND_GTABLE:
		gtable_to_text(buf, out);
		break;
	case FMT_KIND_BITMAP:
		bitmap_to_text(buf, out);
		break;
	case FMT_KIND_MAP:
		map_to_text(buf, out);
		break;
	case FMT_KIND_NODE:
		node_to_text(buf, out);
		break;
	case FMT_KIND_JNL:
		jnl_head_to_text(buf, out);
		break;
	case FMT_KIND_DATA:
		break;
	}
}

static void inode_to_text(const struct fmt_inode *i, FILE *out)
{
	fprintf(out, "mode %06" PRIo32 " uid %" PRIu32 " gid %" PRIu32 " links %" PRIu32
		" size %" PRIu64 " sectors %" PRIu64, get32(i->mode), get32(i->uid), get32(i->gid),
		get32(i->nlink), get64(i->size), get64(i->sectors));
	fprintf(out, " rdev %" PRIx64 " parent %" PRIu64 " entries %" PRIu64 " flags %" PRIx32
		" xattrs %" PRIu32 " inline %u", get64(i->rdev), get64(i->parent),
		get64(i->entries), get32(i->flags), get32(i->xattrs), get16(i->inline_len));
	put_time("atime", i->atime, out);
	put_time("mtime", i->mtime, out);
	put_time("ctime", i->ctime, out);
	put_time("btime", i->btime, out);
}

static void xattr_to_text(struct fmt_key k, const void *val, u32 len, FILE *out)
{
	const struct fmt_xattr *x = val;

	fprintf(out, "chunk %" PRIu64 ", %" PRIu32 " bytes", k.b & 0xff, len);
	if ((k.b & 0xff) == 0 && len >= sizeof(*x) && len >= sizeof(*x) + x->namelen) {
		fputs(" name ", out);
		put_name(x->name, x->namelen, out);
		fprintf(out, " value of %" PRIu32 " bytes in %u chunks", get32(x->value_len),
			x->chunks);
	}
}

static void dirent_to_text(const void *val, u32 len, FILE *out)
{
	const struct fmt_dirent *d = val;

	fprintf(out, "ino %" PRIu64 " type %u ", get64(d->ino), d->type);
	put_name(d->name, MIN_T(u32, d->namelen, len - sizeof(*d)), out);
}

static u32 value_min_bytes(enum fmt_tree t)
{
	switch (t) {
	case FMT_TREE_INODE:
		return sizeof(struct fmt_inode);
	case FMT_TREE_DIRENT:
		return sizeof(struct fmt_dirent);
	case FMT_TREE_EXTENT:
		return sizeof(struct fmt_extent);
	case FMT_TREE_ORPHAN:
		return sizeof(struct fmt_orphan);
	default:
		return 0;
	}
}

void fmt_value_to_text(enum fmt_tree t, struct fmt_key k, const void *val, u32 len, FILE *out)
{
	const struct fmt_extent *e = val;
	const struct fmt_orphan *o = val;

	fprintf(out, "(%" PRIu64 ", %" PRIx64 ") ", k.a, k.b);
	if (len < value_min_bytes(t)) {
		fprintf(out, "%" PRIu32 " bytes: too short\n", len);
		return;
	}
	switch (t) {
	case FMT_TREE_INODE:
		inode_to_text(val, out);
		break;
	case FMT_TREE_DIRENT:
		dirent_to_text(val, len, out);
		break;
	case FMT_TREE_EXTENT:
		fprintf(out, "file sector %" PRIu64 ": %" PRIu32 " sectors at %" PRIu64, k.b,
			get32(e->nr), get64(e->disk));
		break;
	case FMT_TREE_XATTR:
		xattr_to_text(k, val, len, out);
		break;
	case FMT_TREE_ORPHAN:
		fprintf(out, "%s, size %" PRIu64,
			o->kind == FMT_ORPHAN_DELETE ? "delete" : "truncate", get64(o->size));
		break;
	case FMT_NR_TREES:
		fprintf(out, "%" PRIu32 " bytes", len);
		break;
	}
	fputc('\n', out);
}
