/*
 * A crash image against the memory of its world; see world.h for what is right.
 *
 * 1. `last` is the newest operation that had begun: its change may be there, wholly (names) or in
 *    part (data).
 * 2. A sector of a file may be any of its versions from the newest promised one on. Only the
 *    bytes before the end of file are compared: what lies behind is not seen.
 * 3. A size is a version, or, while a write grew the file, a number of whole sectors between two
 *    versions.
 * 4. On some images each file is made longer afterwards, and must show zeroes there.
 * 5. What recovery reports as torn is a mixture in the image, and what is seen of a file that is
 *    a mixture was reported. Without checksums nothing is.
 */
#include "world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "blk/sim.h"
#include "check/check.h"

#define FOUND_MAX 128u
#define TORN_UNIT 512u
#define GROW_EVERY 16u          /* images */

struct found {
	const struct world_node *dir, *node;
	u32 name;
	u64 xattr[WORLD_XATTRS];
};

struct image {
	struct world *w;
	struct fs *fs;
	size_t events;
	bool torn;
	u32 last;               /* rule 1 */
	u32 state;              /* whose names these are: the first that fits */
	struct found found[FOUND_MAX];
	u32 nr_found;
	u32 nr_torn;            /* sectors of files that are mixtures */
	const struct world_node *dir;   /* being listed */
};

