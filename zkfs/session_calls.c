/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls: each waits in the line, is handed to the library when the connection is up and the
 * window allows, and ends once: with the library's answer, by its deadline, or by the loss of the
 * connection.
 *
 * A call belongs to zkfs, a ticket to the library. The library may come back late, or only never,
 * when its handle is closed; so a call that ends early, or is to be sent again, just lets go of
 * its ticket.
 *
 * Threads: everybody makes calls; completions come on the library's completion thread, failures
 * on any. session.lock guards the lists and is never held while the library or a done is called.
 */
#include "session_private.h"

bool call_is_write(const struct call *call)
{
	return call->kind >= CALL_CREATE;
}

/*
 * The library's rules (isValidPath), but for the root's own name. It must never find a fault
 * itself: when it refuses an operation of a multi it frees the caller's path.
 */
static bool path_is_valid(const char *path, int flags)
{
	const char *p = path;

	if (*p != '/')
		return false;
	/* Below a chroot the library would put a number to the chroot's own name. */
	if (p[1] == '\0')
		return !(flags & SESSION_SEQUENTIAL);
	while (*p) {
		const char *name = p + 1;
		size_t len = strcspn(name, "/");
		bool numbered = name[len] == '\0' && (flags & SESSION_SEQUENTIAL);

		if (!numbered && (len == 0 || (len == 1 && name[0] == '.') ||
				  (len == 2 && name[0] == '.' && name[1] == '.')))
			return false;
		for (size_t i = 0; i < len; i++) {
			if ((unsigned char)name[i] < 0x20)
				return false;
		}
		p = name + len;
	}
	return true;
}

/* ---- life of a call ---- */

static void call_free(struct call *call)
{
	session_acl_free(&call->acl);
	free(call->ops);
	free(call);
}

void call_unref(struct call *call)
{
	bool last;

	pthread_mutex_lock(&call->s->lock);
	last = --call->refs == 0;
	pthread_mutex_unlock(&call->s->lock);
	if (last)
		call_free(call);
}

void call_finish(struct call *call, const struct session_reply *reply)
{
	call->done(call->arg, reply);
	call_unref(call);
}

void calls_finish(struct list *failed)
{
	while (!list_empty(failed)) {
		struct call *call = container_of(failed->next, struct call, link);
		const struct session_reply reply = { .err = call->err, .len = -1 };

		list_remove(&call->link);
		call_finish(call, &reply);
	}
}

/* Into the line, at its place: calls that were sent before and are to be sent again come first. */
void call_line_up_locked(struct session *s, struct call *call)
{
	struct list *at = &s->line;

	/* A new call is the youngest; one that comes back is older than nearly all. */
	if (!list_empty(&s->line) && container_of(s->line.prev, struct call, link)->seq > call->seq) {
		at = s->line.next;
		while (at != &s->line && container_of(at, struct call, link)->seq < call->seq)
			at = at->next;
	}
	list_append(at, &call->link);
	s->line_len++;
}

void call_unline_locked(struct session *s, struct call *call)
{
	list_remove(&call->link);
	s->line_len--;
}

void call_unsend_locked(struct session *s, struct call *call)
{
	list_remove(&call->link);
	s->sent_len--;
	if (call->ticket)
		call->ticket->call = NULL;
	call->ticket = NULL;
}

void call_fail_locked(struct call *call, int err, struct list *failed)
{
	call->err = err;
	list_append(failed, &call->link);
}

void calls_detach_locked(struct session *s, struct list *failed)
{
	while (!list_empty(&s->sent)) {
		struct call *call = container_of(s->sent.next, struct call, link);

		call_unsend_locked(s, call);
		if (call_is_write(call))
			call_fail_locked(call, -ECONNRESET, failed);
		else
			call_line_up_locked(s, call);
	}
}

