/*
 * Private to src/cache: the radix tree of one mapping. Sectors in, folios out.
 *
 * Locks: mapping->lock as each function says.
 */
#ifndef CACHE_INDEX_H
#define CACHE_INDEX_H

#include "cache/cache.h"

/*
 * The folio that covers this sector, or NULL; no reference. Without the lock the answer may be any
 * folio of any mapping, or a false NULL: the caller takes a reference with folio_tryget() and
 * verifies, and asks again under the lock before it believes a NULL.
 */
struct folio *index_lookup(const struct mapping *m, u64 sector);

/* May a folio of this order start at (aligned) base: is nothing there? Lock shared. */
bool index_is_empty(const struct mapping *m, u64 base, unsigned order);

/* Sets f->mapping and f->index and puts f into the tree. -EEXIST, -ENOMEM. Lock exclusive. */
int index_insert(struct mapping *m, struct folio *f, u64 base);
/* Takes it out; f->mapping is the caller's to clear. Lock exclusive. */
/*
 * f was cut in two (its order is the new one, g's index is set) and stays where it is in the tree,
 * g takes the other half of its slots. Where they share one slot of a level, a node of the level
 * below is needed, which is made before: -ENOMEM.
 */
int index_split_prepare(const struct folio *f, struct cache_node **spare);
void index_split(struct mapping *m, struct folio *f, struct folio *g, struct cache_node *spare);
void index_split_cancel(struct cache_node *spare);
void index_remove(struct mapping *m, struct folio *f);

/* The first (tagged, with dirty) folio that covers sector or comes after it. Lock shared. */
struct folio *index_next(const struct mapping *m, u64 sector, bool dirty);

void index_tag_dirty(struct mapping *m, struct folio *f);   /* lock shared or exclusive */
void index_untag_dirty(struct mapping *m, struct folio *f); /* lock exclusive */

u64 index_bytes(void);  /* memory of all nodes, free ones too */
u64 index_nodes(void);  /* nodes in use */
void index_fini(void);  /* gives all nodes back; none is in use (asserted) */

#endif
