/* What a thread is doing: the variable and the names. */
#include "base/work.h"

__thread struct work work_current = { .kind = WORK_RUN };

const char *work_text(u16 kind)
{
	switch (kind) {
#define WORK_NAME(nr, id, name)                                                                    \
	case nr:                                                                                   \
		return name;
		WORK_ROWS(WORK_NAME)
#undef WORK_NAME
	}
	return NULL;
}
