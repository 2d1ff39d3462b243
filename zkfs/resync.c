/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a gap: every known directory and znode is compared with the server, and each difference is told as if it had
 * been an event. Events that come meanwhile are newer than what is compared: a name with waiting changes is skipped, their own
 * requests fetch its state. Entered by the session's threads; the tree lock guards everything.
 */
#include "watch.h"

#include "log.h"
#include "stats.h"

struct compare {
	struct watch *w;
	struct node *n; /* reference */
	char *path;
	struct todo todo;
};

static void compare_free(struct compare *c)
{
	struct watch *w = c->w;

	node_unref(w->m, c->n);
	free(c->path);
	free(c);
	if (!--w->comparing)
		log_info("compared with the server after a gap");
}

static struct compare *compare_new(struct watch *w, struct node *n, void (*fn)(void *arg))
{
	struct compare *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->path = node_path(n);
	if (!c->path) {
		free(c);
		return NULL;
	}
	c->w = w;
	c->n = node_ref(n);
	w->comparing++;
	list_init(&c->todo.link);
	tree_later(w->m, &c->todo, fn, c);
	return c;
}

/* What was below goes first. */
static void delete_tree(struct watch *w, struct node *parent, struct node *n, const char *path)
{
	for (size_t i = 0; i < n->n_order; i++) {
		struct dentry *d = n->order[i].entry;
		autofree char *child = d && d->latest ? path_join(path, d->name) : NULL;

		if (child)
			delete_tree(w, n, d->latest, child);
	}
	news_deleted(w, parent, n->name, path);
}

static void ignore(void *arg, const struct session_reply *reply)
{
	struct compare *c = arg;

	(void)reply;
	tree_lock(c->w->m);
	compare_free(c);
	tree_unlock(c->w->m);
}

static void got(void *arg, const struct session_reply *reply);
static void existed(void *arg, const struct session_reply *reply);

static void ask_exists(void *arg)
{
	struct compare *c = arg;

	session_exists(c->w->s, c->path, existed, c);
}

static void ask_delete(void *arg)
{
	struct compare *c = arg;

	session_delete(c->w->s, c->path, -1, ignore, c);
}

static bool is_waited_for(struct node *n)
{
	struct dentry *d = n->parent ? dentry_find(n->parent, n->name) : NULL;

	if (n->is_dir && !list_empty(&n->queue)) {
		for (struct list *l = n->queue.next; l != &n->queue; l = l->next) {
			if (container_of(l, struct item, link)->target == ITEM_DATA)
				return true;
		}
	}
	return n->parent && (!d || d->latest != n || !list_empty(&d->items));
}

/* What it has got in the gap is no event: its children are to be fetched. */
static void created_in_gap(struct watch *w, struct node *parent, const char *name, const char *path)
{
	struct dentry *d;

	news_created(w, parent, name, path);
	d = dentry_find(parent, name);
	if (d && d->latest && !d->latest->is_shown && d->latest->load == NODE_LOADED) {
		d->latest->load = NODE_UNLOADED;
		if (d->latest->known)
			load_start(w, d->latest);
	}
}

static void compare_state(struct compare *c, const struct session_reply *reply, bool unreadable)
{
	struct watch *w = c->w;
	struct node *n = c->n, *parent = n->parent;
	struct blob *data = NULL;

	if (is_waited_for(n))
		return;
	if (reply->err == -ENOENT) {
		if (parent)
			delete_tree(w, parent, n, c->path);
		return;
	}
	if (reply->err || n->fresh)
		return;
	if (parent && n->latest_czxid != reply->stat->czxid) {
		delete_tree(w, parent, n, c->path);
		created_in_gap(w, parent, n->name, c->path);
		return;
	}
	if (n->latest_mzxid >= reply->stat->mzxid && n->unreadable == unreadable) {
		node_set_stat(n, reply->stat); /* its list of children has changed, at most */
		return;
	}
	if (!unreadable && reply->len >= 0) {
		data = blob_new(reply->data, reply->len);
		if (!data)
			return;
	}
	news_state(w, n, c->path, reply->stat, data, unreadable);
}

static void compared(struct compare *c, const struct session_reply *reply, bool unreadable)
{
	struct watch *w = c->w;

	tree_lock(w->m);
	if (!reply->err && is_lost_session(w, reply->stat->ephemeral_owner)) {
		/* By our own clock that session is over, the server's has not run out yet. */
		tree_later(w->m, &c->todo, ask_delete, c);
	} else if (reply->err == -EACCES && !unreadable) {
		tree_later(w->m, &c->todo, ask_exists, c);
	} else {
		compare_state(c, reply, unreadable);
		compare_free(c);
	}
	tree_unlock(w->m);
}

static void got(void *arg, const struct session_reply *reply)
{
	compared(arg, reply, false);
}

static void existed(void *arg, const struct session_reply *reply)
{
	compared(arg, reply, true);
}

