/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of known znodes, and what of it the kernel has been told: pure data, no server, no mount.
 *
 * A struct node is one znode from its creation to its deletion (an identity, by czxid); a struct dentry is one name
 * in a directory, with the node that the kernel is shown under it and the newest one that is known. The
 * two differ while a change waits in the directory's queue (inject.h).
 */
#ifndef ZKFS_MIRROR_H
#define ZKFS_MIRROR_H

#include "session.h"
#include "util.h"

/* A znode's data, immutable and shared. A NULL pointer stands for NULL data. */
struct blob {
	int refs; /* guarded by the tree lock */
	size_t len;
	char bytes[];
};

/* NULL when there is no memory. One reference. */
struct blob *blob_new(const void *data, size_t len);
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b);

/* What a FUSE node id stands for: its address is the id, but for the root's. */
struct inode {
	enum inode_kind {
		INODE_NODE,	   /* a znode: embedded in its struct node */
		INODE_DATA,	   /* ".data" of a directory: embedded in its struct node */
		INODE_CTL,	   /* ".zkfs" and what is in it: ctl.h */
		INODE_LINK,	   /* task-@tag: a symbolic link */
		INODE_PLACEHOLDER, /* task-: the typed name of a sequential znode */
	} kind;
	bool is_dir;	   /* PLACEHOLDER, CTL */
	uint64_t nlookup;  /* how often the kernel was given it, less what it forgot */
	uint64_t ino;	   /* st_ino */
	struct list extra; /* LINK, PLACEHOLDER: in mirror.inodes */
	uint64_t generation;
	int64_t time_ms; /* PLACEHOLDER, LINK, CTL: all its times */
	char *link;	 /* LINK: where to */
	int ctl;	 /* CTL: which */
};

struct dentry {
	struct dentry *next; /* in its bucket */
	char *name;	     /* the znode's */
	uint32_t hash;
	struct node *shown;  /* holds a reference; NULL: the kernel is told that there is none */
	struct node *latest; /* holds a reference; NULL: there is none at the server, or unknown */
	struct list items;   /* waiting changes, oldest first: struct item.of_entry */
	uint64_t cookie;     /* offset in a listing */
	bool listed;	     /* during a comparison: the server has it */
};

struct slot {
	uint64_t cookie;
	struct dentry *entry; /* NULL: removed */
};

/* All fields are guarded by the tree lock. */
struct node {
	struct inode inode, data_inode;
	struct list all; /* in mirror.all */
	int refs;
	unsigned int known; /* kernel look-ups of it, handles, waiting changes in it, known children */
	struct node *parent; /* holds a reference; NULL: the root */
	char *name;	     /* the znode's; "" for the root */
	bool is_dir;
	bool is_shown;			    /* parent's entry shows it */
	bool told;			    /* its creation has been told, or needs not be */
	bool gone;			    /* was shown, and is no longer */
	bool fresh;			    /* made here by open(2), not at the server yet */
	bool determined;		    /* is_dir is what the server's state says */
	bool stale;			    /* to be compared with the server once it is loaded */
	bool unreadable;		    /* the session may not read its data */
	struct zstat stat;		    /* as shown */
	struct blob *data;		    /* as shown; NULL: NULL data */
	int64_t latest_mzxid, latest_czxid; /* newest that is known, waiting changes included */
	int64_t children_ms; /* when its list of children last changed, of a directory; 0: never seen */
	bool ending; /* its last handle, of an ephemeral znode, was closed: it is being deleted */
	struct list waiters; /* struct waiter.link: for a directory's load, for the end of what is ending */
	unsigned int dirty; /* handles that hold something uncommitted */
	size_t dirty_size;  /* what the last of them makes the size */

	/* of a directory */
	enum node_load { NODE_UNLOADED, NODE_LOADING, NODE_LOADED } load;
	struct dentry **buckets;
	size_t n_buckets, n_entries;
	struct slot *order;
	size_t n_order, cap_order;
	uint64_t next_cookie;
	struct list queue; /* struct item.link */
	struct list run;   /* in the injector's list of directories to be worked on */
	bool running;	   /* an injector works on its queue */
};

/* Work to be done as soon as the lock is released. */
struct todo {
	struct list link;
	void (*fn)(void *arg);
	void *arg;
};

/* Somebody to be called, without the lock, when a directory is loaded, or the node is gone (-ESTALE). */
struct waiter {
	struct list link;
	void (*fn)(void *arg, int err);
	void *arg;
	int err;
	struct todo todo;
};

