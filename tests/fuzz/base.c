/*
 * See fuzz.h. The base is made once, on a recording device; each image is a copy on write of what
 * the device holds in the end.
 */
#include "fuzz.h"

#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "blk/sim.h"
#include "cache/cache.h"
#include "fs/fs.h"

#define SECTORS 1536u
#define PLACES_MAX 128u

/* A buffer in place, or a transaction in the log. */
struct place {
	u64 sector;
	u32 nr;                 /* sectors */
	enum { PLACE_SUPER, PLACE_BUFFER, PLACE_TXN } what;
};

static struct base {
	struct blk_dev *dev;
	struct sim_cutter *cutter;
	struct place place[PLACES_MAX];
	u32 nr_places;
} bases[FUZZ_NR_BASES];

static struct fmt_geo geo;
static const struct fs_cred cred = { 0, 0 };

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)level, (void)line, (void)arg;
}

u64 fuzz_take(struct fuzz_input *in, unsigned bytes)
{
	u64 v = 0;

	for (unsigned i = 0; i < bytes && in->left; i++, in->at++, in->left--)
		v |= (u64)*in->at << (8 * i);
	return v;
}

/* ---- the content ---- */

static struct inode *make(struct inode *dir, const char *name, u32 mode)
{
	struct inode *ip;

	ASSERT(!fs_mknod(dir, name, strlen(name), mode, 0, cred, &ip));
	return ip;
}

static void fill(struct inode *ip, u64 pos, size_t len)
{
	u8 *buf = malloc(len);

	memset(buf, 0x5a, len);
	ASSERT(fs_write(ip, pos, buf, len, 0) == (ssize_t)len);
	free(buf);
}

static void file(struct inode *dir, const char *name, u64 pos, size_t len)
{
	struct inode *ip = make(dir, name, S_IFREG | 0644);

	if (len)
		fill(ip, pos, len);
	fs_iput(ip);
}

static void many(struct inode *dir)
{
	char name[40];

	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "a-name-of-some-length-%d", i);
		file(dir, name, 0, i % 3 ? 0 : 500);
	}
}

static void xattrs(struct inode *ip)
{
	static u8 val[9000];

	ASSERT(!fs_setxattr(ip, "user.small", val, 10, 0));
	ASSERT(!fs_setxattr(ip, "user.large", val, sizeof(val), 0));
	ASSERT(!fs_setxattr(ip, "trusted.none", val, 0, 0));
}

/* Returns an unlinked file that is still open. */
static struct inode *populate(struct fs *fs)
{
	struct inode *root, *d, *sub, *f, *held;

	ASSERT(!fs_iget(fs, FMT_ROOT_INO, &root));
	d = make(root, "dir", S_IFDIR | 0755);
	sub = make(d, "sub", S_IFDIR | 0755);
	file(root, "inline", 0, 700);
	file(root, "long", 0, 60000);
	file(root, "sparse", 1u << 20, 5000);
	file(sub, "deep", 100, 9000);
	many(d);
	f = make(root, "rich", S_IFREG | 0600);
	fill(f, 0, 20000);
	xattrs(f);
	ASSERT(!fs_link(f, sub, "hard", 4));
	ASSERT(!fs_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096));
	fs_iput(f);
	fs_iput(make(root, "fifo", S_IFIFO | 0600));
	ASSERT(!fs_symlink(root, "link", 4, "dir/sub/deep", 12, cred, &f));
	fs_iput(f);
	ASSERT(!fs_sync(fs) && !jnl_checkpoint_all(fs_jnl(fs)));
	held = make(root, "held", S_IFREG | 0600);
	fill(held, 0, 30000);
	ASSERT(!fs_fsync(held, false));
	ASSERT(!fs_unlink(root, "held", 4));
	file(root, "new", 0, 10000);
	ASSERT(!fs_rename(root, "new", 3, sub, "moved", 5, 0, cred));
	fs_iput(sub);
	fs_iput(d);
	fs_iput(root);
	return held;
}

static void fs_make(struct base *b, enum fuzz_base which)
{
	static const u8 uuid[16] = "fuzzed";
	struct sim_opts so = { .sectors = SECTORS, .record = true };
	struct fs_format_opts fo = { .jnl_sectors = FMT_JNL_MIN_SECTORS, .uuid = uuid, .time = 1,
				     .label = "fuzz" };
	struct fs_opts mo = { .commit_ms = 3600 * 1000 };
	struct inode *held;
	struct fs *fs;

	ASSERT(!sim_open(&so, &b->dev));
	ASSERT(!fs_format(b->dev, &fo, &geo));
	ASSERT(!fs_mount(b->dev, &mo, &fs));
	held = populate(fs);
	ASSERT(!fs_sync(fs));
	if (which == FUZZ_DIRTY) {
		fs_iput(held);
		fs_unmount(fs, true);
	} else {
		fs_iput(held);
		ASSERT(!fs_unmount(fs, false));
	}
	ASSERT(!sim_cutter_new(b->dev, &b->cutter));
}

