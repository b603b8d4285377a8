/*
 * The control socket: one thread that answers one client after another.
 *
 * Rules
 * 1. Only root and the user who mounted are answered (SO_PEERCRED), whatever the modes of files.
 * 2. A client that says nothing or does not read is dropped after a few seconds: it delays only
 *    other clients.
 * 3. "wait" keeps the connection until the very end of the daemon.
 * 4. Frozen, nothing that writes is run here, or there would be nobody to thaw. The thread thaws by
 *    itself when the time is up, and at the end of the mount.
 * 5. Commands run only while the file system is mounted: control_stop() comes before its end.
 *
 * Locking: the thread owns everything while it runs; before and after, the main thread.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/size.h"
#include "base/time.h"
#include "foliofs/control.h"
#include "front/control.h"
#include "front/control_cache.h"
#include "front/front.h"
#include "front/scrub.h"
#include "stat/stat.h"

#define WAITERS_MAX 16u
#define CLIENT_TIMEOUT_S 5
#define FREEZE_DEFAULT_S 60u
#define FREEZE_MAX_S 86400u

struct control {
	struct front *front;
	struct scrub_job *scrub;
	const char *image, *point;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int listen_fd;
	dev_t socket_dev;      /* of the socket at path, as we made it */
	ino_t socket_ino;
	int stop_fd;           /* eventfd */
	pthread_t thread;
	bool running;
	u64 thaw_ns;           /* frozen until then, 0 = not frozen */
	int waiters[WAITERS_MAX];
	unsigned nr_waiters;
};

struct command {
	const char *name;
	/* 0 and what it printed, or -errno. */
	int (*run)(struct control *c, const char *arg, FILE *out);
};

