/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The children of a directory that somebody knows are all known: they are fetched as soon as the kernel has looked
 * the directory up. Entered by the session's threads and by the FUSE loop; the tree lock guards everything.
 */
#include "watch.h"

#include "attr.h"
#include "log.h"

struct load {
	struct watch *w;
	struct node *dir; /* reference */
	size_t outstanding;
	int err;
	struct todo todo;
};

struct load_child {
	struct load *load;
	char *name, *path;
};

/* One request less. The lock is held. */
static void load_put(struct load *load)
{
	struct watch *w = load->w;
	struct node *dir = load->dir;

	if (--load->outstanding)
		return;
	if (load->err == -ENOENT)
		load->err = 0; /* its own end is on its way as an event */
	dir->load = load->err ? NODE_UNLOADED : NODE_LOADED;
	if (load->err && load->err != -EACCES)
		log_debug("cannot list %s: %s", dir->name, strerror(-load->err));
	node_wake(w->m, dir, load->err);
	if (dir->load == NODE_LOADED && dir->stale) {
		dir->stale = false;
		resync_dir(w, dir);
	}
	/* Nobody may know it any more: the last one to go did not unload it. */
	node_unload(w->m, dir);
	node_unref(w->m, dir);
	free(load);
}

static void child_done(struct load_child *child, const struct session_reply *reply, bool unreadable);

static void child_existed(void *arg, const struct session_reply *reply)
{
	child_done(arg, reply, true);
}

static void child_got(void *arg, const struct session_reply *reply)
{
	struct load_child *child = arg;

	if (reply->err == -EACCES)
		session_exists(child->load->w->s, child->path, child_existed, child);
	else
		child_done(child, reply, false);
}

static void child_done(struct load_child *child, const struct session_reply *reply, bool unreadable)
{
	struct load *load = child->load;
	struct watch *w = load->w;

	tree_lock(w->m);
	if (!reply->err)
		watch_found(w, load->dir, child->name, reply, unreadable);
	else if (reply->err != -ENOENT)
		load->err = reply->err;
	load_put(load);
	tree_unlock(w->m);
	free(child->name);
	free(child->path);
	free(child);
}

static void fetch_child(struct load *load, const char *path, const char *name)
{
	struct load_child *child = calloc(1, sizeof(*child));
	bool known;

	if (child) {
		child->load = load;
		child->name = strdup(name);
		child->path = path_join(path, name);
	}
	tree_lock(load->w->m);
	if (!child || !child->name || !child->path) {
		load->err = -ENOMEM;
		known = true;
	} else {
		struct dentry *d = dentry_find(load->dir, name);

		known = d && (d->shown || d->latest || !list_empty(&d->items));
	}
	if (!known)
		load->outstanding++;
	tree_unlock(load->w->m);
	if (!known) {
		session_get(load->w->s, child->path, child_got, child);
		return;
	}
	if (child) {
		free(child->name);
		free(child->path);
		free(child);
	}
}

static void listed(void *arg, const struct session_reply *reply)
{
	struct load *load = arg;
	struct watch *w = load->w;
	autofree char *path = NULL;

	tree_lock(w->m);
	load->err = reply->err;
	path = node_path(load->dir);
	if (!path)
		load->err = -ENOMEM;
	if (!load->err)
		node_set_children(load->dir, reply->stat);
	tree_unlock(w->m);
	for (size_t i = 0; path && !reply->err && i < reply->count; i++)
		fetch_child(load, path, reply->names[i]);
	tree_lock(w->m);
	load_put(load);
	tree_unlock(w->m);
}

static void list_it(void *arg)
{
	struct load *load = arg;
	autofree char *path = NULL;

	tree_lock(load->w->m);
	path = node_path(load->dir);
	if (!path) {
		load->err = -ENOMEM;
		load_put(load);
	}
	tree_unlock(load->w->m);
	if (path)
		session_children(load->w->s, path, listed, load);
}

void load_start(void *watch, struct node *dir)
{
	struct watch *w = watch;
	struct load *load;

	if (dir->load != NODE_UNLOADED || dir->gone)
		return;
	load = calloc(1, sizeof(*load));
	if (!load)
		return;
	load->w = w;
	load->dir = node_ref(dir);
	load->outstanding = 1;
	list_init(&load->todo.link);
	dir->load = NODE_LOADING;
	tree_later(w->m, &load->todo, list_it, load);
}

bool load_wait(struct watch *w, struct node *dir, struct waiter *waiter)
{
	if (dir->load == NODE_LOADED || dir->gone)
		return true;
	list_append(&dir->waiters, &waiter->link);
	load_start(w, dir);
	if (dir->load == NODE_UNLOADED) {
		waiter->err = -ENOMEM;
		node_wake(w->m, dir, -ENOMEM);
	}
	return false;
}
