/* SPDX-License-Identifier: Apache-2.0 */
/* The command line and the mount options. */
#ifndef ZKFS_OPTS_H
#define ZKFS_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct opts {
	char *hosts;	  /* "host:port,host:port", without the chroot */
	char *chroot;	  /* "/a/b", or "" */
	char *mountpoint; /* absolute */
	bool foreground;  /* -f, or implied by -d */
	bool debug;	  /* -d: libfuse's and zkfs's debug messages */
	bool show_help, show_version;
	bool ro, allow_other, nonempty, mkroot;
	unsigned int session_ms; /* session timeout asked for; 10,000 */
	unsigned int timeout_ms; /* how long a call may wait; 0: the negotiated session timeout */
	char *auth_file;	 /* absolute; NULL: none */
	size_t maxdata; /* bytes of data that a znode may have; 0: what a stock server accepts */
	uid_t uid;
	gid_t gid;
	mode_t umask;	 /* 022 unless umask= is given; octal */
	char *seq;	 /* "/tasks" */
	char *ephemeral; /* "/workers/<star>:/master:/tasks/<star>/owner", see opts.c */
	char *dir;	 /* "/tasks:/workers:/assign:/tasks/<star>:/assign/<star>" */
	/* For libfuse: program name and "-o" options: what is not ours (dev, suid, fsname=, ...), debug and
	 * allow_other too where given, with fsname=HOSTS/CHROOT and subtype=zkfs unless given; never ro, which
	 * main decides on. NULL-terminated. */
	char **fuse_argv;
	int fuse_argc;
};

/*
 * Reads @argv, whose order it may change. 0, or -EINVAL with a one-line reason for the user in @why (without
 * program name and newline); then there is nothing to free. With -h or -V only show_help or show_version is of use.
 * "noseq", "noephemeral", "nodir" empty the respective list; "rw" undoes "ro"; every option of mount(8) that
 * libfuse knows is passed on; fstab's own ("auto", "noauto", "user", "nofail", "_netdev", "x-...") are ignored. Any
 * other is an error. As "mount.zkfs" it takes what mount(8) gives its helpers.
 */
int opts_parse(int argc, char **argv, struct opts *opts, char *why, size_t why_size);
void opts_free(struct opts *opts);

/* For --help: usage and every option with its default, ends with a newline. */
const char *opts_help(void);

#endif
