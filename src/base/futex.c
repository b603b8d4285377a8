/*
 * The futex system call, private to the process.
 *
 * Rules
 * 1. EINTR is reported as a wake-up: every caller looks at its word in a loop anyway.
 * 2. Memory order is the caller's: the word is changed with release before futex_wake() and read
 *    with acquire after futex_wait().
 */
#include "base/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/block.h"
#include "base/err.h"
#include "base/time.h"

int futex_wait(u32 *word, u32 expected, s64 timeout_ms)
{
	struct timespec ts = {
		.tv_sec = (time_t)(timeout_ms / 1000),
		.tv_nsec = (long)(timeout_ms % 1000) * (long)NS_PER_MS,
	};
	u64 began = block_begin();
	long woken = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected,
			     timeout_ms < 0 ? NULL : &ts, NULL, 0);

	block_end(BLOCK_OTHERS, began);
	if (woken == 0)
		return 0;
	if (errno == EAGAIN || errno == ETIMEDOUT)
		return -errno;
	ASSERT(errno == EINTR);
	return 0;
}

int futex_wake(u32 *word, int nr)
{
	long woken = syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr, NULL, NULL, 0);

	ASSERT(woken >= 0);
	return (int)woken;
}
