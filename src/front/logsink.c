/*
 * The daemon's log sink.
 *
 * Rules
 * 1. In the foreground everything goes to standard error.
 * 2. In the background the system log gets everything, and standard error gets warnings and errors
 *    as long as somebody waits for the start.
 *
 * Locking: base/log.h serialises the calls; the flags change while there is one thread, and
 * `detached` at a moment when a line more or less on the terminal does not matter (atomic).
 */
#include <stdio.h>
#include <syslog.h>

#include "base/log.h"
#include "front/logsink.h"

static const char *program = "foliofs";
static bool to_syslog;
static bool detached;

static int priority(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERR: return LOG_ERR;
	case LOG_LEVEL_WARN: return LOG_WARNING;
	case LOG_LEVEL_INFO: return LOG_INFO;
	case LOG_LEVEL_DEBUG: break;
	}
	return LOG_DEBUG;
}

static void sink(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	if (to_syslog)
		syslog(priority(level), "%s", line);
	if (__atomic_load_n(&detached, __ATOMIC_RELAXED))
		return;
	if (!to_syslog || level <= LOG_LEVEL_WARN)
		fprintf(stderr, "%s: %s\n", program, line);
}

void logsink_start(const char *name, bool background)
{
	program = name;
	to_syslog = background;
	if (background)
		openlog("foliofs", LOG_PID, LOG_DAEMON);
	log_set_sink(sink, NULL);
}

void logsink_detach(void)
{
	__atomic_store_n(&detached, true, __ATOMIC_RELAXED);
}
