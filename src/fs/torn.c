/*
 * Whose are the sectors that a crash tore? Recovery knows their addresses; the extent tree says
 * which file they belong to.
 *
 * One pass over the tree at mount, only if something is torn; it ends when all owners are found,
 * or after EXTENTS_MAX extents: then the address alone is reported.
 */
#include "base/err.h"
#include "base/log.h"
#include "fs/inode.h"

#define EXTENTS_A_BODY 256u
#define EXTENTS_MAX (1u << 20)

struct torn {
	const struct jnl_recovery *rec;
	u32 nr, found;
	struct { u64 ino, sector; } owner[JNL_TORN_MAX];
	struct fmt_key next;            /* where the pass goes on */
};

static void look_at(struct torn *t, struct fmt_key k, const struct fmt_extent *e)
{
	u64 disk = get64(e->disk), nr = get32(e->nr);

	for (u32 i = 0; i < t->nr; i++) {
		u64 at = t->rec->torn_sector[i];

		if (t->owner[i].ino || at < disk || at - disk >= nr)
			continue;
		t->owner[i].ino = k.a;
		t->owner[i].sector = k.b + (at - disk);
		t->found++;
	}
}

/* Finding one twice changes nothing, so the body may be run again. */
static int torn_body(struct view *v, void *arg)
{
	struct torn *t = arg;
	struct fmt_key k = t->next;
	int r = 0;

	for (u32 i = 0; i < EXTENTS_A_BODY && !r; i++, k.b++) {
		const void *val;
		u32 len;

		r = btree_next(v, FMT_TREE_EXTENT, &k, &val, &len);
		if (!r && fmt_value_check(FMT_TREE_EXTENT, k, val, len, view_geo(v)) == 0)
			look_at(t, k, val);
	}
	if (!r)
		t->next = k;
	return r;
}

void torn_report(struct fs *fs)
{
	const struct jnl_recovery *rec = &fs->recovery;
	struct torn t = { .rec = rec, .nr = (u32)MIN(rec->torn, (u64)JNL_TORN_MAX) };
	int r = 0;

	for (u32 n = 0; !r && t.found < t.nr && n < EXTENTS_MAX; n += EXTENTS_A_BODY)
		r = jnl_read(fs->jnl, torn_body, &t);
	for (u32 i = 0; i < t.nr; i++)
		corrupt_data(WHY_DATA_TORN, t.owner[i].ino,
			     t.owner[i].ino ? t.owner[i].sector : CORRUPT_NO_SECTOR,
			     rec->torn_sector[i]);
	if (rec->recovered_new || rec->recovered_old || rec->torn)
		log_info("overwrites under way at the crash: %llu sectors new, %llu old, %llu torn",
			 (unsigned long long)rec->recovered_new,
			 (unsigned long long)rec->recovered_old, (unsigned long long)rec->torn);
}
