/* SPDX-License-Identifier: Apache-2.0 */
/* log.c and stats.c */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "stats.h"
#include "tap.h"
#include "util.h"

static char out[4096];

/* What @run writes to stderr, in a child; returns the child's exit status. */
static int capture(void (*run)(void))
{
	size_t len = 0;
	ssize_t n;
	int fds[2], status;
	pid_t pid;

	out[0] = '\0';
	if (pipe(fds) < 0)
		return -1;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		run();
		_exit(0);
	}
	close(fds[1]);
	while (len < sizeof(out) - 1 && (n = read(fds[0], out + len, sizeof(out) - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void write_all_levels(void)
{
	log_error("%s: broken", "/a");
	log_warn("strange");
	log_info("news");
	log_debug("detail");
}

static void write_debug(void)
{
	log_set_level(LOG_LEVEL_DEBUG);
	write_all_levels();
}

static void write_errors(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	write_all_levels();
}

static void write_newline(void)
{
	log_info("name a\nzkfs: error: forged\x1b[0m");
}

static void write_long(void)
{
	log_info("%03000d", 1);
}

static void write_last_words(void)
{
	die("%s: no such directory", "/mnt");
}

static void test_levels(void)
{
	CHECK_INT(capture(write_all_levels), 0);
	CHECK_STR(out, "zkfs: error: /a: broken\nzkfs: warn: strange\nzkfs: info: news\n");
	CHECK_INT(capture(write_debug), 0);
	CHECK_STR(out,
		  "zkfs: error: /a: broken\nzkfs: warn: strange\nzkfs: info: news\nzkfs: debug: detail\n");
	CHECK_INT(capture(write_errors), 0);
	CHECK_STR(out, "zkfs: error: /a: broken\n");
}

static void test_one_line(void)
{
	CHECK_INT(capture(write_newline), 0);
	CHECK_STR(out, "zkfs: info: name a?zkfs: error: forged?[0m\n");
	CHECK_INT(capture(write_long), 0);
	CHECK(strlen(out) > 1000 && strlen(out) < 1100);
	CHECK(strchr(out, '\n') == out + strlen(out) - 1);
}

static void test_errno(void)
{
	errno = ENOTEMPTY;
	log_debug("nothing");
	log_msg(LOG_LEVEL_DEBUG, "nothing");
	CHECK_INT(errno, ENOTEMPTY);
}

static void test_die(void)
{
	CHECK_INT(capture(write_last_words), 1);
	CHECK_STR(out, "zkfs: /mnt: no such directory\n");
}

static void test_level_names(void)
{
	enum log_level level = LOG_LEVEL_WARN;

	for (enum log_level l = LOG_LEVEL_ERROR; l <= LOG_LEVEL_DEBUG; l++) {
		CHECK_INT(log_level_parse(log_level_name(l), &level), 0);
		CHECK_INT(level, l);
	}
	CHECK_INT(log_level_parse("verbose", &level), -EINVAL);
	CHECK_INT(log_level_parse("", &level), -EINVAL);
	CHECK_INT(log_level_parse("Debug", &level), -EINVAL);
	CHECK_INT(level, LOG_LEVEL_DEBUG);
}

static void test_counters(void)
{
	for (int c = 0; c < STAT_COUNTERS; c++) {
		CHECK(stats_name(c) && *stats_name(c));
		for (int d = 0; d < c; d++)
			CHECK(strcmp(stats_name(c), stats_name(d)) != 0);
	}
	stats_add(STAT_RESYNCS);
	stats_add(STAT_RESYNCS);
	CHECK_INT(stats_get(STAT_RESYNCS), 2);
	CHECK_INT(stats_get(STAT_EXPIRIES), 0);
	CHECK_STR(stats_name(STAT_EVENTS_RECEIVED), "events_received");
}

int main(void)
{
	static const struct tap_test tests[] = {
		{ "a line is written when its level is on", test_levels },
		{ "a line stays one line, however it is made", test_one_line },
		{ "the log leaves errno alone", test_errno },
		{ "last words go to stderr, with exit status 1", test_die },
		{ "levels have names", test_level_names },
		{ "every counter has a name of its own, and counts", test_counters },
	};

	return tap_run(tests, ARRAY_SIZE(tests));
}
