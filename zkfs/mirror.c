/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of known znodes. Entered by every thread, with the tree lock held; owns that lock.
 *
 * What keeps a node in memory is its reference count. What keeps the children of a directory in memory
 * is that somebody knows the directory (node.known): the kernel, a handle, a waiting change, a known child.
 * When the last goes the children are dropped, and events below it are of no interest to anybody.
 */
#include "mirror.h"

#include <stdio.h>
#include <time.h>

int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

int64_t monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

struct blob *blob_new(const void *data, size_t len)
{
	struct blob *b = malloc(sizeof(*b) + len);

	if (!b)
		return NULL;
	b->refs = 1;
	b->len = len;
	if (len)
		memcpy(b->bytes, data, len);
	return b;
}

/* Atomic, since replies may drop what they read after they have released the lock. */
struct blob *blob_ref(struct blob *b)
{
	if (b)
		__atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
	return b;
}

void blob_unref(struct blob *b)
{
	if (b && !__atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL))
		free(b);
}

void tree_lock(struct mirror *m)
{
	pthread_mutex_lock(&m->lock);
}

void tree_unlock(struct mirror *m)
{
	struct list mine;

	list_init(&mine);
	while (!list_empty(&m->todo)) {
		struct list *l = m->todo.next;

		list_remove(l);
		list_append(&mine, l);
	}
	pthread_mutex_unlock(&m->lock);
	while (!list_empty(&mine)) {
		struct todo *t = container_of(mine.next, struct todo, link);

		list_remove(&t->link);
		t->fn(t->arg);
	}
}

void tree_later(struct mirror *m, struct todo *t, void (*fn)(void *arg), void *arg)
{
	t->fn = fn;
	t->arg = arg;
	list_append(&m->todo, &t->link);
}

int mirror_init(struct mirror *m)
{
	pthread_mutex_init(&m->lock, NULL);
	list_init(&m->todo);
	list_init(&m->all);
	list_init(&m->inodes);
	m->generation = 0;
	m->nodes = 0;
	m->last_zxid = 0;
	m->root = node_new(m, NULL, "");
	if (!m->root)
		return -ENOMEM;
	m->root->is_dir = true;
	m->root->is_shown = true;
	m->root->told = true;
	m->root->determined = true;
	m->root->inode.nlookup = 1;
	m->root->known = 1;
	return 0;
}

static void drop_children(struct mirror *m, struct node *dir);

static void node_free(struct mirror *m, struct node *n)
{
	list_remove(&n->all);
	blob_unref(n->data);
	free(n->buckets);
	free(n->order);
	free(n->name);
	free(n);
	m->nodes--;
}

void mirror_fini(struct mirror *m)
{
	while (!list_empty(&m->inodes)) {
		struct inode *i = container_of(m->inodes.next, struct inode, extra);

		list_remove(&i->extra);
		free(i->link);
		free(i);
	}
	while (!list_empty(&m->all)) {
		struct node *n = container_of(m->all.next, struct node, all);

		for (size_t i = 0; i < n->n_buckets; i++) {
			while (n->buckets[i]) {
				struct dentry *d = n->buckets[i];

				n->buckets[i] = d->next;
				free(d->name);
				free(d);
			}
		}
		node_free(m, n);
	}
	pthread_mutex_destroy(&m->lock);
}

struct node *node_new(struct mirror *m, struct node *parent, const char *name)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->name = strdup(name);
	if (!n->name) {
		free(n);
		return NULL;
	}
	n->refs = 1;
	n->parent = parent ? node_ref(parent) : NULL;
	n->inode.kind = INODE_NODE;
	n->data_inode.kind = INODE_DATA;
	n->inode.generation = n->data_inode.generation = ++m->generation;
	n->next_cookie = MIRROR_FIRST_COOKIE;
	list_init(&n->waiters);
	list_init(&n->queue);
	list_init(&n->run);
	list_append(&m->all, &n->all);
	m->nodes++;
	return n;
}

struct node *node_ref(struct node *n)
{
	n->refs++;
	return n;
}

