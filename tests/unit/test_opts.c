/* SPDX-License-Identifier: Apache-2.0 */
/* opts.c: defaults, each option, what libfuse gets, and the one-line reason for everything that is wrong. */
#include "opts.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "tap.h"
#include "util.h"

static struct opts opts;
static char why[256];

/* argv is @prog and the words of @line, which are separated by single blanks. */
static int parse_as(const char *prog, const char *line)
{
	char *argv[32] = { NULL };
	char *copy = strdup(line), *next = copy;
	char *name = strdup(prog);
	int argc = 0, ret;

	argv[argc++] = name;
	while (copy && *line && argc < 31 && (argv[argc] = strsep(&next, " ")))
		argc++;
	argv[argc] = NULL;
	opts_free(&opts);
	snprintf(why, sizeof(why), "no reason");
	ret = opts_parse(argc, argv, &opts, why, sizeof(why));
	free(copy);
	free(name);
	return ret;
}

static int parse(const char *line)
{
	return parse_as("zkfs", line);
}

static int parse_option(const char *option)
{
	char line[512];

	snprintf(line, sizeof(line), "-o %s h:1 /", option);
	return parse(line);
}

static void refuses(const char *line, const char *reason)
{
	CHECK_INT(parse(line), -EINVAL);
	CHECK_STR(why, reason);
	CHECK(!opts.hosts && !opts.fuse_argv);
}

static void refuses_option(const char *option, const char *reason)
{
	char line[512];

	snprintf(line, sizeof(line), "-o %s h:1 /", option);
	refuses(line, reason);
}

/* What follows the program's name in fuse_argv, joined with blanks. */
static const char *fuse_args(void)
{
	static char joined[1024];

	joined[0] = '\0';
	for (int i = 1; i < opts.fuse_argc; i++) {
		size_t len = strlen(joined);

		snprintf(joined + len, sizeof(joined) - len, "%s%s", i > 1 ? " " : "",
			 opts.fuse_argv[i]);
	}
	return joined;
}

static void test_defaults(void)
{
	CHECK_INT(parse("h:1 /"), 0);
	CHECK_STR(opts.hosts, "h:1");
	CHECK_STR(opts.chroot, "");
	CHECK_STR(opts.mountpoint, "/");
	CHECK(!opts.foreground && !opts.debug && !opts.show_help && !opts.show_version);
	CHECK(!opts.ro && !opts.allow_other && !opts.nonempty && !opts.mkroot);
	CHECK_INT(opts.session_ms, 10000);
	CHECK_INT(opts.timeout_ms, 0);
	CHECK(opts.auth_file == NULL);
	CHECK_INT(opts.maxdata, 0);
	CHECK_INT(opts.uid, getuid());
	CHECK_INT(opts.gid, getgid());
	CHECK_INT(opts.umask, 022);
	CHECK_STR(opts.seq, "/tasks");
	CHECK_STR(opts.ephemeral, "/workers/*:/master:/tasks/*/owner");
	CHECK_STR(opts.dir, "/tasks:/workers:/assign:/tasks/*:/assign/*");
	CHECK_STR(opts.fuse_argv[0], "zkfs");
	CHECK_STR(fuse_args(), "-o fsname=h:1 -o subtype=zkfs");
	CHECK(opts.fuse_argv[opts.fuse_argc] == NULL);
}

static void hosts(const char *source, const char *want_hosts, const char *want_chroot)
{
	char line[256];

	snprintf(line, sizeof(line), "%s /", source);
	CHECK_INT(parse(line), 0);
	CHECK_STR(opts.hosts, want_hosts);
	CHECK_STR(opts.chroot, want_chroot);
}

static void test_hosts(void)
{
	hosts("h", "h:2181", "");
	hosts("a,b:1,10.0.0.1", "a:2181,b:1,10.0.0.1:2181", "");
	hosts("[::1],[fe80::1%eth0]:77", "[::1]:2181,[fe80::1%eth0]:77", "");
	hosts("h:65535/", "h:65535", "");
	hosts("h/a/b", "h:2181", "/a/b");
	hosts("h_1.example-x.org/\xc3\xa4", "h_1.example-x.org:2181", "/\xc3\xa4");
	CHECK_INT(parse("a:1,b:2/c /"), 0);
	CHECK_STR(fuse_args(), "-o fsname=a:1\\,b:2/c -o subtype=zkfs");
}

