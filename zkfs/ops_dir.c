/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names: look-up, listing, making, removing, renaming. Entered by the FUSE loop; the callbacks by the session's threads.
 */
#include "fs.h"

#include "ctl.h"
#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- look-up ---- */

static void reply_negative(fuse_req_t req)
{
	struct fuse_entry_param e = { .entry_timeout = FOREVER };

	fuse_reply_entry(req, &e);
}

/*
 * What an injector finds at its own item: what it is to make is not there yet, what it is to remove still is. With the tree
 * lock held. NULL: there is no such name.
 */
static struct inode *injected_lookup(struct zkfs *fs, struct item *item)
{
	if (item->type == ITEM_CREATE)
		return NULL;
	if (item->target == ITEM_DATA)
		return &item->dir->data_inode;
	if (item->target == ITEM_TYPED)
		return item->typed;
	if (item->type == ITEM_CHANGE && inject_commit(fs->in, item))
		return NULL;
	if (item->node)
		return &item->node->inode;
	if (!item->typed) {
		item->typed = inode_new(&fs->m, INODE_PLACEHOLDER, item->is_dir);
		if (item->typed)
			item->typed->nlookup = 1;
	}
	return item->typed;
}

static struct inode *tag_link(struct zkfs *fs, struct node *dir, const char *name)
{
	autofree char *path = strchr(name, '@') ? node_path(dir) : NULL;
	const char *target = path && places_match(fs->seq, path) ? tags_get(fs->tags, path, name)
								 : NULL;
	struct inode *i = target ? inode_new(&fs->m, INODE_LINK, false) : NULL;

	if (i) {
		i->link = strdup(target);
		if (!i->link) {
			inode_forget(&fs->m, i, 0);
			return NULL;
		}
	}
	return i;
}

static bool is_seq_place(struct zkfs *fs, struct node *dir)
{
	autofree char *path = node_path(dir);

	return path && places_match(fs->seq, path);
}

static void found(struct job *job, const struct session_reply *reply, bool unreadable)
{
	struct zkfs *fs = job->fs;
	bool is_typed;
	struct dentry *d;
	fuse_req_t req;

	if (reply->err && reply->err != -ENOENT) {
		job_fail(job, reply->err);
		return;
	}
	tree_lock(&fs->m);
	if (!reply->err && !watch_found(&fs->w, job->dir, job->name, reply, unreadable))
		watch_found_pending(&fs->w, job->dir, job->name, reply, unreadable);
	d = dentry_find(job->dir, job->name);
	if (d && d->shown) {
		job_reply_entry_unlock(job, &d->shown->inode);
		return;
	}
	is_typed = !name_has_sequence(job->name) && is_seq_place(fs, job->dir);
	tree_unlock(&fs->m);
	if (is_typed) {
		job_fail(job, -ENOENT); /* this way the kernel does not remember it */
		return;
	}
	req = job_take(job);
	if (req)
		reply_negative(req);
	job_free(job);
}

static void found_stat(void *arg, const struct session_reply *reply)
{
	found(arg, reply, true);
}

static void found_data(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;

	if (reply->err == -EACCES)
		session_exists(job->fs->s, job->path, found_stat, job);
	else
		found(job, reply, false);
}

/* Not known, and its directory has not been loaded: the server is asked. The lock is released. */
static void ask_unlock(fuse_req_t req, struct zkfs *fs, struct node *dir, const char *name)
{
	struct job *job = job_new(fs, req);

	if (!job) {
		tree_unlock(&fs->m);
		return;
	}
	job->dir = node_ref(dir);
	job->name = strdup(name);
	job->path = node_path(dir);
	if (job->path) {
		char *path = path_join(job->path, name);

		free(job->path);
		job->path = path;
	}
	tree_unlock(&fs->m);
	if (job->name && job->path)
		session_get(fs->s, job->path, found_data, job);
	else
		job_fail(job, -ENOMEM);
}

