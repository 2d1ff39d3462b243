#!/usr/bin/env bats
# Making and changing znodes with what a shell has: mkdir, >, >>, rm

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() { zkfs_mount a; }
teardown() { zkfs_umount_all; }

zk_length() { same "length of $1" "$2" "$(zkcli_stat "$1" dataLength)"; }

# zk_sum PATH FILE: the data is what that file has
zk_sum() { cmp <(zkcli get "$1") "$2"; }

@test "mkdir makes a persistent znode with NULL data" {
	mkdir "$A/d"
	equals null zkcli isnull /d
	same owner 0 "$(zkcli_stat /d ephemeralOwner)"
	mkdir -p "$A/d/e/f" "$A/d/e"
	equals null zkcli isnull /d/e/f
}

@test "mkdir of what exists gives EEXIST" {
	mkdir "$A/d"
	fails_with 'File exists' mkdir "$A/d"
	echo x >"$A/f"
	fails_with 'File exists' mkdir "$A/f"
	zk_data /f x
}

@test "mkdir of what another client has just made gives EEXIST" {
	absent "$A/d"
	zkcli create /d hello
	fails_with 'File exists' mkdir "$A/d"
	zk_data /d hello
}

@test "echo creates a file with its data in it" {
	echo hello >"$A/f"
	zk_data /f hello
	zk_version /f 0
	equals hello cat "$A/f"
}

@test "nobody ever sees a new file empty" {
	zkfs_mount b
	# 100 files are made one after the other on one mount; on the other, each is read as soon as it is there
	sh 'exec 3< <(exec inotifywait -m -e create --format %f "$2" 2>&1)
		watcher=$!
		until [[ $line == Watches* ]]; do read -r -u 3 line || exit 1; done
		(for ((i = 0; i < 100; i++)); do echo "hello $i" >"$1/f$i"; done) &
		for ((i = 0; i < 100; i++)); do
			until [[ -e $2/f$i ]]; do read -r -t "$3" -u 3 line || exit 1; done
			read -r text <"$2/f$i"
			[[ $text == "hello $i" ]] || { echo "f$i: $text" && exit 1; }
		done
		kill "$watcher"' "$A" "$B" "$DEADLINE"
}

@test "overwriting is one new version" {
	echo one >"$A/f"
	echo two >"$A/f"
	zk_data /f two
	zk_version /f 1
	echo a longer three >"$A/f"
	zk_data /f 'a longer three'
	zk_version /f 2
	echo 4 >"$A/f"
	zk_data /f 4
	zk_version /f 3
	equals 4 cat "$A/f"
	equals 2 stat -c %s "$A/f"
}

@test "writing what is there already is a new version all the same" {
	echo one >"$A/f"
	echo one >"$A/f"
	zk_version /f 1
}

@test ": > f creates an empty file, at close" {
	sh ': >"$1"' "$A/f"
	zk_length /f 0
	equals data zkcli isnull /f
	zk_version /f 0
	sh 'exec 9>"$1"; [[ -e $1 ]]' "$A/g"
	zk_exists /g
}

@test ": > f on an existing file truncates it, as one version" {
	echo hello >"$A/f"
	sh ': >"$1"' "$A/f"
	zk_length /f 0
	equals data zkcli isnull /f
	zk_version /f 1
	equals 0 stat -c %s "$A/f"
}

@test "the truncation of a file that is then written is never seen" {
	zkfs_mount b
	zkcli create /f hello
	wait_until exists "$A/f"
	hold f "$A/f"
	zk_data /f hello
	equals hello cat "$B/f"
	release f
	wait_until zk_length /f 0
}

@test "touch creates an empty file, and leaves an existing one alone" {
	touch "$A/f"
	zk_length /f 0
	equals data zkcli isnull /f
	echo hello >"$A/g"
	touch "$A/g"
	zk_data /g hello
	equals hello cat "$A/g"
}

@test "appending is one new version with what was there before" {
	echo one >>"$A/f"
	zk_version /f 0
	echo two >>"$A/f"
	zk_version /f 1
	zk_data /f $'one\ntwo'
	equals $'one\ntwo' cat "$A/f"
}

@test "appending to what another client has just written loses nothing" {
	echo one >"$A/f"
	equals one cat "$A/f"
	zkcli set /f $'other\n'
	echo two >>"$A/f"
	zk_data /f $'other\ntwo'
}

