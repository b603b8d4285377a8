/*
 * Memory errors of the arena: which frames the machine has given up, and how they are replaced.
 *
 * The kernel takes a bad frame away from us: every access of a thread raises SIGBUS, and system
 * calls that would copy from it fail with EFAULT, EIO or EHWPOISON. So a bad frame never shows
 * wrong bytes, to nobody. That stays so by one rule:
 *
 *	a bad frame is replaced, in one step, by a page that already holds bytes which everybody
 *	who may look there is allowed to see
 *
 * that is: the same bytes, read again; or those of a write that covers the frame; or anything, if
 * nobody can rely on its contents (the frame is free, or its sector is not uptodate). Until then it
 * stays bad. Who replaces holds the folio lock of the folio that the frame belongs to, with no
 * writeback of it under way; free frames are replaced by mem under its own lock.
 *
 * Threads that come upon a bad frame themselves get out of the access by a guard: mem_guarded().
 */
#ifndef FOLIOFS_MEM_BAD_H
#define FOLIOFS_MEM_BAD_H

#include "mem/mem.h"

extern u32 mem_nr_bad;           /* frames that are bad and not replaced; atomic */

/* The one thing that users of memory look at as long as all is well. */
static inline bool mem_any_bad(void)
{
	return unlikely(__atomic_load_n(&mem_nr_bad, __ATOMIC_RELAXED) != 0);
}

/*
 * The machine says that 1 << lsb bytes around addr are lost. For signal handlers: takes no lock and
 * calls nothing. False: they are not in the arena.
 */
bool mem_note_error(const void *addr, unsigned lsb);
/* Does the range touch a bad frame? */
bool mem_is_bad(const void *addr, size_t len);
/* The first bad frame at or after *frame; false: there is none. */
bool mem_next_bad(u32 *frame);

/*
 * A new page in the place of a frame of the arena, with these contents (a sector; NULL: zeroes).
 * -ENOMEM, -errno: the frame is as before. See the rule above. Tell ring_memory_changed()
 * afterwards.
 */
int mem_replace(void *addr, const void *contents);
/* The same for a frame that belongs to no folio. -EBUSY: it does, or is being moved. */
int mem_replace_free(u32 frame);

/*
 * Runs fn(arg), and ends it with -EHWPOISON where it comes upon a bad frame. So fn takes no lock,
 * allocates nothing, and what it has done until then does not matter. Else 0. Not nested.
 */
int mem_guarded(void (*fn)(void *arg), void *arg);
/* Copies and clears sector by sector in ascending order: behind the bad one nothing is changed. */
int mem_copy(void *to, const void *from, size_t len);
int mem_zero(void *to, size_t len);
/*
 * For the signal handler, with its third argument: leaves the guard that this thread is in, with
 * the signal mask from before. Returns if it is in none.
 */
void mem_guard_leave(const void *context);

/* For mem.c. */
int bad_init(u32 nr_frames);
void bad_fini(void);
u64 bad_bytes(void);

#endif