static void reply_inode_unlock(fuse_req_t req, struct zkfs *fs, struct inode *i)
{
	struct fuse_entry_param e;

	entry_fill(fs, i, &e);
	tree_unlock(&fs->m);
	entry_reply(fs, req, &e);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct zkfs *fs = fs_of(req);
	struct inode *pi = inode_of(fs, parent), *i = NULL;
	struct node *dir = inode_node(pi);
	char znode[NAME_LONGEST + 1];
	struct dentry *d;
	struct item *item;
	bool is_injector;
	int err;

	if (pi->kind == INODE_CTL || (dir && !dir->parent && !strcmp(name, ".zkfs"))) {
		i = pi->kind == INODE_CTL ? ctl_find(fs, name) : &fs->ctl[CTL_DIR];
		if (!i) {
			fuse_reply_err(req, ENOENT);
			return;
		}
		tree_lock(&fs->m);
		reply_inode_unlock(req, fs, i);
		return;
	}
	if (!dir) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	item = caller_item(req, &is_injector);
	tree_lock(&fs->m);
	if (item && item->dir == dir && !strcmp(item->name, name)) {
		i = injected_lookup(fs, item);
		if (i) {
			reply_inode_unlock(req, fs, i);
		} else {
			tree_unlock(&fs->m);
			fuse_reply_err(req, ENOENT);
		}
		return;
	}
	if (!strcmp(name, ".data")) {
		if (dir->data || dir->unreadable) {
			reply_inode_unlock(req, fs, &dir->data_inode);
		} else {
			tree_unlock(&fs->m);
			reply_negative(req);
		}
		return;
	}
	err = name_znode(name, !dir->parent, znode);
	if (err) {
		tree_unlock(&fs->m);
		fuse_reply_err(req, -err);
		return;
	}
	d = dentry_find(dir, znode);
	if (d && d->shown) {
		reply_inode_unlock(req, fs, &d->shown->inode);
		return;
	}
	i = tag_link(fs, dir, name);
	if (i) {
		reply_inode_unlock(req, fs, i);
		return;
	}
	if (!name_has_sequence(znode) && is_seq_place(fs, dir)) {
		/* The typed name of a sequential znode is never the same thing twice. */
		if (dir->load == NODE_LOADED) {
			tree_unlock(&fs->m);
			fuse_reply_err(req, ENOENT);
			return;
		}
	} else if (dir->load == NODE_LOADED || dir->gone) {
		tree_unlock(&fs->m);
		reply_negative(req);
		return;
	}
	ask_unlock(req, fs, dir, znode);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct inode *i = inode_of(fs_of(req), ino);

	if (i->kind == INODE_LINK)
		fuse_reply_readlink(req, i->link);
	else
		fuse_reply_err(req, EINVAL);
}

/* ---- listing ---- */

struct listing {
	struct zkfs *fs;
	fuse_req_t req;
	bool plus;
	char *buf;
	size_t size, used;
};

/* False: it does not fit any more. */
static bool list_one(struct listing *l, const char *name, struct inode *i, off_t next)
{
	struct fuse_entry_param e;
	size_t room = l->size - l->used, need;
	bool counts = l->plus && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;

	if (counts) {
		entry_fill(l->fs, i, &e);
	} else {
		memset(&e, 0, sizeof(e));
		attr_stat(&l->fs->attr, i, &e.attr);
	}
	need = l->plus ? fuse_add_direntry_plus(l->req, l->buf + l->used, room, name, &e, next)
		       : fuse_add_direntry(l->req, l->buf + l->used, room, name, &e.attr, next);
	if (need > room) {
		if (counts)
			inode_forget(&l->fs->m, i, 1);
		return false;
	}
	l->used += need;
	return true;
}