/* A directory that is ours and nobody else's. */
static int private_dir(const char *path)
{
	struct stat st;

	if (mkdir(path, 0755) && errno != EEXIST)
		return -errno;
	if (lstat(path, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
		return -EPERM;
	return 0;
}

int control_dir(u32 uid, char *buf, size_t len)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	if (uid == 0) {
		snprintf(buf, len, "%s", FOLIOFS_CONTROL_DIR);
		return private_dir(buf);
	}
	if (xdg && *xdg == '/') {
		snprintf(buf, len, "%s/" FOLIOFS_CONTROL_SUBDIR, xdg);
		if (private_dir(buf) == 0)
			return 0;
	}
	snprintf(buf, len, "/run/user/%u/" FOLIOFS_CONTROL_SUBDIR, uid);
	if (private_dir(buf) == 0)
		return 0;
	snprintf(buf, len, "/tmp/" FOLIOFS_CONTROL_SUBDIR "-%u", uid);
	return private_dir(buf);
}

static int run_stats(struct control *c, const char *arg, FILE *out)
{
	enum stat_format format;
	int err = stat_format_parse(*arg ? arg : "text", &format);

	(void)c;
	return err ? err : stat_render(format, out);
}

static int run_info(struct control *c, const char *arg, FILE *out)
{
	const struct front *fr = c->front;
	const struct front_opts *o = &fr->opts;

	(void)arg;
	fprintf(out, "version %s\npid %d\nimage %s\nmount %s\n", FOLIOFS_VERSION, (int)getpid(),
		c->image, c->point);
	fprintf(out, "read_only %s\ncache %s\ncache_size %llu\n",
		fs_readonly(fr->fs) ? "yes" : "no",
		fr->kernel_cache ? "kernel" : "daemon", (unsigned long long)o->cache_size);
	fprintf(out, "transport %s\nfuse_protocol 7.%u\nthreads %u\n", front_transport_name(fr),
		fr->proto_minor, front_threads(fr));
	fprintf(out, "block_device %s%s\n", blk_backend(fr->dev),
		blk_is_direct(fr->dev) ? ", O_DIRECT" : "");
	return 0;
}

static int run_sync(struct control *c, const char *arg, FILE *out)
{
	(void)arg;
	(void)out;
	return fs_is_frozen(c->front->fs) ? -EBUSY : fs_sync(c->front->fs);
}

/* arg: for how many seconds at most. */
static int run_freeze(struct control *c, const char *arg, FILE *out)
{
	u64 seconds = FREEZE_DEFAULT_S;
	int err = *arg ? parse_u64(arg, 1, FREEZE_MAX_S, &seconds) : 0;

	if (!err)
		err = fs_freeze(c->front->fs);
	if (err)
		return err;
	c->thaw_ns = now_ns() + seconds * NS_PER_SEC;
	log_info("frozen for %llu seconds at most", (unsigned long long)seconds);
	fprintf(out, "%llu\n", (unsigned long long)seconds);
	return 0;
}

static int run_thaw(struct control *c, const char *arg, FILE *out)
{
	(void)arg;
	(void)out;
	c->thaw_ns = 0;
	return fs_thaw(c->front->fs);
}

static void thaw_in_time(struct control *c)
{
	if (!c->thaw_ns || now_ns() < c->thaw_ns)
		return;
	c->thaw_ns = 0;
	if (fs_thaw(c->front->fs) == 0)
		log_warn("thawed: the time was up; a copy that is being made is no good");
}

/* For poll(): until the time is up. */
static int thaw_wait_ms(const struct control *c)
{
	u64 now = now_ns();

	if (!c->thaw_ns)
		return -1;
	return c->thaw_ns <= now ? 0 : (int)((c->thaw_ns - now) / NS_PER_MS + 1);
}

static int run_mark(struct control *c, const char *arg, FILE *out)
{
	(void)out;
	return *arg ? blk_writelog_mark(c->front->dev, arg) : -EINVAL;
}

static int run_shutdown(struct control *c, const char *arg, FILE *out)
{
	(void)arg;
	(void)out;
	fs_shutdown(c->front->fs);
	return 0;
}

static int run_scrub(struct control *c, const char *arg, FILE *out)
{
	if (!c->scrub)
		c->scrub = scrub_job_new(c->front->fs);
	return c->scrub ? scrub_command(c->scrub, arg, out) : -ENOMEM;
}

static int run_errors(struct control *c, const char *arg, FILE *out)
{
	bool json = strcmp(arg, "json") == 0;
	struct fs_errors *e;
	int err;

	if (strcmp(arg, "clear") == 0)
		return fs_errors_clear(c->front->fs);
	if (*arg && !json)
		return -EINVAL;
	e = malloc(sizeof(*e));
	err = e ? fs_errors(c->front->fs, e) : -ENOMEM;
	if (!err)
		fs_errors_print(e, json, out);
	free(e);
	return err;
}

static const struct command commands[] = {
	{ "stats", run_stats }, { "info", run_info }, { "sync", run_sync },
	{ "freeze", run_freeze }, { "thaw", run_thaw }, { "mark", run_mark },
	{ "shutdown", run_shutdown },
	{ "scrub", run_scrub }, { "errors", run_errors },
};

static void send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

static void send_status(int fd, int err)
{
	char line[160];

	if (err)
		snprintf(line, sizeof(line), "error %s\n", err_text(err));
	else
		snprintf(line, sizeof(line), "ok\n");
	send_all(fd, line, strlen(line));
}

/* Runs a command of this file, or one of control_cache.c. */
static void run_command(struct control *c, int fd, const struct command *own, control_fn other,
			const char *arg)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int err = -ENOMEM;

	if (out)
		err = own ? own->run(c, arg, out) : other(c->front, arg, out);
	if (out && fclose(out) && !err)
		err = -ENOMEM;
	send_status(fd, err);
	if (!err)
		send_all(fd, text, len);
	free(text);
}

/* True if the connection is kept. */
static bool serve_line(struct control *c, int fd, char *line)
{
	const struct command *own = NULL;
	char *arg = strchr(line, ' ');

	if (arg)
		*arg++ = '\0';
	if (strcmp(line, "wait") == 0 && c->nr_waiters < WAITERS_MAX) {
		c->waiters[c->nr_waiters++] = fd;
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands) && !own; i++)
		if (strcmp(commands[i].name, line) == 0)
			own = &commands[i];
	if (own || control_cache_command(line)) {
		run_command(c, fd, own, control_cache_command(line), arg ? arg : "");
		return false;
	}
	send_status(fd, -EINVAL);
	return false;
}

static bool may_command(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	       (cred.uid == 0 || cred.uid == geteuid());
}

