/* The damaged images: each a change of the sample, and what repairing it may cost. */
#ifndef TESTS_IMAGE_DAMAGE_H
#define TESTS_IMAGE_DAMAGE_H

#include "check/check.h"
#include "sample.h"

struct damage {
	const char *name;
	void (*fn)(struct sample *s);
	enum check_code code;           /* must be among what is found */
	u32 gone, different;            /* names that may be, at most */
	bool large, dirty;              /* the sample to begin with */
};

extern const struct damage damages[];
extern const unsigned nr_damages;

#endif
