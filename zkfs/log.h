/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's log: one line each, to stderr in the foreground, to syslog in the background. */
#ifndef ZKFS_LOG_H
#define ZKFS_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Before the first line: where it goes. Until then, and in the foreground: stderr. */
void log_open(bool to_syslog);

/* May be called at any time from any thread. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* "error", "warn", "info", "debug" -> level; -EINVAL for anything else. */
int log_level_parse(const char *name, enum log_level *level);
const char *log_level_name(enum log_level level);

/* One line, lower case, without the newline; never data or credentials. Any thread. */
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_msg(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_msg(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_msg(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_get_level() >= LOG_LEVEL_DEBUG)                                            \
			log_msg(LOG_LEVEL_DEBUG, __VA_ARGS__);                                     \
	} while (0)

/* Writes "zkfs: ..." to stderr and exits with status 1. Only before the mount is up. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
