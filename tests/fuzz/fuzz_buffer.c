/*
 * Every kind of metadata buffer: arbitrary content behind a right header is checked, and what
 * passes is used as the file system uses it; what does not is printed all the same, as dump does.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *out;

static u64 place_of(enum fmt_kind kind)
{
	const struct fmt_geo *g = fuzz_geo();

	switch (kind) {
	case FMT_KIND_ROOT: return g->root_sector;
	case FMT_KIND_GTABLE: return g->gtable_sector;
	case FMT_KIND_BITMAP: return fmt_bitmap_sector(g, 0);
	case FMT_KIND_MAP: return fmt_map_sector(g, 0);
	case FMT_KIND_JNL: return g->jnl_sector;
	default: return ALIGN_UP(fmt_space_start(g, 0), 4);
	}
}

static void use_leaf(const struct fmt_node *n)
{
	enum fmt_tree tree = (enum fmt_tree)get64(n->hdr.owner);

	for (u32 i = 0; i < get16(n->nr); i++) {
		const struct fmt_slot *s = &n->slot[i];
		struct fmt_key k = { get64(s->a), get64(s->b) };

		fmt_value_to_text(tree, k, (const u8 *)n + get16(s->off), get16(s->len), out);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz_input in = { data, size };
	enum fmt_kind kind = 1 + fuzz_take(&in, 1) % FMT_KIND_MAX;
	u8 tree = (u8)fuzz_take(&in, 1);
	u32 len = fmt_kind_sectors(kind) * SECTOR_SIZE;
	u8 *buf = aligned_alloc(SECTOR_SIZE, len);

	if (!out)
		out = fopen("/dev/null", "w");
	memset(buf, 0, len);
	fmt_hdr_init(buf, kind, place_of(kind), fuzz_geo()->fsid,
		     kind == FMT_KIND_NODE ? tree % (FMT_NR_TREES + 1) : 0);
	memcpy(buf + sizeof(struct fmt_hdr), in.at, MIN(in.left, len - sizeof(struct fmt_hdr)));
	/* Values lie at the end of a node: so does the end of the input. */
	if (kind == FMT_KIND_NODE && in.left > 64)
		memcpy(buf + len - in.left / 2, in.at + in.left - in.left / 2, in.left / 2);
	fmt_hdr_seal(buf, len, 1);
	if (!fmt_buf_check(buf, kind, place_of(kind), fuzz_geo()) && kind == FMT_KIND_NODE &&
	    get16(((struct fmt_node *)buf)->level) == 0)
		use_leaf((struct fmt_node *)buf);
	fmt_buf_to_text(buf, kind, out);
	free(buf);
	return 0;
}
