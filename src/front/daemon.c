/*
 * The life of the process.
 *
 *	parse, look at image and mount point         front_main()
 *	fork: the parent waits for the child's word  background()
 *	open, cache, journal, mount, threads         serve()
 *	"the mount answers": the parent ends         tell_parent()
 *	wait for a signal or for the kernel          wait_for_end()
 *	flush the kernel's pages, unmount            take_down()
 *	write everything, free the image             stop_fs()
 *	answer DESTROY, tell those who wait          serve()
 *
 * Rules
 * 1. The parent ends with 0 only after INIT was answered: whoever sees it end may use the mount.
 *    Else it passes on the child's exit status; the child has printed why.
 * 2. However the mount ends (umount, signal, the connection aborted), everything is written and the
 *    image is left clean.
 * 3. A signal first lets the kernel write its own dirty pages to us, while we still serve. This is
 *    the one time that the daemon touches its own mount, from a thread that nobody waits for
 *    without a limit.
 * 4. The image's lock is held until all is done. A second signal skips the waiting.
 *
 * Locking: the main thread starts and joins all others.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "front/awake.h"
#include "front/control.h"
#include "front/file.h"
#include "front/front.h"
#include "front/gauge.h"
#include "front/logsink.h"
#include "front/mount.h"
#include "front/mountinfo.h"
#include "front/proto.h"
#include "front/session.h"
#include "front/start.h"
#include "front/uring.h"

#define INIT_WAIT_MS 20000
#define SYNC_WAIT_S 60
#define BUSY_WAIT_MS 5000

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

void front_wake(struct front *fr)
{
	eventfd_write(fr->event_fd, 1);
}

/* ---- looking before starting ---- */

static char *absolute(const char *path)
{
	char *full = strncmp(path, "ram:", 4) == 0 ? strdup(path) : realpath(path, NULL);

	if (!full)
		log_err("%s: %s", path, err_text(-errno));
	return full;
}

/* Of a file that may not be there yet. */
static int absolute_new(char **path)
{
	char cwd[PATH_MAX], *full;

	if (!*path || **path == '/')
		return 0;
	if (!getcwd(cwd, sizeof(cwd)) || asprintf(&full, "%s/%s", cwd, *path) < 0) {
		log_err("%s: %s", *path, err_text(-errno));
		return EXIT_SYSTEM;
	}
	free(*path);
	*path = full;
	return 0;
}

static int dead_mount(const struct front_opts *o)
{
	int err;

	if (!o->replace_stale) {
		log_err("%s is a dead FUSE mount (\"Transport endpoint is not connected\")",
			o->mountpoint);
		log_err("run 'fusermount3 -uz %s' first, or mount with -o replace_stale",
			o->mountpoint);
		return EXIT_MOUNT;
	}
	err = mount_detach_dead(o->mountpoint);
	if (err)
		log_err("%s: can't unmount the dead mount: %s", o->mountpoint, err_text(err));
	return err ? EXIT_MOUNT : 0;
}

/* Status, and both names absolute: the daemon leaves the present directory. */
static int look(struct front_opts *o)
{
	char *full = absolute(o->image);
	int err, status;

	if (!full)
		return EXIT_MOUNT;
	o->image = full;
	status = absolute_new(&o->writelog);
	if (status)
		return status;
	err = mount_check_target(o->mountpoint);
	if (err == -ENOTCONN) {
		status = dead_mount(o);
		if (status)
			return status;
		err = mount_check_target(o->mountpoint);
	}
	if (err == 0) {
		o->mountpoint = absolute(o->mountpoint);
		return o->mountpoint ? 0 : EXIT_MOUNT;
	}
	log_err("%s: %s", o->mountpoint,
		err == -ENOTDIR ? "the mount point is not a directory" : err_text(err));
	return EXIT_MOUNT;
}

/* ---- background ---- */

/* In the parent: the status that the child tells, or that it ended with. */
static int wait_for_child(pid_t child, int fd)
{
	unsigned char status;
	ssize_t n;
	int how;

	do {
		n = read(fd, &status, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		return status;
	while (waitpid(child, &how, 0) < 0)
		if (errno != EINTR)
			return EXIT_SYSTEM;
	if (WIFSIGNALED(how))
		log_err("the daemon was killed by signal %d", WTERMSIG(how));
	return WIFEXITED(how) && WEXITSTATUS(how) ? WEXITSTATUS(how) : EXIT_SYSTEM;
}

/* Returns in the child, with the pipe to the parent; the parent ends here. -1: no fork. */
static int background(void)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC))
		return -1;
	fflush(NULL);
	child = fork();
	if (child < 0)
		return -1;
	if (child > 0) {
		close(fds[1]);
		_exit(wait_for_child(child, fds[0]));
	}
	close(fds[0]);
	setsid();
	return fds[1];
}