@test "appends from many processes on two mounts are all there, none twice" {
	zkfs_mount b
	sh 'for i in {1..20}; do
			(for j in {1..5}; do echo "a$i.$j" >>"$1/f"; done) &
			(for j in {1..5}; do echo "b$i.$j" >>"$2/f"; done) &
		done
		wait' "$A" "$B"
	same lines "$(printf '%s\n' {a,b}{1..20}.{1..5} | sort)" "$(zkcli get /f | sort)"
	zk_version /f 199
	# each process's own are in order
	same order "$(printf '%s\n' a7.{1..5})" "$(zkcli get /f | grep '^a7\.')"
}

@test "seq 40000 > f is one commit, and one version" {
	seq 40000 >"$BATS_TEST_TMPDIR/seq"
	seq 40000 >"$A/f"
	zk_sum /f "$BATS_TEST_TMPDIR/seq"
	zk_version /f 0
	seq 40000 >"$A/f"
	zk_version /f 1
	cmp "$A/f" "$BATS_TEST_TMPDIR/seq"
}

@test "cp of a file of many buffers is one version, after the empty one that its O_EXCL makes" {
	head -c 300000 /dev/urandom >"$BATS_TEST_TMPDIR/file"
	cp "$BATS_TEST_TMPDIR/file" "$A/f"
	zk_sum /f "$BATS_TEST_TMPDIR/file"
	zk_version /f 1
	cmp "$A/f" "$BATS_TEST_TMPDIR/file"
}

@test "two writes are two versions" {
	sh '{ echo a; echo b; } >"$1"' "$A/f"
	zk_data /f $'a\nb'
	zk_version /f 1
	sh '{ echo c; echo d; } >"$1"' "$A/f"
	zk_data /f $'c\nd'
	zk_version /f 3
}

@test "what a write has written is there before the file is closed" {
	exec {fd}>"$A/f"
	echo a >&"$fd"
	zk_data /f a
	echo b >&"$fd"
	zk_data /f $'a\nb'
	exec {fd}>&-
	zk_version /f 1
}

@test "a full buffer of 4,096 bytes is kept until the next write" {
	local fifo=$BATS_TEST_TMPDIR/fifo fd

	# A shell closes a copy of the descriptor after each redirection, and that is a close: dd does not.
	mkfifo "$fifo"
	spawn dd if="$fifo" of="$A/f" bs=4096 count=2 status=none
	exec {fd}<>"$fifo"
	head -c 4096 /dev/zero >&"$fd"
	wait_until equals 4096 stat -c %s "$A/f"
	zk_absent /f
	echo end >&"$fd"
	wait_until gone "$SPAWN"
	exec {fd}>&-
	zk_length /f 4100
	zk_version /f 0
}

@test "a full buffer is committed at close" {
	head -c 8192 /dev/zero >"$A/f"
	zk_length /f 8192
	zk_version /f 0
	dd if=/dev/zero of="$A/f" bs=4096 count=5 status=none
	zk_length /f 20480
	zk_version /f 1
}

@test "a full buffer is committed by fsync" {
	dd if=/dev/zero of="$A/f" bs=4096 count=1 conv=fsync status=none
	zk_length /f 4096
	zk_version /f 0
	python3 - "$A/g" <<-'END'
		import os, sys
		fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
		os.write(fd, b"x" * 4096)
		os.fsync(fd)
		open(sys.argv[1] + "-synced", "w").close()
		os.close(fd)
	END
	zk_length /g 4096
	zk_version /g 0
	[[ $(zkcli_stat /g mzxid) -lt $(zkcli_stat /g-synced czxid) ]]
}

@test "writes that do not end on a multiple of 4,096 are committed one by one" {
	dd if=/dev/zero of="$A/f" bs=1000 count=3 status=none
	zk_length /f 3000
	zk_version /f 2
}

@test "set -C lets exactly one of all racers win" {
	zkfs_mount b
	sh 'set -C
		for i in {1..20}; do
			(echo "a$i" >"$1/f") 2>/dev/null && echo "a$i" >>"$3" &
			(echo "b$i" >"$2/f") 2>/dev/null && echo "b$i" >>"$3" &
		done
		wait' "$A" "$B" "$BATS_TEST_TMPDIR/winners"
	equals 1 grep -c . "$BATS_TEST_TMPDIR/winners"
	zk_data /f "$(<"$BATS_TEST_TMPDIR/winners")"
}

