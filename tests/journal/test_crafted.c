/* Logs that no FolioFS wrote, with right checksums: refused, and within bounds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "blk/sim.h"
#include "cache/cache.h"
#include "check_main.h"
#include "journal/journal.h"

#define SECTORS 8192u
#define EPOCH 77u

static struct blk_dev *dev;
static struct fmt_geo geo;
static char said[400];

static void listen_log(enum log_level level, const char *line, void *arg)
{
	(void)level, (void)arg;
	snprintf(said, sizeof(said), "%s", line);
}

static void setup(void)
{
	struct cache_config cfg = { .bytes = 4u << 20, .max_order = 0xff };
	struct sim_opts so = { .sectors = SECTORS };

	log_set_sink(listen_log, NULL);
	ck_assert_int_eq(cache_init(&cfg), 0);
	ck_assert_int_eq(sim_open(&so, &dev), 0);
	ck_assert_int_eq(fmt_geo_make(SECTORS, 4096, FMT_JNL_MIN_SECTORS, &geo), 0);
	ck_assert_int_eq(jnl_format(dev, &geo), 0);
}

static void teardown(void)
{
	blk_close(dev);
	cache_fini();
}

static void write_heads(u8 *buf)
{
	for (u64 i = 0; i < 2; i++) {
		struct fmt_jnl_head *h = (struct fmt_jnl_head *)buf;

		memset(h, 0, sizeof(*h));
		fmt_hdr_init(h, FMT_KIND_JNL, geo.jnl_sector + i, geo.fsid, 0);
		h->serial = put64(1000 + i);
		h->epoch = put64(EPOCH);
		h->tail_seq = put64(1);
		fmt_hdr_seal(h, sizeof(*h), 1);
		ck_assert_int_eq(blk_write(dev, geo.jnl_sector + i, h, 1, BLK_LOG), 0);
	}
}

/* One transaction that changes eight bytes of each of nr nodes. */
static void write_log(u32 nr)
{
	u64 len = ALIGN_UP(sizeof(struct fmt_txn) + nr * (sizeof(struct fmt_rec) + 8),
			   (u64)SECTOR_SIZE);
	u64 first = ALIGN_UP(fmt_space_start(&geo, 0), 4), pos = sizeof(struct fmt_txn);
	u8 *buf = aligned_alloc(SECTOR_SIZE, len);

	write_heads(buf);
	memset(buf, 0, len);
	*(struct fmt_txn *)buf = (struct fmt_txn){
		.magic = put32(FMT_TXN_MAGIC), .nr_records = put32(nr), .epoch = put64(EPOCH),
		.seq = put64(1), .len = put64(len),
	};
	for (u32 i = 0; i < nr; i++) {
		const struct fmt_rec r = {
			.type = put16(FMT_REC_BYTES), .kind = put16(FMT_KIND_NODE),
			.off = put32(100), .len = put32(8), .addr = put64(first + i * 4),
		};

		memcpy(buf + pos, &r, sizeof(r));
		pos += sizeof(r) + 8;
	}
	fmt_txn_seal(buf);
	ck_assert_int_eq(blk_write(dev, geo.jnl_sector + 2, buf, (u32)(len / SECTOR_SIZE),
				   BLK_LOG), 0);
	free(buf);
}

static int open_it(void)
{
	struct jnl_config cfg = { .dev = dev, .geo = &geo };
	struct jnl_recovery rec = { 0 };
	struct jnl *j;

	return jnl_open(&cfg, &j, &rec);
}

START_TEST(a_log_that_asks_for_much_more_memory_than_its_size_is_refused)
{
	u32 fits = JNL_RECOVERY_RINGS * ((u32)geo.jnl_nr - 2) / NODE_SECTORS;

	/* The nodes are not there, which is found when all of them have been read. */
	write_log(fits);
	ck_assert_int_eq(open_it(), -EUCLEAN);
	ck_assert_msg(strstr(said, why_text(WHY_JNL_CHECKSUM)), "said: %s", said);
	write_log(fits + 1);
	ck_assert_int_eq(open_it(), -EUCLEAN);
	ck_assert_msg(strstr(said, why_text(WHY_JNL_BUF_SUM)), "said: %s", said);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("crafted logs");

	tcase_add_checked_fixture(
		check_add_tcase(s, a_log_that_asks_for_much_more_memory_than_its_size_is_refused,
				"a_log_that_asks_for_much_more_memory_than_its_size_is_refused"),
		setup, teardown);
	return check_main(s);
}