static void test_bad_hosts(void)
{
	refuses("", "no servers and no mountpoint given, see zkfs --help");
	refuses("h:1", "no mountpoint given, see zkfs --help");
	refuses("h:1 /a /b", "/b: one argument too many, see zkfs --help");
	refuses("/a /mnt", "/a: no server before the path");
	refuses("h, /mnt", "the list of servers has an empty entry");
	refuses("h,,i /mnt", "the list of servers has an empty entry");
	refuses(",h /mnt", "the list of servers has an empty entry");
	refuses("h: /mnt", "h:: not a port: ");
	refuses("h:0 /mnt", "h:0: not a port: 0");
	refuses("h:65536 /mnt", "h:65536: not a port: 65536");
	refuses("h:1x /mnt", "h:1x: not a port: 1x");
	refuses(":1 /mnt", ":1: not a server");
	refuses("h$ /mnt", "h$: not a server");
	refuses("::1 /mnt", "::1: not a server");
	refuses("fe80::1 /mnt", "fe80::1: an IPv6 address is written in brackets");
	refuses("[::1 /mnt", "[::1: not a server");
	refuses("[] /mnt", "[]: not a server");
	refuses("h/a/ /mnt", "chroot /a/: ends in a slash");
	refuses("h/a//b /mnt", "chroot /a//b: not a path that ZooKeeper takes");
	refuses("h/a/../b /mnt", "chroot /a/../b: not a path that ZooKeeper takes");
	refuses("h/\xff /mnt", "chroot /\xff: not a path that ZooKeeper takes");
}

static void test_flags(void)
{
	CHECK_INT(parse("-f h:1 /"), 0);
	CHECK(opts.foreground && !opts.debug);
	CHECK_INT(parse("h:1 / -d"), 0);
	CHECK(opts.foreground && opts.debug);
	CHECK_STR(fuse_args(), "-o debug -o fsname=h:1 -o subtype=zkfs");
	CHECK_INT(parse("-o debug h:1 /"), 0);
	CHECK(opts.foreground && opts.debug);
	CHECK_INT(parse("-fo ro h:1 /"), 0);
	CHECK(opts.foreground && opts.ro);
	CHECK_INT(parse("--help"), 0);
	CHECK(opts.show_help);
	CHECK_INT(parse("-V"), 0);
	CHECK(opts.show_version);
	CHECK_INT(parse("--version h:1"), 0);
	CHECK(opts.show_version);
	refuses("-x h:1 /", "unknown option -x");
	refuses("--frobnicate h:1 /", "unknown option --frobnicate");
	refuses("h:1 / -o", "option -o needs a value");
}

static void test_places(void)
{
	CHECK_INT(parse_option("seq=/q:/r/*,ephemeral=/e,dir=/d"), 0);
	CHECK_STR(opts.seq, "/q:/r/*");
	CHECK_STR(opts.ephemeral, "/e");
	CHECK_STR(opts.dir, "/d");
	CHECK_INT(parse_option("noseq,noephemeral,nodir"), 0);
	CHECK_STR(opts.seq, "");
	CHECK_STR(opts.ephemeral, "");
	CHECK_STR(opts.dir, "");
	CHECK_INT(parse_option("noseq,seq=/a\\,b"), 0);
	CHECK_STR(opts.seq, "/a,b");
	refuses_option("seq=tasks",
		       "option seq=tasks: not a list of absolute paths (* is a whole component)");
}

static void test_times(void)
{
	CHECK_INT(parse_option("session=4,timeout=0.25"), 0);
	CHECK_INT(opts.session_ms, 4000);
	CHECK_INT(opts.timeout_ms, 250);
	CHECK_INT(parse_option("session=1.001"), 0);
	CHECK_INT(opts.session_ms, 1001);
	refuses_option("session=", "option session=: not a number of seconds");
	refuses_option("session=4s", "option session=4s: not a number of seconds");
	refuses_option("session=-1", "option session=-1: not a number of seconds");
	refuses_option("session=inf", "option session=inf: not a number of seconds");
	refuses_option("session=1.2.3", "option session=1.2.3: not a number of seconds");
	refuses_option("timeout=0",
		       "option timeout=0: must be more than 0 and at most 2147483 seconds");
	refuses_option("timeout=0.0001",
		       "option timeout=0.0001: must be more than 0 and at most 2147483 seconds");
	refuses_option("timeout=3000000",
		       "option timeout=3000000: must be more than 0 and at most 2147483 seconds");
}

static void test_maxdata(void)
{
	CHECK_INT(parse_option("maxdata=1000"), 0);
	CHECK_INT(opts.maxdata, 1000);
	CHECK_INT(parse_option("maxdata=4k"), 0);
	CHECK_INT(opts.maxdata, 4096);
	CHECK_INT(parse_option("maxdata=2M"), 0);
	CHECK_INT(opts.maxdata, 2 << 20);
	refuses_option("maxdata=0",
		       "option maxdata=0: not a number of bytes (with k or M: of 1024 or 1048576)");
	refuses_option("maxdata=4T",
		       "option maxdata=4T: not a number of bytes (with k or M: of 1024 or 1048576)");
	refuses_option("maxdata=k",
		       "option maxdata=k: not a number of bytes (with k or M: of 1024 or 1048576)");
	refuses_option("maxdata=2048M",
		       "option maxdata=2048M: not a number of bytes (with k or M: of 1024 or 1048576)");
	refuses_option("maxdata=99999999999999999999",
		       "option maxdata=99999999999999999999: not a number of bytes (with k or M: of 1024 or "
		       "1048576)");
}

