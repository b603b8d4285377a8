/*
 * What the kernel says about direct I/O on a file.
 *
 * In a file of its own because <linux/stat.h> (with fields that the C library of Debian 12 does not
 * know yet) can't be included beside <sys/stat.h>.
 */
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "blk/blk_priv.h"

u32 blk_dio_align(int fd)
{
	struct statx sx = { 0 };

	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) ||
	    !(sx.stx_mask & STATX_DIOALIGN))
		return 512;
	return sx.stx_dio_offset_align;
}
