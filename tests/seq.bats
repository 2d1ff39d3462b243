#!/usr/bin/env bats
# Sequential znodes: task- becomes task-0000000000

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	zkfs_mount a
	zkfs_mount b
	mkdir "$A/tasks"
	wait_until exists "$B/tasks"
}
teardown() { zkfs_umount_all; }

# creations and removals only, as one who waits for tasks sees them
told() { inotify_stream -i "$1" | grep -E '^(CREATE|DELETE|MOVED)' || true; }

@test "mkdir tasks/task- makes a sequential znode" {
	mkdir "$A/tasks/task-"
	equals task-0000000000 zkcli ls /tasks
	equals task-0000000000 ls "$A/tasks"
	equals null zkcli isnull /tasks/task-0000000000
	same owner 0 "$(zkcli_stat /tasks/task-0000000000 ephemeralOwner)"
	mkdir "$A/tasks/task-"
	equals $'task-0000000000\ntask-0000000001' ls "$A/tasks"
	wait_until equals $'task-0000000000\ntask-0000000001' ls "$B/tasks"
}

@test "echo cmd > tasks/task- makes it with the data in it from the first moment" {
	echo cmd >"$A/tasks/task-"
	equals task-0000000000 zkcli ls /tasks
	zk_data /tasks/task-0000000000 cmd
	zk_version /tasks/task-0000000000 0
	wait_until test -d "$A/tasks/task-0000000000"
	equals cmd cat "$A/tasks/task-0000000000/.data"
	wait_until equals cmd cat "$B/tasks/task-0000000000/.data"
}

@test "the typed name is not listed, and can't be looked up" {
	echo cmd >"$A/tasks/task-"
	mkdir "$A/tasks/task-"
	wait_until absent "$A/tasks/task-"
	equals $'task-0000000000\ntask-0000000001' ls -A "$A/tasks"
}

@test "the numbers go on, whatever the names are and whoever makes them" {
	mkdir "$A/tasks/task-"
	zkcli create -s /tasks/job- x
	mkdir "$B/tasks/other-"
	echo x >"$B/tasks/task-"
	equals $'job-0000000001\nother-0000000002\ntask-0000000000\ntask-0000000003' zkcli ls /tasks
}

@test "with a tag the client learns the name of its task" {
	echo cmd >"$A/tasks/task-@me"
	equals task-0000000000 readlink "$A/tasks/task-@me"
	equals task-0000000000 zkcli ls /tasks
	zk_data /tasks/task-0000000000 cmd
	equals cmd cat "$A/tasks/task-@me/.data"
	equals task-0000000000 ls -A "$A/tasks"
	absent "$B/tasks/task-@me"
}

@test "mktemp -d with a tag makes a task and prints where it is" {
	local task

	task=$(mktemp -d "$A/tasks/task-@XXXXXX")
	equals task-0000000000 readlink "$task"
	echo cmd >"$task/.data"
	zk_data /tasks/task-0000000000 cmd
	equals '.data' ls -A "$task/"
	equals task-0000000000 ls -A "$A/tasks"
	rm -r "$A/tasks/$(readlink "$task")"
	equals '' zkcli ls /tasks
}

@test "each tag leads to its own task" {
	local i

	for i in {0..9}; do
		echo "cmd $i" >"$A/tasks/task-@tag$i"
	done
	for i in {0..9}; do
		equals "task-000000000$i" readlink "$A/tasks/task-@tag$i"
		equals "cmd $i" cat "$A/tasks/task-@tag$i/.data"
	done
}

@test "a name that ends in ten digits is taken as it is" {
	mkdir "$A/tasks/task-0000000042"
	echo x >"$A/tasks/other-0123456789"
	equals $'other-0123456789\ntask-0000000042' zkcli ls /tasks
	equals $'other-0123456789\ntask-0000000042' ls "$A/tasks"
	echo more >"$A/tasks/task-0000000042/.data"
	zk_data /tasks/task-0000000042 more
	fails_with 'File exists' mkdir "$A/tasks/task-0000000042"
}

@test "a large command is one task" {
	seq 40000 >"$BATS_TEST_TMPDIR/seq"
	seq 40000 >"$A/tasks/task-@big"
	equals task-0000000000 zkcli ls /tasks
	zk_version /tasks/task-0000000000 0
	zkcli get /tasks/task-0000000000 | cmp - "$BATS_TEST_TMPDIR/seq"
	cmp "$A/tasks/task-@big/.data" "$BATS_TEST_TMPDIR/seq"
}

