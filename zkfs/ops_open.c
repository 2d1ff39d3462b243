/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and making files: one open is one version of the znode. Entered by the FUSE loop; the callbacks by the
 * session's threads.
 */
#include "ctl.h"
#include "fs.h"
#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static void set_flags(struct fuse_file_info *fi, bool writes)
{
	fi->direct_io = 1;
	fi->noflush = !writes;
}

static bool wants_write(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

/* Some handle has cut @n, and has not committed that. */
static bool is_cut(struct zkfs *fs, const struct node *n)
{
	for (struct list *l = fs->handles.next; l != &fs->handles; l = l->next) {
		const struct handle *h = container_of(l, struct handle, link);

		if (h->n == n && h->truncated && !h->is_broken)
			return true;
	}
	return false;
}

/* A handle on @n as it is shown now. The lock is held. NULL: no memory */
static struct handle *open_node(struct zkfs *fs, struct node *n, bool is_data, int flags)
{
	struct handle *h = handle_new(fs);

	if (!h)
		return NULL;
	handle_set_node(h, n);
	h->is_data = is_data;
	h->writes = wants_write(flags);
	h->append = flags & O_APPEND;
	/* Here a cut file is empty at once, for others when that is committed. */
	h->snapshot = n->dirty && is_cut(fs, n) ? NULL : blob_ref(n->data);
	h->version = n->stat.version;
	if (h->writes && n->fresh) {
		h->make = MAKE_FILE;
		h->has_image = true;
		handle_count(h);
		return h;
	}
	if (h->writes && (flags & O_TRUNC)) {
		h->truncated = true;
		h->has_image = true;
		if (h->append) {
			/* What is appended to is nothing: the same as overwriting. */
			h->append = false;
		}
		handle_count(h);
	}
	return h;
}

/* The answer to an open that waited. The lock is held, and released. */
static void reply_open_unlock(struct job *job, struct handle *h)
{
	struct zkfs *fs = job->fs;
	fuse_req_t req;

	tree_unlock(&fs->m);
	req = job_take(job);
	if (req && h) {
		job->fi.fh = (uintptr_t)h;
		set_flags(&job->fi, h->writes);
		if (fuse_reply_open(req, &job->fi) == 0)
			h = NULL;
	} else if (req) {
		fuse_reply_err(req, ENOMEM);
	}
	if (h) {
		tree_lock(&fs->m);
		handle_unref(h);
		tree_unlock(&fs->m);
	}
	job_free(job);
}

static void do_open(struct job *job);

static void gone_or_not(void *arg, int err)
{
	struct job *job = arg;

	if (err)
		job_fail(job, err); /* ESTALE: the kernel looks the name up again */
	else
		do_open(job);
}

/* A change of the ACL is no event: it is asked again. */
static void readable_or_not(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;
	struct blob *data = NULL;

	if (!reply->err && reply->len >= 0)
		data = blob_new(reply->data, reply->len);
	if (reply->err || (reply->len >= 0 && !data)) {
		job_fail(job, reply->err ? reply->err : -ENOMEM);
		return;
	}
	tree_lock(&fs->m);
	node_set_state(job->node, reply->stat, data);
	job->node->unreadable = false;
	reply_open_unlock(job, open_node(fs, job->node, job->flags, job->fi.flags));
}

static void do_open(struct job *job)
{
	struct zkfs *fs = job->fs;

	tree_lock(&fs->m);
	if (job->node->ending) {
		/* Closed by its last user, and not told as gone yet: whoever opens the name now means another one. */
		bool is_gone = job->node->gone;

		job->waiter.fn = gone_or_not;
		job->waiter.arg = job;
		if (!is_gone)
			list_append(&job->node->waiters, &job->waiter.link);
		tree_unlock(&fs->m);
		if (is_gone)
			job_fail(job, -ESTALE);
		return;
	}
	if (job->node->unreadable && (!wants_write(job->fi.flags) || !(job->fi.flags & O_TRUNC))) {
		job->path = node_path(job->node);
		tree_unlock(&fs->m);
		if (job->path)
			session_get(fs->s, job->path, readable_or_not, job);
		else
			job_fail(job, -ENOMEM);
		return;
	}
	reply_open_unlock(job, open_node(fs, job->node, job->flags, job->fi.flags));
}

static void open_ctl(fuse_req_t req, struct zkfs *fs, struct inode *i, struct fuse_file_info *fi)
{
	struct handle *h;

	tree_lock(&fs->m);
	h = handle_new(fs);
	tree_unlock(&fs->m);
	if (!h) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	h->kind = HANDLE_CTL;
	h->ctl = i->ctl;
	h->writes = wants_write(fi->flags);
	h->text = ctl_read(fs, i->ctl);
	fi->fh = (uintptr_t)h;
	set_flags(fi, h->writes);
	if (fuse_reply_open(req, fi) == 0)
		return;
	tree_lock(&fs->m);
	handle_unref(h);
	tree_unlock(&fs->m);
}

static bool injected_open(fuse_req_t req, struct inode *i, struct fuse_file_info *fi)
{
	struct zkfs *fs = fs_of(req);
	bool is_injector;
	struct item *item = caller_item(req, &is_injector);
	int err = ESTALE;

	if (!is_injector)
		return false;
	tree_lock(&fs->m);
	if (item && item->type == ITEM_CHANGE &&
	    (item->target == ITEM_DATA ? i == &item->dir->data_inode : i == &item->node->inode))
		err = -inject_commit(fs->in, item);
	tree_unlock(&fs->m);
	fi->fh = INJECTED_FH;
	set_flags(fi, false);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_open(req, fi);
	return true;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct zkfs *fs = fs_of(req);
	struct inode *i = inode_of(fs, ino);
	struct node *n = inode_node(i);
	struct job *job;
	bool is_over; /* without a session nobody knows what the file holds by now */
	int err;

	if (injected_open(req, i, fi))
		return;
	if (i->kind == INODE_CTL) {
		open_ctl(req, fs, i, fi);
		return;
	}
	tree_lock(&fs->m);
	is_over = !fs->w.session_id;
	tree_unlock(&fs->m);
	err = !n		       ? -ENOENT
	      : is_over		       ? -ETIMEDOUT
	      : wants_write(fi->flags) ? refuse_write(fs, n)
				       : 0;
	if (!err && i->kind == INODE_NODE && n->is_dir)
		err = -EISDIR;
	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	job = job_new(fs, req);
	if (!job)
		return;
	job->fi = *fi;
	job->flags = i->kind == INODE_DATA;
	tree_lock(&fs->m);
	job->node = node_ref(n);
	tree_unlock(&fs->m);
	if (wants_write(fi->flags))
		settle_node(job, false, do_open);
	else
		do_open(job);
}

/* ---- create ---- */

/* Answers with an inode and a handle for it. The lock is held, and released. */
static void reply_create_unlock(struct job *job, struct inode *i, struct handle *h)
{
	struct zkfs *fs = job->fs;
	fuse_req_t req = job_take(job);
	struct fuse_entry_param e;

	if (!req || !h) {
		if (h && h->session) {
			/* Nobody has got it: it ends as if it had been closed. */
			job->h = h;
			h->n->ending = true;
			tree_unlock(&fs->m);
			end_ephemeral(job);
			return;
		}
		if (h && h->make == MAKE_FILE)
			node_unshow(&fs->m, h->n);
		if (h)
			handle_unref(h);
		tree_unlock(&fs->m);
		if (req)
			fuse_reply_err(req, ENOMEM);
		job_free(job);
		return;
	}
	entry_fill(fs, i, &e);
	tree_unlock(&fs->m);
	job->fi.fh = (uintptr_t)h;
	set_flags(&job->fi, h->writes);
	if (fuse_reply_create(req, &e, &job->fi)) {
		tree_lock(&fs->m);
		inode_forget(&fs->m, i, 1);
		handle_unref(h);
		tree_unlock(&fs->m);
	}
	job_free(job);
}

static void created(void *arg, const struct session_reply *reply);

static void existing(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;
	struct dentry *d;
	struct node *n;

	if (reply->err) {
		job_fail(job, reply->err);
		return;
	}
	tree_lock(&fs->m);
	watch_found(&fs->w, job->dir, job->name, reply, false);
	d = dentry_find(job->dir, job->name);
	n = d ? d->shown : NULL;
	if (!n && d && d->latest) {
		/* Its event is on its way: it is found already. */
		struct blob *data = reply->len >= 0 ? blob_new(reply->data, reply->len) : NULL;

		n = d->latest;
		n->is_dir = n->is_dir || attr_is_dir(fs->dirs, job->path, reply->stat, !data);
		n->determined = true;
		node_set_state(n, reply->stat, data);
		if (node_show(&fs->m, n))
			n = NULL;
	}
	if (!n || n->is_dir) {
		tree_unlock(&fs->m);
		job_fail(job, n ? -EISDIR : -ENOENT);
		return;
	}
	reply_create_unlock(job, &n->inode, open_node(fs, n, false, job->fi.flags));
}

/* At the server at once: O_EXCL and ephemeral znodes. */
static void created(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;
	struct node *n = NULL;
	struct handle *h;

	tree_lock(&fs->m);
	if (!reply->err)
		n = own_created(&fs->w, job->dir, job->name, reply->stat, blob_new("", 0), NULL);
	own_end(&fs->w, job->path);
	if (!n) {
		tree_unlock(&fs->m);
		if (reply->err == -EEXIST && !(job->fi.flags & O_EXCL))
			session_get(fs->s, job->path, existing, job);
		else
			job_fail(job, reply->err ? reply->err : -ENOMEM);
		return;
	}
	job->node = n;
	h = open_node(fs, n, false, job->fi.flags & ~O_TRUNC);
	if (h)
		h->made = true;
	if (h && job->flags & SESSION_EPHEMERAL)
		h->session = n->stat.ephemeral_owner;
	reply_create_unlock(job, &n->inode, h);
}

static void create_now(struct job *job, int flags)
{
	struct zkfs *fs = job->fs;
	int err;

	job->flags = flags;
	tree_lock(&fs->m);
	err = own_begin(&fs->w, job->path);
	tree_unlock(&fs->m);
	if (err)
		job_fail(job, err);
	else
		session_create(fs->s, job->path, "", 0, flags, created, job);
}

/* At the server with the first write, or at close: nobody ever sees it empty. */
static void create_fresh(struct job *job)
{
	struct zkfs *fs = job->fs;
	struct handle *h = NULL;
	struct dentry *d;
	struct node *n;

	tree_lock(&fs->m);
	d = dentry_find(job->dir, job->name);
	if (d && d->shown) {
		n = d->shown;
		if (n->is_dir) {
			tree_unlock(&fs->m);
			job_fail(job, -EISDIR);
			return;
		}
		reply_create_unlock(job, &n->inode, open_node(fs, n, false, job->fi.flags));
		return;
	}
	n = node_new(&fs->m, job->dir, job->name);
	if (n) {
		n->fresh = n->told = n->determined = true;
		n->load = NODE_LOADED;
		n->stat.mtime = n->stat.ctime = now_ms();
		if (node_show(&fs->m, n) == 0)
			h = open_node(fs, n, false, job->fi.flags & ~O_TRUNC);
		if (h) {
			h->made = true;
		} else {
			node_unshow(&fs->m, n);
		}
		job->node = n;
	}
	reply_create_unlock(job, n ? &n->inode : NULL, h);
}

/* The name typed stands for another one, or for a directory: a placeholder takes the file's place until it is made. */
static void create_typed(struct job *job, bool sequential)
{
	struct zkfs *fs = job->fs;
	struct inode *placeholder;
	struct handle *h;

	tree_lock(&fs->m);
	placeholder = inode_new(&fs->m, INODE_PLACEHOLDER, false);
	h = placeholder ? handle_new(fs) : NULL;
	if (h) {
		inode_lookup(&fs->m, placeholder);
		h->placeholder = placeholder;
		h->typed = strdup(job->shown);
		h->make = MAKE_TYPED;
		h->sequential = sequential;
		h->writes = true;
		h->has_image = true;
		h->dir = node_ref(job->dir);
		node_known_get(&fs->m, h->dir);
		if (!h->typed) {
			handle_unref(h);
			h = NULL;
			placeholder = NULL;
		}
	}
	reply_create_unlock(job, placeholder, h);
}

/* O_EXCL at a place of directories: it is made before anybody is told that it is. */
static void typed_now(void *arg, int err)
{
	struct job *job = arg;
	struct handle *h = job->h;

	if (err) {
		tree_lock(&job->fs->m);
		h->make = MAKE_NOTHING;
		tree_unlock(&job->fs->m);
		job_fail(job, err);
		return;
	}
	tree_lock(&job->fs->m);
	job->h = NULL;
	reply_create_unlock(job, h->placeholder, h);
}

static void create_typed_excl(struct job *job)
{
	struct zkfs *fs = job->fs;
	struct handle *h;

	tree_lock(&fs->m);
	h = handle_new(fs);
	if (h) {
		h->placeholder = inode_new(&fs->m, INODE_PLACEHOLDER, false);
		h->typed = strdup(job->shown);
		h->make = MAKE_TYPED;
		h->writes = true;
		h->has_image = true;
		h->dir = node_ref(job->dir);
		node_known_get(&fs->m, h->dir);
		if (h->placeholder)
			inode_lookup(&fs->m, h->placeholder);
		job->h = h;
	}
	tree_unlock(&fs->m);
	if (!h || !h->typed || !h->placeholder) {
		if (h)
			h->make = MAKE_NOTHING;
		job_fail(job, -ENOMEM);
		return;
	}
	commit(h, NULL, 0, 0, typed_now, job);
}

static bool injected_create(fuse_req_t req, fuse_ino_t parent, const char *name,
			    struct fuse_file_info *fi)
{
	struct zkfs *fs = fs_of(req);
	bool is_injector;
	struct item *item = caller_item(req, &is_injector);
	struct fuse_entry_param e;
	struct inode *i;

	if (!is_injector)
		return false;
	tree_lock(&fs->m);
	if (!item || item->type != ITEM_CREATE || ino_of(&item->dir->inode) != parent ||
	    strcmp(item->name, name) != 0 || inject_commit(fs->in, item)) {
		tree_unlock(&fs->m);
		fuse_reply_err(req, ESTALE);
		return true;
	}
	i = item->target == ITEM_DATA ? &item->dir->data_inode : &item->node->inode;
	entry_fill(fs, i, &e);
	tree_unlock(&fs->m);
	fi->fh = INJECTED_FH;
	set_flags(fi, false);
	if (fuse_reply_create(req, &e, fi)) {
		tree_lock(&fs->m);
		inode_forget(&fs->m, i, 1);
		tree_unlock(&fs->m);
	}
	return true;
}

static void looked_for(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;

	if (reply->err == -ENOENT)
		create_fresh(job);
	else
		existing(job, reply);
}

/* ".data" of a directory whose data are NULL. */
static void create_data(struct job *job)
{
	struct zkfs *fs = job->fs;
	struct node *n;
	struct handle *h;

	tree_lock(&fs->m);
	n = job->node = node_ref(job->dir);
	h = open_node(fs, n, true, job->fi.flags & ~O_TRUNC);
	if (h && !n->data) {
		/* To be committed at close, if nothing is written. */
		h->truncated = true;
		h->has_image = true;
		handle_count(h);
	}
	reply_create_unlock(job, &n->data_inode, h);
}

static void do_create(struct job *job)
{
	struct zkfs *fs = job->fs;
	int flags = job->fi.flags;
	autofree char *dir = NULL;
	bool is_dir;

	tree_lock(&fs->m);
	dir = node_path(job->dir);
	tree_unlock(&fs->m);
	if (!dir) {
		job_fail(job, -ENOMEM);
		return;
	}
	is_dir = places_match(fs->dirs, job->path);
	if (places_match(fs->seq, dir) && !name_has_sequence(job->name))
		create_typed(job, true);
	else if (places_match(fs->ephemeral, job->path))
		create_now(job, SESSION_EPHEMERAL);
	else if (is_dir && (flags & O_EXCL))
		create_typed_excl(job);
	else if (is_dir)
		create_typed(job, false);
	else if (flags & O_EXCL)
		create_now(job, 0);
	else if ((flags & O_ACCMODE) != O_WRONLY && !(flags & O_TRUNC))
		session_get(fs->s, job->path, looked_for, job);
	else
		create_fresh(job);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct job *job;

	(void)mode;
	if (injected_create(req, parent, name, fi))
		return;
	job = job_for_name(req, parent, name);
	if (!job)
		return;
	job->fi = *fi;
	if (job->name)
		do_create(job);
	else
		create_data(job);
}
