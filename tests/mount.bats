#!/usr/bin/env bats
# The command line, start, stop, and what is said when it can't be done

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	SERVER=127.0.0.1:$ZK_PORT
	DIR=$BATS_TEST_TMPDIR/mnt
	mkdir "$DIR"
}

teardown() {
	local pid

	# a daemon in the background that a failed test has left
	umount "$DIR" 2>/dev/null || umount -l "$DIR" 2>/dev/null || true
	pid=$(daemon_of "$DIR")
	[[ -z $pid ]] || wait_until gone "$pid" || kill -s KILL "$pid"
	zkfs_umount_all
	[[ ! -d $DIR ]] || rmdir "$DIR"
}

# daemon_of MOUNTPOINT: the pid
daemon_of() { pgrep -f -x -- ".*zkfs .*$1( .*)?" || true; }

# in_background ARG...: zkfs goes to the background, its status 0 and no word said; DAEMON is its pid
in_background() {
	run -0 "$ZKFS" "$@" 3>&-
	assert_output ''
	mounted "$DIR"
	DAEMON=$(daemon_of "$DIR")
	[[ $DAEMON =~ ^[0-9]+$ ]]
}

@test "--help says how it is used and which options there are" {
	local option

	run -0 --separate-stderr "$ZKFS" --help
	for option in seq= ephemeral= dir= session= timeout= auth= maxdata= uid= gid= umask= ro allow_other mkroot nonempty; do
		assert_output --partial "$option"
	done
	assert_equal "$stderr" ''
}

@test "--version says the version" {
	run -0 --separate-stderr "$ZKFS" --version
	assert_output --regexp '^zkfs [0-9]+\.[0-9.]+'
	assert_equal "$stderr" ''
}

@test "it goes to the background once the mount answers" {
	zkcli create -p /d/f hello
	CHROOT='' in_background "$SERVER" "$DIR"
	equals hello cat "$DIR$CHROOT/d/f"
	umount "$DIR"
	wait_until gone "$DAEMON"
}

@test "umount ends the daemon, its session and its ephemeral znodes" {
	local session

	in_background -o mkroot,ephemeral=/e "$SERVER$CHROOT" "$DIR"
	session=$(sed -n 's/^session //p' "$DIR/.zkfs/status")
	zk_has_session "$session"
	umount "$DIR"
	wait_until gone "$DAEMON"
	zk_lacks_session "$session"
}

@test "fusermount3 -u ends the daemon" {
	zkfs_mount a
	MOUNTS=()
	fusermount3 -u "$A"
	zkfs_ended a
}

@test "umount -l ends the daemon once the last file is closed" {
	zkfs_mount a
	MOUNTS=()
	echo hello >"$A/f"
	hold f "$A/f" '<'
	umount -l "$A"
	running "$DAEMON_a"
	release f
	zkfs_ended a
}

@test "SIGTERM ends the daemon with status 0" {
	zkfs_mount a
	MOUNTS=()
	kill -s TERM "$DAEMON_a"
	zkfs_ended a
}

@test "SIGINT ends the daemon with status 0" {
	# a shell without job control starts its background processes with SIGINT ignored
	env --default-signal=INT "$ZKFS" -f -o mkroot "$SERVER$CHROOT" "$DIR" >"$BATS_TEST_TMPDIR/log" 2>&1 3>&- &
	local pid=$!
	wait_until zkfs_answers "$DIR"
	kill -s INT "$pid"
	wait_until gone "$pid"
	wait "$pid"
	unmounted "$DIR"
}

@test "SIGTERM while a file is open deletes what is ephemeral at once" {
	zkfs_mount a -o ephemeral=/e
	MOUNTS=()
	hold e "$A/e"
	zk_exists /e
	kill -s TERM "$DAEMON_a"
	wait_until zk_absent /e
	end "$HOLD" || true
	zkfs_ended a
}

