/*
 * Control groups of version 2 (cpu.max, cpu.weight) and version 1 (cpu.cfs_quota_us), and sessions.
 *
 * Rules
 * 1. A group above ours limits us as well, so each is looked at for a quota.
 * 2. What can't be read sets no quota: inside a container the groups above are not to be seen, but
 *    its own, where a quota is set as a rule, is.
 * 3. A session is a group of its own (autogroup) only for processes that are in no other.
 */
#include "front/cpugroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AUTOGROUP "/proc/sys/kernel/sched_autogroup_enabled"

/* What was found in the groups of this process. */
struct found {
	bool quota;
	bool group;      /* one of its own */
};

bool cpugroup_quota_line(const char *line)
{
	char *end;
	long quota;

	errno = 0;
	quota = strtol(line, &end, 10);
	return end != line && !errno && quota > 0;
}

bool cpugroup_has_cpu(const char *controllers)
{
	while (controllers) {
		if (strncmp(controllers, "cpu", 3) == 0 &&
		    (controllers[3] == ',' || controllers[3] == '\0'))
			return true;
		controllers = strchr(controllers, ',');
		if (controllers)
			controllers++;
	}
	return false;
}

/* Its first line is a number above 0. */
static bool file_says_so(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[64];
	bool set;

	if (!f)
		return false;
	set = fgets(line, sizeof(line), f) && cpugroup_quota_line(line);
	fclose(f);
	return set;
}

/* The group and all above it, up to the root of the hierarchy. */
static bool group_sets_quota(const char *root, const char *group, const char *file)
{
	size_t root_len = strlen(root);
	char folder[4096], path[4200];

	if (snprintf(folder, sizeof(folder), "%s%s", root, group) >= (int)sizeof(folder))
		return false;
	while (strlen(folder) >= root_len) {
		char *slash;

		snprintf(path, sizeof(path), "%s/%s", folder, file);
		if (file_says_so(path))
			return true;
		slash = strrchr(folder, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
	return false;
}

static void look_at_v2(struct found *found, const char *root, const char *group)
{
	char path[4200];

	found->quota |= group_sets_quota(root, group, "cpu.max");
	snprintf(path, sizeof(path), "%s%.4000s/cpu.weight", root, group);
	found->group |= access(path, F_OK) == 0;
}

/* A line of /proc/self/cgroup: ID:CONTROLLERS:GROUP; version 2 has ID 0 and no controllers. */
static void look_at_line(struct found *found, char *line)
{
	char *controllers = strchr(line, ':'), *group;

	line[strcspn(line, "\n")] = '\0';
	if (!controllers)
		return;
	group = strchr(++controllers, ':');
	if (!group)
		return;
	*group++ = '\0';
	if (*controllers == '\0') {
		look_at_v2(found, "/sys/fs/cgroup", group);
		look_at_v2(found, "/sys/fs/cgroup/unified", group);
	} else if (cpugroup_has_cpu(controllers)) {
		found->quota |= group_sets_quota("/sys/fs/cgroup/cpu", group, "cpu.cfs_quota_us");
		found->group |= strcmp(group, "/") != 0;
	}
}

const char *cpugroup_forbids_idle(void)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	struct found found = { 0 };
	char line[4096];

	while (f && fgets(line, sizeof(line), f))
		look_at_line(&found, line);
	if (f)
		fclose(f);
	if (found.quota)
		return "this control group has a CPU quota";
	if (found.group)
		return "idle priority holds only within this control group";
	if (file_says_so(AUTOGROUP))
		return "idle priority holds only within a session (" AUTOGROUP ")";
	return NULL;
}
