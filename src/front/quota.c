/*
 * CPU quotas of control groups, version 2 (cpu.max of the group and of those above it) and version
 * 1 (cpu.cfs_quota_us).
 *
 * Rules
 * 1. A group above ours limits us as well, so each is looked at.
 * 2. What can't be read sets no quota: inside a container the groups above are not to be seen, but
 *    its own, where a quota is set as a rule, is.
 */
#include "front/quota.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool quota_line(const char *line)
{
	char *end;
	long quota;

	errno = 0;
	quota = strtol(line, &end, 10);
	return end != line && !errno && quota > 0;
}

static bool file_sets_quota(const char *folder, const char *file)
{
	char path[4200], line[64];
	bool set;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	f = fopen(path, "re");
	if (!f)
		return false;
	set = fgets(line, sizeof(line), f) && quota_line(line);
	fclose(f);
	return set;
}

/* The group and all above it, up to the root of the hierarchy. */
static bool group_sets_quota(const char *root, const char *group, const char *file)
{
	size_t root_len = strlen(root);
	char folder[4096];

	if (snprintf(folder, sizeof(folder), "%s%s", root, group) >= (int)sizeof(folder))
		return false;
	while (strlen(folder) >= root_len) {
		char *slash;

		if (file_sets_quota(folder, file))
			return true;
		slash = strrchr(folder, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
	return false;
}

/* A line of /proc/self/cgroup: ID:CONTROLLERS:GROUP; version 2 has ID 0 and no controllers. */
static bool line_sets_quota(char *line)
{
	char *controllers = strchr(line, ':'), *group;

	line[strcspn(line, "\n")] = '\0';
	if (!controllers)
		return false;
	group = strchr(++controllers, ':');
	if (!group)
		return false;
	*group++ = '\0';
	if (*controllers == '\0')
		return group_sets_quota("/sys/fs/cgroup", group, "cpu.max") ||
		       group_sets_quota("/sys/fs/cgroup/unified", group, "cpu.max");
	return strstr(controllers, "cpu") &&
	       group_sets_quota("/sys/fs/cgroup/cpu", group, "cpu.cfs_quota_us");
}

bool quota_present(void)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[4096];
	bool set = false;

	while (f && !set && fgets(line, sizeof(line), f))
		set = line_sets_quota(line);
	if (f)
		fclose(f);
	return set;
}
