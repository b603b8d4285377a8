/*
 * trace: see the header.
 *
 * A writer takes a number, and with it a slot; it clears the slot's stamp, fills the slot and
 * stamps it with its number + 1. A reader believes a record whose stamp is the right one before and
 * after it was copied. All fields are atomic: a writer that was overtaken by a whole round of the
 * ring may mix two records in one slot, which then has the stamp of one of them; at 16 thousand
 * records a round that needs a thread to sleep in the middle of ten instructions.
 */
#include "stat/trace.h"

#include "base/time.h"

struct record {
	u64 stamp;
	u64 ns, object, at;
	u32 event, nr;
};

static struct {
	u64 next;
	struct record record[STAT_TRACE_RECORDS];
} ring;

#define TRACE_NAME_ROW_(ID, name, help) name,
static const char *const names[] = { STAT_TRACE_ROWS(TRACE_NAME_ROW_) };

void stat_trace(enum stat_trace_event event, u64 object, u64 at, u32 nr)
{
	u64 number = __atomic_fetch_add(&ring.next, 1, __ATOMIC_RELAXED);
	struct record *r = &ring.record[number % STAT_TRACE_RECORDS];

	__atomic_store_n(&r->stamp, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&r->ns, now_ns(), __ATOMIC_RELAXED);
	__atomic_store_n(&r->object, object, __ATOMIC_RELAXED);
	__atomic_store_n(&r->at, at, __ATOMIC_RELAXED);
	__atomic_store_n(&r->event, event, __ATOMIC_RELAXED);
	__atomic_store_n(&r->nr, nr, __ATOMIC_RELAXED);
	__atomic_store_n(&r->stamp, number + 1, __ATOMIC_RELEASE);
}

static bool copy(u64 number, struct record *out)
{
	struct record *r = &ring.record[number % STAT_TRACE_RECORDS];

	if (__atomic_load_n(&r->stamp, __ATOMIC_ACQUIRE) != number + 1)
		return false;
	out->ns = __atomic_load_n(&r->ns, __ATOMIC_RELAXED);
	out->object = __atomic_load_n(&r->object, __ATOMIC_RELAXED);
	out->at = __atomic_load_n(&r->at, __ATOMIC_RELAXED);
	out->event = __atomic_load_n(&r->event, __ATOMIC_RELAXED);
	out->nr = __atomic_load_n(&r->nr, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&r->stamp, __ATOMIC_RELAXED) == number + 1;
}

void stat_trace_print(u64 *next, u64 *lost, FILE *f)
{
	u64 end = __atomic_load_n(&ring.next, __ATOMIC_ACQUIRE);
	u64 oldest = end > STAT_TRACE_RECORDS ? end - STAT_TRACE_RECORDS : 0;
	u64 number = MAX(MIN(*next, end), oldest);

	*lost = oldest > *next ? oldest - *next : 0;
	for (; number < end; number++) {
		struct record r;

		if (!copy(number, &r)) {
			++*lost;
			continue;
		}
		fprintf(f, "%llu.%06llu %s %llu %llu %u\n",
			(unsigned long long)(r.ns / NS_PER_SEC),
			(unsigned long long)(r.ns % NS_PER_SEC / 1000),
			r.event < TRACE_NR ? names[r.event] : "?", (unsigned long long)r.object,
			(unsigned long long)r.at, r.nr);
	}
	*next = end;
}
