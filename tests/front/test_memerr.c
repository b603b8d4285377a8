/*
 * The handler of SIGBUS. A process may send itself the signal with any si_code, so it arrives as
 * the kernel sends it; the frames themselves stay good (see tests/iomap/test_memerr.c for bad
 * ones).
 */
#include "check_main.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "cache/cache.h"
#include "front/memerr.h"
#include "mem/bad.h"
#include "stat/stat.h"

static void setup(void)
{
	struct cache_config cfg = { .bytes = 4u << 20, .max_order = 0xff };

	ck_assert_int_eq(cache_init(&cfg), 0);
	ck_assert_int_eq(memerr_start(), 0);
}

static void teardown(void)
{
	memerr_stop();
	cache_fini();
}

static void send_error(int code, void *addr)
{
	siginfo_t si = { .si_signo = SIGBUS, .si_code = code, .si_addr = addr };

	si.si_addr_lsb = SECTOR_SHIFT;
	ck_assert_int_eq((int)syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, &si), 0);
}

static bool wait_mended(void)
{
	u64 until = now_ns() + 10 * 1000 * NS_PER_MS;

	while (mem_any_bad() && now_ns() < until)
		usleep(1000);
	return !mem_any_bad();
}

START_TEST(error_in_the_background_is_dealt_with_by_the_thread)
{
	u64 before = stat_read(STAT_MEMORY_ERRORS);

	setup();
	send_error(BUS_MCEERR_AO, mem_arena + (1u << 20));
	ck_assert(wait_mended());
	teardown();
	ck_assert_uint_eq(stat_read(STAT_MEMORY_ERRORS), before + 1);
}
END_TEST

static void access_that_fails(void *arg)
{
	send_error(BUS_MCEERR_AR, arg);
	abort();
}

START_TEST(access_in_a_guard_is_left)
{
	setup();
	ck_assert_int_eq(mem_guarded(access_that_fails, mem_arena + 8192), -EHWPOISON);
	ck_assert(wait_mended());
	/* And again: the signal is not blocked. */
	ck_assert_int_eq(mem_guarded(access_that_fails, mem_arena + 8192), -EHWPOISON);
	ck_assert(wait_mended());
	teardown();
}
END_TEST

/* What becomes of a process that gets the signal. */
static int status_after(int code, bool inside)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		setup();
		send_error(code, inside ? (void *)mem_arena : (void *)&status);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

START_TEST(what_can_not_be_gone_on_from_ends_the_process)
{
	ck_assert_int_eq(status_after(BUS_MCEERR_AO, true), 0);
	ck_assert_int_eq(status_after(BUS_MCEERR_AR, true), SIGABRT);
	ck_assert_int_eq(status_after(BUS_MCEERR_AO, false), SIGABRT);
	ck_assert_int_eq(status_after(BUS_MCEERR_AR, false), SIGABRT);
	ck_assert_int_eq(status_after(BUS_ADRERR, true), SIGABRT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/memerr");

	check_add(s, error_in_the_background_is_dealt_with_by_the_thread);
	check_add(s, access_in_a_guard_is_left);
	check_add(s, what_can_not_be_gone_on_from_ends_the_process);
	return check_main(s);
}
