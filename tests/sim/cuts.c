/* See cuts.h. The seed of an image comes from the world's seed, the event and the kind. */
#include "cuts.h"

#include <check.h>
#include <malloc.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/time.h"
#include "blk/sim.h"
#include "cache/cache.h"

static const struct sim_spec kinds[] = {
	{ .cut = SIM_PREFIX },
	{ .cut = SIM_RANDOM, .permute = true },
	{ .cut = SIM_RANDOM, .tear = 512, .permute = true },
	{ .cut = SIM_RANDOM, .tear = 4096 },
};

static struct sim_spec spec_of(unsigned kind, size_t events, u64 seed)
{
	struct sim_spec s = kinds[kind];

	s.events = events;
	s.seed = hash_mix64(seed * 1000003 + events * 7 + kind);
	return s;
}

static bool try_image(struct cuts *t, struct world *w, struct sim_cutter *c, unsigned kind)
{
	struct sim_spec spec = spec_of(kind, t->event, w->seed);
	struct blk_dev *img;
	bool good;

	ck_assert_int_eq(sim_image(c, &spec, false, &img), 0);
	good = world_verify(w, img, t->event, spec.tear == 512 ? WORLD_TORN : 0);
	blk_close(img);
	t->images++;
	if (!good)
		snprintf(t->what, sizeof(t->what), "event %zu of %zu, kind %u: %s", t->event,
			 sim_nr_events(w->dev), kind, w->wrong);
	return good;
}

static bool try_event(struct cuts *t, struct world *w, struct sim_cutter *c)
{
	unsigned which = t->kinds;

	if (which & CUT_ONE)
		which = 1u << hash_mix64(w->seed ^ t->event) % ARRAY_LEN(kinds);
	for (unsigned k = 0; k < ARRAY_LEN(kinds); k++)
		if ((which >> k & 1) && !try_image(t, w, c, k))
			return false;
	return true;
}

bool cuts_try(struct cuts *t, struct world *w, size_t from)
{
	size_t end = sim_nr_events(w->dev);
	struct sim_cutter *c;
	bool good = true;

	ck_assert_int_eq(sim_cutter_new(w->dev, &c), 0);
	for (size_t n = from; good && n <= end; n++) {
		if (t->only && t->only != n)
			continue;
		t->event = n;
		good = try_event(t, w, c);
	}
	sim_cutter_free(c);
	return good;
}

static bool cut_again(struct cuts *t, struct world *w, struct blk_dev *first)
{
	struct sim_cutter *c;
	bool good = true;

	ck_assert_int_eq(sim_cutter_new(first, &c), 0);
	for (size_t k = 0; good && k <= sim_nr_events(first); k++) {
		struct sim_spec spec = spec_of(2, k, t->event);
		struct blk_dev *img;

		ck_assert_int_eq(sim_image(c, &spec, false, &img), 0);
		good = world_verify(w, img, t->event, WORLD_TORN);
		blk_close(img);
		t->images++;
		if (!good)
			snprintf(t->what, sizeof(t->what), "event %zu of %zu, the recovery cut "
				 "after its event %zu: %s", t->event, sim_nr_events(w->dev), k,
				 w->wrong);
	}
	sim_cutter_free(c);
	return good;
}

bool cuts_try_recovery(struct cuts *t, struct world *w, size_t event)
{
	struct sim_spec spec = spec_of(1, event, w->seed);
	struct sim_cutter *c;
	struct blk_dev *img;
	bool good;

	t->event = event;
	ck_assert_int_eq(sim_cutter_new(w->dev, &c), 0);
	ck_assert_int_eq(sim_image(c, &spec, true, &img), 0);
	good = world_verify(w, img, event, WORLD_KEEP);
	t->images++;
	if (good)
		good = cut_again(t, w, img);
	else
		snprintf(t->what, sizeof(t->what), "event %zu: %s", event, w->wrong);
	blk_close(img);
	sim_cutter_free(c);
	return good;
}

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	if (getenv("WORLD_LOG"))
		fprintf(stderr, "%d %s\n", (int)level, line);
}

static u64 began;

void cuts_setup(void)
{
	struct cache_config cfg = { .bytes = 8u << 20, .max_order = 0xff };

	/* Each image is a mount: its larger buffers are not to be new pages each time. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	log_set_sink(quiet, NULL);
	ck_assert_int_eq(cache_init(&cfg), 0);
	began = now_ns();
}

void cuts_done(const struct cuts *t, const char *what)
{
	cache_fini();
	printf("%s: %llu crash images in %.1f s\n", what, (unsigned long long)t->images,
	       (double)(now_ns() - began) / 1e9);
}

u64 cuts_env(const char *name, u64 fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : fallback;
}
