/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an open file holds becomes one ZooKeeper request: a create for a file that is not there yet, a set otherwise.
 *
 * An overwritten file is set whatever its version; one that is edited in place only if it is still the version that
 * was opened; appending reads, appends, sets if that is still the version, and starts again if it is not.
 * A write whose answer is lost is looked for before it is repeated.
 *
 * One commit of a handle at a time: a second one waits for the first. Entered by the FUSE loop and the session's threads.
 */
#include "fs.h"

#include "log.h"

#include <stdio.h>

struct commit {
	struct zkfs *fs;
	struct handle *h; /* reference */
	char *buf;	  /* a copy while it waits; NULL: nothing to be written */
	size_t size;
	off_t off;
	bool has_buf;
	char *path;
	struct blob *content; /* what the znode is to hold */
	struct blob *chunk;   /* what is appended */
	int32_t version;
	int64_t before; /* mzxid before the request: what is found later and is newer may be ours */
	bool owns;	/* own_begin() was called */
	bool lost;	/* an answer did not come: it may have happened */
	int64_t since;	/* monotonic_ms() */
	struct waiter waiter;
	struct todo todo;
	void (*done)(void *arg, int err);
	void *arg;
};

static void start(struct commit *c);
static void answered(void *arg, const struct session_reply *reply);

/* The largest packets that a stock server takes, less the path. */
#define CREATE_ROOM 1048528
#define SET_ROOM 1048555

size_t commit_limit(struct zkfs *fs, const char *path, bool create)
{
	size_t room = create ? CREATE_ROOM : SET_ROOM, len = strlen(fs->opts->chroot) + strlen(path);

	if (fs->opts->maxdata)
		return fs->opts->maxdata;
	return room > len ? room - len : 0;
}

struct handle *handle_new(struct zkfs *fs)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->fs = fs;
	h->refs = 1;
	list_init(&h->waiting);
	list_append(&fs->handles, &h->link);
	fs->n_handles++;
	return h;
}

void handle_ref(struct handle *h)
{
	h->refs++;
}

void handle_unref(struct handle *h)
{
	struct mirror *m = &h->fs->m;

	if (--h->refs)
		return;
	list_remove(&h->link);
	h->fs->n_handles--;
	h->dirty = h->truncated = false;
	h->make = MAKE_NOTHING;
	handle_count(h);
	handle_set_node(h, NULL);
	if (h->dir) {
		node_known_put(m, h->dir);
		node_unref(m, h->dir);
	}
	if (h->placeholder)
		inode_forget(m, h->placeholder, 1);
	blob_unref(h->snapshot);
	free(h->typed);
	free(h->image);
	free(h->text);
	free(h);
}

void handle_set_node(struct handle *h, struct node *n)
{
	struct mirror *m = &h->fs->m;
	struct node *old = h->n;

	if (h->counted) {
		old->dirty--;
		h->counted = false;
	}
	if (n) {
		node_ref(n);
		node_known_get(m, n);
	}
	h->n = n;
	if (old) {
		node_known_put(m, old);
		node_unref(m, old);
	}
}

bool handle_is_pending(const struct handle *h)
{
	return !h->is_broken && (h->dirty || h->truncated || h->make != MAKE_NOTHING);
}

void handle_count(struct handle *h)
{
	bool counts = handle_is_pending(h);

	if (!h->n)
		return;
	if (counts != h->counted) {
		h->n->dirty += counts ? 1 : -1;
		h->counted = counts;
	}
	if (counts)
		h->n->dirty_size = h->len + (h->append && h->n->data ? h->n->data->len : 0);
}

static void commit_free_unlock(struct commit *c, int err)
{
	struct zkfs *fs = c->fs;
	void (*done)(void *arg, int err) = c->done;
	void *arg = c->arg;

	if (c->owns)
		own_end(&fs->w, c->path);
	blob_unref(c->content);
	blob_unref(c->chunk);
	handle_unref(c->h);
	tree_unlock(&fs->m);
	free(c->buf);
	free(c->path);
	free(c);
	done(arg, err);
}

