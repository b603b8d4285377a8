/*
 * Dumps of an image: see dump.h.
 *
 * Rule: a field is named once, where its record is made. Text output knows no names of its own, so
 * it can't fall behind the JSON.
 */
#include "check/dump.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/size.h"
#include "base/uuid.h"
#include "check/check_priv.h"
#include "fs/fs.h"

struct dump {
	struct blk_dev *dev;
	struct fmt_geo geo;
	u64 super_sector;           /* of the superblock that was used: 0, or that of a copy */
	struct reader rd;
	u8 *buf;                    /* NODE_SIZE */
	/* output */
	FILE *out;
	bool json, single;
	u64 nr;                     /* records printed */
	/* filter of dump_tree_items() */
	enum fmt_tree tree;
	bool one_ino;
	u64 ino;
};

const char *const dump_words[] = { "info", "super", "groups", "tree", "inode", "journal", "sector",
				   NULL };

typedef struct json_object *rec_t;

/* ---- fields ---- */

static void add_u64(rec_t o, const char *name, u64 v)
{
	json_object_object_add(o, name, json_object_new_uint64(v));
}

static void add_s64(rec_t o, const char *name, s64 v)
{
	json_object_object_add(o, name, json_object_new_int64(v));
}

static void add_bool(rec_t o, const char *name, bool v)
{
	json_object_object_add(o, name, json_object_new_boolean(v));
}

static void add_str(rec_t o, const char *name, const char *v)
{
	json_object_object_add(o, name, json_object_new_string(v));
}

/* Names on disk are bytes; JSON is UTF-8: what is not ASCII text becomes %XX. */
static void add_name(rec_t o, const char *name, const char *bytes, u32 len)
{
	char text[3 * UINT8_MAX + 1];
	size_t at = 0;

	for (u32 i = 0; i < len && i < UINT8_MAX; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c > 0x20 && c < 0x7f && c != '%')
			text[at++] = (char)c;
		else
			at += (size_t)snprintf(text + at, 4, "%%%02X", c);
	}
	text[at] = 0;
	add_str(o, name, text);
}

static void add_hex(rec_t o, const char *name, u64 v)
{
	char text[24];

	snprintf(text, sizeof(text), "%016" PRIx64, v);
	add_str(o, name, text);
}

static void add_uuid(rec_t o, const u8 *bytes)
{
	struct uuid u;
	char text[UUID_TEXT_MAX];

	memcpy(u.b, bytes, sizeof(u.b));
	add_str(o, "uuid", uuid_to_text(&u, text));
}

static void add_time(rec_t o, const char *name, struct fmt_time t)
{
	char text[48];

	snprintf(text, sizeof(text), "%" PRId64 ".%09" PRIu32, (s64)get64(t.sec), get32(t.nsec));
	add_str(o, name, text);
}

/* ---- output ---- */

static void text_field(FILE *out, const char *name, rec_t v, bool single)
{
	const char *text = json_object_is_type(v, json_type_string)
				   ? json_object_get_string(v)
				   : json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN);

	if (single)
		fprintf(out, "%-18s %s\n", name, text);
	else
		fprintf(out, " %s=%s", name, text);
}

/* Prints and frees a record. */
static void emit(struct dump *d, rec_t o)
{
	if (d->json) {
		fprintf(d->out, "%s%s", d->single ? "" : d->nr ? ",\n " : "[\n ",
			json_object_to_json_string_ext(o, JSON_C_TO_STRING_SPACED));
	} else {
		bool first = true;

		json_object_object_foreach(o, name, value) {
			if (!d->single && first)
				fprintf(d->out, "%s %s", name,
					json_object_is_type(value, json_type_string)
						? json_object_get_string(value)
						: json_object_to_json_string(value));
			else
				text_field(d->out, name, value, d->single);
			first = false;
		}
		if (!d->single)
			fputc('\n', d->out);
	}
	d->nr++;
	json_object_put(o);
}

