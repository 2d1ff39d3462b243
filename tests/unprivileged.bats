#!/usr/bin/env bats
# A user without privileges mounts, through fusermount3

load helper

USER_NAME=nobody

setup_file() {
	[[ $(id -u) == 0 ]] || return 0
	# as udev does where it runs; never set back, since other files' tests run beside
	[[ $(stat -c %a /dev/fuse) == *[67] ]] || chmod 0666 /dev/fuse
	zk_start
}
teardown_file() { [[ -z ${ZK_DIR:-} ]] || zk_stop; }

setup() {
	[[ -n ${ZK_DIR:-} ]] || skip 'only root can become another user'
	# a folder that the user can reach: the one of bats is root's own
	HOME_DIR=$(mktemp -d "${TMPDIR:-/tmp}/zkfs-user.XXXXXX")
	MNT=$HOME_DIR/mnt
	mkdir "$MNT"
	cp "$ZKFS" "$HOME_DIR/zkfs"
	chown -R "$USER_NAME" "$HOME_DIR"
	chmod 0755 "$HOME_DIR"
	DAEMON=
}

teardown() {
	local bad=0

	[[ -n ${ZK_DIR:-} ]] || return 0
	spawned_end
	if mounted "$MNT"; then
		printf 'still mounted: %s\n' "$MNT" >&2
		umount -l "$MNT"
		bad=1
	fi
	if [[ -n $DAEMON ]] && running "$DAEMON"; then
		kill -s KILL "$DAEMON"
		bad=1
	fi
	if [[ -e $HOME_DIR/log ]] && [[ -n $(log_unexpected "$HOME_DIR/log") ]]; then
		log_unexpected "$HOME_DIR/log" >&2
		bad=1
	fi
	rmdir "$MNT" || bad=1
	rm -rf "$HOME_DIR"
	return "$bad"
}

as_user() { runuser -u "$USER_NAME" -- "$@" 3>&-; }

# user_mount ARG...: DAEMON is its pid
user_mount() {
	local user group

	user=$(id -u "$USER_NAME") group=$(id -g "$USER_NAME")
	setpriv --reuid "$user" --regid "$group" --clear-groups "$HOME_DIR/zkfs" -f -o mkroot "$@" \
		"127.0.0.1:$ZK_PORT$CHROOT" "$MNT" </dev/null >"$HOME_DIR/log" 2>&1 3>&- &
	DAEMON=$!
	wait_until mounted "$MNT"
	wait_until as_user test -e "$MNT/.zkfs/status"
}

# user_umount: fusermount3 -u, and the daemon ends with status 0
user_umount() {
	as_user fusermount3 -u "$MNT"
	wait_until gone "$DAEMON"
	wait "$DAEMON"
}

@test "a user mounts, reads, writes and unmounts" {
	user_mount
	as_user bash --norc -c 'cd "$1" && echo hello >f && mkdir d && echo world >d/g && cat f d/g' bash "$MNT"
	zk_data /f hello
	zk_data /d/g world
	as_user stat -c '%U %a' "$MNT/f"
	same owner "$USER_NAME" "$(as_user stat -c %U "$MNT/f")"
	user_umount
}

@test "a user is told what others do" {
	zkcli create ""
	zkcli create /d
	user_mount
	spawn setpriv --reuid "$(id -u "$USER_NAME")" --regid "$(id -g "$USER_NAME")" --clear-groups \
		inotifywait -m --format '%e %f' "$MNT/d" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" </dev/null
	wait_until grep -q '^Watches established' "$BATS_TEST_TMPDIR/err"
	zkcli create /d/f hello
	wait_until grep -q '^CREATE f$' "$BATS_TEST_TMPDIR/out"
	zkcli set /d/f world
	wait_until equals 2 grep -c '^CLOSE_WRITE,CLOSE f$' "$BATS_TEST_TMPDIR/out"
	same data world "$(as_user cat "$MNT/d/f")"
	zkcli delete /d/f
	wait_until grep -q '^DELETE f$' "$BATS_TEST_TMPDIR/out"
	end "$SPAWN" || true
	user_umount
}

@test "ro of a user gives EROFS, and modes without write bits" {
	zkcli create ""
	zkcli create /f hello
	zkcli create /d
	user_mount -o ro
	fails_with 'Read-only file system' as_user bash --norc -c 'echo x >"$1"' bash "$MNT/f"
	fails_with 'Read-only file system' as_user mkdir "$MNT/d/e"
	fails_with 'Read-only file system' as_user rm -f "$MNT/f"
	same modes $'444\n555' "$(as_user stat -c %a "$MNT/f" "$MNT/d")"
	zk_data /f hello
	zkcli set /f world
	wait_until equals world as_user cat "$MNT/f"
	user_umount
}

@test "umount -l leaves no file below the mountpoint when something happens afterwards" {
	zkcli create ""
	zkcli create /d
	user_mount
	as_user ls -l "$MNT/d"
	as_user fusermount3 -u -z "$MNT"
	zkcli creates /d 20
	wait_until gone "$DAEMON"
	wait "$DAEMON"
	equals '' ls -A "$MNT"
}

@test "an authentication file that the user can't read is an error" {
	echo 'digest me:secret' >"$HOME_DIR/auth"
	chmod 0600 "$HOME_DIR/auth"
	fails_with "$HOME_DIR/auth: Permission denied" as_user "$HOME_DIR/zkfs" -o "auth=$HOME_DIR/auth" \
		"127.0.0.1:$ZK_PORT" "$MNT"
	not mounted "$MNT"
}

@test "a mountpoint that is not the user's is an error" {
	chown root "$MNT"
	fails_with '' as_user "$HOME_DIR/zkfs" "127.0.0.1:$ZK_PORT" "$MNT"
	not mounted "$MNT"
}
