/* SPDX-License-Identifier: Apache-2.0 */
/*
 * News from the server become changes in the queues of the injectors.
 *
 * An event only names the znode: its new state is fetched, while the change already has its place in the queue. What this
 * mount did itself comes back as an event, too, directly before the reply to the request: such a change waits
 * (ITEM_MAYBE_OWN) until the reply tells whose it is (own.c).
 *
 * Entered by the session's completion thread (events, replies), by its timer thread (failures, expiry). The tree
 * lock guards everything; requests are sent after it has been released (tree_later()).
 */
#include "watch.h"

#include "attr.h"
#include "log.h"
#include "stats.h"

#include <stdio.h>

void watch_init(struct watch *w, struct mirror *m, struct inject *in, const struct places *dirs)
{
	memset(w, 0, sizeof(*w));
	w->m = m;
	w->in = in;
	w->dirs = dirs;
	list_init(&w->own);
	list_init(&w->maybe);
	m->needs_load = load_start;
	m->arg = w;
}

bool is_lost_session(const struct watch *w, int64_t id)
{
	for (unsigned int i = 0; id && i < ARRAY_SIZE(w->lost); i++) {
		if (w->lost[i] == id)
			return true;
	}
	return false;
}

static bool own_is_outstanding(const struct watch *w, const char *path)
{
	for (struct list *l = w->own.next; l != &w->own; l = l->next) {
		if (!strcmp(container_of(l, struct own, link)->path, path))
			return true;
	}
	return false;
}

/* The kernel knows the directory, or is about to be told of it: what happens in it is told. */
static bool is_of_interest(const struct node *dir)
{
	return dir->known || (!dir->is_shown && !dir->gone);
}

/* ---- fetching the state of a change ---- */

static void item_got(void *arg, const struct session_reply *reply);

static void ask(void *arg)
{
	struct item *item = arg;
	struct watch *w = item->owner;

	session_get(w->s, item->path, item_got, item);
}

static void ask_later(struct watch *w, struct item *item)
{
	item->state = ITEM_ASKING;
	item->is_asked = true;
	item->owner = w;
	tree_later(w->m, &item->todo, ask, item);
}

/* The state of a new item: its path is taken over. */
static void begin(struct watch *w, struct item *item, const char *path)
{
	item->owner = w;
	if (own_is_outstanding(w, path) && (item->path = strdup(path))) {
		item->state = ITEM_MAYBE_OWN;
		list_append(&w->maybe, &item->of_own);
		return;
	}
	if (item->type == ITEM_DELETE) {
		item->state = ITEM_READY;
		inject_ready(w->in, item);
		return;
	}
	item->path = strdup(path);
	if (item->path)
		ask_later(w, item);
	else
		inject_drop(w->in, item);
}

static struct node *new_determined(struct watch *w, struct node *old, bool is_dir)
{
	struct node *n = node_new(w->m, old->parent, old->name);

	if (!n)
		return NULL;
	n->is_dir = is_dir;
	n->determined = true;
	n->load = NODE_LOADED; /* every child that it gets is told */
	return n;
}

/*
 * @n is a file now where it was a directory, or the reverse: the name is replaced. The state is @like's, or still to
 * be fetched when that is NULL. @after: an item of n's parent behind which to put it; NULL: at the end. Returns the new node, no reference.
 */
static struct node *replace(struct watch *w, struct node *n, bool is_dir, const struct item *like,
			    struct item *after)
{
	struct node *dir = n->parent, *fresh = new_determined(w, n, is_dir);
	struct item *gone, *made;

	if (!fresh)
		return NULL;
	gone = inject_append(w->in, dir, n->name, n, ITEM_DELETE);
	made = gone ? inject_append(w->in, dir, n->name, fresh, ITEM_CREATE) : NULL;
	if (!made) {
		if (gone)
			inject_drop(w->in, gone);
		node_unref(w->m, fresh);
		return NULL;
	}
	if (after) {
		inject_move_behind(gone, after);
		inject_move_behind(made, gone);
	}
	gone->state = ITEM_READY;
	if (made->entry->latest == n)
		dentry_set_latest(w->m, made->entry, fresh);
	if (like) {
		made->has_state = true;
		made->stat = like->stat;
		made->data = blob_ref(like->data);
		made->unreadable = like->unreadable;
		made->state = ITEM_READY;
		fresh->latest_mzxid = like->stat.mzxid;
		fresh->latest_czxid = like->stat.czxid;
		if (like->stat.num_children)
			fresh->load = NODE_UNLOADED;
	} else {
		made->path = node_path(fresh);
		if (made->path)
			ask_later(w, made);
		else
			made->state = ITEM_READY;
		made->owner = w;
	}
	inject_kick(w->in, dir);
	node_unref(w->m, fresh); /* the entry and the item hold theirs */
	return fresh;
}

