/* Private to src/stat: all numbers at one moment, in the form that the renderers share. */
#ifndef STAT_SNAPSHOT_H
#define STAT_SNAPSHOT_H

#include "stat/stat.h"

enum stat_kind {
	STAT_KIND_COUNTER, /* value */
	STAT_KIND_GAUGE,   /* value */
	STAT_KIND_RATIO,   /* ratio, or nothing when has_ratio is false */
	STAT_KIND_HIST,    /* hist */
};

struct stat_row {
	enum stat_kind kind;
	const char *name, *label, *unit, *help;
	u64 value;
	double ratio;
	bool has_ratio;
	const struct stat_hist *hist; /* inside the snapshot's block */
};

struct stat_snapshot {
	struct stat_block *sum;
	struct stat_row *rows;
	size_t nr_rows;
};

/* -ENOMEM */
int stat_snapshot_new(struct stat_snapshot *out);
void stat_snapshot_free(struct stat_snapshot *snap);

/* The three renderers; errors of @f are left in its error flag. -ENOMEM. */
int stat_render_people(const struct stat_snapshot *snap, FILE *f);
int stat_render_json(const struct stat_snapshot *snap, FILE *f);
int stat_render_prometheus(const struct stat_snapshot *snap, FILE *f);

#endif
