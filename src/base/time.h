/* Clocks. Durations are nanoseconds of the monotonic clock in a u64. */
#ifndef BASE_TIME_H
#define BASE_TIME_H

#include <time.h>

#include "base/types.h"

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_SEC 1000000000ull

static inline u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
}

/* The time of day, for timestamps of files. */
static inline struct timespec now_real(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

/* The same as of the kernel's last tick: never later than what the kernel stamps with. */
static inline struct timespec now_real_coarse(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	return ts;
}

/* Sleeps the whole time, signals or not. */
void sleep_ns(u64 ns);

#define DURATION_TEXT_MAX 32

/* "850 ns", "12.3 us", "4.0 ms", "2.5 s", "3 min 20 s". Returns @buf. */
const char *duration_to_text(u64 ns, char buf[static DURATION_TEXT_MAX]);

#endif