/* The state of @item is known: it can be told. */
static void settle(struct watch *w, struct item *item)
{
	struct node *n = item->target == ITEM_DATA ? item->dir : item->node;
	bool is_dir = n->is_dir;

	if (item->has_state)
		is_dir = attr_is_dir(w->dirs, item->path, &item->stat,
				     !item->data && !item->unreadable);
	if (item->type == ITEM_CREATE) {
		if (!n->determined) {
			n->is_dir = n->is_dir || is_dir ||
				    (!item->has_state && places_match(w->dirs, item->path));
			n->determined = true;
		}
		if (item->has_state) {
			n->latest_mzxid = item->stat.mzxid;
			n->latest_czxid = item->stat.czxid;
		}
		item->state = ITEM_READY;
	} else if (item->has_state && is_dir != n->is_dir && n->parent && n->determined) {
		if (item->entry ? item->entry->latest == n : true)
			replace(w, n, is_dir, item, item->target == ITEM_NODE ? item : NULL);
		inject_drop(w->in, item);
		return;
	} else if (item->target == ITEM_NODE && n->is_dir && item->has_state) {
		/* It was not known to be a directory when the event came. */
		struct item *data = inject_append(w->in, n, NULL, NULL, ITEM_CHANGE);

		if (data) {
			data->has_state = true;
			data->stat = item->stat;
			data->data = blob_ref(item->data);
			data->unreadable = item->unreadable;
			data->state = ITEM_READY;
			inject_kick(w->in, n);
		}
		inject_drop(w->in, item);
		return;
	} else {
		if (!n->determined && item->has_state) {
			n->is_dir = is_dir;
			n->determined = true;
		}
		if (item->has_state && item->stat.mzxid > n->latest_mzxid)
			n->latest_mzxid = item->stat.mzxid;
		if (item->has_state)
			n->latest_czxid = item->stat.czxid;
		item->state = ITEM_READY;
	}
	inject_ready(w->in, item);
}

static void item_existed(void *arg, const struct session_reply *reply);

static void ask_exists(void *arg)
{
	struct item *item = arg;
	struct watch *w = item->owner;

	session_exists(w->s, item->path, item_existed, item);
}

static void item_reply(struct item *item, const struct session_reply *reply, bool unreadable)
{
	struct watch *w = item->owner;
	int err = reply->err;

	if (!err && !unreadable && reply->len >= 0) {
		item->data = blob_new(reply->data, reply->len);
		if (!item->data)
			err = -ENOMEM;
	}
	if (!err) {
		mirror_saw(w->m, reply->stat);
		item->has_state = true;
		item->stat = *reply->stat;
		item->unreadable = unreadable;
	}
	if (err == -ENOENT) {
		/* Its end comes before this answer, as an event, unless it was in a gap. */
		struct node *n = item->target == ITEM_DATA ? item->dir : item->node;
		struct dentry *d = n->parent ? dentry_find(n->parent, n->name) : NULL;

		if (d && d->latest == n && !n->fresh)
			news_deleted(w, n->parent, n->name, item->path);
	}
	if (!err || err == -ENOENT) {
		settle(w, item);
		return;
	}
	/* It stays untold until the comparison after the next reconnect. */
	log_debug("cannot fetch %s: %s", item->path, strerror(-err));
	if (err == -ETIMEDOUT) {
		ask_later(w, item);
		return;
	}
	if (item->type == ITEM_CREATE && item->entry && item->entry->latest == item->node)
		dentry_set_latest(w->m, item->entry, item->entry->shown);
	inject_drop(w->in, item);
}

static void item_done(struct item *item, const struct session_reply *reply, bool unreadable)
{
	struct watch *w = item->owner;

	tree_lock(w->m);
	item->is_asked = false;
	if (item->state == ITEM_DROPPED) {
		inject_free_item(w->in, item);
	} else if (reply->err == -EACCES && !unreadable) {
		item->is_asked = true;
		tree_later(w->m, &item->todo, ask_exists, item);
	} else {
		item_reply(item, reply, unreadable);
	}
	tree_unlock(w->m);
}

