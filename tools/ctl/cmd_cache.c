/*
 * foliofsctl drop, cache, set, frag: what of a file is cached, how long that lasts, and how the
 * pieces lie on the disk.
 *
 * Rules
 * 1. A path names a file by its inode number; the mount point itself is the whole file system.
 * 2. The daemon answers "key value" lines in bytes; sizes are made readable here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/size.h"
#include "ctl.h"

#define ROOT_INO 1

/* The inode of a path on a FolioFS; exit status. */
static int inode_of(const char *path, u64 *ino)
{
	struct mountinfo m;
	struct stat st;
	int status = ctl_find_mount(path, &m);

	if (status)
		return status;
	if (lstat(path, &st))
		return ctl_fail("%s: %s", path, err_text(errno));
	*ino = st.st_ino;
	return CTL_OK;
}

static int file_of(const char *command, const char *path, u64 *ino)
{
	struct stat st;
	int status = inode_of(path, ino);

	if (status)
		return status;
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return ctl_fail("%s: %s takes a regular file", path, command);
	return CTL_OK;
}

/* POSITION[+LENGTH], both sizes. */
static int parse_range(const char *text, u64 *pos, u64 *len)
{
	char copy[64], *plus;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	plus = strchr(copy, '+');
	*len = UINT64_MAX;
	if (plus)
		*plus++ = '\0';
	if (parse_size(copy, pos) || (plus && (parse_size(plus, len) || *len == 0)))
		return -EINVAL;
	return 0;
}

static int bad_range(const char *command, const char *text)
{
	return ctl_usage("%s: '%s' is no range; POSITION[+LENGTH], as in 1g+64m", command, text);
}

int cmd_drop(int argc, char **argv)
{
	char command[96] = "drop", text[SIZE_TEXT_MAX], *answer = NULL;
	const char *path = argc > 1 ? argv[1] : NULL, *range = NULL;
	u64 ino, pos = 0, len = UINT64_MAX;
	int status;

	/* MOUNT [PATH] [RANGE]: a path says where the mount is, too. */
	if (argc == 4 || (argc == 3 && parse_range(argv[2], &pos, &len)))
		path = argv[2];
	if (argc == 4 || (argc == 3 && path == argv[1]))
		range = argv[argc - 1];
	if (argc < 2 || argc > 4)
		return ctl_usage("drop takes MOUNT or PATH, and after a PATH a range");
	if (range && parse_range(range, &pos, &len))
		return bad_range("drop", range);
	status = range ? file_of("a range to drop", path, &ino) : inode_of(path, &ino);
	if (status)
		return status;
	if (ino != ROOT_INO)
		snprintf(command, sizeof(command), "drop %llu %llu %llu", (unsigned long long)ino,
			 (unsigned long long)pos, (unsigned long long)len);
	status = ctl_ask(path, command, &answer);
	if (status == CTL_OK)
		printf("dropped %s\n",
		       size_to_text(strtoull(answer ? answer : "0", NULL, 10), text));
	free(answer);
	return status;
}

static bool is_count(const char *key)
{
	static const char *const counts[] = {
		"evicted", "recently_evicted", "folios", "extents", "gaps", "runs",
	};

	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		if (strcmp(key, counts[i]) == 0)
			return true;
	return false;
}

/* "key value" lines for people: bytes as sizes, zero runs left out. */
static void print_lines(char *text)
{
	char *save = NULL, size[SIZE_TEXT_MAX], name[64];

	for (char *key = strtok_r(text, "\n", &save); key; key = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(key, ' '), *end;
		u64 n;

		if (!value)
			continue;
		*value++ = '\0';
		n = strtoull(value, &end, 10);
		snprintf(name, sizeof(name), "%s", key);
		if (strncmp(key, "run_", 4) == 0) {
			if (n == 0)
				continue;
			snprintf(name, sizeof(name), "in runs from %s",
				 size_to_text(strtoull(key + 4, NULL, 10), size));
		}
		if (*end != '\0' || is_count(key))
			printf("%-24s %s\n", name, value);
		else if (strcmp(key, "budget") == 0 && n == 0)
			printf("%-24s none\n", name);
		else
			printf("%-24s %s\n", name, size_to_text(n, size));
	}
}

static int ask_and_print(const char *path, const char *command)
{
	char *answer = NULL;
	int status = ctl_ask(path, command, &answer);

	if (status == CTL_OK && answer)
		print_lines(answer);
	free(answer);
	return status;
}

int cmd_cache(int argc, char **argv)
{
	u64 ino, pos = 0, len = UINT64_MAX;
	char command[96];
	int status;

	if (argc < 2 || argc > 3)
		return ctl_usage("cache takes a PATH, and perhaps a range");
	if (argc == 3 && parse_range(argv[2], &pos, &len))
		return bad_range("cache", argv[2]);
	status = file_of("cache", argv[1], &ino);
	if (status)
		return status;
	snprintf(command, sizeof(command), "state %llu %llu %llu", (unsigned long long)ino,
		 (unsigned long long)pos, (unsigned long long)len);
	return ask_and_print(argv[1], command);
}

static bool is_setting(const char *word)
{
	static const char *const whole[] = {
		"budget=none", "priority=low", "priority=normal", "priority=high",
	};
	u64 n;

	for (size_t i = 0; i < ARRAY_LEN(whole); i++)
		if (strcmp(word, whole[i]) == 0)
			return true;
	return strncmp(word, "budget=", 7) == 0 && parse_size(word + 7, &n) == 0 && n > 0;
}

/* [MOUNT] PATH budget=SIZE|none priority=low|normal|high */
int cmd_set(int argc, char **argv)
{
	char command[160];
	u64 ino;
	int first = argc, status, len;

	while (first > 1 && strchr(argv[first - 1], '='))
		first--;
	if (first < 2 || first > 3 || first == argc)
		return ctl_usage("set takes a PATH and budget=SIZE|none or "
				 "priority=low|normal|high");
	for (int i = first; i < argc; i++)
		if (!is_setting(argv[i]))
			return ctl_usage("set: bad setting '%s'; budget=SIZE|none or "
					 "priority=low|normal|high", argv[i]);
	status = file_of("set", argv[first - 1], &ino);
	if (status)
		return status;
	len = snprintf(command, sizeof(command), "set %llu", (unsigned long long)ino);
	for (int i = first; i < argc && len < (int)sizeof(command); i++)
		len += snprintf(command + len, sizeof(command) - (size_t)len, " %s", argv[i]);
	if (len >= (int)sizeof(command))
		return ctl_usage("set: too many settings");
	return ctl_ask(argv[first - 1], command, NULL);
}

int cmd_frag(int argc, char **argv)
{
	char command[64] = "frag";
	u64 ino;
	int status;

	if (argc != 2)
		return ctl_usage("frag takes one MOUNT or PATH");
	status = inode_of(argv[1], &ino);
	if (!status && ino != ROOT_INO)
		status = file_of("frag", argv[1], &ino);
	if (status)
		return status;
	if (ino != ROOT_INO)
		snprintf(command, sizeof(command), "frag %llu", (unsigned long long)ino);
	return ask_and_print(argv[1], command);
}
