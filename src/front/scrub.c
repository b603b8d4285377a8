/*
 * The scrub thread, and what can be asked of it.
 *
 * Rules
 * 1. The control thread starts, stops and joins; the scrub thread writes the state and the list of
 *    damage, under `lock`.
 * 2. The list holds the first DAMAGE_MAX lines; the counters count on, and each goes to the log.
 */
#include "front/scrub.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/size.h"
#include "base/time.h"
#include "check/scrub.h"

#define DAMAGE_MAX 1000u

struct scrub_job {
	struct fs *fs;
	pthread_t thread;
	bool joinable;          /* control thread alone */
	bool stop;              /* atomic */
	u64 rate;
	struct scrub_state st;
	struct mutex lock;      /* RANK_STAT: all below */
	bool running, ever;
	int result;
	u64 began, ended;
	char *damage[DAMAGE_MAX];
	u32 nr_damage;
};

static bool stop_asked(void *arg)
{
	return __atomic_load_n(&((struct scrub_job *)arg)->stop, __ATOMIC_RELAXED);
}

static void note_damage(void *arg, const char *text)
{
	struct scrub_job *j = arg;

	log_err("scrub: %s", text);
	mutex_lock(&j->lock);
	if (j->nr_damage < DAMAGE_MAX) {
		j->damage[j->nr_damage] = strdup(text);
		j->nr_damage += j->damage[j->nr_damage] != NULL;
	}
	mutex_unlock(&j->lock);
}

static void *scrub_main(void *arg)
{
	struct scrub_job *j = arg;
	struct scrub_opts o = { .rate = j->rate, .stop = stop_asked, .damage = note_damage,
				.arg = j };
	int r;

	pthread_setname_np(pthread_self(), "folio-scrub");
	r = scrub_run(j->fs, &o, &j->st);

	mutex_lock(&j->lock);
	j->running = false;
	j->result = r;
	j->ended = now_ns();
	mutex_unlock(&j->lock);
	return NULL;
}

static void forget_damage(struct scrub_job *j)
{
	for (u32 i = 0; i < j->nr_damage; i++)
		free(j->damage[i]);
	j->nr_damage = 0;
}

static void join(struct scrub_job *j)
{
	if (j->joinable)
		pthread_join(j->thread, NULL);
	j->joinable = false;
}

static int scrub_start(struct scrub_job *j, const char *rate)
{
	bool running;
	int err = *rate ? parse_size(rate, &j->rate) : 0;

	if (err)
		return err;
	if (!*rate)
		j->rate = 0;
	mutex_lock(&j->lock);
	running = j->running;
	mutex_unlock(&j->lock);
	if (running)
		return -EBUSY;
	join(j);
	forget_damage(j);
	j->st = (struct scrub_state){ 0 };
	j->stop = false;
	j->running = j->ever = true;
	j->began = now_ns();
	err = -pthread_create(&j->thread, NULL, scrub_main, j);
	j->joinable = !err;
	j->running = !err;
	return err;
}

static const char *state_word(const struct scrub_job *j)
{
	return !j->ever ? "never" : j->running ? "running" : j->result == 0 ? "finished"
	       : j->result == -EINTR ? "stopped" : "failed";
}

static void scrub_status(struct scrub_job *j, FILE *out)
{
	mutex_lock(&j->lock);
	fprintf(out, "state %s\n", state_word(j));
	if (j->ever) {
		u64 end = j->running ? now_ns() : j->ended;

		fprintf(out, "elapsed_ms %" PRIu64 "\n", (u64)((end - j->began) / NS_PER_MS));
		fprintf(out, "rate_limit %" PRIu64 "\n", j->rate);
		fprintf(out, "metadata_bytes %" PRIu64 "\n", j->st.meta_done * SECTOR_SIZE);
		fprintf(out, "data_bytes %" PRIu64 "\n", j->st.data_done * SECTOR_SIZE);
		fprintf(out, "data_total %" PRIu64 "\n", j->st.data_total * SECTOR_SIZE);
		fprintf(out, "metadata_errors %" PRIu64 "\n", j->st.meta_errors);
		fprintf(out, "data_errors %" PRIu64 "\n", j->st.data_errors);
		if (j->result && !j->running)
			fprintf(out, "error %s\n", err_text(j->result));
		for (u32 i = 0; i < j->nr_damage; i++)
			fprintf(out, "damage %s\n", j->damage[i]);
	}
	mutex_unlock(&j->lock);
}

int scrub_command(struct scrub_job *j, const char *arg, FILE *out)
{
	if (strcmp(arg, "start") == 0)
		return scrub_start(j, "");
	if (strncmp(arg, "start ", 6) == 0)
		return scrub_start(j, arg + 6);
	if (strcmp(arg, "stop") == 0) {
		__atomic_store_n(&j->stop, true, __ATOMIC_RELAXED);
		join(j);
		return 0;
	}
	if (*arg && strcmp(arg, "status") != 0)
		return -EINVAL;
	scrub_status(j, out);
	return 0;
}

struct scrub_job *scrub_job_new(struct fs *fs)
{
	struct scrub_job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->fs = fs;
	mutex_init(&j->lock, RANK_STAT);
	return j;
}

void scrub_job_free(struct scrub_job *j)
{
	if (!j)
		return;
	__atomic_store_n(&j->stop, true, __ATOMIC_RELAXED);
	join(j);
	forget_damage(j);
	mutex_fini(&j->lock);
	free(j);
}