void node_unref(struct mirror *m, struct node *n)
{
	while (n && !--n->refs) {
		struct node *parent = n->parent;

		drop_children(m, n);
		node_free(m, n);
		n = parent;
	}
}

/* Entries with waiting changes stay: each of those keeps the directory known, so there are none at an unload. */
static void drop_children(struct mirror *m, struct node *dir)
{
	for (size_t i = 0; i < dir->n_buckets; i++) {
		struct dentry *d = dir->buckets[i];

		while (d) {
			struct dentry *next = d->next;

			if (list_empty(&d->items)) {
				if (d->shown) {
					d->shown->is_shown = false;
					node_unref(m, d->shown);
					d->shown = NULL;
				}
				dentry_set_latest(m, d, NULL);
				dentry_tidy(dir, d);
			}
			d = next;
		}
	}
}

void node_known_get(struct mirror *m, struct node *n)
{
	while (n && !n->known++) {
		if (n->is_dir && n->load == NODE_UNLOADED && m->needs_load)
			m->needs_load(m->arg, n);
		n = n->parent;
	}
}

void node_known_put(struct mirror *m, struct node *n)
{
	while (n && !--n->known) {
		struct node *parent = n->parent;

		node_unload(m, n);
		n = parent;
	}
}

void node_unload(struct mirror *m, struct node *n)
{
	if (n->known || n->load == NODE_LOADING || !n->n_entries)
		return;
	n->load = NODE_UNLOADED;
	node_ref(n);
	drop_children(m, n);
	node_unref(m, n);
}

static uint32_t hash_name(const char *name)
{
	uint32_t h = 2166136261U;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619U;
	return h;
}

struct dentry *dentry_find(struct node *dir, const char *name)
{
	uint32_t h;

	if (!dir->n_buckets)
		return NULL;
	h = hash_name(name);
	for (struct dentry *d = dir->buckets[h & (dir->n_buckets - 1)]; d; d = d->next) {
		if (d->hash == h && !strcmp(d->name, name))
			return d;
	}
	return NULL;
}

static int grow_buckets(struct node *dir)
{
	size_t n = dir->n_buckets ? dir->n_buckets * 2 : 8;
	struct dentry **buckets;

	if (dir->n_entries < dir->n_buckets)
		return 0;
	buckets = calloc(n, sizeof(*buckets));
	if (!buckets)
		return dir->n_buckets ? 0 : -ENOMEM;
	for (size_t i = 0; i < dir->n_buckets; i++) {
		while (dir->buckets[i]) {
			struct dentry *d = dir->buckets[i];

			dir->buckets[i] = d->next;
			d->next = buckets[d->hash & (n - 1)];
			buckets[d->hash & (n - 1)] = d;
		}
	}
	free(dir->buckets);
	dir->buckets = buckets;
	dir->n_buckets = n;
	return 0;
}

/* The order of a listing: room for one more, by dropping the holes or by growing. */
static int grow_order(struct node *dir)
{
	size_t cap, kept = 0;
	struct slot *order;

	if (dir->n_order < dir->cap_order)
		return 0;
	if (dir->n_order > 2 * dir->n_entries + 8) {
		for (size_t i = 0; i < dir->n_order; i++) {
			if (dir->order[i].entry)
				dir->order[kept++] = dir->order[i];
		}
		dir->n_order = kept;
		return 0;
	}
	cap = dir->cap_order ? dir->cap_order * 2 : 8;
	order = realloc(dir->order, cap * sizeof(*order));
	if (!order)
		return -ENOMEM;
	dir->order = order;
	dir->cap_order = cap;
	return 0;
}

struct dentry *dentry_make(struct node *dir, const char *name)
{
	struct dentry *d = dentry_find(dir, name);

	if (d)
		return d;
	if (grow_buckets(dir) || grow_order(dir))
		return NULL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	d->name = strdup(name);
	if (!d->name) {
		free(d);
		return NULL;
	}
	d->hash = hash_name(name);
	list_init(&d->items);
	d->cookie = dir->next_cookie++;
	d->next = dir->buckets[d->hash & (dir->n_buckets - 1)];
	dir->buckets[d->hash & (dir->n_buckets - 1)] = d;
	dir->order[dir->n_order++] = (struct slot){ d->cookie, d };
	dir->n_entries++;
	return d;
}

