/* Requests and answers in the memory of an io_uring entry: what is left there is never seen. */
#include <errno.h>
#include <string.h>

#include "check_main.h"
#include "front/entry.h"

#define PAYLOAD (1u << 20)

static struct entry e;

/* What the kernel leaves in an entry. */
static void deliver(u32 len, const void *arg, size_t arg_len, const void *data, size_t data_len)
{
	const struct fuse_in_header in = { .len = len, .opcode = FUSE_WRITE, .unique = 77 };

	memcpy(e.head->in_out, &in, sizeof(in));
	if (arg_len)
		memcpy(e.head->op_in, arg, arg_len);
	if (data_len)
		memcpy(e.payload, data, data_len);
	e.head->ent.payload_sz = (u32)data_len;
}

static void start(void)
{
	ck_assert_int_eq(entry_init(&e, PAYLOAD), 0);
	memset(e.payload - ENTRY_LEAD, 'S', ENTRY_LEAD + PAYLOAD);
	memset(e.head, 'S', sizeof(*e.head));
}

START_TEST(a_request_lies_in_one_piece_its_data_where_it_was)
{
	const struct fuse_in_header *in;

	start();
	deliver(40 + 8 + 5, "12345678", 8, "hello", 5);
	in = entry_request(&e);
	ck_assert_ptr_nonnull(in);
	ck_assert_uint_eq(in->unique, 77);
	ck_assert_mem_eq(in + 1, "12345678hello", 13);
	ck_assert_ptr_eq((const u8 *)(in + 1) + 8, e.payload);
	entry_fini(&e);
}
END_TEST

START_TEST(a_request_without_arguments_or_without_data_is_whole)
{
	start();
	deliver(40, NULL, 0, NULL, 0);
	ck_assert_ptr_nonnull(entry_request(&e));
	deliver(40 + 16, "0123456789abcdef", 16, NULL, 0);
	ck_assert_mem_eq(entry_request(&e) + 1, "0123456789abcdef", 16);
	entry_fini(&e);
}
END_TEST

START_TEST(lengths_that_do_not_add_up_are_refused)
{
	static const u8 big[256];

	start();
	deliver(39, NULL, 0, NULL, 0);
	ck_assert_ptr_null(entry_request(&e));
	deliver(0, NULL, 0, NULL, 0);
	ck_assert_ptr_null(entry_request(&e));
	deliver(44, NULL, 0, "hello", 5);
	ck_assert_ptr_null(entry_request(&e));
	deliver(40 + 129, big, 128, NULL, 0);
	ck_assert_ptr_null(entry_request(&e));
	deliver(40 + 128, big, 128, NULL, 0);
	ck_assert_ptr_nonnull(entry_request(&e));
	deliver(40, NULL, 0, NULL, 0);
	e.head->ent.payload_sz = PAYLOAD + 1;
	ck_assert_ptr_null(entry_request(&e));
	deliver(UINT32_MAX, NULL, 0, NULL, 0);
	ck_assert_ptr_null(entry_request(&e));
	entry_fini(&e);
}
END_TEST

START_TEST(the_kernel_takes_of_an_answer_what_was_written_for_it_and_no_more)
{
	struct fuse_out_header out = { .len = 16 + 7, .unique = 77 };
	const struct iovec iov[3] = { { &out, sizeof(out) }, { (char[]){ "abc" }, 3 },
				      { (char[]){ "defg" }, 4 } };

	start();
	deliver(40, NULL, 0, NULL, 0);
	ck_assert_int_eq(entry_answer(&e, iov, 3, 23), 0);
	ck_assert_uint_eq(e.head->ent.payload_sz, 7);
	ck_assert_mem_eq(e.payload, "abcdefgS", 8);
	ck_assert_mem_eq(e.head->in_out, &out, sizeof(out));
	ck_assert_int_eq(entry_answer(&e, iov, 1, 16), 0);
	ck_assert_uint_eq(e.head->ent.payload_sz, 0);
	ck_assert_int_eq(entry_answer(&e, iov, 1, 17 + PAYLOAD), -EINVAL);
	entry_fini(&e);
}
END_TEST

START_TEST(an_error_answers_the_request_in_the_entry_without_payload)
{
	struct fuse_out_header out;

	start();
	deliver(40 + 5, NULL, 0, "hello", 5);
	entry_answer_error(&e, -EIO);
	memcpy(&out, e.head->in_out, sizeof(out));
	ck_assert_uint_eq(out.unique, 77);
	ck_assert_int_eq(out.error, -EIO);
	ck_assert_uint_eq(e.head->ent.payload_sz, 0);
	entry_fini(&e);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("entry");

	check_add(s, a_request_lies_in_one_piece_its_data_where_it_was);
	check_add(s, a_request_without_arguments_or_without_data_is_whole);
	check_add(s, lengths_that_do_not_add_up_are_refused);
	check_add(s, the_kernel_takes_of_an_answer_what_was_written_for_it_and_no_more);
	check_add(s, an_error_answers_the_request_in_the_entry_without_payload);
	return check_main(s);
}
