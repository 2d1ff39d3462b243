/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One handle of the library and its session, from opening to closing: credentials, chroot, watch;
 * news; the end. The order of things stands in session.c.
 *
 * Threads: all of libzookeeper's callbacks come here on its completion thread; the timer and the
 * keeper call in.
 */
#include "session_private.h"

#include "addwatch.h"
#include "log.h"

#include <inttypes.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>

#define DRAIN_MS 100

void conn_use_locked(struct conn *conn)
{
	conn->users++;
}

void conn_unuse_locked(struct conn *conn)
{
	if (--conn->users == 0)
		pthread_cond_broadcast(&conn->s->unused);
}

/* session_open shall fail. Only the first reason counts, and only before the session was up. */
static void open_fails_locked(struct session *s, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void open_fails_locked(struct session *s, int err, const char *fmt, ...)
{
	va_list ap;

	if (s->opened || s->open_err)
		return;
	va_start(ap, fmt);
	if (vasprintf(&s->open_why, fmt, ap) < 0)
		s->open_why = NULL;
	va_end(ap);
	s->open_err = err;
	pthread_cond_broadcast(&s->changed);
}

/* ---- the end of a session ---- */

/*
 * @conn is over. Returns true when that must be told by ops->expired. Calls to finish with their
 * errors are put into @failed. Both are for the caller to do without the lock.
 */
bool conn_end_locked(struct conn *conn, struct list *failed)
{
	struct session *s = conn->s;

	if (conn->dead)
		return false;
	conn->dead = true;
	conn->settled = !conn->was_up || conn->connected;
	conn->ended = session_now();
	conn->connected = conn->up = false;
	s->server[0] = '\0';
	calls_detach_locked(s, failed);
	if (s->refused)
		calls_fail_all_locked(s, -EACCES, failed);
	else
		s->replace = true;
	pthread_cond_broadcast(&s->changed);
	return conn->was_up && !s->closing;
}

void conn_end_tell(struct session *s, bool tell, struct list *failed)
{
	calls_finish(failed);
	if (tell)
		s->ops.expired(s->arg);
}

/* ---- on the completion thread: the way up ---- */

/* True while news of this handle count. */
static bool conn_is_current_locked(const struct conn *conn)
{
	return conn->s->conn == conn && !conn->dead && !conn->s->closing;
}

static void note_server_locked(struct session *s, zhandle_t *zh)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char host[96], port[16];

	s->server[0] = '\0';
	if (zookeeper_get_connected_host(zh, (struct sockaddr *)&addr, &len) &&
	    getnameinfo((struct sockaddr *)&addr, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(s->server, sizeof(s->server), strchr(host, ':') ? "[%s]:%s" : "%s:%s",
			 host, port);
}

static void conn_go_up(struct conn *conn)
{
	struct session *s = conn->s;
	bool is_new = false, up = false;
	int64_t id = zoo_client_id(conn->zh)->client_id;

	pthread_mutex_lock(&s->lock);
	/*
	 * The watch may have been asked for twice, when the connection broke at the wrong moment.
	 */
	if (conn_is_current_locked(conn) && conn->connected && !conn->up) {
		up = conn->up = conn->was_up = true;
		is_new = id != s->last_up_id;
		s->negotiated_ms = (unsigned int)zoo_recv_timeout(conn->zh);
		s->id = s->last_up_id = id;
		s->watch_refused = false;
		note_server_locked(s, conn->zh);
	}
	pthread_mutex_unlock(&s->lock);
	if (!up)
		return;
	log_info("%s session 0x%" PRIx64, is_new ? "new" : "connected again with", (uint64_t)id);
	s->ops.up(s->arg, is_new);
	pthread_mutex_lock(&s->lock);
	s->opened = true;
	pthread_cond_broadcast(&s->changed);
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
	session_pump(s);
}

static void on_watch(int rc, const void *data)
{
	struct ticket *t = (struct ticket *)data;
	struct conn *conn = t->conn;
	struct session *s = conn->s;

	ticket_return(t, rc);
	if (rc == ZOK) {
		conn_go_up(conn);
		return;
	}
	if (session_is_loss(rc))
		return;
	pthread_mutex_lock(&s->lock);
	conn->want_watch = true;
	if (rc == ZUNIMPLEMENTED)
		open_fails_locked(s, -ENOSYS,
				  "server is older than ZooKeeper 3.6, which has no recursive watches");
	else
		open_fails_locked(s, session_errno(rc), "the server refuses the watch: %s",
				  zerror(rc));
	if (s->opened && !s->watch_refused)
		log_error("the server refuses the watch: %s", zerror(rc));
	s->watch_refused = true;
	pthread_mutex_unlock(&s->lock);
}

/*
 * A ticket for the session's own request, and the right to use the handle; NULL when there is no
 * use in it.
 */
static struct ticket *own_request(struct conn *conn)
{
	struct session *s = conn->s;
	struct ticket *t = ticket_new(conn);
	bool ok;

	if (!t)
		return NULL;
	pthread_mutex_lock(&s->lock);
	ok = conn_is_current_locked(conn) && conn->connected;
	if (ok) {
		ticket_add_locked(t);
		conn_use_locked(conn);
	}
	pthread_mutex_unlock(&s->lock);
	if (!ok) {
		ticket_free(t);
		return NULL;
	}
	return t;
}

static void own_request_sent(struct conn *conn, struct ticket *t, int rc)
{
	/* As for calls: after a marshalling error it may still come back. */
	if (rc != ZOK && rc != ZMARSHALLINGERROR)
		ticket_return(t, ZINVALIDSTATE);
	pthread_mutex_lock(&conn->s->lock);
	conn_unuse_locked(conn);
	pthread_mutex_unlock(&conn->s->lock);
}

void conn_watch(struct conn *conn)
{
	struct ticket *t = own_request(conn);

	if (t)
		own_request_sent(conn, t, addwatch_recursive(conn->zh, "/", on_watch, t));
}

static void on_chroot(int rc, const struct Stat *stat, const void *data)
{
	struct ticket *t = (struct ticket *)data;
	struct conn *conn = t->conn;
	struct session *s = conn->s;

	(void)stat;
	ticket_return(t, rc);
	if (session_is_loss(rc))
		return;
	pthread_mutex_lock(&s->lock);
	if (rc == ZNONODE)
		open_fails_locked(s, -ENOENT,
				  "chroot %s is absent: make it, or mount with -o mkroot", s->chroot);
	else if (rc != ZOK)
		open_fails_locked(s, session_errno(rc), "chroot %s: %s", s->chroot, zerror(rc));
	else
		s->chroot_checked = true;
	pthread_mutex_unlock(&s->lock);
	if (rc == ZOK)
		conn_watch(conn);
}

/*
 * Credentials go first, once per handle: the library repeats them by itself after each reconnect.
 * Given here and not right after init, where a handle that has just failed to connect would
 * refuse them. Nothing has been sent on the handle yet, so they can't get in front of a half-sent
 * request.
 */
static bool give_credentials(struct conn *conn)
{
	const struct session_auths *auths = &conn->s->auths;

	while (conn->auths < auths->count) {
		const struct session_auth *a = &auths->lines[conn->auths];

		if (zoo_add_auth(conn->zh, a->scheme, a->credentials, (int)strlen(a->credentials),
				 NULL, NULL) != ZOK)
			return false;
		conn->auths++;
	}
	return true;
}

static void conn_begin(struct conn *conn)
{
	struct session *s = conn->s;
	struct ticket *t;
	bool checked;

	if (!give_credentials(conn))
		return;
	pthread_mutex_lock(&s->lock);
	checked = s->chroot_checked || !*s->chroot;
	pthread_mutex_unlock(&s->lock);
	if (checked) {
		conn_watch(conn);
		return;
	}
	t = own_request(conn);
	if (t)
		own_request_sent(conn, t, zoo_aexists(conn->zh, "/", 0, on_chroot, t));
}

/* ---- on the completion thread: news ---- */

static void on_state(struct conn *conn, zhandle_t *zh, int state)
{
	struct session *s = conn->s;
	bool begin = false, tell = false, lost = false;
	struct list failed;

	list_init(&failed);
	pthread_mutex_lock(&s->lock);
	if (conn_is_current_locked(conn)) {
		/* The handle may connect before zookeeper_init2 has returned it. */
		conn->zh = zh;
		if (state == ZOO_CONNECTED_STATE) {
			begin = conn->connected = true;
		} else if (state == ZOO_READONLY_STATE) {
			/*
			 * Never asked for, so it is what the library reads from, say, an HTTP
			 * server.
			 */
			open_fails_locked(s, -EPROTO, "what answers at %s is no ZooKeeper server",
					  s->hosts);
		} else if (state == ZOO_EXPIRED_SESSION_STATE) {
			if (conn->was_up)
				log_warn("session 0x%" PRIx64 " has expired", (uint64_t)s->id);
			tell = conn_end_locked(conn, &failed);
			conn->settled = true;
		} else if (state == ZOO_AUTH_FAILED_STATE) {
			log_error("the server does not accept the credentials");
			s->refused = true;
			open_fails_locked(s, -EACCES, "the server does not accept the credentials");
			tell = conn_end_locked(conn, &failed);
		} else {
			lost = conn->up;
			conn->connected = conn->up = false;
			s->server[0] = '\0';
		}
	} else if (conn->dead && (state == ZOO_CONNECTED_STATE || state < 0)) {
		conn->settled = true;
		pthread_cond_broadcast(&s->changed);
	}
	pthread_mutex_unlock(&s->lock);
	if (lost)
		log_warn("connection to the server lost");
	conn_end_tell(s, tell, &failed);
	if (begin)
		conn_begin(conn);
}

static void on_event(struct conn *conn, int type, const char *path)
{
	struct session *s = conn->s;
	bool tell;

	pthread_mutex_lock(&s->lock);
	/*
	 * Before the watch is known to be set, what it tells is part of what must be compared
	 * anyway.
	 */
	tell = conn_is_current_locked(conn) && conn->up;
	pthread_mutex_unlock(&s->lock);
	if (!tell || !path || *path != '/')
		return;
	if (type == ZOO_CREATED_EVENT)
		s->ops.event(s->arg, SESSION_CREATED, path);
	else if (type == ZOO_DELETED_EVENT)
		s->ops.event(s->arg, SESSION_DELETED, path);
	else if (type == ZOO_CHANGED_EVENT)
		s->ops.event(s->arg, SESSION_CHANGED, path);
}

static void watcher(zhandle_t *zh, int type, int state, const char *path, void *context)
{
	struct conn *conn = context;

	if (type == ZOO_SESSION_EVENT)
		on_state(conn, zh, state);
	else
		on_event(conn, type, path);
}

/* ---- for the timer ---- */

int64_t conn_death_locked(const struct conn *conn)
{
	/* No session that anybody knows of: only look for servers once more. */
	if (!conn->was_up)
		return conn->opened + 3 * (int64_t)conn->s->session_ms;
	return conn->alive + conn->s->negotiated_ms;
}

static void on_beat(int rc, const char *path, const void *data)
{
	struct ticket *t = (struct ticket *)data;
	struct conn *conn = t->conn;

	(void)path;
	pthread_mutex_lock(&conn->s->lock);
	conn->beating = false;
	pthread_mutex_unlock(&conn->s->lock);
	ticket_return(t, rc);
}

void conn_beat(struct conn *conn)
{
	struct ticket *t = own_request(conn);
	int rc;

	if (!t)
		return;
	pthread_mutex_lock(&conn->s->lock);
	conn->beating = true;
	pthread_mutex_unlock(&conn->s->lock);
	rc = zoo_async(conn->zh, "/", on_beat, t);
	if (rc != ZOK && rc != ZMARSHALLINGERROR) {
		pthread_mutex_lock(&conn->s->lock);
		conn->beating = false;
		pthread_mutex_unlock(&conn->s->lock);
	}
	own_request_sent(conn, t, rc);
}

/* ---- handles ---- */

static char *connect_string(const char *numeric, const char *chroot)
{
	char *out;

	return asprintf(&out, "%s%s", numeric, chroot) < 0 ? NULL : out;
}

zhandle_t *conn_handle(const char *numeric, const char *chroot, watcher_fn fn, int session_ms,
		       void *context)
{
	autofree char *hosts = connect_string(numeric, chroot);
	zhandle_t *zh;

	if (!hosts)
		return NULL;
	zh = zookeeper_init2(hosts, fn, session_ms, NULL, context, ZOO_NO_LOG_CLIENTENV,
			     session_library_log);
	if (zh)
		zoo_set_servers_resolution_delay(zh, -1);
	return zh;
}

/* Session.conn is a new handle afterwards, or NULL. */
int conn_open(struct session *s, const char *numeric)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	zhandle_t *zh;

	if (!conn)
		return -ENOMEM;
	conn->s = s;
	list_init(&conn->tickets);
	conn->opened = session_now();
	pthread_mutex_lock(&s->lock);
	s->conn = conn;
	pthread_mutex_unlock(&s->lock);
	zh = conn_handle(numeric, s->chroot, watcher, (int)s->session_ms, conn);
	pthread_mutex_lock(&s->lock);
	conn->zh = zh;
	if (!zh)
		s->conn = NULL;
	pthread_mutex_unlock(&s->lock);
	if (!zh)
		free(conn);
	return zh ? 0 : -ENOMEM;
}

/*
 * The handle's callbacks have come, or never will, when this returns. When it is connected the
 * server ends its session at once, which is right for a session that was given up by the own
 * clock, too.
 */
void conn_close(struct conn *conn)
{
	struct session *s = conn->s;
	int64_t end = session_now() + DRAIN_MS;

	pthread_mutex_lock(&s->lock);
	while (conn->users)
		pthread_cond_wait(&s->unused, &s->lock);
	/* The library forgets the memory of what it has not called back for. */
	while (conn->connected && conn->ticket_count && session_now() < end)
		session_wait_until(&s->unused, &s->lock, end);
	pthread_mutex_unlock(&s->lock);
	zookeeper_close(conn->zh);
	while (!list_empty(&conn->tickets)) {
		struct ticket *t = container_of(conn->tickets.next, struct ticket, link);

		list_remove(&t->link);
		ticket_free(t);
	}
	free(conn);
}
