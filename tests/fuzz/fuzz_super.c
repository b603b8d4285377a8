/* The superblock: 512 bytes with a right checksum, unless the first byte says otherwise. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static void use(const struct fmt_geo *g)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fmt_super_to_text(g, out);
	fclose(out);
	free(text);
	for (u32 i = 0; i < g->nr_groups; i += 1 + g->nr_groups / 16) {
		u64 start = fmt_group_start(g, i), space = fmt_space_start(g, i);

		ASSERT(fmt_group_of(g, start) == i);
		ASSERT(fmt_group_len(g, i) <= g->group_sectors);
		ASSERT(fmt_bitmap_sector(g, i) + g->bitmap_nr <= g->nr_sectors);
		ASSERT(fmt_map_sector(g, i) + g->map_nr <= space && space <= g->nr_sectors);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz_input in = { data, size };
	u8 how = (u8)fuzz_take(&in, 1);
	struct fmt_super sb, again;
	struct fmt_geo g, g2;

	fmt_super_encode(fuzz_geo(), 0, &sb);
	memcpy(&sb, in.at, MIN(in.left, sizeof(sb)));
	if (how & 1)
		memcpy(sb.magic, FMT_SUPER_MAGIC, sizeof(sb.magic));
	if (how & 2)
		fuzz_seal_super(&sb);
	if (fmt_super_decode(&sb, &g))
		return 0;
	use(&g);
	fmt_super_encode(&g, sb.copy, &again);
	ASSERT(fmt_super_decode(&again, &g2) == 0);
	fmt_super_encode(&g2, sb.copy, &sb);
	ASSERT(memcmp(&sb, &again, sizeof(sb)) == 0);
	return 0;
}
