/*
 * Reading /proc/self/mountinfo.
 *
 * Rules
 * 1. A line is: id parent MAJ:MIN root point options [tags...] - type source superoptions. Blanks,
 *    tabs, newlines and backslashes in names are written as three octal digits after a backslash.
 * 2. Of several mounts at one place the last line is the one that is seen.
 * 3. While the descriptors and rings of a daemon that has ended are closed, which goes on for some
 *    milliseconds after the process is gone, requests end with ECONNABORTED or ECANCELED; after it
 *    with ENOTCONN. The first two say no more than "ask again": an unmount by force aborts too.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "front/mountinfo.h"

#define DEAD_TRIES 2000
#define DEAD_PAUSE_US 5000

typedef bool (*match_fn)(const struct mountinfo *m, const char *path);

static void unescape(const char *in, char *out, size_t len)
{
	size_t n = 0;

	while (*in && n + 1 < len) {
		if (in[0] == '\\' && in[1] && in[2] && in[3]) {
			out[n++] = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 4;
		} else {
			out[n++] = *in++;
		}
	}
	out[n] = '\0';
}

static bool has_option(const char *options, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = options; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return true;
	}
	return false;
}

static bool parse_line(char *line, struct mountinfo *m)
{
	char *save = NULL, *fields[6], *word;
	const char *owner;
	size_t n = 0;

	for (word = strtok_r(line, " \n", &save); word && n < ARRAY_LEN(fields);
	     word = strtok_r(NULL, " \n", &save))
		fields[n++] = word;
	while (word && strcmp(word, "-") != 0)
		word = strtok_r(NULL, " \n", &save);
	if (n < ARRAY_LEN(fields) || !word)
		return false;
	snprintf(m->dev, sizeof(m->dev), "%s", fields[2]);
	unescape(fields[4], m->point, sizeof(m->point));
	m->readonly = has_option(fields[5], "ro");
	word = strtok_r(NULL, " \n", &save);
	snprintf(m->type, sizeof(m->type), "%s", word ? word : "");
	word = strtok_r(NULL, " \n", &save);
	unescape(word ? word : "", m->source, sizeof(m->source));
	word = strtok_r(NULL, " \n", &save);
	owner = word ? strstr(word, "user_id=") : NULL;
	m->owner = owner ? (u32)strtoul(owner + 8, NULL, 10) : 0;
	return true;
}

static int find(match_fn match, const char *path, struct mountinfo *out)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	struct mountinfo m;
	char *line = NULL;
	size_t size = 0, best = 0;
	int err = -ENOENT;

	if (!f)
		return -errno;
	while (getline(&line, &size, f) > 0) {
		if (!parse_line(line, &m) || !match(&m, path) || strlen(m.point) < best)
			continue;
		*out = m;
		best = strlen(m.point);
		err = 0;
	}
	free(line);
	fclose(f);
	return err;
}

static bool is_at(const struct mountinfo *m, const char *path)
{
	return strcmp(m->point, path) == 0;
}

static bool is_over(const struct mountinfo *m, const char *path)
{
	size_t len = strlen(m->point);

	if (len == 1)
		return true;
	return strncmp(m->point, path, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static bool is_of_image(const struct mountinfo *m, const char *image)
{
	return mountinfo_is_foliofs(m) && strcmp(m->source, image) == 0;
}

int mountinfo_at(const char *path, struct mountinfo *out)
{
	return find(is_at, path, out);
}

int mountinfo_over(const char *path, struct mountinfo *out)
{
	return find(is_over, path, out);
}

int mountinfo_of_image(const char *image, struct mountinfo *out)
{
	return find(is_of_image, image, out);
}

bool mountinfo_is_foliofs(const struct mountinfo *m)
{
	return strcmp(m->type, "fuse.foliofs") == 0 || strcmp(m->type, "fuseblk.foliofs") == 0;
}

bool mountinfo_is_dead(const char *path)
{
	struct statfs fs;

	for (int i = 0; i < DEAD_TRIES && statfs(path, &fs); i++) {
		if (errno == ENOTCONN)
			return true;
		if (errno != ECONNABORTED && errno != ECANCELED)
			return false;
		usleep(DEAD_PAUSE_US);
	}
	return false;
}
