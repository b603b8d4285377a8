/*
 * Commands that read an image: info, dump. An image may be mounted meanwhile: it is then read
 * without a lock, as it lies on the disk, and the mount's own numbers are added by info.
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/err.h"
#include "base/nearest.h"
#include "blk/blk.h"
#include "check/dump.h"
#include "ctl.h"

struct image {
	struct blk_dev *dev;
	struct dump *dump;
	bool mounted;            /* read without lock, as of some time ago */
};

static int explain(const char *path, int err)
{
	if (err == -EINVAL)
		return ctl_fail("%s: not a FolioFS file system", path);
	if (err == -ENOTBLK)
		return ctl_fail("%s: neither an image file nor a block device", path);
	return ctl_fail("%s: %s", path, err_text(err));
}

static int image_open(const char *path, struct image *im)
{
	int err = blk_open(path, BLK_RDONLY, NULL, &im->dev);

	im->mounted = err == -EBUSY;
	if (im->mounted)
		err = blk_open(path, BLK_RDONLY | BLK_NOLOCK, NULL, &im->dev);
	if (err)
		return explain(path, err);
	err = dump_open(im->dev, false, &im->dump);
	if (err) {
		blk_close(im->dev);
		return explain(path, err);
	}
	return CTL_OK;
}

static void image_close(struct image *im)
{
	dump_close(im->dump);
	blk_close(im->dev);
}

/* --json among the arguments: true, and argv without it. */
static bool take_json(int *argc, char **argv)
{
	bool json = false;
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else
			argv[kept++] = argv[i];
	}
	*argc = kept;
	return json;
}

static void add_mount(struct json_object *o, const struct mountinfo *m)
{
	struct json_object *mount = json_object_new_object();
	struct statvfs st;

	json_object_object_add(mount, "point", json_object_new_string(m->point));
	json_object_object_add(mount, "read_only", json_object_new_boolean(m->readonly));
	if (statvfs(m->point, &st) == 0) {
		json_object_object_add(mount, "size_bytes",
				       json_object_new_uint64(st.f_blocks * st.f_frsize));
		json_object_object_add(mount, "free_bytes",
				       json_object_new_uint64(st.f_bfree * st.f_frsize));
		json_object_object_add(mount, "available_bytes",
				       json_object_new_uint64(st.f_bavail * st.f_frsize));
	}
	json_object_object_add(o, "mount", mount);
}

static void print_fields(struct json_object *o, const char *prefix)
{
	json_object_object_foreach(o, key, value)
	{
		char name[96];

		snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", key);
		if (json_object_is_type(value, json_type_object))
			print_fields(value, name);
		else
			printf("%-24s %s\n", name,
			       json_object_is_type(value, json_type_string) ?
				       json_object_get_string(value) :
				       json_object_to_json_string_ext(
					       value, JSON_C_TO_STRING_NOSLASHESCAPE));
	}
}

static int print_info(const char *path, struct image *im, bool json)
{
	struct json_object *o;
	struct mountinfo m;
	char *full;
	int err = dump_info(im->dump, &o);

	if (err)
		return explain(path, err);
	full = realpath(path, NULL);
	if (full && mountinfo_of_image(full, &m) == 0)
		add_mount(o, &m);
	free(full);
	if (json)
		printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
							      JSON_C_TO_STRING_SPACED |
							      JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		print_fields(o, "");
	json_object_put(o);
	return CTL_OK;
}

int cmd_info(int argc, char **argv)
{
	bool json = take_json(&argc, argv);
	struct mountinfo m;
	struct image im;
	struct stat st;
	const char *path;
	int status;

	if (argc != 2)
		return ctl_usage("info takes one IMAGE or MOUNT");
	path = argv[1];
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		status = ctl_find_mount(path, &m);
		if (status)
			return status;
		if (strncmp(m.source, "ram:", 4) == 0)
			return ctl_fail("%s: an image in memory; 'foliofsctl stats' and df know "
					"about it", path);
		path = m.source;
	}
	status = image_open(path, &im);
	if (status)
		return status;
	status = print_info(path, &im, json);
	image_close(&im);
	return status;
}

static int unknown_word(const char *what)
{
	const char *near;
	size_t nr = 0;

	while (dump_words[nr])
		nr++;
	near = nearest_name(what, dump_words, nr);
	if (near && strcmp(near, what) != 0)
		return ctl_usage("dump: unknown '%s' (did you mean '%s'?)", what, near);
	return ctl_usage("dump: '%s' is unknown, or its argument is missing or wrong", what);
}

int cmd_dump(int argc, char **argv)
{
	bool json = take_json(&argc, argv);
	struct image im;
	int status, err;

	if (argc < 3 || argc > 4)
		return ctl_usage("dump takes IMAGE and what to dump; try 'foliofsctl --help'");
	status = image_open(argv[1], &im);
	if (status)
		return status;
	if (im.mounted)
		fprintf(stderr, "foliofsctl: %s is in use: what follows is what lies on the disk, "
				"not what the daemon knows\n", argv[1]);
	err = dump_print(im.dump, argv[2], argc == 4 ? argv[3] : NULL, json, stdout);
	if (err == -EINVAL)
		status = unknown_word(argv[2]);
	else if (err == -ENOENT)
		status = ctl_fail("%s: no %s %s", argv[1], argv[2], argc == 4 ? argv[3] : "");
	else if (err)
		status = ctl_fail("%s: %s: %s", argv[1], argv[2], err_text(err));
	image_close(&im);
	return status;
}
