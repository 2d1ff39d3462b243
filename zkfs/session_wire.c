/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on their way to the library and back: codes, tickets, answers, sending. The rest of their
 * life is in session_calls.c.
 *
 * Threads: answers come on the library's completion thread; everybody pumps. The order on the
 * wire is the order of the line, because only one thread at a time does.
 */
#include "session_private.h"

#include <stdio.h>

/* ---- codes ---- */

int session_errno(int rc)
{
	switch (rc) {
	case ZOK:
		return 0;
	case ZNONODE:
		return -ENOENT;
	case ZNODEEXISTS:
		return -EEXIST;
	case ZNOTEMPTY:
		return -ENOTEMPTY;
	case ZBADVERSION:
		return -ESTALE;
	case ZNOAUTH:
	case ZAUTHFAILED:
	case ZSESSIONCLOSEDREQUIRESASLAUTH:
		return -EACCES;
	case ZNOCHILDRENFOREPHEMERALS:
		return -EPERM;
	case -125: /* QUOTAEXCEEDED in KeeperException.java, unknown to the C header */
		return -EDQUOT;
	case ZBADARGUMENTS:
	case ZINVALIDACL:
		return -EINVAL;
	default:
		return session_is_loss(rc) ? -ECONNRESET : -EIO;
	}
}

bool session_is_loss(int rc)
{
	switch (rc) {
	case ZCONNECTIONLOSS:
	case ZOPERATIONTIMEOUT:
	case ZRUNTIMEINCONSISTENCY: /* the library has lost step with the server */
	case ZINVALIDSTATE:
	case -12: /* UNKNOWNSESSION in KeeperException.java, unknown to the C header */
	case ZSESSIONEXPIRED:
	case ZSESSIONMOVED:
	case ZCLOSING:
	case ZNOTREADONLY:
		return true;
	default:
		return false;
	}
}

/* ---- tickets ---- */

struct ticket *ticket_new(struct conn *conn)
{
	struct ticket *t = calloc(1, sizeof(*t));

	if (t)
		t->conn = conn;
	return t;
}

void ticket_add_locked(struct ticket *t)
{
	t->sent = session_now();
	list_append(&t->conn->tickets, &t->link);
	t->conn->ticket_count++;
	atomic_fetch_add_explicit(&t->conn->s->requests, 1, memory_order_relaxed);
}

static void ticket_remove_locked(struct ticket *t)
{
	list_remove(&t->link);
	if (--t->conn->ticket_count == 0)
		pthread_cond_broadcast(&t->conn->s->unused);
}

void ticket_free(struct ticket *t)
{
	free(t->results);
	free(t->stats);
	free(t->created);
	free(t);
}

/* What a ticket came back with tells about the server. */
static void ticket_note_locked(struct ticket *t, int rc)
{
	if (!session_is_loss(rc) && t->sent > t->conn->alive)
		t->conn->alive = t->sent;
}

void ticket_return(struct ticket *t, int rc)
{
	struct session *s = t->conn->s;

	pthread_mutex_lock(&s->lock);
	ticket_note_locked(t, rc);
	ticket_remove_locked(t);
	pthread_mutex_unlock(&s->lock);
	ticket_free(t);
}

static int ticket_prepare_multi(struct ticket *t, const struct call *call)
{
	size_t size = 0;

	t->count = call->count;
	t->results = calloc(call->count, sizeof(*t->results));
	t->stats = calloc(call->count, sizeof(*t->stats));
	for (size_t i = 0; i < call->count && !size; i++) {
		if (call->ops[i].kind == SESSION_OP_CREATE)
			size = strlen(call->ops[i].path) + sizeof("-2147483648");
	}
	if (size)
		t->created = calloc(1, size);
	return t->results && t->stats && (t->created || !size) ? 0 : -ENOMEM;
}

/* ---- answers ---- */

/*
 * The library brings an answer: the call that it is for, for call_finish; NULL when that has
 * ended already or is to be sent again. The caller frees the ticket afterwards.
 */
static struct call *ticket_take(const void *data, int rc)
{
	struct ticket *t = (struct ticket *)data;
	struct conn *conn = t->conn;
	struct session *s = conn->s;
	struct call *call;

