/*
 * What happens in a world (world.h): each act is one operation on the file system, which must
 * succeed, and its trace in the memory of the world. What an act promises is noted when it has
 * returned. Who calls sees to it that it can succeed: names free or there, types right.
 *
 * w->focus and w->focus_dir are what the act was about: what a program would fsync next.
 */
#ifndef TESTS_SIM_ACT_H
#define TESTS_SIM_ACT_H

#include "world.h"

/* ---- names; dir is a node's id ---- */
struct world_node *act_make(struct world *w, u32 dir, u32 name, u32 mode);
struct world_node *act_symlink(struct world *w, u32 dir, u32 name, u32 target_len);
/* A file without a name gets one. */
struct world_node *act_name_tmpfile(struct world *w, u32 dir, u32 name);
void act_link(struct world *w, const struct world_entry *e, u32 dir, u32 name);
void act_remove(struct world *w, struct world_entry *e);       /* a directory must be empty */
/* Over what has that name, if anything: of the same type and not the same inode. */
void act_rename(struct world *w, struct world_entry *e, u32 dir, u32 name);
void act_exchange(struct world *w, struct world_entry *x, struct world_entry *y);

/* ---- data of regular files; what lies beyond WORLD_FILE_MAX is cut off ---- */
void act_write(struct world *w, struct world_node *n, u64 pos, u64 len);
void act_write_sync(struct world *w, struct world_node *n, u64 pos, u64 len);  /* O_DSYNC */
/* From the start of src to the start of dst. */
void act_copy(struct world *w, struct world_node *src, struct world_node *dst, u64 len);
void act_truncate(struct world *w, struct world_node *n, u64 size);
void act_fallocate(struct world *w, struct world_node *n, int mode, u64 pos, u64 len);

/* ---- attributes ---- */
void act_setattr(struct world *w, struct world_node *n, u32 mode, u32 uid);
void act_setxattr(struct world *w, struct world_node *n, u32 i, size_t len);
void act_removexattr(struct world *w, struct world_node *n, u32 i);     /* it is set */

/* ---- open files: one at a time, perhaps without a name ---- */
void act_hold(struct world *w, struct world_node *n);
void act_release(struct world *w);

/* ---- what makes durable, and what the daemon does by itself ---- */
void act_fsync(struct world *w, struct world_node *n, bool datasync);
void act_sync(struct world *w);
void act_tick(struct world *w);
void act_checkpoint(struct world *w);
void act_checkpoint_some(struct world *w);      /* the oldest of what is changed */
/* As the flusher: written, and not waited for durability. */
void act_write_back(struct world *w, struct world_node *n);
void act_remount(struct world *w);      /* in order */

#endif
