/* SPDX-License-Identifier: Apache-2.0 */
/* Names: what a znode is called on the mount, which names ZooKeeper takes, which places are special. */
#ifndef ZKFS_NAME_H
#define ZKFS_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* The longest name that Linux hands to a filesystem, without the final NUL. */
#define NAME_LONGEST 255

/*
 * The name on the mount of the znode @znode, a single component, in the root or elsewhere.
 * Reserved are ".data" everywhere and ".zkfs" in the root; a znode whose name is any number of '%' followed by
 * a reserved one is shown with one '%' more. @out has room for strlen(znode) + 2 bytes.
 */
void name_show(const char *znode, bool in_root, char *out);

/*
 * The znode that the name @shown on the mount stands for: the inverse of name_show(). @out has room for
 * strlen(shown) + 1 bytes. -EINVAL for what ZooKeeper refuses (control characters U+0001-U+001F and
 * U+007F-U+009F, U+D800-U+F8FF, U+FFF0-U+FFFF, everything beyond the BMP, ".", "..", an empty name) and for a
 * reserved name; -EILSEQ for what is no UTF-8; -ENAMETOOLONG over NAME_LONGEST bytes.
 */
int name_znode(const char *shown, bool in_root, char *out);

/*
 * Whether ZooKeeper takes @znode as a name, reserved here or not: 0, -EINVAL or -EILSEQ as above. No limit of
 * length.
 */
int name_check(const char *znode);

/* True for ".data" anywhere and ".zkfs" in the root. */
bool name_is_reserved(const char *shown, bool in_root);

/*
 * A list of patterns separated by ':', each an absolute path in which the component "*" stands for any one
 * component. "/" is the root.
 */
struct places;

/*
 * NULL with errno EINVAL when a pattern is not absolute, ends in '/' or has '*' as a part of a component ("" is the
 * empty list), ENOMEM.
 */
struct places *places_new(const char *patterns);
void places_free(struct places *p);
/* @path is absolute, of the root "/" or "". */
bool places_match(const struct places *p, const char *path);

/* True when @name ends in ten decimal digits, as the server's sequential names do. */
bool name_has_sequence(const char *name);

/*
 * The length of the part of @name that is sent when it is made in a sequential place: up to the last '@', or all
 * of it when there is none.
 */
size_t name_tag(const char *name);

#endif
