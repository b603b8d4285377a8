/*
 * Commands of the control socket about the cache: drop, state, set, frag, trace. Their lines and
 * answers are described in include/foliofs/control.h.
 *
 * Locking: none here; each takes a reference to the inode that it is about.
 */
#include "front/control_cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/size.h"
#include "front/front.h"
#include "stat/trace.h"

/* "INODE [POSITION [LENGTH]]"; without the latter to the end. */
struct place {
	struct inode *ip;
	u64 pos, len;
};

static int place_get(struct front *fr, const char *arg, struct place *p)
{
	u64 ino;
	int n;

	p->pos = 0;
	p->len = UINT64_MAX;
	n = sscanf(arg, "%" SCNu64 " %" SCNu64 " %" SCNu64, &ino, &p->pos, &p->len);
	if (n < 1 || ino == 0)
		return -EINVAL;
	return fs_iget(fr->fs, ino, &p->ip);
}

/* The mapping of the file that the command is about. */
static int file_get(struct front *fr, const char *arg, struct place *p, struct mapping **m)
{
	int err = place_get(fr, arg, p);

	if (err)
		return err;
	*m = fs_mapping(p->ip);
	if (*m)
		return 0;
	fs_iput(p->ip);
	return -EINVAL;
}

static int run_drop(struct front *fr, const char *arg, FILE *out)
{
	struct place p = { 0 };
	u64 bytes;
	int err = *arg ? place_get(fr, arg, &p) : 0;

	if (err)
		return err;
	bytes = p.ip ? fs_drop_range(p.ip, p.pos, p.len) : fs_drop_cache(fr->fs, NULL);
	if (p.ip)
		fs_iput(p.ip);
	fprintf(out, "%llu\n", (unsigned long long)bytes);
	return 0;
}

static int run_state(struct front *fr, const char *arg, FILE *out)
{
	static const char *const names[] = { "normal", "low", "high" };
	enum cache_priority priority;
	struct cache_state s;
	struct mapping *m;
	struct place p;
	u64 end, budget;
	int err = file_get(fr, arg, &p, &m);

	if (err)
		return err;
	end = p.len > UINT64_MAX - p.pos ? UINT64_MAX : p.pos + p.len;
	end = MIN(end, MAX(fs_size(p.ip), p.pos));
	cache_state(m, p.pos >> SECTOR_SHIFT, bytes_to_sectors_up(end), &s);
	budget = cache_budget(m, &priority);
	fs_iput(p.ip);
	fprintf(out, "cached %llu\ndirty %llu\nwriteback %llu\nevicted %llu\n"
		     "recently_evicted %llu\nfolios %llu\nbudget %llu\npriority %s\n",
		(unsigned long long)s.cached << SECTOR_SHIFT,
		(unsigned long long)s.dirty << SECTOR_SHIFT,
		(unsigned long long)s.writeback << SECTOR_SHIFT, (unsigned long long)s.evicted,
		(unsigned long long)s.recently_evicted, (unsigned long long)s.folios,
		(unsigned long long)budget, names[priority]);
	return 0;
}

/* "KEY=VALUE" into what is set now. */
static int set_one(const char *word, u64 *budget, enum cache_priority *priority)
{
	if (strcmp(word, "budget=none") == 0) {
		*budget = 0;
		return 0;
	}
	if (strncmp(word, "budget=", 7) == 0)
		return parse_size(word + 7, budget) ? -EINVAL : *budget ? 0 : -EINVAL;
	if (strcmp(word, "priority=low") == 0)
		*priority = CACHE_LOW;
	else if (strcmp(word, "priority=normal") == 0)
		*priority = CACHE_NORMAL;
	else if (strcmp(word, "priority=high") == 0)
		*priority = CACHE_HIGH;
	else
		return -EINVAL;
	return 0;
}

/* "INODE KEY=VALUE..." */
static int run_set(struct front *fr, const char *arg, FILE *out UNUSED)
{
	enum cache_priority priority;
	char words[128], *save = NULL;
	struct mapping *m;
	struct place p;
	u64 budget;
	int err;

	if (strlen(arg) >= sizeof(words))
		return -EINVAL;
	err = file_get(fr, arg, &p, &m);
	if (err)
		return err;
	budget = cache_budget(m, &priority);
	strcpy(words, arg);
	strtok_r(words, " ", &save);
	for (char *w = strtok_r(NULL, " ", &save); w && !err; w = strtok_r(NULL, " ", &save))
		err = set_one(w, &budget, &priority);
	if (!err)
		err = cache_set(m, budget, priority);
	fs_iput(p.ip);
	return err;
}

static int frag_file(struct front *fr, const char *arg, FILE *out)
{
	struct fs_frag_file f;
	struct mapping *m;
	struct place p;
	int err = file_get(fr, arg, &p, &m);

	if (err)
		return err;
	err = fs_frag_file(p.ip, &f);
	fs_iput(p.ip);
	if (!err)
		fprintf(out, "extents %llu\ngaps %llu\nbytes %llu\nlongest %llu\n",
			(unsigned long long)f.extents, (unsigned long long)f.gaps,
			(unsigned long long)f.sectors << SECTOR_SHIFT,
			(unsigned long long)f.longest << SECTOR_SHIFT);
	return err;
}

static int run_frag(struct front *fr, const char *arg, FILE *out)
{
	struct fs_frag_space s;
	int err;

	if (*arg)
		return frag_file(fr, arg, out);
	err = fs_frag_space(fr->fs, &s);
	if (err)
		return err;
	fprintf(out, "runs %llu\nbytes %llu\nlongest %llu\n", (unsigned long long)s.runs,
		(unsigned long long)s.sectors << SECTOR_SHIFT,
		(unsigned long long)s.longest << SECTOR_SHIFT);
	for (unsigned k = 0; k < FS_FRAG_ORDERS; k++)
		fprintf(out, "run_%llu %llu\n", 1ull << (k + SECTOR_SHIFT),
			(unsigned long long)s.by_order[k] << SECTOR_SHIFT);
	return 0;
}

static int run_trace(struct front *fr UNUSED, const char *arg, FILE *out)
{
	char *text = NULL;
	size_t len;
	u64 next = 0, lost;
	FILE *f;
	int err = *arg ? parse_u64(arg, 0, UINT64_MAX, &next) : 0;

	if (err)
		return err;
	f = open_memstream(&text, &len);
	if (!f)
		return -ENOMEM;
	stat_trace_print(&next, &lost, f);
	err = fclose(f) ? -ENOMEM : 0;
	if (!err)
		fprintf(out, "next %llu lost %llu\n%s", (unsigned long long)next,
			(unsigned long long)lost, text);
	free(text);
	return err;
}

control_fn control_cache_command(const char *name)
{
	static const struct {
		const char *name;
		control_fn run;
	} commands[] = {
		{ "drop", run_drop }, { "state", run_state }, { "set", run_set },
		{ "frag", run_frag }, { "trace", run_trace },
	};

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].run;
	return NULL;
}
