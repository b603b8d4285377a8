/*
 * Memory errors of the daemon: SIGBUS with BUS_MCEERR_AO or BUS_MCEERR_AR.
 *
 * In the cache's arena they are dealt with by a thread (cache_mend_memory()); anywhere else the
 * daemon ends with a message, as after a power cut.
 */
#ifndef FOLIOFS_FRONT_MEMERR_H
#define FOLIOFS_FRONT_MEMERR_H

/*
 * Once, with the cache there, before any thread that serves. One in a process. 0 or -errno: memory
 * errors then end the daemon, as they do every program.
 */
int memerr_start(void);
/* Ends the thread. Before cache_fini(). */
void memerr_stop(void);

#endif
