/*
 * Binding a receiver to the CPU of its caller.
 *
 * Rules
 * 1. SAME_MIN requests in a row of one thread, each of which had to be waited for, bind; the CPU is
 *    looked up again while they go on. Requests of the kernel (write-back, RELEASE) say nothing.
 *    OTHERS_MAX requests of other threads, or requests that queue up, unbind: then running beside
 *    the callers is worth more.
 * 2. A look costs as much as serving several requests (five system calls, and the kernel writes a
 *    line of fifty numbers), while the caller waits for the CPU that it shares. So each look that
 *    finds nothing new puts the next one off for twice as long, LOOK_MIN_NS to LOOK_MAX_NS.
 * 3. A thread that can't be seen (another pid name space) is not followed.
 *
 * 4. The reaper of the ring (ring/shared.c) computes for long, the checksums of what was read, and
 *    is woken beside the receiver that began those reads. It keeps off the CPUs of bound receivers
 *    as long as that leaves it one.
 *
 * Locking: a receiver owns its struct follow; `placed` has a lock of its own, held by threads that
 * hold no other.
 */
#include "front/follow.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/time.h"
#include "ring/ring.h"

#define SAME_MIN 32u
#define OTHERS_MAX 8u
#define LOOK_MIN_NS (2 * NS_PER_MS)
#define LOOK_MAX_NS (64 * NS_PER_MS)
#define STAT_FIELD_CPU 39

/* In the thread that follows. */
void follow_init(struct follow *f, bool on)
{
	*f = (struct follow){ .cpu = -1, .look_ns = LOOK_MIN_NS };
	f->on = on && sched_getaffinity(0, sizeof(f->all), &f->all) == 0 && CPU_COUNT(&f->all) > 1;
}

/* Field 39 of /proc/PID/stat, counted behind the name, which may hold anything. */
static int parse_cpu(char *text)
{
	char *save = NULL, *word, *name_end = strrchr(text, ')');
	int field = 2;

	if (!name_end)
		return -EINVAL;
	for (word = strtok_r(name_end + 1, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (++field == STAT_FIELD_CPU)
			return atoi(word);
	return -EINVAL;
}

int follow_cpu_of(u32 pid)
{
	char path[40], text[1024];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	return parse_cpu(text);
}

static struct {
	struct mutex lock;
	u32 bound[CPU_SETSIZE];         /* receivers */
} placed = { .lock = MUTEX_INIT(RANK_CTL) };

/* A receiver was bound to a CPU, and is to another; -1: none. */
static void place_reaper(const struct follow *f, int from, int to)
{
	cpu_set_t set = f->all;

	mutex_lock(&placed.lock);
	if (from >= 0)
		placed.bound[from]--;
	if (to >= 0)
		placed.bound[to]++;
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (placed.bound[i])
			CPU_CLR(i, &set);
	ring_shared_place(CPU_COUNT(&set) ? &set : &f->all);
	mutex_unlock(&placed.lock);
}

static void bind_to(struct follow *f, int cpu)
{
	cpu_set_t set;

	if (cpu == f->cpu || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &f->all))
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) == 0) {
		place_reaper(f, f->cpu, cpu);
		f->cpu = cpu;
	}
}

static void unbind(struct follow *f)
{
	if (f->cpu >= 0 && sched_setaffinity(0, sizeof(f->all), &f->all) == 0) {
		place_reaper(f, f->cpu, -1);
		f->cpu = -1;
	}
	f->others = 0;
	f->look_ns = LOOK_MIN_NS;
}

/* Where is it now? */
static void look(struct follow *f, u64 now_ns)
{
	int cpu = follow_cpu_of(f->pid), was = f->cpu;
	u64 last = f->look_ns;

	f->looked_ns = now_ns;
	f->looks++;
	if (cpu >= 0)
		bind_to(f, cpu);
	else
		unbind(f);
	f->look_ns = cpu == was || (cpu < 0 && was < 0)
			     ? MIN_T(u64, 2 * last, LOOK_MAX_NS) : LOOK_MIN_NS;
}

void follow_fini(struct follow *f)
{
	unbind(f);
}

u64 follow_mark(const struct follow *f)
{
	return (u64)f->pid << 32 | (u64)MIN(f->same, SAME_MIN) << 16 | (u16)(f->cpu + 1);
}

void follow_adopt(struct follow *f, u64 mark)
{
	int cpu = (int)(u16)mark - 1;

	if (!f->on)
		return;
	f->pid = (u32)(mark >> 32);
	f->same = (u16)(mark >> 16);
	f->others = 0;
	if (cpu >= 0)
		bind_to(f, cpu);
	else
		unbind(f);
}

void follow_request(struct follow *f, u32 pid, bool queued, u64 now_ns)
{
	if (!f->on || pid == 0)
		return;
	if (queued || pid != f->pid) {
		f->same = 0;
		if (++f->others < OTHERS_MAX)
			return;
		unbind(f);
		f->pid = pid;
		return;
	}
	f->others = 0;
	if (++f->same >= SAME_MIN && now_ns - f->looked_ns >= f->look_ns)
		look(f, now_ns);
}