static bool wrong(struct image *g, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The first thing that is wrong is kept. */
static bool wrong(struct image *g, const char *fmt, ...)
{
	va_list ap;

	if (g->w->wrong[0])
		return false;
	va_start(ap, fmt);
	vsnprintf(g->w->wrong, sizeof(g->w->wrong), fmt, ap);
	va_end(ap);
	return false;
}

/* ---- promises ---- */

static u32 promised(const struct world_promises *p, size_t at)
{
	u32 op = 0;

	for (u32 i = 0; i < p->nr && p->p[i].at <= at; i++)
		op = MAX(op, p->p[i].op);
	return op;
}

/* The version that was there after operation `op`. */
static u32 version_at(const struct world_history *h, u32 op)
{
	u32 i = 0;

	while (i + 1 < h->nr && h->v[i + 1].op <= op)
		i++;
	return i;
}

/* ---- names ---- */

static const struct world_node *node_by_ino(const struct world *w, u64 ino)
{
	for (u32 i = 0; i < w->nr_nodes; i++)
		if (w->node[i]->ino == ino)
			return w->node[i];
	return NULL;
}

static int list_one(void *arg, const char *name, size_t len, u64 ino, unsigned dtype, u64 cookie)
{
	struct image *g = arg;
	struct found *f = &g->found[g->nr_found];
	char text[41] = "";

	(void)cookie;
	memcpy(text, name, MIN(len, sizeof(text) - 1));
	if (name[0] == '.')
		return 0;
	if (g->nr_found == FOUND_MAX)
		return 1;
	*f = (struct found){ .dir = g->dir, .node = node_by_ino(g->w, ino) };
	f->name = (u32)strtoul(text, NULL, 10);
	if (!f->node || f->node->mode >> 12 != dtype) {
		wrong(g, "name %s: inode %llu never was, or had another type", text,
		      (unsigned long long)ino);
		return 1;
	}
	g->nr_found++;
	return 0;
}

static bool list_dir(struct image *g, const struct world_node *dir)
{
	struct inode *ip;
	int r = fs_iget(g->fs, dir->ino, &ip);

	if (r)
		return wrong(g, "directory %llu: %s", (unsigned long long)dir->ino, err_text(r));
	g->dir = dir;
	r = fs_readdir(ip, 0, list_one, g);
	fs_iput(ip);
	return r || g->w->wrong[0] ? wrong(g, "listing: %s", err_text(r)) : true;
}

static bool load_xattrs(struct image *g, struct found *f, struct inode *ip)
{
	static u8 val[WORLD_XATTR_MAX];
	char name[8] = "user.x";

	for (u32 i = 0; i < WORLD_XATTRS; i++) {
		int r;

		name[5] = (char)('0' + i);
		r = fs_getxattr(ip, name, val, sizeof(val));
		if (r < 0 && r != -ENODATA)
			return wrong(g, "xattr: %s", err_text(r));
		f->xattr[i] = r < 0 ? 0 : world_xattr_hash(val, (size_t)r);
	}
	return true;
}

static bool state_matches(struct image *g, u64 sig)
{
	u32 low = promised(&g->w->names_kept, g->events);

	for (g->state = low; g->state <= g->last; g->state++)
		if (g->w->sig[g->state] == sig)
			return true;
	for (u32 k = 0; k < low; k++)
		if (g->w->sig[k] == sig)
			return wrong(g, "names are those of operation %u, %u is promised", k, low);
	return wrong(g, "these %u names never were together (operations %u to %u)", g->nr_found,
		     low, g->last);
}

static bool verify_names(struct image *g)
{
	u64 sig = 0;

	if (!list_dir(g, g->w->node[0]))
		return false;
	for (u32 i = 0; i < g->nr_found; i++) {
		struct found *f = &g->found[i];
		struct inode *ip;
		int r;

		if (S_ISDIR(f->node->mode) && !list_dir(g, f->node))
			return false;
		r = fs_iget(g->fs, f->node->ino, &ip);
		if (r)
			return wrong(g, "inode %llu: %s", (unsigned long long)f->node->ino,
				     err_text(r));
		if (!load_xattrs(g, f, ip)) {
			fs_iput(ip);
			return false;
		}
		fs_iput(ip);
		sig += world_sig_entry(f->dir, f->name, f->node, f->xattr);
	}
	return state_matches(g, sig);
}

/* ---- one file ---- */

static bool verify_attr(struct image *g, const struct world_node *n, const struct stat *st)
{
	const struct world_history *h = &n->attrs;
	u64 value = st->st_mode | (u64)st->st_uid << 32;
	u32 low = promised(&n->attr_kept, g->events);

	for (u32 i = version_at(h, low); i < h->nr && h->v[i].op <= g->last; i++)
		if (h->v[i].value == value)
			return true;
	return wrong(g, "file %llu: mode %o, owner %u is older than operation %u or never was",
		     (unsigned long long)n->ino, st->st_mode, st->st_uid, low);
}

/* Rule 3. */
static bool verify_size(struct image *g, const struct world_node *n, u64 size, u32 low)
{
	const struct world_history *h = &n->sizes;
	u32 first = version_at(h, low);

	for (u32 i = first; i < h->nr && h->v[i].op <= g->last; i++) {
		if (h->v[i].value == size)
			return true;
		if (i > first && h->v[i].write && size > h->v[i - 1].value &&
		    size < h->v[i].value && IS_ALIGNED(size, (u64)SECTOR_SIZE))
			return true;
	}
	return wrong(g, "file %llu: size %llu is older than operation %u or never was",
		     (unsigned long long)n->ino, (unsigned long long)size, low);
}

static bool same_bytes(const u8 *version, const u8 *got, u32 len)
{
	if (version)
		return !memcmp(version, got, len);
	while (len--)
		if (got[len])
			return false;
	return true;
}

/* Is [from, to) of the sector that of one version? */
static bool part_known(const struct image *g, const struct world_history *h, u32 low, const u8 *got,
		       u32 from, u32 to)
{
	for (u32 i = version_at(h, low); i < h->nr && h->v[i].op <= g->last; i++)
		if (same_bytes(h->v[i].data ? h->v[i].data + from : NULL, got + from, to - from))
			return true;
	return false;
}

/* Rule 2. */
static bool verify_sector(struct image *g, const struct world_node *n, u32 index, const u8 *got,
			  u32 len, u32 low)
{
	const struct world_history *h = &n->sector[index];
	bool known = part_known(g, h, low, got, 0, len);

	for (u32 at = 0; !known && g->torn; at += TORN_UNIT) {
		if (at >= len) {
			g->nr_torn++;
			return true;
		}
		if (!part_known(g, h, low, got, at, MIN(at + TORN_UNIT, len)))
			break;
	}
	if (known)
		return true;
	return wrong(g, "file %llu: sector %u (%u bytes seen, first %02x) is older than operation "
		     "%u or never was", (unsigned long long)n->ino, index, len, got[0], low);
}

/* The newest operation whose data must be there. */
static u32 data_promised(const struct image *g, const struct world_node *n)
{
	return MAX(promised(&n->data_kept, g->events), promised(&n->forced, g->state));
}

static bool verify_target(struct image *g, const struct world_node *n, struct inode *ip)
{
	char want[WORLD_TARGET_MAX], got[WORLD_TARGET_MAX + 1];
	int r = fs_readlink(ip, got, sizeof(got));

	world_target(want, (u32)n->size);
	return (u64)r == n->size && !memcmp(want, got, n->size) ? true
		: wrong(g, "symbolic link %llu has another target", (unsigned long long)n->ino);
}

static bool verify_file(struct image *g, const struct world_node *n, struct inode *ip)
{
	static u8 buf[WORLD_FILE_MAX];
	u32 low = data_promised(g, n);
	struct stat st;
	ssize_t r;

	fs_getattr(ip, &st);
	if (!verify_attr(g, n, &st))
		return false;
	if (S_ISLNK(n->mode))
		return verify_target(g, n, ip);
	if (S_ISCHR(n->mode) && st.st_rdev != WORLD_RDEV)
		return wrong(g, "device %llu has another number", (unsigned long long)n->ino);
	if (!S_ISREG(n->mode))
		return true;
	if (!verify_size(g, n, (u64)st.st_size, low))
		return false;
	r = fs_read(ip, 0, buf, sizeof(buf), NULL);
	if (r != st.st_size)
		return wrong(g, "file %llu: read %zd of %lld", (unsigned long long)n->ino, r,
			     (long long)st.st_size);
	for (u32 i = 0; (u64)i * SECTOR_SIZE < (u64)r; i++)
		if (!verify_sector(g, n, i, buf + i * SECTOR_SIZE,
				   (u32)MIN((u64)r - i * SECTOR_SIZE, (u64)SECTOR_SIZE), low))
			return false;
	return true;
}

/* Rule 4. */
static bool verify_growth(struct image *g, const struct world_node *n, struct inode *ip)
{
	static u8 buf[2 * SECTOR_SIZE];
	struct stat st;
	u64 size;
	ssize_t r;

	if (!S_ISREG(n->mode))
		return true;
	fs_getattr(ip, &st);
	size = ALIGN_UP((u64)st.st_size, (u64)SECTOR_SIZE) + SECTOR_SIZE;
	if (fs_truncate(ip, size))
		return wrong(g, "file %llu can't grow", (unsigned long long)n->ino);
	r = fs_read(ip, (u64)st.st_size, buf, sizeof(buf), NULL);
	if (r < (ssize_t)SECTOR_SIZE || !same_bytes(NULL, buf, (u32)r))
		return wrong(g, "file %llu grew from %lld and shows what was behind its end",
			     (unsigned long long)n->ino, (long long)st.st_size);
	return true;
}

typedef bool verify_fn(struct image *g, const struct world_node *n, struct inode *ip);

/* By another name, before. */
static bool is_known(const struct image *g, u32 i)
{
	for (u32 k = 0; k < i; k++)
		if (g->found[k].node == g->found[i].node)
			return true;
	return false;
}

static bool verify_files(struct image *g, verify_fn *verify)
{
	bool good = true;

	for (u32 i = 0; good && i < g->nr_found; i++) {
		struct inode *ip;
		int r;

		if (is_known(g, i))
			continue;
		r = fs_iget(g->fs, g->found[i].node->ino, &ip);
		if (r)
			return wrong(g, "inode: %s", err_text(r));
		good = verify(g, g->found[i].node, ip);
		fs_iput(ip);
	}
	return good;
}

/* ---- what recovery reports ---- */

static bool is_mixed(struct blk_dev *img, u64 sector)
{
	const u64 *mixed;
	size_t nr = sim_mixed(img, &mixed);

	while (nr && mixed[nr - 1] != sector)
		nr--;
	return nr;
}

/* Rule 5. */
static bool verify_torn(struct image *g, struct blk_dev *img)
{
	const struct jnl_recovery *rec = fs_recovery(g->fs);

	if (g->w->sums == WORLD_NO_SUMS && rec->torn)
		return wrong(g, "reported as torn, with nothing to know it by");
	if (g->w->sums == WORLD_SUMS && g->nr_torn > rec->torn)
		return wrong(g, "%u sectors of files are torn, %llu were reported", g->nr_torn,
			     (unsigned long long)rec->torn);
	if (rec->torn > JNL_TORN_MAX)
		return wrong(g, "more sectors are reported as torn than this test can have");
	for (u64 i = 0; i < rec->torn; i++)
		if (!is_mixed(img, rec->torn_sector[i]))
			return wrong(g, "sector %llu is reported as torn, and is whole",
				     (unsigned long long)rec->torn_sector[i]);
	return true;
}

/* ---- the image ---- */

static void problem(void *arg, const struct check_problem *p)
{
	wrong(arg, "check: %s: inode %lld, sector %lld: %s", check_code_name(p->code),
	      (long long)p->ino, (long long)p->sector, p->text);
}

static u32 last_begun(const struct world *w, size_t events)
{
	u32 op = 0;

	while (op + 1 <= w->op && w->began[op + 1] <= events)
		op++;
	return op;
}

bool world_verify(struct world *w, struct blk_dev *img, size_t events, unsigned how)
{
	struct image g = { .w = w, .events = events, .torn = how & WORLD_TORN,
			   .last = last_begun(w, events) };
	struct check_opts co = { .problem = problem, .arg = &g };
	struct fs_opts mo = { .commit_ms = 3600 * 1000 };
	struct check_result res;
	bool good;
	int r;

	w->wrong[0] = 0;
	r = fs_mount(img, &mo, &g.fs);
	if (r)
		return wrong(&g, "recovery failed: %s", err_text(r));
	if (fs_readonly(g.fs))
		return fs_unmount(g.fs, true), wrong(&g, "taken for damaged");
	good = verify_names(&g) && verify_files(&g, verify_file) && verify_torn(&g, img);
	if (good && events % GROW_EVERY == 0 && !(how & WORLD_KEEP))
		good = verify_files(&g, verify_growth);
	r = fs_unmount(g.fs, false);
	if (r)
		return wrong(&g, "unmounting failed: %s", err_text(r));
	if (good && (check_run(img, &co, &res) || res.problems))
		return wrong(&g, "check failed");
	return good;
}
