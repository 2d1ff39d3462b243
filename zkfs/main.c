/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zkfs - mount a ZooKeeper tree
 *
 *   main.c       this file: wiring, start and stop order
 *   opts.c       command line and mount options
 *   ops.c        table of the FUSE operations; requests that are answered later
 *   ops_dir.c    names: look-up, listing, making, removing, renaming
 *   ops_open.c   opening and making files
 *   ops_file.c   reading, writing, the last close
 *   ops_attr.c   stat, access, extended attributes
 *   commit.c     what an open file holds -> one ZooKeeper request
 *   ctl.c        .zkfs/
 *   watch.c      news from the server -> changes to be told; what is this mount's own
 *   load.c       the children of a directory that somebody knows
 *   resync.c     after a gap: everything compared, differences told
 *   inject.c     changes -> system calls on the own mount, which the kernel tells as events
 *   session*.c   the ZooKeeper session and its asynchronous calls
 *   addwatch.c   the persistent recursive watch, which libzookeeper's C API lacks
 *   mirror.c     the tree of known znodes
 *   tags.c       task-@tag -> task-0000000042
 *   attr.c       Stat -> stat(2) and extended attributes; what is a directory
 *   name.c       names on the mount and at the server, places
 *   log.c stats.c util.h
 */
#include "ctl.h"
#include "fs.h"
#include "log.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_event(void *arg, enum session_event type, const char *path)
{
	watch_event(&((struct zkfs *)arg)->w, type, path);
}

static void on_up(void *arg, bool is_new)
{
	watch_up(&((struct zkfs *)arg)->w, is_new);
}

static void on_expired(void *arg)
{
	log_warn("the session is over: its ephemeral znodes are gone");
	watch_expired(&((struct zkfs *)arg)->w);
}

static void on_tick(void *arg)
{
	struct zkfs *fs = arg;

	if (fs->w.s)
		jobs_tick(fs);
}

static const struct session_ops session_ops = {
	.event = on_event,
	.up = on_up,
	.expired = on_expired,
	.tick = on_tick,
};

/* What libfuse has to say goes to the same log. */
static void on_fuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[512];
	size_t len;

	vsnprintf(line, sizeof(line), fmt, ap);
	len = strcspn(line, "\n");
	line[len] = '\0';
	log_msg(level <= FUSE_LOG_ERR ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "%s", line);
}

/* ---- start ---- */

/* Tells the process that waits for us in the foreground how it went: an empty reason is success. */
static void report(int *to, const char *why)
{
	if (*to < 0) {
		if (*why)
			fprintf(stderr, "zkfs: %s\n", why);
		return;
	}
	if (write(*to, why, strlen(why) + 1) < 0)
		log_warn("nobody waits for the start: %s", strerror(errno));
	close(*to);
	*to = -1;
}

/* The parent: waits for the reason, and leaves with it. */
static void wait_for_child(int from, pid_t pid)
{
	char why[1024];
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(why) - 1 && (n = read(from, why + len, sizeof(why) - 1 - len)) > 0) {
		len += n;
		if (!why[len - 1])
			break;
	}
	if (len == 1 && !*why)
		exit(0);
	waitpid(pid, NULL, 0);
	why[len] = '\0';
	die("%s", len ? why : "ended before the mount was there: see the system's log");
}

