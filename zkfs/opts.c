/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line and the mount options -> struct opts. Entered by main before any thread is there.
 *
 * What an option means stands in one table; an option that is not in it is an error. libfuse gets only what the
 * table says it knows, so that a misspelt option is never carried to the kernel.
 */
#include "opts.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "name.h"
#include "util.h"

#define DEFAULT_SEQ "/tasks"
#define DEFAULT_EPHEMERAL "/workers/*:/master:/tasks/*/owner"
#define DEFAULT_DIR "/tasks:/workers:/assign:/tasks/*:/assign/*"
#define DEFAULT_SESSION_MS 10000
#define DEFAULT_UMASK 022
#define DEFAULT_PORT "2181"

enum kind {
	PLACES,	   /* a char *: patterns */
	NO_PLACES, /* a char *: no patterns */
	SECONDS,   /* an unsigned int: milliseconds */
	BYTES,	   /* a size_t */
	USER,	   /* a uid_t */
	GROUP,	   /* a gid_t */
	OCTAL,	   /* a mode_t */
	ABS_PATH,  /* a char * */
	TRUE,	   /* a bool */
	FALSE,	   /* a bool */
	PASS,	   /* libfuse's */
	TRUE_PASS, /* a bool, and libfuse's too */
	IGNORE	   /* means something to mount(8) or fstab(5) alone */
};

/* A name that ends in '=' takes a value, one that ends in '-' any ending. */
static const struct option_desc {
	const char *name;
	enum kind kind;
	size_t field;
} options[] = {
	{ "seq=", PLACES, offsetof(struct opts, seq) },
	{ "noseq", NO_PLACES, offsetof(struct opts, seq) },
	{ "ephemeral=", PLACES, offsetof(struct opts, ephemeral) },
	{ "noephemeral", NO_PLACES, offsetof(struct opts, ephemeral) },
	{ "dir=", PLACES, offsetof(struct opts, dir) },
	{ "nodir", NO_PLACES, offsetof(struct opts, dir) },
	{ "session=", SECONDS, offsetof(struct opts, session_ms) },
	{ "timeout=", SECONDS, offsetof(struct opts, timeout_ms) },
	{ "auth=", ABS_PATH, offsetof(struct opts, auth_file) },
	{ "maxdata=", BYTES, offsetof(struct opts, maxdata) },
	{ "uid=", USER, offsetof(struct opts, uid) },
	{ "gid=", GROUP, offsetof(struct opts, gid) },
	{ "umask=", OCTAL, offsetof(struct opts, umask) },
	{ "ro", TRUE, offsetof(struct opts, ro) },
	{ "rw", FALSE, offsetof(struct opts, ro) },
	{ "nonempty", TRUE, offsetof(struct opts, nonempty) },
	{ "mkroot", TRUE, offsetof(struct opts, mkroot) },
	{ "debug", TRUE_PASS, offsetof(struct opts, debug) },
	{ "allow_other", TRUE_PASS, offsetof(struct opts, allow_other) },

	/* fuse(8), as far as the low-level library and fusermount3 have them */
	{ "allow_root", PASS, 0 },
	{ "auto_unmount", PASS, 0 },
	{ "default_permissions", PASS, 0 },
	{ "fsname=", PASS, 0 },
	{ "subtype=", PASS, 0 },
	{ "max_read=", PASS, 0 },
	{ "dev", PASS, 0 },
	{ "nodev", PASS, 0 },
	{ "suid", PASS, 0 },
	{ "nosuid", PASS, 0 },
	{ "exec", PASS, 0 },
	{ "noexec", PASS, 0 },
	{ "atime", PASS, 0 },
	{ "noatime", PASS, 0 },
	{ "sync", PASS, 0 },
	{ "async", PASS, 0 },
	{ "dirsync", PASS, 0 },
	{ "context=", PASS, 0 },
	{ "fscontext=", PASS, 0 },
	{ "defcontext=", PASS, 0 },
	{ "rootcontext=", PASS, 0 },

	/* mount(8) and fstab(5) */
	{ "defaults", IGNORE, 0 },
	{ "auto", IGNORE, 0 },
	{ "noauto", IGNORE, 0 },
	{ "user", IGNORE, 0 },
	{ "user=", IGNORE, 0 },
	{ "nouser", IGNORE, 0 },
	{ "users", IGNORE, 0 },
	{ "nousers", IGNORE, 0 },
	{ "owner", IGNORE, 0 },
	{ "noowner", IGNORE, 0 },
	{ "group", IGNORE, 0 },
	{ "nogroup", IGNORE, 0 },
	{ "nofail", IGNORE, 0 },
	{ "_netdev", IGNORE, 0 },
	{ "comment=", IGNORE, 0 },
	{ "x-", IGNORE, 0 },
	{ "X-", IGNORE, 0 },

	/* There are no access times here for these to mean anything. libfuse does not know them. */
	{ "relatime", IGNORE, 0 },
	{ "norelatime", IGNORE, 0 },
	{ "strictatime", IGNORE, 0 },
	{ "nostrictatime", IGNORE, 0 },
	{ "lazytime", IGNORE, 0 },
	{ "nolazytime", IGNORE, 0 },
	{ "diratime", IGNORE, 0 },
	{ "nodiratime", IGNORE, 0 },
};

