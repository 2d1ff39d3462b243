/* SPDX-License-Identifier: Apache-2.0 */
/* The last tags, in a ring with a hash table over it. The caller's lock guards it. */
#include "tags.h"

#include "util.h"

#include <stdio.h>

#define BUCKETS 65536

struct tag {
	int32_t next; /* in its bucket; -1: none */
	uint32_t hash;
	char *key; /* "DIR/NAME"; NULL: free */
	char *znode;
};

struct tags {
	struct tag ring[TAGS_KEPT];
	int32_t buckets[BUCKETS];
	uint32_t at;
};

struct tags *tags_new(void)
{
	struct tags *t = calloc(1, sizeof(*t));

	if (t)
		memset(t->buckets, -1, sizeof(t->buckets));
	return t;
}

static uint32_t hash_key(const char *key)
{
	uint32_t h = 2166136261U;

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 16777619U;
	return h;
}

static char *make_key(const char *dir, const char *name)
{
	char *key;

	return asprintf(&key, "%s/%s", dir, name) < 0 ? NULL : key;
}

static void drop(struct tags *t, int32_t i)
{
	struct tag *tag = &t->ring[i];
	int32_t *p = &t->buckets[tag->hash % BUCKETS];

	while (*p != i)
		p = &t->ring[*p].next;
	*p = tag->next;
	free(tag->key);
	free(tag->znode);
	memset(tag, 0, sizeof(*tag));
}

void tags_free(struct tags *t)
{
	if (!t)
		return;
	for (int32_t i = 0; i < TAGS_KEPT; i++) {
		if (t->ring[i].key)
			drop(t, i);
	}
	free(t);
}

static int32_t find(struct tags *t, const char *key)
{
	uint32_t h = hash_key(key);

	for (int32_t i = t->buckets[h % BUCKETS]; i >= 0; i = t->ring[i].next) {
		if (t->ring[i].hash == h && !strcmp(t->ring[i].key, key))
			return i;
	}
	return -1;
}

void tags_put(struct tags *t, const char *dir, const char *name, const char *znode)
{
	char *key = make_key(dir, name), *copy = strdup(znode);
	int32_t old = key ? find(t, key) : -1;
	struct tag *tag;

	if (!key || !copy) {
		free(key);
		free(copy);
		return;
	}
	if (old >= 0)
		drop(t, old);
	tag = &t->ring[t->at];
	if (tag->key)
		drop(t, (int32_t)t->at);
	tag->hash = hash_key(key);
	tag->key = key;
	tag->znode = copy;
	tag->next = t->buckets[tag->hash % BUCKETS];
	t->buckets[tag->hash % BUCKETS] = (int32_t)t->at;
	t->at = (t->at + 1) % TAGS_KEPT;
}

const char *tags_get(struct tags *t, const char *dir, const char *name)
{
	autofree char *key = make_key(dir, name);
	int32_t i = key ? find(t, key) : -1;

	return i >= 0 ? t->ring[i].znode : NULL;
}

void tags_remove(struct tags *t, const char *dir, const char *name)
{
	autofree char *key = make_key(dir, name);
	int32_t i = key ? find(t, key) : -1;

	if (i >= 0)
		drop(t, i);
}