static void emit_end(struct dump *d)
{
	if (!d->json)
		return;
	if (d->single)
		fputc('\n', d->out);
	else
		fputs(d->nr ? "\n]\n" : "[]\n", d->out);
}

/* ---- info, super, groups ---- */

static void add_features(rec_t o, const struct fmt_geo *g)
{
	rec_t list = json_object_new_array();

	if (!(g->compat | g->ro_compat | g->incompat))
		json_object_array_add(list, json_object_new_string("base"));
	json_object_object_add(o, "features", list);
}

static void add_counts(struct dump *d, rec_t o)
{
	const struct fmt_root *root = (const void *)d->buf;
	int r = reader_get(&d->rd, d->geo.root_sector, FMT_KIND_ROOT, d->buf);
	u64 used;

	if (r) {
		add_str(o, "error", "root sector can't be read");
		return;
	}
	used = d->geo.nr_sectors - get64(root->free_sectors);
	add_u64(o, "inodes", get64(root->nr_inodes));
	add_u64(o, "used_bytes", used * SECTOR_SIZE);
	add_u64(o, "free_bytes", get64(root->free_sectors) * SECTOR_SIZE);
	add_u64(o, "tree_bytes", get64(root->node_sectors_used) * SECTOR_SIZE);
}

int dump_info(struct dump *d, struct json_object **out)
{
	const struct fmt_geo *g = &d->geo;
	struct fmt_jnl_head head;
	rec_t o = json_object_new_object();
	int r = reader_jnl_head(d->dev, g, &head);

	if (!o)
		return -ENOMEM;
	add_u64(o, "format_version", FMT_VERSION);
	add_name(o, "label", g->label, (u32)strlen(g->label));
	add_uuid(o, g->uuid);
	add_u64(o, "size_bytes", g->nr_sectors * SECTOR_SIZE);
	add_u64(o, "block_size", g->block_bytes);
	add_u64(o, "journal_bytes", g->jnl_nr * SECTOR_SIZE);
	add_u64(o, "groups", g->nr_groups);
	add_u64(o, "group_bytes", (u64)g->group_sectors * SECTOR_SIZE);
	add_features(o, g);
	add_s64(o, "created", g->mkfs_time);
	if (r == -EUCLEAN) {
		add_str(o, "state", "journal damaged");
	} else {
		add_str(o, "state", get32(head.clean) ? "clean" : "not clean");
		add_u64(o, "mounts", get32(head.mounts));
		add_u64(o, "last_mounted", get64(head.mount_time));
	}
	add_u64(o, "superblock_sector", d->super_sector);
	add_counts(d, o);
	*out = o;
	return 0;
}

static int print_info(struct dump *d)
{
	rec_t o;
	int r = dump_info(d, &o);

	if (!r)
		emit(d, o);
	return r;
}

static int print_super(struct dump *d)
{
	const struct fmt_geo *g = &d->geo;
	rec_t o = json_object_new_object();

	add_u64(o, "sector", d->super_sector);
	add_u64(o, "version", FMT_VERSION);
	add_uuid(o, g->uuid);
	add_name(o, "label", g->label, (u32)strlen(g->label));
	add_hex(o, "fsid", g->fsid);
	add_u64(o, "sectors", g->nr_sectors);
	add_u64(o, "block_bytes", g->block_bytes);
	add_u64(o, "group_sectors", g->group_sectors);
	add_u64(o, "groups", g->nr_groups);
	add_u64(o, "root_sector", g->root_sector);
	add_u64(o, "group_table_sector", g->gtable_sector);
	add_u64(o, "group_table_sectors", g->gtable_nr);
	add_u64(o, "journal_sector", g->jnl_sector);
	add_u64(o, "journal_sectors", g->jnl_nr);
	add_u64(o, "bitmap_sectors", g->bitmap_nr);
	add_u64(o, "map_sectors", g->map_nr);
	add_hex(o, "compat", g->compat);
	add_hex(o, "ro_compat", g->ro_compat);
	add_hex(o, "incompat", g->incompat);
	add_hex(o, "hash_seed", g->hash_seed);
	add_s64(o, "created", g->mkfs_time);
	emit(d, o);
	return 0;
}

