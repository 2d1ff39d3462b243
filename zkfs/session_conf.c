/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the session takes from outside: names of servers, credentials, ACLs as text, and the
 * library's log lines. No state, any thread.
 */
#include "session_private.h"

#include "log.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_PORT "2181"
#define MAX_ADDRESSES 255

/* ---- servers ---- */

/*
 * Splits "host", "host:port" or "[v6]:port" in place; the port after the last colon, as the
 * library has it.
 */
static void split_port(char *entry, char **host, char **port)
{
	char *colon;

	*host = entry;
	*port = NULL;
	if (*entry == '[') {
		char *end = strchr(entry, ']');

		if (end) {
			*host = entry + 1;
			*end = '\0';
			if (end[1] == ':')
				*port = end + 2;
			else if (end[1] == '\0')
				*port = (char *)DEFAULT_PORT;
			return;
		}
	}
	colon = strrchr(entry, ':');
	if (colon) {
		*colon = '\0';
		*port = colon + 1;
	} else {
		*port = (char *)DEFAULT_PORT;
	}
}

struct addresses {
	char *text[MAX_ADDRESSES + 1];
	size_t count;
};

static void addresses_free(struct addresses *a)
{
	while (a->count)
		free(a->text[--a->count]);
}

static int addresses_add(struct addresses *a, const struct addrinfo *ai)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];
	char *text;

	if (a->count == MAX_ADDRESSES ||
	    getnameinfo(ai->ai_addr, ai->ai_addrlen, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return 0;
	/*
	 * The library takes the last colon for the port's, and passes the rest to getaddrinfo: no
	 * brackets.
	 */
	if (asprintf(&text, "%s:%s", host, port) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->text[i], text) == 0) {
			free(text);
			return 0;
		}
	}
	a->text[a->count++] = text;
	return 0;
}

static int resolve_entry(char *entry, struct addresses *a, char *why, size_t why_size)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	char *host, *port;
	char *end;
	long number;
	int rc;

	split_port(entry, &host, &port);
	number = port ? strtol(port, &end, 10) : 0;
	if (!*host || !port || !*port || *end || number < 1 || number > 65535) {
		snprintf(why, why_size, "cannot resolve %s: HOST:PORT expected", host);
		return -EINVAL;
	}
	rc = getaddrinfo(host, port, &hints, &list);
	if (rc != 0) {
		snprintf(why, why_size, "cannot resolve %s: %s", host,
			 rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
		return rc == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH;
	}
	rc = 0;
	for (struct addrinfo *ai = list; ai && !rc; ai = ai->ai_next)
		rc = addresses_add(a, ai);
	freeaddrinfo(list);
	return rc;
}

static char *addresses_join(struct addresses *a)
{
	size_t size = 1;
	char *out, *p;

	for (size_t i = 0; i < a->count; i++)
		size += strlen(a->text[i]) + 1;
	/*
	 * With an even number the library can skip the only live server for ever
	 * (ZOOKEEPER-2466): name one twice.
	 */
	if (a->count % 2 == 0)
		size += strlen(a->text[0]) + 1;
	out = p = malloc(size);
	if (!out)
		return NULL;
	for (size_t i = 0; i < a->count; i++)
		p += sprintf(p, "%s%s", i ? "," : "", a->text[i]);
	if (a->count % 2 == 0)
		sprintf(p, ",%s", a->text[0]);
	return out;
}

static int resolve(const char *hosts, char **numeric, char *why, size_t why_size)
{
	struct addresses a = { .count = 0 };
	autofree char *copy = strdup(hosts);
	char *save = NULL;
	int err = 0;

	if (!copy)
		return -ENOMEM;
	snprintf(why, why_size, "no server is named");
	for (char *e = strtok_r(copy, ", ", &save); e; e = strtok_r(NULL, ", ", &save)) {
		int rc = resolve_entry(e, &a, why, why_size);

		if (rc == -ENOMEM) {
			addresses_free(&a);
			return rc;
		}
		if (rc) {
			err = rc;
			log_debug("%s", why);
		}
	}
	/* One name that is not known now must not keep the others from serving. */
	if (a.count == 0)
		return err ? err : -EINVAL;
	*numeric = addresses_join(&a);
	addresses_free(&a);
	return *numeric ? 0 : -ENOMEM;
}

/*
 * getaddrinfo can't be interrupted, and takes half a minute when the name service is dead. So it
 * has a detached thread, which may outlive the one that asks; who of the two is last frees.
 */
struct lookup {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done, left; /* guarded by lock */
	int err;
	char *numeric;
	char why[256];
	char hosts[];
};

static void lookup_free(struct lookup *l)
{
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l->numeric);
	free(l);
}

static void *lookup_main(void *arg)
{
	struct lookup *l = arg;
	bool left;

	l->err = resolve(l->hosts, &l->numeric, l->why, sizeof(l->why));
	pthread_mutex_lock(&l->lock);
	l->done = true;
	left = l->left;
	pthread_cond_signal(&l->changed);
	pthread_mutex_unlock(&l->lock);
	if (left)
		lookup_free(l);
	return NULL;
}

