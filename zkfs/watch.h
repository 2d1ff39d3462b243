/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the mirror fresh: the server's events and replies in, changes for the injectors out. Tells the
 * echoes of what this mount did itself from what others did.
 */
#ifndef ZKFS_WATCH_H
#define ZKFS_WATCH_H

#include "inject.h"
#include "mirror.h"
#include "name.h"
#include "session.h"

/*
 * A child of this name, made and removed in one transaction with the first data of a directory, keeps it one. It is never seen.
 */
#define DIRECTORY_MARK ".zkfs-directory"

/* A write of this mount's own that is on its way: events at its path may be its echo. */
struct own {
	struct list link;
	char *path;
	unsigned int count;
};

struct watch {
	struct mirror *m;
	struct inject *in;
	struct session *s; /* set once, before the first event */
	const struct places *dirs;
	struct list maybe; /* struct item.of_own */
	struct list own;   /* guarded by the tree lock */
	/* Sessions of ours that are over: what they still have at the server is as good as gone. Guarded by the tree lock. */
	int64_t lost[16];
	unsigned int n_lost;
	int64_t session_id; /* of the last watch_up(); guarded by the tree lock */
	uint64_t comparing; /* directories whose comparison after a gap is not done; guarded by the tree lock */
};

void watch_init(struct watch *w, struct mirror *m, struct inject *in, const struct places *dirs);

/* struct session_ops */
void watch_event(struct watch *w, enum session_event type, const char *path);
void watch_up(struct watch *w, bool is_new);
void watch_expired(struct watch *w);

/* ---- with the tree lock held ---- */

/* Around each request that writes at @path. -ENOMEM. Failure or not, own_end() once the reply has been dealt with. */
int own_begin(struct watch *w, const char *path);
void own_end(struct watch *w, const char *path);

/*
 * The server has carried out what this mount asked for: the mirror follows, the echo is dropped, the caller's reply lets
 * the kernel tell it. @data: its reference is taken over. Call before own_end().
 */

/* Returns the node with a reference for the caller, shown and told; NULL: no memory. @fresh: it is to be this one; or NULL. */
struct node *own_created(struct watch *w, struct node *dir, const char *name,
			 const struct zstat *stat, struct blob *data, struct node *fresh);
/* A sequential znode: it is found at once, and its creation is told by an injector, after the typed name's end. */
struct node *own_sequential(struct watch *w, struct node *dir, const char *name, const char *typed,
			    struct inode *placeholder, const struct zstat *stat, struct blob *data);
void own_deleted(struct watch *w, struct node *dir, const char *name);
void own_changed(struct watch *w, struct node *n, const struct zstat *stat, struct blob *data);
/* A rename from @n's name to @name in @dir has been carried out; its Stat, but for the times, is unknown. */
void own_moved(struct watch *w, struct node *n, struct node *dir, const char *name);

/* A reply to get or exists for a znode that is not known yet: a node for it, shown; NULL: no memory, or better not. */
struct node *watch_found(struct watch *w, struct node *dir, const char *name,
			 const struct session_reply *reply, bool unreadable);

/* Likewise, when a change of it, the first that was heard of it, waits. */
void watch_found_pending(struct watch *w, struct node *dir, const char *name,
			 const struct session_reply *reply, bool unreadable);

/* True when @dir's children are all known. Otherwise @waiter is called once they are, or can't be (err). */
bool load_wait(struct watch *w, struct node *dir, struct waiter *waiter);
/* struct mirror.needs_load */
void load_start(void *watch, struct node *dir);

/* ---- between the parts of the watch ---- */

/* As if the server had told it. @parent may be NULL. With the lock held. */
void news_created(struct watch *w, struct node *parent, const char *name, const char *path);
void news_deleted(struct watch *w, struct node *parent, const char *name, const char *path);
void news_changed(struct watch *w, struct node *parent, const char *name, const char *path);
/* A comparison has fetched another state of @n than the newest known. Takes over the reference of @data. */
void news_state(struct watch *w, struct node *n, const char *path, const struct zstat *stat,
		struct blob *data, bool unreadable);
/* Compares @dir's children with the server's. */
void resync_dir(struct watch *w, struct node *dir);
bool is_lost_session(const struct watch *w, int64_t id);

#endif
