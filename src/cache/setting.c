/*
 * setting: what somebody has said of one file's place in the cache, a budget or a priority, and
 * what is cached of it.
 *
 * A budget bounds the sectors of one mapping: who adds a folio beyond it evicts others of the same
 * mapping, as CLOCK would. Dirty folios and those under I/O can't go and may exceed it for a while,
 * until the next is added. A priority decides among mappings: low goes before all others, high when
 * nothing else can.
 *
 * Settings live as long as the mount, in a table by id, because a mapping may go and come back.
 *
 * Locks: settings.lock (RANK_MEM: nothing but the table is touched inside).
 */
#include "base/err.h"
#include "cache/cache_priv.h"

#define SETTINGS_MAX 256u
#define TRIM_LOOKS 256u     /* folios that one addition looks at */
#define EVICTED_MAX (1u << 20) /* sectors that cache_state() asks the policy for */

struct setting {
	u64 id, budget;
	u8 priority;
};

static struct {
	struct mutex lock;
	u32 nr;                    /* atomic for readers */
	struct setting table[SETTINGS_MAX];
} settings = { .lock = MUTEX_INIT(RANK_MEM) };

static struct setting *find(u64 id)
{
	for (u32 i = 0; i < settings.nr; i++)
		if (settings.table[i].id == id)
			return &settings.table[i];
	return NULL;
}

void mapping_set_id(struct mapping *m, u64 id)
{
	struct setting *s;

	m->id = id;
	if (likely(__atomic_load_n(&settings.nr, __ATOMIC_ACQUIRE) == 0))
		return;
	mutex_lock(&settings.lock);
	s = find(id);
	if (s) {
		m->budget = s->budget;
		m->priority = s->priority;
	}
	mutex_unlock(&settings.lock);
}

void setting_fini(void)
{
	settings.nr = 0;
}

static int remember(u64 id, u64 budget, u8 priority)
{
	struct setting *s;
	u32 nr;
	int err = 0;

	mutex_lock(&settings.lock);
	nr = settings.nr;
	s = find(id);
	if (!budget && priority == CACHE_NORMAL) {
		if (s)
			*s = settings.table[--nr];
	} else if (s || nr < SETTINGS_MAX) {
		s = s ? s : &settings.table[nr++];
		*s = (struct setting){ id, budget, priority };
	} else {
		err = -ENOSPC;
	}
	__atomic_store_n(&settings.nr, nr, __ATOMIC_RELEASE);
	mutex_unlock(&settings.lock);
	return err;
}

u32 mapping_policy_flags(const struct mapping *m)
{
	switch (__atomic_load_n(&m->priority, __ATOMIC_RELAXED)) {
	case CACHE_LOW:
		return FOLIO_LOW;
	case CACHE_HIGH:
		return FOLIO_HIGH;
	default:
		return 0;
	}
}

/* What is cached already gets the new priority, too, but for what is locked now. */
static void refile_all(struct mapping *m)
{
	u64 at = 0;
	struct folio *f;

	while ((f = cache_next(m, &at, UINT64_MAX))) {
		if (folio_trylock(f)) {
			if (folio_mapping(f) == m)
				policy_refile(f, mapping_policy_flags(m));
			folio_unlock(f);
		}
		folio_put(f);
	}
}

int cache_set(struct mapping *m, u64 budget_bytes, enum cache_priority priority)
{
	u64 budget = bytes_to_sectors_up(budget_bytes);
	int err = remember(m->id, budget, (u8)priority);

	if (err)
		return err;
	__atomic_store_n(&m->budget, budget, __ATOMIC_RELAXED);
	__atomic_store_n(&m->priority, (u8)priority, __ATOMIC_RELAXED);
	refile_all(m);
	while (mapping_trim(m))
		;
	return 0;
}

u64 cache_budget(const struct mapping *m, enum cache_priority *priority)
{
	*priority = __atomic_load_n(&m->priority, __ATOMIC_RELAXED);
	return __atomic_load_n(&m->budget, __ATOMIC_RELAXED) << SECTOR_SHIFT;
}

/* ---- budgets ---- */

static bool over_budget(const struct mapping *m)
{
	u64 budget = __atomic_load_n(&m->budget, __ATOMIC_RELAXED);

	return budget && __atomic_load_n(&m->nr_sectors, __ATOMIC_RELAXED) > budget;
}

/* A folio that the hand has come to: what was used gets another round. Sectors that went. */
static u32 trim_one(struct folio *f)
{
	if (!folio_has(f, FOLIO_ACCESSED) && folio_is_idle(f) && folio_trylock(f))
		return mapping_evict(f);
	folio_flags_clear(f, FOLIO_ACCESSED | FOLIO_HEAT);
	folio_put(f);
	return 0;
}

u64 mapping_trim(struct mapping *m)
{
	u64 at = __atomic_load_n(&m->trim_at, __ATOMIC_RELAXED), gone = 0;
	struct folio *f;

	for (u32 i = 0; i < TRIM_LOOKS && over_budget(m); i++) {
		f = cache_next(m, &at, UINT64_MAX);
		if (f)
			gone += trim_one(f);
		else
			at = 0;
	}
	__atomic_store_n(&m->trim_at, at, __ATOMIC_RELAXED);
	return gone;
}

/* ---- what is cached ---- */

static u64 dirty_in(const struct folio *f, u64 start, u64 end)
{
	u32 at = start > f->index ? (u32)(start - f->index) : 0, first, nr;
	u32 stop = (u32)MIN(end - f->index, (u64)folio_sectors(f));
	u64 n = 0;

	while (folio_next_dirty(f, at, stop, &first, &nr)) {
		n += nr;
		at = first + nr;
	}
	return n;
}

/* Folios that began in [at, end), where nothing is cached. */
static void count_evicted(struct mapping *m, u64 at, u64 end, u64 *looks, struct cache_state *out)
{
	for (; at < end && *looks > 0; at++, --*looks) {
		int evicted = policy_evicted(m->id, at);

		out->evicted += evicted != 0;
		out->recently_evicted += evicted == 2;
	}
}

void cache_state(struct mapping *m, u64 start, u64 end, struct cache_state *out)
{
	u64 at = start, behind = start, looks = EVICTED_MAX;
	struct folio *f;

	*out = (struct cache_state){ 0 };
	while ((f = cache_next(m, &at, end))) {
		u64 first = MAX(f->index, start), last = MIN(at, end);

		count_evicted(m, behind, first, &looks, out);
		behind = last;
		out->folios++;
		out->cached += last - first;
		out->dirty += dirty_in(f, start, end);
		if (folio_has(f, FOLIO_WRITEBACK))
			out->writeback += last - first;
		folio_put(f);
	}
	count_evicted(m, behind, end, &looks, out);
}
