/* Is the CPU time of this process limited by a control group? */
#ifndef FOLIOFS_FRONT_QUOTA_H
#define FOLIOFS_FRONT_QUOTA_H

#include <stdbool.h>

/* Reads /proc and /sys: not in the path of a request. Not to be found out: false. */
bool quota_present(void);
/* For tests: one line of a cpu.max or cpu.cfs_quota_us file sets a quota. */
bool quota_line(const char *line);

#endif