void calls_fail_all_locked(struct session *s, int err, struct list *failed)
{
	while (!list_empty(&s->sent)) {
		struct call *call = container_of(s->sent.next, struct call, link);

		call_unsend_locked(s, call);
		call_fail_locked(call, err, failed);
	}
	while (!list_empty(&s->line)) {
		struct call *call = container_of(s->line.next, struct call, link);

		call_unline_locked(s, call);
		call_fail_locked(call, err, failed);
	}
}

void calls_expire_locked(struct session *s, int64_t now, struct list *failed)
{
	for (struct list *l = s->sent.next, *next; l != &s->sent; l = next) {
		struct call *call = container_of(l, struct call, link);

		next = l->next;
		if (call->deadline <= now) {
			call_unsend_locked(s, call);
			call_fail_locked(call, -ETIMEDOUT, failed);
		}
	}
	for (struct list *l = s->line.next, *next; l != &s->line; l = next) {
		struct call *call = container_of(l, struct call, link);

		next = l->next;
		if (call->deadline <= now) {
			call_unline_locked(s, call);
			call_fail_locked(call, -ETIMEDOUT, failed);
		}
	}
}

int64_t calls_oldest_locked(const struct session *s)
{
	int64_t oldest = INT64_MAX;

	if (!list_empty(&s->sent))
		oldest = container_of(s->sent.next, struct call, link)->made;
	if (!list_empty(&s->line) && container_of(s->line.next, struct call, link)->made < oldest)
		oldest = container_of(s->line.next, struct call, link)->made;
	return oldest;
}

/* ---- making calls ---- */

static void refuse(session_done *done, void *arg, int err)
{
	const struct session_reply reply = { .err = err, .len = -1 };

	done(arg, &reply);
}

static struct call *call_alloc(struct session *s, enum call_kind kind, size_t storage,
			       session_done *done, void *arg)
{
	struct call *call = malloc(sizeof(*call) + storage);

	if (!call) {
		refuse(done, arg, -ENOMEM);
		return NULL;
	}
	*call = (struct call){
		.s = s, .kind = kind, .refs = 1, .len = -1, .version = -1, .done = done, .arg = arg
	};
	list_init(&call->link);
	return call;
}

static struct call *call_new(struct session *s, enum call_kind kind, const char *path,
			     const void *data, ssize_t len, session_done *done, void *arg)
{
	size_t path_size = strlen(path) + 1;
	struct call *call = call_alloc(s, kind, path_size + (len > 0 ? (size_t)len : 0), done, arg);

	if (!call)
		return NULL;
	call->path = memcpy(call->storage, path, path_size);
	call->len = len;
	/*
	 * The library stores NULL for a length of -1, whatever the pointer is; for a length of 0
	 * it wants one.
	 */
	if (len >= 0)
		call->data = call->storage + path_size;
	if (len > 0)
		memcpy(call->storage + path_size, data, (size_t)len);
	return call;
}

/* Into the line with it. It may have ended when this returns. */
static void call_start(struct session *s, struct call *call)
{
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (s->closing)
		err = -EIO;
	else if (s->refused)
		err = -EACCES;
	if (!err) {
		call->seq = s->next_seq++;
		call->made = session_now();
		call->deadline = call->made + (s->timeout_ms ? s->timeout_ms : s->negotiated_ms);
		call_line_up_locked(s, call);
	}
	pthread_mutex_unlock(&s->lock);
	if (err) {
		const struct session_reply reply = { .err = err, .len = -1 };

		call_finish(call, &reply);
		return;
	}
	session_pump(s);
}

static void call_simple(struct session *s, enum call_kind kind, const char *path, int version,
			session_done *done, void *arg)
{
	struct call *call;

	if (!path_is_valid(path, 0)) {
		refuse(done, arg, -EINVAL);
		return;
	}
	call = call_new(s, kind, path, NULL, -1, done, arg);
	if (!call)
		return;
	call->version = version;
	call_start(s, call);
}

void session_get(struct session *s, const char *path, session_done *done, void *arg)
{
	call_simple(s, CALL_GET, path, -1, done, arg);
}

void session_exists(struct session *s, const char *path, session_done *done, void *arg)
{
	call_simple(s, CALL_EXISTS, path, -1, done, arg);
}

