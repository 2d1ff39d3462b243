/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes: stat, chmod and the like, truncate, access, extended attributes, statfs. Entered by the FUSE loop. */
#include "fs.h"

#include "ctl.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void reply_attr_unlock(fuse_req_t req, struct zkfs *fs, struct inode *i)
{
	struct node *n = inode_node(i);
	struct stat st;
	bool cached = n && !n->dirty;

	attr_stat(&fs->attr, i, &st);
	tree_unlock(&fs->m);
	fuse_reply_attr(req, &st, cached ? FOREVER : 0);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct zkfs *fs = fs_of(req);

	(void)fi;
	tree_lock(&fs->m);
	reply_attr_unlock(req, fs, inode_of(fs, ino));
}

/* ---- truncate ---- */

static void cut(void *arg, int err)
{
	struct job *job = arg;
	struct zkfs *fs = job->fs;
	fuse_req_t req = job_take(job);

	tree_lock(&fs->m);
	if (err) {
		job->h->truncated = job->h->dirty = false;
		handle_count(job->h);
	}
	if (req && !err) {
		reply_attr_unlock(req, fs, job->inode);
	} else {
		tree_unlock(&fs->m);
		if (req)
			fuse_reply_err(req, -err);
	}
	job_free(job);
}

/* The image of @h gets that size. The lock is held. 0 or -errno */
static int resize(struct handle *h, size_t size)
{
	size_t old = h->has_image ? h->len : h->snapshot ? h->snapshot->len : 0;
	char *image;

	if (size > commit_limit(h->fs, "/", false))
		return -EFBIG;
	image = realloc(h->image, size > old ? size + 1 : old + 1);
	if (!image)
		return -ENOMEM;
	if (!h->has_image && h->snapshot)
		memcpy(image, h->snapshot->bytes, h->snapshot->len);
	if (size > old)
		memset(image + old, 0, size - old);
	h->image = image;
	h->cap = (size > old ? size : old) + 1;
	h->len = size;
	h->has_image = true;
	return 0;
}

/* truncate(2): a handle of its own. */
static void truncate_node(struct job *job)
{
	struct zkfs *fs = job->fs;
	struct node *n = job->node;
	struct handle *h;
	int err = -ENOMEM;

	tree_lock(&fs->m);
	h = handle_new(fs);
	if (h) {
		job->h = h;
		handle_set_node(h, n);
		h->writes = true;
		h->snapshot = blob_ref(n->data);
		h->version = n->stat.version;
		err = n->unreadable && job->size ? -EACCES : resize(h, job->size);
		if (!job->size)
			h->truncated = true; /* whatever it held */
		else
			h->dirty = true;
		if (err)
			h->truncated = h->dirty = false;
		handle_count(h);
	}
	tree_unlock(&fs->m);
	if (err)
		job_fail(job, err);
	else
		commit(h, NULL, 0, 0, cut, job);
}

static void set_size(fuse_req_t req, struct zkfs *fs, struct inode *i, size_t size,
		     struct fuse_file_info *fi)
{
	struct handle *h = fi ? (struct handle *)(uintptr_t)fi->fh : NULL;
	struct node *n = inode_node(i);
	struct job *job;
	int err;

	if (h && h->kind == HANDLE_FILE && h->writes && !h->append && !h->committing) {
		tree_lock(&fs->m);
		err = resize(h, size);
		if (!err && h->make == MAKE_NOTHING && !(h->truncated && !size)) {
			/* Cut to nothing it is overwritten; otherwise it is edited. */
			if (!size)
				h->truncated = true;
			else
				h->dirty = true;
		}
		handle_count(h);
		if (!err) {
			reply_attr_unlock(req, fs, i);
			return;
		}
		tree_unlock(&fs->m);
		fuse_reply_err(req, -err);
		return;
	}
	if (!n) {
		/* The placeholder of a sequential znode, or a file of .zkfs, which has no size. */
		tree_lock(&fs->m);
		reply_attr_unlock(req, fs, i);
		return;
	}
	job = job_new(fs, req);
	if (!job)
		return;
	job->inode = i;
	job->size = size;
	tree_lock(&fs->m);
	job->node = node_ref(n);
	tree_unlock(&fs->m);
	settle_node(job, true, truncate_node);
}