struct parser {
	struct opts *opts;
	char *why;
	size_t why_size;
	bool mount_helper; /* called by mount(8) as mount.zkfs */
	bool have_fsname, have_subtype;
};

__attribute__((format(printf, 2, 3))) static int bad(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->why, p->why_size, fmt, ap);
	va_end(ap);
	for (char *c = p->why; p->why_size > 0 && *c; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
	return -EINVAL;
}

static int no_memory(struct parser *p)
{
	return bad(p, "not enough memory");
}

static int replace(struct parser *p, char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return no_memory(p);
	free(*field);
	*field = copy;
	return 0;
}

/* Puts the current directory in front of a relative @path. */
static int replace_absolute(struct parser *p, char **field, const char *path)
{
	autofree char *cwd = NULL;
	autofree char *abs = NULL;

	if (*path == '/')
		return replace(p, field, path);
	cwd = getcwd(NULL, 0);
	if (!cwd)
		return bad(p, "%s: no current directory: %s", path, strerror(errno));
	if (asprintf(&abs, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, path) < 0) {
		abs = NULL;
		return no_memory(p);
	}
	return replace(p, field, abs);
}

static int append_fuse_arg(struct parser *p, const char *arg)
{
	struct opts *o = p->opts;
	char **argv = realloc(o->fuse_argv, ((size_t)o->fuse_argc + 2) * sizeof(*argv));

	if (!argv)
		return no_memory(p);
	o->fuse_argv = argv;
	argv[o->fuse_argc] = strdup(arg);
	if (!argv[o->fuse_argc])
		return no_memory(p);
	argv[++o->fuse_argc] = NULL;
	return 0;
}

/* @option is one option, unescaped: commas in it get the backslash that libfuse expects. */
static int append_fuse_option(struct parser *p, const char *option)
{
	autofree char *escaped = malloc(2 * strlen(option) + 1);
	char *out = escaped;
	int ret;

	if (!escaped)
		return no_memory(p);
	for (const char *c = option; *c; c++) {
		if (*c == ',' || *c == '\\')
			*out++ = '\\';
		*out++ = *c;
	}
	*out = '\0';
	ret = append_fuse_arg(p, "-o");
	return ret < 0 ? ret : append_fuse_arg(p, escaped);
}

static int set_places(struct parser *p, char **field, const char *name, const char *value)
{
	struct places *places = places_new(value);

	if (!places && errno == ENOMEM)
		return no_memory(p);
	if (!places)
		return bad(p, "option %s%s: not a list of absolute paths (* is a whole component)",
			   name, value);
	places_free(places);
	return replace(p, field, value);
}

