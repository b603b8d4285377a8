/*
 * Options, capabilities and figures of all rings of the process.
 *
 * Invariants:
 * 1. A feature that the kernel refused once is not asked for again in this process; the first
 *    refusal is logged, with its reason, and the rest are silent.
 *
 * Locking: options are guarded by opts_lock; features and counts are atomics that order nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/lock.h"
#include "base/log.h"
#include "ring/ring_priv.h"

static struct mutex opts_lock = MUTEX_INIT(RANK_RING);
static struct ring_opts options;        /* guarded by opts_lock */
static bool options_known;              /* guarded by opts_lock */

static _Atomic int lost[RING_NR_FEATURES];
static _Atomic u64 counts[RING_NR_COUNTS];

static const char *const feature_text[RING_NR_FEATURES] = {
	[RING_F_RING] = "io_uring",
	[RING_F_FIXED] = "registered memory",
	[RING_F_CLONE] = "one registration for all rings",
	[RING_F_VECTOR] = "vectors in registered memory",
	[RING_F_FILES] = "registered files",
};

static void parse_word(const char *word)
{
	if (!strcmp(word, "off"))
		options.off = true;
	else if (!strcmp(word, "no-fixed"))
		options.no_fixed = true;
	else if (!strcmp(word, "no-clone"))
		options.no_clone = true;
	else if (!strcmp(word, "no-vector"))
		options.no_vector = true;
	else if (!strcmp(word, "no-files"))
		options.no_files = true;
	else if (!strcmp(word, "plain-setup"))
		options.plain_setup = true;
	else
		log_warn("FOLIOFS_RING: unknown word '%s'", word);
}

static void parse_environment(void)
{
	const char *env = getenv("FOLIOFS_RING");
	char buf[128], *save = NULL;

	options_known = true;
	if (!env)
		return;
	snprintf(buf, sizeof(buf), "%s", env);
	for (char *w = strtok_r(buf, ",", &save); w; w = strtok_r(NULL, ",", &save))
		parse_word(w);
}

void ring_opts_set(const struct ring_opts *opts)
{
	mutex_lock(&opts_lock);
	options = *opts;
	options_known = true;
	mutex_unlock(&opts_lock);
	for (unsigned i = 0; i < RING_NR_FEATURES; i++)
		atomic_store_explicit(&lost[i], 0, memory_order_relaxed);
}

void ring_opts_get(struct ring_opts *opts)
{
	mutex_lock(&opts_lock);
	if (!options_known)
		parse_environment();
	*opts = options;
	mutex_unlock(&opts_lock);
}

void ring_feature_lost(enum ring_feature f, int err)
{
	int none = 0;

	if (atomic_compare_exchange_strong_explicit(&lost[f], &none, err, memory_order_relaxed,
						    memory_order_relaxed))
		log_info("%s not used: %s%s", feature_text[f], err_text(err),
			 f == RING_F_FIXED && err == -ENOMEM ? " (locked memory limit)" : "");
}

bool ring_feature_ok(enum ring_feature f)
{
	return atomic_load_explicit(&lost[f], memory_order_relaxed) == 0;
}

void ring_count(enum ring_count which)
{
	atomic_fetch_add_explicit(&counts[which], 1, memory_order_relaxed);
}

static u64 count_of(enum ring_count which)
{
	return atomic_load_explicit(&counts[which], memory_order_relaxed);
}

void ring_counts_get(struct ring_counts *c)
{
	*c = (struct ring_counts){
		.enters = count_of(RING_ENTERS),
		.fixed = count_of(RING_FIXED),
		.fixed_vector = count_of(RING_FIXED_VECTOR),
		.plain = count_of(RING_PLAIN),
		.continued = count_of(RING_CONTINUED),
		.chunks = count_of(RING_CHUNKS),
		.clones = count_of(RING_CLONES),
		.rings = count_of(RING_RINGS),
	};
}

static bool is_used(enum ring_feature f, const struct ring_opts *o)
{
	const bool off[RING_NR_FEATURES] = { o->off, o->no_fixed, o->no_clone || o->no_fixed,
					    o->no_vector, o->no_files };

	return !off[f] && ring_feature_ok(f);
}

const char *ring_describe(char *buf, size_t len)
{
	struct ring_opts o;
	size_t n;

	ring_opts_get(&o);
	if (!is_used(RING_F_RING, &o)) {
		snprintf(buf, len, "no io_uring");
		return buf;
	}
	n = (size_t)snprintf(buf, len, "io_uring");
	for (unsigned f = RING_F_FIXED; f < RING_NR_FEATURES && n < len; f++)
		if (is_used(f, &o))
			n += (size_t)snprintf(buf + n, len - n, ", %s", feature_text[f]);
	return buf;
}
