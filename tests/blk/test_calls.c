/*
 * The system calls of the io_uring backend: no read, write, pread or pwrite touches an image.
 * Method: the program runs itself under strace with the argument --io, which does I/O of all
 * kinds on a file, and looks for the file in the trace. The sync backend shows that the method
 * would see it.
 */
#include "blk_test.h"

#include <sys/wait.h>

static const char *self;

static void do_io(bool sync)
{
	struct blk_opts opts = { .size = 16 << 20, .sync = sync };
	u8 *buf = aligned_alloc(SECTOR_SIZE, 4 << 20);
	struct blk_dev *dev;
	struct iovec iov[2];

	memset(buf, 1, 4 << 20);
	iov[0] = (struct iovec){ buf, SECTOR_SIZE };
	iov[1] = (struct iovec){ buf + 2 * SECTOR_SIZE, SECTOR_SIZE };
	if (blk_open("calls.img", BLK_RDWR | BLK_CREATE, &opts, &dev))
		exit(1);
	for (unsigned i = 0; i < 4; i++)
		if (blk_write(dev, i, buf, 1, BLK_DATA) || blk_writev(dev, i, iov, 2, BLK_META) ||
		    blk_read(dev, i, buf + 1, 1, BLK_DATA) || blk_readv(dev, i, iov, 2, BLK_META))
			exit(1);
	if (blk_write(dev, 0, buf, 1024, BLK_LOG) || blk_flush(dev))
		exit(1);
	blk_close(dev);
	exit(0);
}

/* Lines of the trace in which a transfer names the image; -1 if strace does not work here. */
static int transfers_seen(const char *mode)
{
	char cmd[1024], line[512];
	int seen = 0, lines = 0;
	FILE *f;

	/* The leak check needs ptrace for itself. */
	snprintf(cmd, sizeof(cmd),
		 "ASAN_OPTIONS=detect_leaks=0 strace -f -y "
		 "-e trace=read,write,pread64,pwrite64,readv,writev,preadv,pwritev,"
		 "preadv2,pwritev2,openat -o calls.trace '%s' %s 2>/dev/null", self, mode);
	if (system(cmd))
		return -1;
	f = fopen("calls.trace", "r");
	while (f && fgets(line, sizeof(line), f)) {
		lines++;
		seen += strstr(line, "calls.img") && !strstr(line, "openat(");
	}
	if (f)
		fclose(f);
	unlink("calls.trace");
	unlink("calls.img");
	return lines ? seen : -1;
}

START_TEST(io_uring_makes_no_read_or_write_call_on_the_image)
{
	ck_assert_int_eq(transfers_seen("--io"), 0);
}
END_TEST

START_TEST(the_sync_backend_is_seen_by_the_same_trace)
{
	ck_assert_int_ge(transfers_seen("--sync"), 17);
}
END_TEST

int main(int argc, char **argv)
{
	struct ring *r;
	Suite *s;

	if (argc == 2)
		do_io(!strcmp(argv[1], "--sync"));
	self = argv[0];
	if (transfers_seen("--sync") < 0)
		return check_skip_all("strace does not work here");
	if (ring_local(&r))
		return check_skip_all("no io_uring here");
	s = suite_create("calls");
	check_add(s, io_uring_makes_no_read_or_write_call_on_the_image);
	check_add(s, the_sync_backend_is_seen_by_the_same_trace);
	return check_main(s);
}