struct mirror {
	pthread_mutex_t lock; /* the tree lock */
	struct node *root;
	struct list todo;
	struct list all;    /* struct node.all: what the kernel never forgets is freed at the end */
	struct list inodes; /* struct inode.extra: likewise */
	uint64_t generation;
	uint64_t nodes;
	int64_t last_zxid; /* newest that any Stat has shown */
	/* A node that the kernel knows is a directory that has not been loaded: called with the lock held. */
	void (*needs_load)(void *arg, struct node *dir);
	void *arg;
};

#define MIRROR_FIRST_COOKIE 4 /* after ".", ".." and ".data" */

/* -ENOMEM */
int mirror_init(struct mirror *m);
/* Frees every node and inode, whoever refers to it. */
void mirror_fini(struct mirror *m);

void tree_lock(struct mirror *m);
/* Releases the lock, then does what tree_later() was asked for meanwhile. */
void tree_unlock(struct mirror *m);
/* Calls @fn with @arg when the lock is released. @t is the caller's memory until then. */
void tree_later(struct mirror *m, struct todo *t, void (*fn)(void *arg), void *arg);

/* The rest is called with the tree lock held. */

/* A node that is not shown yet. One reference. NULL: no memory. */
struct node *node_new(struct mirror *m, struct node *parent, const char *name);
struct node *node_ref(struct node *n);
void node_unref(struct mirror *m, struct node *n);

/* The kernel, a handle or a waiting change uses @n: keeps it and its parents loaded. */
void node_known_get(struct mirror *m, struct node *n);
void node_known_put(struct mirror *m, struct node *n);
/* Forgets the children of a directory that nobody knows. */
void node_unload(struct mirror *m, struct node *n);

/* NULL when there is none; _make: NULL when there is no memory. */
struct dentry *dentry_find(struct node *dir, const char *name);
struct dentry *dentry_make(struct node *dir, const char *name);
/* Frees @d if it says nothing any more. */
void dentry_tidy(struct node *dir, struct dentry *d);
void dentry_set_latest(struct mirror *m, struct dentry *d, struct node *n);
/* The first entry with a cookie of at least @cookie; NULL: none. */
struct dentry *dentry_from(struct node *dir, uint64_t cookie);

/* @n is what the kernel sees under its name from now on; a node shown there before is gone. -ENOMEM */
int node_show(struct mirror *m, struct node *n);
/* The kernel sees nothing under @n's name from now on. */
void node_unshow(struct mirror *m, struct node *n);
/* Calls whoever waits for @n, with @err. */
void node_wake(struct mirror *m, struct node *n, int err);
/* @n moves to another name: a rename that the kernel has carried out. -ENOMEM */
int node_move(struct mirror *m, struct node *n, struct node *dir, const char *name);
/* @n was found at the server, not made or told of: shows it without touching the directory's time. -ENOMEM */
int node_insert(struct mirror *m, struct node *n);
/* Takes over a Stat unless it is older than the one that is shown. */
void node_set_stat(struct node *n, const struct zstat *stat);
/* Takes over what a listing's Stat says of the list of children, and nothing of the data, which have not been fetched. */
void node_set_children(struct node *n, const struct zstat *stat);
/* Notes the newest zxid that a Stat shows. */
void mirror_saw(struct mirror *m, const struct zstat *stat);
/* Likewise, with the data of that version; takes the reference of @data. */
void node_set_state(struct node *n, const struct zstat *stat, struct blob *data);

/* The znode's path, to be freed; NULL: no memory. */
char *node_path(const struct node *n);
char *path_join(const char *dir, const char *name);
/* The newest known znode of @path ("/" is the root); NULL: none. */
struct node *mirror_latest(struct mirror *m, const char *path);
/*
 * The newest known parent of @path, and where in @path the last component begins. NULL: not known.
 */
struct node *mirror_latest_parent(struct mirror *m, const char *path, const char **name);

struct node *inode_node(struct inode *i);
/* An inode that is no znode's. NULL: no memory. Freed when the kernel forgets it, see inode_forget(). */
struct inode *inode_new(struct mirror *m, enum inode_kind kind, bool is_dir);
void inode_lookup(struct mirror *m, struct inode *i);
void inode_forget(struct mirror *m, struct inode *i, uint64_t nlookup);

int64_t now_ms(void);	    /* wall clock */
int64_t monotonic_ms(void); /* for ages and deadlines */

#endif
