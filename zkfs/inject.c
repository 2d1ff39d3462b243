/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The injectors. Each directory has a queue of changes, in the order in which the server told them; a directory whose
 * first change is ready stands in the list of those to be worked on; a thread takes one, carries out its
 * changes one by one, and puts it back when it must wait. So a directory that is blocked (a user's request is
 * pending in it, and holds its lock in the kernel) blocks one thread; when all are busy another is started.
 *
 * The threads see the mount through a descriptor of their own: as root a detached clone of it (open_tree(2)), so that
 * umount(8) is not refused, and nothing is ever made below a mountpoint that has gone; as another user the mountpoint is
 * opened for each change, and its device compared. They share no descriptors with the rest of the daemon:
 * otherwise a killed daemon would keep /dev/fuse open through a thread that waits in the kernel, and both would hang.
 *
 * Locks: the tree lock guards queues, list and threads; it is not held during a system call on the mount.
 */
#define FUSE_USE_VERSION 314
#include "inject.h"

#include "log.h"
#include "name.h"
#include "stats.h"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif

#define FIRST_INJECTORS 4
#define MOST_INJECTORS 64

struct injector {
	struct inject *in;
	pthread_t thread;
	pid_t pid;	   /* as FUSE requests tell it; 0: not known yet */
	char probe[64];	   /* name of the attribute that it asks for to be known */
	struct item *item; /* what it carries out now */
	bool failed;
};

/* What an injector asks of the notifier: it has no /dev/fuse itself. */
struct notice {
	struct list link;
	struct inject *in;
	uint64_t ino;
	const char *name; /* NULL: the data of the inode; else the entry of that name in it */
	bool done;
};

struct inject {
	struct mirror *m;
	struct fuse_session *se;
	char *mountpoint;
	dev_t dev;
	bool use_clone;
	/* guarded by the tree lock */
	struct list run; /* struct node.run */
	pthread_cond_t work, known;
	struct injector *injectors[MOST_INJECTORS];
	unsigned int n_injectors, n_idle;
	bool started, ending;
	bool gone; /* the mount is gone: descriptors are to be closed */
	size_t queued;
	pthread_t monitor;
	bool has_monitor;
	int wake[2];
	pthread_t notifier;
	bool has_notifier;
	pthread_mutex_t notices_lock; /* guards the notices; innermost */
	pthread_cond_t notices_change;
	struct list notices;
	bool notices_end;
};

struct inject *inject_new(struct mirror *m)
{
	struct inject *in = calloc(1, sizeof(*in));

	if (!in)
		return NULL;
	in->m = m;
	in->wake[0] = in->wake[1] = -1;
	list_init(&in->run);
	list_init(&in->notices);
	pthread_mutex_init(&in->notices_lock, NULL);
	pthread_cond_init(&in->notices_change, NULL);
	pthread_cond_init(&in->work, NULL);
	pthread_cond_init(&in->known, NULL);
	return in;
}

/* ---- queues; the tree lock is held ---- */

static void start_injector_locked(struct inject *in);

static bool is_runnable(struct node *dir)
{
	struct item *item;

	if (list_empty(&dir->queue))
		return false;
	/* The directory's own creation is told first. */
	if (!dir->is_shown && !dir->gone)
		return false;
	item = container_of(dir->queue.next, struct item, link);
	if (item->state != ITEM_READY)
		return false;
	/* What was in a directory is told as gone before the directory is. */
	return item->type != ITEM_DELETE || item->target != ITEM_NODE || !item->node ||
	       list_empty(&item->node->queue);
}

void inject_kick(struct inject *in, struct node *dir)
{
	if (dir->running || !list_empty(&dir->run) || !is_runnable(dir))
		return;
	node_ref(dir);
	list_append(&in->run, &dir->run);
	if (in->n_idle)
		pthread_cond_signal(&in->work);
	else
		start_injector_locked(in);
}

static struct item *item_new(struct inject *in, struct node *dir, const char *shown,
			     enum item_type type)
{
	struct item *item = calloc(1, sizeof(*item));