static void list_ctl(struct listing *l, struct inode *dir, off_t off)
{
	if (off < 1 && !list_one(l, ".", dir, 1))
		return;
	if (off < 2 && !list_one(l, "..", &l->fs->m.root->inode, 2))
		return;
	for (int i = off < 3 ? CTL_STATUS : (int)off - 1; i < CTL_COUNT; i++) {
		if (!list_one(l, ctl_name(i), &l->fs->ctl[i], i + 2))
			return;
	}
}

static void list_node(struct listing *l, struct node *n, off_t off)
{
	struct node *up = n->parent ? n->parent : n;
	uint64_t cookie = off < MIRROR_FIRST_COOKIE ? MIRROR_FIRST_COOKIE : (uint64_t)off;
	struct dentry *d;

	if (off < 1 && !list_one(l, ".", &n->inode, 1))
		return;
	if (off < 2 && !list_one(l, "..", &up->inode, 2))
		return;
	if (off < 3 && (n->data || n->unreadable) && !list_one(l, ".data", &n->data_inode, 3))
		return;
	for (; (d = dentry_from(n, cookie)); cookie = d->cookie + 1) {
		char shown[NAME_LONGEST + 2];

		if (!d->shown || strlen(d->name) > NAME_LONGEST)
			continue;
		name_show(d->name, !n->parent, shown);
		if (!list_one(l, shown, &d->shown->inode, (off_t)d->cookie + 1))
			return;
	}
}

static void reply_listing(fuse_req_t req, struct zkfs *fs, struct inode *i, size_t size, off_t off,
			  bool plus)
{
	struct listing l = { .fs = fs, .req = req, .plus = plus, .size = size };
	struct node *n = inode_node(i);

	l.buf = malloc(size);
	if (!l.buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	tree_lock(&fs->m);
	if (n)
		list_node(&l, n, off);
	else if (i->kind == INODE_CTL)
		list_ctl(&l, i, off);
	tree_unlock(&fs->m);
	fuse_reply_buf(req, l.buf, l.used);
	free(l.buf);
}

static void loaded(void *arg, int err)
{
	struct job *job = arg;
	fuse_req_t req = job_take(job);

	if (req && err)
		fuse_reply_err(req, -err);
	else if (req)
		reply_listing(req, job->fs, &job->node->inode, job->size, job->off, job->plus);
	job_free(job);
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct zkfs *fs = fs_of(req);
	struct inode *i = inode_of(fs, ino);
	struct node *n = inode_node(i);
	struct job *job;
	bool is_loaded;

	if (n && !n->is_dir) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	tree_lock(&fs->m);
	is_loaded = !n || n->load == NODE_LOADED || n->gone;
	tree_unlock(&fs->m);
	if (is_loaded) {
		reply_listing(req, fs, i, size, off, plus);
		return;
	}
	job = job_new(fs, req);
	if (!job)
		return;
	job->size = size;
	job->off = off;
	job->plus = plus;
	job->waiter.fn = loaded;
	job->waiter.arg = job;
	tree_lock(&fs->m);
	job->node = node_ref(n);
	is_loaded = load_wait(&fs->w, n, &job->waiter);
	tree_unlock(&fs->m);
	if (is_loaded)
		loaded(job, 0);
}

/* Not implemented, which lets the kernel cache listings and spares the request. */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, true);
}

static void synced(void *arg, const struct session_reply *reply)
{
	job_fail(arg, reply->err);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct zkfs *fs = fs_of(req);
	struct job *job = job_new(fs, req);

	(void)ino;
	(void)datasync;
	(void)fi;
	if (job)
		session_sync(fs->s, "/", synced, job);
}

/* ---- making and removing ---- */