/* The mount answers: let go of terminal, directory and parent. */
static void tell_parent(int fd)
{
	unsigned char status = 0;
	int null;

	if (fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	logsink_detach();
	for (int i = 0; null >= 0 && i < 3; i++)
		dup2(null, i);
	if (null > 2)
		close(null);
	if (write(fd, &status, 1) != 1)
		log_debug("nobody waits for the start");
	close(fd);
}

/* ---- signals and waiting ---- */

static int block_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool connection_over(const struct front *fr)
{
	return (fr->session && session_ended(fr->session)) ||
	       __atomic_load_n(&fr->destroy_unique, __ATOMIC_ACQUIRE) != 0;
}

enum wake_reason { WOKE_OVER, WOKE_SIGNAL, WOKE_TIMEOUT, WOKE_INIT };

static void drain(int fd)
{
	char buf[sizeof(struct signalfd_siginfo)];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

/* Until the connection is over, a signal comes, the time is up, or (for_init) INIT was answered. */
static enum wake_reason wait_event(struct front *fr, int signal_fd, int timeout_ms, bool for_init)
{
	struct pollfd p[2] = {
		{ .fd = signal_fd, .events = POLLIN }, { .fd = fr->event_fd, .events = POLLIN },
	};

	for (;;) {
		int n;

		if (connection_over(fr))
			return WOKE_OVER;
		if (for_init && __atomic_load_n(&fr->init_done, __ATOMIC_ACQUIRE))
			return WOKE_INIT;
		n = poll(p, 2, timeout_ms);
		if (n == 0)
			return WOKE_TIMEOUT;
		if (n > 0 && p[0].revents) {
			drain(signal_fd);
			return WOKE_SIGNAL;
		}
		if (n > 0)
			drain(fr->event_fd);
	}
}

/* ---- the end ---- */

/* Makes the kernel write back what it holds of this mount. */
static void *sync_kernel(void *arg)
{
	const char *point = arg;
	int fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		if (syncfs(fd))
			log_err("%s: the kernel could not write all of its cache: %s", point,
				err_text(-errno));
		close(fd);
	}
	return NULL;
}

static void sync_kernel_bounded(struct front *fr, int signal_fd)
{
	struct timespec until;
	pthread_t thread;

	if (pthread_create(&thread, NULL, sync_kernel, fr->opts.mountpoint))
		return;
	for (int s = 0; s < SYNC_WAIT_S * 10; s++) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 100000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		if (pthread_timedjoin_np(thread, NULL, &until) == 0)
			return;
		if (wait_event(fr, signal_fd, 0, false) == WOKE_SIGNAL)
			break;
	}
	log_warn("%s: the kernel is still writing; going on without waiting", fr->opts.mountpoint);
	pthread_detach(thread);
}

static void *detach_main(void *arg)
{
	const struct front *fr = arg;

	mount_detach(fr, fr->opts.mountpoint);
	return NULL;
}

/* Not waited for: unmounting a fuseblk mount ends only with our answer to DESTROY. */
static void detach(struct front *fr)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, detach_main, fr) == 0)
		pthread_detach(thread);
}

/* A signal came: unmount by ourselves. */
static void take_down(struct front *fr, int signal_fd)
{
	const char *point = fr->opts.mountpoint;

	log_info("%s: told to end", point);
	if (!fr->opts.readonly)
		sync_kernel_bounded(fr, signal_fd);
	detach(fr);
	if (wait_event(fr, signal_fd, BUSY_WAIT_MS, false) != WOKE_OVER)
		log_warn("%s: still in use by some program, which loses it now", point);
}

static int mount_answers(struct front *fr, int signal_fd)
{
	switch (wait_event(fr, signal_fd, INIT_WAIT_MS, true)) {
	case WOKE_INIT:
		return 0;
	case WOKE_SIGNAL:
		log_err("%s: told to end before the mount was there", fr->opts.mountpoint);
		break;
	case WOKE_OVER:
		log_err("%s: the kernel ended the connection", fr->opts.mountpoint);
		break;
	case WOKE_TIMEOUT:
		log_err("%s: the kernel does not answer", fr->opts.mountpoint);
		break;
	}
	detach(fr);
	return EXIT_MOUNT;
}

const char *front_transport_name(const struct front *fr)
{
	return uring_serves(fr->uring) ? "io_uring" : "/dev/fuse";
}

unsigned front_threads(const struct front *fr)
{
	return session_threads(fr->session) + (fr->uring ? uring_threads(fr->uring) : 0);
}

static unsigned thread_count(const struct front_opts *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (o->threads)
		return (unsigned)o->threads;
	return (unsigned)MIN(MAX(2 * cpus, 4L), 8L);
}

