/* trace: see the header. */
#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/cache.h"

#define SCAN_LEN 64u          /* sectors that a scan takes at a time */
#define OBJECT_SHIFT 28u      /* sectors of one object: 1 TiB */
#define OBJECTS_MAX 65536u
#define FAR (1ull << 40)      /* where scans and logs begin: nothing else is there */

const char *const trace_model_name[TRACE_NR_MODELS] = {
	"zipf", "zipf + scan", "loop", "oltp",
};

static int add(struct trace *t, u64 sector, u32 nr)
{
	if (t->nr == t->room) {
		size_t room = t->room ? t->room * 2 : 4096;
		struct trace_use *use = realloc(t->use, room * sizeof(*use));

		if (!use)
			return -ENOMEM;
		t->use = use;
		t->room = room;
	}
	t->use[t->nr++] = (struct trace_use){ sector, nr };
	return 0;
}

void trace_free(struct trace *t)
{
	free(t->use);
	*t = (struct trace){ 0 };
}

/* ---- models ---- */

static u64 next_random(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Gray et al., "Quickly generating billion-record synthetic databases", SIGMOD 1994. */
struct zipf {
	u64 n;
	double zeta, eta, alpha, half;
};

static struct zipf zipf_of(u64 n, double theta)
{
	struct zipf z = { .n = n, .alpha = 1 / (1 - theta), .half = pow(0.5, theta) };

	for (u64 i = 1; i <= n; i++)
		z.zeta += 1 / pow((double)i, theta);
	z.eta = (1 - pow(2.0 / (double)n, 1 - theta)) / (1 - (1 + z.half) / z.zeta);
	return z;
}

/* Ranks are spread over the space by an odd factor: neighbours are not alike. */
static u64 zipf_next(const struct zipf *z, u64 *state)
{
	double u = (double)(next_random(state) >> 11) / (double)(1ull << 53), uz = u * z->zeta;
	u64 rank;

	if (uz < 1)
		rank = 0;
	else if (uz < 1 + z->half)
		rank = 1;
	else
		rank = (u64)((double)z->n * pow(z->eta * u - z->eta + 1, z->alpha));
	return MIN(rank, z->n - 1) * 2654435761u % z->n;
}

static int make_zipf(struct trace *t, u64 cache, size_t nr, u64 *state, bool scans)
{
	struct zipf z = zipf_of(cache * 4 | 1, 0.99);
	u64 scan = FAR;
	int err = 0;

	while (!err && t->nr < nr) {
		err = add(t, zipf_next(&z, state), 1);
		if (err || !scans || next_random(state) % SCAN_LEN != 0)
			continue;
		for (u32 i = 0; !err && i < SCAN_LEN; i++)
			err = add(t, scan++, 1);
	}
	return err;
}

static int make_loop(struct trace *t, u64 cache, size_t nr)
{
	int err = 0;

	for (u64 i = 0; !err && t->nr < nr; i = (i + 1) % (cache * 5 / 4))
		err = add(t, i, 1);
	return err;
}

/* Of 100 transactions' uses: 45 of the index, 45 of the table, 9 of the log, 1 a range of 64. */
static int make_oltp(struct trace *t, u64 cache, size_t nr, u64 *state)
{
	struct zipf index = zipf_of(cache / 4 | 1, 0.7), table = zipf_of(cache * 8 | 1, 0.9);
	u64 log = FAR, base = FAR / 2;
	int err = 0;

	while (!err && t->nr < nr) {
		u64 dice = next_random(state) % 100;

		if (dice < 45)
			err = add(t, zipf_next(&index, state), 1);
		else if (dice < 90)
			err = add(t, base + zipf_next(&table, state), 1);
		else if (dice < 99)
			err = add(t, log++, 1);
		else
			err = add(t, base + next_random(state) % (cache * 8), SCAN_LEN);
	}
	return err;
}

int trace_make(enum trace_model model, u64 cache_sectors, size_t nr, u64 seed, struct trace *out)
{
	struct trace t = { 0 };
	u64 state = seed | 1;
	int err;

	switch (model) {
	case TRACE_LOOP:
		err = make_loop(&t, cache_sectors, nr);
		break;
	case TRACE_OLTP:
		err = make_oltp(&t, cache_sectors, nr, &state);
		break;
	default:
		err = make_zipf(&t, cache_sectors, nr, &state, model == TRACE_ZIPF_SCAN);
		break;
	}
	if (err)
		trace_free(&t);
	else
		*out = t;
	return err;
}

/* ---- recorded ---- */

struct objects {
	u64 ino[OBJECTS_MAX];
	u32 nr;
};

/* A number for each inode, in order of first use; -1 when there are too many. */
static int object_of(struct objects *o, u64 ino)
{
	for (u32 i = 0; i < o->nr; i++)
		if (o->ino[i] == ino)
			return (int)i;
	if (o->nr == OBJECTS_MAX)
		return -1;
	o->ino[o->nr] = ino;
	return (int)o->nr++;
}

static int load_line(struct trace *t, struct objects *o, const char *line)
{
	u64 ino, sector;
	u32 nr;
	char op;
	int object;

	if (*line == '#' || *line == '\n')
		return 0;
	if (sscanf(line, "%c %" SCNu64 " %" SCNu64 " %" SCNu32, &op, &ino, &sector, &nr) != 4)
		return -EINVAL;
	object = object_of(o, ino);
	if ((op != 'r' && op != 'w') || nr == 0 || object < 0 || sector >> OBJECT_SHIFT ||
	    (sector + nr) >> OBJECT_SHIFT)
		return -EINVAL;
	return add(t, (u64)object << OBJECT_SHIFT | sector, nr);
}

static int load_from(FILE *f, struct trace *t, struct objects *o, u32 *line)
{
	char text[128];
	int err = 0;

	*line = 1;
	if (!fgets(text, sizeof(text), f) || strcmp(text, "foliofs-trace 1\n") != 0)
		return -EINVAL;
	while (!err && fgets(text, sizeof(text), f)) {
		++*line;
		err = load_line(t, o, text);
	}
	return err ? err : ferror(f) ? -EIO : 0;
}

int trace_load(const char *path, struct trace *out, u32 *line)
{
	FILE *f = fopen(path, "re");
	struct objects *o;
	struct trace t = { 0 };
	int err;

	*line = 0;
	if (!f)
		return -errno;
	o = calloc(1, sizeof(*o));
	err = o ? load_from(f, &t, o, line) : -ENOMEM;
	free(o);
	fclose(f);
	if (err)
		trace_free(&t);
	else
		*out = t;
	return err;
}

static int by_sector(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

u64 trace_footprint(const struct trace *t)
{
	u64 *all, total = 0, n = 0, different = 0;

	for (size_t i = 0; i < t->nr; i++)
		total += t->use[i].nr;
	all = malloc(MAX(total, (u64)1) * sizeof(*all));
	if (!all)
		return 0;
	for (size_t i = 0; i < t->nr; i++)
		for (u32 k = 0; k < t->use[i].nr; k++)
			all[n++] = t->use[i].sector + k;
	qsort(all, n, sizeof(*all), by_sector);
	for (u64 i = 0; i < n; i++)
		different += i == 0 || all[i] != all[i - 1];
	free(all);
	return different;
}

/* ---- replay ---- */

static int fill(struct mapping *m, struct folio *f, u32 first, u32 nr)
{
	(void)m;
	folio_mark_uptodate(f, first, nr);
	return 0;
}

static const struct mapping_ops ops = { .fill = fill };

/* The sectors used so far: a hash table with open addressing, of sector + 1. */
struct seen {
	u64 *slot;
	u64 mask;
};

static int seen_init(struct seen *s, const struct trace *t)
{
	u64 total = 0;

	for (size_t i = 0; i < t->nr; i++)
		total += t->use[i].nr;
	s->mask = roundup_pow2(MAX(total * 2, (u64)2)) - 1;
	s->slot = calloc(s->mask + 1, sizeof(u64));
	return s->slot ? 0 : -ENOMEM;
}

static bool seen_before(struct seen *s, u64 sector)
{
	u64 at = sector * 0x9e3779b97f4a7c15ull >> 20 & s->mask;

	while (s->slot[at] && s->slot[at] != sector + 1)
		at = (at + 1) & s->mask;
	if (s->slot[at])
		return true;
	s->slot[at] = sector + 1;
	return false;
}

/* One use, as reads do it: a miss brings a folio as long as what is left. */
static void use(struct mapping *m, struct seen *s, u64 sector, u32 nr, struct trace_result *r)
{
	r->sectors += nr;
	for (u32 i = 0; i < nr;) {
		struct folio *f = cache_find(m, sector + i);
		bool missed = false;
		u32 here;

		if (!f) {
			if (cache_get(m, sector + i, ilog2(nr - i), 0, &f))
				abort();
			folio_make_uptodate(f, 0, folio_sectors(f));
			folio_unlock(f);
			missed = true;
		}
		here = MIN((u32)(f->index + folio_sectors(f) - (sector + i)), nr - i);
		folio_put(f);
		r->misses += missed ? here : 0;
		for (u32 k = 0; k < here; k++)
			r->avoidable += seen_before(s, sector + i + k) && missed;
		i += here;
	}
}

static void replay(const struct trace *t, struct seen *s, struct trace_result *out)
{
	struct trace_result warm = { 0 }, r = { 0 };
	struct mapping m;

	mapping_init(&m, &ops, NULL);
	for (size_t i = 0; i < t->nr; i++)
		use(&m, s, t->use[i].sector, t->use[i].nr, i < t->nr / 4 ? &warm : &r);
	cache_drop(&m, 0, UINT64_MAX >> SECTOR_SHIFT);
	mapping_fini(&m);
	*out = r;
}

int trace_replay(const struct trace *t, const char *policy, u64 cache_bytes,
		 struct trace_result *out)
{
	struct cache_config cfg = {
		.bytes = cache_bytes, .max_order = 0xff, .policy = policy,
	};
	struct seen s;
	int err = seen_init(&s, t);

	if (err)
		return err;
	err = cache_init(&cfg);
	if (!err) {
		replay(t, &s, out);
		cache_fini();
	}
	free(s.slot);
	return err;
}
