/* What follows from the times at which requests come: decided by given clock readings. */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check_main.h"
#include "front/awake.h"
#include "front/follow.h"
#include "front/pace.h"
#include "front/cpugroup.h"
#include "ring/ring.h"

#define AUTO UINT64_MAX

/* n requests, each received wait_ns after the answer to the last, and served in 1 us. */
static u64 run(struct pace *p, u64 now, unsigned n, u64 wait_ns)
{
	while (n--) {
		now += wait_ns;
		pace_received(p, now, 100);
		now += 1000;
		pace_answered(p, now);
	}
	return now;
}

START_TEST(a_thread_spins_only_where_requests_come_sooner_than_a_spin_lasts)
{
	struct pace p;
	u64 now;

	pace_init(&p, AUTO);
	ck_assert_uint_eq(pace_spin_ns(&p, false, false), 0);
	now = run(&p, 1000000, 200, 10000);
	ck_assert_uint_eq(pace_spin_ns(&p, false, false), PACE_SPIN_AUTO_NS);
	ck_assert_uint_eq(pace_spin_ns(&p, true, false), 0);
	ck_assert_uint_eq(pace_spin_ns(&p, false, true), 0);
	run(&p, now, 200, 100000);
	ck_assert_uint_eq(pace_spin_ns(&p, false, false), 0);
}
END_TEST

START_TEST(spins_in_vain_take_less_than_a_tenth_of_the_time)
{
	struct pace p;
	u64 spun = 0, now = 1000000;

	pace_init(&p, AUTO);
	now = run(&p, now, 200, 15000);
	for (int i = 0; i < 20000; i++) {
		u64 spin = pace_spin_ns(&p, false, false);

		spun += spin;
		if (spin)
			pace_spun(&p, false);
		now = run(&p, now, 1, 15000);
	}
	ck_assert_uint_gt(spun, 0);
	ck_assert_uint_lt(spun, (now - 1000000) / 10);
}
END_TEST

START_TEST(a_spin_that_finds_a_request_is_followed_by_the_next)
{
	struct pace p;

	pace_init(&p, AUTO);
	run(&p, 1000000, 200, 5000);
	for (int i = 0; i < 100; i++) {
		ck_assert_uint_eq(pace_spin_ns(&p, false, false), PACE_SPIN_AUTO_NS);
		pace_spun(&p, true);
	}
}
END_TEST

START_TEST(poll_off_never_spins_and_a_number_always_does)
{
	struct pace p;

	pace_init(&p, 0);
	run(&p, 1000000, 200, 5000);
	ck_assert_uint_eq(pace_spin_ns(&p, false, false), 0);
	pace_init(&p, 70);
	ck_assert_uint_eq(pace_spin_ns(&p, false, false), 70000);
	pace_spun(&p, false);
	ck_assert_uint_eq(pace_spin_ns(&p, false, false), 70000);
	ck_assert_uint_eq(pace_spin_ns(&p, true, false), 0);
	ck_assert_uint_eq(pace_spin_ns(&p, false, true), 70000);
}
END_TEST

START_TEST(a_request_that_was_there_is_told_from_one_that_was_waited_for)
{
	struct pace p;

	pace_init(&p, AUTO);
	pace_answered(&p, 1000000);
	ck_assert(pace_received(&p, 1001000, 100));
	ck_assert(!pace_received(&p, 1006000, 100));
	ck_assert(pace_received(&p, 1100000, 1 << 20));
	ck_assert(!pace_received(&p, 1500000, 1 << 20));
}
END_TEST

START_TEST(a_long_silence_is_forgotten_after_a_few_requests)
{
	struct pace p;
	u64 now;

	pace_init(&p, AUTO);
	now = run(&p, 1000000, 1, 0);
	now = run(&p, now + 3600000000000ull, 1, 10000);
	run(&p, now, 64, 10000);
	ck_assert_uint_lt(p.interval_ns, 250000);
}
END_TEST

START_TEST(the_caller_of_many_requests_is_followed_until_others_come)
{
	struct follow f;
	u64 now = 1000000000;
	cpu_set_t before, set;

	sched_getaffinity(0, sizeof(before), &before);
	follow_init(&f, true);
	if (!f.on)
		return;
	for (int i = 0; i < 100; i++)
		follow_request(&f, (u32)getpid(), false, now += 10000);
	ck_assert(follow_bound(&f));
	sched_getaffinity(0, sizeof(set), &set);
	ck_assert_int_eq(CPU_COUNT(&set), 1);
	for (int i = 0; i < 100; i++)
		follow_request(&f, 0, false, now += 10000);
	ck_assert(follow_bound(&f));
	for (int i = 0; i < 10; i++)
		follow_request(&f, 1, false, now += 10000);
	ck_assert(!follow_bound(&f));
	sched_getaffinity(0, sizeof(set), &set);
	ck_assert(CPU_EQUAL(&set, &before));
}
END_TEST

