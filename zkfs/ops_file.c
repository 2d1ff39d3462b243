/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents of files: one open is one version of the znode. Entered by the FUSE loop; the callbacks by the session's
 * threads.
 */
#include "fs.h"

#include "ctl.h"
#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* A write that ends on a multiple of this is taken for a full buffer with more to come. */
#define BUFFER 4096

static struct handle *handle_of(struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* ---- reading and writing ---- */

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct zkfs *fs = fs_of(req);
	struct handle *h = handle_of(fi);
	struct blob *snapshot = NULL;
	const char *bytes;
	char *copy = NULL;
	size_t len;

	(void)ino;
	if (h->kind == HANDLE_CTL) {
		bytes = h->text ? h->text : "";
		len = strlen(bytes);
	} else {
		tree_lock(&fs->m);
		if (h->at_end && h->n && !h->has_image) {
			/* Who goes on after the end (tail -f) reads the newest version from there. */
			blob_unref(h->snapshot);
			h->snapshot = blob_ref(h->n->data);
			h->version = h->n->stat.version;
			h->at_end = false;
		}
		if (h->has_image && !h->append) {
			copy = malloc(h->len + 1);
			if (copy && h->len)
				memcpy(copy, h->image, h->len);
			bytes = copy;
			len = copy ? h->len : 0;
		} else {
			snapshot = blob_ref(h->snapshot);
			bytes = snapshot ? snapshot->bytes : NULL;
			len = snapshot ? snapshot->len : 0;
		}
		if ((size_t)off >= len)
			h->at_end = true;
		tree_unlock(&fs->m);
	}
	if ((size_t)off >= len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, bytes + off, size < len - off ? size : len - off);
	blob_unref(snapshot);
	free(copy);
}

static void written(void *arg, int err)
{
	struct job *job = arg;
	fuse_req_t req = job_take(job);

	if (req && err)
		fuse_reply_err(req, -err);
	else if (req)
		fuse_reply_write(req, job->size);
	job_free(job);
}

/* Bytes that more are to follow: into the image only. The lock is held. 0 or -errno */
static int keep(struct handle *h, const char *buf, size_t size, off_t off)
{
	size_t base = h->has_image || h->append ? h->len : h->snapshot ? h->snapshot->len : 0;
	size_t at = h->append ? h->len : (size_t)off, end = at + size > base ? at + size : base;
	size_t whole = end + (h->append && h->n && h->n->data ? h->n->data->len : 0);

	if (h->stale || (h->n && h->n->gone && !h->n->fresh))
		return -ESTALE;
	if (whole > commit_limit(h->fs, "/", false))
		return -EFBIG;
	if (end > h->cap) {
		size_t cap = end * 2;
		char *image = realloc(h->image, cap);

		if (!image)
			return -ENOMEM;
		h->image = image;
		h->cap = cap;
	}
	if (!h->has_image && !h->append && h->snapshot)
		memcpy(h->image, h->snapshot->bytes, h->snapshot->len);
	if (at > base)
		memset(h->image + base, 0, at - base);
	memcpy(h->image + at, buf, size);
	h->len = end;
	h->has_image = true;
	h->dirty = true;
	handle_count(h);
	return 0;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	      struct fuse_file_info *fi)
{
	struct zkfs *fs = fs_of(req);
	struct handle *h = handle_of(fi);
	struct job *job;
	int err;

	(void)ino;
	if (h->kind == HANDLE_CTL) {
		err = ctl_write(h->ctl, buf, size);
		if (err)
			fuse_reply_err(req, -err);
		else
			fuse_reply_write(req, size);
		return;
	}
	if ((h->append ? h->len + size : (size_t)off + size) % BUFFER == 0 &&
	    !(fi->flags & (O_SYNC | O_DSYNC))) {
		tree_lock(&fs->m);
		err = h->committing ? -EAGAIN : keep(h, buf, size, off);
		if (err == -EFBIG) {
			h->is_broken = true;
			handle_count(h);
		}
		tree_unlock(&fs->m);
		if (!err) {
			fuse_reply_write(req, size);
			return;
		}
		if (err != -EAGAIN) {
			fuse_reply_err(req, -err);
			return;
		}
	}
	job = job_new(fs, req);
	if (!job)
		return;
	job->size = size;
	tree_lock(&fs->m);
	job->h = h;
	handle_ref(h);
	tree_unlock(&fs->m);
	commit(h, buf, size, off, written, job);
}

static void job_done(void *arg, int err)
{
	job_fail(arg, err);
}

