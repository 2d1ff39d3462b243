#!/usr/bin/env bats
# What others do to the tree is told by inotify, as if a local process had done it

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	zkfs_mount a
	zkfs_mount b
	zkcli create /d
	T=$BATS_TEST_TMPDIR/local # what a local filesystem tells for the same
	mkdir -p "$T/d"
	wait_until exists "$A/d"
	wait_until exists "$B/d"
}
teardown() { zkfs_umount_all; }

# watch_all PATH...: every event, on both mounts and the local filesystem
watch_all() {
	inotify_start -a -i a -b "$A" "${@/#/$A/}"
	inotify_start -a -i b -b "$B" "${@/#/$B/}"
	inotify_start -a -i t -b "$T" "${@/#/$T/}"
}

# told_alike 'EVENT name': once that has come, all three were told the same
told_alike() {
	local id

	for id in t a b; do
		wait_until inotify_saw -i "$id" "$1"
	done
	same 'events on a (local ones expected)' "$(inotify_stream -i t)" "$(inotify_stream -i a)"
	same 'events on b (local ones expected)' "$(inotify_stream -i t)" "$(inotify_stream -i b)"
}

told() { inotify_stream -i "$1" | grep -E "$2" || true; }

# ---- for who watches the directory ----

@test "a file that is created with data" {
	watch_all d
	zkcli create /d/f hello
	sh 'printf hello >"$1"' "$T/d/f"
	told_alike 'CLOSE_WRITE d/f'
	equals hello cat "$A/d/f"
}

@test "an empty file that is created" {
	watch_all d
	zkcli create /d/f ''
	sh ': >"$1"' "$T/d/f"
	told_alike 'CLOSE_WRITE d/f'
}

@test "an ephemeral znode that is created, and goes with its session" {
	watch_all d
	zkcli -S other create -e /d/e hello
	sh 'printf hello >"$1"' "$T/d/e"
	for id in t a b; do wait_until inotify_saw -i "$id" 'CLOSE_WRITE d/e'; done
	zkcli -S other close
	rm "$T/d/e"
	told_alike 'DELETE d/e'
}

@test "a directory that is created and removed" {
	watch_all d
	zkcli create /d/e
	mkdir "$T/d/e"
	for id in t a b; do wait_until inotify_saw -i "$id" 'CREATE,ISDIR d/e'; done
	zkcli delete /d/e
	rmdir "$T/d/e"
	told_alike 'DELETE,ISDIR d/e'
}

@test "a file that is changed, with more, less and as many bytes" {
	zkcli create /d/f hello
	sh 'printf hello >"$1"' "$T/d/f"
	wait_until exists "$A/d/f"
	wait_until exists "$B/d/f"
	watch_all d
	for text in world worlds six ''; do
		zkcli set /d/f "$text"
		sh 'printf %s "$2" 1<>"$1"' "$T/d/f" "${text:-x}"
	done
	zkcli create /d/end ''
	sh ': >"$1"' "$T/d/end"
	told_alike 'CLOSE_WRITE d/end'
	equals '' cat "$A/d/f"
}

@test "a file that is deleted" {
	zkcli create /d/f hello
	sh 'printf hello >"$1"' "$T/d/f"
	wait_until exists "$A/d/f"
	wait_until exists "$B/d/f"
	watch_all d
	zkcli delete /d/f
	rm "$T/d/f"
	told_alike 'DELETE d/f'
	absent "$A/d/f"
}

@test "a file that is deleted and nobody has ever looked up" {
	zkcli create /d/f hello
	sh 'printf hello >"$1"' "$T/d/f"
	zkfs_mount c
	exists "$C/d"
	inotify_start -i c "$C/d"
	zkcli delete /d/f
	wait_until inotify_saw -i c 'DELETE f'
	same events 'DELETE f' "$(inotify_stream -i c)"
}