/* The affinity of a thread of this process by its name. */
static bool affinity_of(const char *name, cpu_set_t *set)
{
	bool found = false;
	struct dirent *d;
	DIR *dir = opendir("/proc/self/task");

	ck_assert_ptr_nonnull(dir);
	while (!found && (d = readdir(dir))) {
		char path[300], comm[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", d->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		found = fgets(comm, sizeof(comm), f) && !strncmp(comm, name, strlen(name)) &&
			!sched_getaffinity(atoi(d->d_name), sizeof(*set), set);
		fclose(f);
	}
	closedir(dir);
	return found;
}

START_TEST(the_reaper_keeps_off_the_cpu_of_a_bound_receiver)
{
	struct follow f;
	u64 now = 1000000000;
	cpu_set_t set, all;

	follow_init(&f, true);
	if (!f.on || ring_shared_start())
		return;
	ck_assert(affinity_of("folio-reaper", &all));
	for (int i = 0; i < 100; i++)
		follow_request(&f, (u32)getpid(), false, now += 10000);
	ck_assert(follow_bound(&f));
	ck_assert(affinity_of("folio-reaper", &set));
	ck_assert(!CPU_ISSET(f.cpu, &set));
	ck_assert_int_eq(CPU_COUNT(&set), CPU_COUNT(&all) - 1);
	follow_fini(&f);
	ck_assert(affinity_of("folio-reaper", &set));
	ck_assert(CPU_EQUAL(&set, &all));
	ring_shutdown();
}
END_TEST

START_TEST(who_goes_on_for_a_sleeper_follows_whom_that_one_followed)
{
	struct follow f, g;
	u64 now = 1000000000;

	follow_init(&f, true);
	follow_init(&g, true);
	if (!f.on)
		return;
	/* Another caller is believed after 8, and bound to after 32 more. */
	for (int i = 0; i < 39; i++)
		follow_request(&f, (u32)getpid(), false, now += 10000);
	ck_assert(!follow_bound(&f));
	/* The count goes on, */
	follow_adopt(&g, follow_mark(&f));
	for (int i = 0; i < 2; i++)
		follow_request(&g, (u32)getpid(), false, now += 10000);
	ck_assert(follow_bound(&g));
	/* and the place, */
	follow_adopt(&f, follow_mark(&g));
	ck_assert_int_eq(f.cpu, g.cpu);
	/* but not for one more receiver. */
	follow_adopt(&f, 0);
	ck_assert(!follow_bound(&f));
	follow_fini(&g);
}
END_TEST

/* Each look takes as long as serving some requests. */
START_TEST(a_caller_that_stays_where_it_is_is_looked_for_less_and_less)
{
	struct follow f;
	u64 now = 1000000000;
	cpu_set_t before;

	sched_getaffinity(0, sizeof(before), &before);
	follow_init(&f, true);
	if (!f.on)
		return;
	/* Ten seconds of a request each 100 us. */
	for (int i = 0; i < 100000; i++)
		follow_request(&f, (u32)getpid(), false, now += 100000);
	ck_assert(follow_bound(&f));
	ck_assert_uint_ge(f.looks, 10000 / 64);
	ck_assert_uint_le(f.looks, 10000 / 64 + 6);
	sched_setaffinity(0, sizeof(before), &before);
}
END_TEST

static struct mover {
	pthread_barrier_t step;
	u32 tid;
	int cpu[2];
} mover;

static void *move_main(void *arg)
{
	struct mover *m = arg;

	m->tid = (u32)gettid();
	for (int i = 0; i < 2; i++) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(m->cpu[i], &set);
		ck_assert_int_eq(sched_setaffinity(0, sizeof(set), &set), 0);
		pthread_barrier_wait(&m->step);
		pthread_barrier_wait(&m->step);
	}
	return NULL;
}

