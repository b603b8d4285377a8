/*
 * Who has an image open: for the message that refuses a second mount.
 *
 * Three sources, best first: the flock list of the kernel (/proc/locks), processes that have the
 * file open (/proc/PID/fd; the locker itself may have forked and gone), the kernel's own mounts.
 * All of them may be unreadable; then nothing is said.
 *
 * Locking: none.
 */
#include <ctype.h>
#include <dirent.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "blk/blk_priv.h"

static bool read_comm(long pid, char *comm, size_t len)
{
	char path[64];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(comm, (int)len, f) != NULL;
	fclose(f);
	if (ok)
		comm[strcspn(comm, "\n")] = '\0';
	return ok;
}

static bool describe_pid(long pid, char *buf, size_t len)
{
	char comm[32];

	if (pid <= 0 || !read_comm(pid, comm, sizeof(comm)))
		return false;
	snprintf(buf, len, "%ld (%s)", pid, comm);
	return true;
}

/* "1: FLOCK  ADVISORY  WRITE 1234 fd:00:5678 0 EOF": the inode decides, the device may differ. */
static long pid_of_lock(const struct stat *st)
{
	FILE *f = fopen("/proc/locks", "re");
	char line[256];
	long found = 0;

	if (!f)
		return 0;
	while (!found && fgets(line, sizeof(line), f)) {
		unsigned long ino;
		unsigned maj, min;
		long pid;

		if (sscanf(line, "%*d: FLOCK %*s %*s %ld %x:%x:%lu", &pid, &maj, &min, &ino) == 4 &&
		    ino == st->st_ino)
			found = pid;
	}
	fclose(f);
	return found;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode))
		return S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool has_open(long pid, const struct stat *st)
{
	char path[320];
	struct dirent *e;
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%ld/fd", pid);
	d = opendir(path);
	if (!d)
		return false;
	while (!found && (e = readdir(d))) {
		struct stat fd_st;

		snprintf(path, sizeof(path), "/proc/%ld/fd/%s", pid, e->d_name);
		found = stat(path, &fd_st) == 0 && same_file(st, &fd_st);
	}
	closedir(d);
	return found;
}

static long pid_with_file(const struct stat *st)
{
	struct dirent *e;
	long found = 0;
	DIR *d = opendir("/proc");

	if (!d)
		return 0;
	while (!found && (e = readdir(d))) {
		long pid = isdigit((unsigned char)e->d_name[0]) ? atol(e->d_name) : 0;

		if (pid && pid != getpid() && has_open(pid, st))
			found = pid;
	}
	closedir(d);
	return found;
}

static bool describe_mount(const struct stat *st, char *buf, size_t len)
{
	FILE *f = S_ISBLK(st->st_mode) ? setmntent("/proc/self/mounts", "re") : NULL;
	bool found = false;
	struct mntent m;
	char strings[4096];
	struct stat dev;

	if (!f)
		return false;
	while (!found && getmntent_r(f, &m, strings, sizeof(strings))) {
		if (stat(m.mnt_fsname, &dev) || !same_file(st, &dev))
			continue;
		snprintf(buf, len, "the kernel (mounted on %s)", m.mnt_dir);
		found = true;
	}
	endmntent(f);
	return found;
}

const char *blk_who_holds(const char *path, char *buf, size_t len)
{
	struct stat st;

	if (len)
		buf[0] = '\0';
	if (!len || stat(path, &st))
		return buf;
	if (!describe_pid(pid_of_lock(&st), buf, len) && !describe_mount(&st, buf, len))
		describe_pid(pid_with_file(&st), buf, len);
	return buf;
}