static void item_got(void *arg, const struct session_reply *reply)
{
	item_done(arg, reply, false);
}

static void item_existed(void *arg, const struct session_reply *reply)
{
	item_done(arg, reply, true);
}

/* ---- news; the lock is held ---- */

void news_created(struct watch *w, struct node *parent, const char *name, const char *path)
{
	struct dentry *d;
	struct item *item;
	struct node *n;

	if (parent && !parent->is_dir) {
		if (parent->determined && parent->fresh)
			return;
		if (parent->determined)
			parent = replace(w, parent, true, NULL, NULL);
		else
			parent->is_dir = true;
	}
	if (!parent || !is_of_interest(parent)) {
		if (parent && parent->load == NODE_LOADED)
			parent->load = NODE_UNLOADED;
		stats_add(STAT_EVENTS_UNKNOWN);
		return;
	}
	d = dentry_find(parent, name);
	if (d && d->latest && !d->latest->fresh)
		news_deleted(w, parent, name, path);
	n = node_new(w->m, parent, name);
	item = n ? inject_append(w->in, parent, name, n, ITEM_CREATE) : NULL;
	if (item) {
		n->load = NODE_LOADED; /* every child that it gets is told */
		dentry_set_latest(w->m, item->entry, n);
		begin(w, item, path);
	}
	node_unref(w->m, n);
}

void news_deleted(struct watch *w, struct node *parent, const char *name, const char *path)
{
	struct dentry *d = parent ? dentry_find(parent, name) : NULL;
	struct node *n = d ? d->latest : NULL;
	struct item *item;

	if (!parent || !is_of_interest(parent) || (!n && parent->load == NODE_LOADED)) {
		stats_add(STAT_EVENTS_UNKNOWN);
		return;
	}
	item = inject_append(w->in, parent, name, n, ITEM_DELETE);
	if (!item)
		return;
	item->is_dir = places_match(w->dirs, path);
	dentry_set_latest(w->m, item->entry, NULL);
	begin(w, item, path);
}

/* A directory that nobody knows: its state is kept, nobody is told. */
struct refresh {
	struct watch *w;
	struct node *n;
	char *path;
	struct todo todo;
};

static void refresh_got(void *arg, const struct session_reply *reply)
{
	struct refresh *r = arg;
	struct blob *data = NULL;
	bool is_dir;

	if (!reply->err && reply->len >= 0)
		data = blob_new(reply->data, reply->len);
	tree_lock(r->w->m);
	if (!reply->err) {
		is_dir = attr_is_dir(r->w->dirs, r->path, reply->stat, reply->len < 0);
		if (is_dir == r->n->is_dir)
			node_set_state(r->n, reply->stat, data);
		else
			news_state(r->w, r->n, r->path, reply->stat, data, false);
	}
	node_unref(r->w->m, r->n);
	tree_unlock(r->w->m);
	free(r->path);
	free(r);
}

static void refresh_ask(void *arg)
{
	struct refresh *r = arg;

	session_get(r->w->s, r->path, refresh_got, r);
}

static void refresh(struct watch *w, struct node *n, const char *path)
{
	struct refresh *r = calloc(1, sizeof(*r));

	if (!r)
		return;
	r->path = strdup(path);
	if (!r->path) {
		free(r);
		return;
	}
	r->w = w;
	r->n = node_ref(n);
	tree_later(w->m, &r->todo, refresh_ask, r);
}

void news_changed(struct watch *w, struct node *parent, const char *name, const char *path)
{
	struct dentry *d = parent ? dentry_find(parent, name) : NULL;
	struct node *n = parent ? (d ? d->latest : NULL) : !strcmp(path, "/") ? w->m->root : NULL;
	struct item *item = NULL;

	if (n && n->is_dir && n->determined) {
		if (!is_of_interest(n)) {
			refresh(w, n, path);
			stats_add(STAT_EVENTS_UNKNOWN);
			return;
		}
		item = inject_append(w->in, n, NULL, NULL, ITEM_CHANGE);
	} else if (parent && is_of_interest(parent) && (n || parent->load != NODE_LOADED)) {
		struct node *made = NULL;

		if (!n)
			n = made = node_new(w->m, parent, name);
		if (n)
			item = inject_append(w->in, parent, name, n, ITEM_CHANGE);
		if (item && made) {
			made->told = true;
			dentry_set_latest(w->m, item->entry, made);
		}
		node_unref(w->m, made);
	}
	if (item)
		begin(w, item, path);
	else
		stats_add(STAT_EVENTS_UNKNOWN);
}

