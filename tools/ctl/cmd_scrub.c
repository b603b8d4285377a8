/*
 * foliofsctl scrub and errors: is what is on the disk right, and what was found wrong so far.
 *
 * Rules
 * 1. scrub without start, stop or status follows to the end and tells by its exit status: 0 nothing
 *    wrong, 1 damage or failure. An interrupt leaves the scrub running.
 * 2. errors reads an image that is not mounted itself, with its log replayed in memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/size.h"
#include "cache/cache.h"
#include "check/dump.h"
#include "ctl.h"
#include "fs/fs.h"

#define FOLLOW_MS 300
#define CACHE_BYTES (64ull << 20)

/* The value behind "key " in the answer, or "". Ends at the line's end. */
static const char *value_of(const char *text, const char *key, char *buf, size_t len)
{
	size_t n = strlen(key);

	buf[0] = 0;
	for (const char *at = text; at && *at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (strncmp(at, key, n) == 0 && at[n] == ' ') {
			snprintf(buf, len, "%.*s", (int)strcspn(at + n + 1, "\n"), at + n + 1);
			break;
		}
	}
	return buf;
}

static u64 number_of(const char *text, const char *key)
{
	char buf[64];

	return strtoull(value_of(text, key, buf, sizeof(buf)), NULL, 10);
}

static void show_progress(const char *text)
{
	u64 done = number_of(text, "data_bytes"), total = number_of(text, "data_total");
	u64 ms = number_of(text, "elapsed_ms");
	u64 all = done + number_of(text, "metadata_bytes");
	char size[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX];

	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%s of data, %u %%, %s/s, %llu damaged\033[K", size_to_text(done, size),
		(unsigned)(total ? MIN(done, total) * 100 / total : 100),
		size_to_text(all * 1000 / MAX(ms, (u64)1), rate),
		(unsigned long long)(number_of(text, "data_errors") +
				     number_of(text, "metadata_errors")));
}

static int report(const char *text)
{
	u64 errors = number_of(text, "data_errors") + number_of(text, "metadata_errors");
	char state[32];

	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	printf("%s", text);
	value_of(text, "state", state, sizeof(state));
	return errors || strcmp(state, "finished") != 0 ? CTL_FAILED : CTL_OK;
}

static int follow(const char *path)
{
	const struct timespec pause = { .tv_nsec = FOLLOW_MS * 1000000L };
	char state[32], *text = NULL;
	int status;

	for (;;) {
		status = ctl_ask(path, "scrub status", &text);
		if (status || !text)
			return status ? status : CTL_FAILED;
		if (strcmp(value_of(text, "state", state, sizeof(state)), "running") != 0)
			break;
		show_progress(text);
		free(text);
		text = NULL;
		nanosleep(&pause, NULL);
	}
	status = report(text);
	free(text);
	return status;
}

static int print_status(const char *path)
{
	char *text = NULL;
	int status = ctl_ask(path, "scrub status", &text);

	if (!status && text)
		printf("%s", text);
	free(text);
	return status;
}

int cmd_scrub(int argc, char **argv)
{
	const char *rate = "", *verb = "";
	char command[64];
	int at = 1, status;
	u64 bytes;

	if (argc > 2 && strcmp(argv[at], "-r") == 0) {
		rate = argv[at + 1];
		at += 2;
		if (parse_size(rate, &bytes) || !bytes)
			return ctl_usage("scrub: -r takes a size, as in '-r 100m'; not '%s'", rate);
	}
	if (argc - at == 2)
		verb = argv[at++];
	if (argc - at != 1)
		return ctl_usage("scrub takes [-r RATE] [start | stop | status] MOUNT");
	if (*rate && *verb && strcmp(verb, "start") != 0)
		return ctl_usage("scrub: -r goes with start alone");
	if (strcmp(verb, "status") == 0)
		return print_status(argv[at]);
	if (strcmp(verb, "stop") == 0)
		return ctl_ask(argv[at], "scrub stop", NULL);
	if (*verb && strcmp(verb, "start") != 0)
		return ctl_usage("scrub: '%s' is neither start, stop nor status", verb);
	snprintf(command, sizeof(command), "scrub start%s%.40s", *rate ? " " : "", rate);
	status = ctl_ask(argv[at], command, NULL);
	return status || *verb ? status : follow(argv[at]);
}

/* ---- errors ---- */

static int show_errors(struct dump *d, bool json)
{
	struct fs_errors *e = malloc(sizeof(*e));
	int err = e ? dump_errors(d, e) : -ENOMEM;

	if (!err)
		fs_errors_print(e, json, stdout);
	free(e);
	return err;
}

static int mount_errors(const char *path, bool clear, bool json)
{
	char *text = NULL;
	int status = ctl_ask(path, clear ? "errors clear" : json ? "errors json" : "errors", &text);

	if (!status && text)
		printf("%s", text);
	free(text);
	return status;
}

static int clear_on(struct blk_dev *dev)
{
	struct cache_config cfg = { .bytes = CACHE_BYTES, .max_order = 0xff };
	struct fs *fs;
	int err = cache_init(&cfg), ended;

	if (err)
		return err;
	err = fs_repair_begin(dev, &fs);
	if (!err) {
		err = fs_errors_clear(fs);
		ended = fs_unmount(fs, false);
		err = err ? err : ended;
	}
	cache_fini();
	return err;
}

static int image_errors(const char *path, bool clear, bool json)
{
	struct blk_dev *dev;
	struct dump *d;
	int err = blk_open(path, clear ? BLK_RDWR : BLK_RDONLY, NULL, &dev);

	if (err == -EBUSY)
		return ctl_fail("%s: in use; name the mount instead", path);
	if (err)
		return ctl_fail("%s: %s", path, err_text(err));
	if (clear) {
		err = clear_on(dev);
	} else {
		err = dump_open(dev, true, &d);
		if (!err) {
			err = show_errors(d, json);
			dump_close(d);
		}
	}
	blk_close(dev);
	return err ? ctl_fail("%s: %s", path, err == -EINVAL ? "not a FolioFS file system"
							       : err_text(err)) : CTL_OK;
}

int cmd_errors(int argc, char **argv)
{
	bool clear = argc == 3 && strcmp(argv[1], "--clear") == 0;
	bool json = argc == 3 && strcmp(argv[1], "--json") == 0;
	const char *path = argv[argc - 1];
	struct stat st;

	if (argc != 2 && !clear && !json)
		return ctl_usage("errors takes [--clear | --json] and one MOUNT or IMAGE");
	if (stat(path, &st))
		return ctl_fail("%s: %s", path, err_text(errno));
	return S_ISDIR(st.st_mode) ? mount_errors(path, clear, json) :
				     image_errors(path, clear, json);
}
