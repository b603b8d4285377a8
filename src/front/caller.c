/*
 * Who makes a request: from its head, or from /proc. A caller waits for a request that was received
 * even when it is killed, so the number is the caller's until the answer.
 */
#include "front/caller.h"

#include <stdio.h>

u32 caller_uid(const struct req *rq)
{
	char path[32], line[128];
	u32 uid = CALLER_UNKNOWN;
	FILE *f;

	if (rq->in->uid != CALLER_UNKNOWN || rq->in->pid == 0)
		return rq->in->uid;
	snprintf(path, sizeof(path), "/proc/%u/status", rq->in->pid);
	f = fopen(path, "re");
	if (!f)
		return uid;
	/* Real, effective, saved, and that for files. */
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Uid: %*u %*u %*u %u", &uid) == 1)
			break;
	fclose(f);
	return uid;
}