@test "the data of a directory that is set, changed and set to NULL" {
	stays_directory /d
	watch_all d
	zkcli set /d hello
	sh 'printf hello >"$1"' "$T/d/.data"
	for id in t a b; do wait_until inotify_saw -i "$id" 'CLOSE_WRITE d/.data'; done
	zkcli set /d world
	sh 'printf world 1<>"$1"' "$T/d/.data"
	zkcli set /d
	rm "$T/d/.data"
	told_alike 'DELETE d/.data'
	absent "$A/d/.data"
}

@test "writing .data into an empty directory tells of nothing else" {
	inotify_start -i a "$A" "$A/d"
	inotify_start -i b "$B" "$B/d"
	echo hello >"$A/d/.data"
	zkcli create /d/end ''
	for id in a b; do
		wait_until inotify_saw -i "$id" 'CLOSE_WRITE d/end'
		same "events on $id" 'CREATE d/.data
MODIFY d/.data
CLOSE_WRITE d/.data
CREATE d/end
CLOSE_WRITE d/end' "$(inotify_stream -i "$id")"
	done
}

@test "a subtree that is created" {
	inotify_start -i a "$A/d"
	inotify_start -i b "$B/d"
	zkcli create -p /d/e/f/g hello
	wait_until inotify_saw -i a 'CREATE,ISDIR e'
	wait_until inotify_saw -i b 'CREATE,ISDIR e'
	equals hello cat "$A/d/e/f/g"
	equals hello cat "$B/d/e/f/g"
}

@test "a subtree that is deleted is told to those who watch inside" {
	zkcli create -p /d/e/f
	zkcli create /d/e/f/g hello
	mkdir -p "$T/d/e/f"
	printf hello >"$T/d/e/f/g"
	wait_until exists "$A/d/e/f/g"
	wait_until exists "$B/d/e/f/g"
	inotify_start -i a -b "$A" "$A/d" "$A/d/e" "$A/d/e/f" "$A/d/e/f/g"
	inotify_start -i b -b "$B" "$B/d" "$B/d/e" "$B/d/e/f" "$B/d/e/f/g"
	inotify_start -i t -b "$T" "$T/d" "$T/d/e" "$T/d/e/f" "$T/d/e/f/g"
	zkcli deleteall /d/e
	sh 'cd "$1" && rm e/f/g && rmdir e/f e' "$T/d"
	told_alike 'DELETE,ISDIR d/e'
}

@test "a file that becomes a directory" {
	zkcli create /d/f hello
	wait_until exists "$A/d/f"
	wait_until exists "$B/d/f"
	inotify_start -i a "$A/d"
	inotify_start -i b "$B/d"
	zkcli create /d/f/g world
	wait_until inotify_saw -i a 'CREATE,ISDIR f'
	wait_until inotify_saw -i b 'CREATE,ISDIR f'
	same events $'DELETE f\nCREATE,ISDIR f' "$(inotify_stream -i a)"
	same events $'DELETE f\nCREATE,ISDIR f' "$(inotify_stream -i b)"
	equals world cat "$A/d/f/g"
	equals hello cat "$A/d/f/.data"
}

@test "a name that is replaced by another znode" {
	zkcli create /d/f hello
	wait_until exists "$A/d/f"
	inotify_start -i a "$A/d"
	zkcli transaction delete /d/f create /d/f
	wait_until inotify_saw -i a 'CREATE f'
	same events $'DELETE f\nCREATE f' "$(told a '^(CREATE|DELETE)')"
	equals '' cat "$A/d/f"
}

@test "changes in one transaction are all told" {
	inotify_start -i a "$A/d"
	zkcli transaction create /d/x create /d/y delete /d/x create /d/z
	wait_until inotify_saw -i a 'CLOSE_WRITE z'
	equals $'y\nz' ls "$A/d"
	inotify_saw -i a 'CREATE y'
	inotify_saw -i a 'CREATE z'
	same x "$(inotify_count -i a 'CREATE x')" "$(inotify_count -i a 'DELETE x')"
}

# ---- for who watches the znode itself ----

