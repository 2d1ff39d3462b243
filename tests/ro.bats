#!/usr/bin/env bats
# A mount that changes nothing

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	zkcli create ""
	zkcli create /d
	zkcli create /d/f hello
	zkfs_mount a -o ro
}
teardown() { zkfs_umount_all; }

@test "ro gives EROFS for every change, and nothing is changed" {
	local before

	before=$(zkcli tree /)
	fails_with 'Read-only file system' mkdir "$A/d/e"
	fails_with 'Read-only file system' sh 'echo x >"$1"' "$A/d/f"
	fails_with 'Read-only file system' sh 'echo x >>"$1"' "$A/d/f"
	fails_with 'Read-only file system' sh 'echo x >"$1"' "$A/d/g"
	fails_with 'Read-only file system' rm -f "$A/d/f"
	fails_with 'Read-only file system' rmdir "$A/d"
	fails_with 'Read-only file system' mv "$A/d/f" "$A/d/g"
	fails_with 'Read-only file system' truncate -s 0 "$A/d/f"
	fails_with 'Read-only file system' chmod 600 "$A/d/f"
	equals "$before" zkcli tree /
	equals hello cat "$A/d/f"
}

@test "ro shows itself: mount table, test -w" {
	[[ ! -w $A/d/f && ! -w $A/d && -r $A/d/f ]]
	findmnt -n -o OPTIONS "$A" | grep -q '^ro,'
}

@test "what others change is told all the same" {
	inotify_start -i d "$A/d"
	inotify_start -i f "$A/d/f"
	zkcli create /d/g world
	wait_until inotify_saw -i d 'CLOSE_WRITE g'
	zkcli set /d/f changed
	wait_until inotify_saw -i d 'CLOSE_WRITE f'
	equals changed cat "$A/d/f"
	zkcli create /d/e
	wait_until inotify_saw -i d 'CREATE,ISDIR e'
	zkcli delete /d/f
	wait_until inotify_saw -i d 'DELETE f'
	wait_until inotify_saw -i f DELETE_SELF
	equals $'e\ng' ls "$A/d"
}

@test "ro unmounts, and leaves no other mount of the tree behind" {
	zkfs_umount a
	not grep -F "$A" /proc/self/mountinfo
}
