/*
 * File data through power cuts, where the order of log and place matters:
 *   - a synchronous write that fits into the log is there as a whole or not at all;
 *   - sectors that go through the log, in place and through the log again keep every promise.
 * And: leaving out a rule of the life of a sector (docs/DESIGN.md) is seen here.
 *
 * One file of FILE_BYTES on a recording device, overwritten in pieces. After each step of a run its
 * contents are remembered; an image is right when every sector is one that the file had at or after
 * the newest promise, and for runs of synchronous writes when all of them are those of one step.
 *
 * CRASH_SEED=n repeats one run.
 */
#include "check_main.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "blk/sim.h"
#include "fs/fs.h"

#define FILE_SECTORS 96u
#define FILE_BYTES (FILE_SECTORS * SECTOR_SIZE)
#define STEPS 24u
#define SYNC_MAX (64u << 10)

struct step {
	u8 *data;                       /* the file after it */
	size_t began, promised;         /* events; promised: all of it is durable from then on */
};

struct run {
	struct blk_dev *dev;
	struct fs *fs;
	struct inode *f;
	u64 state;
	unsigned nr;
	bool atomic;
	struct step step[STEPS + 1];
	char wrong[200];
};

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

static u64 below(struct run *r, u64 n)
{
	r->state = r->state * 6364136223846793005ull + 1442695040888963407ull;
	return (r->state >> 33) % n;
}

static void mount_it(struct run *r)
{
	struct fs_opts o = { 0 };
	struct inode *root;

	ck_assert_int_eq(fs_mount(r->dev, &o, &r->fs), 0);
	ck_assert_int_eq(fs_iget(r->fs, 1, &root), 0);
	if (fs_lookup(root, "f", 1, &r->f))
		ck_assert_int_eq(fs_mknod(root, "f", 1, S_IFREG | 0644, 0, (struct fs_cred){ 0 },
					  &r->f), 0);
	fs_iput(root);
}

static void remember(struct run *r, const u8 *data, size_t began, bool promised)
{
	struct step *s = &r->step[r->nr++];

	s->data = malloc(FILE_BYTES);
	memcpy(s->data, data, FILE_BYTES);
	s->began = began;
	s->promised = promised ? sim_nr_events(r->dev) : SIZE_MAX;
}

static void run_open(struct run *r, u64 seed, bool atomic)
{
	struct fs_format_opts fo = { .block_bytes = seed % 2 ? 4096 : 65536,
		.jnl_sectors = FMT_JNL_MIN_SECTORS, .no_datasum = seed % 4 > 1 };
	struct sim_opts so = { .sectors = 4096, .record = true };
	u8 *data = calloc(1, FILE_BYTES);

	*r = (struct run){ .state = seed, .atomic = atomic };
	ck_assert_int_eq(sim_open(&so, &r->dev), 0);
	ck_assert_int_eq(fs_format(r->dev, &fo, NULL), 0);
	mount_it(r);
	memset(data, 1, FILE_BYTES);
	ck_assert_int_eq(fs_write(r->f, 0, data, FILE_BYTES, 0), FILE_BYTES);
	ck_assert_int_eq(fs_sync(r->fs), 0);
	remember(r, data, sim_nr_events(r->dev), true);
	free(data);
}

static void run_close(struct run *r)
{
	for (unsigned i = 0; i < r->nr; i++)
		free(r->step[i].data);
	blk_close(r->dev);
}

/* ---- making a run ---- */

static void overwrite(struct run *r, u64 pos, u64 len, unsigned flags)
{
	u8 *data = malloc(FILE_BYTES);
	size_t began = sim_nr_events(r->dev);
	bool promised = flags & (FS_WRITE_SYNC | FS_WRITE_DSYNC);

	memcpy(data, r->step[r->nr - 1].data, FILE_BYTES);
	for (u64 i = 0; i < len; i++)
		data[pos + i] = (u8)(r->nr * 37 + i / SECTOR_SIZE + i % 251);
	ck_assert_int_eq(fs_write(r->f, pos, data + pos, len, flags), (ssize_t)len);
	/* Nobody promised that the earlier, asynchronous ones are there. */
	remember(r, data, began, promised && r->atomic);
	free(data);
}

