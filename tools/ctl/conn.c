/*
 * Finding the daemon of a mount and asking it (include/foliofs/control.h).
 *
 * Rules
 * 1. The mount is found by name in /proc/self/mountinfo, so that a dead one is recognised instead
 *    of waited for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "ctl.h"
#include "foliofs/control.h"

int ctl_find_mount(const char *path, struct mountinfo *out)
{
	char *full;
	int err;

	if (mountinfo_is_dead(path))
		return ctl_fail("%s is a dead mount: its daemon has ended; 'fusermount3 -uz %s' "
				"removes it", path, path);
	full = realpath(path, NULL);
	if (!full)
		return ctl_fail("%s: %s", path, err_text(errno));
	err = mountinfo_over(full, out);
	free(full);
	if (err)
		return ctl_fail("/proc/self/mountinfo: %s", err_text(err));
	if (!mountinfo_is_foliofs(out))
		return ctl_fail("%s: not on a mounted FolioFS", path);
	return CTL_OK;
}

static int try_socket(const char *dir, const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, len, err;

	len = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s.sock", dir, name);
	if (len < 0 || (size_t)len >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int connect_any(const struct mountinfo *m, const char *name)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	char dir[96];
	int fd = -ENOENT;

	if (m->owner == 0)
		return try_socket(FOLIOFS_CONTROL_DIR, name);
	if (xdg) {
		snprintf(dir, sizeof(dir), "%s/" FOLIOFS_CONTROL_SUBDIR, xdg);
		fd = try_socket(dir, name);
	}
	if (fd < 0) {
		snprintf(dir, sizeof(dir), "/run/user/%u/" FOLIOFS_CONTROL_SUBDIR, m->owner);
		fd = try_socket(dir, name);
	}
	if (fd < 0) {
		snprintf(dir, sizeof(dir), "/tmp/" FOLIOFS_CONTROL_SUBDIR "-%u", m->owner);
		fd = try_socket(dir, name);
	}
	return fd;
}

int ctl_connect(const struct mountinfo *m, const char *command)
{
	char name[MOUNT_DEV_MAX], line[FOLIOFS_CONTROL_LINE];
	char *colon;
	int fd, len;

	snprintf(name, sizeof(name), "%s", m->dev);
	colon = strchr(name, ':');
	if (colon)
		*colon = '-';
	fd = connect_any(m, name);
	if (fd < 0)
		return fd;
	len = snprintf(line, sizeof(line), "%s\n", command);
	if (send(fd, line, (size_t)len, MSG_NOSIGNAL) != len) {
		close(fd);
		return -EPIPE;
	}
	return fd;
}

/* Everything up to the end; NULL when memory is short. */
static char *read_all(int fd)
{
	char *text = NULL, buf[4096];
	size_t size;
	FILE *f = open_memstream(&text, &size);
	ssize_t n;

	if (!f)
		return NULL;
	while ((n = read(fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			fwrite(buf, 1, (size_t)n, f);
	fclose(f);
	return text;
}

int ctl_answer(int fd, char **text)
{
	char *all = read_all(fd), *end = all ? strchr(all, '\n') : NULL;
	int status = CTL_OK;

	close(fd);
	if (!end) {
		free(all);
		return ctl_fail("the daemon ended without an answer");
	}
	*end = '\0';
	if (strcmp(all, "ok") != 0)
		status = ctl_fail("%s", strncmp(all, "error ", 6) == 0 ? all + 6 : all);
	else if (text)
		*text = strdup(end + 1);
	free(all);
	return status;
}

int ctl_ask(const char *path, const char *command, char **text)
{
	struct mountinfo m;
	int fd, status = ctl_find_mount(path, &m);

	if (status)
		return status;
	fd = ctl_connect(&m, command);
	if (fd < 0)
		return ctl_fail("%s: can't talk to its daemon: %s", m.point, err_text(fd));
	return ctl_answer(fd, text);
}
