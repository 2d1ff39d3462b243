/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of sessions: connect, authenticate, watch, lose, replace.
 *
 *   opened -> connected -> (credentials) -> (chroot there?) -> watch asked for -> up
 *               ^  connection lost: back to opened, the library goes on trying  |
 *               +---------------------------------------------------------------+
 *   any -> dead: by the server's word (expired) or by the own clock; the keeper then closes
 *               the handle and opens another
 *
 * Own clock: the server counts the timeout from the last request that it got. That request was
 * sent before its answer came, so "last answered request was sent at" + timeout is no later than
 * the server's count. To keep that time fresh a sync is sent whenever it is older than a sixth of
 * the timeout: unlike a ping it is answered through the leader, so a server that is itself cut
 * off from the others does not count as alive.
 *
 * Threads: the library's completion thread (news, answers), the timer (deadlines, clock,
 * heartbeats, ops->tick), and the keeper, which alone opens and closes handles, since both can
 * block. There is one handle at a time: the old one's completion thread has ended before the new
 * one's starts, so callbacks never overlap.
 *
 * Lock: session.lock, innermost; never held while the library or a callback is called.
 * (zoo_add_auth's completions and the library's log lines come while the library holds its own.)
 */
#include "session_private.h"

#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define OPEN_AGAIN_MS 1000

