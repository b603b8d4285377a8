/*
 * For the fuzz targets: taking an input apart, and a file system to damage with it.
 *
 * A target is one file with LLVMFuzzerTestOneInput(). Built with clang and -Dfuzz=true it is a
 * libFuzzer program; built otherwise, main.c runs it over files, so that the corpus is a unit test
 * of every build.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "blk/blk.h"
#include "format/format.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

struct fuzz_input {
	const u8 *at;
	size_t left;
};

/* A little-endian number of so many bytes; zeroes when the input is used up. */
u64 fuzz_take(struct fuzz_input *in, unsigned bytes);

/*
 * The file system to damage: files inline and with extents, a sparse one, links, directories of
 * some depth, xattrs of all sizes, an unlinked file; with a log to replay, or unmounted in order.
 * Always the same bytes but for the times.
 */
enum fuzz_base { FUZZ_DIRTY, FUZZ_CLEAN, FUZZ_NR_BASES };

/* A new device with a copy of it, which costs little. */
struct blk_dev *fuzz_image(enum fuzz_base which);
const struct fmt_geo *fuzz_geo(void);

/* As it should be, over whatever the bytes are. */
void fuzz_seal_super(struct fmt_super *sb);

/*
 * Changes metadata as the input says, to its end, and makes the checksums right again (but where
 * the input says not to): damage that no checksum stops.
 */
void fuzz_damage(struct blk_dev *dev, enum fuzz_base which, struct fuzz_input *in);

#endif