static struct lookup *lookup_start(const char *hosts)
{
	struct lookup *l = calloc(1, sizeof(*l) + strlen(hosts) + 1);
	pthread_condattr_t attr;
	pthread_t thread;

	if (!l)
		return NULL;
	strcpy(l->hosts, hosts);
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&thread, NULL, lookup_main, l) != 0) {
		lookup_free(l);
		return NULL;
	}
	pthread_detach(thread);
	return l;
}

int session_resolve(const char *hosts, int64_t end, bool (*stop)(void *arg), void *arg,
		    char **numeric, char *why, size_t why_size)
{
	struct lookup *l = lookup_start(hosts);
	bool done;
	int err;

	if (!l)
		return -ENOMEM;
	pthread_mutex_lock(&l->lock);
	while (!l->done && session_now() < end && !(stop && stop(arg))) {
		int64_t slice = session_now() + 100;

		session_wait_until(&l->changed, &l->lock, slice < end ? slice : end);
	}
	done = l->done;
	l->left = !done;
	pthread_mutex_unlock(&l->lock);
	if (!done) {
		snprintf(why, why_size, "cannot resolve %s: no answer from the name service", hosts);
		return -ETIMEDOUT;
	}
	err = l->err;
	if (err) {
		snprintf(why, why_size, "%s", l->why);
	} else {
		*numeric = l->numeric;
		l->numeric = NULL;
	}
	lookup_free(l);
	return err;
}

/* Starts a connection to the numeric "host:port"; the descriptor, or -errno. */
static int probe_start(char *entry)
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
					.ai_socktype = SOCK_STREAM };
	struct addrinfo *ai;
	char *colon = strrchr(entry, ':');
	int fd, err;

	*colon = '\0';
	if (getaddrinfo(entry, colon + 1, &hints, &ai) != 0)
		return -EINVAL;
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	err = fd < 0 ? -errno : 0;
	if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) != 0 && errno != EINPROGRESS) {
		err = -errno;
		close(fd);
	}
	freeaddrinfo(ai);
	return err ? err : fd;
}

static int probe_result(int fd, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = ETIMEDOUT;

	if (poll(&p, 1, wait_ms) > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	return err;
}

void session_probe(const char *numeric, int wait_ms, char *out, size_t size)
{
	autofree char *copy = strdup(numeric);
	int64_t end = session_now() + wait_ms;
	int fds[MAX_ADDRESSES + 1];
	size_t count = 0;
	char *save = NULL;
	int reason = ETIMEDOUT;

	if (copy) {
		for (char *e = strtok_r(copy, ",", &save); e && count < ARRAY_SIZE(fds);
		     e = strtok_r(NULL, ",", &save))
			fds[count++] = probe_start(e);
	}
	for (size_t i = 0; i < count; i++) {
		int64_t left = end - session_now();
		int err = fds[i] < 0 ? -fds[i] : probe_result(fds[i], left > 0 ? (int)left : 0);

		if (fds[i] >= 0)
			close(fds[i]);
		/*
		 * Tell what is most worth knowing: one that listens, else one that says why not,
		 * else silence.
		 */
		if (err == 0)
			reason = 0;
		else if (reason == ETIMEDOUT)
			reason = err;
	}
	if (reason == 0)
		snprintf(out, size, "connections are accepted, but no session is made: no quorum?");
	else
		snprintf(out, size, "%s", strerror(reason));
}

/* ---- credentials ---- */

static int auth_add(struct session_auths *auths, char *line)
{
	struct session_auth *more;
	char *end = line + strcspn(line, " \t");
	char *credentials = end + strspn(end, " \t");

	if (!*credentials)
		return -EINVAL;
	*end = '\0';
	more = reallocarray(auths->lines, auths->count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	auths->lines = more;
	more += auths->count;
	more->scheme = strdup(line);
	more->credentials = strdup(credentials);
	if (!more->scheme || !more->credentials) {
		free(more->scheme);
		free(more->credentials);
		return -ENOMEM;
	}
	auths->count++;
	return 0;
}

static int read_auth_lines(FILE *f, const char *file, struct session_auths *auths, char *why,
			   size_t why_size)
{
	char *line = NULL;
	size_t size = 0;
	unsigned int number = 0;
	int err = 0;

	while (!err && getline(&line, &size, f) >= 0) {
		char *p = line + strspn(line, " \t");

		number++;
		p[strcspn(p, "\r\n")] = '\0';
		if (*p && *p != '#')
			err = auth_add(auths, p);
	}
	if (line) {
		explicit_bzero(line, size);
		free(line);
	}
	if (err == -EINVAL)
		snprintf(why, why_size, "%s: line %u: SCHEME CREDENTIALS expected", file, number);
	else if (!err && ferror(f)) {
		err = -EIO;
		snprintf(why, why_size, "%s: cannot be read", file);
	} else if (!err && auths->count == 0) {
		err = -EINVAL;
		snprintf(why, why_size, "%s: no credentials in it", file);
	}
	return err;
}

int session_read_auth(const char *file, struct session_auths *auths, char *why, size_t why_size)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	FILE *f;
	int err;

	if (fd < 0) {
		err = -errno;
		snprintf(why, why_size, "%s: %s", file, strerror(-err));
		return err;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077)) {
		snprintf(why, why_size,
			 S_ISREG(st.st_mode) ? "%s: mode must be 0600" : "%s: not a regular file",
			 file);
		close(fd);
		return -EACCES;
	}
	f = fdopen(fd, "r");
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	err = read_auth_lines(f, file, auths, why, why_size);
	fclose(f);
	if (err)
		session_free_auth(auths);
	return err;
}