/* install(1), rsync(1) and others make a file with one mode and give it another before they close it. The lock is held. */
static bool is_being_made(struct zkfs *fs, const struct node *n)
{
	for (struct list *l = fs->handles.next; n && l != &fs->handles; l = l->next) {
		const struct handle *h = container_of(l, struct handle, link);

		if (h->n == n && h->made)
			return true;
	}
	return false;
}

/* What ZooKeeper does not have is accepted when it changes nothing; times are the server's, and silently stay so. */
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi)
{
	struct zkfs *fs = fs_of(req);
	struct inode *i = inode_of(fs, ino);
	struct node *n = inode_node(i);
	struct stat now;
	bool is_injector;
	int err = 0;

	caller_item(req, &is_injector);
	tree_lock(&fs->m);
	if (is_injector || (fi && fi->fh == INJECTED_FH)) {
		reply_attr_unlock(req, fs, i);
		return;
	}
	attr_stat(&fs->attr, i, &now);
	if (i->kind != INODE_CTL)
		err = refuse_write(fs, n);
	if (!err && (((to_set & FUSE_SET_ATTR_MODE) &&
		      (attr->st_mode & 07777) != (now.st_mode & 07777) && !is_being_made(fs, n)) ||
		     ((to_set & FUSE_SET_ATTR_UID) && attr->st_uid != now.st_uid) ||
		     ((to_set & FUSE_SET_ATTR_GID) && attr->st_gid != now.st_gid)))
		err = -EPERM;
	if (err) {
		tree_unlock(&fs->m);
		fuse_reply_err(req, -err);
		return;
	}
	if (!(to_set & FUSE_SET_ATTR_SIZE)) {
		reply_attr_unlock(req, fs, i);
		return;
	}
	tree_unlock(&fs->m);
	if (fi && !fi->fh)
		fi = NULL;
	set_size(req, fs, i, attr->st_size, fi);
}

/* ---- access ---- */

/* The permissions that "world:anyone" has, or any identity when this mount has authenticated itself. */
static bool acl_grants(const char *acl, const char *wanted, bool is_authenticated)
{
	autofree char *copy = strdup(acl);
	char *save = NULL;

	for (char *c = copy ? strtok_r(copy, ",", &save) : NULL; c; c = strtok_r(NULL, ",", &save)) {
		const char *perms = strrchr(c, ':');

		if (strncmp(c, "world:anyone:", 13) != 0 && !is_authenticated)
			continue;
		if (perms && strpbrk(perms + 1, wanted))
			return true;
	}
	return false;
}

static void access_known(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	bool is_auth = job->fs->opts->auth_file != NULL;
	int err = reply->err;

	if (!err && (job->mask & W_OK) && !acl_grants(reply->acl, job->flags ? "cd" : "w", is_auth))
		err = -EACCES;
	if (!err && (job->mask & R_OK) && !acl_grants(reply->acl, "r", is_auth))
		err = -EACCES;
	/* Who may not even read the ACL may not do much else; what is refused is found out at the call. */
	job_fail(job, err == -EACCES && reply->err ? (job->mask & W_OK ? -EACCES : 0) : err);
}

void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct zkfs *fs = fs_of(req);
	struct inode *i = inode_of(fs, ino);
	struct node *n = inode_node(i);
	struct stat st;
	struct job *job;
	int err = 0;

	tree_lock(&fs->m);
	attr_stat(&fs->attr, i, &st);
	if ((mask & X_OK) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
		err = -EACCES;
	else if (mask & W_OK)
		err = i->kind == INODE_CTL ? (i->ctl == CTL_LOG ? 0 : -EACCES) : refuse_write(fs, n);
	tree_unlock(&fs->m);
	if (err || !n || n->fresh || !(mask & (W_OK | R_OK))) {
		fuse_reply_err(req, -err);
		return;
	}
	if (!(mask & W_OK)) {
		fuse_reply_err(req, n->unreadable ? EACCES : 0);
		return;
	}
	job = job_new(fs, req);
	if (!job)
		return;
	job->mask = mask;
	job->flags = S_ISDIR(st.st_mode);
	tree_lock(&fs->m);
	job->path = node_path(n);
	tree_unlock(&fs->m);
	if (job->path)
		session_get_acl(fs->s, job->path, access_known, job);
	else
		job_fail(job, -ENOMEM);
}

