/* SPDX-License-Identifier: Apache-2.0 */
/* What the FUSE operations share: the filesystem, requests that wait for an answer, open files. */
#ifndef ZKFS_FS_H
#define ZKFS_FS_H

#define FUSE_USE_VERSION 314

#include "attr.h"
#include "inject.h"
#include "mirror.h"
#include "name.h"
#include "opts.h"
#include "session.h"
#include "tags.h"
#include "watch.h"

#include <fuse_lowlevel.h>

/* Seconds that the kernel may trust an answer: what changes it is injected. */
#define FOREVER 1e9

struct zkfs {
	const struct opts *opts;
	struct mirror m;
	struct inject *in;
	struct watch w;
	struct session *s;
	struct places *seq, *ephemeral, *dirs;
	struct attr_conf attr;
	struct tags *tags; /* guarded by the tree lock */
	struct fuse_session *se;
	struct inode ctl[4]; /* .zkfs and its files, by enum ctl_id; guarded by the tree lock */
	struct list handles; /* struct handle.link; guarded by the tree lock */
	size_t n_handles;
	pthread_mutex_t jobs_lock; /* guards jobs and each job's req; innermost */
	pthread_cond_t jobs_done;
	struct list jobs;
};

/* A request that is answered later; and the work of a handle that nobody waits for (req NULL). */
struct job {
	struct list link;
	struct zkfs *fs;
	fuse_req_t req; /* NULL once it is answered */
	bool interrupted;
	/* what the operation needs; references */
	struct node *dir, *node;
	struct inode *inode;
	char *name, *path; /* name: the znode's */
	char *shown;
	struct node *dir2; /* rename: where to */
	char *name2, *path2;
	struct handle *h;
	struct fuse_file_info fi;
	size_t size;
	off_t off;
	unsigned int flags;
	int mask;
	bool plus;
	struct waiter waiter;
	struct todo todo;
	void (*next)(struct job *job);
};

/* NULL: no memory, and the request has been answered so. */
struct job *job_new(struct zkfs *fs, fuse_req_t req);
/* The request, to be answered by the caller now; NULL: it has been answered (interrupted). */
fuse_req_t job_take(struct job *job);
/* Frees the job and its references. Without the tree lock. */
void job_free(struct job *job);
/* Answers with -@err (0: success), and frees. */
void job_fail(struct job *job, int err);
/* Answers what has been interrupted for too long: struct session_ops.tick */
void jobs_tick(struct zkfs *fs);
/* Waits until no job is left, at most @ms. */
void jobs_wait(struct zkfs *fs, unsigned int ms);

static inline struct zkfs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

struct inode *inode_of(struct zkfs *fs, fuse_ino_t ino);
fuse_ino_t ino_of(struct inode *i);

/* The change that the caller carries out, if it is an injector. */
struct item *caller_item(fuse_req_t req, bool *is_injector);

/* With the tree lock held: what look-ups are answered with; counts the look-up. */
void entry_fill(struct zkfs *fs, struct inode *i, struct fuse_entry_param *e);
/* Without: answers; undoes the count if nobody took the answer. */
void entry_reply(struct zkfs *fs, fuse_req_t req, struct fuse_entry_param *e);
/* With the tree lock held; @i must not be shown to have changed: releases the lock and answers @job. */
void job_reply_entry_unlock(struct job *job, struct inode *i);

/*
 * A job for a change of the name @name in @parent, with dir, name (the znode's; NULL for ".data"), path and shown; or NULL: refused,
 * and answered so. Not for injectors.
 */
struct job *job_for_name(fuse_req_t req, fuse_ino_t parent, const char *name);
/* 0, or the errno with which a user's change of @dir's or @n's is refused. */
int refuse_write(struct zkfs *fs, const struct node *n);

/* ---- open files: ops_file.c, commit.c ---- */

struct handle {
	struct list link;
	enum { HANDLE_FILE, HANDLE_CTL } kind;
	struct zkfs *fs;
	unsigned int refs; /* guarded by the tree lock, as all of it */
	struct node *n;	   /* reference, and known; NULL: TYPED before it is made */
	bool is_data;	   /* of ".data" */
	bool writes, append;
	enum {
		MAKE_NOTHING,
		MAKE_FILE,  /* n is fresh: the first commit creates it */
		MAKE_TYPED, /* the first commit creates what the placeholder stands for */
	} make;
	struct node *dir; /* MAKE_TYPED: reference, known */
	char *typed;	  /* MAKE_TYPED: name on the mount */
	struct inode *placeholder;
	bool sequential; /* MAKE_TYPED */
	int64_t session; /* ephemeral: whose; 0: not */
	struct blob *snapshot;
	int32_t version; /* of the snapshot; what a set must find; -1: any */
	/* The file as this handle has written it; of an appending one only what is not committed. */
	bool at_end; /* a read has been told that there is no more: the next sees the newest version */
	char *image;
	size_t len, cap;
	bool has_image;
	bool dirty;	/* image holds written bytes that are not committed */
	bool truncated; /* cut by open or ftruncate, not committed */
	bool counted;	/* in n->dirty */
	bool committing;
	bool is_broken; /* a write has failed, and has said so: what it held is not sent any more */
	bool made;  /* it has made its file: who makes a file may say which mode it thinks it has */
	bool ended; /* the daemon ends: it has been tried */
	bool stale; /* another one has changed or removed the file, or the session is over */
	struct list waiting; /* struct waiter: for the end of the commit */
	char *text;	     /* CTL: what it reads as */
	int ctl;
};

struct handle *handle_new(struct zkfs *fs);
void handle_ref(struct handle *h);
/* With the tree lock held. */
void handle_unref(struct handle *h);
void handle_set_node(struct handle *h, struct node *n);
/* Something is not at the server yet. */
bool handle_is_pending(const struct handle *h);
/* Keeps n->dirty right. */
void handle_count(struct handle *h);

/*
 * Commits what @h holds, with @size bytes of @buf at @off written into it if @buf is not NULL (at the end, when it appends); calls
 * @done with 0 or -errno. When it fails the image is what it was. Without the tree lock; @done may come before it returns.
 */
void commit(struct handle *h, const char *buf, size_t size, off_t off,
	    void (*done)(void *arg, int err), void *arg);
/* The most bytes that @path may hold; when it is created, or set. */
size_t commit_limit(struct zkfs *fs, const char *path, bool create);
/*
 * Commits what handles on @job->node hold (or only that they have cut it), then calls @next(@job). Without the tree
 * lock.
 */
void settle_node(struct job *job, bool all, void (*next)(struct job *job));

/* The ephemeral znode of job->h goes, as at its last close; frees @job. */
void end_ephemeral(struct job *job);

/* ---- the operations ---- */

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	       const char *newname, unsigned int flags);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	      struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		  struct fuse_file_info *fi);

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi);
void op_access(fuse_req_t req, fuse_ino_t ino, int mask);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);
void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
	      int sleep);

/* For the injectors: a handle that is none. */
#define INJECTED_FH UINT64_MAX

extern const struct fuse_lowlevel_ops zkfs_ops;

#endif
