/*
 * The io_uring transport: FUSE requests through io_uring, a queue for each CPU.
 *
 * Each queue is served by threads on its CPU, each with a ring of its own and one entry: memory for
 * one request and its answer. One system call gives an answer and takes the next request.
 * /dev/fuse (session.c) goes on serving what the kernel does not send this way: INIT, FORGET,
 * INTERRUPT; and everything, where there is no such transport.
 */
#ifndef FOLIOFS_FRONT_URING_H
#define FOLIOFS_FRONT_URING_H

#include "base/types.h"

struct front;
struct uring;

/*
 * Threads, rings and memory; the kernel knows nothing of them yet. Returns 0 when all of them are
 * there, else why not: -ENOSYS (no io_uring), -EINVAL (too old), -ENOMEM (memory, locked memory),
 * -EAGAIN (threads).
 */
int uring_new(struct front *fr, unsigned per_cpu, struct uring **out);
/* The kernel is being told, by the answer to INIT: take requests as soon as it has it. */
void uring_go(struct uring *u);
/* Requests go this way: no thread was refused. */
bool uring_serves(const struct uring *u);
/* Every thread ends after its present request; one that holds DESTROY waits for uring_free(). */
void uring_stop(struct uring *u);
/* Answers DESTROY if one is held. */
void uring_free(struct uring *u);
/* Bytes of entries and answers. */
u64 uring_memory(const struct uring *u);
unsigned uring_threads(const struct uring *u);

/* How many threads for each CPU, by the option threads= (0: not given) and the number of CPUs. */
unsigned uring_per_cpu(u64 threads, unsigned cpus);

#endif