static void print_group(struct dump *d, u32 group, const struct fmt_group *gd)
{
	rec_t o = json_object_new_object();
	u64 maps = 0;

	for (size_t i = 0; i < ARRAY_LEN(gd->map_init); i++)
		maps += (u64)__builtin_popcountll(get64(gd->map_init[i]));
	add_u64(o, "group", group);
	add_u64(o, "sector", fmt_group_start(&d->geo, group));
	add_u64(o, "sectors", fmt_group_len(&d->geo, group));
	add_u64(o, "free", get32(gd->free));
	add_u64(o, "bitmap_sector", fmt_bitmap_sector(&d->geo, group));
	add_u64(o, "bitmaps_in_use", (u64)__builtin_popcountll(get64(gd->bitmap_init)));
	add_u64(o, "map_sector", fmt_map_sector(&d->geo, group));
	add_u64(o, "maps_in_use", maps);
	add_u64(o, "space_sector", fmt_space_start(&d->geo, group));
	add_bool(o, "superblock_copy", fmt_group_has_copy(group));
	emit(d, o);
}

static int print_groups(struct dump *d)
{
	const struct fmt_gtable *t = (const void *)d->buf;

	for (u32 i = 0; i < d->geo.nr_groups; i++) {
		u32 index = i % FMT_GROUPS_PER_SECTOR;
		u64 addr = d->geo.gtable_sector + i / FMT_GROUPS_PER_SECTOR;
		int r = index ? 0 : reader_get(&d->rd, addr, FMT_KIND_GTABLE, d->buf);

		if (r)
			return r;
		print_group(d, i, &t->g[index]);
	}
	return 0;
}

/* ---- items ---- */

static void add_inode(rec_t o, const struct fmt_inode *i)
{
	char mode[12];

	snprintf(mode, sizeof(mode), "%06" PRIo32, get32(i->mode));
	add_str(o, "mode", mode);
	add_u64(o, "uid", get32(i->uid));
	add_u64(o, "gid", get32(i->gid));
	add_u64(o, "links", get32(i->nlink));
	add_u64(o, "size", get64(i->size));
	add_u64(o, "sectors", get64(i->sectors));
	add_u64(o, "rdev", get64(i->rdev));
	add_u64(o, "parent", get64(i->parent));
	add_u64(o, "entries", get64(i->entries));
	add_u64(o, "flags", get32(i->flags));
	add_u64(o, "generation", get32(i->gen));
	add_u64(o, "xattrs", get32(i->xattrs));
	add_u64(o, "inline_bytes", get16(i->inline_len));
	add_time(o, "atime", i->atime);
	add_time(o, "mtime", i->mtime);
	add_time(o, "ctime", i->ctime);
	add_time(o, "btime", i->btime);
}

static void add_xattr(rec_t o, struct fmt_key k, const struct fmt_xattr *x, u32 len)
{
	add_hex(o, "key", k.b);
	add_u64(o, "chunk", k.b & 0xff);
	add_u64(o, "bytes", len);
	if (k.b & 0xff)
		return;
	add_name(o, "name", x->name, x->namelen);
	add_u64(o, "value_bytes", get32(x->value_len));
	add_u64(o, "chunks", x->chunks);
}

static void add_value(rec_t o, enum fmt_tree t, struct fmt_key k, const void *val, u32 len)
{
	const struct fmt_dirent *de = val;
	const struct fmt_extent *e = val;
	const struct fmt_orphan *orphan = val;

	switch (t) {
	case FMT_TREE_INODE:
		add_inode(o, val);
		break;
	case FMT_TREE_DIRENT:
		add_hex(o, "cookie", k.b);
		add_u64(o, "target", get64(de->ino));
		add_u64(o, "type", de->type);
		add_name(o, "name", de->name, de->namelen);
		break;
	case FMT_TREE_EXTENT:
		add_u64(o, "file_sector", k.b);
		add_u64(o, "disk_sector", get64(e->disk));
		add_u64(o, "sectors", get32(e->nr));
		break;
	case FMT_TREE_XATTR:
		add_xattr(o, k, val, len);
		break;
	case FMT_TREE_ORPHAN:
		add_str(o, "do", orphan->kind == FMT_ORPHAN_DELETE ? "delete" : "truncate");
		add_u64(o, "size", get64(orphan->size));
		break;
	case FMT_NR_TREES:
		break;
	}
}

