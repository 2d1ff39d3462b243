/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and places: pure functions on strings, no state, no lock.
 *
 * Shown names and znode names map one-to-one: with R a reserved name and n >= 0, the znode %^n R is shown as
 * %^(n+1) R, every other name as itself. So the shown name R, with no '%', is free for what is reserved.
 */
#include "name.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SEQUENCE_DIGITS 10

/*
 * Decodes the code point at @s into @cp and returns what follows it; NULL when @s is no UTF-8: a stray or missing
 * continuation byte, an overlong form, a surrogate, or beyond U+10FFFF.
 */
static const unsigned char *utf8_next(const unsigned char *s, uint32_t *cp)
{
	static const uint32_t smallest[] = { 0, 0x80, 0x800, 0x10000 };
	uint32_t c = *s++;
	int more = 0;

	if (c >= 0xf0 && c < 0xf8)
		more = 3;
	else if (c >= 0xe0 && c < 0xf0)
		more = 2;
	else if (c >= 0xc0 && c < 0xe0)
		more = 1;
	else if (c >= 0x80)
		return NULL;
	if (more)
		c &= 0x3fU >> more;
	for (int i = 0; i < more; i++, s++) {
		if ((*s & 0xc0) != 0x80)
			return NULL;
		c = c << 6 | (*s & 0x3fU);
	}
	if (c < smallest[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return NULL;
	*cp = c;
	return s;
}

/* The ranges of the server's PathUtils.validatePath(), and what it sees as surrogates: all beyond the BMP. */
static bool refused(uint32_t c)
{
	return c <= 0x1f || (c >= 0x7f && c <= 0x9f) || (c >= 0xd800 && c <= 0xf8ff) || c >= 0xfff0;
}

int name_check(const char *znode)
{
	const unsigned char *s = (const unsigned char *)znode;
	int ret = 0;
	uint32_t c;

	if (znode[0] == '\0' || strcmp(znode, ".") == 0 || strcmp(znode, "..") == 0)
		return -EINVAL;
	while (*s) {
		s = utf8_next(s, &c);
		if (!s)
			return -EILSEQ;
		if (c == '/' || refused(c))
			ret = -EINVAL;
	}
	return ret;
}

bool name_is_reserved(const char *shown, bool in_root)
{
	return strcmp(shown, ".data") == 0 || (in_root && strcmp(shown, ".zkfs") == 0);
}

/* Any number of '%', then a reserved name. */
static bool ends_reserved(const char *name, bool in_root)
{
	return name_is_reserved(name + strspn(name, "%"), in_root);
}

void name_show(const char *znode, bool in_root, char *out)
{
	if (ends_reserved(znode, in_root))
		*out++ = '%';
	memcpy(out, znode, strlen(znode) + 1);
}

int name_znode(const char *shown, bool in_root, char *out)
{
	int ret;

	if (strlen(shown) > NAME_LONGEST)
		return -ENAMETOOLONG;
	ret = name_check(shown);
	if (ret < 0)
		return ret;
	if (name_is_reserved(shown, in_root))
		return -EINVAL;
	if (ends_reserved(shown, in_root))
		shown++;
	memcpy(out, shown, strlen(shown) + 1);
	return 0;
}

struct places {
	size_t count;
	char **patterns; /* without the leading '/', so the root is "" */
	char *text;	 /* what they point into */
};

/* @p is a pattern without its leading '/'. */
static bool pattern_valid(const char *p)
{
	if (*p == '\0')
		return true;
	for (;;) {
		size_t len = strcspn(p, "/");

		if (len == 0 || (len > 1 && memchr(p, '*', len)))
			return false;
		if (p[len] == '\0')
			return true;
		p += len + 1;
	}
}

static size_t count_char(const char *s, char c)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == c;
	return n;
}

struct places *places_new(const char *patterns)
{
	struct places *p = calloc(1, sizeof(*p));
	char *next, *pattern;

	if (!p)
		return NULL;
	if (*patterns == '\0')
		return p;
	p->text = strdup(patterns);
	p->patterns = calloc(count_char(patterns, ':') + 1, sizeof(*p->patterns));
	if (!p->text || !p->patterns)
		goto fail;
	next = p->text;
	while ((pattern = strsep(&next, ":"))) {
		if (*pattern != '/' || !pattern_valid(pattern + 1)) {
			errno = EINVAL;
			goto fail;
		}
		p->patterns[p->count++] = pattern + 1;
	}
	return p;
fail:
	places_free(p); /* free(3) keeps errno since glibc 2.33 */
	return NULL;
}

void places_free(struct places *p)
{
	if (!p)
		return;
	free(p->patterns);
	free(p->text);
	free(p);
}

/* Both without their leading '/'. */
static bool pattern_match(const char *pattern, const char *path)
{
	while (*pattern && *path) {
		size_t want = strcspn(pattern, "/"), got = strcspn(path, "/");

		if (!(want == 1 && *pattern == '*') &&
		    (want != got || memcmp(pattern, path, want) != 0))
			return false;
		pattern += want;
		path += got;
		if (*pattern != *path)
			return false;
		if (*pattern) {
			pattern++;
			path++;
		}
	}
	return *pattern == *path;
}

bool places_match(const struct places *p, const char *path)
{
	if (*path == '/')
		path++;
	for (size_t i = 0; i < p->count; i++) {
		if (pattern_match(p->patterns[i], path))
			return true;
	}
	return false;
}

bool name_has_sequence(const char *name)
{
	size_t len = strlen(name);

	return len >= SEQUENCE_DIGITS &&
	       strspn(name + len - SEQUENCE_DIGITS, "0123456789") == SEQUENCE_DIGITS;
}

size_t name_tag(const char *name)
{
	const char *at = strrchr(name, '@');

	return at ? (size_t)(at - name) : strlen(name);
}