	pthread_mutex_lock(&s->lock);
	ticket_note_locked(t, rc);
	ticket_remove_locked(t);
	call = t->call;
	if (call) {
		call_unsend_locked(s, call);
		/*
		 * A read that was handed over while the connection broke can be answered on the
		 * next one before the watch is set: what it read may change untold.
		 */
		if (!call_is_write(call) && (session_is_loss(rc) || !conn->up)) {
			call_line_up_locked(s, call);
			call = NULL;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return call;
}

static void answer(const void *data, struct call *call, const struct session_reply *reply)
{
	struct ticket *t = (struct ticket *)data;
	struct session *s = t->conn->s;

	if (call)
		call_finish(call, reply);
	ticket_free(t);
	session_pump(s);
}

static void stat_copy(struct zstat *out, const struct Stat *in)
{
	*out = (struct zstat){
		.czxid = in->czxid,
		.mzxid = in->mzxid,
		.pzxid = in->pzxid,
		.ctime = in->ctime,
		.mtime = in->mtime,
		.ephemeral_owner = in->ephemeralOwner,
		.version = in->version,
		.cversion = in->cversion,
		.aversion = in->aversion,
		.data_length = in->dataLength,
		.num_children = in->numChildren,
	};
}

static void reply_stat(struct session_reply *reply, struct zstat *buf, const struct Stat *stat)
{
	if (reply->err || !stat)
		return;
	stat_copy(buf, stat);
	reply->stat = buf;
}

static void on_stat(int rc, const struct Stat *stat, const void *data)
{
	struct call *call = ticket_take(data, rc);
	struct session_reply reply = { .err = session_errno(rc), .len = -1 };
	struct zstat buf;

	reply_stat(&reply, &buf, stat);
	answer(data, call, &reply);
}

static void on_data(int rc, const char *value, int len, const struct Stat *stat, const void *data)
{
	struct call *call = ticket_take(data, rc);
	struct session_reply reply = { .err = session_errno(rc), .len = -1 };
	struct zstat buf;

	reply_stat(&reply, &buf, stat);
	if (!reply.err && len >= 0) {
		reply.data = value ? value : "";
		reply.len = len;
	}
	answer(data, call, &reply);
}

static void on_strings(int rc, const struct String_vector *strings, const struct Stat *stat,
		       const void *data)
{
	struct call *call = ticket_take(data, rc);
	struct session_reply reply = { .err = session_errno(rc), .len = -1 };
	struct zstat buf;

	reply_stat(&reply, &buf, stat);
	if (!reply.err && strings) {
		reply.names = (const char *const *)strings->data;
		reply.count = (size_t)strings->count;
	}
	answer(data, call, &reply);
}

static void on_created(int rc, const char *path, const struct Stat *stat, const void *data)
{
	struct call *call = ticket_take(data, rc);
	struct session_reply reply = { .err = session_errno(rc), .len = -1 };
	struct zstat buf;

	reply_stat(&reply, &buf, stat);
	if (!reply.err)
		reply.path = path;
	answer(data, call, &reply);
}

static void on_synced(int rc, const char *path, const void *data)
{
	struct call *call = ticket_take(data, rc);
	const struct session_reply reply = { .err = session_errno(rc), .len = -1 };

	(void)path;
	answer(data, call, &reply);
}

static void on_void(int rc, const void *data)
{
	struct call *call = ticket_take(data, rc);
	const struct session_reply reply = { .err = session_errno(rc), .len = -1 };

	answer(data, call, &reply);
}

static void on_acl(int rc, struct ACL_vector *acl, struct Stat *stat, const void *data)
{
	struct call *call = ticket_take(data, rc);
	struct session_reply reply = { .err = session_errno(rc), .len = -1 };
	autofree char *text = !reply.err && acl ? session_acl_format(acl) : NULL;
	struct zstat buf;

	if (!reply.err && !text)
		reply.err = -ENOMEM;
	reply_stat(&reply, &buf, stat);
	reply.acl = text;
	answer(data, call, &reply);
}

/* The operations that fail only because another one did say ZRUNTIMEINCONSISTENCY, or nothing. */
static size_t multi_failed(const struct ticket *t)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->results[i].err != ZOK && t->results[i].err != ZRUNTIMEINCONSISTENCY)
			return i;
	}
	return 0;
}

static void on_multi(int rc, const void *data)
{
	const struct ticket *t = data;
	struct call *call = ticket_take(data, rc);
	struct session_reply reply = { .err = session_errno(rc), .len = -1 };
	autofree struct zstat *stats = NULL;

	if (reply.err) {
		reply.failed = multi_failed(t);
	} else {
		stats = calloc(t->count, sizeof(*stats));
		for (size_t i = 0; stats && i < t->count; i++)
			stat_copy(&stats[i], &t->stats[i]);
		/* Without memory for them the outcome is still known: tell that. */
		reply.stat = stats;
		reply.path = t->created;
	}
	answer(data, call, &reply);
}

/* ---- sending ---- */