static void dump_item(void *arg, struct fmt_key k, const void *val, u32 len)
{
	struct dump *d = arg;
	rec_t o;

	if (d->one_ino && k.a != d->ino)
		return;
	o = json_object_new_object();
	add_str(o, "item", fmt_tree_name(d->tree));
	add_u64(o, "inode", k.a);
	add_value(o, d->tree, k, val, len);
	emit(d, o);
}

static void dump_bad(void *arg, const struct walk_place *at, int err)
{
	struct dump *d = arg;
	rec_t o = json_object_new_object();

	add_str(o, "item", fmt_tree_name(d->tree));
	add_u64(o, "node", at->addr);
	add_str(o, "error", err == -ERANGE ? "of another tree, level or key range" : err_text(err));
	emit(d, o);
}

static bool dump_stop(void *arg)
{
	const struct dump *d = arg;

	return ferror(d->out);
}

static int print_tree(struct dump *d, enum fmt_tree t)
{
	struct walk w = { .rd = &d->rd, .tree = t, .item = dump_item, .bad = dump_bad,
			  .stop = dump_stop, .arg = d,
			  /* A crafted graph of shared nodes is cut off by number. */
			  .max_nodes = d->geo.nr_sectors / NODE_SECTORS };
	struct fmt_root *root = (void *)d->buf;
	int r = reader_get(&d->rd, d->geo.root_sector, FMT_KIND_ROOT, root);

	d->tree = t;
	if (r)
		return r;
	w.one = d->one_ino;
	w.only = d->ino;
	return walk_tree(&w, root);
}

static int print_named_tree(struct dump *d, const char *name)
{
	for (int t = 0; name && t < FMT_NR_TREES; t++) {
		if (strcmp(name, fmt_tree_name((enum fmt_tree)t)) == 0)
			return print_tree(d, (enum fmt_tree)t);
	}
	return name ? -ENOENT : -EINVAL;
}

static int print_inode(struct dump *d, const char *number)
{
	static const enum fmt_tree trees[] = { FMT_TREE_INODE, FMT_TREE_DIRENT, FMT_TREE_EXTENT,
					       FMT_TREE_XATTR, FMT_TREE_ORPHAN };
	int r = 0;

	if (!number || parse_u64(number, 1, UINT64_MAX, &d->ino))
		return -EINVAL;
	d->one_ino = true;
	for (size_t i = 0; i < ARRAY_LEN(trees) && !r; i++)
		r = print_tree(d, trees[i]);
	d->one_ino = false;
	return !r && d->nr == 0 ? -ENOENT : r;
}

/* ---- journal ---- */

static void print_head(struct dump *d, u64 addr)
{
	const struct fmt_jnl_head *h = (const void *)d->buf;
	rec_t o = json_object_new_object();
	int r = blk_read(d->dev, addr, d->buf, 1, BLK_META);

	if (!r)
		r = fmt_buf_check(d->buf, FMT_KIND_JNL, addr, &d->geo);
	add_str(o, "item", "header");
	add_u64(o, "sector", addr);
	if (r) {
		add_str(o, "error", err_text(r));
	} else {
		add_u64(o, "serial", get64(h->serial));
		add_hex(o, "epoch", get64(h->epoch));
		add_u64(o, "tail", get64(h->tail));
		add_u64(o, "tail_sequence", get64(h->tail_seq));
		add_bool(o, "clean", get32(h->clean));
		add_u64(o, "mounts", get32(h->mounts));
		add_u64(o, "mount_time", get64(h->mount_time));
	}
	emit(d, o);
}