static void restart(void *arg)
{
	start(arg);
}

/* The commit is over, one way or the other. The lock is held, and released. */
static void finish_unlock(struct commit *c, int err)
{
	struct handle *h = c->h;

	h->committing = false;
	h->is_broken = err != 0;
	handle_count(h);
	if (!list_empty(&h->waiting)) {
		struct commit *next = container_of(container_of(h->waiting.next, struct waiter, link),
						   struct commit, waiter);

		list_remove(&next->waiter.link);
		tree_later(&c->fs->m, &next->todo, restart, next);
	}
	commit_free_unlock(c, err);
}

/* The handle's image, with the commit's bytes written into it. NULL: no memory. */
static struct blob *new_image(struct commit *c, int *err)
{
	struct handle *h = c->h;
	const char *base = h->has_image ? h->image : h->snapshot ? h->snapshot->bytes : "";
	size_t len = h->has_image ? h->len : h->snapshot ? h->snapshot->len : 0, end = len;
	size_t off = h->append ? len : (size_t)c->off;
	struct blob *b;

	if (c->has_buf && off + c->size > end)
		end = off + c->size;
	if (end > commit_limit(c->fs, c->path, false)) {
		*err = -EFBIG;
		return NULL;
	}
	b = malloc(sizeof(*b) + end);
	if (!b)
		return NULL;
	b->refs = 1;
	b->len = end;
	if (len)
		memcpy(b->bytes, base, len);
	memset(b->bytes + len, 0, end - len);
	if (c->has_buf)
		memcpy(b->bytes + off, c->buf, c->size);
	return b;
}

/* What an appending handle holds, and the commit's bytes. NULL: no memory. */
static struct blob *chunk_of(struct commit *c)
{
	struct handle *h = c->h;
	size_t size = c->has_buf ? c->size : 0;
	struct blob *b = malloc(sizeof(*b) + h->len + size);

	if (!b)
		return NULL;
	b->refs = 1;
	b->len = h->len + size;
	if (h->len)
		memcpy(b->bytes, h->image, h->len);
	if (size)
		memcpy(b->bytes + h->len, c->buf, size);
	return b;
}

static struct blob *append_to(const struct blob *base, const struct blob *chunk)
{
	size_t len = base ? base->len : 0;
	struct blob *b = malloc(sizeof(*b) + len + chunk->len);

	if (!b)
		return NULL;
	b->refs = 1;
	b->len = len + chunk->len;
	if (len)
		memcpy(b->bytes, base->bytes, len);
	memcpy(b->bytes + len, chunk->bytes, chunk->len);
	return b;
}

static void swap_blob(struct blob **to, struct blob *b)
{
	blob_unref(*to);
	*to = b;
}

static char *typed_path(struct handle *h)
{
	autofree char *dir = node_path(h->dir);
	autofree char *name = malloc(strlen(h->typed) + 1);

	if (!dir || !name || name_znode(h->typed, !h->dir->parent, name))
		return NULL;
	if (h->sequential)
		name[name_tag(name)] = '\0';
	return path_join(dir, name);
}

/* Another handle of this mount has made the file meanwhile. */
static void join(struct commit *c)
{
	struct handle *h = c->h;

	h->make = MAKE_NOTHING;
	if (!h->append && (h->dirty || c->has_buf))
		h->truncated = true;
	handle_count(h);
}

/* What is to be sent, in c->content: nothing if that stays NULL. The lock is held. 0 or -errno */
static int prepare(struct commit *c)
{
	struct handle *h = c->h;
	int err = -ENOMEM;

	if (h->stale || (h->n && h->n->gone && !h->n->fresh))
		return -ESTALE;
	if (h->session && h->session != session_id(c->fs->s))
		return -ESTALE;
	if (!h->n && h->make != MAKE_TYPED)
		return -ESTALE;
	if (h->make == MAKE_FILE && h->n && !h->n->fresh)
		join(c);
	if (h->make == MAKE_NOTHING && !c->has_buf && !handle_is_pending(h))
		return 0;
	c->path = h->make == MAKE_TYPED ? typed_path(h) : node_path(h->n);
	if (!c->path)
		return -ENOMEM;
	if (h->append && h->n && h->make == MAKE_NOTHING) {
		c->chunk = chunk_of(c);
		if (!c->chunk)
			return -ENOMEM;
		c->content = append_to(h->n->data, c->chunk);
		c->version = h->n->stat.version;
	} else {
		c->content = new_image(c, &err);
		c->version = h->truncated ? -1 : h->version;
	}
	if (!c->content)
		return err;
	if (c->content->len > commit_limit(c->fs, c->path, h->make != MAKE_NOTHING))
		return -EFBIG;
	if (h->n)
		c->before = h->n->latest_mzxid;
	return 0;
}