void session_children(struct session *s, const char *path, session_done *done, void *arg)
{
	call_simple(s, CALL_CHILDREN, path, -1, done, arg);
}

void session_get_acl(struct session *s, const char *path, session_done *done, void *arg)
{
	call_simple(s, CALL_GET_ACL, path, -1, done, arg);
}

void session_sync(struct session *s, const char *path, session_done *done, void *arg)
{
	call_simple(s, CALL_SYNC, path, -1, done, arg);
}

void session_delete(struct session *s, const char *path, int version, session_done *done, void *arg)
{
	call_simple(s, CALL_DELETE, path, version, done, arg);
}

void session_delete_in(struct session *s, int64_t id, const char *path, session_done *done, void *arg)
{
	struct call *call;

	if (!path_is_valid(path, 0)) {
		refuse(done, arg, -EINVAL);
		return;
	}
	call = call_new(s, CALL_DELETE, path, NULL, -1, done, arg);
	if (!call)
		return;
	call->session = id;
	call_start(s, call);
}

void session_create(struct session *s, const char *path, const void *data, ssize_t len, int flags,
		    session_done *done, void *arg)
{
	struct call *call;

	if (!path_is_valid(path, flags)) {
		refuse(done, arg, -EINVAL);
		return;
	}
	call = call_new(s, CALL_CREATE, path, data, len, done, arg);
	if (!call)
		return;
	call->flags = flags;
	call_start(s, call);
}

void session_set(struct session *s, const char *path, const void *data, ssize_t len, int version,
		 session_done *done, void *arg)
{
	struct call *call;

	if (!path_is_valid(path, 0)) {
		refuse(done, arg, -EINVAL);
		return;
	}
	call = call_new(s, CALL_SET, path, data, len, done, arg);
	if (!call)
		return;
	call->version = version;
	call_start(s, call);
}

void session_set_acl(struct session *s, const char *path, const char *acl, session_done *done,
		     void *arg)
{
	struct ACL_vector parsed;
	struct call *call;
	int err = path_is_valid(path, 0) ? session_acl_parse(acl, &parsed) : -EINVAL;

	if (err) {
		refuse(done, arg, err);
		return;
	}
	call = call_new(s, CALL_SET_ACL, path, NULL, -1, done, arg);
	if (!call) {
		session_acl_free(&parsed);
		return;
	}
	call->acl = parsed;
	call_start(s, call);
}

void session_multi(struct session *s, const struct session_op *ops, size_t count,
		   session_done *done, void *arg)
{
	struct call *call;
	size_t size = 0;
	char *p;

	for (size_t i = 0; i < count; i++) {
		if (!path_is_valid(ops[i].path, ops[i].kind == SESSION_OP_CREATE ? ops[i].flags : 0)) {
			const struct session_reply reply = { .err = -EINVAL, .len = -1, .failed = i };

			done(arg, &reply);
			return;
		}
		size += strlen(ops[i].path) + 1 + (ops[i].len > 0 ? (size_t)ops[i].len : 0);
	}
	if (count == 0) {
		refuse(done, arg, -EINVAL);
		return;
	}
	call = call_alloc(s, CALL_MULTI, size, done, arg);
	if (!call)
		return;
	call->ops = calloc(count, sizeof(*call->ops));
	if (!call->ops) {
		call_free(call);
		refuse(done, arg, -ENOMEM);
		return;
	}
	call->count = count;
	p = call->storage;
	for (size_t i = 0; i < count; i++) {
		size_t path_size = strlen(ops[i].path) + 1;

		call->ops[i] = ops[i];
		call->ops[i].path = memcpy(p, ops[i].path, path_size);
		p += path_size;
		call->ops[i].data = ops[i].len >= 0 ? p : NULL;
		if (ops[i].len > 0) {
			memcpy(p, ops[i].data, (size_t)ops[i].len);
			p += ops[i].len;
		}
	}
	call_start(s, call);
}
