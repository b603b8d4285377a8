/*
 * Recovery: transactions of arbitrary records, with right heads and checksums, behind the right log
 * header, are replayed, into memory and for good; what comes out is checked.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "check/check.h"
#include "fs/fs.h"

#define TXN_MAX (4 * SECTOR_SIZE)
#define EPOCH 77

/* Record heads come from the input in a short form; payloads are its next bytes. */
static u32 add_record(u8 *at, u32 room, struct fuzz_input *in)
{
	const struct fmt_geo *g = fuzz_geo();
	u64 known[] = { g->root_sector, g->gtable_sector, fmt_bitmap_sector(g, 0),
			fmt_map_sector(g, 0), ALIGN_UP(fmt_space_start(g, 0), 4),
			ALIGN_UP(fmt_space_start(g, 0), 4) + 4 };
	u8 how = (u8)fuzz_take(in, 1), where = (u8)fuzz_take(in, 1);
	u32 len = (u32)fuzz_take(in, 1);
	struct fmt_rec r = {
		.type = put16(how % 10), .kind = put16((u16)(how / 10 % 8)),
		.off = put32((u32)fuzz_take(in, 2)), .count = put32((u32)fuzz_take(in, 1)),
		.addr = put64(where < 200 ? known[where % ARRAY_LEN(known)] : fuzz_take(in, 8)),
		.arg = put64(fuzz_take(in, 1)),
	};
	u32 whole = fmt_kind_sectors(get16(r.kind)) * SECTOR_SIZE;

	if (get16(r.type) == FMT_REC_WHOLE && sizeof(r) + whole <= room)
		len = whole;
	len = MIN(len, room - (u32)sizeof(r));
	r.len = put32(len);
	memcpy(at, &r, sizeof(r));
	memset(at + sizeof(r), 0, len);
	memcpy(at + sizeof(r), in->at, MIN_T(size_t, in->left, len));
	in->at += MIN_T(size_t, in->left, len);
	in->left -= MIN_T(size_t, in->left, len);
	if (get16(r.type) == FMT_REC_WHOLE && len == whole && whole)
		fmt_hdr_init(at + sizeof(r), get16(r.kind), get64(r.addr), g->fsid, 0);
	return ALIGN_UP((u32)sizeof(r) + len, 8u);
}

static u32 add_txn(u8 *buf, u64 seq, struct fuzz_input *in)
{
	u8 nr = 1 + (u8)fuzz_take(in, 1) % 8;
	struct fmt_txn *t = (struct fmt_txn *)buf;
	u32 pos = sizeof(*t), n = 0;

	memset(buf, 0, TXN_MAX + SECTOR_SIZE);
	for (; n < nr && in->left && pos + sizeof(struct fmt_rec) + 8 <= TXN_MAX; n++)
		pos += add_record(buf + pos, TXN_MAX - pos, in);
	*t = (struct fmt_txn){
		.magic = put32(FMT_TXN_MAGIC), .nr_records = put32(n), .epoch = put64(EPOCH),
		.seq = put64(seq), .len = put64(ALIGN_UP(pos, (u32)SECTOR_SIZE)),
	};
	fmt_txn_seal(buf);
	return ALIGN_UP(pos, (u32)SECTOR_SIZE) / SECTOR_SIZE;
}

static void write_head(struct blk_dev *dev, u8 *buf)
{
	const struct fmt_geo *g = fuzz_geo();

	for (u64 i = 0; i < 2; i++) {
		struct fmt_jnl_head *h = (struct fmt_jnl_head *)buf;

		memset(h, 0, sizeof(*h));
		fmt_hdr_init(h, FMT_KIND_JNL, g->jnl_sector + i, g->fsid, 0);
		h->serial = put64(1000 + i);
		h->epoch = put64(EPOCH);
		h->tail_seq = put64(1);
		fmt_hdr_seal(h, sizeof(*h), 1);
		ASSERT(!blk_write(dev, g->jnl_sector + i, h, 1, BLK_LOG));
	}
}

static void mount_it(struct blk_dev *dev, bool readonly)
{
	struct fs_opts mo = { .readonly = readonly, .commit_ms = 3600 * 1000 };
	struct fs *fs;

	if (!fs_mount(dev, &mo, &fs))
		fs_unmount(fs, false);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct blk_dev *dev = fuzz_image(FUZZ_CLEAN);
	u8 *buf = aligned_alloc(SECTOR_SIZE, TXN_MAX + SECTOR_SIZE);
	u64 at = fuzz_geo()->jnl_sector + 2;
	struct check_result res;

	write_head(dev, buf);
	for (u64 seq = 1; seq < 5 && in.left; seq++) {
		u32 nr = add_txn(buf, seq, &in);

		ASSERT(!blk_write(dev, at, buf, nr, BLK_LOG));
		at += nr;
	}
	free(buf);
	check_run(dev, NULL, &res);
	mount_it(dev, true);
	mount_it(dev, false);
	blk_close(dev);
	return 0;
}
