/*
 * Sleeping and writing durations. Reading clocks is inline in time.h.
 *
 * Rule: a sleep ends no earlier than asked for, whatever signals arrive.
 */
#include "base/time.h"

#include <errno.h>
#include <stdio.h>

void sleep_ns(u64 ns)
{
	u64 until = now_ns() + ns;
	struct timespec ts = {
		.tv_sec = (time_t)(until / NS_PER_SEC),
		.tv_nsec = (long)(until % NS_PER_SEC),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

const char *duration_to_text(u64 ns, char buf[static DURATION_TEXT_MAX])
{
	u64 sec = ns / NS_PER_SEC;

	if (ns < NS_PER_US)
		snprintf(buf, DURATION_TEXT_MAX, "%u ns", (unsigned)ns);
	else if (ns < NS_PER_MS)
		snprintf(buf, DURATION_TEXT_MAX, "%.1f us", (double)ns / NS_PER_US);
	else if (ns < NS_PER_SEC)
		snprintf(buf, DURATION_TEXT_MAX, "%.1f ms", (double)ns / NS_PER_MS);
	else if (sec < 60)
		snprintf(buf, DURATION_TEXT_MAX, "%.1f s", (double)ns / NS_PER_SEC);
	else if (sec < 3600)
		snprintf(buf, DURATION_TEXT_MAX, "%u min %u s", (unsigned)(sec / 60),
			 (unsigned)(sec % 60));
	else
		snprintf(buf, DURATION_TEXT_MAX, "%llu h %u min", (unsigned long long)(sec / 3600),
			 (unsigned)(sec / 60 % 60));
	return buf;
}