/* What was kept is committed; a truncation alone waits for the last close. */
static void flush(fuse_req_t req, struct fuse_file_info *fi, bool all)
{
	struct zkfs *fs = fs_of(req);
	struct handle *h = handle_of(fi);
	struct job *job;
	bool commits;

	if (fi->fh == INJECTED_FH || h->kind == HANDLE_CTL) {
		fuse_reply_err(req, 0);
		return;
	}
	tree_lock(&fs->m);
	commits = !h->is_broken && (h->dirty || (all && handle_is_pending(h)) || h->committing);
	tree_unlock(&fs->m);
	if (!commits) {
		fuse_reply_err(req, 0);
		return;
	}
	job = job_new(fs, req);
	if (!job)
		return;
	tree_lock(&fs->m);
	job->h = h;
	handle_ref(h);
	tree_unlock(&fs->m);
	commit(h, NULL, 0, 0, job_done, job);
}

/* Each close of each copy of the descriptor sends one. */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	flush(req, fi, false);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	flush(req, fi, true);
}

/* ---- the last close ---- */

static void ended(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;
	struct handle *h = job->h;
	bool is_over = h->session != session_id(fs->s);
	int err = reply->err == -ENOENT ? 0 : reply->err;

	if ((err == -ETIMEDOUT || err == -ECONNRESET) && !is_over) {
		end_ephemeral(job);
		return;
	}
	if (err && !is_over && err != -EIO) {
		log_warn("cannot delete the ephemeral znode %s: %s", job->path, strerror(-err));
		tree_lock(&fs->m);
		h->n->ending = false;
		node_wake(&fs->m, h->n, 0);
		tree_unlock(&fs->m);
	}
	job_fail(job, err);
}

/* An ephemeral znode lives as long as the handle that made it. No system call tells of its end: its event does. */
void end_ephemeral(struct job *job)
{
	struct zkfs *fs = job->fs;
	struct handle *h = job->h;
	bool is_over;

	tree_lock(&fs->m);
	is_over = !h->n || h->n->gone || h->session != session_id(fs->s);
	if (!is_over && !job->path)
		job->path = node_path(h->n);
	tree_unlock(&fs->m);
	if (is_over)
		job_fail(job, 0);
	else if (!job->path)
		job_fail(job, -ENOMEM);
	else
		session_delete_in(fs->s, h->session, job->path, ended, job);
}

/* What was never made: the kernel is told that it is gone again. The lock is held. */
static void take_back(struct zkfs *fs, struct handle *h)
{
	struct item *item;

	if (h->make == MAKE_TYPED) {
		inject_append_typed(fs->in, h->dir, h->typed, h->placeholder, NULL);
		return;
	}
	if (!h->n || !h->n->is_shown)
		return;
	item = inject_append(fs->in, h->n->parent, h->n->name, h->n, ITEM_DELETE);
	if (item) {
		item->state = ITEM_READY;
		inject_ready(fs->in, item);
	} else {
		node_unshow(&fs->m, h->n);
	}
}

static void released(void *arg, int err)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;
	struct handle *h = job->h;

	tree_lock(&fs->m);
	if (err && h->make != MAKE_NOTHING)
		take_back(fs, h);
	tree_unlock(&fs->m);
	if (h->session)
		end_ephemeral(job);
	else
		job_fail(job, err);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct zkfs *fs = fs_of(req);
	struct handle *h = handle_of(fi);
	struct job *job;
	bool is_broken;

	(void)ino;
	if (fi->fh == INJECTED_FH) {
		fuse_reply_err(req, 0);
		return;
	}
	tree_lock(&fs->m);
	if (!h->session && !handle_is_pending(h) && !h->committing &&
	    !(h->is_broken && h->make != MAKE_NOTHING)) {
		handle_unref(h);
		tree_unlock(&fs->m);
		fuse_reply_err(req, 0);
		return;
	}
	is_broken = h->is_broken;
	if (h->session && h->n)
		h->n->ending = true;
	tree_unlock(&fs->m);
	job = job_new(fs, req);
	if (!job)
		return;
	job->h = h;
	if (is_broken)
		released(job, -EIO); /* its first write has failed, and has said so */
	else
		commit(h, NULL, 0, 0, released, job);
}

/* Room for more is always there, up to the limit. */
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		  struct fuse_file_info *fi)
{
	(void)ino;
	(void)mode;
	(void)offset;
	(void)length;
	(void)fi;
	fuse_reply_err(req, EOPNOTSUPP);
}

/* Locks on this host alone would be worse than none. */
void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	(void)ino;
	(void)fi;
	(void)op;
	fuse_reply_err(req, ENOLCK);
}

void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	(void)ino;
	(void)fi;
	(void)lock;
	fuse_reply_err(req, ENOLCK);
}

void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
	(void)ino;
	(void)fi;
	(void)sleep;
	fuse_reply_err(req, lock->l_type == F_UNLCK ? 0 : ENOLCK);
}
