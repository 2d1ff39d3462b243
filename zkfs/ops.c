/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the FUSE operations, and what they share: requests that wait, entries, who is asking.
 *
 * The thread that takes the kernel's requests never waits: an operation is answered from the mirror at once, or becomes a job that a callback of the session
 * answers. Each request is answered exactly once: by whoever gets it from job_take(). A job lives on until its callback
 * comes, also when an interrupt has answered it.
 */
#include "fs.h"

#include "ctl.h"
#include "log.h"

#include <stdio.h>
#include <time.h>

/* The kernel offers, zkfs chooses. */
static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	const unsigned int want = FUSE_CAP_READDIRPLUS | FUSE_CAP_ATOMIC_O_TRUNC |
				  FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_FLOCK_LOCKS |
				  FUSE_CAP_POSIX_LOCKS | FUSE_CAP_HANDLE_KILLPRIV;
	/* Writeback keeps old sizes after remote changes; automatic invalidation is what injection does. */
	const unsigned int refuse = FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_WRITEBACK_CACHE |
				    FUSE_CAP_AUTO_INVAL_DATA;

	(void)userdata;
	conn->want |= conn->capable & want;
	conn->want &= ~refuse;
	conn->max_write = 1 << 20;
	/* RELEASE is sent in the background: it must not be overtaken by what follows the close. */
	conn->max_background = 65535;
	conn->congestion_threshold = 65535;
}

/* Not implemented, so that the kernel does it, or says so itself: lseek, poll, ioctl, bmap, copy_file_range. */
const struct fuse_lowlevel_ops zkfs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.access = op_access,
	.create = op_create,
	.getlk = op_getlk,
	.setlk = op_setlk,
	.flock = op_flock,
	.fallocate = op_fallocate,
};

/* ---- jobs ---- */

/* libfuse calls interrupt() at once for a request that has been interrupted, and still uses the request afterwards. */
static __thread bool is_registering;

/* Under the lock of the jobs, since the request may be answered and freed by another thread meanwhile. */
static void interrupt(fuse_req_t req, void *data)
{
	struct zkfs *fs = data;
	fuse_req_t stalled = NULL;

	pthread_mutex_lock(&fs->jobs_lock);
	for (struct list *l = fs->jobs.next; l != &fs->jobs; l = l->next) {
		struct job *job = container_of(l, struct job, link);

		if (job->req != req)
			continue;
		job->interrupted = true;
		if (!is_registering && session_is_stalled(fs->s)) {
			stalled = job->req;
			job->req = NULL;
		}
		break;
	}
	pthread_mutex_unlock(&fs->jobs_lock);
	if (stalled)
		fuse_reply_err(stalled, EINTR);
}

struct job *job_new(struct zkfs *fs, fuse_req_t req)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job) {
		if (req)
			fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	job->fs = fs;
	job->req = req;
	list_init(&job->todo.link);
	list_init(&job->waiter.link);
	pthread_mutex_lock(&fs->jobs_lock);
	list_append(&fs->jobs, &job->link);
	pthread_mutex_unlock(&fs->jobs_lock);
	if (req) {
		is_registering = true;
		fuse_req_interrupt_func(req, interrupt, fs);
		is_registering = false;
	}
	return job;
}

fuse_req_t job_take(struct job *job)
{
	fuse_req_t req;

	pthread_mutex_lock(&job->fs->jobs_lock);
	req = job->req;
	job->req = NULL;
	pthread_mutex_unlock(&job->fs->jobs_lock);
	return req;
}

void job_free(struct job *job)
{
	struct zkfs *fs = job->fs;

	tree_lock(&fs->m);
	node_unref(&fs->m, job->dir);
	node_unref(&fs->m, job->node);
	node_unref(&fs->m, job->dir2);
	if (job->h)
		handle_unref(job->h);
	tree_unlock(&fs->m);
	free(job->name);
	free(job->path);
	free(job->shown);
	free(job->name2);
	free(job->path2);
	pthread_mutex_lock(&fs->jobs_lock);
	list_remove(&job->link);
	if (list_empty(&fs->jobs))
		pthread_cond_broadcast(&fs->jobs_done);
	pthread_mutex_unlock(&fs->jobs_lock);
	free(job);
}