void news_state(struct watch *w, struct node *n, const char *path, const struct zstat *stat,
		struct blob *data, bool unreadable)
{
	struct item like = { .has_state = true, .stat = *stat, .data = data, .unreadable = unreadable };
	bool is_dir = attr_is_dir(w->dirs, path, stat, !data && !unreadable);

	if (is_dir != n->is_dir && n->parent) {
		replace(w, n, is_dir, &like, NULL);
	} else if (n->is_dir && !is_of_interest(n)) {
		node_set_state(n, stat, blob_ref(data));
	} else {
		struct item *item =
			n->is_dir ? inject_append(w->in, n, NULL, NULL, ITEM_CHANGE)
				  : inject_append(w->in, n->parent, n->name, n, ITEM_CHANGE);

		if (item) {
			item->owner = w;
			item->has_state = true;
			item->stat = *stat;
			item->data = blob_ref(data);
			item->unreadable = unreadable;
			item->state = ITEM_READY;
			n->latest_mzxid = stat->mzxid;
			inject_ready(w->in, item);
		}
	}
	blob_unref(data);
}

void watch_event(struct watch *w, enum session_event type, const char *path)
{
	const char *name = "";
	const char *last = strrchr(path, '/');
	struct node *parent;

	stats_add(STAT_EVENTS_RECEIVED);
	log_debug("event: %s %s",
		  type == SESSION_CREATED   ? "created"
		  : type == SESSION_DELETED ? "deleted"
					    : "changed",
		  path);
	if (last && !strcmp(last + 1, DIRECTORY_MARK)) {
		stats_add(STAT_EVENTS_OWN);
		return;
	}
	tree_lock(w->m);
	if (!w->s) {
		/* Nothing is known yet. */
		tree_unlock(w->m);
		return;
	}
	parent = mirror_latest_parent(w->m, path, &name);
	switch (type) {
	case SESSION_CREATED:
		news_created(w, parent, name, path);
		break;
	case SESSION_DELETED:
		news_deleted(w, parent, name, path);
		break;
	case SESSION_CHANGED:
		news_changed(w, parent, name, path);
		break;
	}
	tree_unlock(w->m);
}

/* ---- expiry ---- */

/* The ephemeral znodes of the session that is over are told as deleted, in front of news that wait for a server. */
static void end_ephemerals(struct watch *w, struct node *dir, int64_t id)
{
	for (size_t i = 0; i < dir->n_order; i++) {
		struct dentry *d = dir->order[i].entry;
		struct node *n = d ? d->latest : NULL;
		struct item *item;

		if (n && n->is_dir)
			end_ephemerals(w, n, id);
		if (!n || n->stat.ephemeral_owner != id || !is_of_interest(dir))
			continue;
		item = inject_append(w->in, dir, d->name, n, ITEM_DELETE);
		if (!item)
			continue;
		item->owner = w;
		item->state = ITEM_READY;
		dentry_set_latest(w->m, d, NULL);
		if (n->is_shown)
			inject_move_first(item);
		inject_ready(w->in, item);
	}
}

void watch_expired(struct watch *w)
{
	stats_add(STAT_EXPIRIES);
	tree_lock(w->m);
	if (w->session_id) {
		w->lost[w->n_lost++ % ARRAY_SIZE(w->lost)] = w->session_id;
		end_ephemerals(w, w->m->root, w->session_id);
		w->session_id = 0;
	}
	tree_unlock(w->m);
}

/* ---- what this mount did itself; the lock is held ---- */

int own_begin(struct watch *w, const char *path)
{
	struct own *own;

	for (struct list *l = w->own.next; l != &w->own; l = l->next) {
		own = container_of(l, struct own, link);
		if (!strcmp(own->path, path)) {
			own->count++;
			return 0;
		}
	}
	own = calloc(1, sizeof(*own));
	if (!own)
		return -ENOMEM;
	own->path = strdup(path);
	if (!own->path) {
		free(own);
		return -ENOMEM;
	}
	own->count = 1;
	list_append(&w->own, &own->link);
	return 0;
}

