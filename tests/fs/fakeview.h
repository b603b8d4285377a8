/*
 * A journal without a disk, for tests of what runs in bodies: buffers in memory, views, handles,
 * busy space. It gives the test control over what the real one does when it likes:
 *  - any buffer can be "not in memory" when a run touches it first (-EAGAIN, the body runs again);
 *  - published contents can be read and damaged;
 *  - space stays busy until the test commits.
 * Every private copy is freed at the end of its run, so a pointer kept too long is found by ASan.
 * A program that links this gets the functions of journal.h from here.
 */
#ifndef TESTS_FAKEVIEW_H
#define TESTS_FAKEVIEW_H

#include "journal/journal.h"

/* Root sector and group table of an empty file system; no bitmap and no map is initialised. */
struct jnl *fake_new(const struct fmt_geo *geo, void *host, u64 seed);
void fake_free(struct jnl *j);
/* How many of 100 first touches of a buffer in a run find it missing. */
void fake_set_missing(struct jnl *j, unsigned percent);
/* Published contents, NULL if there are none. */
void *fake_buf(struct jnl *j, u64 addr);
/* Busy ranges that a handle left behind and no commit has ended. */
bool fake_is_busy(struct jnl *j, u64 sector, u64 nr);
u64 fake_runs_again(struct jnl *j);
/* A hash over all published buffers: has anything changed? */
u64 fake_hash(struct jnl *j);

#endif