@test "who watches a file sees it change and go" {
	zkcli create /d/f hello
	printf hello >"$T/d/f"
	wait_until exists "$A/d/f"
	wait_until exists "$B/d/f"
	watch_all d/f
	zkcli set /d/f world
	sh 'printf world 1<>"$1"' "$T/d/f"
	for id in t a b; do wait_until inotify_saw -i "$id" 'CLOSE_WRITE d/f'; done
	zkcli delete /d/f
	rm "$T/d/f"
	told_alike 'DELETE_SELF d/f'
}

@test "who watches a directory sees it go" {
	watch_all d
	zkcli delete /d
	rmdir "$T/d"
	told_alike 'DELETE_SELF d'
}

@test "who watches .data sees it change and go" {
	stays_directory /d
	zkcli set /d hello
	printf hello >"$T/d/.data"
	wait_until exists "$A/d/.data"
	wait_until exists "$B/d/.data"
	watch_all d/.data
	zkcli set /d world
	sh 'printf world 1<>"$1"' "$T/d/.data"
	for id in t a b; do wait_until inotify_saw -i "$id" 'CLOSE_WRITE d/.data'; done
	zkcli set /d
	rm "$T/d/.data"
	told_alike 'DELETE_SELF d/.data'
}

# ---- from the other mount ----

# changes_on MOUNT TIMES: what is removed again is told to both first, since a znode that has gone before its state could
# be fetched is told as an empty file
changes_on() {
	local id

	sh 'cd "$1" && echo one >f && echo two >>f && : >g && mkdir e && echo x >.data' "$1/d"
	for id in a b; do wait_until equals "$2" inotify_count -i "$id" 'CLOSE_WRITE .data'; done
	sh 'cd "$1" && rmdir e && rm f && rm .data && : >end' "$1/d"
	for id in a b; do wait_until equals "$2" inotify_count -i "$id" 'CLOSE_WRITE end'; done
}

@test "what is done on one mount is told alike on both" {
	inotify_start -a -i a "$A/d"
	inotify_start -a -i b "$B/d"
	changes_on "$A" 1
	changes_on "$B" 2
	same changes "$(told a '^(CREATE|DELETE)')" "$(told b '^(CREATE|DELETE)')"
	same 'the first part' "CREATE f
OPEN f
MODIFY f
CLOSE_WRITE f
OPEN f
MODIFY f
CLOSE_WRITE f
CREATE g
OPEN g
CLOSE_WRITE g
CREATE,ISDIR e
CREATE .data
OPEN .data
MODIFY .data
CLOSE_WRITE .data
DELETE,ISDIR e
DELETE f
DELETE .data
CREATE end
OPEN end
CLOSE_WRITE end" "$(inotify_stream -i b | head -n 21)"
}

@test "what a mount has done itself is not told a second time" {
	inotify_start -i a "$A/d"
	sh 'cd "$1" && echo one >f && echo two >f && mkdir e && rm f && rmdir e' "$A/d"
	zkcli create /d/end ''
	wait_until inotify_saw -i a 'CLOSE_WRITE end'
	same events 'CREATE f
MODIFY f
CLOSE_WRITE f
MODIFY f
CLOSE_WRITE f
CREATE,ISDIR e
DELETE f
DELETE,ISDIR e
CREATE end
CLOSE_WRITE end' "$(inotify_stream -i a | uniq)"
}

@test "the same name made and removed in turn by two mounts" {
	local i

	inotify_start -i a "$A/d"
	inotify_start -i b "$B/d"
	for i in {1..15}; do
		echo "$i" >"$A/d/f"
		wait_until exists "$B/d/f"
		rm "$B/d/f"
		wait_until absent "$A/d/f"
	done
	zkcli create /d/end ''
	wait_until inotify_saw -i a 'CREATE end'
	wait_until inotify_saw -i b 'CREATE end'
	same 'events on a' "$(for i in {1..15}; do printf 'CREATE f\nDELETE f\n'; done)" "$(told a ' f$' | grep -v -e MODIFY -e CLOSE)"
	same 'events on b' "$(for i in {1..15}; do printf 'CREATE f\nDELETE f\n'; done)" "$(told b ' f$' | grep -v -e MODIFY -e CLOSE)"
}

# ---- many ----