void own_end(struct watch *w, const char *path)
{
	for (struct list *l = w->own.next; l != &w->own; l = l->next) {
		struct own *own = container_of(l, struct own, link);

		if (strcmp(own->path, path) != 0)
			continue;
		if (--own->count)
			return;
		list_remove(&own->link);
		free(own->path);
		free(own);
		break;
	}
	/* No request is on its way any more: what has come and was not claimed was done by others. */
	for (struct list *l = w->maybe.next, *next; l != &w->maybe; l = next) {
		struct item *item = container_of(l, struct item, of_own);

		next = l->next;
		if (strcmp(item->path, path) != 0)
			continue;
		list_remove(&item->of_own);
		if (item->type != ITEM_DELETE) {
			ask_later(w, item);
			continue;
		}
		item->state = ITEM_READY;
		inject_ready(w->in, item);
	}
}

/* The newest change of that type in @d that may be an echo; NULL: none. */
static struct item *find_echo(struct dentry *d, enum item_type type)
{
	for (struct list *l = d ? d->items.prev : NULL; d && l != &d->items; l = l->prev) {
		struct item *item = container_of(l, struct item, of_entry);

		if (item->state == ITEM_MAYBE_OWN && item->type == type)
			return item;
	}
	return NULL;
}

static void drop_echo(struct watch *w, struct item *item)
{
	if (!item)
		return;
	stats_add(STAT_EVENTS_OWN);
	inject_drop(w->in, item);
}

static void set_created(struct node *n, const struct zstat *stat, struct blob *data, bool is_dir)
{
	n->stat = *stat;
	n->latest_mzxid = stat->mzxid;
	n->latest_czxid = stat->czxid;
	blob_unref(n->data);
	n->data = data;
	n->is_dir = is_dir;
	n->determined = true;
	n->fresh = false;
	n->load = NODE_LOADED;
	if (stat->czxid)
		n->inode.ino = (uint64_t)stat->czxid;
}

static bool is_dir_of(struct watch *w, struct node *dir, const char *name, const struct zstat *stat,
		      bool is_null)
{
	autofree char *parent = node_path(dir);
	autofree char *path = parent ? path_join(parent, name) : NULL;

	return attr_is_dir(w->dirs, path ? path : "", stat, is_null);
}

struct node *own_created(struct watch *w, struct node *dir, const char *name,
			 const struct zstat *stat, struct blob *data, struct node *fresh)
{
	struct dentry *d = dentry_make(dir, name);
	struct item *echo = find_echo(d, ITEM_CREATE);
	struct node *n = fresh	? node_ref(fresh)
			 : echo ? node_ref(echo->node)
				: node_new(w->m, dir, name);

	if (!d || !n) {
		blob_unref(data);
		if (n)
			node_unref(w->m, n);
		return NULL;
	}
	mirror_saw(w->m, stat);
	set_created(n, stat, data, is_dir_of(w, dir, name, stat, !data));
	n->told = true;
	/* d stays: it is the newest, until the echo goes. */
	if (!echo || d->latest == echo->node || !d->latest)
		dentry_set_latest(w->m, d, n);
	if (node_show(w->m, n)) {
		node_unref(w->m, n);
		n = NULL;
	}
	drop_echo(w, echo);
	return n;
}

struct node *own_sequential(struct watch *w, struct node *dir, const char *name, const char *typed,
			    struct inode *placeholder, const struct zstat *stat, struct blob *data)
{
	struct dentry *d = dentry_make(dir, name);
	struct item *item = NULL;
	struct node *n;

	if (!d) {
		blob_unref(data);
		return NULL;
	}
	for (struct list *l = d->items.next; l != &d->items && !item; l = l->next) {
		struct item *i = container_of(l, struct item, of_entry);

		if (i->type == ITEM_CREATE)
			item = i;
	}
	n = item ? node_ref(item->node) : d->shown ? node_ref(d->shown) : node_new(w->m, dir, name);
	if (!n) {
		blob_unref(data);
		dentry_tidy(dir, d);
		return NULL;
	}
	if (!n->is_shown) {
		set_created(n, stat, data, is_dir_of(w, dir, name, stat, !data));
		if (node_show(w->m, n) == 0 && !item) {
			dentry_set_latest(w->m, d, n);
			n->told = true;
		}
	} else {
		blob_unref(data);
	}
	inject_append_typed(w->in, dir, typed, placeholder, item);
	return n;
}