static int set_seconds(struct parser *p, unsigned int *field, const char *name, const char *value)
{
	char *end;
	double ms = strtod(value, &end) * 1000 + 0.5;

	if (!isdigit((unsigned char)*value) || strspn(value, "0123456789.") != strlen(value) || *end)
		return bad(p, "option %s%s: not a number of seconds", name, value);
	if (ms < 1 || ms > INT_MAX)
		return bad(p, "option %s%s: must be more than 0 and at most %d seconds", name,
			   value, INT_MAX / 1000);
	*field = (unsigned int)ms;
	return 0;
}

/* A decimal or octal number without sign, at most @max. */
static bool parse_number(const char *s, int base, unsigned long max, unsigned long *n, char **end)
{
	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	*n = strtoul(s, end, base);
	return errno == 0 && *n <= max;
}

static int set_bytes(struct parser *p, size_t *field, const char *name, const char *value)
{
	unsigned long n = 0, unit = 1;
	char *end;

	if (parse_number(value, 10, ULONG_MAX, &n, &end)) {
		if (*end == 'k' || *end == 'K')
			unit = 1024;
		else if (*end == 'm' || *end == 'M')
			unit = 1024UL * 1024;
		if (unit > 1)
			end++;
		/* A length is a signed 32-bit number in ZooKeeper's protocol. */
		if (*end == '\0' && n > 0 && n <= INT_MAX / unit) {
			*field = n * unit;
			return 0;
		}
	}
	return bad(p, "option %s%s: not a number of bytes (with k or M: of 1024 or 1048576)", name,
		   value);
}

static int set_octal(struct parser *p, mode_t *field, const char *name, const char *value)
{
	unsigned long n;
	char *end;

	if (!parse_number(value, 8, 0777, &n, &end) || *end)
		return bad(p, "option %s%s: not an octal number up to 777", name, value);
	*field = (mode_t)n;
	return 0;
}

static int set_user(struct parser *p, uid_t *field, const char *name, const char *value)
{
	const struct passwd *pw = getpwnam(value);
	unsigned long n;
	char *end;

	if (pw)
		*field = pw->pw_uid;
	else if (parse_number(value, 10, UINT_MAX - 1, &n, &end) && *end == '\0')
		*field = (uid_t)n;
	else
		return bad(p, "option %s%s: no such user", name, value);
	return 0;
}

static int set_group(struct parser *p, gid_t *field, const char *name, const char *value)
{
	const struct group *gr = getgrnam(value);
	unsigned long n;
	char *end;

	if (gr)
		*field = gr->gr_gid;
	else if (parse_number(value, 10, UINT_MAX - 1, &n, &end) && *end == '\0')
		*field = (gid_t)n;
	else
		return bad(p, "option %s%s: no such group", name, value);
	return 0;
}

static int set_path(struct parser *p, char **field, const char *name, const char *value)
{
	if (*value == '\0')
		return bad(p, "option %s: no file given", name);
	return replace_absolute(p, field, value);
}

static const struct option_desc *find_option(const char *option)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const char *name = options[i].name;
		size_t len = strlen(name);
		bool prefix = name[len - 1] == '=' || name[len - 1] == '-';

		if (prefix ? strncmp(option, name, len) == 0 : strcmp(option, name) == 0)
			return &options[i];
	}
	return NULL;
}

/* An option that is in the table, but for its '=': "seq" for "seq=", or the other way round. */
static int unknown_option(struct parser *p, const char *option)
{
	autofree char *name = NULL;
	int len = (int)strcspn(option, "=");

	if (asprintf(&name, "%.*s%s", len, option, option[len] ? "" : "=") < 0) {
		name = NULL;
		return no_memory(p);
	}
	if (find_option(name) && option[len])
		return bad(p, "option %s takes no value", name);
	if (find_option(name))
		return bad(p, "option %s needs a value: %s...", option, name);
	return bad(p, "unknown option %.*s", len, option);
}

