/*
 * Threads that read requests from /dev/fuse and answer them. Each has a device of its own (a clone
 * of the mount's), so that requests in flight are not serialised on one queue lock, and a request
 * buffer whose data part starts on a page.
 */
#ifndef FOLIOFS_FRONT_SESSION_H
#define FOLIOFS_FRONT_SESSION_H

#include <signal.h>

#include "base/types.h"

struct front;
struct session;

/* Interrupts the sleep of a thread that serves requests, so that it sees that it is to end. */
#define SESSION_WAKE_SIGNAL SIGUSR2

/* fd: the device of the mount; stays the caller's. -ENOMEM, -EAGAIN (no threads). */
int session_new(struct front *fr, int fd, unsigned nr_threads, struct session **out);
/* The kernel has ended the connection (unmounted or aborted). */
bool session_ended(const struct session *s);
/* Makes every thread end after its present request, and waits for them. */
void session_stop(struct session *s);
void session_free(struct session *s);   /* stopped before */
unsigned session_threads(const struct session *s);
/* Bytes of request and answer buffers, outside the cache. */
u64 session_memory(const struct session *s);

#endif
