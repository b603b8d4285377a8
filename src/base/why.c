/* The words, names and errors of the reasons of damage. */
#include "base/why.h"

#include <errno.h>
#include <stddef.h>

#define OLDER " (older versions)"

static const struct {
	const char *name, *words;
} rows[WHY_NR] = {
	[WHY_NONE] = { "NONE", "nothing wrong" },
#define ROW(nr, id, words) [nr] = { #id, words },
#define ROW_OLD(nr, id, words) [nr] = { "OLD_" #id, words OLDER },
	WHY_ROWS(ROW, ROW_OLD)
#undef ROW
#undef ROW_OLD
};

const char *why_text(enum why why)
{
	return (size_t)why < WHY_NR && rows[why].words ? rows[why].words : "unknown reason";
}

const char *why_name(enum why why)
{
	return (size_t)why < WHY_NR ? rows[why].name : NULL;
}

int why_errno(enum why why)
{
	switch (why) {
	case WHY_NONE:
		return 0;
	case WHY_SB_MAGIC:
		return -EINVAL;
	case WHY_SB_VERSION:
	case WHY_SB_FEATURES:
		return -EOPNOTSUPP;
	case WHY_SB_CHECKSUM:
	case WHY_HDR_CHECKSUM:
	case WHY_JNL_TXN_CHECKSUM:
		return -EBADMSG;
	default:
		return -EUCLEAN;
	}
}