	if (!item)
		return NULL;
	item->name = strdup(shown);
	if (!item->name) {
		free(item);
		return NULL;
	}
	list_init(&item->link);
	list_init(&item->of_entry);
	list_init(&item->of_own);
	list_init(&item->todo.link);
	item->type = type;
	item->mirror = in->m;
	item->dir = node_ref(dir);
	item->since = monotonic_ms();
	node_known_get(in->m, dir);
	list_append(&dir->queue, &item->link);
	in->queued++;
	return item;
}

void inject_free_item(struct inject *in, struct item *item)
{
	struct node *dir = item->dir;

	node_unref(in->m, item->node);
	blob_unref(item->data);
	node_known_put(in->m, dir);
	node_unref(in->m, dir);
	free(item->name);
	free(item->path);
	free(item);
}

/* Takes @item out of its queue, and lets go on who waited for that. */
static void unqueue(struct inject *in, struct item *item)
{
	struct node *dir = item->dir;

	list_remove(&item->link);
	list_remove(&item->of_entry);
	list_remove(&item->of_own);
	in->queued--;
	if (item->entry) {
		struct dentry *d = item->entry;

		item->entry = NULL;
		dentry_tidy(dir, d);
	}
	if (item->typed) {
		inode_forget(in->m, item->typed, 1);
		item->typed = NULL;
	}
	if (list_empty(&dir->queue) && dir->parent)
		inject_kick(in, dir->parent);
	else
		inject_kick(in, dir);
}

struct item *inject_append(struct inject *in, struct node *dir, const char *name, struct node *node,
			   enum item_type type)
{
	char *shown = name ? malloc(strlen(name) + 2) : strdup(".data");
	struct item *item;

	if (!shown)
		return NULL;
	if (name)
		name_show(name, !dir->parent, shown);
	item = item_new(in, dir, shown, type);
	free(shown);
	if (!item)
		return NULL;
	item->target = name ? ITEM_NODE : ITEM_DATA;
	item->node = node ? node_ref(node) : NULL;
	if (name) {
		item->entry = dentry_make(dir, name);
		if (!item->entry) {
			unqueue(in, item);
			inject_free_item(in, item);
			return NULL;
		}
		list_append(&item->entry->items, &item->of_entry);
	}
	return item;
}

int inject_append_typed(struct inject *in, struct node *dir, const char *shown,
			struct inode *placeholder, struct item *before)
{
	struct item *item = item_new(in, dir, shown, ITEM_DELETE);

	if (!item)
		return -ENOMEM;
	item->target = ITEM_TYPED;
	item->typed = placeholder;
	item->is_dir = placeholder->is_dir;
	inode_lookup(in->m, placeholder);
	item->state = ITEM_READY;
	if (before) {
		list_remove(&item->link);
		list_append(&before->link, &item->link); /* the list is a ring: in front of it */
	}
	inject_kick(in, dir);
	return 0;
}

void inject_move_behind(struct item *item, struct item *other)
{
	list_remove(&item->link);
	list_append(other->link.next, &item->link);
	if (item->entry && item->entry == other->entry) {
		list_remove(&item->of_entry);
		list_append(other->of_entry.next, &item->of_entry);
	}
}

void inject_move_first(struct item *item)
{
	struct node *dir = item->dir;
	struct list *first = dir->queue.next;

	if (dir->running && first != &item->link)
		first = first->next; /* that one is being carried out */
	if (first == &item->link)
		return;
	list_remove(&item->link);
	list_append(first, &item->link);
}

void inject_ready(struct inject *in, struct item *item)
{
	inject_kick(in, item->dir);
}

void inject_drop(struct inject *in, struct item *item)
{
	if (item->state == ITEM_DROPPED)
		return;
	item->state = ITEM_DROPPED;
	if (item->type == ITEM_CREATE && item->target == ITEM_NODE && !item->node->is_shown) {
		/* It never will be: what waits in it need not. */
		item->node->gone = true;
		inject_kick(in, item->node);
	}
	unqueue(in, item);
	if (!item->is_asked)
		inject_free_item(in, item);
}