/* Goes on while the machine sleeps, as the server's clock does. */
int64_t session_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void session_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t when)
{
	int64_t left = when - session_now();
	struct timespec ts;

	if (left <= 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += left / 1000;
	ts.tv_nsec += left % 1000 * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(cond, lock, &ts);
}

/* ---- the keeper ---- */

static bool is_closing(void *arg)
{
	struct session *s = arg;
	bool closing;

	pthread_mutex_lock(&s->lock);
	closing = s->closing;
	pthread_mutex_unlock(&s->lock);
	return closing;
}

/* The servers by their present addresses; by the last ones known when there is no name service. */
static void find_servers(struct session *s)
{
	char why[256];
	char *numeric;
	int err = session_resolve(s->hosts, session_now() + s->session_ms, is_closing, s, &numeric,
				  why, sizeof(why));

	if (err && !s->unresolved)
		log_warn("%s", why);
	s->unresolved = err != 0;
	if (!err) {
		free(s->numeric);
		s->numeric = numeric;
	}
}

static void *keeper_main(void *arg)
{
	struct session *s = arg;

	int64_t not_before = 0;

	pthread_mutex_lock(&s->lock);
	while (!s->closing) {
		struct conn *old = s->conn;
		bool was_up = old && old->was_up;
		int err;

		if (!s->replace) {
			pthread_cond_wait(&s->changed, &s->lock);
			continue;
		}
		/*
		 * A session that was of use is replaced at once, one that ends before it is up
		 * not for ever.
		 */
		if (!was_up && session_now() < not_before) {
			session_wait_until(&s->changed, &s->lock, not_before);
			continue;
		}
		/*
		 * Given up by the own clock, it may live on at the server, which may have been
		 * down itself, with the ephemerals that have been told as gone: let the library
		 * find the server again, so that closing ends the session there.
		 */
		if (old && !old->settled && session_now() < old->ended + s->session_ms / 2) {
			session_wait_until(&s->changed, &s->lock, old->ended + s->session_ms / 2);
			continue;
		}
		not_before = session_now() + OPEN_AGAIN_MS;
		s->conn = NULL;
		s->replace = false;
		pthread_mutex_unlock(&s->lock);
		if (old)
			conn_close(old);
		find_servers(s);
		err = conn_open(s, s->numeric);
		pthread_mutex_lock(&s->lock);
		if (err)
			s->replace = true;
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- the timer ---- */

struct timer_work {
	struct list failed;
	struct conn *beat, *watch; /* in use */
	bool expired;
};

static void timer_look_locked(struct session *s, int64_t now, struct timer_work *w)
{
	struct conn *conn = s->conn;

	calls_expire_locked(s, now, &w->failed);
	if (!conn || conn->dead)
		return;
	if (now >= conn_death_locked(conn)) {
		if (conn->was_up)
			log_warn("session 0x%" PRIx64 ": no answer for %u ms, given up",
				 (uint64_t)s->id, s->negotiated_ms);
		w->expired = conn_end_locked(conn, &w->failed);
		return;
	}
	if (conn->up && !conn->beating && now - conn->alive >= s->negotiated_ms / 6) {
		w->beat = conn;
		conn_use_locked(conn);
	}
	if (conn->want_watch) {
		conn->want_watch = false;
		w->watch = conn;
		conn_use_locked(conn);
	}
}

static void timer_do(struct session *s, struct timer_work *w)
{
	if (w->beat)
		conn_beat(w->beat);
	if (w->watch)
		conn_watch(w->watch);
	if (w->beat || w->watch) {
		pthread_mutex_lock(&s->lock);
		if (w->beat)
			conn_unuse_locked(w->beat);
		if (w->watch)
			conn_unuse_locked(w->watch);
		pthread_mutex_unlock(&s->lock);
	}
	conn_end_tell(s, w->expired, &w->failed);
}

static void *timer_main(void *arg)
{
	struct session *s = arg;
	int64_t next = session_now() + SESSION_TICK_MS;

	pthread_mutex_lock(&s->lock);
	while (!s->closing) {
		struct timer_work w = { .beat = NULL };
		int64_t now = session_now();
		int64_t when;
		bool tick = now >= next && s->opened;

		list_init(&w.failed);
		timer_look_locked(s, now, &w);
		pthread_mutex_unlock(&s->lock);
		timer_do(s, &w);
		if (tick && s->ops.tick)
			s->ops.tick(s->arg);
		if (now >= next)
			next = now + SESSION_TICK_MS;
		pthread_mutex_lock(&s->lock);
		if (s->closing)
			break;
		/*
		 * A tick is early enough for calls. The death of a session is told at the moment.
		 */
		when = next;
		if (s->conn && !s->conn->dead && conn_death_locked(s->conn) < when)
			when = conn_death_locked(s->conn);
		session_wait_until(&s->wake, &s->lock, when);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- open and close ---- */

static void session_free(struct session *s)
{
	pthread_cond_destroy(&s->changed);
	pthread_cond_destroy(&s->unused);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	session_free_auth(&s->auths);
	free(s->open_why);
	free(s->numeric);
	free(s->hosts);
	free(s->chroot);
	free(s);
}

static struct session *session_new(const struct session_conf *conf, const struct session_ops *ops,
				   void *arg)
{
	struct session *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	size_t len;

	if (!s)
		return NULL;
	s->ops = *ops;
	s->arg = arg;
	s->session_ms = conf->session_ms;
	s->timeout_ms = conf->timeout_ms;
	s->negotiated_ms = conf->session_ms;
	list_init(&s->line);
	list_init(&s->sent);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &attr);
	pthread_cond_init(&s->unused, &attr);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	s->hosts = strdup(conf->hosts);
	s->chroot = strdup(conf->chroot ? conf->chroot : "");
	if (!s->hosts || !s->chroot) {
		session_free(s);
		return NULL;
	}
	len = strlen(s->chroot);
	while (len && s->chroot[len - 1] == '/')
		s->chroot[--len] = '\0';
	return s;
}

/* Stops everything; no callback comes afterwards. */
static void session_stop(struct session *s)
{
	struct list failed;
	struct conn *conn;

	list_init(&failed);
	pthread_mutex_lock(&s->lock);
	s->closing = true;
	calls_fail_all_locked(s, -EIO, &failed);
	pthread_cond_broadcast(&s->changed);
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
	calls_finish(&failed);
	if (s->timer)
		pthread_join(s->timer, NULL);
	if (s->keeper)
		pthread_join(s->keeper, NULL);
	pthread_mutex_lock(&s->lock);
	conn = s->conn;
	s->conn = NULL;
	pthread_mutex_unlock(&s->lock);
	if (conn)
		conn_close(conn);
}

/* Waits until the session is up, or has a reason why not. */
static int wait_for_up(struct session *s, int64_t end, char *why, size_t why_size)
{
	int err;

	pthread_mutex_lock(&s->lock);
	while (!s->opened && !s->open_err && session_now() < end)
		session_wait_until(&s->changed, &s->lock, end);
	err = s->opened ? 0 : s->open_err ? s->open_err : -ETIMEDOUT;
	if (s->open_why)
		snprintf(why, why_size, "%s", s->open_why);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static int start_threads(struct session *s)
{
	if (pthread_create(&s->timer, NULL, timer_main, s) != 0) {
		s->timer = 0;
		return -EAGAIN;
	}
	if (pthread_create(&s->keeper, NULL, keeper_main, s) != 0) {
		s->keeper = 0;
		return -EAGAIN;
	}
	return 0;
}

static int open_at(struct session *s, bool mkroot, int64_t end, char *why, size_t why_size)
{
	int err;

	if (mkroot && *s->chroot) {
		err = session_make_chroot(s, s->numeric, end, why, why_size);
		if (err)
			return err;
	}
	err = conn_open(s, s->numeric);
	if (!err)
		err = start_threads(s);
	return err ? err : wait_for_up(s, end, why, why_size);
}

int session_open(const struct session_conf *conf, const struct session_ops *ops, void *arg,
		 struct session **out, char *why, size_t why_size)
{
	int timeout = (int)(conf->timeout_ms ? conf->timeout_ms : conf->session_ms);
	/* A part of the time is for finding out why nobody answers. */
	int probe = timeout / 5 < 500 ? timeout / 5 : 500;
	int64_t end = session_now() + timeout - probe;
	struct session *s = session_new(conf, ops, arg);
	char reason[128];
	int err;

	if (!s) {
		snprintf(why, why_size, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	zoo_set_debug_level(ZOO_LOG_LEVEL_INFO);
	snprintf(why, why_size, "%s", strerror(ENOMEM));
	err = conf->auth_file ? session_read_auth(conf->auth_file, &s->auths, why, why_size) : 0;
	if (err)
		goto fail;
	s->acl = s->auths.count ? &ZOO_CREATOR_ALL_ACL : &ZOO_OPEN_ACL_UNSAFE;
	err = session_resolve(conf->hosts, end + probe, NULL, NULL, &s->numeric, why, why_size);
	if (err)
		goto fail;
	/* Up comes before this function returns, and may want to make calls. */
	*out = s;
	err = open_at(s, conf->mkroot, end, why, why_size);
	if (!err)
		return 0;
	*out = NULL;
	if (err == -ETIMEDOUT) {
		session_probe(s->numeric, probe, reason, sizeof(reason));
		snprintf(why, why_size, "no server answers at %s (%s)", conf->hosts, reason);
	}
	session_stop(s);
fail:
	session_free(s);
	return err;
}

void session_close(struct session *s)
{
	session_stop(s);
	session_free(s);
}

/* ---- state ---- */

int64_t session_id(const struct session *cs)
{
	struct session *s = (struct session *)cs;
	int64_t id;

	pthread_mutex_lock(&s->lock);
	id = s->id;
	pthread_mutex_unlock(&s->lock);
	return id;
}

/* By the own clock too: this may be asked in the moment before the timer looks. */
static bool is_connected_locked(const struct session *s)
{
	return s->conn && s->conn->up && session_now() < conn_death_locked(s->conn);
}

bool session_is_connected(const struct session *cs)
{
	struct session *s = (struct session *)cs;
	bool connected;

	pthread_mutex_lock(&s->lock);
	connected = is_connected_locked(s);
	pthread_mutex_unlock(&s->lock);
	return connected;
}

bool session_is_stalled(const struct session *cs)
{
	struct session *s = (struct session *)cs;
	bool stalled;

	pthread_mutex_lock(&s->lock);
	stalled = !is_connected_locked(s) || calls_oldest_locked(s) < session_now() - 1000;
	pthread_mutex_unlock(&s->lock);
	return stalled;
}

unsigned int session_timeout_ms(const struct session *cs)
{
	struct session *s = (struct session *)cs;
	unsigned int ms;

	pthread_mutex_lock(&s->lock);
	ms = s->negotiated_ms;
	pthread_mutex_unlock(&s->lock);
	return ms;
}

void session_server(const struct session *cs, char *out, size_t size)
{
	struct session *s = (struct session *)cs;

	pthread_mutex_lock(&s->lock);
	snprintf(out, size, "%s", s->server);
	pthread_mutex_unlock(&s->lock);
}

size_t session_outstanding(const struct session *cs)
{
	struct session *s = (struct session *)cs;
	size_t count;

	pthread_mutex_lock(&s->lock);
	count = s->sent_len + s->line_len;
	pthread_mutex_unlock(&s->lock);
	return count;
}

uint64_t session_requests(const struct session *s)
{
	return atomic_load_explicit(&s->requests, memory_order_relaxed);
}
