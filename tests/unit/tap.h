/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests in C: one function per test, printed as TAP. A test fails at its first failed check. */
#ifndef ZKFS_TAP_H
#define ZKFS_TAP_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct tap_test {
	const char *name; /* a sentence that a user would say */
	void (*run)(void);
};

static bool tap_failed;

#define TAP_FAIL(...)                                                                              \
	do {                                                                                       \
		tap_failed = true;                                                                 \
		printf("# %s:%d: ", __FILE__, __LINE__);                                           \
		printf(__VA_ARGS__);                                                               \
		printf("\n");                                                                      \
		return;                                                                            \
	} while (0)

/* Only in a function that returns void. */
#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			TAP_FAIL("%s", #cond);                                                     \
	} while (0)

#define CHECK_INT(got, want)                                                                       \
	do {                                                                                       \
		long long tap_got = (long long)(got), tap_want = (long long)(want);                \
		if (tap_got != tap_want)                                                           \
			TAP_FAIL("%s is %lld, not %lld", #got, tap_got, tap_want);                 \
	} while (0)

#define CHECK_STR(got, want)                                                                       \
	do {                                                                                       \
		const char *tap_got = (got), *tap_want = (want);                                   \
		if (!tap_got || strcmp(tap_got, tap_want) != 0)                                    \
			TAP_FAIL("%s is \"%s\", not \"%s\"", #got, tap_got ? tap_got : "(NULL)",   \
				 tap_want);                                                        \
	} while (0)

/* Returns the exit status of main. A test that hangs ends the program. */
static inline int tap_run(const struct tap_test *tests, size_t count)
{
	int ret = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%zu\n", count);
	for (size_t i = 0; i < count; i++) {
		tap_failed = false;
		alarm(60);
		tests[i].run();
		alarm(0);
		printf("%s %zu %s\n", tap_failed ? "not ok" : "ok", i + 1, tests[i].name);
		ret |= tap_failed;
	}
	return ret;
}

#endif