static void oldest(struct node *dir, int64_t *since)
{
	if (!list_empty(&dir->queue)) {
		struct item *item = container_of(dir->queue.next, struct item, link);

		if (item->since < *since)
			*since = item->since;
	}
	for (size_t i = 0; i < dir->n_order; i++) {
		struct dentry *d = dir->order[i].entry;

		if (d && d->latest && d->latest->is_dir)
			oldest(d->latest, since);
		if (d && d->shown && d->shown != d->latest && d->shown->is_dir)
			oldest(d->shown, since);
	}
}

size_t inject_queued(struct inject *in, int64_t *age_ms)
{
	int64_t now = monotonic_ms(), since = now;

	if (in->queued)
		oldest(in->m->root, &since);
	*age_ms = now - since;
	return in->queued;
}

/* ---- the kernel's view moves on; the tree lock is held ---- */

static int commit_data(struct item *item)
{
	struct node *n = item->dir;

	if (item->has_state)
		node_set_state(n, &item->stat, blob_ref(item->data));
	n->unreadable = item->unreadable;
	return 0;
}

int inject_commit(struct inject *in, struct item *item)
{
	struct node *n = item->node;
	int err = 0;

	if (item->committed)
		return 0;
	item->committed = true;
	if (item->target == ITEM_TYPED)
		return 0;
	if (item->target == ITEM_DATA)
		return commit_data(item);
	switch (item->type) {
	case ITEM_CREATE:
	case ITEM_CHANGE:
		if (item->has_state) {
			node_set_state(n, &item->stat, blob_ref(item->data));
			n->unreadable = item->unreadable;
		}
		if (!n->is_shown && !n->gone)
			err = node_show(in->m, n);
		if (item->type == ITEM_CREATE)
			n->told = true;
		if (n->is_dir && !err)
			inject_kick(in, n);
		break;
	case ITEM_DELETE:
		if (n) {
			node_unshow(in->m, n);
			inject_kick(in, n);
		} else {
			item->dir->children_ms = now_ms();
		}
		break;
	}
	return err;
}

/* The kernel has been shown a newer one already: made here, after this one had come and gone. */
static bool is_superseded(const struct item *item)
{
	const struct dentry *d = item->entry;

	return d && d->shown && d->shown != item->node && d->shown == d->latest;
}

/* Nothing to tell: somebody else has told it, or what it tells of has gone. */
static bool is_outdated(struct item *item)
{
	struct node *n = item->node;

	if (item->dir->gone)
		return true;
	if (item->target == ITEM_TYPED)
		return false;
	if (item->target == ITEM_DATA) {
		bool was = item->dir->data != NULL, is = item->data != NULL;

		/* Which event it is depends on what the kernel has been shown. */
		if (item->type == ITEM_DELETE || !item->has_state)
			return !item->has_state;
		item->type = was && is ? ITEM_CHANGE : is ? ITEM_CREATE : ITEM_DELETE;
		if (was || is)
			return false;
		node_set_state(item->dir, &item->stat, NULL);
		return true;
	}
	switch (item->type) {
	case ITEM_CREATE:
		return n->gone || (n->is_shown && n->told) || is_superseded(item);
	case ITEM_CHANGE:
		return n->gone;
	case ITEM_DELETE:
		return n && !n->is_shown;
	}
	return true;
}

/* ---- notifications, without any lock ---- */

static void *notify(void *arg)
{
	struct notice *n = arg;
	struct inject *in = n->in;

	if (n->name)
		fuse_lowlevel_notify_inval_entry(in->se, n->ino, n->name, strlen(n->name));
	else
		fuse_lowlevel_notify_inval_inode(in->se, n->ino, 0, 0);
	pthread_mutex_lock(&in->notices_lock);
	n->done = true;
	pthread_cond_broadcast(&in->notices_change);
	pthread_mutex_unlock(&in->notices_lock);
	return NULL;
}

