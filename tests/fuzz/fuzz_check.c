/* A whole image, damaged below its checksums, through every pass of the check and every dump. */
#include "fuzz.h"

#include <stdio.h>

#include "base/err.h"
#include "check/check.h"
#include "check/dump.h"

static void dump_all(struct blk_dev *dev, FILE *out)
{
	static const char *const word[][2] = {
		{ "info", NULL }, { "super", NULL }, { "groups", NULL }, { "tree", "inode" },
		{ "tree", "dirent" }, { "tree", "extent" }, { "tree", "xattr" },
		{ "tree", "orphan" }, { "inode", "1" }, { "inode", "5" }, { "journal", NULL },
	};
	struct dump *d;

	if (dump_open(dev, true, &d))
		return;
	for (size_t i = 0; i < ARRAY_LEN(word); i++)
		dump_print(d, word[i][0], word[i][1], false, out);
	dump_close(d);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static FILE *out;
	struct fuzz_input in = { data, size };
	u8 how = (u8)fuzz_take(&in, 1);
	enum fuzz_base which = how % FUZZ_NR_BASES;
	struct blk_dev *dev = fuzz_image(which);
	struct check_result res;

	if (!out)
		out = fopen("/dev/null", "w");
	fuzz_damage(dev, which, &in);
	check_run(dev, NULL, &res);
	if (how & 4)
		dump_all(dev, out);
	blk_close(dev);
	return 0;
}