static int daemonize(void)
{
	int fds[2], null;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		die("cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		die("cannot start a process: %s", strerror(errno));
	if (pid) {
		close(fds[1]);
		wait_for_child(fds[0], pid);
	}
	close(fds[0]);
	setsid();
	if (chdir("/"))
		log_warn("cannot go to /: %s", strerror(errno));
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	return fds[1];
}

static bool is_empty(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *d;
	bool empty = true;

	if (!dir)
		return true;
	while (empty && (d = readdir(dir)))
		empty = !strcmp(d->d_name, ".") || !strcmp(d->d_name, "..");
	closedir(dir);
	return empty;
}

static void unmount_dead(const char *path)
{
	pid_t pid;

	if (umount2(path, MNT_DETACH) == 0)
		return;
	pid = fork();
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", path, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void check_mountpoint(const struct opts *opts)
{
	struct stat st;

	if (stat(opts->mountpoint, &st) && errno == ENOTCONN)
		unmount_dead(opts->mountpoint); /* of a daemon that was killed */
	if (stat(opts->mountpoint, &st))
		die("%s: %s", opts->mountpoint, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		die("%s: %s", opts->mountpoint, strerror(ENOTDIR));
	if (!opts->nonempty && !is_empty(opts->mountpoint))
		die("%s: not empty: mount elsewhere, or with -o nonempty", opts->mountpoint);
}

static int places(struct places **p, const char *option, const char *patterns)
{
	*p = places_new(patterns);
	if (!*p)
		die("%s=%s: each pattern must be an absolute path", option, patterns);
	return 0;
}

static void fs_init(struct zkfs *fs, const struct opts *opts)
{
	memset(fs, 0, sizeof(*fs));
	fs->opts = opts;
	places(&fs->seq, "seq", opts->seq);
	places(&fs->ephemeral, "ephemeral", opts->ephemeral);
	places(&fs->dirs, "dir", opts->dir);
	fs->attr = (struct attr_conf){ .uid = opts->uid,
				       .gid = opts->gid,
				       .umask = opts->umask,
				       .ro = opts->ro,
				       .has_system = !*opts->chroot,
				       .dirs = fs->dirs };
	list_init(&fs->handles);
	list_init(&fs->jobs);
	pthread_mutex_init(&fs->jobs_lock, NULL);
	pthread_cond_init(&fs->jobs_done, NULL);
	fs->tags = tags_new();
	if (!fs->tags || mirror_init(&fs->m) || !(fs->in = inject_new(&fs->m)))
		die("no memory");
	watch_init(&fs->w, &fs->m, fs->in, fs->dirs);
	ctl_init(fs);
}

static void fs_fini(struct zkfs *fs)
{
	tree_lock(&fs->m);
	while (!list_empty(&fs->handles)) {
		struct handle *h = container_of(fs->handles.next, struct handle, link);

		h->refs = 1;
		handle_unref(h);
	}
	tree_unlock(&fs->m);
	mirror_fini(&fs->m);
	tags_free(fs->tags);
	places_free(fs->seq);
	places_free(fs->ephemeral);
	places_free(fs->dirs);
}

static int connect_server(struct zkfs *fs, char *why, size_t size)
{
	const struct opts *opts = fs->opts;
	const struct session_conf conf = {
		.hosts = opts->hosts,
		.chroot = opts->chroot,
		.mkroot = opts->mkroot,
		.session_ms = opts->session_ms,
		.timeout_ms = opts->timeout_ms,
		.auth_file = opts->auth_file,
	};
	int err = session_open(&conf, &session_ops, fs, &fs->s, why, size);

	if (err)
		return err;
	tree_lock(&fs->m);
	fs->w.s = fs->s;
	tree_unlock(&fs->m);
	watch_up(&fs->w, true);
	return 0;
}

/* ---- run ---- */

/* The injectors need a mount that answers: they are started beside the loop that answers. */
struct starter {
	struct zkfs *fs;
	int *report;
	int err;
};

static void *starter_main(void *arg)
{
	struct starter *st = arg;

	const struct opts *opts = st->fs->opts;
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };

	st->err = inject_start(st->fs->in, st->fs->se, opts->mountpoint);
	/* So that the kernel refuses writes, and mount(8) shows it. Where that can't be, the handlers do. */
	if (!st->err && opts->ro && inject_is_apart(st->fs->in) &&
	    mount_setattr(AT_FDCWD, opts->mountpoint, 0, &ro, sizeof(ro)))
		log_info("cannot make the mount read-only: %s", strerror(errno));
	if (st->err) {
		char why[256];

		snprintf(why, sizeof(why), "cannot use the own mount: %s", strerror(-st->err));
		report(st->report, why);
		fuse_session_exit(st->fs->se);
		kill(getpid(), SIGTERM);
	} else {
		report(st->report, "");
	}
	return NULL;
}

static int serve(struct zkfs *fs, int *to)
{
	struct starter st = { .fs = fs, .report = to };
	sigset_t signals, before;
	pthread_t starter;
	int ret = 1;

	if (pthread_create(&starter, NULL, starter_main, &st)) {
		report(to, "cannot start a thread");
		return 1;
	}
	/* Only this thread takes signals: its read(2) is interrupted, and libfuse's handlers have ended the loop. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_UNBLOCK, &signals, &before);
	/*
	 * One thread, since no operation waits: so requests are handled in the order in which the kernel sent them, and an
	 * open that follows a close finds the close done.
	 */
	ret = fuse_session_loop(fs->se);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	/* A signal ends the loop with its number: that is an orderly end. */
	if (ret > 0)
		ret = 0;
	pthread_detach(starter);
	if (st.err)
		ret = 1;
	return ret ? 1 : 0;
}

static void committed(void *arg, int err)
{
	struct job *job = arg;

	if (err)
		log_error("cannot commit what was written: %s", strerror(-err));
	job_fail(job, 0);
}

/* What was written, and is still in open files' buffers, goes to the server. */
static void commit_all(struct zkfs *fs)
{
	struct handle *h;

	do {
		struct job *job;

		h = NULL;
		tree_lock(&fs->m);
		for (struct list *l = fs->handles.next; l != &fs->handles && !h; l = l->next) {
			struct handle *i = container_of(l, struct handle, link);

			if (i->kind == HANDLE_FILE && !i->ended && handle_is_pending(i))
				h = i;
		}
		if (h) {
			h->ended = true;
			handle_ref(h);
		}
		tree_unlock(&fs->m);
		job = h ? job_new(fs, NULL) : NULL;
		if (job) {
			job->h = h;
			commit(h, NULL, 0, 0, committed, job);
		}
	} while (h);
}

static int run(const struct opts *opts)
{
	struct fuse_args args = FUSE_ARGS_INIT(opts->fuse_argc, opts->fuse_argv);
	struct zkfs *fs;
	char why[512] = "";
	sigset_t all;
	int to = -1, ret = 1;

	check_mountpoint(opts);
	fs = malloc(sizeof(*fs));
	if (!fs)
		die("no memory");
	fs_init(fs, opts);
	if (!opts->foreground) {
		to = daemonize();
		log_open(true);
	}
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGABRT);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	if (connect_server(fs, why, sizeof(why))) {
		report(&to, why);
		goto no_session;
	}
	fuse_set_log_func(on_fuse_log);
	fs->se = fuse_session_new(&args, &zkfs_ops, sizeof(zkfs_ops), fs);
	if (!fs->se) {
		report(&to, "libfuse refuses the options");
		goto no_fuse;
	}
	if (fuse_set_signal_handlers(fs->se)) {
		report(&to, "cannot set signal handlers");
		goto no_mount;
	}
	if (fuse_session_mount(fs->se, opts->mountpoint)) {
		snprintf(why, sizeof(why), "cannot mount on %s: see fusermount3(1) and /etc/fuse.conf",
			 opts->mountpoint);
		report(&to, why);
		goto no_mount;
	}
	ret = serve(fs, &to);
	commit_all(fs);
	jobs_wait(fs, session_timeout_ms(fs->s));
	inject_end(fs->in);
	/* Closes /dev/fuse: whoever still waits for an answer, an injector too, gets an error. */
	fuse_session_unmount(fs->se);
	inject_stop(fs->in);
no_mount:
	fuse_remove_signal_handlers(fs->se);
no_fuse:
	session_close(fs->s);
	if (fs->se)
		fuse_session_destroy(fs->se);
no_session:
	inject_free(fs->in);
	fs_fini(fs);
	fuse_opt_free_args(&args);
	free(fs);
	return ret;
}

int main(int argc, char **argv)
{
	struct opts opts;
	char why[512];
	int ret;

	if (opts_parse(argc, argv, &opts, why, sizeof(why)))
		die("%s", why);
	if (opts.show_help || opts.show_version) {
		fputs(opts.show_help ? opts_help() : "zkfs " ZKFS_VERSION "\n", stdout);
		opts_free(&opts);
		return 0;
	}
	if (opts.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	ret = run(&opts);
	opts_free(&opts);
	return ret;
}
