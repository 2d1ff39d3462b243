#!/usr/bin/env bats
# mv is one atomic step

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	zkfs_mount a
	zkfs_mount b
	mkdir "$A/d"
	wait_until exists "$B/d"
}
teardown() { zkfs_umount_all; }

@test "mv of a file to a new name" {
	echo hello >"$A/d/f"
	wait_until exists "$B/d/f"
	inotify_start -i b "$B/d"
	mv "$A/d/f" "$A/d/g"
	zk_data /d/g hello
	zk_absent /d/f
	equals hello cat "$A/d/g"
	absent "$A/d/f"
	wait_until inotify_saw -i b 'DELETE f'
	wait_until inotify_saw -i b 'CLOSE_WRITE g'
	equals g ls "$B/d"
	same zxid "$(zkcli_stat /d pzxid)" "$(zkcli_stat /d/g czxid)"
}

@test "mv of a file onto another is one change of that one" {
	echo old >"$A/d/g"
	echo new >"$A/d/f"
	wait_until equals new cat "$B/d/f"
	wait_until exists "$B/d/g"
	inotify_start -i b "$B/d"
	inotify_start -i g "$B/d/g"
	mv -f "$A/d/f" "$A/d/g"
	zk_data /d/g new
	zk_version /d/g 1
	zk_absent /d/f
	equals new cat "$A/d/g"
	equals g ls "$A/d"
	wait_until inotify_saw -i g CLOSE_WRITE
	wait_until inotify_saw -i b 'DELETE f'
	wait_until inotify_saw -i b 'CLOSE_WRITE g'
	same 'creations and removals' 'DELETE f' "$(inotify_stream -i b | grep -E '^(CREATE|DELETE)')"
	equals new cat "$B/d/g"
}

@test "mv into another directory" {
	mkdir "$A/e"
	echo hello >"$A/d/f"
	mv "$A/d/f" "$A/e/"
	zk_data /e/f hello
	zk_absent /d/f
	equals f ls "$A/e"
	equals '' ls "$A/d"
}

@test "mv of a directory with all that is in it" {
	mkdir -p "$A/d/e/f"
	echo one >"$A/d/e/one"
	echo two >"$A/d/e/f/two"
	echo data >"$A/d/e/.data"
	wait_until exists "$B/d/e/f/two"
	mv "$A/d/e" "$A/g"
	zk_absent /d/e
	zk_data /g data
	zk_data /g/one one
	zk_data /g/f/two two
	wait_until equals two cat "$B/g/f/two"
	wait_until absent "$B/d/e"
	equals one cat "$A/g/one"
	equals two cat "$A/g/f/two"
	equals data cat "$A/g/.data"
}

@test "mv -n leaves what is there alone, also what another client has just made" {
	echo old >"$A/d/g"
	echo new >"$A/d/f"
	mv -n "$A/d/f" "$A/d/g" || true
	zk_data /d/g old
	zk_data /d/f new
	absent "$A/d/h"
	zkcli create /d/h other
	mv -n "$A/d/f" "$A/d/h" || true
	zk_data /d/f new
	same data other "$(zkcli get /d/h)"
}

@test "mv of a directory onto one that is not empty gives ENOTEMPTY" {
	mkdir -p "$A/d/e" "$A/g/e"
	echo x >"$A/g/e/f"
	run mv -T "$A/d/e" "$A/g/e"
	assert_failure
	assert_output --partial 'Directory not empty'
	zk_exists /d/e
	zk_exists /g/e/f
}

@test "mv of a file onto a directory and the other way round fail" {
	mkdir "$A/d/e"
	echo x >"$A/d/f"
	run mv -T "$A/d/f" "$A/d/e"
	assert_failure
	run mv -T "$A/d/e" "$A/d/f"
	assert_failure
	zk_data /d/f x
	zk_exists /d/e
}

@test "mv of what is gone gives ENOENT" {
	fails_with 'No such file or directory' mv "$A/d/none" "$A/d/f"
	zk_absent /d/f
}

@test "what is written aside and moved into place is published as one" {
	echo old >"$A/d/f"
	sh 'cd "$1" && { echo one; echo two; echo three; } >.f.new && mv -f .f.new f' "$A/d"
	zk_data /d/f $'one\ntwo\nthree'
	zk_version /d/f 1
	equals f ls -A "$A/d"
}

@test "an open file follows its znode's new name" {
	echo hello >"$A/d/f"
	exec {fd}<"$A/d/f"
	mv "$A/d/f" "$A/d/g"
	equals hello cat <&"$fd"
	exec {fd}<&-
}

@test "a subtree that does not fit one request is copied by mv" {
	mkdir "$A/d/e"
	head -c 700000 /dev/zero >"$A/d/e/one"
	head -c 700000 /dev/zero >"$A/d/e/two"
	mv "$A/d/e" "$A/g"
	zk_absent /d/e
	equals 700000 stat -c %s "$A/g/one"
	equals 700000 stat -c %s "$A/g/two"
}

@test "a renamed file has the times of the znode that it is now" {
	echo x >"$A/d/old"
	mv "$A/d/old" "$A/d/new"
	equals "$(($(zkcli_stat /d/new mtime) / 1000))" stat -c %Y "$A/d/new"
}