@test "1,000 files created at once are each told once, in order" {
	inotify_start -i a "$A/d"
	inotify_start -i b "$B/d"
	zkcli creates /d 1000
	wait_until inotify_saw -i a 'CLOSE_WRITE n999'
	wait_until inotify_saw -i b 'CLOSE_WRITE n999'
	same 'creations on a' "$(printf 'CREATE n%s\n' {0..999})" "$(told a '^CREATE')"
	same 'creations on b' "$(printf 'CREATE n%s\n' {0..999})" "$(told b '^CREATE')"
	equals 1000 bash -c 'ls "$1" | wc -l' bash "$A/d"
}

@test "1,000 changes of one file are each told once" {
	zkcli create /d/f 0
	wait_until exists "$A/d/f"
	wait_until exists "$B/d/f"
	inotify_start -i a "$A/d"
	inotify_start -i b "$B/d"
	zkcli sets /d/f 1000
	zkcli create /d/end ''
	wait_until inotify_saw -i a 'CLOSE_WRITE end'
	wait_until inotify_saw -i b 'CLOSE_WRITE end'
	same 'changes on a' 1000 "$(inotify_count -i a 'CLOSE_WRITE f')"
	same 'changes on b' 1000 "$(inotify_count -i b 'CLOSE_WRITE f')"
	equals 1000 cat "$A/d/f"
	equals 1000 cat "$B/d/f"
}

@test "a file made and removed 200 times at once: the stream makes sense, and its end is true" {
	local id

	inotify_start -i a "$A/d"
	inotify_start -i b "$B/d"
	# shellcheck disable=SC2046 # words
	zkcli transaction $(for _ in {1..100}; do echo create /d/f delete /d/f; done)
	# shellcheck disable=SC2046 # words
	zkcli transaction $(for _ in {1..100}; do echo create /d/f delete /d/f; done) create /d/f
	zkcli create /d/end ''
	for id in a b; do
		wait_until inotify_saw -i "$id" 'CREATE end'
		# never created twice, nor deleted twice; the last change is told
		same "repeated on $id" '' "$(told "$id" '^(CREATE|DELETE) f$' | uniq -d)"
		same "last on $id" 'CREATE f' "$(told "$id" '^(CREATE|DELETE) f$' | tail -n 1)"
	done
	exists "$A/d/f"
	exists "$B/d/f"
}

@test "inotifywait -m -r on the mount sees what zkCli does" {
	zkcli create /d/e
	wait_until exists "$A/d/e"
	inotify_start -r -i a "$A"
	zk_shell create "$CHROOT/d/e/f" hello
	wait_until inotify_saw -i a 'CREATE d/e/f'
	zk_shell set "$CHROOT/d/e/f" world
	zk_shell delete "$CHROOT/d/e/f"
	wait_until inotify_saw -i a 'DELETE d/e/f'
	zk_shell create "$CHROOT/d/g"
	wait_until inotify_saw -i a 'CREATE,ISDIR d/g'
	same events "CREATE d/e/f
MODIFY d/e/f
CLOSE_WRITE d/e/f
MODIFY d/e/f
CLOSE_WRITE d/e/f
DELETE d/e/f
CREATE,ISDIR d/g" "$(inotify_stream -i a)"
}

@test "a working directory and open files survive what happens around them" {
	zkcli create /d/e
	zkcli create /d/e/f hello
	wait_until exists "$A/d/e/f"
	cd "$A/d/e"
	exec {fd}<f
	zkcli create /d/e/g x
	zkcli set /d/e x
	zkcli set /d/e/f world
	wait_until equals world cat f
	equals x cat .data
	equals "$A/d/e" pwd -P
	exec {fd}<&-
	cd /
}

@test "an event in a directory where somebody is busy does not wait for another directory" {
	zkcli create /e
	wait_until exists "$A/e"
	inotify_start -i d "$A/d"
	inotify_start -i e "$A/e"
	zkcli creates /d 300
	zkcli create /e/f x
	wait_until inotify_saw -i e 'CREATE f'
	wait_until inotify_saw -i d 'CREATE n299'
}
