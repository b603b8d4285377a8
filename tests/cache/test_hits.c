/*
 * What a hit costs others: nothing. Every lock of the program is taken through the functions that
 * are counted here (the program is linked with --wrap), so "no lock" is a number.
 */
#include <pthread.h>

#include "util.h"

#define SECTORS 64u

static struct mapping a, b;
static u64 locks; /* taken, or tried */

/* ---- counted ---- */

void __real_mutex_lock(struct mutex *m);
bool __real_mutex_trylock(struct mutex *m);
void __real_rwlock_rdlock(struct rwlock *rw);
void __real_rwlock_wrlock(struct rwlock *rw);
void __wrap_mutex_lock(struct mutex *m);
bool __wrap_mutex_trylock(struct mutex *m);
void __wrap_rwlock_rdlock(struct rwlock *rw);
void __wrap_rwlock_wrlock(struct rwlock *rw);

static void count(void)
{
	__atomic_fetch_add(&locks, 1, __ATOMIC_RELAXED);
}

void __wrap_mutex_lock(struct mutex *m)
{
	count();
	__real_mutex_lock(m);
}

bool __wrap_mutex_trylock(struct mutex *m)
{
	count();
	return __real_mutex_trylock(m);
}

void __wrap_rwlock_rdlock(struct rwlock *rw)
{
	count();
	__real_rwlock_rdlock(rw);
}

void __wrap_rwlock_wrlock(struct rwlock *rw)
{
	count();
	__real_rwlock_wrlock(rw);
}

/* ---- hits ---- */

static void begin(const char *policy)
{
	start_with((struct cache_config){ .bytes = 4 * MIB, .max_order = 0xff, .policy = policy });
	mapping_init(&a, &fake_ops, NULL);
	mapping_init(&b, &fake_ops, NULL);
	for (u64 i = 0; i < SECTORS; i += 4) {
		use(&a, i, i % 8 ? 2 : 0);
		use(&b, i, i % 8 ? 2 : 0);
	}
}

static void end(void)
{
	cache_drop(&a, 0, NOWHERE);
	mapping_fini(&a);
	finish(&b);
}

/* Locks that so many rounds of hits in both files take. */
static u64 locks_of_hits(u32 rounds, u64 *hits)
{
	u64 before = locks;
	struct folio *f;

	*hits = 0;
	for (u32 i = 0; i < rounds; i++)
		for (u64 sector = 0; sector < SECTORS; sector += 4) {
			f = cache_find(i % 2 ? &a : &b, sector);
			CHECK(f && folio_range_uptodate(f, 0, 1));
			folio_put(f);
			++*hits;
		}
	return locks - before;
}

START_TEST(a_hit_takes_no_lock)
{
	static const char *const policy[] = { "s3fifo", "clock", "sieve" };
	u64 hits;

	for (unsigned i = 0; i < ARRAY_LEN(policy); i++) {
		begin(policy[i]);
		ck_assert_uint_eq(locks_of_hits(20, &hits), 0);
		end();
	}
}
END_TEST

START_TEST(a_hit_with_lru_takes_the_lock_of_its_queue)
{
	u64 hits;

	begin("lru");
	ck_assert_uint_eq(locks_of_hits(20, &hits), hits);
	end();
}
END_TEST

static void *hit_both(void *arg)
{
	u64 hits;

	(void)arg;
	locks_of_hits(2, &hits);
	return NULL;
}

START_TEST(hits_go_on_while_somebody_changes_the_index_of_their_file)
{
	pthread_t thread;

	begin("s3fifo");
	rwlock_wrlock(&a.lock);
	CHECK(pthread_create(&thread, NULL, hit_both, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	rwlock_unlock(&a.lock);
	end();
}
END_TEST

/* ---- waits for one folio ---- */

static void *lock_it(void *arg)
{
	struct folio *f = arg;

	folio_lock(f);
	folio_unlock(f);
	return NULL;
}

static u64 waits(bool io)
{
	return stat_read(io ? STAT_FOLIO_LOCK_IO_WAITS : STAT_FOLIO_LOCK_WAITS);
}

static void wait_once(struct folio *f, bool io)
{
	u64 before = waits(io), others = waits(!io);
	pthread_t thread;

	folio_lock(f);
	if (io)
		folio_set_reading(f);
	CHECK(pthread_create(&thread, NULL, lock_it, f) == 0);
	while (waits(io) == before && waits(!io) == others)
		sched_yield();
	folio_unlock(f);
	CHECK(pthread_join(thread, NULL) == 0);
	ck_assert_uint_eq(waits(io) - before, 1);
	ck_assert_uint_eq(waits(!io), others);
}

START_TEST(a_wait_for_a_folio_is_counted_by_what_it_waits_for)
{
	struct folio *f;

	begin("s3fifo");
	f = cache_find(&a, 0);
	folio_lock(f);
	folio_unlock(f);
	wait_once(f, false);
	wait_once(f, true);
	/* Being read ends with the lock. */
	wait_once(f, false);
	folio_put(f);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hits");

	check_add(s, a_hit_takes_no_lock);
	check_add(s, a_hit_with_lru_takes_the_lock_of_its_queue);
	check_add(s, hits_go_on_while_somebody_changes_the_index_of_their_file);
	check_add(s, a_wait_for_a_folio_is_counted_by_what_it_waits_for);
	return check_main(s);
}