static void ask(void *arg)
{
	struct compare *c = arg;

	session_get(c->w->s, c->path, got, c);
}

/* A znode that is not in the mirror: it was made in the gap, unless it is what is left of a session of ours. */
struct newcomer {
	struct watch *w;
	struct node *dir; /* reference */
	char *name, *path;
	struct todo todo;
};

static void newcomer_free(struct newcomer *c)
{
	node_unref(c->w->m, c->dir);
	free(c->name);
	free(c->path);
	free(c);
}

static void newcomer_deleted(void *arg, const struct session_reply *reply)
{
	struct newcomer *c = arg;
	struct watch *w = c->w;

	(void)reply;
	tree_lock(w->m);
	newcomer_free(c);
	tree_unlock(w->m);
}

static void newcomer_done(void *arg, const struct session_reply *reply)
{
	struct newcomer *c = arg;
	struct watch *w = c->w;
	bool is_lost = !reply->err && is_lost_session(w, reply->stat->ephemeral_owner);
	struct dentry *d;

	tree_lock(w->m);
	d = dentry_find(c->dir, c->name);
	if (!reply->err && !is_lost && (!d || (!d->latest && !(d->shown && d->shown->fresh))))
		created_in_gap(w, c->dir, c->name, c->path);
	tree_unlock(w->m);
	if (is_lost) {
		session_delete(w->s, c->path, -1, newcomer_deleted, c);
		return;
	}
	tree_lock(w->m);
	newcomer_free(c);
	tree_unlock(w->m);
}

static void newcomer_ask(void *arg)
{
	struct newcomer *c = arg;

	session_exists(c->w->s, c->path, newcomer_done, c);
}

static void compare_children(struct watch *w, struct node *dir, const char *path,
			     const struct session_reply *reply)
{
	uint64_t last = dir->next_cookie;

	node_set_children(dir, reply->stat);
	/* Marks what the server lists; what has no mark and no news of its own is gone. */
	for (size_t i = 0; i < reply->count; i++) {
		struct dentry *d = dentry_find(dir, reply->names[i]);
		struct newcomer *c;

		if (d)
			d->listed = true;
		if (d && (d->latest || (d->shown && d->shown->fresh)))
			continue;
		c = calloc(1, sizeof(*c));
		if (!c)
			continue;
		c->w = w;
		c->dir = node_ref(dir);
		c->name = strdup(reply->names[i]);
		c->path = path_join(path, reply->names[i]);
		if (!c->name || !c->path) {
			newcomer_free(c);
			continue;
		}
		list_init(&c->todo.link);
		tree_later(w->m, &c->todo, newcomer_ask, c);
	}
	for (uint64_t cookie = MIRROR_FIRST_COOKIE; cookie < last; cookie++) {
		struct dentry *d = dentry_from(dir, cookie);
		struct node *n;

		if (!d)
			break;
		cookie = d->cookie;
		n = d->latest;
		if (n && !n->fresh && list_empty(&d->items)) {
			autofree char *child = path_join(path, d->name);

			if (d->listed)
				compare_new(w, n, ask);
			else if (child)
				delete_tree(w, dir, n, child);
		}
		d->listed = false;
	}
}

static void listed(void *arg, const struct session_reply *reply)
{
	struct compare *c = arg;
	struct watch *w = c->w;

	tree_lock(w->m);
	if (reply->err)
		log_debug("cannot compare %s: %s", c->path, strerror(-reply->err));
	else if (c->n->load == NODE_LOADED)
		compare_children(w, c->n, c->path, reply);
	compare_free(c);
	tree_unlock(w->m);
}

static void list_it(void *arg)
{
	struct compare *c = arg;

	session_children(c->w->s, c->path, listed, c);
}

void resync_dir(struct watch *w, struct node *dir)
{
	compare_new(w, dir, list_it);
}

static void resync_tree(struct watch *w, struct node *dir)
{
	if (dir->load == NODE_LOADING)
		dir->stale = true;
	else if (dir->load == NODE_LOADED && dir->known)
		resync_dir(w, dir);
	else if (dir->load == NODE_LOADED)
		dir->load = NODE_UNLOADED; /* empty, as far as known */
	for (size_t i = 0; i < dir->n_order; i++) {
		struct dentry *d = dir->order[i].entry;

		if (d && d->latest && d->latest->is_dir)
			resync_tree(w, d->latest);
	}
}

void watch_up(struct watch *w, bool is_new)
{
	tree_lock(w->m);
	if (!w->s) {
		/* session_open() has not returned: its caller will come again. */
		tree_unlock(w->m);
		return;
	}
	(void)is_new;
	w->session_id = session_id(w->s);
	if (w->m->root->load == NODE_UNLOADED) {
		load_start(w, w->m->root);
	} else {
		stats_add(STAT_RESYNCS);
		resync_tree(w, w->m->root);
	}
	compare_new(w, w->m->root, ask);
	tree_unlock(w->m);
}