static int set_option(struct parser *p, const char *option)
{
	const struct option_desc *d = find_option(option);
	const char *value;
	void *field;

	if (!d)
		return unknown_option(p, option);
	value = option + strlen(d->name);
	field = (char *)p->opts + d->field;
	switch (d->kind) {
	case PLACES:
		return set_places(p, field, d->name, value);
	case NO_PLACES:
		return replace(p, field, "");
	case SECONDS:
		return set_seconds(p, field, d->name, value);
	case BYTES:
		return set_bytes(p, field, d->name, value);
	case USER:
		return set_user(p, field, d->name, value);
	case GROUP:
		return set_group(p, field, d->name, value);
	case OCTAL:
		return set_octal(p, field, d->name, value);
	case ABS_PATH:
		return set_path(p, field, d->name, value);
	case TRUE:
	case FALSE:
		*(bool *)field = d->kind == TRUE;
		return 0;
	case TRUE_PASS:
		*(bool *)field = true;
		return append_fuse_option(p, option);
	case PASS:
		p->have_fsname |= strcmp(d->name, "fsname=") == 0;
		p->have_subtype |= strcmp(d->name, "subtype=") == 0;
		return append_fuse_option(p, option);
	case IGNORE:
		break;
	}
	return 0;
}

/* @list is "a,b=c\,d,...": a backslash takes the special meaning from the character after it. */
static int set_options(struct parser *p, const char *list)
{
	autofree char *option = malloc(strlen(list) + 1);
	int ret;

	if (!option)
		return no_memory(p);
	while (*list) {
		char *out = option;

		for (; *list && *list != ','; list++) {
			if (*list == '\\' && list[1])
				list++;
			*out++ = *list;
		}
		*out = '\0';
		if (*list)
			list++;
		if (*option == '\0')
			continue;
		ret = set_option(p, option);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* The length of the host at the start of @s, brackets included; 0 when it is none. */
static size_t host_length(const char *s)
{
	size_t len = 0;

	if (*s != '[') {
		while (isalnum((unsigned char)s[len]) || (s[len] && strchr(".-_", s[len])))
			len++;
		return len;
	}
	for (len = 1; isalnum((unsigned char)s[len]) || (s[len] && strchr(":.-_%", s[len])); len++)
		;
	return len > 1 && s[len] == ']' ? len + 1 : 0;
}

/* One of the servers in front of the chroot: appends "host:port" to @out. */
static int append_server(struct parser *p, const char *server, FILE *out)
{
	size_t len = host_length(server);
	const char *port = DEFAULT_PORT;
	unsigned long n;
	char *end;

	if (*server == '\0')
		return bad(p, "the list of servers has an empty entry");
	if (len == 0)
		return bad(p, "%s: not a server", server);
	if (server[len] == ':' && server[0] != '[' && strchr(server + len + 1, ':'))
		return bad(p, "%s: an IPv6 address is written in brackets", server);
	if (server[len] == ':') {
		port = server + len + 1;
		if (!parse_number(port, 10, 65535, &n, &end) || n == 0 || *end)
			return bad(p, "%s: not a port: %s", server, port);
	} else if (server[len]) {
		return bad(p, "%s: not a server", server);
	}
	fprintf(out, "%s%.*s:%s", ftell(out) > 0 ? "," : "", (int)len, server, port);
	return 0;
}

/* @hosts is cut into pieces. */
static int set_hosts(struct parser *p, char *hosts)
{
	char *server, *list = NULL;
	size_t size;
	FILE *out = open_memstream(&list, &size);
	int ret = 0;

	if (!out)
		return no_memory(p);
	while (ret == 0 && (server = strsep(&hosts, ",")))
		ret = append_server(p, server, out);
	if (fclose(out) != 0 && ret == 0)
		ret = no_memory(p);
	if (ret < 0) {
		free(list);
		return ret;
	}
	free(p->opts->hosts);
	p->opts->hosts = list;
	return 0;
}

static int check_chroot(struct parser *p, const char *chroot)
{
	autofree char *copy = strdup(chroot);
	char *next = copy, *component;

	if (!copy)
		return no_memory(p);
	if (chroot[strlen(chroot) - 1] == '/')
		return bad(p, "chroot %s: ends in a slash", chroot);
	strsep(&next, "/");
	while ((component = strsep(&next, "/"))) {
		if (name_check(component) < 0)
			return bad(p, "chroot %s: not a path that ZooKeeper takes", chroot);
	}
	return 0;
}

/* HOSTS[/CHROOT]; "/" alone is the root, as for ZooKeeper's own clients. */
static int set_source(struct parser *p, const char *source)
{
	autofree char *hosts = strndup(source, strcspn(source, "/"));
	const char *chroot = source + strcspn(source, "/");
	int ret;

	if (!hosts)
		return no_memory(p);
	if (*hosts == '\0')
		return bad(p, "%s: no server before the path", *source ? source : "\"\"");
	if (strcmp(chroot, "/") == 0)
		chroot = "";
	if (*chroot) {
		ret = check_chroot(p, chroot);
		if (ret < 0)
			return ret;
	}
	ret = set_hosts(p, hosts);
	return ret < 0 ? ret : replace(p, &p->opts->chroot, chroot);
}

/* A mountpoint that cannot be resolved is left to main, which says what is wrong with it. */
static int set_mountpoint(struct parser *p, const char *mountpoint)
{
	char *real;

	if (*mountpoint == '\0')
		return bad(p, "no mountpoint given");
	real = realpath(mountpoint, NULL);
	if (!real)
		return replace_absolute(p, &p->opts->mountpoint, mountpoint);
	free(p->opts->mountpoint);
	p->opts->mountpoint = real;
	return 0;
}

/* What libfuse shows in /proc/self/mountinfo. */
static int append_fuse_names(struct parser *p)
{
	autofree char *fsname = NULL;
	int ret = 0;

	if (!p->have_fsname) {
		if (asprintf(&fsname, "fsname=%s%s", p->opts->hosts, p->opts->chroot) < 0) {
			fsname = NULL;
			return no_memory(p);
		}
		ret = append_fuse_option(p, fsname);
	}
	if (ret == 0 && !p->have_subtype)
		ret = append_fuse_option(p, "subtype=zkfs");
	return ret;
}

/*
 * mount(8) calls a helper as "mount.zkfs SOURCE DIR [-sfnv] [-N NS] [-o OPTIONS] [-t TYPE]", where -f means that
 * nothing is to be mounted.
 */
static int parse_flag(struct parser *p, int flag, char **argv)
{
	struct opts *o = p->opts;

	switch (flag) {
	case 'o':
		return set_options(p, optarg);
	case 'f':
		if (p->mount_helper)
			return bad(p, "mount -f is not supported");
		o->foreground = true;
		return 0;
	case 'd':
		return set_option(p, "debug");
	case 'h':
		o->show_help = true;
		return 0;
	case 'V':
		o->show_version = true;
		return 0;
	case 'N':
		return bad(p, "mount -N is not supported");
	case 's':
	case 'n':
	case 'v':
	case 't':
		return 0;
	case ':':
		return bad(p, "option -%c needs a value", optopt);
	default:
		if (optopt)
			return bad(p, "unknown option -%c", optopt);
		return bad(p, "unknown option %s", argv[optind - 1]);
	}
}

static int parse_flags(struct parser *p, int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	const char *flags = p->mount_helper ? ":o:fdhVsnvt:N:" : ":o:fdhV";
	int flag;

	optind = 0;
	opterr = 0;
	while ((flag = getopt_long(argc, argv, flags, long_options, NULL)) != -1) {
		int ret = parse_flag(p, flag, argv);

		if (ret < 0)
			return ret;
	}
	return 0;
}

static int parse_positional(struct parser *p, int argc, char **argv)
{
	int ret;

	if (argc == 0)
		return bad(p, "no servers and no mountpoint given, see zkfs --help");
	if (argc == 1)
		return bad(p, "no mountpoint given, see zkfs --help");
	if (argc > 2)
		return bad(p, "%s: one argument too many, see zkfs --help", argv[2]);
	ret = set_source(p, argv[0]);
	return ret < 0 ? ret : set_mountpoint(p, argv[1]);
}

static int set_defaults(struct parser *p)
{
	struct opts *o = p->opts;

	o->session_ms = DEFAULT_SESSION_MS;
	o->uid = getuid();
	o->gid = getgid();
	o->umask = DEFAULT_UMASK;
	if (replace(p, &o->seq, DEFAULT_SEQ) < 0 ||
	    replace(p, &o->ephemeral, DEFAULT_EPHEMERAL) < 0 || replace(p, &o->dir, DEFAULT_DIR) < 0)
		return -EINVAL;
	return append_fuse_arg(p, "zkfs");
}

static int parse(struct parser *p, int argc, char **argv)
{
	int ret = set_defaults(p);

	if (ret == 0)
		ret = parse_flags(p, argc, argv);
	if (ret < 0 || p->opts->show_help || p->opts->show_version)
		return ret;
	ret = parse_positional(p, argc - optind, argv + optind);
	if (ret < 0)
		return ret;
	p->opts->foreground |= p->opts->debug;
	return append_fuse_names(p);
}

static bool is_mount_helper(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	return strncmp(slash ? slash + 1 : argv0, "mount.", strlen("mount.")) == 0;
}

int opts_parse(int argc, char **argv, struct opts *opts, char *why, size_t why_size)
{
	struct parser p = { .opts = opts, .why = why, .why_size = why_size };
	int ret;

	memset(opts, 0, sizeof(*opts));
	p.mount_helper = argc > 0 && is_mount_helper(argv[0]);
	ret = parse(&p, argc, argv);
	if (ret < 0)
		opts_free(opts);
	return ret;
}

void opts_free(struct opts *opts)
{
	free(opts->hosts);
	free(opts->chroot);
	free(opts->mountpoint);
	free(opts->auth_file);
	free(opts->seq);
	free(opts->ephemeral);
	free(opts->dir);
	for (int i = 0; i < opts->fuse_argc; i++)
		free(opts->fuse_argv[i]);
	free(opts->fuse_argv);
	memset(opts, 0, sizeof(*opts));
}

const char *opts_help(void)
{
	return "usage: zkfs [-f] [-d] [-o OPTIONS] HOSTS[/CHROOT] MOUNTPOINT\n"
	       "\n"
	       "Mounts a ZooKeeper tree. HOSTS is HOST[:PORT],... (port 2181), an IPv6 address\n"
	       "in brackets; CHROOT is the path of the znode that becomes the root.\n"
	       "\n"
	       "  -f, -d                stay in the foreground; -d prints debug messages too\n"
	       "  -h, --help            print this\n"
	       "  -V, --version         print the version\n"
	       "\n"
	       "options, separated by commas:\n"
	       "  seq=PATTERNS          directories whose new entries get a sequence number\n"
	       "                        (" DEFAULT_SEQ ")\n"
	       "  ephemeral=PATTERNS    files that live as long as they are held open\n"
	       "                        (" DEFAULT_EPHEMERAL ")\n"
	       "  dir=PATTERNS          znodes that are directories even with data in them\n"
	       "                        (" DEFAULT_DIR ")\n"
	       "  noseq, noephemeral, nodir\n"
	       "                        no such places\n"
	       "  session=SECONDS       session timeout to ask the server for (10)\n"
	       "  timeout=SECONDS       how long a call waits for the server (the session timeout)\n"
	       "  auth=FILE             credentials, lines of \"digest USER:PASSWORD\", mode 0600\n"
	       "  maxdata=BYTES[k|M]    most data of a znode (what a stock server accepts, about 1M)\n"
	       "  uid=USER, gid=GROUP   owner of everything (who mounts)\n"
	       "  umask=OCTAL           mode bits that nothing has (022)\n"
	       "  ro, rw                read-only or not (rw)\n"
	       "  mkroot                make CHROOT where it is missing\n"
	       "  nonempty              mount on a directory that is not empty\n"
	       "  allow_other, allow_root, auto_unmount, default_permissions, fsname=, subtype=,\n"
	       "  max_read=, [no]dev, [no]suid, [no]exec, [no]atime, [a]sync, dirsync, [...]context=\n"
	       "                        as in fuse(8) and mount(8)\n"
	       "\n"
	       "PATTERNS is a list of absolute paths separated by colons, with * for one component.\n";
}