START_TEST(a_caller_that_moves_is_found_within_the_longest_time_between_two_looks)
{
	struct mover *m = &mover;
	struct follow f;
	u64 now = 1000000000;
	cpu_set_t before;
	pthread_t t;
	int nr = 0;

	sched_getaffinity(0, sizeof(before), &before);
	follow_init(&f, true);
	if (!f.on)
		return;
	for (int i = 0; nr < 2; i++)
		if (CPU_ISSET(i, &before))
			m->cpu[nr++] = i;
	pthread_barrier_init(&m->step, NULL, 2);
	ck_assert_int_eq(pthread_create(&t, NULL, move_main, m), 0);
	for (int i = 0; i < 2; i++) {
		pthread_barrier_wait(&m->step);
		for (int n = 0; n < (i ? 650 : 5000); n++)
			follow_request(&f, m->tid, false, now += 100000);
		ck_assert_int_eq(f.cpu, m->cpu[i]);
		pthread_barrier_wait(&m->step);
	}
	pthread_join(t, NULL);
	pthread_barrier_destroy(&m->step);
	sched_setaffinity(0, sizeof(before), &before);
}
END_TEST

START_TEST(requests_that_queue_up_and_unseen_callers_are_not_followed)
{
	struct follow f;
	u64 now = 1000000000;

	follow_init(&f, true);
	for (int i = 0; i < 100; i++)
		follow_request(&f, (u32)getpid(), i % 2, now += 10000);
	ck_assert(!follow_bound(&f));
	follow_init(&f, true);
	for (int i = 0; i < 100; i++)
		follow_request(&f, UINT32_MAX / 2, false, now += 10000);
	ck_assert(!follow_bound(&f));
	follow_init(&f, false);
	for (int i = 0; i < 100; i++)
		follow_request(&f, (u32)getpid(), false, now += 10000);
	ck_assert(!follow_bound(&f));
}
END_TEST

START_TEST(the_cpu_of_a_thread_is_one_that_exists)
{
	int cpu = follow_cpu_of((u32)getpid());

	ck_assert_int_ge(cpu, 0);
	ck_assert_int_lt(cpu, (int)sysconf(_SC_NPROCESSORS_CONF));
	ck_assert_int_lt(follow_cpu_of(UINT32_MAX / 2), 0);
}
END_TEST

START_TEST(quotas_of_both_kinds_of_control_group_are_read)
{
	ck_assert(cpugroup_quota_line("50000 100000\n"));
	ck_assert(cpugroup_quota_line("50000\n"));
	ck_assert(!cpugroup_quota_line("max 100000\n"));
	ck_assert(!cpugroup_quota_line("-1\n"));
	ck_assert(!cpugroup_quota_line(""));
}
END_TEST

START_TEST(the_controller_that_schedules_is_told_from_its_namesakes)
{
	ck_assert(cpugroup_has_cpu("cpu"));
	ck_assert(cpugroup_has_cpu("cpu,cpuacct"));
	ck_assert(cpugroup_has_cpu("cpuacct,cpu"));
	ck_assert(!cpugroup_has_cpu("cpuacct"));
	ck_assert(!cpugroup_has_cpu("cpuset,memory"));
	ck_assert(!cpugroup_has_cpu("name=cpu"));
}
END_TEST

START_TEST(the_number_of_runnable_tasks_is_read)
{
	ck_assert_uint_eq(awake_runnable("4.45 4.30 2.93 13/175 2574\n"), 13);
	ck_assert_uint_eq(awake_runnable("0.00 0.00 0.00 1/80 99\n"), 1);
	ck_assert_uint_eq(awake_runnable("nothing"), 0);
	ck_assert_uint_eq(awake_runnable(""), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pace");

	check_add(s, a_thread_spins_only_where_requests_come_sooner_than_a_spin_lasts);
	check_add(s, spins_in_vain_take_less_than_a_tenth_of_the_time);
	check_add(s, a_spin_that_finds_a_request_is_followed_by_the_next);
	check_add(s, poll_off_never_spins_and_a_number_always_does);
	check_add(s, a_request_that_was_there_is_told_from_one_that_was_waited_for);
	check_add(s, a_long_silence_is_forgotten_after_a_few_requests);
	check_add(s, the_caller_of_many_requests_is_followed_until_others_come);
	check_add(s, the_reaper_keeps_off_the_cpu_of_a_bound_receiver);
	check_add(s, who_goes_on_for_a_sleeper_follows_whom_that_one_followed);
	check_add(s, a_caller_that_stays_where_it_is_is_looked_for_less_and_less);
	check_add(s, a_caller_that_moves_is_found_within_the_longest_time_between_two_looks);
	check_add(s, requests_that_queue_up_and_unseen_callers_are_not_followed);
	check_add(s, the_cpu_of_a_thread_is_one_that_exists);
	check_add(s, quotas_of_both_kinds_of_control_group_are_read);
	check_add(s, the_controller_that_schedules_is_told_from_its_namesakes);
	check_add(s, the_number_of_runnable_tasks_is_read);
	return check_main(s);
}
