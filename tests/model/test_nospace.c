/*
 * No space at any one allocation: each time that space for data or a node is asked for, or
 * reserved, in a workload of all operations, there is none, once or some times in a row. An
 * operation then works or says ENOSPC and has done nothing; the image passes the check; all space
 * and all reservations come back; and the same workload works afterwards.
 *
 * The program is linked with --wrap for what gives space out.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "base/log.h"
#include "../fs/fs_test.h"
#include "fs/inode.h"
#include "fs/space.h"

/* ---- the allocator ---- */

static struct { u64 count, from, to; } ask = { .from = UINT64_MAX, .to = UINT64_MAX };

static bool none_left(void)
{
	ask.count++;
	return ask.count > ask.from && ask.count <= ask.to;
}

int __real_space_alloc(struct view *v, struct space *sp, u64 goal, u32 min, u32 nr, bool reserved,
		       u64 *out_sector, u32 *out_nr);
int __wrap_space_alloc(struct view *v, struct space *sp, u64 goal, u32 min, u32 nr, bool reserved,
		       u64 *out_sector, u32 *out_nr);
int __wrap_space_alloc(struct view *v, struct space *sp, u64 goal, u32 min, u32 nr, bool reserved,
		       u64 *out_sector, u32 *out_nr)
{
	if (none_left())
		return -ENOSPC;
	return __real_space_alloc(v, sp, goal, min, nr, reserved, out_sector, out_nr);
}

int __real_space_alloc_node(struct view *v, u64 goal, bool deep, u64 *out_sector);
int __wrap_space_alloc_node(struct view *v, u64 goal, bool deep, u64 *out_sector);
int __wrap_space_alloc_node(struct view *v, u64 goal, bool deep, u64 *out_sector)
{
	return none_left() ? -ENOSPC : __real_space_alloc_node(v, goal, deep, out_sector);
}

int __real_space_reserve(struct space *sp, u64 sectors);
int __wrap_space_reserve(struct space *sp, u64 sectors);
int __wrap_space_reserve(struct space *sp, u64 sectors)
{
	return none_left() ? -ENOSPC : __real_space_reserve(sp, sectors);
}

/* ---- what there should be ---- */

enum { A, B, C, DIR, LINK, SYM, COPY, MANY, NAMES = MANY + 200 };
#define DATA_MAX 160000u
#define TARGET_LEN 300u

struct node {
	u32 mode;
	u64 size;
	u32 links;
	size_t xattr_len;
	u8 *data;
};

static struct box b;
static struct node *names[NAMES];       /* NULL: no such name */
static unsigned failed;

static char *name_of(unsigned i, char buf[80])
{
	sprintf(buf, "%s%u", i < MANY ? "n" : "one of many names that are long, number ", i);
	return buf;
}

static void node_put(struct node *n)
{
	if (n && --n->links == 0) {
		free(n->data);
		free(n);
	}
}

static void compare_file(const struct node *n, struct inode *ip)
{
	static u8 buf[DATA_MAX], val[8192];
	ssize_t len = fs_read(ip, 0, buf, sizeof(buf), NULL);

	ck_assert_int_eq(len, (ssize_t)n->size);
	/* Check's assertions cost a system call each: none for each byte. */
	for (u64 i = 0; i < n->size; i++)
		if (buf[i] != n->data[i])
			ck_abort_msg("inode %llu, byte %llu: %x instead of %x, allocation %llu",
				     (unsigned long long)fs_ino(ip), (unsigned long long)i, buf[i],
				     n->data[i], (unsigned long long)ask.from);
	len = fs_getxattr(ip, "user.x", val, sizeof(val));
	ck_assert_int_eq(len, n->xattr_len ? (ssize_t)n->xattr_len : -ENODATA);
}

static void compare(void)
{
	char name[80], target[TARGET_LEN + 1];

	for (unsigned i = 0; i < NAMES; i++) {
		const struct node *n = names[i];
		struct inode *ip;
		struct stat st;

		ck_assert_msg(there(b.root, name_of(i, name)) == !!n, "%s, allocation %llu", name,
			      (unsigned long long)ask.from);
		if (!n)
			continue;
		ip = get(b.root, name);
		fs_getattr(ip, &st);
		ck_assert_uint_eq(st.st_mode, n->mode);
		if (S_ISREG(n->mode)) {
			ck_assert_uint_eq(st.st_nlink, n->links);
			compare_file(n, ip);
		} else if (S_ISLNK(n->mode)) {
			ck_assert_int_eq(fs_readlink(ip, target, sizeof(target)), TARGET_LEN);
		}
		fs_iput(ip);
	}
}

/* ---- operations ---- */

/* What failed has had no effect. */
static bool fine(s64 r)
{
	ck_assert_msg(r >= 0 || r == -ENOSPC, "error %lld at allocation %llu", (long long)r,
		      (unsigned long long)ask.from);
	if (r >= 0)
		return true;
	failed++;
	compare();
	return false;
}