static int submit_multi(zhandle_t *zh, const struct call *call, struct ticket *t)
{
	const struct ACL_vector *acl = call->s->acl;
	autofree zoo_op_t *ops = calloc(call->count, sizeof(*ops));
	bool created = false;

	if (!ops)
		return ZSYSTEMERROR;
	for (size_t i = 0; i < call->count; i++) {
		const struct session_op *op = &call->ops[i];
		bool first = op->kind == SESSION_OP_CREATE && !created;

		switch (op->kind) {
		case SESSION_OP_CREATE:
			zoo_create_op_init(&ops[i], op->path, op->data, (int)op->len, acl,
					   op->flags, first ? t->created : NULL,
					   first ? (int)(strlen(op->path) + sizeof("-2147483648"))
						 : 0);
			created = true;
			break;
		case SESSION_OP_SET:
			zoo_set_op_init(&ops[i], op->path, op->data, (int)op->len, op->version,
					&t->stats[i]);
			break;
		case SESSION_OP_DELETE:
			zoo_delete_op_init(&ops[i], op->path, op->version);
			break;
		case SESSION_OP_CHECK:
			zoo_check_op_init(&ops[i], op->path, op->version);
			break;
		}
	}
	/*
	 * On an expired handle zoo_amulti frees the first path, which is ours. A handle can get
	 * there only by connecting again, so one that is connected now does not.
	 */
	if (zoo_state(zh) != ZOO_CONNECTED_STATE)
		return ZINVALIDSTATE;
	return zoo_amulti(zh, (int)call->count, ops, t->results, on_multi, t);
}

static int submit(zhandle_t *zh, struct call *call, struct ticket *t)
{
	switch (call->kind) {
	case CALL_GET:
		return zoo_aget(zh, call->path, 0, on_data, t);
	case CALL_EXISTS:
		return zoo_aexists(zh, call->path, 0, on_stat, t);
	case CALL_CHILDREN:
		return zoo_aget_children2(zh, call->path, 0, on_strings, t);
	case CALL_GET_ACL:
		return zoo_aget_acl(zh, call->path, on_acl, t);
	case CALL_SYNC:
		return zoo_async(zh, call->path, on_synced, t);
	case CALL_CREATE:
		return zoo_acreate2(zh, call->path, call->data, (int)call->len, call->s->acl,
				    call->flags, on_created, t);
	case CALL_SET:
		return zoo_aset(zh, call->path, call->data, (int)call->len, call->version, on_stat, t);
	case CALL_DELETE:
		return zoo_adelete(zh, call->path, call->version, on_void, t);
	case CALL_SET_ACL:
		return zoo_aset_acl(zh, call->path, -1, &call->acl, on_void, t);
	case CALL_MULTI:
		return submit_multi(zh, call, t);
	}
	return ZBADARGUMENTS;
}

/* The library did not take it: the ticket is still ours. */
static void not_submitted_locked(struct conn *conn, struct ticket *t, int rc, struct list *failed)
{
	struct session *s = conn->s;
	struct call *call = t->call;

	ticket_remove_locked(t);
	if (call) {
		call_unsend_locked(s, call);
		if (session_is_loss(rc))
			call_line_up_locked(s, call);
		else
			call_fail_locked(call, rc == ZSYSTEMERROR ? -ENOMEM : session_errno(rc),
					 failed);
	}
	/* The watcher will tell more; until then there is no use in trying. */
	if (session_is_loss(rc))
		conn->up = false;
	ticket_free(t);
}

static struct ticket *call_ticket(struct conn *conn, struct call *call)
{
	struct ticket *t = ticket_new(conn);

	if (t && call->kind == CALL_MULTI && ticket_prepare_multi(t, call)) {
		ticket_free(t);
		return NULL;
	}
	return t;
}

/* Hands over the first of the line. Takes and gives back lock. */
static void pump_one_locked(struct session *s, struct conn *conn, struct list *failed)
{
	struct call *call = container_of(s->line.next, struct call, link);
	struct ticket *t;
	int rc;

	call_unline_locked(s, call);
	if (call->session && call->session != s->id) {
		call_fail_locked(call, -ECONNRESET, failed);
		return;
	}
	t = call_ticket(conn, call);
	if (!t) {
		call_fail_locked(call, -ENOMEM, failed);
		return;
	}
	t->call = call;
	call->ticket = t;
	list_append(&s->sent, &call->link);
	s->sent_len++;
	ticket_add_locked(t);
	/* Without the lock the call may end, and the ticket come back, at any time. */
	call->refs++;
	conn_use_locked(conn);
	pthread_mutex_unlock(&s->lock);
	rc = submit(conn->zh, call, t);
	call_unref(call);
	pthread_mutex_lock(&s->lock);
	/*
	 * After a marshalling error the library may or may not know of the request: the deadline
	 * will tell.
	 */
	if (rc != ZOK && rc != ZMARSHALLINGERROR)
		not_submitted_locked(conn, t, rc, failed);
	conn_unuse_locked(conn);
}

void session_pump(struct session *s)
{
	struct list failed;

	list_init(&failed);
	pthread_mutex_lock(&s->lock);
	if (!s->pumping) {
		s->pumping = true;
		while (s->conn && s->conn->up && s->conn->ticket_count < SESSION_WINDOW &&
		       !list_empty(&s->line))
			pump_one_locked(s, s->conn, &failed);
		s->pumping = false;
	}
	pthread_mutex_unlock(&s->lock);
	calls_finish(&failed);
}