/*
 * An entry's notification waits for the lock of its directory: in a thread of its own, so that it holds up no other.
 */
static void *notifier_main(void *arg)
{
	struct inject *in = arg;

	pthread_mutex_lock(&in->notices_lock);
	while (!in->notices_end) {
		struct notice *n;
		pthread_t thread;

		if (list_empty(&in->notices)) {
			pthread_cond_wait(&in->notices_change, &in->notices_lock);
			continue;
		}
		n = container_of(in->notices.next, struct notice, link);
		list_remove(&n->link);
		pthread_mutex_unlock(&in->notices_lock);
		if (n->name && !pthread_create(&thread, NULL, notify, n))
			pthread_detach(thread);
		else
			notify(n);
		pthread_mutex_lock(&in->notices_lock);
	}
	while (!list_empty(&in->notices)) {
		struct notice *n = container_of(in->notices.next, struct notice, link);

		list_remove(&n->link);
		n->done = true;
	}
	pthread_cond_broadcast(&in->notices_change);
	pthread_mutex_unlock(&in->notices_lock);
	return NULL;
}

static void invalidate(struct inject *in, uint64_t ino, const char *name)
{
	struct notice n = { .in = in, .ino = ino, .name = name };

	pthread_mutex_lock(&in->notices_lock);
	if (!in->notices_end) {
		list_append(&in->notices, &n.link);
		pthread_cond_broadcast(&in->notices_change);
		while (!n.done)
			pthread_cond_wait(&in->notices_change, &in->notices_lock);
	}
	pthread_mutex_unlock(&in->notices_lock);
}

/* ---- the system calls, without any lock ---- */

/* What an injector needs to know of its item while it does not hold the lock. */
struct order {
	enum item_type type;
	bool is_dir, has_data;
	struct inode *inode; /* whose cached data are outdated; NULL: none; as a node id, never followed */
	uint64_t parent_id;
	char *path; /* of the directory, as the kernel sees it, relative to the root */
	char *name;
};

static uint64_t id_of(struct inode *i)
{
	struct node *n = i->kind == INODE_NODE ? inode_node(i) : NULL;

	return n && !n->parent ? FUSE_ROOT_ID : (uint64_t)(uintptr_t)i;
}

static char *shown_path(const struct node *n)
{
	size_t len = 1;
	char *path, *p;

	for (const struct node *i = n; i->parent; i = i->parent)
		len += strlen(i->name) + 2;
	path = malloc(len + 1);
	if (!path)
		return NULL;
	p = path + len;
	*p = '\0';
	for (; n->parent; n = n->parent) {
		autofree char *shown = malloc(strlen(n->name) + 2);
		size_t k;

		if (!shown) {
			free(path);
			return NULL;
		}
		name_show(n->name, !n->parent->parent, shown);
		k = strlen(shown);
		p -= k;
		memcpy(p, shown, k);
		*--p = '/';
	}
	if (*p == '/')
		p++;
	memmove(path, p, strlen(p) + 1);
	return path;
}

static bool order_take(struct order *o, struct item *item)
{
	memset(o, 0, sizeof(*o));
	o->type = item->type;
	o->is_dir = item->node && item->target == ITEM_NODE ? item->node->is_dir : item->is_dir;
	o->has_data = item->data && item->data->len;
	o->parent_id = id_of(&item->dir->inode);
	if (item->type == ITEM_CHANGE)
		o->inode = item->target == ITEM_DATA ? &item->dir->data_inode : &item->node->inode;
	if (o->inode && !o->inode->nlookup)
		o->inode = NULL;
	o->path = shown_path(item->dir);
	o->name = strdup(item->name);
	return o->path && o->name;
}