struct job *job_for_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct zkfs *fs = fs_of(req);
	struct inode *pi = inode_of(fs, parent);
	struct node *dir = inode_node(pi);
	char znode[NAME_LONGEST + 1];
	struct job *job;
	int err = dir && pi->kind == INODE_NODE ? refuse_write(fs, dir) : -EPERM;

	if (!err && !dir->parent &&
	    ((fs->attr.has_system && !strcmp(name, "zookeeper")) || !strcmp(name, ".zkfs")))
		err = -EPERM;
	if (!err)
		err = !strcmp(name, ".data") ? 0 : name_znode(name, !dir->parent, znode);
	if (err) {
		fuse_reply_err(req, -err);
		return NULL;
	}
	job = job_new(fs, req);
	if (!job)
		return NULL;
	tree_lock(&fs->m);
	job->dir = node_ref(dir);
	job->path = node_path(dir);
	tree_unlock(&fs->m);
	job->shown = strdup(name);
	if (strcmp(name, ".data") != 0) {
		char *path = job->path ? path_join(job->path, znode) : NULL;

		free(job->path);
		job->path = path;
		job->name = strdup(znode);
	}
	if (!job->path || !job->shown || (!job->name && strcmp(name, ".data") != 0)) {
		job_fail(job, -ENOMEM);
		return NULL;
	}
	return job;
}

/* -EEXIST and so on; own_begin() for @path, or the job is answered. */
static bool begin_write(struct job *job, const char *path)
{
	int err;

	tree_lock(&job->fs->m);
	err = own_begin(&job->fs->w, path);
	tree_unlock(&job->fs->m);
	if (err)
		job_fail(job, err);
	return !err;
}

static void made(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;
	struct blob *data = !reply->err && job->flags ? blob_new("", 0) : NULL;
	struct node *n = NULL;

	tree_lock(&fs->m);
	if (!reply->err)
		n = own_created(&fs->w, job->dir, job->name, reply->stat, data, NULL);
	own_end(&fs->w, job->path);
	if (n) {
		job->node = n;
		job_reply_entry_unlock(job, &n->inode);
		return;
	}
	tree_unlock(&fs->m);
	job_fail(job, reply->err ? reply->err : -ENOMEM);
}

/* The entry of a typed name: a placeholder that no cache keeps. */
static void made_sequential(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;
	struct inode *placeholder;
	struct node *n;

	if (reply->err) {
		job_fail(job, reply->err);
		return;
	}
	tree_lock(&fs->m);
	placeholder = inode_new(&fs->m, INODE_PLACEHOLDER, true);
	if (!placeholder) {
		tree_unlock(&fs->m);
		job_fail(job, -ENOMEM);
		return;
	}
	n = own_sequential(&fs->w, job->dir, strrchr(reply->path, '/') + 1, job->shown, placeholder,
			   reply->stat, NULL);
	if (n) {
		autofree char *dir = node_path(job->dir);

		if (dir && strchr(job->shown, '@'))
			tags_put(fs->tags, dir, job->shown, n->name);
		node_unref(&fs->m, n);
	}
	job_reply_entry_unlock(job, placeholder);
}

static bool is_sequential(struct job *job)
{
	bool is;

	tree_lock(&job->fs->m);
	is = !name_has_sequence(job->name) && is_seq_place(job->fs, job->dir);
	tree_unlock(&job->fs->m);
	return is;
}

/* The kernel has looked the name up: there was none. It expects an entry. */
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct zkfs *fs = fs_of(req);
	bool is_injector;
	struct item *item = caller_item(req, &is_injector);
	struct job *job;

	(void)mode;
	if (is_injector) {
		tree_lock(&fs->m);
		if (!item || ino_of(&item->dir->inode) != parent || strcmp(item->name, name) != 0 ||
		    item->type != ITEM_CREATE || inject_commit(fs->in, item)) {
			tree_unlock(&fs->m);
			fuse_reply_err(req, ESTALE);
		} else {
			reply_inode_unlock(req, fs, &item->node->inode);
		}
		return;
	}
	if (!strcmp(name, ".data")) {
		fuse_reply_err(req, EPERM);
		return;
	}
	job = job_for_name(req, parent, name);
	if (!job)
		return;
	if (is_sequential(job)) {
		/* The part from '@' is not sent. */
		job->path[strlen(job->path) - strlen(job->name) + name_tag(job->name)] = '\0';
		session_create(fs->s, job->path, NULL, -1, SESSION_SEQUENTIAL, made_sequential, job);
	} else if (begin_write(job, job->path)) {
		session_create(fs->s, job->path, NULL, -1, 0, made, job);
	}
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct job *job;

	(void)rdev;
	if (!S_ISREG(mode) || !strcmp(name, ".data")) {
		fuse_reply_err(req, EPERM);
		return;
	}
	job = job_for_name(req, parent, name);
	if (!job)
		return;
	job->flags = 1; /* with empty data */
	if (begin_write(job, job->path))
		session_create(job->fs->s, job->path, "", 0, 0, made, job);
}

