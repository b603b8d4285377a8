/*
 * The record of errors for who has a journal and no mounted file system (repair). For mounted ones
 * see fs.h.
 */
#ifndef FOLIOFS_FS_ERRORS_H
#define FOLIOFS_FS_ERRORS_H

#include "fs/fs.h"
#include "journal/journal.h"

/*
 * Joins the record now, durable with the next commit. No lock of RANK_HANDLE or further inside;
 * may do I/O. -EROFS, -EUCLEAN and the like: nothing was recorded.
 */
int fs_error_record(struct jnl *j, const struct fs_error *e);

#endif
