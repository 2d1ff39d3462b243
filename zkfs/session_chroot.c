/* SPDX-License-Identifier: Apache-2.0 */
/*
 * -o mkroot: makes what is absent of the chroot, before the session is opened. With a handle of
 * its own, since the session's can't see what is above its chroot.
 *
 * Threads: the caller's, which waits, and the handle's completion thread. Lock: mkroot.lock.
 */
#include "session_private.h"

#include <stdio.h>

struct mkroot {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int state; /* of the handle. guarded by lock */
	bool answered;
	int rc;
};

static void mkroot_watcher(zhandle_t *zh, int type, int state, const char *path, void *context)
{
	struct mkroot *m = context;

	(void)zh;
	(void)path;
	if (type != ZOO_SESSION_EVENT)
		return;
	pthread_mutex_lock(&m->lock);
	m->state = state;
	pthread_cond_signal(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

static void mkroot_answer(struct mkroot *m, int rc)
{
	pthread_mutex_lock(&m->lock);
	m->answered = true;
	m->rc = rc;
	pthread_cond_signal(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

static void mkroot_exists(int rc, const struct Stat *stat, const void *data)
{
	(void)stat;
	mkroot_answer((struct mkroot *)data, rc);
}

static void mkroot_created(int rc, const char *path, const void *data)
{
	(void)path;
	mkroot_answer((struct mkroot *)data, rc);
}

/* The code of the request that has just been made with @rc. */
static int mkroot_wait(struct mkroot *m, int rc, int64_t end)
{
	pthread_mutex_lock(&m->lock);
	while (rc == ZOK && !m->answered && session_now() < end)
		session_wait_until(&m->changed, &m->lock, end);
	if (rc == ZOK)
		rc = m->answered ? m->rc : ZOPERATIONTIMEOUT;
	m->answered = false;
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static int mkroot_one(struct mkroot *m, zhandle_t *zh, const char *path,
		      const struct ACL_vector *acl, int64_t end)
{
	int rc = mkroot_wait(m, zoo_aexists(zh, path, 0, mkroot_exists, m), end);

	if (rc == ZNONODE)
		rc = mkroot_wait(m, zoo_acreate(zh, path, NULL, -1, acl, 0, mkroot_created, m), end);
	return rc == ZNODEEXISTS ? ZOK : rc;
}

static int mkroot_connect(struct mkroot *m, zhandle_t *zh, const struct session_auths *auths,
			  int64_t end)
{
	int state;

	pthread_mutex_lock(&m->lock);
	while (m->state != ZOO_CONNECTED_STATE && m->state != ZOO_AUTH_FAILED_STATE &&
	       session_now() < end)
		session_wait_until(&m->changed, &m->lock, end);
	state = m->state;
	pthread_mutex_unlock(&m->lock);
	if (state == ZOO_AUTH_FAILED_STATE)
		return ZAUTHFAILED;
	if (state != ZOO_CONNECTED_STATE)
		return ZOPERATIONTIMEOUT;
	for (size_t i = 0; i < auths->count; i++) {
		const struct session_auth *a = &auths->lines[i];
		int rc = zoo_add_auth(zh, a->scheme, a->credentials, (int)strlen(a->credentials),
				      NULL, NULL);

		if (rc != ZOK)
			return rc;
	}
	return ZOK;
}

/* All components of the chroot, as far as they are absent. A ZooKeeper code. */
static int mkroot_try(struct session *s, struct mkroot *m, const char *numeric, int64_t end)
{
	autofree char *path = strdup(s->chroot);
	zhandle_t *zh = path ? conn_handle(numeric, "", mkroot_watcher, (int)s->session_ms, m) : NULL;
	int rc;

	if (!zh)
		return ZSYSTEMERROR;
	rc = mkroot_connect(m, zh, &s->auths, end);
	for (char *p = path; rc == ZOK && p;) {
		p = strchr(p + 1, '/');
		if (p)
			*p = '\0';
		rc = mkroot_one(m, zh, path, s->acl, end);
		if (p)
			*p = '/';
	}
	zookeeper_close(zh);
	return rc;
}

int session_make_chroot(struct session *s, const char *numeric, int64_t end, char *why, size_t why_size)
{
	pthread_condattr_t attr;
	int rc;

	do {
		struct mkroot m = { .lock = PTHREAD_MUTEX_INITIALIZER };

		pthread_condattr_init(&attr);
		pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
		pthread_cond_init(&m.changed, &attr);
		pthread_condattr_destroy(&attr);
		rc = mkroot_try(s, &m, numeric, end);
		pthread_cond_destroy(&m.changed);
	} while (session_is_loss(rc) && session_now() < end);
	if (rc == ZOK)
		return 0;
	if (session_is_loss(rc))
		return -ETIMEDOUT; /* session_open finds out why */
	snprintf(why, why_size, "cannot make chroot %s: %s", s->chroot, zerror(rc));
	return session_errno(rc);
}
