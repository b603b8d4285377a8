/*
 * Who makes a request.
 *
 * A kernel with idmapped mounts (Linux 6.12) sends ids only with what makes an inode: they are its
 * owner's, as the mount maps them. With all other requests come none, for default_permissions lets
 * the kernel check. The few that are ours to check ask here.
 */
#ifndef FOLIOFS_FRONT_CALLER_H
#define FOLIOFS_FRONT_CALLER_H

#include "front/req.h"

/*
 * The user id for files of who makes the request; CALLER_UNKNOWN if that can't be found out (it is
 * in no process namespace that we see), which has no rights. May read a file in /proc: not for what
 * comes often.
 */
#define CALLER_UNKNOWN UINT32_MAX
u32 caller_uid(const struct req *rq);

#endif