void own_deleted(struct watch *w, struct node *dir, const char *name)
{
	struct dentry *d = dentry_find(dir, name);
	struct item *echo = find_echo(d, ITEM_DELETE);
	struct node *shown = d ? d->shown : NULL;

	if (!d)
		return;
	if (shown) {
		node_ref(shown);
		if (!echo && d->latest == shown)
			dentry_set_latest(w->m, d, NULL);
		node_unshow(w->m, shown);
		inject_kick(w->in, shown);
	}
	if (echo && echo->node && echo->node != shown) {
		/* Another one than the kernel was shown, made meanwhile: its coming and going are still to be told. */
		echo->state = ITEM_READY;
		list_remove(&echo->of_own);
		inject_ready(w->in, echo);
	} else {
		drop_echo(w, echo);
	}
	node_unref(w->m, shown);
}

void own_changed(struct watch *w, struct node *n, const struct zstat *stat, struct blob *data)
{
	struct item *echo = NULL;

	if (n->is_dir) {
		for (struct list *l = n->queue.prev; l != &n->queue && !echo; l = l->prev) {
			struct item *item = container_of(l, struct item, link);

			if (item->target == ITEM_DATA && item->state == ITEM_MAYBE_OWN)
				echo = item;
		}
	} else if (n->parent) {
		echo = find_echo(dentry_find(n->parent, n->name), ITEM_CHANGE);
	}
	mirror_saw(w->m, stat);
	node_set_state(n, stat, data);
	n->unreadable = false;
	drop_echo(w, echo);
}

void own_moved(struct watch *w, struct node *n, struct node *dir, const char *name)
{
	struct dentry *from = dentry_find(n->parent, n->name), *to = dentry_make(dir, name);
	struct item *gone = find_echo(from, ITEM_DELETE);
	struct item *made = find_echo(to, ITEM_CREATE), *set = find_echo(to, ITEM_CHANGE);
	struct node *over = to ? to->shown : NULL;
	int32_t version = over ? over->stat.version + 1 : 0;

	node_ref(n);
	if (over) {
		node_ref(over);
		node_unshow(w->m, over);
		inject_kick(w->in, over);
		node_unref(w->m, over);
	}
	if (from && from->latest == n)
		dentry_set_latest(w->m, from, NULL);
	node_move(w->m, n, dir, name);
	n->stat.version = version;
	drop_echo(w, gone);
	drop_echo(w, made ? made : set);
	node_unref(w->m, n);
}

struct node *watch_found(struct watch *w, struct node *dir, const char *name,
			 const struct session_reply *reply, bool unreadable)
{
	struct dentry *d = dentry_find(dir, name);
	struct blob *data = NULL;
	struct node *n;

	if (d && (d->shown || d->latest || !list_empty(&d->items)))
		return NULL; /* there is newer news */
	mirror_saw(w->m, reply->stat);
	if (is_lost_session(w, reply->stat->ephemeral_owner))
		return NULL;
	if (!unreadable && reply->len >= 0) {
		data = blob_new(reply->data, reply->len);
		if (!data)
			return NULL;
	}
	n = node_new(w->m, dir, name);
	if (!n) {
		blob_unref(data);
		return NULL;
	}
	set_created(n, reply->stat, data, is_dir_of(w, dir, name, reply->stat, !data && !unreadable));
	n->unreadable = unreadable;
	n->load = reply->stat->num_children ? NODE_UNLOADED : NODE_LOADED;
	if (node_insert(w->m, n)) {
		node_unref(w->m, n);
		return NULL;
	}
	node_unref(w->m, n); /* the entry holds it */
	return n;
}

void watch_found_pending(struct watch *w, struct node *dir, const char *name,
			 const struct session_reply *reply, bool unreadable)
{
	struct dentry *d = dentry_find(dir, name);
	struct node *n = d ? d->latest : NULL;
	struct blob *data = NULL;

	/* told: its first item is a CHANGE; what is being created is told by its CREATE */
	if (!n || n->is_shown || n->gone || !n->told)
		return;
	if (!unreadable && reply->len >= 0) {
		data = blob_new(reply->data, reply->len);
		if (!data)
			return;
	}
	set_created(n, reply->stat, data, is_dir_of(w, dir, name, reply->stat, !data && !unreadable));
	n->unreadable = unreadable;
	n->load = reply->stat->num_children ? NODE_UNLOADED : NODE_LOADED;
	node_insert(w->m, n);
}
