/* Rings for commands of a driver. */
#include <errno.h>
#include <unistd.h>

#include "check_main.h"
#include "ring/cmd.h"
#include "ring/ring.h"

START_TEST(what_a_driver_does_not_know_comes_back_as_its_error)
{
	struct ring_cmd_args a = { .op = 1 };
	struct ring_cmd *r;
	int fds[2], err = ring_cmd_new(&r);

	if (err == -ENOSYS)
		return;
	ck_assert_int_eq(err, 0);
	ck_assert_int_eq(pipe(fds), 0);
	a.fd = fds[0];
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(ring_cmd_run(r, &a), -EOPNOTSUPP);
	close(fds[0]);
	close(fds[1]);
	ck_assert_int_eq(ring_cmd_run(r, &a), -EBADF);
	ring_cmd_free(r);
}
END_TEST

START_TEST(without_io_uring_there_is_no_ring_for_commands)
{
	const struct ring_opts off = { .off = true };
	struct ring_cmd *r;

	ring_opts_set(&off);
	ck_assert_int_eq(ring_cmd_new(&r), -ENOSYS);
}
END_TEST

START_TEST(a_plain_ring_carries_commands_as_well)
{
	const struct ring_opts plain = { .plain_setup = true };
	const struct ring_cmd_args a = { .fd = -1, .op = 1 };
	struct ring_cmd *r;
	int err;

	ring_opts_set(&plain);
	err = ring_cmd_new(&r);
	if (err == -ENOSYS)
		return;
	ck_assert_int_eq(err, 0);
	ck_assert_int_eq(ring_cmd_run(r, &a), -EBADF);
	ring_cmd_free(r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cmd");

	check_add(s, what_a_driver_does_not_know_comes_back_as_its_error);
	check_add(s, without_io_uring_there_is_no_ring_for_commands);
	check_add(s, a_plain_ring_carries_commands_as_well);
	return check_main(s);
}
