/* The scrub of a mounted file system: a thread of its own, commanded over the control socket. */
#ifndef FOLIOFS_FRONT_SCRUB_H
#define FOLIOFS_FRONT_SCRUB_H

#include <stdio.h>

#include "fs/fs.h"

struct scrub_job;

struct scrub_job *scrub_job_new(struct fs *fs);     /* NULL: no memory */
/* Stops one that runs and waits for it. NULL is allowed. */
void scrub_job_free(struct scrub_job *j);
/* "start [BYTES-A-SECOND]", "stop", "status" or "". -EBUSY: one runs; -EINVAL: not understood. */
int scrub_command(struct scrub_job *j, const char *arg, FILE *out);

#endif
