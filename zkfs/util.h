/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers that every layer may use. */
#ifndef ZKFS_UTIL_H
#define ZKFS_UTIL_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void free_ptr(void *p)
{
	free(*(void **)p);
}

/* A local that is freed with free(3) when it goes out of scope. */
#define autofree __attribute__((cleanup(free_ptr)))

/* A doubly linked list with its head outside of the elements. */
struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_append(struct list *head, struct list *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

/* Leaves @l empty, so that it may be removed again. */
static inline void list_remove(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

#endif