/*
 * A directory that is one for its NULL data alone would become a file by its data: a child, made and removed in the
 * same transaction, makes it one for good.
 */
static bool must_stay_directory(struct commit *c)
{
	struct node *n = c->h->n;

	return n && n->is_dir && c->h->make == MAKE_NOTHING && n->parent && !n->stat.cversion &&
	       !n->n_entries && !places_match(c->fs->dirs, c->path);
}

static void stayed(void *arg, const struct session_reply *reply)
{
	struct session_reply set = { .err = reply->err, .stat = reply->err ? NULL : &reply->stat[2] };

	answered(arg, &set);
}

static void send(struct commit *c)
{
	struct handle *h = c->h;
	struct blob *b = c->content;
	autofree char *child = NULL;

	if (h->make == MAKE_TYPED) {
		session_create(c->fs->s, c->path, b->bytes, (ssize_t)b->len,
			       h->sequential ? SESSION_SEQUENTIAL : 0, answered, c);
	} else if (h->make == MAKE_FILE) {
		session_create(c->fs->s, c->path, b->bytes, (ssize_t)b->len, 0, answered, c);
	} else if (must_stay_directory(c) && (child = path_join(c->path, DIRECTORY_MARK))) {
		const struct session_op ops[] = {
			{ .kind = SESSION_OP_CREATE, .path = child, .len = -1 },
			{ .kind = SESSION_OP_DELETE, .path = child, .version = -1 },
			{ .kind = SESSION_OP_SET,
			  .path = c->path,
			  .data = b->bytes,
			  .len = (ssize_t)b->len,
			  .version = c->version },
		};

		session_multi(c->fs->s, ops, ARRAY_SIZE(ops), stayed, c);
	} else {
		session_set(c->fs->s, c->path, b->bytes, (ssize_t)b->len, c->version, answered, c);
	}
}

static void send_later(void *arg)
{
	send(arg);
}

/* The znode is there as it was to be. The lock is held. 0 or -errno */
static int succeed(struct commit *c, const struct zstat *stat, const char *path)
{
	struct zkfs *fs = c->fs;
	struct handle *h = c->h;
	struct node *n = NULL;

	if (h->make == MAKE_TYPED) {
		n = own_sequential(&fs->w, h->dir, strrchr(path, '/') + 1, h->typed, h->placeholder,
				   stat, blob_ref(c->content));
		if (n && h->sequential && strchr(h->typed, '@')) {
			autofree char *dir = node_path(h->dir);

			if (dir)
				tags_put(fs->tags, dir, h->typed, n->name);
		}
		if (n)
			h->is_data = n->is_dir;
	} else if (h->make == MAKE_FILE) {
		n = own_created(&fs->w, h->n->parent, h->n->name, stat, blob_ref(c->content), h->n);
	} else {
		own_changed(&fs->w, h->n, stat, blob_ref(c->content));
		n = node_ref(h->n);
	}
	if (!n)
		return -ENOMEM;
	h->make = MAKE_NOTHING;
	h->dirty = h->truncated = false;
	h->version = stat->version;
	swap_blob(&h->snapshot, blob_ref(c->content));
	h->has_image = false;
	h->len = 0;
	if (n != h->n)
		handle_set_node(h, n);
	handle_count(h);
	node_unref(&fs->m, n);
	return 0;
}

