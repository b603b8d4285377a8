/*
 * Where the daemon's messages go: standard error, then the system log once it is in the
 * background.
 */
#ifndef FOLIOFS_FRONT_LOGSINK_H
#define FOLIOFS_FRONT_LOGSINK_H

#include "base/types.h"

/*
 * name: the program's name before each line on standard error. background: what is not a problem
 * goes to the system log alone, problems to both until logsink_detach().
 */
void logsink_start(const char *name, bool background);
/* The terminal is not ours any more: only the system log from here on. */
void logsink_detach(void);

#endif