void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	(void)link;
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino;
	(void)newparent;
	(void)newname;
	fuse_reply_err(req, EPERM);
}

static bool injected_removal(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct zkfs *fs = fs_of(req);
	bool is_injector;
	struct item *item = caller_item(req, &is_injector);
	int err = ESTALE;

	if (!is_injector)
		return false;
	tree_lock(&fs->m);
	if (item && ino_of(&item->dir->inode) == parent && !strcmp(item->name, name) &&
	    item->type == ITEM_DELETE)
		err = -inject_commit(fs->in, item);
	tree_unlock(&fs->m);
	fuse_reply_err(req, err);
	return true;
}

static void removed(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;

	tree_lock(&fs->m);
	if (!reply->err)
		own_deleted(&fs->w, job->dir, job->name);
	own_end(&fs->w, job->path);
	tree_unlock(&fs->m);
	job_fail(job, reply->err);
}

static void data_removed(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;

	tree_lock(&fs->m);
	if (!reply->err)
		own_changed(&fs->w, job->dir, reply->stat, NULL);
	own_end(&fs->w, job->path);
	tree_unlock(&fs->m);
	job_fail(job, reply->err);
}

static void do_remove(struct job *job)
{
	if (begin_write(job, job->path))
		session_delete(job->fs->s, job->path, -1, removed, job);
}

/* The node that is shown under the job's name gets what was closed on it first. */
static void settle_name(struct job *job, void (*next)(struct job *job))
{
	struct dentry *d;

	tree_lock(&job->fs->m);
	d = dentry_find(job->dir, job->name);
	if (d && d->shown && !job->node)
		job->node = node_ref(d->shown);
	tree_unlock(&job->fs->m);
	settle_node(job, true, next);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct zkfs *fs = fs_of(req);
	struct job *job;
	bool is_tag = false;

	if (injected_removal(req, parent, name))
		return;
	job = job_for_name(req, parent, name);
	if (!job)
		return;
	if (!job->name) {
		/* ".data": the data become NULL */
		if (begin_write(job, job->path))
			session_set(fs->s, job->path, NULL, -1, -1, data_removed, job);
		return;
	}
	if (strchr(name, '@')) {
		tree_lock(&fs->m);
		if (!dentry_find(job->dir, job->name)) {
			autofree char *path = node_path(job->dir);

			is_tag = path && tags_get(fs->tags, path, name);
			if (is_tag)
				tags_remove(fs->tags, path, name);
		}
		tree_unlock(&fs->m);
	}
	if (is_tag)
		job_fail(job, 0);
	else
		settle_name(job, do_remove);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct job *job;

	if (injected_removal(req, parent, name))
		return;
	job = job_for_name(req, parent, name);
	if (job && !job->name)
		job_fail(job, -ENOTDIR);
	else if (job)
		do_remove(job);
}

/* ---- rename ---- */

static void moved_stat(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;

	tree_lock(&fs->m);
	if (!reply->err && job->node->is_shown) {
		job->node->stat.czxid = reply->stat->czxid;
		node_set_stat(job->node, reply->stat);
	}
	tree_unlock(&fs->m);
	job_fail(job, 0);
}