void session_free_auth(struct session_auths *auths)
{
	for (size_t i = 0; i < auths->count; i++) {
		explicit_bzero(auths->lines[i].credentials, strlen(auths->lines[i].credentials));
		free(auths->lines[i].credentials);
		free(auths->lines[i].scheme);
	}
	free(auths->lines);
	*auths = (struct session_auths){ .count = 0 };
}

/* ---- the library's log ---- */

/*
 * "TIME:PID(THREAD):ZOO_LEVEL@FUNCTION@LINE: MESSAGE": all of it tells of single attempts, so it
 * is for debugging.
 */
void session_library_log(const char *message)
{
	const char *p = strstr(message, ":ZOO_");

	p = p ? strstr(p, ": ") : NULL;
	log_debug("libzookeeper: %s", p ? p + 2 : message);
}

/* ---- ACLs ---- */

static const struct {
	char letter;
	int bit;
} perms[] = {
	{ 'c', 1 << 2 }, { 'd', 1 << 3 }, { 'r', 1 << 0 }, { 'w', 1 << 1 }, { 'a', 1 << 4 },
};

static int perms_parse(const char *text, int32_t *out)
{
	int32_t bits = 0;

	for (; *text; text++) {
		size_t i = 0;

		while (i < ARRAY_SIZE(perms) && perms[i].letter != *text)
			i++;
		if (i == ARRAY_SIZE(perms))
			return -EINVAL;
		bits |= perms[i].bit;
	}
	*out = bits;
	return 0;
}

/* An id may have colons of its own, so it is what stands between the first and the last. */
static int acl_parse_one(char *entry, struct ACL *out)
{
	char *id = strchr(entry, ':');
	char *last = strrchr(entry, ':');
	int err;

	if (!id || id == entry || last == id)
		return -EINVAL;
	err = perms_parse(last + 1, &out->perms);
	if (err)
		return err;
	*id++ = '\0';
	*last = '\0';
	out->id.scheme = strdup(entry);
	out->id.id = strdup(id);
	if (!out->id.scheme || !out->id.id) {
		free(out->id.scheme);
		free(out->id.id);
		return -ENOMEM;
	}
	return 0;
}

int session_acl_parse(const char *text, struct ACL_vector *acl)
{
	autofree char *copy = strdup(text);
	char *rest = copy;
	size_t max = 1;
	int err = 0;

	*acl = (struct ACL_vector){ .count = 0 };
	for (const char *p = text; *p; p++)
		max += *p == ',';
	acl->data = copy ? calloc(max, sizeof(*acl->data)) : NULL;
	if (!acl->data)
		return -ENOMEM;
	while (rest && !err) {
		char *entry = strsep(&rest, ",");

		err = acl_parse_one(entry, &acl->data[acl->count]);
		if (!err)
			acl->count++;
	}
	if (err)
		session_acl_free(acl);
	return err;
}

char *session_acl_format(const struct ACL_vector *acl)
{
	size_t size = 1;
	char *out, *p;

	for (int32_t i = 0; i < acl->count; i++)
		size += strlen(acl->data[i].id.scheme) + strlen(acl->data[i].id.id) +
			sizeof("::cdrwa,");
	out = p = malloc(size);
	if (!out)
		return NULL;
	*p = '\0';
	for (int32_t i = 0; i < acl->count; i++) {
		p += sprintf(p, "%s%s:%s:", i ? "," : "", acl->data[i].id.scheme, acl->data[i].id.id);
		for (size_t k = 0; k < ARRAY_SIZE(perms); k++) {
			if (acl->data[i].perms & perms[k].bit)
				*p++ = perms[k].letter;
		}
		*p = '\0';
	}
	return out;
}

void session_acl_free(struct ACL_vector *acl)
{
	for (int32_t i = 0; i < acl->count; i++) {
		free(acl->data[i].id.scheme);
		free(acl->data[i].id.id);
	}
	free(acl->data);
	*acl = (struct ACL_vector){ .count = 0 };
}
