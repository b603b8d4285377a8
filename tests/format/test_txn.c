/*
 * Goal: a transaction is accepted exactly as it was sealed, and its records come back in order.
 * Method: a transaction with every type of record; bit flips; broken lengths; random bytes.
 */
#include "check_main.h"

#include <string.h>

#include "base/err.h"
#include "bits.h"
#include "format/format.h"

#define EPOCH 77ull
#define SEQ 12ull

static u8 buf[8 * SECTOR_SIZE] __attribute__((aligned(4096)));
static u64 used;

static struct fmt_rec *add_rec(u32 type, u32 kind, u32 off, u32 len, u32 count, u64 addr)
{
	struct fmt_txn *t = (void *)buf;
	struct fmt_rec *r = (void *)(buf + used);

	r->type = put16((u16)type);
	r->kind = put16((u16)kind);
	r->off = put32(off);
	r->len = put32(len);
	r->count = put32(count);
	r->addr = put64(addr);
	memset(buf + used + sizeof(*r), (int)type, len);
	used += sizeof(*r) + ALIGN_UP(len, 8u);
	t->nr_records = put32(get32(t->nr_records) + 1);
	return r;
}

static void setup(void)
{
	struct fmt_txn *t = (void *)buf;

	memset(buf, 0, sizeof(buf));
	t->magic = put32(FMT_TXN_MAGIC);
	t->epoch = put64(EPOCH);
	t->seq = put64(SEQ);
	used = sizeof(*t);
	add_rec(FMT_REC_BYTES, FMT_KIND_ROOT, 64, 13, 0, 1);
	add_rec(FMT_REC_WHOLE, FMT_KIND_NODE, 0, NODE_SIZE, 0, 4000);
	add_rec(FMT_REC_FILL, FMT_KIND_MAP, 48, 0, FMT_MAP_PER_SECTOR, 3000);
	add_rec(FMT_REC_REVOKE, 0, 0, 0, 4, 5000);
	add_rec(FMT_REC_INTENT, 0, 0, 12, 3, 6000);
	add_rec(FMT_REC_INTENT_END, 0, 0, 0, 0, 0);
	add_rec(FMT_REC_DATA, 0, 0, SECTOR_SIZE, 1, 7000);
	add_rec(FMT_REC_SUM, FMT_KIND_NODE, 0, 0, 0, 8000);
	t->len = put64(ALIGN_UP(used, (u64)SECTOR_SIZE));
	fmt_txn_seal(buf);
}

/* enum why: 0 is that nothing is wrong. */
static int check_as(u64 len, u64 epoch, u64 seq)
{
	enum why why;

	ck_assert_int_eq(fmt_txn_why(buf, len, epoch, seq, &why), 0);
	ck_assert_int_eq(fmt_txn_check(buf, len, epoch, seq), why_errno(why));
	return (int)why;
}

static int check(void)
{
	return check_as(sizeof(buf), EPOCH, SEQ);
}

START_TEST(every_type_of_record_comes_back_in_order)
{
	const struct fmt_rec *r;
	const void *payload;
	u64 pos = 0;
	u32 type = FMT_REC_BYTES;

	ck_assert_int_eq(check(), 0);
	while (fmt_rec_next(buf, &pos, &r, &payload)) {
		ck_assert_uint_eq(get16(r->type), type);
		if (get32(r->len))
			ck_assert_uint_eq(*(const u8 *)payload, type);
		type++;
	}
	ck_assert_uint_eq(type, FMT_REC_SUM + 1);
	ck_assert_int_eq(fmt_rec_next(buf, &pos, &r, &payload), 0);
}
END_TEST

START_TEST(every_single_bit_flip_is_rejected)
{
	u64 bits = get64(((struct fmt_txn *)buf)->len) * 8;

	for (u64 bit = 0; bit < bits; bit += bit < 4096 ? 1 : 13) {
		flip_bit(buf, bit);
		ck_assert_int_gt(check(), 0);
		flip_bit(buf, bit);
	}
	ck_assert_int_eq(check(), 0);
}
END_TEST

START_TEST(another_epoch_or_sequence_is_rejected)
{
	ck_assert_int_eq(check_as(sizeof(buf), EPOCH + 1, SEQ), WHY_JNL_TXN_EPOCH);
	ck_assert_int_eq(check_as(sizeof(buf), EPOCH, SEQ + 1), WHY_JNL_SEQUENCE);
}
END_TEST

START_TEST(a_transaction_longer_than_what_was_read_is_rejected)
{
	u64 len = get64(((struct fmt_txn *)buf)->len);

	ck_assert_int_eq(check_as(len, EPOCH, SEQ), 0);
	ck_assert_int_eq(check_as(len - SECTOR_SIZE, EPOCH, SEQ), WHY_JNL_TXN_LONG);
	ck_assert_int_eq(check_as(0, EPOCH, SEQ), WHY_JNL_TXN_CUT);
}
END_TEST