/* The state of the znode after a conflict or a lost answer. */
static void looked(void *arg, const struct session_reply *reply)
{
	struct commit *c = arg;
	struct handle *h = c->h;
	struct blob *base = NULL;
	int err = reply->err;

	tree_lock(&c->fs->m);
	if (!err && c->lost && reply->stat->mzxid > c->before &&
	    reply->len == (ssize_t)c->content->len &&
	    !memcmp(reply->data, c->content->bytes, c->content->len)) {
		finish_unlock(c, succeed(c, reply->stat, c->path));
		return;
	}
	if (err == -ENOENT && h->make == MAKE_FILE) {
		err = 0; /* it had not happened */
	} else if (!err && c->chunk) {
		base = reply->len >= 0 ? blob_new(reply->data, reply->len) : NULL;
		swap_blob(&c->content, append_to(base, c->chunk));
		c->version = reply->stat->version;
		c->before = reply->stat->mzxid;
		if (!c->content)
			err = -ENOMEM;
		else if (c->content->len > commit_limit(c->fs, c->path, false))
			err = -EFBIG;
		blob_unref(base);
	} else if (!err && h->make == MAKE_FILE) {
		err = -EEXIST;
	} else if (!err && c->version >= 0 && c->version != reply->stat->version) {
		err = -ESTALE;
	}
	if (err) {
		if (err == -ENOENT)
			err = -ESTALE;
		h->stale = h->stale || err == -ESTALE;
		finish_unlock(c, err);
		return;
	}
	tree_later(&c->fs->m, &c->todo, send_later, c);
	tree_unlock(&c->fs->m);
}

static void look(void *arg)
{
	struct commit *c = arg;

	session_get(c->fs->s, c->path, looked, c);
}

/* Somebody else has made the file meanwhile: it is opened, after all. The lock is held. 0 or -errno */
static int open_instead(struct commit *c)
{
	struct handle *h = c->h;
	struct node *fresh = h->n;
	struct dentry *d = dentry_find(fresh->parent, fresh->name);
	struct node *real = d ? d->latest : NULL;

	h->make = MAKE_NOTHING;
	h->version = -1;
	h->truncated = true;
	if (real && real->is_dir && real->determined) {
		h->stale = true;
		return -EISDIR;
	}
	if (real && real != fresh) {
		node_ref(fresh);
		handle_set_node(h, real);
		node_unshow(&c->fs->m, fresh);
		node_unref(&c->fs->m, fresh);
		if (!real->is_shown && !real->gone)
			node_show(&c->fs->m, real);
	} else {
		fresh->fresh = false;
		fresh->told = true;
		if (d)
			dentry_set_latest(&c->fs->m, d, fresh);
	}
	handle_count(h);
	c->version = -1;
	if (h->append) {
		c->chunk = blob_ref(c->content);
		c->version = -2; /* to be read first */
	}
	return 0;
}

/* How long a call may take. */
static unsigned int call_timeout_ms(struct zkfs *fs)
{
	return fs->opts->timeout_ms ? fs->opts->timeout_ms : session_timeout_ms(fs->s);
}

static void answered(void *arg, const struct session_reply *reply)
{
	struct commit *c = arg;
	struct handle *h = c->h;
	int err = reply->err;

	tree_lock(&c->fs->m);
	if (!err) {
		finish_unlock(c, succeed(c, reply->stat, reply->path ? reply->path : c->path));
		return;
	}
	if (err == -EEXIST && h->make == MAKE_FILE) {
		err = open_instead(c);
		if (!err) {
			tree_later(&c->fs->m, &c->todo, c->chunk ? look : send_later, c);
			tree_unlock(&c->fs->m);
			return;
		}
	} else if (err == -ECONNRESET && monotonic_ms() - c->since > call_timeout_ms(c->fs)) {
		err = -ETIMEDOUT;
	} else if ((err == -ESTALE && c->chunk) || (err == -ECONNRESET && !h->sequential)) {
		c->lost = err == -ECONNRESET;
		tree_later(&c->fs->m, &c->todo, look, c);
		tree_unlock(&c->fs->m);
		return;
	} else if (err == -EEXIST && h->make == MAKE_TYPED) {
		h->stale = true;
	} else if (err == -ECONNRESET) {
		err = -EIO;
	} else if (h->make == MAKE_NOTHING && (err == -ESTALE || err == -ENOENT)) {
		h->stale = true;
		err = -ESTALE;
	}
	finish_unlock(c, err);
}

