/*
 * Mounting: the part that libfuse does. It is used for nothing else (front.h says why).
 *
 * Rules
 * 1. default_permissions always: the kernel checks who may do what.
 * 2. nosuid and nodev unless root asked otherwise, as all FUSE mounts.
 * 3. Nothing is unmounted that is not ours: the device number at the mount point is compared.
 * 4. No fork() here: the arena may be pinned, and would be copied. libfuse forks for fusermount3,
 *    so the arena is MADV_DONTFORK (daemon.c).
 */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "front/front.h"
#include "front/mount.h"
#include "front/mountinfo.h"

extern char **environ;

struct mount {
	struct fuse_session *fuse;
};

int mount_check_target(const char *point)
{
	struct stat st;

	if (mountinfo_is_dead(point))
		return -ENOTCONN;
	if (stat(point, &st))
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static void fuse_message(enum fuse_log_level level, const char *fmt, va_list args)
{
	char text[512];
	size_t len;

	vsnprintf(text, sizeof(text), fmt, args);
	len = strlen(text);
	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	if (level <= FUSE_LOG_WARNING)
		log_err("%s", text);
	else
		log_debug("%s", text);
}

/* A name as an option's value: commas and backslashes get a backslash. */
static void put_escaped(FILE *f, const char *s)
{
	for (; *s; s++) {
		if (*s == ',' || *s == '\\')
			fputc('\\', f);
		fputc(*s, f);
	}
}

static char *mount_options(const struct front *fr, const char *image)
{
	const struct front_opts *o = &fr->opts;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fprintf(f, "default_permissions,subtype=foliofs%s%s%s%s%s%s%s",
		fr->fuseblk ? ",blkdev" : "", o->readonly ? ",ro" : "",
		o->allow_other ? ",allow_other" : "", o->nosuid ? "" : ",suid",
		o->nodev ? "" : ",dev", o->noexec ? ",noexec" : "", o->sync ? ",sync" : "");
	fprintf(f, ",fsname=");
	put_escaped(f, image);
	fclose(f);
	return text;
}

static struct fuse_session *new_session(char *options)
{
	static const struct fuse_lowlevel_ops none;
	char name[] = "foliofs", dash_o[] = "-o";
	char *argv[] = { name, dash_o, options, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_session *se = fuse_session_new(&args, &none, sizeof(none), NULL);

	fuse_opt_free_args(&args);
	return se;
}

int mount_begin(struct front *fr, const char *image, const char *point, struct mount **out, int *fd)
{
	struct mount *m = calloc(1, sizeof(*m));
	char *options = mount_options(fr, image);

	fuse_set_log_func(fuse_message);
	if (m && options)
		m->fuse = new_session(options);
	free(options);
	if (!m || !m->fuse) {
		free(m);
		return -ENOMEM;
	}
	if (fuse_session_mount(m->fuse, point)) {
		mount_end(m);
		return -EPERM;
	}
	*fd = fuse_session_fd(m->fuse);
	*out = m;
	return 0;
}

/* mount(2) takes all flags at once: those that are not meant to change are read first. */
int mount_remount(const char *point, bool readonly)
{
	static const struct { unsigned long st, ms; } kept[] = {
		{ ST_NOSUID, MS_NOSUID }, { ST_NODEV, MS_NODEV }, { ST_NOEXEC, MS_NOEXEC },
		{ ST_SYNCHRONOUS, MS_SYNCHRONOUS }, { ST_NOATIME, MS_NOATIME },
		{ ST_NODIRATIME, MS_NODIRATIME }, { ST_RELATIME, MS_RELATIME },
	};
	unsigned long flags = MS_REMOUNT | (readonly ? MS_RDONLY : 0);
	struct statvfs st;

	if (statvfs(point, &st))
		return -errno;
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (st.f_flag & kept[i].st)
			flags |= kept[i].ms;
	return mount(NULL, point, NULL, flags, NULL) ? -errno : 0;
}

void mount_end(struct mount *m)
{
	if (!m)
		return;
	fuse_session_destroy(m->fuse);
	free(m);
}

static int spawn_fusermount(const char *point)
{
	char prog[] = "fusermount3", flags[] = "-uzq", dashes[] = "--";
	char *argv[] = { prog, flags, dashes, (char *)(uintptr_t)point, NULL };
	pid_t pid;
	int status, err = posix_spawnp(&pid, prog, NULL, NULL, argv, environ);

	if (err)
		return -err;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

int mount_detach_dead(const char *point)
{
	if (umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	return errno == EPERM ? spawn_fusermount(point) : -errno;
}

int mount_detach(const struct front *fr, const char *point)
{
	struct mountinfo m;
	int err = mountinfo_at(point, &m);

	if (err || strcmp(m.dev, fr->bdi) != 0)
		return -ENOENT;
	err = mount_detach_dead(point);
	if (err)
		log_err("%s: can't unmount: %s", point, err_text(err));
	return err;
}

static void bdi_write(const char *bdi, const char *file, const char *value)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/bdi/%s/%s", bdi, file);
	f = fopen(path, "we");
	if (!f)
		return;
	fputs(value, f);
	if (fclose(f))
		log_debug("%s: not set: %s", path, err_text(-errno));
}

/*
 * FUSE mounts start with 1 % of the memory that may be dirty and a strict limit at that, which
 * stops writers every few megabytes, and with 128 KiB of readahead. Those limits protect the
 * system from daemons that ordinary users run; root may lift them.
 */
void mount_tune(const struct front *fr)
{
	u64 readahead = fr->opts.readahead;
	char text[32];

	if (geteuid() != 0 || fr->bdi[0] == '\0')
		return;
	bdi_write(fr->bdi, "strict_limit", "0");
	bdi_write(fr->bdi, "max_ratio", "100");
	if (!readahead)
		readahead = (u64)READAHEAD_DEFAULT << SECTOR_SHIFT;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)(readahead >> 10));
	if (fr->kernel_cache)
		bdi_write(fr->bdi, "read_ahead_kb", text);
}
