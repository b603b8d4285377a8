/*
 * Ranks, waits and futexes. The rank rules exist only with FOLIOFS_LOCK_RANKS; without it the tests
 * that need an abort are left out. An abort is looked for in a child process.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/futex.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/time.h"
#include "check_main.h"

static struct mutex outer, inner;
static struct rwlock rw, rw2;
static struct cond cond;

static void setup(void)
{
	mutex_init(&outer, RANK_HANDLE);
	mutex_init(&inner, RANK_MEM);
	rwlock_init(&rw, RANK_INODE);
	rwlock_init(&rw2, RANK_INODE);
	cond_init(&cond);
}

START_TEST(locks_in_rank_order_are_taken)
{
	setup();
	rwlock_rdlock(&rw);
	mutex_lock(&outer);
	mutex_lock(&inner);
	lock_assert_held(RANK_MEM);
	mutex_unlock(&outer); /* any order of release */
	mutex_unlock(&inner);
	rwlock_unlock(&rw);
	lock_assert_none_held_from(RANK_CTL);
}
END_TEST

START_TEST(trylock_refuses_a_held_lock_and_is_free_of_the_order)
{
	setup();
	mutex_lock(&inner);
	ck_assert(mutex_trylock(&outer));
	ck_assert(!mutex_trylock(&outer));
	mutex_unlock(&outer);
	mutex_unlock(&inner);
	ck_assert(rwlock_tryrdlock(&rw));
	ck_assert(!rwlock_trywrlock(&rw));
	rwlock_unlock(&rw);
	ck_assert(rwlock_trywrlock(&rw));
	rwlock_unlock(&rw);
}
END_TEST

START_TEST(two_inodes_are_locked_by_the_nested_call)
{
	setup();
	/* Always in one order, as the caller of _nested must see to. */
	rwlock_wrlock(&rw);
	rwlock_wrlock_nested(&rw2);
	rwlock_unlock(&rw);
	rwlock_unlock(&rw2);
	rwlock_rdlock(&rw);
	rwlock_rdlock_nested(&rw2);
	rwlock_unlock(&rw2);
	rwlock_unlock(&rw);
}
END_TEST

#ifdef FOLIOFS_LOCK_RANKS

static void ignore_line(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

static void against_the_order(void)
{
	mutex_lock(&inner);
	mutex_lock(&outer);
}

static void same_rank_twice(void)
{
	rwlock_rdlock(&rw);
	rwlock_rdlock(&rw2);
}

static void io_under_a_handle(void)
{
	mutex_lock(&outer);
	lock_assert_may_io();
}

static void wait_with_an_inner_lock(void)
{
	mutex_lock(&outer);
	mutex_lock(&inner);
	cond_timedwait_ms(&cond, &outer, 1);
}

static void unlock_what_is_not_held(void)
{
	mutex_unlock(&outer);
}

static bool aborts(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		log_set_sink(ignore_line, NULL);
		fn();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

START_TEST(breaking_the_order_aborts)
{
	setup();
	ck_assert(aborts(against_the_order));
	ck_assert(aborts(same_rank_twice));
	ck_assert(aborts(io_under_a_handle));
	ck_assert(aborts(wait_with_an_inner_lock));
	ck_assert(aborts(unlock_what_is_not_held));
}
END_TEST

#endif

START_TEST(io_is_allowed_under_an_inode_lock)
{
	setup();
	rwlock_rdlock(&rw);
	lock_assert_may_io();
	rwlock_unlock(&rw);
}
END_TEST

static bool ready;

static void *make_ready(void *arg)
{
	(void)arg;
	mutex_lock(&outer);
	ready = true;
	cond_broadcast(&cond);
	mutex_unlock(&outer);
	return NULL;
}

START_TEST(a_condition_wakes_its_waiter)
{
	pthread_t t;

	setup();
	mutex_lock(&outer);
	ck_assert_int_eq(pthread_create(&t, NULL, make_ready, NULL), 0);
	while (!ready)
		cond_wait(&cond, &outer);
	mutex_unlock(&outer);
	pthread_join(t, NULL);
}
END_TEST

START_TEST(a_timed_wait_ends_by_itself_and_not_early)
{
	u64 start = now_ns();

	setup();
	mutex_lock(&outer);
	while (cond_timedwait_ms(&cond, &outer, 20))
		;
	mutex_unlock(&outer);
	ck_assert_uint_ge(now_ns() - start, 20 * NS_PER_MS);
}
END_TEST

static u32 word;

static void *change_word(void *arg)
{
	(void)arg;
	__atomic_store_n(&word, 1, __ATOMIC_RELEASE);
	futex_wake(&word, INT_MAX);
	return NULL;
}

START_TEST(a_futex_sleeps_only_while_the_word_is_as_expected)
{
	pthread_t t;

	word = 0;
	ck_assert_int_eq(futex_wait(&word, 1, -1), -EAGAIN);
	ck_assert_int_eq(futex_wait(&word, 0, 5), -ETIMEDOUT);
	ck_assert_int_eq(pthread_create(&t, NULL, change_word, NULL), 0);
	while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0)
		futex_wait(&word, 0, -1);
	pthread_join(t, NULL);
}
END_TEST

static long counter;

static void *count_up(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000; i++) {
		rwlock_wrlock(&rw);
		counter++;
		rwlock_unlock(&rw);
	}
	return NULL;
}

START_TEST(a_write_lock_excludes_other_writers)
{
	pthread_t t[4];

	setup();
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, count_up, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(counter, 80000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lock");

	check_add(s, locks_in_rank_order_are_taken);
	check_add(s, trylock_refuses_a_held_lock_and_is_free_of_the_order);
	check_add(s, two_inodes_are_locked_by_the_nested_call);
#ifdef FOLIOFS_LOCK_RANKS
	check_add(s, breaking_the_order_aborts);
#endif
	check_add(s, io_is_allowed_under_an_inode_lock);
	check_add(s, a_condition_wakes_its_waiter);
	check_add(s, a_timed_wait_ends_by_itself_and_not_early);
	check_add(s, a_futex_sleeps_only_while_the_word_is_as_expected);
	check_add(s, a_write_lock_excludes_other_writers);
	return check_main(s);
}