void job_fail(struct job *job, int err)
{
	fuse_req_t req = job_take(job);

	if (err == -ECONNRESET)
		err = -EIO; /* whether it has happened is not known */
	if (req)
		fuse_reply_err(req, -err);
	job_free(job);
}

void jobs_tick(struct zkfs *fs)
{
	bool is_stalled = session_is_stalled(fs->s);
	fuse_req_t req;

	do {
		req = NULL;
		pthread_mutex_lock(&fs->jobs_lock);
		for (struct list *l = fs->jobs.next; l != &fs->jobs && is_stalled; l = l->next) {
			struct job *job = container_of(l, struct job, link);

			if (job->req && job->interrupted) {
				req = job->req;
				job->req = NULL;
				break;
			}
		}
		pthread_mutex_unlock(&fs->jobs_lock);
		if (req)
			fuse_reply_err(req, EINTR);
	} while (req);
}

void jobs_wait(struct zkfs *fs, unsigned int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000 + 1;
	pthread_mutex_lock(&fs->jobs_lock);
	while (!list_empty(&fs->jobs)) {
		if (pthread_cond_timedwait(&fs->jobs_done, &fs->jobs_lock, &until))
			break;
	}
	pthread_mutex_unlock(&fs->jobs_lock);
}

/* ---- entries ---- */

struct inode *inode_of(struct zkfs *fs, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &fs->m.root->inode : (struct inode *)(uintptr_t)ino;
}

fuse_ino_t ino_of(struct inode *i)
{
	struct node *n = i->kind == INODE_NODE ? inode_node(i) : NULL;

	return n && !n->parent ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)i;
}

struct item *caller_item(fuse_req_t req, bool *is_injector)
{
	return inject_current(fs_of(req)->in, fuse_req_ctx(req)->pid, is_injector);
}

void entry_fill(struct zkfs *fs, struct inode *i, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = ino_of(i);
	e->generation = i->generation;
	attr_stat(&fs->attr, i, &e->attr);
	if (i->kind == INODE_NODE || i->kind == INODE_DATA) {
		e->attr_timeout = FOREVER;
		e->entry_timeout = FOREVER;
	}
	inode_lookup(&fs->m, i);
}

void entry_reply(struct zkfs *fs, fuse_req_t req, struct fuse_entry_param *e)
{
	struct inode *i = inode_of(fs, e->ino);

	if (fuse_reply_entry(req, e) == 0)
		return;
	tree_lock(&fs->m);
	inode_forget(&fs->m, i, 1);
	tree_unlock(&fs->m);
}

void job_reply_entry_unlock(struct job *job, struct inode *i)
{
	struct zkfs *fs = job->fs;
	fuse_req_t req = job_take(job);
	struct fuse_entry_param e;

	if (req)
		entry_fill(fs, i, &e);
	tree_unlock(&fs->m);
	if (req)
		entry_reply(fs, req, &e);
	job_free(job);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	struct zkfs *fs = fs_of(req);

	tree_lock(&fs->m);
	inode_forget(&fs->m, inode_of(fs, ino), nlookup);
	tree_unlock(&fs->m);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct zkfs *fs = fs_of(req);

	tree_lock(&fs->m);
	for (size_t i = 0; i < count; i++)
		inode_forget(&fs->m, inode_of(fs, forgets[i].ino), forgets[i].nlookup);
	tree_unlock(&fs->m);
	fuse_reply_none(req);
}

int refuse_write(struct zkfs *fs, const struct node *n)
{
	if (fs->opts->ro)
		return -EROFS;
	return n && attr_is_system(&fs->attr, n) ? -EROFS : 0;
}