@test "SIGTERM commits what was written and not yet sent" {
	zkfs_mount a
	MOUNTS=()
	# a full buffer is kept until more comes
	exec {fd}>"$A/f"
	head -c 4096 /dev/zero | tr '\0' x >&"$fd"
	kill -s TERM "$DAEMON_a"
	wait_until zk_length /f 4096
	exec {fd}>&-
	zkfs_ended a
}

zk_length() { [[ $(zkcli_stat "$1" dataLength) == "$2" ]]; }

@test "mkroot makes the chroot, whatever its depth" {
	in_background -o mkroot "$SERVER$CHROOT/a/b/c" "$DIR"
	echo hello >"$DIR/f"
	zk_data /a/b/c/f hello
}

@test "a chroot that is absent is an error" {
	fails_with "$CHROOT/none" "$ZKFS" "$SERVER$CHROOT/none" "$DIR"
	unmounted "$DIR"
	zk_absent /none
}

@test "a mountpoint that is missing is an error" {
	fails_with "$BATS_TEST_TMPDIR/none: No such file or directory" \
		"$ZKFS" "$SERVER" "$BATS_TEST_TMPDIR/none"
	absent "$BATS_TEST_TMPDIR/none"
}

@test "a mountpoint that is a file is an error" {
	echo hello >"$BATS_TEST_TMPDIR/file"
	fails_with "$BATS_TEST_TMPDIR/file: Not a directory" "$ZKFS" "$SERVER" "$BATS_TEST_TMPDIR/file"
	equals hello cat "$BATS_TEST_TMPDIR/file"
}

@test "a mountpoint that is not empty is an error without nonempty" {
	touch "$DIR/file"
	fails_with 'not empty' "$ZKFS" "$SERVER" "$DIR"
	unmounted "$DIR"
	in_background -o nonempty "$SERVER" "$DIR"
	absent "$DIR/file"
	umount "$DIR"
	wait_until gone "$DAEMON"
	rm "$DIR/file"
}

@test "a server that is not there is an error within timeout=" {
	local port=1

	fails_with "127.0.0.1:$port" timeout "$DEADLINE" "$ZKFS" -o timeout=1 "127.0.0.1:$port" "$DIR"
	unmounted "$DIR"
}

@test "a server that does not answer is an error within timeout=" {
	zk_pause
	fails_with "$SERVER" timeout "$DEADLINE" "$ZKFS" -o timeout=1 "$SERVER" "$DIR"
	zk_resume
	unmounted "$DIR"
}

@test "a server whose name does not resolve is an error" {
	fails_with 'no-such-host.invalid' timeout "$DEADLINE" "$ZKFS" -o timeout=1 no-such-host.invalid:2181 "$DIR"
	unmounted "$DIR"
}

@test "one server of the list that answers is enough" {
	in_background -o mkroot "127.0.0.1:1,$SERVER,127.0.0.1:2$CHROOT" "$DIR"
	echo hello >"$DIR/f"
	zk_data /f hello
}

@test "an option that does not exist is an error" {
	fails_with 'florp' "$ZKFS" -o florp "$SERVER" "$DIR"
	unmounted "$DIR"
}

@test "an option with a wrong value is an error" {
	local option

	for option in session=x session=-1 session= timeout=1x maxdata=-5 umask=9 uid=abc seq=tasks ephemeral=a:b; do
		fails_with "${option%%=*}" "$ZKFS" -o "$option" "$SERVER" "$DIR"
	done
	unmounted "$DIR"
}

@test "missing arguments are an error" {
	fails_with 'zkfs: ' "$ZKFS"
	fails_with 'zkfs: ' "$ZKFS" "$SERVER"
	fails_with 'zkfs: ' "$ZKFS" "$SERVER" "$DIR" more
	unmounted "$DIR"
}

@test "a switch that does not exist is an error" {
	fails_with 'zkfs: ' "$ZKFS" --florp "$SERVER" "$DIR"
	unmounted "$DIR"
}

@test "-o takes several options, and may be given again" {
	in_background -o mkroot,umask=077 -o uid=12,gid=34 "$SERVER$CHROOT" "$DIR"
	echo hello >"$DIR/f"
	equals '600 12 34' stat -c '%a %u %g' "$DIR/f"
	equals '700 12 34' stat -c '%a %u %g' "$DIR"
}