/* Opens a directory of the mount whose path may be longer than PATH_MAX. */
static int open_dir(int root, char *path)
{
	int dir = root;

	if (!*path)
		return openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	while (*path) {
		char *end = path + strlen(path), saved;
		int next;

		if (end - path > 4000) {
			end = path + 4000;
			while (*end != '/')
				end--;
		}
		saved = *end;
		*end = '\0';
		next = openat(dir, path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		*end = saved;
		if (dir != root)
			close(dir);
		if (next < 0)
			return -1;
		dir = next;
		path = saved ? end + 1 : end;
	}
	return dir;
}

static void touch_mtime(int fd)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };

	futimens(fd, times);
}

static int carry_out(struct inject *in, struct order *o, int root)
{
	int dir = open_dir(root, o->path), fd, ret = 0;

	if (dir < 0)
		return -errno;
	switch (o->type) {
	case ITEM_CREATE:
		if (o->is_dir) {
			ret = mkdirat(dir, o->name, 0755);
			break;
		}
		fd = openat(dir, o->name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0) {
			ret = -1;
			break;
		}
		if (o->has_data)
			touch_mtime(fd);
		close(fd);
		break;
	case ITEM_CHANGE:
		if (o->inode)
			invalidate(in, (uint64_t)(uintptr_t)o->inode, NULL);
		fd = openat(dir, o->name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 && errno == ENOENT) {
			invalidate(in, o->parent_id, o->name);
			fd = openat(dir, o->name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
		}
		if (fd < 0) {
			ret = -1;
			break;
		}
		touch_mtime(fd);
		close(fd);
		break;
	case ITEM_DELETE:
		ret = unlinkat(dir, o->name, o->is_dir ? AT_REMOVEDIR : 0);
		if (ret && errno == ENOENT) {
			/* The kernel may remember that there is no such name: it did not ask. */
			invalidate(in, o->parent_id, o->name);
			ret = unlinkat(dir, o->name, o->is_dir ? AT_REMOVEDIR : 0);
		}
		break;
	}
	if (ret)
		ret = -errno;
	close(dir);
	return ret;
}

/* ---- threads ---- */

static int open_mount(struct inject *in)
{
	struct stat st;
	int fd;

	if (in->use_clone) {
		struct mount_attr writable = { .attr_clr = MOUNT_ATTR_RDONLY };

		fd = syscall(SYS_open_tree, AT_FDCWD, in->mountpoint,
			     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		/* With -o ro the visible mount is read-only, but this one must not be. */
		if (fd >= 0)
			mount_setattr(fd, "", AT_EMPTY_PATH, &writable, sizeof(writable));
		return fd;
	}
	fd = open(in->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &st) || st.st_dev != in->dev)) {
		close(fd);
		errno = ENODEV;
		return -1;
	}
	return fd;
}

static bool probe(struct injector *me, int root)
{
	char path[64], value[8];

	snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", root);
	getxattr(path, me->probe, value, sizeof(value));
	return __atomic_load_n(&me->pid, __ATOMIC_ACQUIRE) != 0;
}

/* One change. The lock is held, but released for the calls. */
static void work_on(struct injector *me, struct node *dir, int root)
{
	struct inject *in = me->in;
	struct item *item = container_of(dir->queue.next, struct item, link);
	struct order o;
	int err;

	if (is_outdated(item)) {
		stats_add(STAT_EVENTS_OUTDATED);
		inject_drop(in, item);
		return;
	}
	if (!order_take(&o, item)) {
		err = -ENOMEM;
	} else {
		me->item = item;
		tree_unlock(in->m);
		err = -ENODEV;
		if (!in->use_clone)
			root = open_mount(in);
		if (root >= 0)
			err = carry_out(in, &o, root);
		if (!in->use_clone && root >= 0)
			close(root);
		tree_lock(in->m);
		me->item = NULL;
	}
	if (!err && item->committed) {
		stats_add(STAT_EVENTS_INJECTED);
		log_debug("told: %s in /%s", o.name, o.path);
	} else {
		stats_add(STAT_EVENTS_OUTDATED);
		log_debug("not told: %s in %s: %s", o.name ? o.name : "?", o.path ? o.path : "?",
			  strerror(-err));
		/* The server's state is what counts, told or not. */
		if (item->state == ITEM_READY)
			inject_commit(in, item);
	}
	free(o.path);
	free(o.name);
	inject_drop(in, item);
}