@test ": > task- makes one at close" {
	sh ': >"$1"' "$A/tasks/task-"
	wait_until equals task-0000000000 zkcli ls /tasks
	equals data zkcli isnull /tasks/task-0000000000
}

@test "a command that is written in two parts is one task" {
	sh '{ echo a; echo b; } >"$1"' "$A/tasks/task-"
	equals task-0000000000 zkcli ls /tasks
	zk_data /tasks/task-0000000000 $'a\nb'
}

@test "100 at once on two mounts are 100 tasks" {
	sh 'for i in {1..50}; do
			echo "a$i" >"$1/tasks/task-" &
			echo "b$i" >"$2/tasks/task-" &
		done
		wait' "$A" "$B"
	equals 100 bash -c 'wc -l <<<"$1"' bash "$(zkcli ls /tasks)"
	same commands "$(printf '%s\n' {a,b}{1..50} | sort)" \
		"$(zkcli tree /tasks | sed "s/.*b'\(.*\)\\\\n'/\1/" | sort)"
	wait_until equals 100 bash -c 'ls "$1" | wc -l' bash "$A/tasks"
	wait_until equals 100 bash -c 'ls "$1" | wc -l' bash "$B/tasks"
}

@test "100 directories at once are 100 tasks, each client knows its own" {
	sh 'for i in {1..100}; do
			(task=$(mktemp -d "$1/tasks/task-@XXXXXX") && echo "$task" >"$task/.data") &
		done
		wait' "$A"
	equals 100 bash -c 'wc -l <<<"$1"' bash "$(zkcli ls /tasks)"
	equals 100 bash -c 'sort -u <<<"$1" | wc -l' bash "$(zkcli tree /tasks | sed "s/.* b'//")"
}

@test "who waits for tasks sees their real names, on every host" {
	inotify_start -i a "$A/tasks"
	inotify_start -i b "$B/tasks"
	mkdir "$A/tasks/task-"
	wait_until inotify_saw -i a 'CREATE,ISDIR task-0000000000'
	wait_until inotify_saw -i b 'CREATE,ISDIR task-0000000000'
	echo cmd >"$A/tasks/task-@me"
	wait_until inotify_saw -i a 'CREATE,ISDIR task-0000000001'
	wait_until inotify_saw -i b 'CREATE,ISDIR task-0000000001'
	zkcli create -s /tasks/task- cmd
	wait_until inotify_saw -i a 'CREATE,ISDIR task-0000000002'
	wait_until inotify_saw -i b 'CREATE,ISDIR task-0000000002'
	# where it was typed, the typed name comes and goes first
	same 'events here' "CREATE,ISDIR task-
DELETE,ISDIR task-
CREATE,ISDIR task-0000000000
CREATE task-@me
DELETE task-@me
CREATE,ISDIR task-0000000001
CREATE,ISDIR task-0000000002" "$(told a)"
	same 'events there' "CREATE,ISDIR task-0000000000
CREATE,ISDIR task-0000000001
CREATE,ISDIR task-0000000002" "$(told b)"
}

@test "each of 100 tasks at once is told once, in order" {
	inotify_start -i a "$A/tasks"
	inotify_start -i b "$B/tasks"
	sh 'for i in {1..50}; do
			mkdir "$1/tasks/task-" &
			echo x >"$2/tasks/task-" &
		done
		wait' "$A" "$B"
	wait_until inotify_saw -i a 'CREATE,ISDIR task-0000000099'
	wait_until inotify_saw -i b 'CREATE,ISDIR task-0000000099'
	same 'events on a' "$(printf 'CREATE,ISDIR task-%010d\n' {0..99})" "$(told a | grep '[0-9]$')"
	same 'events on b' "$(printf 'CREATE,ISDIR task-%010d\n' {0..99})" "$(told b | grep '[0-9]$')"
}

@test "seq= chooses the places" {
	zkfs_mount c -o seq=/q:/x/y,dir=
	mkdir -p "$C/q" "$C/x/y"
	echo one >"$C/q/n"
	echo two >"$C/x/y/n"
	echo three >"$C/tasks/n"
	equals n0000000000 zkcli ls /q
	equals n0000000000 zkcli ls /x/y
	equals n zkcli ls /tasks
	wait_until equals one cat "$C/q/n0000000000"
}

@test "a task that is refused leaves nothing behind" {
	zkfs_mount c -o maxdata=10
	run sh 'echo much too long for this >"$1"' "$C/tasks/task-@me"
	assert_failure
	assert_output --partial 'File too large'
	equals '' zkcli ls /tasks
	equals '' ls -A "$C/tasks"
}