/* The slot of the first cookie that is not less than @cookie. */
static size_t find_slot(const struct node *dir, uint64_t cookie)
{
	size_t low = 0, high = dir->n_order;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (dir->order[mid].cookie < cookie)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct dentry *dentry_from(struct node *dir, uint64_t cookie)
{
	for (size_t i = find_slot(dir, cookie); i < dir->n_order; i++) {
		if (dir->order[i].entry)
			return dir->order[i].entry;
	}
	return NULL;
}

void dentry_tidy(struct node *dir, struct dentry *d)
{
	struct dentry **p;

	if (d->shown || d->latest || !list_empty(&d->items))
		return;
	for (p = &dir->buckets[d->hash & (dir->n_buckets - 1)]; *p != d; p = &(*p)->next)
		;
	*p = d->next;
	dir->order[find_slot(dir, d->cookie)].entry = NULL;
	dir->n_entries--;
	free(d->name);
	free(d);
}

void dentry_set_latest(struct mirror *m, struct dentry *d, struct node *n)
{
	struct node *old = d->latest;

	d->latest = n ? node_ref(n) : NULL;
	node_unref(m, old);
}

int node_show(struct mirror *m, struct node *n)
{
	struct dentry *d = dentry_make(n->parent, n->name);

	if (!d)
		return -ENOMEM;
	if (d->shown == n)
		return 0;
	if (d->shown)
		node_unshow(m, d->shown);
	d->shown = node_ref(n);
	n->is_shown = true;
	n->gone = false;
	if (!n->inode.ino)
		n->inode.ino = n->stat.czxid ? (uint64_t)n->stat.czxid : n->inode.generation;
	n->parent->children_ms = now_ms();
	return 0;
}

static void waiter_call(void *arg)
{
	struct waiter *waiter = arg;

	waiter->fn(waiter->arg, waiter->err);
}

int node_insert(struct mirror *m, struct node *n)
{
	int64_t before = n->parent->children_ms;
	int err = node_show(m, n);

	n->parent->children_ms = before > n->stat.ctime ? before : n->stat.ctime;
	n->told = true;
	if (!err)
		dentry_set_latest(m, dentry_find(n->parent, n->name), n);
	return err;
}

void node_wake(struct mirror *m, struct node *n, int err)
{
	while (!list_empty(&n->waiters)) {
		struct waiter *waiter = container_of(n->waiters.next, struct waiter, link);

		list_remove(&waiter->link);
		waiter->err = err;
		tree_later(m, &waiter->todo, waiter_call, waiter);
	}
}

void node_unshow(struct mirror *m, struct node *n)
{
	struct node *parent = n->parent;
	struct dentry *d;

	if (!n->is_shown || !parent)
		return;
	d = dentry_find(parent, n->name);
	n->is_shown = false;
	n->gone = true;
	parent->children_ms = now_ms();
	node_wake(m, n, -ESTALE);
	if (d && d->shown == n) {
		d->shown = NULL;
		if (d->latest == n)
			dentry_set_latest(m, d, NULL);
		/* n is used by the caller: its last reference may be this one, but for a known parent's. */
		dentry_tidy(parent, d);
		node_unref(m, n);
	}
}

int node_move(struct mirror *m, struct node *n, struct node *dir, const char *name)
{
	char *copy = strdup(name);
	struct dentry *d = copy ? dentry_make(dir, name) : NULL;
	struct node *old_parent = n->parent;

	if (!d) {
		free(copy);
		return -ENOMEM;
	}
	node_ref(n);
	node_unshow(m, n);
	n->parent = node_ref(dir);
	free(n->name);
	n->name = copy;
	if (n->known) {
		node_known_get(m, dir);
		node_known_put(m, old_parent);
	}
	node_unref(m, old_parent);
	node_show(m, n);
	d = dentry_find(dir, name);
	if (d)
		dentry_set_latest(m, d, n);
	n->told = true;
	node_unref(m, n);
	return 0;
}

void mirror_saw(struct mirror *m, const struct zstat *stat)
{
	if (stat->mzxid > m->last_zxid)
		m->last_zxid = stat->mzxid;
	if (stat->pzxid > m->last_zxid)
		m->last_zxid = stat->pzxid;
}

void node_set_stat(struct node *n, const struct zstat *stat)
{
	if (stat->mzxid >= n->stat.mzxid || stat->czxid != n->stat.czxid)
		n->stat = *stat;
	if (stat->mzxid > n->latest_mzxid)
		n->latest_mzxid = stat->mzxid;
	n->latest_czxid = n->stat.czxid;
}

void node_set_children(struct node *n, const struct zstat *stat)
{
	n->stat.pzxid = stat->pzxid;
	n->stat.cversion = stat->cversion;
	n->stat.num_children = stat->num_children;
}

void node_set_state(struct node *n, const struct zstat *stat, struct blob *data)
{
	if (n->stat.czxid == stat->czxid && n->stat.mzxid > stat->mzxid) {
		blob_unref(data);
		return;
	}
	node_set_stat(n, stat);
	blob_unref(n->data);
	n->data = data;
}

char *path_join(const char *dir, const char *name)
{
	size_t n = strlen(dir), len = strlen(name);
	char *path = malloc(n + len + 2);

	if (!path)
		return NULL;
	if (n == 1)
		n = 0; /* the root */
	memcpy(path, dir, n);
	path[n] = '/';
	memcpy(path + n + 1, name, len + 1);
	return path;
}

char *node_path(const struct node *n)
{
	size_t len = 0;
	char *path, *p;

	if (!n->parent)
		return strdup("/");
	for (const struct node *i = n; i->parent; i = i->parent)
		len += strlen(i->name) + 1;
	path = malloc(len + 1);
	if (!path)
		return NULL;
	p = path + len;
	*p = '\0';
	for (; n->parent; n = n->parent) {
		size_t k = strlen(n->name);

		p -= k;
		memcpy(p, n->name, k);
		*--p = '/';
	}
	return path;
}

struct node *mirror_latest(struct mirror *m, const char *path)
{
	struct node *n = m->root;
	autofree char *copy = strdup(path);
	char *save = NULL;

	if (!copy)
		return NULL;
	for (char *c = strtok_r(copy, "/", &save); n && c; c = strtok_r(NULL, "/", &save)) {
		struct dentry *d = dentry_find(n, c);

		n = d ? d->latest : NULL;
	}
	return n;
}

struct node *mirror_latest_parent(struct mirror *m, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	autofree char *dir = NULL;

	if (!slash || !slash[1])
		return NULL;
	*name = slash + 1;
	if (slash == path)
		return m->root;
	dir = strndup(path, slash - path);
	return dir ? mirror_latest(m, dir) : NULL;
}

struct node *inode_node(struct inode *i)
{
	if (i->kind == INODE_NODE)
		return container_of(i, struct node, inode);
	if (i->kind == INODE_DATA)
		return container_of(i, struct node, data_inode);
	return NULL;
}

struct inode *inode_new(struct mirror *m, enum inode_kind kind, bool is_dir)
{
	struct inode *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	i->kind = kind;
	i->is_dir = is_dir;
	i->generation = ++m->generation;
	i->ino = i->generation | 1ULL << 62;
	i->time_ms = now_ms();
	list_append(&m->inodes, &i->extra);
	return i;
}

void inode_lookup(struct mirror *m, struct inode *i)
{
	struct node *n = inode_node(i);

	if (i->nlookup++ || !n)
		return;
	node_ref(n);
	node_known_get(m, n);
}

void inode_forget(struct mirror *m, struct inode *i, uint64_t nlookup)
{
	struct node *n = inode_node(i);

	if (n && !n->parent && i->kind == INODE_NODE)
		return; /* the root is never forgotten */
	i->nlookup -= nlookup < i->nlookup ? nlookup : i->nlookup;
	if (i->nlookup)
		return;
	if (n) {
		node_known_put(m, n);
		node_unref(m, n);
	} else if (i->kind != INODE_CTL) {
		list_remove(&i->extra);
		free(i->link);
		free(i);
	}
}
