/* SPDX-License-Identifier: Apache-2.0 */
/* task-@tag -> task-0000000042: the names by which clients find the sequential znodes that they made on this mount. */
#ifndef ZKFS_TAGS_H
#define ZKFS_TAGS_H

#include <stdint.h>

#define TAGS_KEPT 65536

struct tags;
struct inode;

/* NULL: no memory */
struct tags *tags_new(void);
void tags_free(struct tags *t);

/*
 * Remembers that @name in the directory with the path @dir is @znode; the oldest is forgotten when there are TAGS_KEPT.
 * Without memory it is not remembered.
 */
void tags_put(struct tags *t, const char *dir, const char *name, const char *znode);
/* NULL: not known. Valid until the next tags_put() or tags_remove(). */
const char *tags_get(struct tags *t, const char *dir, const char *name);
void tags_remove(struct tags *t, const char *dir, const char *name);

#endif
