/*
 * Messages to the person who runs FolioFS. Library layers never print: they call log_*(), and the
 * front end or the tool decides with log_set_sink() where lines go (standard error by default).
 *
 * A message is one line without a newline at its end. Any thread may log, with any lock held: the
 * sink must not call back into FolioFS and must not log.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/types.h"

enum log_level {
	LOG_LEVEL_ERR,   /* data or service is lost */
	LOG_LEVEL_WARN,  /* something works less well than asked for */
	LOG_LEVEL_INFO,  /* what was chosen at start, mount and unmount */
	LOG_LEVEL_DEBUG, /* for developers */
};

/* Longer messages are cut. */
#define LOG_LINE_MAX 1024

/* Gets a complete line (no newline); calls are serialised. */
typedef void (*log_sink_fn)(enum log_level level, const char *line, void *arg);

/* NULL restores the default sink: "foliofs: LINE" on standard error. */
void log_set_sink(log_sink_fn fn, void *arg);

/* Messages less urgent than @level are dropped. Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
const char *log_level_name(enum log_level level);

void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_err(...) log_write(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (unlikely(log_enabled(LOG_LEVEL_DEBUG)))                                        \
			log_write(LOG_LEVEL_DEBUG, __VA_ARGS__);                                   \
	} while (0)

#endif
