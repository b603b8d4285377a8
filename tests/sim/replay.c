/*
 * sim_replay IMAGE LOG [EVERY]: what a crash may have left of a real mount. IMAGE is a copy from
 * before the mount, LOG its block log (-o writelog). Images of every EVERY-th event (default 1)
 * are recovered and checked, and compared with what marks "synced NAME SIZE SEED" promise: that
 * file has that size, and byte i of it is (SEED + 7 i + i / 256) mod 256.
 *
 * Exit status: 0, 1 when an image breaks a promise, 2 when there is nothing to try.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "blk/sim.h"
#include "cache/cache.h"
#include "check/check.h"
#include "fs/fs.h"

struct promise {
	size_t at;              /* events */
	char name[64];
	u64 size;
	u32 seed;
};

struct replay {
	struct blk_dev *dev;
	struct promise *promise;
	unsigned nr;
	char wrong[200];
};

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)level, (void)line, (void)arg;
}

static int collect(struct replay *r)
{
	size_t nr = sim_nr_events(r->dev);

	r->promise = calloc(nr + 1, sizeof(*r->promise));
	if (!r->promise)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		struct sim_event ev = sim_event_get(r->dev, i);
		struct promise *p = &r->promise[r->nr];
		unsigned long long size;

		if (ev.kind != SIM_MARK || !ev.text ||
		    sscanf(ev.text, "synced %63s %llu %u", p->name, &size, &p->seed) != 3)
			continue;
		p->size = size;
		p->at = i + 1;
		r->nr++;
	}
	return 0;
}

static bool has_content(struct inode *ip, const struct promise *p)
{
	u8 *got = malloc(p->size + 1);
	bool good = got && fs_read(ip, 0, got, p->size + 1, NULL) == (ssize_t)p->size;

	for (u64 i = 0; good && i < p->size; i++)
		good = got[i] == (u8)(p->seed + i * 7 + (i >> 8));
	free(got);
	return good;
}

static bool keeps_promises(struct replay *r, struct fs *fs, size_t events)
{
	struct inode *root, *ip;
	bool good = true;

	if (fs_iget(fs, FMT_ROOT_INO, &root))
		return false;
	for (unsigned i = 0; good && i < r->nr && r->promise[i].at <= events; i++) {
		const struct promise *p = &r->promise[i];

		good = !fs_lookup(root, p->name, strlen(p->name), &ip);
		if (good) {
			good = has_content(ip, p);
			fs_iput(ip);
		}
		if (!good)
			snprintf(r->wrong, sizeof(r->wrong), "%s is not as synced", p->name);
	}
	fs_iput(root);
	return good;
}

static void problem(void *arg, const struct check_problem *p)
{
	struct replay *r = arg;

	if (!r->wrong[0])
		snprintf(r->wrong, sizeof(r->wrong), "check: %s: %s", check_code_name(p->code),
			 p->text);
}

static bool try_image(struct replay *r, struct blk_dev *img, size_t events)
{
	struct check_opts co = { .problem = problem, .arg = r };
	struct fs_opts mo = { .commit_ms = 3600 * 1000 };
	struct check_result res;
	struct fs *fs;
	bool good;
	int err = fs_mount(img, &mo, &fs);

	if (err) {
		snprintf(r->wrong, sizeof(r->wrong), "recovery: %s", err_text(err));
		return false;
	}
	good = keeps_promises(r, fs, events);
	err = fs_unmount(fs, false);
	return good && !err && !check_run(img, &co, &res) && !res.problems;
}

static bool try_event(struct replay *r, struct sim_cutter *c, size_t n, unsigned long *images)
{
	const struct sim_spec specs[] = {
		{ .events = n, .cut = SIM_PREFIX },
		{ .events = n, .cut = SIM_RANDOM, .seed = n * 2, .permute = true },
		{ .events = n, .cut = SIM_RANDOM, .seed = n * 2 + 1, .tear = 512 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(specs); i++) {
		struct blk_dev *img;
		bool good;

		if (sim_image(c, &specs[i], false, &img))
			return false;
		good = try_image(r, img, n);
		blk_close(img);
		++*images;
		if (!good) {
			printf("event %zu of %zu, kind %u: %s\n", n, sim_nr_events(r->dev), i,
			       r->wrong);
			return false;
		}
	}
	return true;
}

static int run(struct replay *r, size_t every)
{
	unsigned long images = 0;
	struct sim_cutter *c;
	bool good = true;

	if (collect(r) || sim_cutter_new(r->dev, &c))
		return 2;
	for (size_t n = 0; good && n <= sim_nr_events(r->dev); n += every)
		good = try_event(r, c, n, &images);
	sim_cutter_free(c);
	printf("%lu crash images of %zu events, %u promises\n", images, sim_nr_events(r->dev),
	       r->nr);
	return good ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct cache_config cfg = { .bytes = 16u << 20, .max_order = 0xff };
	struct replay r = { 0 };
	int err, status;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: sim_replay IMAGE LOG [EVERY]\n");
		return 2;
	}
	log_set_sink(quiet, NULL);
	err = sim_load(argv[1], argv[2], &r.dev);
	if (!err)
		err = cache_init(&cfg);
	if (err) {
		fprintf(stderr, "sim_replay: %s\n", err_text(err));
		return 2;
	}
	status = run(&r, argc == 4 ? MAX(strtoul(argv[3], NULL, 10), 1ul) : 1);
	cache_fini();
	free(r.promise);
	blk_close(r.dev);
	return status;
}
