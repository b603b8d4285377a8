/*
 * The log sink: one place where lines leave the library.
 *
 * Rules
 * 1. A line is formatted into a buffer on the stack: logging needs no memory and can't fail.
 * 2. The sink runs under the log mutex, the innermost lock of all (RANK_LOG), so lines never mix.
 * 3. errno is the same before and after.
 *
 * Who may call: everybody, in any thread, with any lock held.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/lock.h"

static struct mutex log_mutex = MUTEX_INIT(RANK_LOG);
static log_sink_fn log_sink;	/* guarded by log_mutex */
static void *log_sink_arg;	/* guarded by log_mutex */
static int log_max_level = LOG_LEVEL_INFO;	/* relaxed atomic */

void log_set_sink(log_sink_fn fn, void *arg)
{
	mutex_lock(&log_mutex);
	log_sink = fn;
	log_sink_arg = arg;
	mutex_unlock(&log_mutex);
}

void log_set_level(enum log_level level)
{
	__atomic_store_n(&log_max_level, (int)level, __ATOMIC_RELAXED);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= __atomic_load_n(&log_max_level, __ATOMIC_RELAXED);
}

const char *log_level_name(enum log_level level)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };

	return (size_t)level < ARRAY_LEN(names) ? names[level] : "?";
}

static void log_deliver(enum log_level level, const char *line)
{
	static __thread bool in_sink;

	/* Only an assertion that fails inside the sink comes here: it must still be heard. */
	if (in_sink) {
		fprintf(stderr, "foliofs: %s\n", line);
		return;
	}
	in_sink = true;
	mutex_lock(&log_mutex);
	if (log_sink)
		log_sink(level, line, log_sink_arg);
	else
		fprintf(stderr, "foliofs: %s\n", line);
	mutex_unlock(&log_mutex);
	in_sink = false;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	int saved_errno = errno;
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	log_deliver(level, line);
	errno = saved_errno;
}
