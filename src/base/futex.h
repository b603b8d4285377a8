/*
 * Waiting on a 32-bit word that others change, for locks that are one bit of a flag word (folios).
 * The word changes first, then the changer wakes.
 */
#ifndef BASE_FUTEX_H
#define BASE_FUTEX_H

#include "base/types.h"

/*
 * Sleeps while *@word is @expected, at most @timeout_ms milliseconds (-1: no limit). Returns 0 when
 * woken (perhaps without reason: look at the word again), -EAGAIN when the word was different,
 * -ETIMEDOUT. A signal counts as a wake-up.
 */
int futex_wait(u32 *word, u32 expected, s64 timeout_ms);

/* Wakes at most @nr sleepers (INT_MAX: all); returns how many. */
int futex_wake(u32 *word, int nr);

#endif