/* The reply has no Stat for a create: it is fetched. */
static void renamed(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;

	tree_lock(&fs->m);
	if (!reply->err)
		own_moved(&fs->w, job->node, job->dir2, job->name2);
	own_end(&fs->w, job->path);
	own_end(&fs->w, job->path2);
	tree_unlock(&fs->m);
	if (reply->err)
		job_fail(job, reply->err);
	else
		session_exists(fs->s, job->path2, moved_stat, job);
}

/* What is there is moved with its data and versions as they are shown; anything else is found out by the server. */
static void do_rename(struct job *job)
{
	struct zkfs *fs = job->fs;
	struct session_op ops[2] = { { .path = job->path2, .len = -1, .version = -1 },
				     { .kind = SESSION_OP_DELETE, .path = job->path } };
	struct blob *data = NULL;
	struct node *n = job->node, *over;
	struct dentry *d;
	int err = 0;

	tree_lock(&fs->m);
	d = dentry_find(job->dir2, job->name2);
	over = d ? d->shown : NULL;
	if (!n || !n->is_shown || n->fresh)
		err = -ENOENT;
	else if (over && (job->flags & RENAME_NOREPLACE))
		err = -EEXIST;
	else if (n->stat.ephemeral_owner)
		err = -EPERM; /* an ephemeral znode belongs to the handle that made it */
	else if (n->is_dir && (n->load != NODE_LOADED || n->n_entries))
		err = -EXDEV; /* mv(1) copies */
	else if (over && over->is_dir != n->is_dir)
		err = n->is_dir ? -ENOTDIR : -EISDIR;
	else if (over && over->is_dir)
		err = -EXDEV;
	else if (n->unreadable)
		err = -EACCES;
	else if (is_seq_place(fs, job->dir2) && !name_has_sequence(job->name2))
		err = -EXDEV;
	else if (attr_is_dir(fs->dirs, job->path2, &(struct zstat){ 0 }, !n->data) != n->is_dir)
		err = -EXDEV; /* there it would be another kind of thing */
	if (!err) {
		data = blob_ref(n->data);
		ops[0].kind = over ? SESSION_OP_SET : SESSION_OP_CREATE;
		ops[0].data = data ? data->bytes : NULL;
		ops[0].len = data ? (ssize_t)data->len : -1;
		ops[1].version = n->stat.version;
		err = own_begin(&fs->w, job->path);
		if (!err) {
			err = own_begin(&fs->w, job->path2);
			if (err)
				own_end(&fs->w, job->path);
		}
	}
	tree_unlock(&fs->m);
	if (err)
		job_fail(job, err);
	else
		session_multi(fs->s, ops, ARRAY_SIZE(ops), renamed, job);
	blob_unref(data);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	       const char *newname, unsigned int flags)
{
	struct zkfs *fs = fs_of(req);
	struct inode *to = inode_of(fs, newparent);
	struct node *dir = inode_node(to);
	char znode[NAME_LONGEST + 1];
	struct job *job;
	int err;

	if (flags & ~RENAME_NOREPLACE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (!strcmp(name, ".data") || !strcmp(newname, ".data") || !dir || to->kind != INODE_NODE) {
		fuse_reply_err(req, EPERM);
		return;
	}
	err = refuse_write(fs, dir);
	if (!err)
		err = name_znode(newname, !dir->parent, znode);
	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	job = job_for_name(req, parent, name);
	if (!job)
		return;
	job->flags = flags;
	tree_lock(&fs->m);
	job->dir2 = node_ref(dir);
	job->path2 = node_path(dir);
	tree_unlock(&fs->m);
	job->name2 = strdup(znode);
	if (job->path2 && job->name2) {
		char *path = path_join(job->path2, znode);

		free(job->path2);
		job->path2 = path;
	}
	if (!job->path2 || !job->name2)
		job_fail(job, -ENOMEM);
	else
		settle_name(job, do_rename);
}
