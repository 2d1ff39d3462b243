/* SPDX-License-Identifier: Apache-2.0 */
/* name.c: the mapping of names, what ZooKeeper refuses, places, sequences, tags. */
#include "name.h"

#include <errno.h>
#include <stdlib.h>

#include "tap.h"
#include "util.h"

static void shown_as(const char *znode, bool in_root, const char *shown)
{
	char out[512], back[512];

	name_show(znode, in_root, out);
	CHECK_STR(out, shown);
	CHECK_INT(name_znode(out, in_root, back), 0);
	CHECK_STR(back, znode);
}

static void refuses(const char *shown, int error)
{
	char out[512] = "untouched";

	CHECK_INT(name_znode(shown, false, out), error);
	CHECK_STR(out, "untouched");
	CHECK_INT(name_znode(shown, true, out), error);
	CHECK_STR(out, "untouched");
}

static void takes(const char *shown)
{
	shown_as(shown, false, shown);
	if (!tap_failed)
		shown_as(shown, true, shown);
}

static void test_ordinary(void)
{
	/* the last four: U+00A0, and the neighbours of what is refused, U+D7FF, U+F900, U+FFEF */
	static const char *const names[] = {
		"a",
		"~",
		" ",
		".a",
		"...",
		"..a",
		"a\\b",
		"task-0000000042",
		"%",
		"%%",
		"%data",
		".dat",
		".data ",
		".DATA",
		".data%",
		"a%.data",
		".zkfs.",
		"\xc3\xa4",
		"\xe6\x97\xa5",
		"\xc2\xa0",
		"\xed\x9f\xbf",
		"\xef\xa4\x80",
		"\xef\xbf\xaf",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names) && !tap_failed; i++)
		takes(names[i]);
}

static void test_reserved(void)
{
	for (int in_root = 0; in_root <= 1; in_root++) {
		shown_as(".data", in_root, "%.data");
		shown_as("%.data", in_root, "%%.data");
		shown_as("%%%.data", in_root, "%%%%.data");
		CHECK(name_is_reserved(".data", in_root));
		CHECK(!name_is_reserved("%.data", in_root));
		CHECK(!name_is_reserved("", in_root));
	}
	shown_as(".zkfs", true, "%.zkfs");
	shown_as("%.zkfs", true, "%%.zkfs");
	shown_as(".zkfs", false, ".zkfs");
	shown_as("%.zkfs", false, "%.zkfs");
	CHECK(name_is_reserved(".zkfs", true));
	CHECK(!name_is_reserved(".zkfs", false));
	refuses(".data", -EINVAL);
}

/* All names of up to four pieces, each of which may be mistaken for another. */
static void test_one_to_one(void)
{
	static const char *const pieces[] = { "", "%", "%%", ".data", ".zkfs", ".", "data", "x" };
	const size_t n = ARRAY_SIZE(pieces);
	size_t combinations = n * n * n * n;
	char name[64], out[64], back[64];

	for (size_t i = 0; i < 2 * combinations; i++) {
		size_t c = i / 2;
		bool in_root = i % 2;

		snprintf(name, sizeof(name), "%s%s%s%s", pieces[c % n], pieces[c / n % n],
			 pieces[c / n / n % n], pieces[c / n / n / n]);
		if (name_check(name) < 0)
			continue;
		name_show(name, in_root, out);
		CHECK(!name_is_reserved(out, in_root));
		CHECK_INT(name_znode(out, in_root, back), 0);
		CHECK_STR(back, name);
		/* ... and from the mount's side */
		if (name_is_reserved(name, in_root))
			continue;
		CHECK_INT(name_znode(name, in_root, out), 0);
		name_show(out, in_root, back);
		CHECK_STR(back, name);
	}
}

static void test_refused(void)
{
	static const char *const names[] = {
		"",
		".",
		"..",
		"a/b",
		"\x01",
		"a\nb",
		"a\x1f",
		"\x7f",
		"\xc2\x80",	    /* U+0080 */
		"\xc2\x9f",	    /* U+009F */
		"\xee\x80\x80",	    /* U+E000 */
		"\xef\xa3\xbf",	    /* U+F8FF */
		"\xef\xbf\xb0",	    /* U+FFF0 */
		"\xef\xbf\xbd",	    /* U+FFFD */
		"\xef\xbf\xbf",	    /* U+FFFF */
		"\xf0\x90\x80\x80", /* U+10000 */
		"\xf0\x9f\x98\x80", /* an emoji */
		"a\xf4\x8f\xbf\xbf" /* U+10FFFF */
	};

	for (size_t i = 0; i < ARRAY_SIZE(names) && !tap_failed; i++)
		refuses(names[i], -EINVAL);
}

static void test_no_utf8(void)
{
	static const char *const names[] = {
		"\x80", /* continuation alone */
		"a\xbf",
		"\xc3", /* cut off */
		"\xe6\x97",
		"\xf0\x9f\x98",
		"\xc3(", /* no continuation */
		"\xe6\x97z",
		"\xc0\x80",	    /* overlong U+0000 */
		"\xc0\xaf",	    /* overlong '/' */
		"\xc1\xbf",	    /* overlong U+007F */
		"\xe0\x80\xaf",	    /* overlong '/' */
		"\xe0\x9f\xbf",	    /* overlong U+07FF */
		"\xf0\x8f\xbf\xbf", /* overlong U+FFFF */
		"\xed\xa0\x80",	    /* surrogate U+D800 */
		"\xed\xbf\xbf",	    /* surrogate U+DFFF */
		"\xf4\x90\x80\x80", /* U+110000 */
		"\xf5\x80\x80\x80",
		"\xfe",
		"\xff",
		"\n\xff" /* refused anyway, but no UTF-8 first of all */
	};

	for (size_t i = 0; i < ARRAY_SIZE(names) && !tap_failed; i++)
		refuses(names[i], -EILSEQ);
}