static void *injector_main(void *arg)
{
	struct injector *me = arg;
	struct inject *in = me->in;
	int root = -1;

	if (unshare(CLONE_FILES) == 0)
		syscall(SYS_close_range, 3, ~0U, 0);
	root = open_mount(in);
	if (root < 0 || !probe(me, root)) {
		int err = errno;

		tree_lock(in->m);
		if (!in->ending && !in->gone)
			log_error("cannot reach the own mount: %s", strerror(err));
		me->failed = true;
	} else {
		tree_lock(in->m);
	}
	if (!in->use_clone && root >= 0) {
		close(root);
		root = -1;
	}
	pthread_cond_broadcast(&in->known);
	while (!in->ending && !me->failed) {
		struct node *dir;

		if (in->gone && root >= 0) {
			tree_unlock(in->m);
			close(root);
			tree_lock(in->m);
			root = -1;
			continue; /* the end may have come meanwhile */
		}
		if (list_empty(&in->run)) {
			in->n_idle++;
			pthread_cond_wait(&in->work, &in->m->lock);
			in->n_idle--;
			continue;
		}
		dir = container_of(in->run.next, struct node, run);
		list_remove(&dir->run);
		dir->running = true;
		while (!in->ending && !(in->gone && root >= 0) && is_runnable(dir))
			work_on(me, dir, root);
		dir->running = false;
		inject_kick(in, dir);
		node_unref(in->m, dir);
	}
	tree_unlock(in->m);
	if (root >= 0)
		close(root);
	return NULL;
}

static void start_injector_locked(struct inject *in)
{
	struct injector *me;
	uint64_t random[2];

	if (in->n_injectors == MOST_INJECTORS || in->ending || !in->started)
		return;
	me = calloc(1, sizeof(*me));
	if (!me)
		return;
	me->in = in;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		random[0] = (uintptr_t)me;
	snprintf(me->probe, sizeof(me->probe), "user.zk.probe.%016llx%016llx",
		 (unsigned long long)random[0], (unsigned long long)random[1]);
	in->injectors[in->n_injectors] = me;
	if (pthread_create(&me->thread, NULL, injector_main, me)) {
		free(me);
		return;
	}
	__atomic_store_n(&in->n_injectors, in->n_injectors + 1, __ATOMIC_RELEASE);
}

static bool mount_is_there(struct inject *in)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	unsigned int major, minor;
	char line[8192];
	bool found = false;

	if (!f)
		return true;
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*d %*d %u:%u", &major, &minor) == 2)
			found = makedev(major, minor) == in->dev;
	}
	fclose(f);
	return found;
}

/*
 * The clones keep the filesystem alive after the last visible mount has gone, so that the daemon would never hear of it:
 * as soon as none is left in this namespace the clones are closed.
 */
