/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One ZooKeeper session after the other: connect, reconnect, expiry, authentication, the
 * recursive watch, and asynchronous calls with a deadline. The only user of zookeeper.h beside
 * addwatch.c.
 */
#ifndef ZKFS_SESSION_H
#define ZKFS_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct session;

/* ZooKeeper's Stat: zxids, milliseconds since 1970, bytes. */
struct zstat {
	int64_t czxid, mzxid, pzxid;
	int64_t ctime, mtime;
	int64_t ephemeral_owner; /* session id, 0 for a persistent znode */
	int32_t version, cversion, aversion;
	int32_t data_length, num_children;
};

enum session_event { SESSION_CREATED, SESSION_DELETED, SESSION_CHANGED };

/*
 * What the session tells. All on libzookeeper's completion thread, but for tick; so they, and the
 * callbacks of the calls that succeed, come in the order in which the server sent them.
 */
struct session_ops {
	/* A znode was created, deleted, or its data changed. @path is absolute within the chroot. */
	void (*event)(void *arg, enum session_event type, const char *path);
	/*
	 * The recursive watch is set on a new connection: from now on every change is told;
	 * whatever changed before must be compared. @is_new: it is another session than before
	 * (also the very first time).
	 */
	void (*up)(void *arg, bool is_new);
	/*
	 * The session is over, and its ephemeral znodes with it; a new one is being made, and
	 * told by up(true). May come on the timer thread, while a callback that has begun before
	 * still runs on the completion thread.
	 */
	void (*expired)(void *arg);
	/* Every 250 ms, on the session's timer thread. */
	void (*tick)(void *arg);
};

struct session_conf {
	const char *hosts;  /* "host:port,host:port" as the user wrote it */
	const char *chroot; /* "/a/b" or "" */
	bool mkroot;	    /* make the chroot if it is absent */
	unsigned int session_ms;
	unsigned int timeout_ms; /* a call's deadline; 0: the negotiated session timeout */
	const char *auth_file; /* lines "SCHEME CREDENTIALS" (e.g. "digest user:password"); NULL: none */
};

/*
 * Connects, authenticates, checks or makes the chroot, sets the watch; waits until all that is
 * done, at most timeout_ms (or session_ms), calls ops->up(arg, true) before it returns 0. *out is
 * set before that, and NULL again after a failure. -errno with a one-line reason in @why
 * otherwise (no server, authentication file not readable or not mode 0600, chroot absent, server
 * older than 3.6). Call after daemonizing, with all signals blocked (the library's threads
 * inherit the mask).
 */
int session_open(const struct session_conf *conf, const struct session_ops *ops, void *arg,
		 struct session **out, char *why, size_t why_size);

/*
 * Fails what is outstanding with -EIO, closes the session at the server (its ephemerals go at
 * once), frees.
 */
void session_close(struct session *s);

/*
 * ---- calls ----
 * Each returns at once and calls @done exactly once: with success on the completion thread; with
 * failure on any thread, possibly before the call returns. So no lock may be held that @done
 * takes.
 *
 * Paths are within the chroot, "/" its root. At most 1,000 requests are on the wire; the others
 * wait in line, in order. Without a connection a call waits for one, up to its deadline
 * (-ETIMEDOUT).
 *
 * When the connection breaks under a call, or the session expires, a call that only reads is sent
 * again; one that writes fails with -ECONNRESET: whether it happened is not known. (One that was
 * not sent yet waits on.) Nor is it known when a write ends with -ETIMEDOUT.
 *
 * Errors: -ENOENT (no such znode), -EEXIST, -ENOTEMPTY, -ESTALE (bad version), -EACCES (no
 * permission, or the server does not accept the credentials), -EPERM (a child of an ephemeral),
 * -EDQUOT, -EINVAL, -ETIMEDOUT, -ECONNRESET, -ENOMEM, -EIO for the rest.
 */
struct session_reply {
	int err;
	/*
	 * get, exists, children, get_acl, create, set. Of a multi: an array, one each, all 0 for
	 * what is no set, since the server's answer has no more (NULL when there was no memory
	 * for it).
	 */
	const struct zstat *stat;
	/*
	 * create: what was made, with its number; within the chroot. Of a multi: of its first
	 * create.
	 */
	const char *path;
	const char *data;	  /* get: NULL when len is -1 */
	ssize_t len;		  /* get: -1: the data is NULL */
	const char *const *names; /* children */
	size_t count;		  /* children: names; */
	const char *acl;	  /* get_acl: "scheme:id:perms,..." with perms of "cdrwa" */
	size_t failed;		  /* multi: index of the operation that failed */
};
typedef void session_done(void *arg, const struct session_reply *reply);

void session_get(struct session *s, const char *path, session_done *done, void *arg);
void session_exists(struct session *s, const char *path, session_done *done, void *arg);
void session_children(struct session *s, const char *path, session_done *done, void *arg);
void session_get_acl(struct session *s, const char *path, session_done *done, void *arg);
/* ZooKeeper's sync: later reads see everything committed before. */
void session_sync(struct session *s, const char *path, session_done *done, void *arg);

#define SESSION_EPHEMERAL 1
#define SESSION_SEQUENTIAL 2

/* @data is copied; @len -1: NULL. The ACL is open without authentication, and creator-all with. */
void session_create(struct session *s, const char *path, const void *data, ssize_t len, int flags,
		    session_done *done, void *arg);
/* @version -1: any. */
void session_set(struct session *s, const char *path, const void *data, ssize_t len, int version,
		 session_done *done, void *arg);
/* Only in the session @id; -ECONNRESET when that is over. */
void session_delete_in(struct session *s, int64_t id, const char *path, session_done *done, void *arg);
void session_delete(struct session *s, const char *path, int version, session_done *done, void *arg);
/* @acl as session_get_acl gives it; -EINVAL when it is malformed. */
void session_set_acl(struct session *s, const char *path, const char *acl, session_done *done,
		     void *arg);

/* Several operations, all or none. */
struct session_op {
	enum { SESSION_OP_CREATE, SESSION_OP_SET, SESSION_OP_DELETE, SESSION_OP_CHECK } kind;
	const char *path;
	const void *data;
	ssize_t len;
	int version;
	int flags;
};
void session_multi(struct session *s, const struct session_op *ops, size_t count,
		   session_done *done, void *arg);

/* ---- state ---- Any thread. */
int64_t session_id(const struct session *s);
bool session_is_connected(const struct session *s);
/* Not connected, or the oldest outstanding call waits for longer than 1 s. */
bool session_is_stalled(const struct session *s);
/* Negotiated session timeout. */
unsigned int session_timeout_ms(const struct session *s);
/* "host:port" of the server, "" while not connected. */
void session_server(const struct session *s, char *out, size_t size);
/* Requests sent and not answered; waiting in line. */
size_t session_outstanding(const struct session *s);
/* Requests sent since start. */
uint64_t session_requests(const struct session *s);

#endif