/* Against an independent definition: encode every code point, and look at the ranges of the documentation. */
static void test_every_code_point(void)
{
	for (unsigned int c = 1; c <= 0x10ffff; c++) {
		bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
		bool refused = control || (c >= 0xe000 && c <= 0xf8ff) || c >= 0xfff0 || c == '.' ||
			       c == '/';
		int want = refused ? -EINVAL : 0;
		char name[8] = "";
		char *s = name;

		if (c < 0x80) {
			*s++ = (char)c;
		} else if (c < 0x800) {
			*s++ = (char)(0xc0 | c >> 6);
			*s++ = (char)(0x80 | (c & 0x3f));
		} else if (c < 0x10000) {
			*s++ = (char)(0xe0 | c >> 12);
			*s++ = (char)(0x80 | (c >> 6 & 0x3f));
			*s++ = (char)(0x80 | (c & 0x3f));
		} else {
			*s++ = (char)(0xf0 | c >> 18);
			*s++ = (char)(0x80 | (c >> 12 & 0x3f));
			*s++ = (char)(0x80 | (c >> 6 & 0x3f));
			*s++ = (char)(0x80 | (c & 0x3f));
		}
		*s = '\0';
		if (c >= 0xd800 && c <= 0xdfff)
			want = -EILSEQ;
		if (name_check(name) != want)
			TAP_FAIL("U+%04X gives %d, not %d", c, name_check(name), want);
	}
}

static void test_length(void)
{
	char name[NAME_LONGEST + 2];

	memset(name, 'x', sizeof(name));
	name[NAME_LONGEST + 1] = '\0';
	refuses(name, -ENAMETOOLONG);
	CHECK_INT(name_check(name), 0);
	name[NAME_LONGEST] = '\0';
	takes(name);
}

static bool match(const char *patterns, const char *path)
{
	struct places *p = places_new(patterns);
	bool ret = p && places_match(p, path);

	places_free(p);
	return ret;
}

static void test_places(void)
{
	static const char ephemeral[] = "/workers/*:/master:/tasks/*/owner";

	CHECK(match(ephemeral, "/workers/w1"));
	CHECK(match(ephemeral, "/workers/*"));
	CHECK(match(ephemeral, "/master"));
	CHECK(match(ephemeral, "/tasks/task-0000000042/owner"));
	CHECK(!match(ephemeral, "/workers"));
	CHECK(!match(ephemeral, "/workers/w1/a"));
	CHECK(!match(ephemeral, "/workers2/w1"));
	CHECK(!match(ephemeral, "/work/w1"));
	CHECK(!match(ephemeral, "/master/a"));
	CHECK(!match(ephemeral, "/maste"));
	CHECK(!match(ephemeral, "/masters"));
	CHECK(!match(ephemeral, "/tasks/owner"));
	CHECK(!match(ephemeral, "/tasks/a/b/owner"));
	CHECK(!match(ephemeral, "/tasks/a/owne"));
	CHECK(!match(ephemeral, "/"));
	CHECK(!match(ephemeral, ""));
	CHECK(match("/*", "/a"));
	CHECK(!match("/*", "/"));
	CHECK(!match("/*", "/a/b"));
	CHECK(match("/*/*", "/a/b"));
	CHECK(match("/", "/"));
	CHECK(match("/", ""));
	CHECK(!match("/", "/a"));
	CHECK(!match("", "/a"));
	CHECK(!match("", "/"));
}

static void test_bad_places(void)
{
	static const char *const bad[] = { "a",	 "/a:",	  ":/a",    ":",       "/a/",
					   "//", "/a//b", "/a::/b", "/task-*", "/**/a" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct places *p;

		errno = 0;
		p = places_new(bad[i]);
		if (p || errno != EINVAL) {
			places_free(p);
			TAP_FAIL("%s: errno %d", bad[i], errno);
		}
	}
	places_free(NULL);
}

static void test_sequence(void)
{
	CHECK(name_has_sequence("task-0000000042"));
	CHECK(name_has_sequence("0123456789"));
	CHECK(name_has_sequence("task-12345678901"));
	CHECK(!name_has_sequence("task-000000042"));
	CHECK(!name_has_sequence("task-0000000042x"));
	CHECK(!name_has_sequence("task-00000x0042"));
	CHECK(!name_has_sequence("123456789"));
	CHECK(!name_has_sequence(""));
}

static void test_tag(void)
{
	CHECK_INT(name_tag("task-@Ab3dEf"), 5);
	CHECK_INT(name_tag("task-"), 5);
	CHECK_INT(name_tag("a@b@c"), 3);
	CHECK_INT(name_tag("task-@"), 5);
	CHECK_INT(name_tag("@x"), 0);
	CHECK_INT(name_tag(""), 0);
}

int main(void)
{
	static const struct tap_test tests[] = {
		{ "an ordinary name is shown as it is", test_ordinary },
		{ "a name that collides with a reserved one is shown with a % more", test_reserved },
		{ "the mapping of names is one-to-one both ways", test_one_to_one },
		{ "a name that ZooKeeper refuses is EINVAL", test_refused },
		{ "a name that is no UTF-8 is EILSEQ", test_no_utf8 },
		{ "every code point is taken or refused as documented", test_every_code_point },
		{ "a name of 256 bytes is ENAMETOOLONG, one of 255 is not", test_length },
		{ "a pattern matches paths with one component for each *", test_places },
		{ "a pattern that is no absolute path is refused", test_bad_places },
		{ "ten digits at the end are a sequence number", test_sequence },
		{ "a tag is what follows the last @", test_tag },
	};

	return tap_run(tests, ARRAY_SIZE(tests));
}