@test "mkdir lets exactly one of all racers win" {
	zkfs_mount b
	sh 'for i in {1..20}; do
			mkdir "$1/d" 2>/dev/null && echo "a$i" >>"$3" &
			mkdir "$2/d" 2>/dev/null && echo "b$i" >>"$3" &
		done
		wait' "$A" "$B" "$BATS_TEST_TMPDIR/winners"
	equals 1 grep -c . "$BATS_TEST_TMPDIR/winners"
}

@test "set -C creates at open, and says EEXIST to the next" {
	zkfs_mount b
	sh 'set -C; exec 9>"$1"; [[ $(cat "$1" | wc -c) == 0 ]] || exit; set -C; (exec 8>"$2") && exit 7
		exit 0' "$A/f" "$B/f" 2>"$BATS_TEST_TMPDIR/err"
	grep -q 'cannot overwrite existing file' "$BATS_TEST_TMPDIR/err"
	zk_exists /f
}

@test "truncate makes a file shorter and longer" {
	echo 'hello world' >"$A/f"
	truncate -s 5 "$A/f"
	same data hello "$(zkcli get /f)"
	zk_length /f 5
	truncate -s 8 "$A/f"
	zk_length /f 8
	cmp <(zkcli get /f) <(printf 'hello\0\0\0')
	truncate -s 0 "$A/f"
	zk_length /f 0
	equals data zkcli isnull /f
}

@test "writing in the middle of a file leaves the rest" {
	echo 'hello world' >"$A/f"
	sh 'printf HE 1<>"$1"' "$A/f"
	zk_data /f 'HEllo world'
	zk_version /f 1
	printf WORLD | dd of="$A/f" bs=5 seek=6 oflag=seek_bytes conv=notrunc status=none
	zk_data /f 'HEllo WORLD'
	zk_version /f 2
}

@test "writing behind the end fills with zeros" {
	printf x | dd of="$A/f" bs=1 seek=5 status=none
	cmp <(zkcli get /f) <(printf '\0\0\0\0\0x')
}

@test "an edit of what somebody else has changed since gives ESTALE, and no update is lost" {
	echo 'hello world' >"$A/f"
	exec {fd}<>"$A/f"
	zkcli set /f other
	run sh 'printf HE >&"$1"' "$fd"
	exec {fd}>&-
	assert_failure
	assert_output --partial 'Stale file handle'
	zk_data /f other
}

@test "binary data is kept byte for byte" {
	printf '\0\1\2\377\n\0' >"$A/f"
	cmp <(zkcli get /f) <(printf '\0\1\2\377\n\0')
	cmp "$A/f" <(printf '\0\1\2\377\n\0')
}