static void start(struct commit *c)
{
	struct handle *h = c->h;
	int err;

	tree_lock(&c->fs->m);
	if (h->committing) {
		list_append(&h->waiting, &c->waiter.link);
		tree_unlock(&c->fs->m);
		return;
	}
	if (!c->has_buf && !handle_is_pending(h)) {
		h->committing = true;
		finish_unlock(c, h->is_broken ? -EIO : 0);
		return;
	}
	h->committing = true;
	err = prepare(c);
	if (!err && !c->content) {
		finish_unlock(c, 0);
		return;
	}
	/* What is written through a placeholder the kernel does not tell of the znode: an injector does. */
	if (!err && !h->placeholder) {
		err = own_begin(&c->fs->w, c->path);
		c->owns = !err;
	}
	if (err) {
		finish_unlock(c, err);
		return;
	}
	tree_unlock(&c->fs->m);
	send(c);
}

void commit(struct handle *h, const char *buf, size_t size, off_t off,
	    void (*done)(void *arg, int err), void *arg)
{
	struct commit *c = calloc(1, sizeof(*c));

	if (c && buf) {
		c->buf = malloc(size + 1);
		if (!c->buf) {
			free(c);
			c = NULL;
		} else {
			memcpy(c->buf, buf, size);
		}
	}
	if (!c) {
		done(arg, -ENOMEM);
		return;
	}
	c->fs = h->fs;
	c->h = h;
	c->since = monotonic_ms();
	c->has_buf = buf != NULL;
	c->size = size;
	c->off = off;
	c->done = done;
	c->arg = arg;
	list_init(&c->waiter.link);
	list_init(&c->todo.link);
	tree_lock(&h->fs->m);
	handle_ref(h);
	tree_unlock(&h->fs->m);
	start(c);
}

/* ---- what others hold ---- */

struct settling {
	struct job *job;
	bool all;
	void (*next)(struct job *job);
};

static void settled(void *arg, int err);

/* One handle after the other; an error is its own owner's, at close. */
static void settle(struct settling *s)
{
	struct job *job = s->job;
	struct zkfs *fs = job->fs;
	struct handle *found = NULL;

	tree_lock(&fs->m);
	for (struct list *l = fs->handles.next; job->node && l != &fs->handles && !found;
	     l = l->next) {
		struct handle *h = container_of(l, struct handle, link);

		if (h->n == job->node && handle_is_pending(h) &&
		    (s->all || (h->truncated && h->make == MAKE_NOTHING)))
			found = h;
	}
	if (found)
		handle_ref(found);
	tree_unlock(&fs->m);
	if (!found) {
		void (*next)(struct job * job) = s->next;

		free(s);
		next(job);
		return;
	}
	commit(found, NULL, 0, 0, settled, s);
	tree_lock(&fs->m);
	handle_unref(found);
	tree_unlock(&fs->m);
}

static void settled(void *arg, int err)
{
	struct settling *s = arg;

	if (err) {
		/* It would fail again and again. */
		void (*next)(struct job * job) = s->next;
		struct job *job = s->job;

		free(s);
		next(job);
		return;
	}
	settle(s);
}

void settle_node(struct job *job, bool all, void (*next)(struct job *job))
{
	struct zkfs *fs = job->fs;
	struct settling *s;
	bool is_clean;

	tree_lock(&fs->m);
	is_clean = !job->node || !job->node->dirty;
	tree_unlock(&fs->m);
	if (is_clean) {
		next(job);
		return;
	}
	s = malloc(sizeof(*s));
	if (!s) {
		job_fail(job, -ENOMEM);
		return;
	}
	s->job = job;
	s->all = all;
	s->next = next;
	settle(s);
}
