/*
 * Who uses an image or a device: mounts, swap, locks.
 *
 * Rule: nothing here is the protection against two users, that is the lock of blk_open(). It says
 * why a target is refused, and finds uses that know no lock: kernel mounts and swap.
 */
#include "target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/time.h"

#define POLL_MS 50u

/* mountinfo writes blanks as \040 and so on. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		unsigned code;

		if (s[0] == '\\' && sscanf(s + 1, "%3o", &code) == 1 && strlen(s) >= 4) {
			*out++ = (char)code;
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = 0;
}

static bool same_file(const struct stat *st, const char *path)
{
	struct stat other;

	if (path[0] != '/' || stat(path, &other))
		return false;
	if (S_ISBLK(st->st_mode))
		return S_ISBLK(other.st_mode) && st->st_rdev == other.st_rdev;
	return st->st_dev == other.st_dev && st->st_ino == other.st_ino;
}

/* One line: "id parent maj:min root mountpoint options ... - type source superoptions". */
static bool line_matches(char *line, const struct stat *st, char *where, size_t len)
{
	unsigned maj, min;
	char mountpoint[4096], source[4096];
	char *tail = strstr(line, " - ");

	if (!tail || sscanf(line, "%*d %*d %u:%u %*s %4095s", &maj, &min, mountpoint) != 3)
		return false;
	if (sscanf(tail, " - %*s %4095s", source) != 1)
		return false;
	unescape(source);
	if (!(S_ISBLK(st->st_mode) && st->st_rdev == makedev(maj, min)) && !same_file(st, source))
		return false;
	unescape(mountpoint);
	snprintf(where, len, "%s", mountpoint);
	return true;
}

bool target_mounted_at(const char *path, char *where, size_t len)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	struct stat st;
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	if (!f)
		return false;
	if (stat(path, &st) == 0) {
		while (!found && getline(&line, &size, f) > 0)
			found = line_matches(line, &st, where, len);
	}
	free(line);
	fclose(f);
	return found;
}

bool target_is_swap(const char *path)
{
	FILE *f = fopen("/proc/swaps", "re");
	struct stat st;
	char line[4200];
	bool found = false;

	if (!f)
		return false;
	if (stat(path, &st) == 0) {
		while (!found && fgets(line, sizeof(line), f)) {
			line[strcspn(line, " \t\n")] = 0;
			unescape(line);
			found = same_file(&st, line);
		}
	}
	fclose(f);
	return found;
}

int target_open(const char *path, unsigned flags, const struct blk_opts *opts,
		struct blk_dev **out)
{
	char where[256];
	int r;

	for (unsigned waited = 0;; waited += POLL_MS) {
		r = blk_open(path, flags, opts, out);
		if (r != -EBUSY || waited >= TARGET_WAIT_MS || target_mounted_at(path, where,
										 sizeof(where)))
			return r;
		/* Nobody to be found: the daemon has just ended, its lock goes with it. */
		blk_who_holds(path, where, sizeof(where));
		if (where[0] && !strstr(where, "(foliofs)"))
			return r;
		sleep_ns(POLL_MS * NS_PER_MS);
	}
}

const char *target_who(const char *path, char *buf, size_t len)
{
	char who[256], where[4096];
	bool mounted = target_mounted_at(path, where, sizeof(where));

	blk_who_holds(path, who, sizeof(who));
	snprintf(buf, len, "in use%s%s%s%s", who[0] ? " by " : "", who,
		 mounted ? ", mounted at " : "", mounted ? where : "");
	return buf;
}
