/*
 * bench_requests: what programs see of single requests.
 *
 * bench_requests read|write FILE BYTES SECONDS PROCESSES   direct, random places; a second
 * bench_requests depth FILE BYTES SECONDS DEPTH            the same by one, many under way
 * bench_requests create|stat|unlink FOLDER NUMBER PROCESSES
 * bench_requests list FOLDER NUMBER 1                      readdir and stat of each, second time
 *
 * Prints operations a second, and for read and write the median latency in us.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_SAMPLES (1u << 21)
#define MAX_PROCESSES 16
#define MAX_DEPTH 64

/* Of each process, in memory that all share. */
struct result {
	uint64_t ops;
	double seconds, median_us;
};

static struct result *results;
static const char *path, *mode;
static size_t bytes;
static double seconds;
static unsigned long number;

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "bench_requests: %s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

/*
 * Each place once, before any comes again, far from the last one: what was not in a cache at the
 * start is not there when it is read. The factor is a prime.
 */
static off_t next_place(uint64_t *k, uint64_t places)
{
	return (off_t)((*k)++ * 2654435761u % places * bytes);
}

static int open_data(uint64_t *places, char **buf, unsigned buffers)
{
	int fd = open(path, O_RDWR | O_DIRECT);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || posix_memalign((void **)buf, 4096, bytes * buffers))
		die("open");
	memset(*buf, 'r', bytes * buffers);
	*places = (uint64_t)st.st_size / bytes;
	return fd;
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void run_io(unsigned process, struct result *r)
{
	uint64_t places, k = process * 1000003u;
	float *samples = malloc(MAX_SAMPLES * sizeof(*samples));
	int is_write = strcmp(mode, "write") == 0;
	char *buf;
	int fd = open_data(&places, &buf, 1);
	double start = now_s(), t = start, end = start + seconds;

	while (t < end && r->ops < MAX_SAMPLES) {
		off_t pos = next_place(&k, places);
		ssize_t n = is_write ? pwrite(fd, buf, bytes, pos) : pread(fd, buf, bytes, pos);
		double u = now_s();

		if (n != (ssize_t)bytes)
			die(mode);
		samples[r->ops++] = (float)(u - t);
		t = u;
	}
	r->seconds = t - start;
	qsort(samples, r->ops, sizeof(*samples), compare);
	r->median_us = samples[r->ops / 2] * 1e6;
}

static void submit(aio_context_t ctx, struct iocb *cb, uint64_t *k, uint64_t places)
{
	struct iocb *list[1] = { cb };

	cb->aio_offset = next_place(k, places);
	if (syscall(SYS_io_submit, ctx, 1L, list) != 1)
		die("io_submit");
}

static void run_depth(unsigned depth, struct result *r)
{
	uint64_t places, k = 0;
	struct io_event events[MAX_DEPTH];
	struct iocb cbs[MAX_DEPTH] = { { 0 } };
	aio_context_t ctx = 0;
	char *buf;
	int fd = open_data(&places, &buf, depth);
	double start = now_s(), end = start + seconds;

	if (syscall(SYS_io_setup, depth, &ctx))
		die("io_setup");
	for (unsigned i = 0; i < depth; i++) {
		cbs[i].aio_data = i;
		cbs[i].aio_lio_opcode = IOCB_CMD_PREAD;
		cbs[i].aio_fildes = (uint32_t)fd;
		cbs[i].aio_buf = (uintptr_t)(buf + i * bytes);
		cbs[i].aio_nbytes = bytes;
		submit(ctx, &cbs[i], &k, places);
	}
	while (now_s() < end) {
		long n = syscall(SYS_io_getevents, ctx, 1L, (long)depth, events, NULL);

		for (long i = 0; i < n; i++) {
			if (events[i].res != (int64_t)bytes)
				die("aio read");
			submit(ctx, &cbs[events[i].data], &k, places);
		}
		r->ops += n > 0 ? (uint64_t)n : 0;
	}
	r->seconds = now_s() - start;
}

static void one_name(const char *name)
{
	struct stat st;
	int fd;

	if (strcmp(mode, "create") == 0) {
		fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd < 0 || write(fd, name, 100) != 100 || close(fd))
			die("create");
	} else if (strcmp(mode, "stat") == 0 ? stat(name, &st) : unlink(name)) {
		die(mode);
	}
}

static void run_names(unsigned process, struct result *r)
{
	char name[128] = "";
	double start = now_s();

	for (unsigned long i = 0; i < number; i++) {
		snprintf(name, sizeof(name), "file-%u-%06lu", process, i);
		one_name(name);
	}
	r->ops = number;
	r->seconds = now_s() - start;
}

static void list_once(struct result *r)
{
	DIR *d = opendir(".");
	double start = now_s();
	struct dirent *e;
	struct stat st;

	if (!d)
		die("opendir");
	for (r->ops = 0; (e = readdir(d)); r->ops++)
		if (stat(e->d_name, &st))
			die("stat");
	r->seconds = now_s() - start;
	closedir(d);
}

static void run(unsigned process, unsigned count)
{
	struct result *r = &results[process];

	if (strcmp(mode, "read") == 0 || strcmp(mode, "write") == 0) {
		run_io(process, r);
	} else if (strcmp(mode, "depth") == 0) {
		run_depth(count, r);
	} else if (strcmp(mode, "list") == 0) {
		list_once(r);
		list_once(r);
	} else {
		run_names(process, r);
	}
}

/* A process each, as programs are; the sum of their rates. */
static void run_all(unsigned processes, unsigned count)
{
	double rate = 0, median = 0;
	int status = 0;

	for (unsigned p = 1; p < processes; p++) {
		if (fork() == 0) {
			run(p, count);
			_exit(0);
		}
	}
	run(0, count);
	while (wait(&status) > 0)
		if (status)
			exit(1);
	for (unsigned p = 0; p < processes; p++) {
		rate += (double)results[p].ops / results[p].seconds;
		median += results[p].median_us / processes;
	}
	printf("%.1f %.2f\n", rate, median);
}

int main(int argc, char **argv)
{
	int is_io = argc == 6, is_names = argc == 5;
	unsigned count = argc > 4 ? (unsigned)strtoul(argv[argc - 1], NULL, 10) : 0;

	if ((!is_io && !is_names) || count == 0 || count > MAX_DEPTH) {
		fprintf(stderr, "usage: see the head of bench/requests.c\n");
		return 2;
	}
	mode = argv[1];
	path = argv[2];
	if (is_io) {
		bytes = strtoul(argv[3], NULL, 10);
		seconds = strtod(argv[4], NULL);
	} else {
		number = strtoul(argv[3], NULL, 10);
		if (chdir(path))
			die("chdir");
	}
	results = mmap(NULL, MAX_PROCESSES * sizeof(*results), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED)
		die("mmap");
	run_all(strcmp(mode, "depth") == 0 ? 1 : count > MAX_PROCESSES ? MAX_PROCESSES : count,
		count);
	return 0;
}