/* ---- what can be damaged ---- */

static void place_add(struct base *b, u64 sector, u32 nr, int what)
{
	if (b->nr_places < PLACES_MAX)
		b->place[b->nr_places++] = (struct place){ sector, nr, what };
}

static bool in_ring(u64 sector)
{
	return sector >= geo.jnl_sector + 2 && sector < geo.jnl_sector + geo.jnl_nr;
}

static void places_find(struct base *b)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	place_add(b, 0, 1, PLACE_SUPER);
	for (u64 s = 1; s < SECTORS; s++) {
		const struct fmt_hdr *h = (const struct fmt_hdr *)buf;
		const struct fmt_txn *t = (const struct fmt_txn *)buf;

		ASSERT(!blk_read(b->dev, s, buf, 1, BLK_META));
		if (in_ring(s) && get32(t->magic) == FMT_TXN_MAGIC)
			place_add(b, s, (u32)(get64(t->len) >> SECTOR_SHIFT), PLACE_TXN);
		else if (!in_ring(s) && get32(h->magic) == FMT_HDR_MAGIC)
			place_add(b, s, fmt_kind_sectors(get16(h->kind)), PLACE_BUFFER);
	}
	free(buf);
}

static void start(void)
{
	struct cache_config cfg = { .bytes = 4u << 20, .max_order = 0xff };

	log_set_sink(quiet, NULL);
	ASSERT(!cache_init(&cfg));
	for (unsigned i = 0; i < FUZZ_NR_BASES; i++) {
		fs_make(&bases[i], i);
		places_find(&bases[i]);
	}
}

static struct base *base_of(enum fuzz_base which)
{
	if (!bases[0].dev)
		start();
	return &bases[which];
}

struct blk_dev *fuzz_image(enum fuzz_base which)
{
	struct base *b = base_of(which);
	struct sim_spec all = { .events = sim_nr_events(b->dev), .cut = SIM_PREFIX };
	struct blk_dev *img;

	ASSERT(!sim_image(b->cutter, &all, false, &img));
	return img;
}

const struct fmt_geo *fuzz_geo(void)
{
	base_of(FUZZ_DIRTY);
	return &geo;
}

/* ---- damage ---- */

static void change(u8 *buf, u32 len, struct fuzz_input *in)
{
	u8 how = (u8)fuzz_take(in, 1);
	u32 at = (u32)(fuzz_take(in, 2) % len), from, n;
	u64 v;

	switch (how % 6) {
	case 0:
		buf[at] ^= (u8)(1u << (how / 6 % 8));
		return;
	case 1:
	case 2:
	case 3:
		n = 1u << (how % 6);
		v = fuzz_take(in, n);
		memcpy(buf + at, &v, MIN(n, len - at));
		return;
	case 4:
		from = (u32)(fuzz_take(in, 2) % len);
		n = how / 6 + 1;
		n = MIN(n, MIN(len - at, len - from));
		memmove(buf + at, buf + from, n);
		return;
	default:
		n = MIN(4u * (how / 6 + 1), len - at);
		memset(buf + at, (int)fuzz_take(in, 1), n);
	}
}

void fuzz_seal_super(struct fmt_super *sb)
{
	sb->csum = put64(0);
	sb->csum = put64(hash64(sb, sizeof(*sb)));
}

static void seal(u8 *buf, const struct place *p)
{
	struct fmt_txn *t = (struct fmt_txn *)buf;

	if (p->what == PLACE_BUFFER) {
		fmt_hdr_seal(buf, p->nr << SECTOR_SHIFT, 1);
	} else if (p->what == PLACE_TXN) {
		if (get64(t->len) <= (u64)p->nr << SECTOR_SHIFT)
			fmt_txn_seal(buf);
	} else {
		fuzz_seal_super((struct fmt_super *)(buf + FMT_SUPER_OFFSET));
	}
}

/* One place: up to eight changes, then the checksum. */
static void damage_place(struct blk_dev *dev, const struct place *p, struct fuzz_input *in)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, (size_t)p->nr << SECTOR_SHIFT);
	u8 how = (u8)fuzz_take(in, 1);

	ASSERT(!blk_read(dev, p->sector, buf, p->nr, BLK_META));
	for (unsigned i = 0; i <= how % 8 && in->left; i++)
		change(buf, p->nr << SECTOR_SHIFT, in);
	if (how / 8 % 8 != 7)
		seal(buf, p);
	ASSERT(!blk_write(dev, p->sector, buf, p->nr, BLK_META));
	free(buf);
}

void fuzz_damage(struct blk_dev *dev, enum fuzz_base which, struct fuzz_input *in)
{
	const struct base *b = base_of(which);

	while (in->left)
		damage_place(dev, &b->place[fuzz_take(in, 1) % b->nr_places], in);
}
