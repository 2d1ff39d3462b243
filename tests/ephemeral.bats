#!/usr/bin/env bats
# Ephemeral znodes live as long as somebody holds them open

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	zkfs_mount a
	zkfs_mount b
	mkdir "$A/workers"
	wait_until exists "$B/workers"
}
teardown() { zkfs_umount_all; }

@test "exec 9> makes an ephemeral znode of the mount's session" {
	hold w "$A/workers/w1"
	same owner "$(($(zkfs_status a session)))" "$(zkcli_stat /workers/w1 ephemeralOwner)"
	exists "$A/workers/w1"
	wait_until exists "$B/workers/w1"
	release w
	wait_until zk_absent /workers/w1
	wait_until absent "$A/workers/w1"
	wait_until absent "$B/workers/w1"
}

@test "it is there when open has returned, and gone when close has" {
	local i

	for i in {1..20}; do
		exec {fd}>"$A/workers/w1"
		zk_exists /workers/w1
		exec {fd}>&-
		wait_until zk_absent /workers/w1
	done
}

@test "a name can be taken again at once" {
	# shellcheck disable=SC2016 # expanded by that shell
	sh 'for i in {1..50}; do
			exec 9>"$1" || exit
			echo "$i" >&9 || exit
			[[ $(<"$1") == "$i" ]] || exit
			exec 9>&-
		done' "$A/workers/w1"
	wait_until zk_absent /workers/w1
}

@test "what is written to it is its data" {
	exec {fd}>"$A/workers/w1"
	echo "$HOSTNAME 123" >&"$fd"
	zk_data /workers/w1 "$HOSTNAME 123"
	equals "$HOSTNAME 123" cat "$A/workers/w1"
	wait_until equals "$HOSTNAME 123" cat "$B/workers/w1"
	exec {fd}>&-
	wait_until zk_absent /workers/w1
}

@test "it is told, to its own host and to others" {
	inotify_start -i a "$A/workers"
	inotify_start -i b "$B/workers"
	hold w "$A/workers/w1"
	wait_until inotify_saw -i a 'CREATE w1'
	wait_until inotify_saw -i b 'CREATE w1'
	release w
	wait_until inotify_saw -i a 'DELETE w1'
	wait_until inotify_saw -i b 'DELETE w1'
	same 'creations' '1 1' "$(inotify_count -i a 'CREATE w1') $(inotify_count -i b 'CREATE w1')"
	same 'deletions' '1 1' "$(inotify_count -i a 'DELETE w1') $(inotify_count -i b 'DELETE w1')"
}

@test "who watches the znode itself sees it go" {
	hold w "$A/workers/w1"
	wait_until exists "$B/workers/w1"
	inotify_start -i a "$A/workers/w1"
	inotify_start -i b "$B/workers/w1"
	release w
	wait_until inotify_saw -i a DELETE_SELF
	wait_until inotify_saw -i b DELETE_SELF
}

@test "it goes when its holder is killed" {
	hold w "$A/workers/w1"
	zk_exists /workers/w1
	kill -s KILL "$HOLD"
	wait_until zk_absent /workers/w1
	wait_until absent "$A/workers/w1"
}

@test "it stays as long as anybody has inherited it" {
	mkfifo "$BATS_TEST_TMPDIR/go"
	# shellcheck disable=SC2016 # expanded by that shell
	sh 'exec 9>"$1"; (read -r <"$2") & exit 0' "$A/workers/w1" "$BATS_TEST_TMPDIR/go"
	zk_exists /workers/w1
	# what another one does to it does not end it
	cat "$A/workers/w1"
	sh 'exec 8<"$1"; exec 8<&-' "$A/workers/w1"
	zk_exists /workers/w1
	echo >"$BATS_TEST_TMPDIR/go"
	wait_until zk_absent /workers/w1
}

@test "a child that ends does not take it with it" {
	exec {fd}>"$A/workers/w1"
	sh true
	(exit)
	/bin/true
	zk_exists /workers/w1
	exec {fd}>&-
	wait_until zk_absent /workers/w1
}

@test "reading it from another mount does not end it" {
	hold w "$A/workers/w1"
	wait_until exists "$B/workers/w1"
	cat "$B/workers/w1"
	hold r "$B/workers/w1" '<'
	release r
	zk_exists /workers/w1
	release w
	wait_until zk_absent /workers/w1
}

@test "set -C lets one master win, the next when that one has gone" {
	sh 'set -C; exec 9>"$1"; set -C; (exec 8>"$2") 2>/dev/null && exit 1; (exec 8>"$1") 2>/dev/null && exit 1
		exit 0' "$A/master" "$B/master"
	wait_until absent "$B/master"
	wait_until zk_absent /master
	sh 'set -C; exec 9>"$1" && echo b >&9 && [[ $(<"$1") == b ]]' "$B/master"
	wait_until zk_absent /master
}

@test "exactly one of 20 masters on two mounts wins" {
	sh 'set -C
		for i in {1..10}; do
			for master in "$1/master" "$2/master"; do
				(exec 9>"$master" && echo won >>"$3/won" && read -r <"$3/go") 2>>"$3/lost" &
			done
		done
		until [[ $(grep -c "cannot overwrite" "$3/lost") == 19 ]]; do read -r -t 0.02 <>"$3/never"; done
		wc -l <"$3/won"
		for i in {1..20}; do echo >&7; done 7<>"$3/go"' "$A" "$B" "$(race_dir)" >"$BATS_TEST_TMPDIR/out" || true
	equals 1 cat "$BATS_TEST_TMPDIR/out"
}

race_dir() {
	mkdir "$BATS_TEST_TMPDIR/race"
	mkfifo "$BATS_TEST_TMPDIR/race/go" "$BATS_TEST_TMPDIR/race/never"
	touch "$BATS_TEST_TMPDIR/race/lost" "$BATS_TEST_TMPDIR/race/won"
	echo "$BATS_TEST_TMPDIR/race"
}

@test "it goes with the mount" {
	hold w "$A/workers/w1"
	wait_until exists "$B/workers/w1"
	MOUNTS=(b)
	kill -s TERM "$DAEMON_a"
	wait_until absent "$B/workers/w1"
	end "$HOLD" || true
	zkfs_ended a
}

@test "ephemeral= chooses the places" {
	zkfs_mount c -o 'ephemeral=/e:/x/*'
	mkdir "$C/x"
	hold e "$C/e"
	hold y "$C/x/y"
	hold w "$C/workers/w1"
	[[ $(zkcli_stat /e ephemeralOwner) != 0 ]]
	[[ $(zkcli_stat /x/y ephemeralOwner) != 0 ]]
	zk_absent /workers/w1 || same owner 0 "$(zkcli_stat /workers/w1 ephemeralOwner)"
	release e
	release y
	release w
	wait_until zk_absent /e
	wait_until zk_absent /x/y
	wait_until zk_exists /workers/w1
}

@test "a directory in an ephemeral place is an ordinary one" {
	mkdir "$A/workers/d"
	same owner 0 "$(zkcli_stat /workers/d ephemeralOwner)"
}

@test "nothing can be made below an ephemeral znode" {
	hold w "$A/workers/w1"
	fails_with 'Not a directory' mkdir "$A/workers/w1/x"
	release w
}