static void test_owner(void)
{
	CHECK_INT(parse_option("uid=root,gid=root,umask=077"), 0);
	CHECK_INT(opts.uid, 0);
	CHECK_INT(opts.gid, 0);
	CHECK_INT(opts.umask, 077);
	CHECK_INT(parse_option("uid=12345,gid=54321,umask=0"), 0);
	CHECK_INT(opts.uid, 12345);
	CHECK_INT(opts.gid, 54321);
	CHECK_INT(opts.umask, 0);
	refuses_option("uid=no-such-user", "option uid=no-such-user: no such user");
	refuses_option("gid=no-such-group", "option gid=no-such-group: no such group");
	refuses_option("uid=4294967295", "option uid=4294967295: no such user");
	refuses_option("uid=-1", "option uid=-1: no such user");
	refuses_option("umask=8", "option umask=8: not an octal number up to 777");
	refuses_option("umask=1000", "option umask=1000: not an octal number up to 777");
}

static void test_paths(void)
{
	char want[PATH_MAX + 16], cwd[PATH_MAX];

	CHECK(getcwd(cwd, sizeof(cwd)));
	CHECK_INT(parse("-o auth=a/b h:1 no-such-dir"), 0);
	snprintf(want, sizeof(want), "%s/a/b", cwd);
	CHECK_STR(opts.auth_file, want);
	snprintf(want, sizeof(want), "%s/no-such-dir", cwd);
	CHECK_STR(opts.mountpoint, want);
	CHECK_INT(parse("-o auth=/x h:1 /usr/../usr/"), 0);
	CHECK_STR(opts.auth_file, "/x");
	CHECK_STR(opts.mountpoint, "/usr");
	refuses_option("auth=", "option auth=: no file given");
}

static void test_switches(void)
{
	CHECK_INT(parse_option("ro,nonempty,mkroot,allow_other"), 0);
	CHECK(opts.ro && opts.nonempty && opts.mkroot && opts.allow_other);
	CHECK_STR(fuse_args(), "-o allow_other -o fsname=h:1 -o subtype=zkfs");
	CHECK_INT(parse_option("ro,rw"), 0);
	CHECK(!opts.ro);
	refuses_option("ro=1", "option ro takes no value");
	refuses_option("session", "option session needs a value: session=...");
}

static void test_passed_on(void)
{
	CHECK_INT(parse_option("nosuid,nodev,max_read=4096,auto_unmount,fsname=a\\,b,subtype=x"), 0);
	CHECK_STR(fuse_args(),
		  "-o nosuid -o nodev -o max_read=4096 -o auto_unmount -o fsname=a\\,b -o subtype=x");
	CHECK_INT(parse_option("defaults,noauto,user,nofail,_netdev,x-systemd.automount,relatime,,"),
		  0);
	CHECK_STR(fuse_args(), "-o fsname=h:1 -o subtype=zkfs");
}

static void test_unknown(void)
{
	refuses_option("bogus", "unknown option bogus");
	refuses_option("ro,bogus=secret", "unknown option bogus");
	refuses_option("hosts", "unknown option hosts");
	refuses_option("Ro", "unknown option Ro");
	refuses_option("a\nb", "unknown option a?b");
}

static void test_mount_helper(void)
{
	CHECK_INT(parse_as("/sbin/mount.zkfs", "h:1 / -s -n -v -o rw,noexec -t zkfs"), 0);
	CHECK(!opts.foreground);
	CHECK_STR(fuse_args(), "-o noexec -o fsname=h:1 -o subtype=zkfs");
	CHECK_INT(parse_as("mount.zkfs", "h:1 / -f"), -EINVAL);
	CHECK_STR(why, "mount -f is not supported");
	CHECK_INT(parse("-n h:1 /"), -EINVAL);
}

static void test_help(void)
{
	static const char *const names[] = { "seq=",	    "ephemeral=", "dir=",    "noseq",
					     "session=",    "timeout=",	  "auth=",   "maxdata=",
					     "uid=",	    "gid=",	  "umask=",  "ro, rw",
					     "allow_other", "mkroot",	  "nonempty" };
	const char *help = opts_help();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strstr(help, names[i]))
			TAP_FAIL("%s is not in --help", names[i]);
	}
	CHECK(help[strlen(help) - 1] == '\n');
}

int main(void)
{
	static const struct tap_test tests[] = {
		{ "without options everything has its default", test_defaults },
		{ "servers get the default port, the chroot is cut off", test_hosts },
		{ "servers, chroot and arguments that are wrong are named", test_bad_hosts },
		{ "-f, -d, --help and --version stand anywhere", test_flags },
		{ "places are replaced, emptied and checked", test_places },
		{ "times are in seconds with fractions", test_times },
		{ "maxdata takes k and M", test_maxdata },
		{ "owner and umask are names and numbers", test_owner },
		{ "files and the mountpoint become absolute", test_paths },
		{ "switches are on and off", test_switches },
		{ "options of libfuse and mount(8) are passed on or ignored", test_passed_on },
		{ "an unknown option is named", test_unknown },
		{ "mount(8) can call it as mount.zkfs", test_mount_helper },
		{ "--help lists every option", test_help },
	};
	int ret = tap_run(tests, ARRAY_SIZE(tests));

	opts_free(&opts);
	return ret;
}
