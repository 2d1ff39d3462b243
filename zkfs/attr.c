/* SPDX-License-Identifier: Apache-2.0 */
/* A znode's Stat as stat(2) and as extended attributes. Pure functions; what they read is guarded by the tree lock. */
#include "attr.h"

#include <inttypes.h>
#include <stdio.h>

bool attr_is_dir(const struct places *dirs, const char *path, const struct zstat *stat,
		 bool data_is_null)
{
	if (stat->ephemeral_owner)
		return false;
	return stat->cversion > 0 || stat->num_children > 0 || data_is_null ||
	       places_match(dirs, path);
}

bool attr_is_system(const struct attr_conf *conf, const struct node *n)
{
	if (!conf->has_system)
		return false;
	while (n->parent && n->parent->parent)
		n = n->parent;
	return n->parent && !strcmp(n->name, "zookeeper");
}

static struct timespec to_timespec(int64_t ms)
{
	return (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
}

static void fill(const struct attr_conf *conf, struct stat *st, bool is_dir, bool writable)
{
	mode_t mode = is_dir ? 0777 : 0666;

	mode &= ~conf->umask;
	if (conf->ro || !writable)
		mode &= ~0222;
	st->st_mode = mode | (is_dir ? S_IFDIR : S_IFREG);
	st->st_nlink = 1;
	st->st_uid = conf->uid;
	st->st_gid = conf->gid;
	st->st_blksize = 4096;
}

static void fill_node(const struct attr_conf *conf, struct inode *i, struct node *n, struct stat *st)
{
	bool is_dir = i->kind == INODE_NODE && n->is_dir;
	int64_t mtime = n->stat.mtime;

	fill(conf, st, is_dir, !attr_is_system(conf, n));
	/* While it has a name this must not be 0, or the kernel tells nobody of its end (IN_DELETE_SELF). */
	st->st_nlink = n->gone ? 0 : 1;
	if (is_dir && n->children_ms > mtime)
		mtime = n->children_ms;
	if (!is_dir)
		st->st_size = n->dirty	      ? (off_t)n->dirty_size
			      : n->unreadable ? n->stat.data_length
			      : n->data	      ? (off_t)n->data->len
					      : 0;
	st->st_ino = i->ino;
	if (i->kind == INODE_DATA)
		st->st_ino = (n->inode.ino ? n->inode.ino : 1) | 1ULL << 63;
	else if (!st->st_ino || !n->parent)
		st->st_ino = 1;
	st->st_mtim = to_timespec(mtime);
	st->st_atim = st->st_mtim;
	st->st_ctim = to_timespec(mtime > n->stat.ctime ? mtime : n->stat.ctime);
	st->st_blocks = (st->st_size + 511) / 512;
}

void attr_stat(const struct attr_conf *conf, struct inode *i, struct stat *st)
{
	struct node *n = inode_node(i);

	memset(st, 0, sizeof(*st));
	if (n) {
		fill_node(conf, i, n, st);
		return;
	}
	fill(conf, st, i->is_dir, i->kind != INODE_CTL || !i->is_dir);
	if (i->kind == INODE_LINK) {
		st->st_mode = S_IFLNK | 0777;
		st->st_size = strlen(i->link);
	}
	st->st_ino = i->ino;
	st->st_mtim = st->st_atim = st->st_ctim = to_timespec(i->time_ms);
}

static const char *const names[] = { "czxid",	       "mzxid",	     "pzxid",	   "ctime",
				     "mtime",	       "version",    "cversion",   "aversion",
				     "ephemeralOwner", "dataLength", "numChildren" };

const char *attr_name(size_t index)
{
	return index < ARRAY_SIZE(names) ? names[index] : NULL;
}

void attr_value(size_t index, const struct zstat *stat, char *out, size_t size)
{
	const int64_t hex[] = { stat->czxid, stat->mzxid, stat->pzxid };
	const int64_t times[] = { stat->ctime, stat->mtime };
	const int32_t numbers[] = { stat->version, stat->cversion, stat->aversion };

	if (index < 3)
		snprintf(out, size, "0x%" PRIx64, hex[index]);
	else if (index < 5)
		snprintf(out, size, "%" PRId64, times[index - 3]);
	else if (index < 8)
		snprintf(out, size, "%" PRId32, numbers[index - 5]);
	else if (index == 8)
		snprintf(out, size, "0x%" PRIx64, stat->ephemeral_owner);
	else
		snprintf(out, size, "%" PRId32, index == 9 ? stat->data_length : stat->num_children);
}