/* umount(2) of a fuseblk mount returns with this answer. */
static void answer_destroy(const struct front *fr)
{
	struct fuse_out_header head = { .len = sizeof(head), .unique = fr->destroy_unique };

	if (fr->destroy_unique && fr->destroy_fd >= 0 &&
	    write(fr->destroy_fd, &head, sizeof(head)) != sizeof(head))
		log_debug("destroy: not answered: %s", err_text(-errno));
}

/* Mounted and answering, until the end of the connection. */
static int run_mount(struct front *fr, int fd, int signal_fd, int parent_fd,
		     struct control **control)
{
	struct mountinfo m;
	int err, status;

	if (mountinfo_at(fr->opts.mountpoint, &m) == 0)
		snprintf(fr->bdi, sizeof(fr->bdi), "%s", m.dev);
	if (fr->opts.poll_us && awake_start())
		log_warn("poll: no threads to keep CPUs awake");
	fr->fuse_fd = fd;
	fr->max_pages = init_max_pages();
	err = session_new(fr, fd, thread_count(&fr->opts), &fr->session);
	if (err) {
		log_err("no threads to serve requests: %s", err_text(err));
		detach(fr);
		return EXIT_SYSTEM;
	}
	status = mount_answers(fr, signal_fd);
	if (status)
		return status;
	mount_tune(fr);
	err = control_start(fr, fr->opts.image, fr->opts.mountpoint, control);
	if (err)
		log_warn("no control socket: %s; foliofsctl can't reach this mount", err_text(err));
	if (gauges_add(fr))
		log_warn("statistics are incomplete: out of memory");
	log_info("mounted on %s, cache=%s, %u threads, transport %s, FUSE 7.%u",
		 fr->opts.mountpoint, fr->kernel_cache ? "kernel" : "daemon", front_threads(fr),
		 front_transport_name(fr), fr->proto_minor);
	tell_parent(parent_fd);
	if (wait_event(fr, signal_fd, -1, false) == WOKE_SIGNAL)
		take_down(fr, signal_fd);
	return 0;
}

static bool wants_fuseblk(const struct front *fr)
{
	return geteuid() == 0 && !blk_is_file(fr->dev) && strncmp(fr->opts.image, "ram:", 4) != 0;
}

static int serve(struct front *fr, int parent_fd)
{
	int signal_fd = block_signals();
	struct control *control = NULL;
	struct mount *mount;
	int err, fd, status = start_fs(fr);

	if (status)
		return status;
	/* The kernel opens the device itself then, exclusively. */
	fr->fuseblk = wants_fuseblk(fr);
	if (fr->fuseblk)
		blk_release_excl(fr->dev);
	err = mount_begin(fr, fr->opts.image, fr->opts.mountpoint, &mount, &fd);
	if (err) {
		log_err("%s: can't mount", fr->opts.mountpoint);
		stop_fs(fr);
		return EXIT_MOUNT;
	}
	status = run_mount(fr, fd, signal_fd, parent_fd, &control);
	control_stop(control);
	if (fr->session)
		session_stop(fr->session);
	if (fr->uring)
		uring_stop(fr->uring);
	awake_stop();
	gauges_del();
	file_close_all(fr);
	err = stop_fs(fr);
	answer_destroy(fr);
	if (fr->uring)
		uring_free(fr->uring);
	if (fr->session)
		session_free(fr->session);
	mount_end(mount);
	control_end(control, err);
	if (err && !status)
		status = EXIT_MOUNT;
	return status;
}

static int remount(const struct front_opts *o)
{
	int err = o->fake ? 0 : mount_remount(o->mountpoint, o->readonly);

	if (err)
		log_err("%s: can't be remounted: %s", o->mountpoint, err_text(err));
	return err ? EXIT_MOUNT : 0;
}

int front_main(int argc, char **argv)
{
	static struct front fr;
	int parent_fd = -1, status = front_parse(argc, argv, &fr.opts);

	if (status)
		return status;
	if (fr.opts.action == FRONT_HELP)
		front_help(stdout);
	if (fr.opts.action == FRONT_VERSION)
		printf("foliofs %s\n", FOLIOFS_VERSION);
	if (fr.opts.action != FRONT_RUN)
		return 0;
	logsink_start(fr.opts.helper ? "mount.foliofs" : "foliofs", !fr.opts.foreground);
	if (fr.opts.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	if (fr.opts.remount)
		return remount(&fr.opts);
	status = look(&fr.opts);
	if (status || fr.opts.fake)
		return status;
	if (!fr.opts.foreground)
		parent_fd = background();
	if (!fr.opts.foreground && parent_fd < 0) {
		log_err("can't go to the background: %s", err_text(-errno));
		return EXIT_SYSTEM;
	}
	/* What we allocate must not wait for memory that waits for us to write; root only. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	fr.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fr.event_fd < 0 || chdir("/"))
		return EXIT_SYSTEM;
	return serve(&fr, parent_fd);
}