static int sealed_with(u32 type, u32 kind, u32 off, u32 len, u32 count)
{
	struct fmt_txn *t = (void *)buf;

	memset(buf + sizeof(*t), 0, sizeof(buf) - sizeof(*t));
	t->nr_records = put32(0);
	used = sizeof(*t);
	add_rec(type, kind, off, len, count, 100);
	fmt_txn_seal(buf);
	return check();
}

START_TEST(records_that_reach_outside_their_buffer_are_rejected)
{
	ck_assert_int_eq(sealed_with(FMT_REC_BYTES, FMT_KIND_ROOT, 4000, 96, 0), 0);
	ck_assert_int_eq(sealed_with(FMT_REC_BYTES, FMT_KIND_ROOT, 4000, 97, 0), WHY_JNL_REC_BYTES);
	ck_assert_int_eq(sealed_with(FMT_REC_BYTES, FMT_KIND_ROOT, UINT32_MAX, 8, 0),
			 WHY_JNL_REC_BYTES);
	ck_assert_int_eq(sealed_with(FMT_REC_BYTES, FMT_KIND_JNL, 64, 8, 0), WHY_JNL_REC_BYTES);
	ck_assert_int_eq(sealed_with(FMT_REC_BYTES, 0, 64, 8, 0), WHY_JNL_REC_BYTES);
	ck_assert_int_eq(sealed_with(FMT_REC_BYTES, 99, 64, 8, 0), WHY_JNL_REC_BYTES);
	ck_assert_int_eq(sealed_with(FMT_REC_WHOLE, FMT_KIND_NODE, 0, 4096, 0), WHY_JNL_REC_WHOLE);
	ck_assert_int_eq(sealed_with(FMT_REC_FILL, FMT_KIND_MAP, 48, 0, 1013), WHY_JNL_REC_FILL);
	ck_assert_int_eq(sealed_with(FMT_REC_FILL, FMT_KIND_MAP, 48, 0, UINT32_MAX),
			 WHY_JNL_REC_FILL);
	ck_assert_int_eq(sealed_with(FMT_REC_FILL, FMT_KIND_MAP, 0, 0, 4), WHY_JNL_REC_FILL);
	ck_assert_int_eq(sealed_with(FMT_REC_INTENT, 0, 0, 8, 3), WHY_JNL_REC_INTENT);
	ck_assert_int_eq(sealed_with(FMT_REC_DATA, 0, 0, 4096, 2), WHY_JNL_REC_DATA);
	ck_assert_int_eq(sealed_with(0, 0, 0, 0, 0), WHY_JNL_REC_TYPE);
	ck_assert_int_eq(sealed_with(FMT_REC_SUM, FMT_KIND_JNL, 0, 0, 0), WHY_JNL_REC_SUM);
	ck_assert_int_eq(sealed_with(FMT_REC_SUM, FMT_KIND_NODE, 0, 8, 0), WHY_JNL_REC_SUM);
	ck_assert_int_eq(sealed_with(9, 0, 0, 0, 0), WHY_JNL_REC_TYPE);
}
END_TEST

START_TEST(records_beyond_the_end_are_rejected)
{
	struct fmt_txn *t = (void *)buf;

	t->nr_records = put32(1u << 20);
	fmt_txn_seal(buf);
	ck_assert_int_eq(check(), WHY_JNL_REC_TYPE);
	t->nr_records = put32(UINT32_MAX);
	fmt_txn_seal(buf);
	ck_assert_int_eq(check(), WHY_JNL_REC_COUNT);
	setup();
	((struct fmt_rec *)(buf + sizeof(*t)))->len = put32(UINT32_MAX);
	fmt_txn_seal(buf);
	ck_assert_int_eq(check(), WHY_JNL_REC_END);
}
END_TEST

START_TEST(random_records_never_fault)
{
	struct fmt_txn *t = (void *)buf;
	const struct fmt_rec *r;
	const void *payload;
	u64 state = 8;

	for (int i = 0; i < 20000; i++) {
		u64 pos = 0;

		setup();
		for (int j = 0; j < 3; j++)
			buf[sizeof(*t) + next_random(&state) % 200] = (u8)next_random(&state);
		t->nr_records = put32((u32)(next_random(&state) % 20));
		fmt_txn_seal(buf);
		if (check() != 0)
			continue;
		while (fmt_rec_next(buf, &pos, &r, &payload))
			ck_assert((const u8 *)payload + get32(r->len) <= buf + get64(t->len));
	}
}
END_TEST

static void add(Suite *s, const TTest *t, const char *name)
{
	tcase_add_checked_fixture(check_add_tcase(s, t, name), setup, NULL);
}

int main(void)
{
	Suite *s = suite_create("txn");

#define ADD(test) add(s, test, #test)
	ADD(every_type_of_record_comes_back_in_order);
	ADD(every_single_bit_flip_is_rejected);
	ADD(another_epoch_or_sequence_is_rejected);
	ADD(a_transaction_longer_than_what_was_read_is_rejected);
	ADD(records_that_reach_outside_their_buffer_are_rejected);
	ADD(records_beyond_the_end_are_rejected);
	ADD(random_records_never_fault);
	return check_main(s);
}
