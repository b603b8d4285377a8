/*
 * Commands for a mounted file system that print little: sync, freeze, thaw, mark, shutdown, umount.
 *
 * Rules
 * 1. umount: the connection that waits is there before the mount goes, so that the daemon's last
 *    word can't be missed.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/size.h"
#include "foliofs/control.h"
#include "ctl.h"

extern char **environ;

int cmd_sync(int argc, char **argv)
{
	if (argc != 2)
		return ctl_usage("sync takes one MOUNT");
	return ctl_ask(argv[1], "sync", NULL);
}

/* What the kernel holds goes to the daemon first. Failing that, the daemon freezes without it. */
static void sync_kernel(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)syncfs(fd);
	close(fd);
}

int cmd_freeze(int argc, char **argv)
{
	char command[64] = "freeze", *answer = NULL;
	u64 seconds;
	int c, status;

	opterr = 0;
	while ((c = getopt(argc, argv, "+t:")) != -1) {
		if (c != 't' || parse_u64(optarg, 1, 86400, &seconds))
			return ctl_usage("freeze takes -t SECONDS (1 to 86400) and one MOUNT");
		snprintf(command, sizeof(command), "freeze %llu", (unsigned long long)seconds);
	}
	if (argc - optind != 1)
		return ctl_usage("freeze takes one MOUNT");
	sync_kernel(argv[optind]);
	status = ctl_ask(argv[optind], command, &answer);
	free(answer);
	return status;
}

int cmd_thaw(int argc, char **argv)
{
	if (argc != 2)
		return ctl_usage("thaw takes one MOUNT");
	return ctl_ask(argv[1], "thaw", NULL);
}

int cmd_mark(int argc, char **argv)
{
	char command[FOLIOFS_CONTROL_LINE];
	int len;

	if (argc != 3 || !*argv[2])
		return ctl_usage("mark takes a MOUNT and one TEXT");
	len = snprintf(command, sizeof(command), "mark %s", argv[2]);
	if (len + 1 >= (int)sizeof(command) || strchr(argv[2], '\n'))
		return ctl_fail("mark: the text must be one line of at most %zu bytes",
				sizeof(command) - strlen("mark \n") - 1);
	return ctl_ask(argv[1], command, NULL);
}

int cmd_shutdown(int argc, char **argv)
{
	if (argc != 2)
		return ctl_usage("shutdown takes one MOUNT");
	return ctl_ask(argv[1], "shutdown", NULL);
}

static int run_fusermount(const char *point, bool lazy)
{
	char prog[] = "fusermount3", flags[8], dashes[] = "--";
	char *argv[] = { prog, flags, dashes, (char *)(uintptr_t)point, NULL };
	pid_t pid;
	int how, err;

	snprintf(flags, sizeof(flags), lazy ? "-uz" : "-u");
	err = posix_spawnp(&pid, prog, NULL, NULL, argv, environ);
	if (err)
		return ctl_fail("fusermount3: %s", err_text(err));
	while (waitpid(pid, &how, 0) < 0)
		if (errno != EINTR)
			return CTL_FAILED;
	return WIFEXITED(how) && WEXITSTATUS(how) == 0 ? CTL_OK : CTL_FAILED;
}

static int take_away(const char *point, bool lazy)
{
	if (umount2(point, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return CTL_OK;
	if (errno == EPERM)
		return run_fusermount(point, lazy);
	return ctl_fail("%s: can't unmount: %s%s", point, err_text(errno),
			errno == EBUSY ? "; some program uses it (see 'fuser -vm')" : "");
}

static int umount_and_wait(const struct mountinfo *m, bool lazy)
{
	int fd = ctl_connect(m, "wait");
	int status = take_away(m->point, lazy);

	if (status || fd < 0) {
		if (fd >= 0)
			close(fd);
		return status;
	}
	return ctl_answer(fd, NULL);
}

/* A dead mount is unmounted too: there is nobody to wait for. */
static int find_any(const char *path, struct mountinfo *m)
{
	if (mountinfo_at(path, m) == 0 && mountinfo_is_foliofs(m))
		return CTL_OK;
	return ctl_find_mount(path, m);
}

int cmd_umount(int argc, char **argv)
{
	struct mountinfo m;
	bool lazy = argc == 3 && strcmp(argv[1], "-l") == 0;
	int status;

	if (argc != 2 && !lazy)
		return ctl_usage("umount takes one MOUNT, "
				 "and -l before it to unmount even if in use");
	status = find_any(argv[argc - 1], &m);
	return status ? status : umount_and_wait(&m, lazy);
}
