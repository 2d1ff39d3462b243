/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The persistent recursive watch, on the library's own connection. A second connection is no way:
 * its events would have no order with the replies of the first. addWatch(path, mode) looks on the
 * wire like removeWatches(path, type), which the library has; so that one is called, and the
 * linker (--wrap, see the Makefile) puts the two functions below between the library's object
 * files: one puts the other opcode into the request's header, one finds a watcher for events that
 * the library never asked for. Both work only with libzookeeper_mt.a, not with the shared
 * library.
 *
 * A third one, setsockopt, mends a fault of the library: see there.
 *
 * Threads: addwatch_recursive in any; the wrapped functions in any thread that is inside the
 * library.
 */
#include "addwatch.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <zookeeper/proto.h>

/* From ZooDefs.java: OpCode.addWatch. */
#define ADD_WATCH_OP 106

/*
 * From AddWatchMode.java: PERSISTENT_RECURSIVE is 1, and so is the type that removeWatches gets
 * for children.
 */
_Static_assert(ZWATCHTYPE_CHILD == 1, "the type has the value of AddWatchMode.PERSISTENT_RECURSIVE");

struct watcher_object_list;

int __real_serialize_RequestHeader(struct oarchive *out, const char *tag, struct RequestHeader *v);
int __wrap_serialize_RequestHeader(struct oarchive *out, const char *tag, struct RequestHeader *v);
struct watcher_object_list *__real_collectWatchers(zhandle_t *zh, int type, char *path);
struct watcher_object_list *__wrap_collectWatchers(zhandle_t *zh, int type, char *path);

/* True while this thread is inside addwatch_recursive: the header that it serializes is ours. */
static _Thread_local bool in_add_watch;

int addwatch_recursive(zhandle_t *zh, const char *path, void_completion_t done, const void *data)
{
	int rc;

	in_add_watch = true;
	/* The parameter's type is a mistake in the header: the library calls the pointer itself. */
	rc = zoo_aremove_all_watches(zh, path, ZWATCHTYPE_CHILD, 0, (void_completion_t *)done, data);
	in_add_watch = false;
	return rc;
}

int __wrap_serialize_RequestHeader(struct oarchive *out, const char *tag, struct RequestHeader *v)
{
	struct RequestHeader header = *v;

	if (in_add_watch && header.type == ZOO_REMOVE_WATCHES)
		header.type = ADD_WATCH_OP;
	return __real_serialize_RequestHeader(out, tag, &header);
}

/*
 * The library looks for the one-shot watch that an event belongs to, and drops the event when
 * there is none. zkfs sets no one-shot watches, so all belong to the default watcher, as session
 * events do.
 */
struct watcher_object_list *__wrap_collectWatchers(zhandle_t *zh, int type, char *path)
{
	(void)type;
	return __real_collectWatchers(zh, ZOO_SESSION_EVENT, path);
}

/*
 * When something that is no ZooKeeper server answers, the library can take it for a read-only
 * one, and asks it 'isro' on a blocking socket in its I/O thread. The time limit that it sets for
 * that has random microseconds, so the kernel refuses it (EDOM), and zookeeper_close waits for
 * ever for that thread.
 */
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct timeval tv;

	if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO) && len == sizeof(tv)) {
		tv = *(const struct timeval *)value;
		if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
			tv.tv_usec = 0;
		value = &tv;
	}
	return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}