static void *monitor_main(void *arg)
{
	struct inject *in = arg;
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	struct pollfd p[2] = { { .fd = fd, .events = POLLPRI },
			       { .fd = in->wake[0], .events = POLLIN } };

	for (;;) {
		if (!mount_is_there(in)) {
			tree_lock(in->m);
			in->gone = true;
			pthread_cond_broadcast(&in->work);
			tree_unlock(in->m);
			break;
		}
		if (fd < 0 || (poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR) || p[1].revents)
			break;
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

int inject_start(struct inject *in, struct fuse_session *se, const char *mountpoint)
{
	struct stat st;
	int fd, ret = 0;
	bool all;

	in->mountpoint = strdup(mountpoint);
	if (!in->mountpoint)
		return -ENOMEM;
	if (stat(mountpoint, &st))
		return -errno;
	in->dev = st.st_dev;
	fd = syscall(SYS_open_tree, AT_FDCWD, mountpoint, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	in->use_clone = fd >= 0;
	if (fd >= 0)
		close(fd);
	if (in->use_clone && !pipe2(in->wake, O_CLOEXEC))
		in->has_monitor = !pthread_create(&in->monitor, NULL, monitor_main, in);
	in->se = se;
	in->has_notifier = !pthread_create(&in->notifier, NULL, notifier_main, in);
	if (!in->has_notifier)
		return -EAGAIN;
	tree_lock(in->m);
	in->started = true;
	for (int i = 0; i < FIRST_INJECTORS; i++)
		start_injector_locked(in);
	do {
		all = in->n_injectors > 0;
		if (!all)
			ret = -EAGAIN;
		for (unsigned int i = 0; i < in->n_injectors; i++) {
			if (in->injectors[i]->failed)
				ret = -EIO;
			all = all && __atomic_load_n(&in->injectors[i]->pid, __ATOMIC_ACQUIRE);
		}
		if (!ret && !all)
			pthread_cond_wait(&in->known, &in->m->lock);
	} while (!ret && !all);
	tree_unlock(in->m);
	return ret;
}

bool inject_is_apart(const struct inject *in)
{
	return in->use_clone;
}

void inject_end(struct inject *in)
{
	tree_lock(in->m);
	in->ending = true;
	pthread_cond_broadcast(&in->work);
	tree_unlock(in->m);
	pthread_mutex_lock(&in->notices_lock);
	in->notices_end = true;
	pthread_cond_broadcast(&in->notices_change);
	pthread_mutex_unlock(&in->notices_lock);
}

void inject_stop(struct inject *in)
{
	inject_end(in);
	if (in->has_monitor) {
		if (write(in->wake[1], "", 1) != 1)
			log_warn("cannot wake the monitor: %s", strerror(errno));
		pthread_join(in->monitor, NULL);
	}
	for (unsigned int i = 0; i < in->n_injectors; i++)
		pthread_join(in->injectors[i]->thread, NULL);
	if (in->has_notifier)
		pthread_join(in->notifier, NULL);
}

void inject_free(struct inject *in)
{
	if (!in)
		return;
	for (struct list *l = in->m->all.next; l != &in->m->all; l = l->next) {
		struct node *dir = container_of(l, struct node, all);

		while (!list_empty(&dir->queue)) {
			struct item *item = container_of(dir->queue.next, struct item, link);

			list_remove(&item->link);
			blob_unref(item->data);
			free(item->name);
			free(item->path);
			free(item);
		}
	}
	for (unsigned int i = 0; i < in->n_injectors; i++)
		free(in->injectors[i]);
	if (in->wake[0] >= 0) {
		close(in->wake[0]);
		close(in->wake[1]);
	}
	pthread_cond_destroy(&in->work);
	pthread_cond_destroy(&in->known);
	pthread_cond_destroy(&in->notices_change);
	pthread_mutex_destroy(&in->notices_lock);
	free(in->mountpoint);
	free(in);
}

/* ---- for the handlers ---- */

bool inject_probe(struct inject *in, const char *xattr, pid_t pid)
{
	if (strncmp(xattr, "user.zk.probe.", 14) != 0)
		return false;
	for (unsigned int i = 0; i < MOST_INJECTORS; i++) {
		struct injector *j = __atomic_load_n(&in->injectors[i], __ATOMIC_ACQUIRE);

		if (j && !strcmp(j->probe, xattr))
			__atomic_store_n(&j->pid, pid, __ATOMIC_RELEASE);
	}
	return true;
}

struct item *inject_current(struct inject *in, pid_t pid, bool *is_injector)
{
	unsigned int n = __atomic_load_n(&in->n_injectors, __ATOMIC_ACQUIRE);

	*is_injector = false;
	if (!pid)
		return NULL;
	for (unsigned int i = 0; i < n; i++) {
		struct injector *j = in->injectors[i];

		if (__atomic_load_n(&j->pid, __ATOMIC_ACQUIRE) == pid) {
			*is_injector = true;
			return j->item;
		}
	}
	return NULL;
}
