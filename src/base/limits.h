/* Limits that several layers agree on. Limits of one layer live in that layer. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#include "base/types.h"

#define LIMIT_NAME 255u                     /* bytes in a file name */
#define LIMIT_SYMLINK 4095u                 /* bytes in a symbolic link */
#define LIMIT_XATTR_NAME 255u               /* bytes, with the namespace prefix */
#define LIMIT_XATTR_VALUE 65536u            /* bytes; the kernel's own limit */
#define LIMIT_LINKS 65000u                  /* hard links to one inode */
#define LIMIT_LABEL 64u                     /* bytes of the label of a file system, with its 0 */
#define LIMIT_FILE_SIZE (((u64)1 << 63) - 1) /* bytes of the longest file; EFBIG beyond */
#define LIMIT_DEVICE_SECTORS ((u64)1 << 44) /* 64 PiB */

#define LIMIT_CACHE_MIN ((u64)16 << 20) /* smallest cache_size */
#define LIMIT_CACHE_MAX ((u64)2 << 40)  /* largest: what frame words of 4 bytes can name */

#endif
