/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the session share: session.c (life cycle), session_conn.c (one handle),
 * session_calls.c (calls), session_chroot.c (mkroot), session_conf.c (hosts, credentials, ACLs).
 */
#ifndef ZKFS_SESSION_PRIVATE_H
#define ZKFS_SESSION_PRIVATE_H

#include "session.h"
#include "util.h"

#include <stdatomic.h>

#include <zookeeper/zookeeper.h>

/* Requests that the library has at once: from 65,536 wakeups on it closes its socket. */
#define SESSION_WINDOW 1000
#define SESSION_TICK_MS 250

/* One line of the authentication file. */
struct session_auth {
	char *scheme;
	char *credentials;
};

struct session_auths {
	struct session_auth *lines;
	size_t count;
};

/*
 * One handle of the library, so one ZooKeeper session. Guarded by session.lock unless it says
 * otherwise.
 */
struct conn {
	struct session *s;
	zhandle_t *zh;
	struct list tickets; /* given to the library, and not come back */
	size_t ticket_count;
	unsigned int users; /* threads inside a library function; closed when there are none */
	size_t auths;	    /* credentials given to the library; completion thread only */
	bool connected;	    /* as the library says */
	bool up;	    /* and the watch is set */
	bool was_up;
	bool dead;	 /* given up: news and replies of it mean nothing any more */
	bool beating;	 /* a heartbeat is on its way */
	bool want_watch; /* the server refused the watch: ask again at the next tick */
	bool settled;	 /* dead, and the server is reached again, or has said that it is over */
	int64_t opened;	 /* ms */
	int64_t ended;	 /* when it became dead */
	/*
	 * When the last request was sent that has been answered. The server cannot have expired
	 * the session before this plus the timeout, whatever happened since.
	 */
	int64_t alive;
};

struct session {
	/* Constant after session_open. */
	struct session_ops ops;
	void *arg;
	char *hosts, *chroot;
	unsigned int session_ms, timeout_ms;
	struct session_auths auths;
	struct ACL_vector *acl; /* of what is created */
	pthread_t timer, keeper;
	/* Keeper only. Addresses of the last successful look-up, as the library wants them. */
	char *numeric;
	bool unresolved; /* said so in the log */

	pthread_mutex_t lock;
	/* The rest is guarded by lock. */
	pthread_cond_t changed; /* of the session's state; for session_open and the keeper */
	pthread_cond_t unused;	/* a conn's users or tickets became 0 */
	pthread_cond_t wake;	/* for the timer */
	struct conn *conn;	/* NULL while the keeper makes a new one */
	struct list line;	/* calls that wait, in the order of seq */
	struct list sent;	/* calls that the library has */
	size_t line_len, sent_len;
	uint64_t next_seq;
	bool pumping; /* a thread is handing calls from the line to the library */
	bool closing;
	bool refused; /* the server does not accept the credentials: for good */
	bool replace; /* conn is dead, the keeper shall make another */
	bool chroot_checked;
	bool watch_refused; /* said so in the log */
	bool opened;	    /* up for the first time */
	int open_err;	    /* why session_open fails, -errno */
	char *open_why;
	unsigned int negotiated_ms;
	int64_t id, last_up_id;
	char server[128];

	_Atomic uint64_t requests;
};

/*
 * One request as the library knows it. It stays until the library has called back or its handle
 * is closed; the call that it was sent for may have ended before.
 */
struct ticket {
	struct list link; /* in conn->tickets */
	struct conn *conn;
	struct call *call; /* NULL: it ended, or there was none. guarded by session.lock */
	int64_t sent;	   /* ms */
	/* Of a multi: where the library writes its results. */
	size_t count;
	zoo_op_result_t *results;
	struct Stat *stats;
	char *created; /* path of the first create */
};

/* ---- session.c ---- */
/* Milliseconds; goes on while the machine sleeps, as the server's clock does. */
int64_t session_now(void);
/* Like pthread_cond_timedwait, until session_now() is @when. */
void session_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t when);

/* ---- session_conf.c ---- */
/*
 * "host:port,..." -> numeric addresses, an odd number of them, in the form that zookeeper_init
 * takes. Waits until session_now() is @end, or @stop says so (may be NULL; asked every 100 ms),
 * whatever the name service does.
 */
int session_resolve(const char *hosts, int64_t end, bool (*stop)(void *arg), void *arg,
		    char **numeric, char *why, size_t why_size);
/* Why do none of these addresses serve? A short reason in @out, after at most @wait_ms. */
void session_probe(const char *numeric, int wait_ms, char *out, size_t size);
int session_read_auth(const char *file, struct session_auths *auths, char *why, size_t why_size);
void session_free_auth(struct session_auths *auths);
/* Routes the library's log lines; for zookeeper_init2. */
void session_library_log(const char *message);
/* "scheme:id:perms,..." <-> ACL. */
int session_acl_parse(const char *text, struct ACL_vector *acl);
char *session_acl_format(const struct ACL_vector *acl);
void session_acl_free(struct ACL_vector *acl);

