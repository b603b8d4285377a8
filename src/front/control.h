/* The control socket of the daemon; the protocol is in include/foliofs/control.h. */
#ifndef FOLIOFS_FRONT_CONTROL_H
#define FOLIOFS_FRONT_CONTROL_H

#include "base/types.h"

struct front;
struct control;

/* Starts the thread that answers. Not having a socket is no reason to fail a mount: warn only. */
int control_start(struct front *fr, const char *image, const char *point, struct control **out);
/* No command runs after this; clients in "wait" stay connected. NULL is allowed. */
void control_stop(struct control *c);
/* Tells those who wait how it ended (0 or -errno), and removes the socket. Frees. */
void control_end(struct control *c, int error);

/* The directory of sockets for mounts of this user, if it was made by this process; else -errno. */
int control_dir(u32 uid, char *buf, size_t len);

#endif