/* Reads to the newline; false when there is none in time. */
static bool read_line(int fd, char *line, size_t size)
{
	size_t have = 0;
	char *end;

	while (have + 1 < size) {
		ssize_t n = recv(fd, line + have, size - 1 - have, 0);

		if (n <= 0)
			return false;
		have += (size_t)n;
		line[have] = '\0';
		end = strchr(line, '\n');
		if (end) {
			*end = '\0';
			return true;
		}
	}
	return false;
}

static void serve(struct control *c, int fd)
{
	const struct timeval limit = { .tv_sec = CLIENT_TIMEOUT_S };
	char line[FOLIOFS_CONTROL_LINE];
	bool keep = false;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (!may_command(fd))
		send_status(fd, -EACCES);
	else if (read_line(fd, line, sizeof(line)))
		keep = serve_line(c, fd, line);
	if (!keep)
		close(fd);
}

static void accept_one(struct control *c)
{
	int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		serve(c, fd);
}

static void *control_main(void *arg)
{
	struct control *c = arg;
	struct pollfd p[2] = {
		{ .fd = c->listen_fd, .events = POLLIN }, { .fd = c->stop_fd, .events = POLLIN },
	};

	pthread_setname_np(pthread_self(), "folio-control");
	work_begin(WORK_CONTROL, CORRUPT_NO_INO);
	for (;;) {
		if (poll(p, 2, thaw_wait_ms(c)) < 0 && errno != EINTR)
			break;
		if (p[1].revents)
			break;
		thaw_in_time(c);
		if (p[0].revents & POLLIN)
			accept_one(c);
	}
	/* Who asked to wait for the end did so before the mount went, and may not be served yet. */
	for (unsigned n = 0; n < WAITERS_MAX && poll(p, 1, 0) > 0; n++)
		accept_one(c);
	if (c->thaw_ns && fs_thaw(c->front->fs) == 0)
		log_warn("thawed: the mount ends");
	return NULL;
}

/* A late daemon must not take away the socket of a newer mount with the same device number. */
static bool socket_is_ours(const struct control *c)
{
	struct stat st;

	return lstat(c->path, &st) == 0 && st.st_dev == c->socket_dev &&
	       st.st_ino == c->socket_ino;
}

static int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	/* Device numbers are used again: what is there belongs to a mount that is gone. */
	unlink(path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || chmod(path, 0600) ||
	    listen(fd, 8)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int make_socket(struct control *c)
{
	char dir[sizeof(c->path) - 48], name[40];
	struct stat st;
	int err = control_dir(geteuid(), dir, sizeof(dir));

	if (err)
		return err;
	snprintf(name, sizeof(name), "%s.sock", c->front->bdi);
	for (char *colon = strchr(name, ':'); colon; colon = NULL)
		*colon = '-';
	snprintf(c->path, sizeof(c->path), "%s/%s", dir, name);
	c->listen_fd = listen_at(c->path);
	if (c->listen_fd < 0)
		return c->listen_fd;
	if (lstat(c->path, &st))
		return -errno;
	c->socket_dev = st.st_dev;
	c->socket_ino = st.st_ino;
	return 0;
}

int control_start(struct front *fr, const char *image, const char *point, struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->front = fr;
	c->image = image;
	c->point = point;
	c->listen_fd = -1;
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	err = c->stop_fd < 0 ? -errno : make_socket(c);
	if (!err)
		err = -pthread_create(&c->thread, NULL, control_main, c);
	if (err) {
		control_end(c, 0);
		return err;
	}
	c->running = true;
	*out = c;
	return 0;
}

void control_stop(struct control *c)
{
	if (!c || !c->running)
		return;
	eventfd_write(c->stop_fd, 1);
	pthread_join(c->thread, NULL);
	c->running = false;
	scrub_job_free(c->scrub);
	c->scrub = NULL;
}

void control_end(struct control *c, int error)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->nr_waiters; i++) {
		send_status(c->waiters[i], error);
		close(c->waiters[i]);
	}
	if (c->listen_fd >= 0) {
		if (socket_is_ours(c))
			unlink(c->path);
		close(c->listen_fd);
	}
	if (c->stop_fd >= 0)
		close(c->stop_fd);
	free(c);
}
