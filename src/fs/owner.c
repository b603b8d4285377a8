/*
 * Whose are these disk sectors? The device and recovery know addresses; the extent tree says which
 * file they belong to.
 *
 * One pass over the tree, in bounded bodies. It ends when all owners are found, or after
 * EXTENTS_MAX extents, or when the tree can't be read: then the others stay unknown.
 */
#include "base/err.h"
#include "fs/inode.h"

#define EXTENTS_A_BODY 256u
#define EXTENTS_MAX (1u << 20)

struct search {
	struct owner *owner;
	u32 nr, found;
	struct fmt_key next;            /* where the pass goes on */
};

static void look_at(struct search *s, struct fmt_key k, const struct fmt_extent *e)
{
	u64 disk = get64(e->disk), nr = get32(e->nr);

	for (u32 i = 0; i < s->nr; i++) {
		struct owner *o = &s->owner[i];

		if (o->ino || o->disk < disk || o->disk - disk >= nr)
			continue;
		o->ino = k.a;
		o->sector = k.b + (o->disk - disk);
		s->found++;
	}
}

/* Finding one twice changes nothing, so the body may be run again. */
static int search_body(struct view *v, void *arg)
{
	struct search *s = arg;
	struct fmt_key k = s->next;
	int r = 0;

	for (u32 i = 0; i < EXTENTS_A_BODY && !r; i++, k.b++) {
		const void *val;
		u32 len;

		r = btree_next(v, FMT_TREE_EXTENT, &k, &val, &len);
		if (!r && fmt_value_check(FMT_TREE_EXTENT, k, val, len, view_geo(v)) == 0)
			look_at(s, k, val);
	}
	if (!r)
		s->next = k;
	return r;
}

void owners_find(struct fs *fs, struct owner *owner, u32 nr)
{
	struct search s = { .owner = owner, .nr = nr };
	int r = 0;

	for (u32 i = 0; i < nr; i++)
		owner[i].ino = CORRUPT_NO_INO;
	for (u32 n = 0; !r && s.found < nr && n < EXTENTS_MAX; n += EXTENTS_A_BODY)
		r = jnl_read(fs->jnl, search_body, &s);
}