@test "the largest file that a stock server takes can be created and written, one byte more gives EFBIG" {
	local session path=$CHROOT/f most

	session=$(zkfs_status a session)
	most=$((1048528 - ${#path}))
	run sh 'head -c "$2" /dev/zero >"$1"' "$A/f" $((most + 1))
	assert_failure
	assert_output --partial 'File too large'
	zk_absent /f
	head -c "$most" /dev/zero >"$A/f"
	zk_length /f "$most"
	zk_version /f 0
	most=$((1048555 - ${#path}))
	run sh 'head -c "$2" /dev/zero >"$1"' "$A/f" $((most + 1))
	assert_failure
	assert_output --partial 'File too large'
	zk_version /f 0
	head -c "$most" /dev/zero >"$A/f"
	zk_length /f "$most"
	zk_version /f 1
	run sh 'echo x >>"$1"' "$A/f"
	assert_failure
	assert_output --partial 'File too large'
	zk_version /f 1
	fails_with 'File too large' truncate -s 1100000 "$A/f"
	zk_version /f 1
	# the connection has not been dropped
	same session "$session" "$(zkfs_status a session)"
	same resyncs "$(zkfs_status a resyncs)" "$(zkfs_status a resyncs)"
}

@test "maxdata= is the most that a file can have" {
	zkfs_mount b -o maxdata=1000
	head -c 1000 /dev/zero >"$B/f"
	zk_length /f 1000
	run sh 'echo x >>"$1"' "$B/f"
	assert_failure
	assert_output --partial 'File too large'
	run sh 'head -c 1001 /dev/zero >"$1"' "$B/g"
	assert_failure
	assert_output --partial 'File too large'
	zk_absent /g
	zk_length /f 1000
	zk_version /f 0
}

@test "an error of a write is that write's own" {
	zkfs_mount b -o maxdata=10
	run sh 'echo much too long for this >"$1" && echo not reached' "$B/f"
	assert_failure
	refute_output --partial 'not reached'
	zk_absent /f
}

@test "rm, rmdir and rm -r delete" {
	mkdir -p "$A/d/e/f" "$A/g"
	echo x >"$A/d/e/file"
	echo x >"$A/h"
	rm "$A/h"
	zk_absent /h
	rmdir "$A/g"
	zk_absent /g
	rm -r "$A/d"
	zk_absent /d
	equals '' ls -A "$A"
}

@test "rmdir of a directory that is not empty gives ENOTEMPTY" {
	mkdir "$A/d"
	zkcli create /d/f x
	fails_with 'Directory not empty' rmdir "$A/d"
	zk_exists /d/f
}

@test "rm of what is gone gives ENOENT, of a directory EISDIR, rmdir of a file ENOTDIR" {
	mkdir "$A/d"
	echo x >"$A/f"
	fails_with 'No such file or directory' rm "$A/none"
	fails_with 'Is a directory' rm "$A/d"
	fails_with 'Not a directory' rmdir "$A/f"
	fails_with 'Not a directory' mkdir "$A/f/x"
	fails_with 'Is a directory' sh 'echo x >"$1"' "$A/d"
	fails_with 'No such file or directory' sh 'echo x >"$1"' "$A/none/f"
	zk_data /f x
	zk_exists /d
}

@test "a file made where another client has just made one is overwritten" {
	absent "$A/f"
	zkcli create /f hello
	echo world >"$A/f"
	zk_data /f world
	zk_version /f 1
}

@test "what does not exist here gives EPERM" {
	local before

	echo x >"$A/f"
	before=$(zkcli tree /)
	fails_with 'Operation not permitted' ln "$A/f" "$A/g"
	fails_with 'Operation not permitted' ln -s f "$A/g"
	fails_with 'Operation not permitted' mkfifo "$A/g"
	fails_with 'Operation not permitted' mknod "$A/g" c 1 3
	fails_with 'PermissionError' python3 -c 'import socket, sys
try:
	socket.socket(socket.AF_UNIX).bind(sys.argv[1])
except PermissionError:
	sys.exit("PermissionError")' "$A/g"
	equals "$before" zkcli tree /
	equals f ls -A "$A"
}

@test "chmod and chown do what changes nothing, and give EPERM for the rest" {
	echo x >"$A/f"
	mkdir "$A/d"
	chmod 644 "$A/f"
	chmod 755 "$A/d"
	chown "$(id -u):$(id -g)" "$A/f"
	fails_with 'Operation not permitted' chmod 600 "$A/f"
	fails_with 'Operation not permitted' chmod 700 "$A/d"
	fails_with 'Operation not permitted' chown 12:34 "$A/f"
	equals "644 $(id -u)" stat -c '%a %u' "$A/f"
	equals 755 stat -c %a "$A/d"
}

@test "a znode that the session may not write to gives EACCES, and is left alone" {
	zkcli create /f hello
	zkcli create /d
	zkcli create /d/f hello
	zkcli setacl /f world:anyone:r
	zkcli setacl /d world:anyone:r
	wait_until exists "$A/d/f"
	fails_with 'Permission denied' sh 'echo x >"$1"' "$A/f"
	fails_with 'Permission denied' sh 'echo x >>"$1"' "$A/f"
	fails_with 'Permission denied' mkdir "$A/d/g"
	fails_with 'Permission denied' sh 'echo x >"$1"' "$A/d/g"
	fails_with 'Permission denied' rm -f "$A/d/f"
	zk_data /f hello
	zk_version /f 0
	equals f zkcli ls /d
	equals hello cat "$A/f"
	[[ -r $A/f && ! -w $A/f && ! -w $A/d ]]
	echo x >"$A/d/f"
	[[ -w $A/d/f ]]
}

@test "a znode that the session may not read gives EACCES" {
	zkcli create /f hello
	zkcli setacl /f world:anyone:a
	zkfs_mount c
	exists "$C/f"
	fails_with 'Permission denied' sh 'cat "$1"' "$C/f"
	[[ ! -r $C/f ]]
	zkcli setacl /f world:anyone:cdrwa
	equals hello cat "$C/f"
}

@test "an overwrite that fails leaves what was there" {
	zkfs_mount c -o maxdata=10
	echo one >"$C/f"
	fails_with 'File too large' sh 'echo "much too long for this" >"$1"' "$C/f"
	equals one cat "$C/f"
	zk_data /f one
	zk_version /f 0
}
