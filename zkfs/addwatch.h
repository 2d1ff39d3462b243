/* SPDX-License-Identifier: Apache-2.0 */
/* addWatch, the one request of the ZooKeeper protocol that libzookeeper's C API lacks. */
#ifndef ZKFS_ADDWATCH_H
#define ZKFS_ADDWATCH_H

#include <zookeeper/zookeeper.h>

/*
 * Asks for a persistent recursive watch on @path (within the handle's chroot), on the handle's
 * own connection, so that its events keep their order with the replies. Returns what the zoo_a*
 * calls return; @done is called as theirs are, with ZUNIMPLEMENTED by a server older than 3.6.
 * The watch ends with the connection. From then on every event of the handle goes to the watcher
 * given to zookeeper_init; one-shot watches have no watchers of their own.
 */
int addwatch_recursive(zhandle_t *zh, const char *path, void_completion_t done, const void *data);

#endif
