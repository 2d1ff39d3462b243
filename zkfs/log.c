/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's log. Entered by every thread, owns no lock: each line is put together on the caller's stack and
 * leaves in one write(2) or syslog(3), so lines of different threads never mix.
 */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_LONGEST 1024

static _Atomic enum log_level current_level = LOG_LEVEL_INFO;
static atomic_bool use_syslog;

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
	[LOG_LEVEL_WARN] = { "warn", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

#define LEVELS (sizeof(levels) / sizeof(levels[0]))

void log_open(bool to_syslog)
{
	if (to_syslog)
		openlog("zkfs", LOG_PID, LOG_DAEMON);
	atomic_store(&use_syslog, to_syslog);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return atomic_load_explicit(&current_level, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < LEVELS; i++) {
		if (strcmp(name, levels[i].name) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	return (size_t)level < LEVELS ? levels[level].name : "unknown";
}

/* One write(2): lines stay whole among threads. What stderr does not take is lost, there is no one to tell. */
static void write_line(const char *prefix, const char *text)
{
	char line[LINE_LONGEST + 32];
	int len = snprintf(line, sizeof(line) - 1, "zkfs: %s%s", prefix, text);

	if (len < 0)
		return;
	if ((size_t)len > sizeof(line) - 2)
		len = (int)sizeof(line) - 2;
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)len) < 0)
		return;
}

/* A name that a user typed may hold anything: it must not be able to start a line of its own. */
static void flatten(char *text)
{
	for (char *c = text; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char text[LINE_LONGEST];
	char prefix[16];
	va_list ap;
	int saved = errno;

	if (level > log_get_level())
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	flatten(text);
	if (atomic_load(&use_syslog)) {
		syslog(levels[level].priority, "%s", text);
	} else {
		snprintf(prefix, sizeof(prefix), "%s: ", log_level_name(level));
		write_line(prefix, text);
	}
	errno = saved;
}

void die(const char *fmt, ...)
{
	char text[LINE_LONGEST];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	flatten(text);
	write_line("", text);
	exit(EXIT_FAILURE);
}