static void promise_all(struct run *r)
{
	r->step[r->nr - 1].promised = sim_nr_events(r->dev);
}

/* Synchronous writes only, with checkpoints and rounds of the flusher between them. */
static void make_atomic(struct run *r)
{
	for (unsigned i = 0; i < STEPS; i++) {
		u64 len = 1 + below(r, SYNC_MAX), pos = below(r, FILE_BYTES - len + 1);

		overwrite(r, pos, len, below(r, 2) ? FS_WRITE_SYNC : FS_WRITE_DSYNC);
		if (below(r, 4) == 0)
			ck_assert_int_eq(jnl_checkpoint_all(fs_jnl(r->fs)), 0);
		if (below(r, 4) == 0)
			ck_assert_int_eq(fs_tick(r->fs), 0);
	}
}

/* Small and large writes of the same sectors, with every kind of sync. */
static void make_mixed(struct run *r)
{
	for (unsigned i = 0; i < STEPS; i++) {
		u64 len = below(r, 2) ? 1 + below(r, 20000) : 80000 + below(r, 200000);
		u64 pos = below(r, FILE_BYTES - len + 1);
		unsigned how = (unsigned)below(r, 8);

		if (below(r, 3) == 0)
			pos = ALIGN_DOWN(pos, (u64)SECTOR_SIZE);
		overwrite(r, pos, len, how == 0 ? FS_WRITE_DSYNC : 0);
		if (how <= 3) {
			ck_assert_int_eq(fs_fsync(r->f, how % 2), 0);
			promise_all(r);
		}
		if (how == 4)
			ck_assert_int_eq(fs_tick(r->fs), 0);
		if (how == 5)
			ck_assert_int_eq(jnl_checkpoint_all(fs_jnl(r->fs)), 0);
	}
}

/* ---- looking at an image ---- */

static bool fails(struct run *r, size_t events, const char *what, u64 n)
{
	snprintf(r->wrong, sizeof(r->wrong), "after %zu of %zu events: %s %llu", events,
		 sim_nr_events(r->dev), what, (unsigned long long)n);
	return false;
}

/* Steps that may be there: from the newest promised one to the last that had begun. */
static void window(const struct run *r, size_t events, unsigned *from, unsigned *to)
{
	*from = *to = 0;
	for (unsigned i = 0; i < r->nr; i++) {
		if (r->step[i].promised <= events)
			*from = i;
		if (r->step[i].began <= events)
			*to = i;
	}
	*to = MAX(*to, *from);
}

static bool one_of_them(const struct run *r, unsigned from, unsigned to, u64 pos, u64 len,
			const u8 *data)
{
	for (unsigned i = from; i <= to; i++)
		if (!memcmp(r->step[i].data + pos, data, len))
			return true;
	return false;
}

static bool compare(struct run *r, size_t events, const u8 *data)
{
	unsigned from, to;

	window(r, events, &from, &to);
	if (r->atomic)
		return one_of_them(r, from, to, 0, FILE_BYTES, data) ||
		       fails(r, events, "a write is there in part; steps from", from);
	for (u64 pos = 0; pos < FILE_BYTES; pos += SECTOR_SIZE)
		if (!one_of_them(r, from, to, pos, SECTOR_SIZE, data + pos))
			return fails(r, events, "no version of sector", pos / SECTOR_SIZE);
	return true;
}

static bool verify(struct run *r, struct blk_dev *img, size_t events)
{
	struct run v = { .dev = img };
	u8 *data = malloc(FILE_BYTES);
	bool good;
	ssize_t n;

	mount_it(&v);
	n = fs_read(v.f, 0, data, FILE_BYTES, NULL);
	good = n == (ssize_t)FILE_BYTES ? compare(r, events, data) :
					  fails(r, events, "read only", (u64)n);
	fs_iput(v.f);
	fs_unmount(v.fs, true);
	free(data);
	return good;
}

/* Torn writes are for what the log carries; a sector in place may be torn. */
static bool try_event(struct run *r, struct sim_cutter *c, size_t n, u64 *images)
{
	const struct sim_spec specs[] = {
		{ .events = n, .cut = SIM_PREFIX },
		{ .events = n, .cut = SIM_RANDOM, .seed = n * 3 + 1, .permute = true },
		{ .events = n, .cut = SIM_RANDOM, .seed = n * 3 + 2,
		  .tear = r->atomic ? 512 : 4096 },
	};
	bool good = true;

	for (unsigned i = 0; good && i < ARRAY_LEN(specs); i++) {
		struct blk_dev *img;

		ck_assert_int_eq(sim_image(c, &specs[i], false, &img), 0);
		good = verify(r, img, n);
		blk_close(img);
		++*images;
	}
	return good;
}

