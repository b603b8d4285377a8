/* Numbers of the daemon as a whole that statistics show beside the counters. */
#ifndef FOLIOFS_FRONT_GAUGE_H
#define FOLIOFS_FRONT_GAUGE_H

struct front;

/* -ENOMEM. */
int gauges_add(struct front *fr);
void gauges_del(void);

#endif