/* Sectors of the ring, which has no end. */
static int ring_read(struct dump *d, u64 pos, u8 *buf, u64 nr)
{
	u64 ring = d->geo.jnl_nr - 2, base = d->geo.jnl_sector + 2;
	u64 first = MIN(nr, ring - pos);
	int r = blk_read(d->dev, base + pos, buf, (u32)first, BLK_META);

	if (!r && nr > first)
		r = blk_read(d->dev, base, buf + first * SECTOR_SIZE, (u32)(nr - first), BLK_META);
	return r;
}

static void print_txn(struct dump *d, const u8 *txn, u64 pos)
{
	static const char *const names[] = {
		[FMT_REC_BYTES] = "bytes",   [FMT_REC_WHOLE] = "whole",
		[FMT_REC_FILL] = "fill",     [FMT_REC_REVOKE] = "revoke",
		[FMT_REC_INTENT] = "intent", [FMT_REC_INTENT_END] = "intent_end",
		[FMT_REC_DATA] = "data",     [FMT_REC_SUM] = "sum",
	};
	const struct fmt_txn *t = (const void *)txn;
	u64 counts[ARRAY_LEN(names)] = { 0 }, at = 0;
	const struct fmt_rec *rec;
	const void *payload;
	rec_t o = json_object_new_object();

	while (fmt_rec_next(txn, &at, &rec, &payload))
		counts[get16(rec->type)]++;
	add_str(o, "item", "transaction");
	add_u64(o, "sequence", get64(t->seq));
	add_u64(o, "position", pos);
	add_u64(o, "bytes", get64(t->len));
	add_u64(o, "durable", get64(t->durable));
	add_u64(o, "time", get64(t->time));
	for (size_t i = FMT_REC_BYTES; i < ARRAY_LEN(names); i++)
		add_u64(o, names[i], counts[i]);
	emit(d, o);
}

/* 1 and its length in sectors, or 0 where the log ends. *txn is allocated. */
static int read_txn(struct dump *d, const struct fmt_jnl_head *h, u64 pos, u64 seq, u64 left,
		    u8 **txn, u64 *nr)
{
	const struct fmt_txn *t = (const void *)d->buf;
	u64 len;

	if (ring_read(d, pos, d->buf, 1) || get32(t->magic) != FMT_TXN_MAGIC)
		return 0;
	len = get64(t->len);
	if (get64(t->seq) != seq || len == 0 || len % SECTOR_SIZE || len / SECTOR_SIZE > left)
		return 0;
	*txn = aligned_alloc(SECTOR_SIZE, len);
	if (!*txn)
		return -ENOMEM;
	*nr = len / SECTOR_SIZE;
	if (ring_read(d, pos, *txn, *nr) || fmt_txn_check(*txn, len, get64(h->epoch), seq)) {
		free(*txn);
		return 0;
	}
	return 1;
}

static int print_journal(struct dump *d)
{
	u64 ring = d->geo.jnl_nr - 2, pos, seq, left = ring, nr = 0;
	struct fmt_jnl_head h;
	u8 *txn;
	int r;

	print_head(d, d->geo.jnl_sector);
	print_head(d, d->geo.jnl_sector + 1);
	if (reader_jnl_head(d->dev, &d->geo, &h) == -EUCLEAN || get32(h.clean))
		return 0;
	pos = get64(h.tail);
	seq = get64(h.tail_seq);
	while (left && (r = read_txn(d, &h, pos, seq, left, &txn, &nr)) > 0) {
		print_txn(d, txn, pos);
		free(txn);
		pos = (pos + nr) % ring;
		left -= nr;
		seq++;
	}
	return left ? MIN(r, 0) : 0;
}

/* ---- any sector ---- */

