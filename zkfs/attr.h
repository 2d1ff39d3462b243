/* SPDX-License-Identifier: Apache-2.0 */
/* A znode's Stat as stat(2) and as extended attributes; its kind. */
#ifndef ZKFS_ATTR_H
#define ZKFS_ATTR_H

#include "mirror.h"
#include "name.h"

#include <sys/stat.h>

struct attr_conf {
	uid_t uid;
	gid_t gid;
	mode_t umask;
	bool ro;
	bool has_system; /* the mount's root is the server's: /zookeeper is there */
	const struct places *dirs;
};

/* Whether a znode is shown as a directory; @path is the znode's. */
bool attr_is_dir(const struct places *dirs, const char *path, const struct zstat *stat,
		 bool data_is_null);

/* True for a znode at or below /zookeeper, which is shown read-only. */
bool attr_is_system(const struct attr_conf *conf, const struct node *n);

/* With the tree lock held. */
void attr_stat(const struct attr_conf *conf, struct inode *i, struct stat *st);

/* All names of attributes but acl and path, each with its value in text, by index; NULL: no such index. */
const char *attr_name(size_t index);
void attr_value(size_t index, const struct zstat *stat, char *out, size_t size);

#endif