static bool try_run(u64 seed, bool atomic, u64 *images, char *wrong)
{
	struct sim_cutter *c;
	struct run r;
	bool good = true;

	run_open(&r, seed, atomic);
	if (atomic)
		make_atomic(&r);
	else
		make_mixed(&r);
	fs_iput(r.f);
	fs_unmount(r.fs, true);
	jnl_omit(JNL_OMIT_NONE);
	fs_omit(FS_OMIT_NONE);
	ck_assert_int_eq(sim_cutter_new(r.dev, &c), 0);
	for (size_t n = r.step[0].promised; good && n <= sim_nr_events(r.dev); n++)
		good = try_event(&r, c, n, images);
	strcpy(wrong, r.wrong);
	sim_cutter_free(c);
	run_close(&r);
	return good;
}

static void setup(void)
{
	struct cache_config cfg = { .bytes = 8u << 20, .max_order = 0xff };

	log_set_sink(quiet, NULL);
	ck_assert_int_eq(cache_init(&cfg), 0);
}

static void all_keep(bool atomic, u64 runs)
{
	const char *only = getenv("CRASH_SEED");
	u64 from = only ? strtoull(only, NULL, 0) : 1, images = 0;
	char wrong[200];

	setup();
	for (u64 seed = from; seed < from + (only ? 1 : runs); seed++)
		ck_assert_msg(try_run(seed, atomic, &images, wrong), "CRASH_SEED=%llu: %s",
			      (unsigned long long)seed, wrong);
	printf("%llu images\n", (unsigned long long)images);
	cache_fini();
}

START_TEST(a_synchronous_write_of_64_KiB_is_there_as_a_whole_or_not_at_all)
{
	all_keep(true, 20);
}
END_TEST

START_TEST(sectors_between_log_and_place_keep_every_promise)
{
	all_keep(false, 20);
}
END_TEST

/* ---- the rules ---- */

static void is_seen(enum jnl_omit jnl_rule, enum fs_omit fs_rule, bool atomic)
{
	char wrong[200] = "";
	u64 images = 0;
	bool good = true;

	setup();
	for (u64 seed = 1; good && seed <= 40; seed++) {
		jnl_omit(jnl_rule);
		fs_omit(fs_rule);
		good = try_run(seed, atomic, &images, wrong);
	}
	ck_assert_msg(!good, "%llu images and nothing was wrong", (unsigned long long)images);
	printf("%s\n", wrong);
	cache_fini();
}

START_TEST(overwriting_in_place_what_is_only_in_the_log_is_seen)
{
	is_seen(JNL_OMIT_NONE, FS_OMIT_SETTLE, false);
}
END_TEST

START_TEST(leaving_out_intents_is_seen)
{
	is_seen(JNL_OMIT_INTENT, FS_OMIT_NONE, false);
}
END_TEST

/* The log of these runs wraps. */
START_TEST(using_the_ring_again_before_the_tail_is_durable_is_seen)
{
	is_seen(JNL_OMIT_TAIL, FS_OMIT_NONE, true);
}
END_TEST

START_TEST(leaving_out_the_flush_before_a_close_is_seen)
{
	is_seen(JNL_OMIT_NONE, FS_OMIT_DATA_FLUSH, false);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("data");

	check_add_slow(s, a_synchronous_write_of_64_KiB_is_there_as_a_whole_or_not_at_all, 200);
	check_add_slow(s, sectors_between_log_and_place_keep_every_promise, 200);
	check_add_slow(s, overwriting_in_place_what_is_only_in_the_log_is_seen, 200);
	check_add_slow(s, leaving_out_intents_is_seen, 200);
	check_add_slow(s, using_the_ring_again_before_the_tail_is_durable_is_seen, 200);
	check_add_slow(s, leaving_out_the_flush_before_a_close_is_seen, 200);
	return check_main(s);
}