@test "the options may stand last, as mount(8) puts them" {
	in_background "$SERVER$CHROOT" "$DIR" -o rw,mkroot
	echo hello >"$DIR/f"
	zk_data /f hello
}

@test "the mount table says what is mounted" {
	in_background -o mkroot "$SERVER$CHROOT" "$DIR"
	equals "$SERVER$CHROOT fuse.zkfs" findmnt -n -o SOURCE,FSTYPE "$DIR"
}

@test "an authentication file that is missing is an error" {
	fails_with "$BATS_TEST_TMPDIR/auth: No such file or directory" \
		"$ZKFS" -o "auth=$BATS_TEST_TMPDIR/auth" "$SERVER" "$DIR"
	unmounted "$DIR"
}

@test "an authentication file that others may read is an error" {
	echo 'digest me:secret' >"$BATS_TEST_TMPDIR/auth"
	chmod 0644 "$BATS_TEST_TMPDIR/auth"
	fails_with "$BATS_TEST_TMPDIR/auth" "$ZKFS" -o "auth=$BATS_TEST_TMPDIR/auth" "$SERVER" "$DIR"
	run "$ZKFS" -o "auth=$BATS_TEST_TMPDIR/auth" "$SERVER" "$DIR" 3>&-
	assert_output --partial 0600
	refute_output --partial secret
	unmounted "$DIR"
}

@test "an authentication file with nonsense in it is an error that does not repeat it" {
	echo 'secretnonsense' >"$BATS_TEST_TMPDIR/auth"
	chmod 0600 "$BATS_TEST_TMPDIR/auth"
	fails_with "$BATS_TEST_TMPDIR/auth" "$ZKFS" -o "auth=$BATS_TEST_TMPDIR/auth" "$SERVER" "$DIR"
	run "$ZKFS" -o "auth=$BATS_TEST_TMPDIR/auth" "$SERVER" "$DIR" 3>&-
	refute_output --partial secretnonsense
	unmounted "$DIR"
}

@test "auth= authenticates with digest, and what is made belongs to who made it" {
	echo 'digest me:secret' >"$BATS_TEST_TMPDIR/auth"
	chmod 0600 "$BATS_TEST_TMPDIR/auth"
	zkfs_mount a -o "auth=$BATS_TEST_TMPDIR/auth"
	zkfs_mount b
	echo hello >"$A/f"
	equals hello cat "$A/f"
	run -0 getfattr --absolute-names --only-values -n user.zk.acl "$A/f"
	assert_output --regexp '^digest:me:[^,]*:cdrwa$'
	run sh 'cat "$1"' "$B/f"
	assert_failure
	assert_output --partial 'Permission denied'
	run sh 'echo x >"$1"' "$B/f"
	assert_failure
	assert_output --partial 'Permission denied'
	equals hello cat "$A/f"
	# the password is nowhere to be seen
	run grep -r secret "/proc/$DAEMON_a/cmdline" "/proc/$DAEMON_a/environ" "$A.log" "$A/.zkfs/status"
	assert_failure
}

@test "two mounts of the same tree on one host" {
	zkfs_mount a
	zkfs_mount b
	echo hello >"$A/f"
	wait_until equals hello cat "$B/f"
}

@test "the daemon keeps nothing of the folder and terminal that started it" {
	mkdir "$BATS_TEST_TMPDIR/cwd"
	(cd "$BATS_TEST_TMPDIR/cwd" && "$ZKFS" -o mkroot "$SERVER$CHROOT" ../mnt 3>&-)
	mounted "$DIR"
	DAEMON=$(pgrep -f -x -- '.*zkfs .*\.\./mnt')
	equals / readlink "/proc/$DAEMON/cwd"
	equals "$DAEMON" ps -o sid= -p "$DAEMON" ||
		not equals "$(ps -o sid= -p $$)" ps -o sid= -p "$DAEMON"
	umount "$DIR"
	wait_until gone "$DAEMON"
}