/* Answered here: the server has no such limits. */
void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = 1 << 20,
		.f_bfree = 1 << 20,
		.f_bavail = 1 << 20,
		.f_files = 1 << 20,
		.f_ffree = 1 << 20,
		.f_favail = 1 << 20,
		.f_namemax = NAME_LONGEST,
	};

	(void)ino;
	fuse_reply_statfs(req, &st);
}

/* ---- extended attributes ---- */

#define PREFIX "user.zk."

static void reply_value(fuse_req_t req, const char *value, size_t len, size_t size)
{
	if (!size)
		fuse_reply_xattr(req, len);
	else if (len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, len);
}

static void xattr_known(void *arg, const struct session_reply *reply)
{
	struct job *job = arg;
	fuse_req_t req = job_take(job);
	char value[64];

	if (req && reply->err) {
		fuse_reply_err(req, -reply->err);
	} else if (req && reply->acl) {
		reply_value(req, reply->acl, strlen(reply->acl), job->size);
	} else if (req) {
		attr_value(job->flags, reply->stat, value, sizeof(value));
		reply_value(req, value, strlen(value), job->size);
	}
	job_free(job);
}

static void do_getxattr(struct job *job)
{
	struct zkfs *fs = job->fs;

	if (!strcmp(job->name, "acl"))
		session_get_acl(fs->s, job->path, xattr_known, job);
	else
		session_exists(fs->s, job->path, xattr_known, job);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct zkfs *fs = fs_of(req);
	struct inode *i = inode_of(fs, ino);
	struct node *n = inode_node(i);
	size_t index = 0;
	bool is_acl, is_path;
	struct job *job;

	inject_probe(fs->in, name, fuse_req_ctx(req)->pid);
	if (!n || strncmp(name, PREFIX, strlen(PREFIX)) != 0) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	name += strlen(PREFIX);
	is_acl = !strcmp(name, "acl");
	is_path = !strcmp(name, "path");
	while (!is_acl && !is_path && attr_name(index) && strcmp(attr_name(index), name) != 0)
		index++;
	if (!is_acl && !is_path && !attr_name(index)) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	job = job_new(fs, req);
	if (!job)
		return;
	job->size = size;
	job->flags = index;
	job->name = strdup(name);
	tree_lock(&fs->m);
	job->node = node_ref(n);
	job->path = node_path(n);
	tree_unlock(&fs->m);
	if (!job->path || !job->name) {
		job_fail(job, -ENOMEM);
	} else if (is_path) {
		req = job_take(job);
		if (req)
			reply_value(req, job->path, strlen(job->path), size);
		job_free(job);
	} else {
		settle_node(job, true, do_getxattr);
	}
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct inode *i = inode_of(fs_of(req), ino);
	char names[512];
	size_t len = 0;

	for (size_t k = 0; inode_node(i) && attr_name(k); k++)
		len += snprintf(names + len, sizeof(names) - len, PREFIX "%s", attr_name(k)) + 1;
	if (inode_node(i)) {
		len += snprintf(names + len, sizeof(names) - len, PREFIX "acl") + 1;
		len += snprintf(names + len, sizeof(names) - len, PREFIX "path") + 1;
	}
	reply_value(req, names, len, size);
}

static void acl_set(void *arg, const struct session_reply *reply)
{
	job_fail(arg, reply->err);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags)
{
	struct zkfs *fs = fs_of(req);
	struct node *n = inode_node(inode_of(fs, ino));
	autofree char *acl = NULL;
	struct job *job;
	int err;

	(void)flags;
	err = !n ? -EPERM : refuse_write(fs, n);
	if (!err && strcmp(name, PREFIX "acl") != 0)
		err = strncmp(name, PREFIX, strlen(PREFIX)) ? -EOPNOTSUPP : -EPERM;
	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	acl = strndup(value, size);
	job = job_new(fs, req);
	if (!job)
		return;
	tree_lock(&fs->m);
	job->path = node_path(n);
	tree_unlock(&fs->m);
	if (acl && job->path)
		session_set_acl(fs->s, job->path, acl, acl_set, job);
	else
		job_fail(job, -ENOMEM);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	(void)ino;
	fuse_reply_err(req, strncmp(name, PREFIX, strlen(PREFIX)) ? ENODATA : EPERM);
}