static int print_sector(struct dump *d, const char *number)
{
	const struct fmt_hdr *h = (const void *)d->buf;
	enum fmt_kind kind;
	u64 addr;
	int r;

	if (!number || parse_u64(number, 0, d->geo.nr_sectors - 1, &addr))
		return -EINVAL;
	if (d->json)
		return -EOPNOTSUPP;
	r = blk_read(d->dev, addr, d->buf, 1, BLK_META);
	if (r)
		return r;
	if (get32(h->magic) != FMT_HDR_MAGIC || get16(h->kind) < FMT_KIND_ROOT ||
	    get16(h->kind) > FMT_KIND_MAX) {
		fprintf(d->out, "sector %" PRIu64 ": no metadata header\n", addr);
		return 0;
	}
	kind = (enum fmt_kind)get16(h->kind);
	if (addr + fmt_kind_sectors(kind) > d->geo.nr_sectors)
		return -EUCLEAN;
	r = blk_read(d->dev, addr, d->buf, fmt_kind_sectors(kind), BLK_META);
	if (r)
		return r;
	r = fmt_buf_check(d->buf, kind, addr, &d->geo);
	fmt_buf_to_text(d->buf, kind, d->out);
	if (r)
		fprintf(d->out, "  not valid: %s\n", r == -EBADMSG ? "wrong checksum" : "damaged");
	return 0;
}

/* ---- from outside ---- */

static int print_what(struct dump *d, const char *what, const char *arg)
{
	if (strcmp(what, "info") == 0)
		return print_info(d);
	if (strcmp(what, "super") == 0)
		return print_super(d);
	if (strcmp(what, "groups") == 0)
		return print_groups(d);
	if (strcmp(what, "tree") == 0)
		return print_named_tree(d, arg);
	if (strcmp(what, "inode") == 0)
		return print_inode(d, arg);
	if (strcmp(what, "journal") == 0)
		return print_journal(d);
	return -EINVAL;
}

int dump_print(struct dump *d, const char *what, const char *arg, bool json, FILE *out)
{
	int r;

	d->out = out;
	d->json = json;
	d->nr = 0;
	if (strcmp(what, "sector") == 0)
		return print_sector(d, arg);
	d->single = strcmp(what, "info") == 0 || strcmp(what, "super") == 0;
	r = print_what(d, what, arg);
	if (!r || d->nr)
		emit_end(d);
	return r;
}

static int find_geo(struct dump *d)
{
	u8 copy;
	int r = super_read(d->dev, 0, &d->geo, &copy);

	if (r && r != -ENOMEM && r != -EOPNOTSUPP &&
	    super_find_copy(d->dev, r == -EINVAL, &d->geo, &d->super_sector) == 0)
		r = 0;
	if (!r && d->geo.nr_sectors > blk_sectors(d->dev))
		r = -EUCLEAN;
	return r;
}

int dump_open(struct blk_dev *dev, bool replay, struct dump **out)
{
	struct dump *d = calloc(1, sizeof(*d));
	struct jnl_recovery rec;
	struct fmt_jnl_head head;
	int r;

	if (!d)
		return -ENOMEM;
	d->dev = dev;
	r = find_geo(d);
	if (!r) {
		d->buf = aligned_alloc(SECTOR_SIZE, NODE_SIZE);
		r = d->buf ? 0 : -ENOMEM;
	}
	if (!r && replay)
		replay = reader_jnl_head(dev, &d->geo, &head) != -EUCLEAN && !get32(head.clean);
	if (!r)
		r = reader_init(&d->rd, dev, &d->geo, replay, &rec);
	if (r) {
		free(d->buf);
		free(d);
		return r;
	}
	*out = d;
	return 0;
}

int dump_errors(struct dump *d, struct fs_errors *out)
{
	int r = reader_get(&d->rd, d->geo.root_sector, FMT_KIND_ROOT, d->buf);

	if (!r)
		fs_errors_decode((const void *)d->buf, out);
	return r;
}

void dump_close(struct dump *d)
{
	if (!d)
		return;
	reader_fini(&d->rd);
	free(d->buf);
	free(d);
}
