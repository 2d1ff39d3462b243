/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remote changes become local events: a queue of changes in each directory, and threads that carry them out with the
 * system calls that a local process would have made on the mount. The FUSE handlers (ops.c) recognise these calls
 * by the thread that makes them, and answer from the change: that is the moment when the kernel's view moves on.
 */
#ifndef ZKFS_INJECT_H
#define ZKFS_INJECT_H

#include "mirror.h"

struct inject;
struct fuse_session;

/* A change that the kernel is to be told. All fields are guarded by the tree lock. */
struct item {
	struct list link;     /* in dir->queue */
	struct list of_entry; /* in entry->items */
	struct list of_own;   /* MAYBE_OWN: in watch.maybe */
	enum item_type { ITEM_CREATE, ITEM_CHANGE, ITEM_DELETE } type;
	enum item_target {
		ITEM_NODE, /* the znode */
		ITEM_DATA, /* ".data" of the directory dir */
		ITEM_TYPED /* the typed name of a sequential znode */
	} target;
	enum item_state {
		ITEM_MAYBE_OWN, /* a write of this mount's own is on its way, this may be its echo */
		ITEM_ASKING,	/* the new state is being fetched */
		ITEM_READY,
		ITEM_DROPPED /* of no interest any more: only to be freed */
	} state;
	bool is_asked;	      /* a request holds a pointer to it */
	struct node *dir;     /* reference, and known */
	struct node *node;    /* reference; NULL: TYPED, and DELETE of one that was never seen */
	struct dentry *entry; /* of the directory; NULL: DATA, TYPED */
	struct inode *typed; /* TYPED: the placeholder; DELETE without a node: made when it is looked up */
	char *name;	     /* as the kernel sees it */
	bool is_dir;	     /* DELETE without a node: what it is told as */
	bool has_state; /* stat and data are what the server said */
	bool committed; /* the kernel's view has moved on */
	struct zstat stat;
	struct blob *data;
	bool unreadable;
	int64_t since; /* monotonic_ms() of its coming */
	struct todo todo;
	struct mirror *mirror;
	void *owner; /* struct watch, for its callbacks */
	char *path;  /* while it is asked for */
};

/* NULL: no memory. The threads are started by inject_start(), once the mount is there. */
struct inject *inject_new(struct mirror *m);
/* @mountpoint is absolute. Waits until the first threads are known to the daemon. 0 or -errno */
int inject_start(struct inject *in, struct fuse_session *se, const char *mountpoint);
/* True when the injectors see the mount through a clone: what is done to the visible one does not touch them. */
bool inject_is_apart(const struct inject *in);
/* No further change is begun. Then the mount may be closed, so that whoever waits in it gets an error. */
void inject_end(struct inject *in);
/* Waits for the threads. */
void inject_stop(struct inject *in);
/* Frees the changes that wait, too: when nothing of the session can come any more. */
void inject_free(struct inject *in);

/* ---- with the tree lock held ---- */

/* A change in @dir; @name is the znode's, NULL for ".data". NULL: no memory. It is appended to the queue. */
struct item *inject_append(struct inject *in, struct node *dir, const char *name, struct node *node,
			   enum item_type type);
/* The typed name @shown of a sequential znode goes; before @before in the queue if that is not NULL. */
int inject_append_typed(struct inject *in, struct node *dir, const char *shown,
			struct inode *placeholder, struct item *before);
/* Puts @item, just appended, behind @other of the same directory. */
void inject_move_behind(struct item *item, struct item *other);
/* Puts @item, just appended, in front of all that has not been begun. */
void inject_move_first(struct item *item);
/* The state of an item changed: its directory's queue may be worked on. */
void inject_ready(struct inject *in, struct item *item);
/* @item is of no interest any more; frees it at once, or when its request is answered. */
void inject_drop(struct inject *in, struct item *item);
/* Frees a dropped item whose request has been answered. */
void inject_free_item(struct inject *in, struct item *item);
/* Something that @dir's queue may wait for has happened. */
void inject_kick(struct inject *in, struct node *dir);

/* Waiting changes, and the age of the oldest of them in milliseconds. */
size_t inject_queued(struct inject *in, int64_t *age_ms);

/* ---- for the handlers ---- */

/* True for the injectors' probe by getxattr(2): notes who asks. */
bool inject_probe(struct inject *in, const char *xattr, pid_t pid);
/* The change that the thread @pid carries out now; NULL: it is not an injector. Valid until its call is answered. */
struct item *inject_current(struct inject *in, pid_t pid, bool *is_injector);
/* The kernel's view moves on to @item. With the tree lock held. 0 or -errno: the call is to fail. */
int inject_commit(struct inject *in, struct item *item);

#endif