/* ---- session_calls.c ---- */
enum call_kind {
	CALL_GET,
	CALL_EXISTS,
	CALL_CHILDREN,
	CALL_GET_ACL,
	CALL_SYNC,
	CALL_CREATE,
	CALL_SET,
	CALL_DELETE,
	CALL_SET_ACL,
	CALL_MULTI,
};

struct call {
	struct list link;      /* in session.line, .sent or a list to finish. guarded by lock */
	struct ticket *ticket; /* while it is in .sent. guarded by lock */
	unsigned int refs;     /* guarded by lock */
	struct session *s;
	uint64_t seq;
	int64_t made, deadline; /* ms */
	enum call_kind kind;
	int err; /* what to tell done, once it is in a list of those to finish */
	session_done *done;
	void *arg;

	char *path;
	const void *data;
	ssize_t len;
	int version, flags;
	int64_t session; /* of no use in another one; 0: any */
	struct ACL_vector acl;
	struct session_op *ops;
	size_t count;
	char storage[]; /* of path and data; of a multi of all of them */
};

bool call_is_write(const struct call *call);
/* Into the line, at the place of its seq. */
void call_line_up_locked(struct session *s, struct call *call);
void call_unline_locked(struct session *s, struct call *call);
/* It lets go of its ticket. */
void call_unsend_locked(struct session *s, struct call *call);
/* It is in no list, and goes to those that calls_finish shall end with @err. */
void call_fail_locked(struct call *call, int err, struct list *failed);
/* Ends it. Without lock, as the next two. */
void call_finish(struct call *call, const struct session_reply *reply);
void call_unref(struct call *call);
void calls_finish(struct list *failed);
/*
 * The connection's session is over: reads go back to the line, writes to @failed with
 * -ECONNRESET.
 */
void calls_detach_locked(struct session *s, struct list *failed);
/* Everything, with @err. */
void calls_fail_all_locked(struct session *s, int err, struct list *failed);
/* Those whose deadline has passed, with -ETIMEDOUT. */
void calls_expire_locked(struct session *s, int64_t now, struct list *failed);
/* When the oldest one was made; INT64_MAX when there is none. */
int64_t calls_oldest_locked(const struct session *s);

/* ---- session_wire.c ---- */
/* ZooKeeper's code -> -errno. */
int session_errno(int rc);
/* True when the code says nothing about the request but that its connection or session is gone. */
bool session_is_loss(int rc);
/* A ticket for a request of the session's own. NULL: no memory. */
struct ticket *ticket_new(struct conn *conn);
void ticket_add_locked(struct ticket *t);
/* The library called back, or refused: notes that the server lives, forgets the ticket. */
void ticket_return(struct ticket *t, int rc);
void ticket_free(struct ticket *t);
/* Hands calls from the line to the library as far as the window allows. Without lock. */
void session_pump(struct session *s);

/* ---- session_conn.c ---- */
/* Keep a handle from being closed while this thread is inside a library function. */
void conn_use_locked(struct conn *conn);
void conn_unuse_locked(struct conn *conn);
/*
 * @conn's session is over. Returns true when that must be told by ops->expired. Calls to finish
 * with their errors are put into @failed. Both are for conn_end_tell, without the lock.
 */
bool conn_end_locked(struct conn *conn, struct list *failed);
void conn_end_tell(struct session *s, bool tell, struct list *failed);
/* When the session must be given up, unless the server answers. */
int64_t conn_death_locked(const struct conn *conn);
/* Asks the server for a sign of life; for the watch. The caller has the handle in use. */
void conn_beat(struct conn *conn);
void conn_watch(struct conn *conn);
/*
 * A handle of the library: addresses of session_resolve, and what all handles have in common.
 * NULL: errno.
 */
zhandle_t *conn_handle(const char *numeric, const char *chroot, watcher_fn fn, int session_ms,
		       void *context);
/* session.conn is a new handle afterwards, unless there is an error. */
int conn_open(struct session *s, const char *numeric);
/*
 * The handle's callbacks have come, or never will, when this returns. When it is connected the
 * server ends its session at once, which is right for a session that was given up by the own
 * clock, too. Not from a callback.
 */
void conn_close(struct conn *conn);

/* ---- session_chroot.c ---- */
/* Makes what is absent of the chroot. -ETIMEDOUT without @why: no server answers. */
int session_make_chroot(struct session *s, const char *numeric, int64_t end, char *why,
			size_t why_size);

#endif