static struct node *node_new(u32 mode)
{
	struct node *n = calloc(1, sizeof(*n));

	n->mode = mode;
	n->links = 1;
	n->data = calloc(1, DATA_MAX);
	return n;
}

static void create(unsigned i, u32 mode)
{
	char name[80];
	struct inode *ip;

	name_of(i, name);
	if (!fine(fs_mknod(b.root, name, strlen(name), mode, 0, somebody, &ip)))
		return;
	names[i] = node_new(mode);
	fs_iput(ip);
}

static void make_symlink(unsigned i)
{
	char name[80], target[TARGET_LEN];
	struct inode *ip;

	memset(target, 't', sizeof(target));
	name_of(i, name);
	if (!fine(fs_symlink(b.root, name, strlen(name), target, sizeof(target), somebody, &ip)))
		return;
	names[i] = node_new(S_IFLNK | 0777);
	fs_iput(ip);
}

static struct inode *file(unsigned i)
{
	char name[80];

	return names[i] ? get(b.root, name_of(i, name)) : NULL;
}

static void put(unsigned i, u64 pos, u64 len, u8 value)
{
	static u8 buf[DATA_MAX];
	struct inode *ip = file(i);
	ssize_t n;

	if (!ip)
		return;
	memset(buf, value, len);
	n = fs_write(ip, pos, buf, len, 0);
	if (fine(n) && n > 0) {
		memset(names[i]->data + pos, value, (size_t)n);
		names[i]->size = MAX(names[i]->size, pos + (u64)n);
	}
	fs_iput(ip);
}

static void cut(unsigned i, u64 size)
{
	struct inode *ip = file(i);

	if (ip && fine(fs_truncate(ip, size))) {
		memset(names[i]->data + size, 0, DATA_MAX - size);
		names[i]->size = size;
	}
	fs_iput(ip);
}

/* A zeroed range that could not be placed again is zero all the same, where it was freed. */
static void zeroed_in_part(struct node *n, struct inode *ip, u64 pos, u64 len)
{
	static u8 buf[DATA_MAX];

	ck_assert_int_eq(fs_read(ip, pos, buf, len, NULL), (ssize_t)len);
	for (u64 i = 0; i < len; i++) {
		if (buf[i] != 0 && buf[i] != n->data[pos + i])
			ck_abort_msg("byte %llu", (unsigned long long)(pos + i));
		n->data[pos + i] = buf[i];
	}
	failed++;
	compare();
}

static void zero(unsigned i, u64 pos, u64 len)
{
	struct inode *ip = file(i);
	int r = ip && names[i]->size >= pos + len
		? fs_fallocate(ip, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, pos, len) : -ENOENT;

	if (r == -ENOSPC)
		zeroed_in_part(names[i], ip, pos, len);
	else if (!r)
		memset(names[i]->data + pos, 0, len);
	fs_iput(ip);
}

static void allocate(unsigned i, int mode, u64 pos, u64 len)
{
	struct inode *ip = file(i);

	if (ip && fine(fs_fallocate(ip, mode, pos, len))) {
		if (mode & ~FALLOC_FL_KEEP_SIZE)
			memset(names[i]->data + pos, 0, len);
		if (!(mode & FALLOC_FL_KEEP_SIZE))
			names[i]->size = MAX(names[i]->size, pos + len);
	}
	fs_iput(ip);
}

static void sync_file(unsigned i)
{
	struct inode *ip = file(i);

	if (ip)
		fine(fs_fsync(ip, i % 2));
	fs_iput(ip);
}

static void copy(unsigned from, unsigned to, u64 len)
{
	struct inode *src = file(from), *dst = file(to);

	if (src && dst) {
		ssize_t n = fs_copy_range(src, 0, dst, 0, MIN(len, names[from]->size), 0);

		if (fine(n) && n > 0) {
			memcpy(names[to]->data, names[from]->data, (size_t)n);
			names[to]->size = MAX(names[to]->size, (u64)n);
		}
	}
	fs_iput(src);
	fs_iput(dst);
}

static void set_xattr(unsigned i, size_t len)
{
	static const u8 val[8192];
	struct inode *ip = file(i);

	if (ip && fine(fs_setxattr(ip, "user.x", val, len, 0)))
		names[i]->xattr_len = len;
	fs_iput(ip);
}

static void link_to(unsigned from, unsigned to)
{
	struct inode *ip = file(from);
	char name[80];

	name_of(to, name);
	if (ip && fine(fs_link(ip, b.root, name, strlen(name)))) {
		names[to] = names[from];
		names[from]->links++;
	}
	fs_iput(ip);
}

