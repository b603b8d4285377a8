/*
 * bench_meta: how many files a second can be created, looked up, listed, renamed and removed.
 *
 * bench_meta create|create4k|stat|list|rename|unlink FOLDER NUMBER [PREFIX]
 *
 * Prints operations per second. create makes empty files, create4k files of 4 KiB, rename gives
 * PREFIX-00000000 ... (file-...) the names renamed-00000000 ...; what changes names ends with an
 * fsync of the folder. The order of stat, rename and unlink is a fixed shuffle, so that neither the
 * order of creation nor that of the directory helps. list reads the folder and looks at each entry.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char content[4096];
static const char *prefix = "file";

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const char *name)
{
	fprintf(stderr, "bench_meta: %s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

static void create_file(int dir, const char *name, size_t len)
{
	int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644);

	if (fd < 0)
		die("create", name);
	if (len > 0 && write(fd, content, len) != (ssize_t)len)
		die("write", name);
	if (close(fd) != 0)
		die("close", name);
}

static void create_empty(int dir, const char *name)
{
	create_file(dir, name, 0);
}

static void create_4k(int dir, const char *name)
{
	create_file(dir, name, sizeof(content));
}

static void stat_file(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, 0) != 0)
		die("stat", name);
}

static void unlink_file(int dir, const char *name)
{
	if (unlinkat(dir, name, 0) != 0)
		die("unlink", name);
}

static void rename_file(int dir, const char *name)
{
	char to[64];

	snprintf(to, sizeof(to), "renamed%s", strrchr(name, '-'));
	if (renameat(dir, name, dir, to) != 0)
		die("rename", name);
}

/* Instead of one operation a name. */
static void list_all(int dir, unsigned nr)
{
	DIR *d = fdopendir(dup(dir));
	struct dirent *e;
	unsigned seen = 0;

	if (d == NULL)
		die("list", "folder");
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		stat_file(dir, e->d_name);
		seen++;
	}
	if (seen != nr)
		die("list", "not all of folder");
	closedir(d);
}

static const struct phase {
	const char *name;
	void (*each)(int dir, const char *name);
	int shuffled, synced;
} phases[] = {
	{"create", create_empty, 0, 1},
	{"create4k", create_4k, 0, 1},
	{"stat", stat_file, 1, 0},
	{"list", NULL, 0, 0},
	{"rename", rename_file, 1, 1},
	{"unlink", unlink_file, 1, 1},
};

/* 0..nr-1; shuffled by a generator with a fixed seed (xorshift64). */
static unsigned *make_order(unsigned nr, int shuffled)
{
	unsigned *order = malloc(nr * sizeof(*order));
	uint64_t x = 88172645463325252ull;

	if (order == NULL)
		die("malloc", "");
	for (unsigned i = 0; i < nr; i++)
		order[i] = i;
	for (unsigned i = nr; shuffled && i > 1; i--) {
		unsigned j, t;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		j = (unsigned)(x % i);
		t = order[i - 1];
		order[i - 1] = order[j];
		order[j] = t;
	}
	return order;
}

static void run(const struct phase *p, int dir, unsigned nr)
{
	unsigned *order = make_order(nr, p->shuffled);
	double start = now_s();

	if (p->each == NULL)
		list_all(dir, nr);
	for (unsigned i = 0; p->each != NULL && i < nr; i++) {
		char name[48];

		snprintf(name, sizeof(name), "%.20s-%08u", prefix, order[i]);
		p->each(dir, name);
	}
	/* Not every file system knows fsync of a directory. */
	if (p->synced && fsync(dir) != 0 && errno != EINVAL && errno != ENOSYS)
		die("fsync", "folder");
	printf("%.1f\n", nr / (now_s() - start));
	free(order);
}

int main(int argc, char **argv)
{
	unsigned nr = argc == 4 || argc == 5 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;

	if (argc == 5)
		prefix = argv[4];
	memset(content, 'f', sizeof(content));
	for (size_t i = 0; nr > 0 && i < sizeof(phases) / sizeof(phases[0]); i++) {
		int dir;

		if (strcmp(argv[1], phases[i].name) != 0)
			continue;
		dir = open(argv[2], O_RDONLY | O_DIRECTORY);
		if (dir < 0)
			die("open", argv[2]);
		run(&phases[i], dir, nr);
		return 0;
	}
	fprintf(stderr, "usage: bench_meta create|create4k|stat|list|rename|unlink FOLDER NUMBER "
			"[PREFIX]\n");
	return 2;
}
