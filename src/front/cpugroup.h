/*
 * What the scheduler's groups mean for threads of idle priority.
 *
 * Time of theirs counts against a CPU quota of the control group. And idle priority holds within a
 * group only: beside tasks of other groups a group of nothing but idle threads gets the share of
 * its group, so they would wait for ours (seen: 2 ms each). Groups are control groups with the cpu
 * controller, and sessions where the kernel groups them by itself (autogroup).
 */
#ifndef FOLIOFS_FRONT_CPUGROUP_H
#define FOLIOFS_FRONT_CPUGROUP_H

#include <stdbool.h>

/*
 * Why this process should have no threads of idle priority that spin, for the log; NULL: nothing
 * speaks against it, or it can't be found out. Reads /proc and /sys: not in the path of a request.
 */
const char *cpugroup_forbids_idle(void);

/* For tests: one line of a cpu.max or cpu.cfs_quota_us file sets a quota. */
bool cpugroup_quota_line(const char *line);
/* For tests: a list of controllers as in /proc/self/cgroup has the one that schedules. */
bool cpugroup_has_cpu(const char *controllers);

#endif