static void move(unsigned from, unsigned to, unsigned flags)
{
	char old[80], new[80];
	struct node *n = names[to];

	if (!names[from] || (flags && !n))
		return;
	if (!fine(rename_name(b.root, name_of(from, old), b.root, name_of(to, new), flags)))
		return;
	names[to] = names[from];
	names[from] = flags ? n : NULL;
	if (!flags)
		node_put(n);
}

static void drop(unsigned i)
{
	char name[80];

	if (!names[i])
		return;
	name_of(i, name);
	if (!fine(S_ISDIR(names[i]->mode) ? rmdir_name(b.root, name) : unlink_name(b.root, name)))
		return;
	node_put(names[i]);
	names[i] = NULL;
}

static void contents(void)
{
	create(A, S_IFREG | 0644);
	put(A, 0, 500, 'a');
	put(A, 400, 9000, 'b');
	put(A, 9400, 70000, 'c');
	sync_file(A);
	create(B, S_IFREG | 0644);
	put(B, 0, 20000, 'd');
	fine(fs_sync(b.fs));
	put(B, 4096, 4096, 'e');
	sync_file(B);
	cut(A, 30000);
	cut(A, 100000);
	allocate(A, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 9000);
	allocate(B, FALLOC_FL_KEEP_SIZE, 50000, 60000);
	allocate(B, 0, 30000, 30000);
	zero(B, 2000, 9000);
	create(COPY, S_IFREG | 0644);
	copy(B, COPY, 16000);
	put(A, 60000, 8000, 'f');
	fine(fs_tick(b.fs));
}

static void all_names(void)
{
	for (unsigned i = MANY; i < NAMES; i++)
		create(i, S_IFREG | 0600);
	create(DIR, S_IFDIR | 0755);
	move(A, C, 0);
	move(B, C, FS_RENAME_EXCHANGE);
	link_to(C, LINK);
	make_symlink(SYM);
	set_xattr(C, 20);
	set_xattr(C, 7000);
	set_xattr(B, 5000);
	move(COPY, B, 0);
	drop(LINK);
	drop(DIR);
	fine(jnl_checkpoint_all(fs_jnl(b.fs)));
	put(C, 0, 90000, 'g');
	sync_file(C);
}

static void workload(void)
{
	failed = 0;
	contents();
	all_names();
	fine(fs_sync(b.fs));
}

static void drop_all(void)
{
	for (unsigned i = 0; i < NAMES; i++)
		drop(i);
	OK(fs_sync(b.fs));
}

/* ---- runs ---- */

static struct space_counts counts(void)
{
	struct space_counts c;

	OK(fs_sync(b.fs));
	space_counts(fs_space(b.fs), &c);
	return c;
}

static void space_is_back(const struct space_counts *before)
{
	struct space_counts now = counts();

	ck_assert_uint_eq(now.reserved, 0);
	ck_assert_msg(now.free == before->free, "%llu of %llu sectors, allocation %llu",
		      (unsigned long long)now.free, (unsigned long long)before->free,
		      (unsigned long long)ask.from);
}

/* Allocations (from, to] find nothing; true if the workload came so far. */
static bool run(u32 block_bytes, u64 from, u64 to, unsigned *all_failed)
{
	struct space_counts before;
	bool reached;

	box_open(&b, "ram:16M", block_bytes);
	before = counts();
	ask.count = 0;
	ask.from = from;
	ask.to = to;
	workload();
	reached = ask.count > from;
	ask.to = 0;
	*all_failed += failed;
	compare();
	box_remount(&b, false);
	compare();
	failed = 0;
	drop_all();
	space_is_back(&before);
	workload();
	compare();
	ck_assert_uint_eq(failed, 0);
	drop_all();
	space_is_back(&before);
	box_close(&b);
	return reached;
}

static void every_space_allocation(u32 block_bytes, u64 in_a_row, u64 step)
{
	unsigned runs = 0, all_failed = 0;

	log_set_level(LOG_LEVEL_ERR);
	for (u64 n = 0; run(block_bytes, n, n + in_a_row, &all_failed); n += step)
		runs++;
	printf("%u runs, %u operations failed\n", runs, all_failed);
	ck_assert_uint_ge(runs, 10);
	ck_assert_uint_ge(all_failed, in_a_row > 1 ? runs / 2 : 1);
}

START_TEST(no_space_at_any_one_allocation_leaves_nothing_half_done)
{
	every_space_allocation(4096, 1, 1);
}
END_TEST

START_TEST(the_same_with_blocks_of_64_KiB)
{
	every_space_allocation(65536, 1, 1);
}
END_TEST

START_TEST(no_space_for_a_while_leaves_nothing_half_done)
{
	every_space_allocation(4096, 12, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("nospace");

	check_add_slow(s, no_space_at_any_one_allocation_leaves_nothing_half_done, 300);
	check_add_slow(s, the_same_with_blocks_of_64_KiB, 300);
	check_add_slow(s, no_space_for_a_while_leaves_nothing_half_done, 300);
	return check_main(s);
}
