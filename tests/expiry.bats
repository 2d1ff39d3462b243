#!/usr/bin/env bats
# When the session runs out, the server restarts, the connection breaks or the server is silent

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	SHORT=2 # seconds of a session that is to run out soon
	[[ -z ${SAN:-} ]] || SHORT=5
	expect_log '^zkfs: warn: '
	zkfs_mount b
	zkcli create /d
}
teardown() { zkfs_umount_all; }

@test "a session that has run out is replaced by a new one" {
	local session

	zkfs_mount a -o session="$SHORT"
	echo one >"$A/d/f"
	session=$(zkfs_status a session)
	zk_expire a
	wait_until equals two sh 'echo two >"$1" && cat "$1"' "$A/d/f"
	zk_data /d/f two
	not same session "$session" "$(zkfs_status a session)"
	same expiries 1 "$(zkfs_status a expiries)"
	same 'expiries of the other' 0 "$(zkfs_status b expiries)"
	wait_until zk_has_session "$(zkfs_status a session)"
}

@test "ephemeral znodes of a session that has run out are told as deleted, their handles give ESTALE" {
	zkfs_mount a -o session="$SHORT"
	mkdir "$A/workers"
	wait_until exists "$B/workers"
	exec {fd}>"$A/workers/w1"
	echo here >&"$fd"
	wait_until exists "$B/workers/w1"
	inotify_start -i a "$A/workers"
	inotify_start -i n "$A/workers/w1"
	inotify_start -i b "$B/workers"
	zk_expire a
	wait_until inotify_saw -i b 'DELETE w1'
	wait_until inotify_saw -i a 'DELETE w1'
	wait_until inotify_saw -i n ATTRIB # its last name is gone
	zk_absent /workers/w1
	absent "$A/workers/w1"
	run sh 'echo still here >&"$1"' "$fd"
	exec {fd}>&-
	assert_failure
	assert_output --partial 'Stale file handle'
	zk_absent /workers/w1
	# the name can be taken again, and closing the old handle does not harm the new one
	hold w "$A/workers/w1"
	zk_exists /workers/w1
	same creations 1 "$(inotify_count -i a 'CREATE w1')"
	release w
	wait_until zk_absent /workers/w1
}

@test "closing the handle of an ephemeral znode that is gone leaves its successor alone" {
	zkfs_mount a -o session="$SHORT"
	mkdir "$A/workers"
	wait_until exists "$B/workers"
	exec {fd}>"$A/workers/w1"
	zk_expire a
	wait_until zk_absent /workers/w1
	hold w "$B/workers/w1"
	wait_until exists "$A/workers/w1"
	exec {fd}>&-
	echo x >"$A/d/after" # a request behind the one that would delete it
	zk_data /d/after x
	zk_exists /workers/w1
	release w
}

@test "what happened while the session ran out is told as differences" {
	zkfs_mount a -o session="$SHORT"
	zkcli create /d/old x
	zkcli create /d/changed one
	zkcli create /d/same x
	zkcli create /d/replaced x
	zkcli create /d/e
	zkcli create /d/e/f x
	zkcli create /d/data
	stays_directory /d/data
	sh 'cd "$1" && ls -l . e && cat old changed same replaced e/f' "$A/d"
	inotify_start -i d "$A/d"
	inotify_start -i e "$A/d/e"
	inotify_start -i data "$A/d/data"
	local id
	id=$(zkfs_status a session)
	kill -s STOP "$DAEMON_a"
	zkcli delete /d/old
	zkcli set /d/changed two
	zkcli delete /d/replaced
	zkcli create /d/replaced y
	zkcli create /d/new hello
	zkcli deleteall /d/e
	zkcli set /d/data hello
	wait_until zk_lacks_session "$id"
	kill -s CONT "$DAEMON_a"
	wait_until inotify_saw -i d 'DELETE old'
	wait_until inotify_saw -i d 'CLOSE_WRITE changed'
	wait_until inotify_saw -i d 'CLOSE_WRITE replaced'
	wait_until inotify_saw -i d 'CLOSE_WRITE new'
	wait_until inotify_saw -i d 'DELETE,ISDIR e'
	wait_until inotify_saw -i e 'DELETE f'
	wait_until inotify_saw -i e DELETE_SELF
	wait_until inotify_saw -i data 'CLOSE_WRITE .data'
	same replaced $'DELETE replaced\nCREATE replaced' "$(inotify_stream -i d | grep -E '(CREATE|DELETE) replaced$')"
	same 'events of what stayed' '' "$(inotify_stream -i d | grep same)"
	same twice '' "$(inotify_stream -i d | sort | uniq -d)"
	equals two cat "$A/d/changed"
	equals y cat "$A/d/replaced"
	equals hello cat "$A/d/data/.data"
	equals "$(zkcli ls /d)" ls "$A/d"
	# and what happens afterwards is told as before
	zkcli create /d/later x
	wait_until inotify_saw -i d 'CREATE later'
}

@test "what happened while the connection was down is told as differences, the session stays" {
	local session

	proxy_start p
	zkfs_mount a
	unset ZKFS_SERVER
	zkcli create /d/old x
	zkcli create /d/changed one
	wait_until exists "$A/d/changed"
	sh 'ls -l "$1"' "$A/d"
	hold m "$A/master"
	session=$(zkfs_status a session)
	inotify_start "$A/d"
	proxy_close p
	zkcli delete /d/old
	zkcli set /d/changed two
	zkcli create /d/new hello
	zkcli create /d/short x
	zkcli delete /d/short
	proxy_open p
	wait_until inotify_saw 'CLOSE_WRITE new'
	wait_until inotify_saw 'CLOSE_WRITE changed'
	wait_until inotify_saw 'DELETE old'
	same 'told twice' '' "$(inotify_stream | sort | uniq -d)"
	same short '' "$(inotify_stream | grep short)"
	equals two cat "$A/d/changed"
	same session "$session" "$(zkfs_status a session)"
	zk_exists /master
	zkcli create /d/later x
	wait_until inotify_saw 'CREATE later'
	release m
	wait_until zk_absent /master
}

@test "a server that restarts is nothing but a wait" {
	local session

	zkfs_mount a
	inotify_start "$A/d"
	session=$(zkfs_status a session)
	hold m "$A/master"
	echo one >"$A/d/f"
	zk_kill
	equals one cat "$A/d/f"
	spawn sh 'echo two >"$1"' "$A/d/g"
	zk_restart
	wait_until gone "$SPAWN"
	wait "$SPAWN"
	zk_data /d/g two
	zk_data /d/f one
	same session "$session" "$(zkfs_status a session)"
	zk_exists /master
	zkcli create /d/h three
	wait_until inotify_saw 'CREATE h'
	equals three cat "$A/d/h"
	same 'told twice' '' "$(inotify_stream | grep CREATE | sort | uniq -d)"
	release m
}

@test "a server that restarts after the session would have run out: everything is compared" {
	local session

	zkfs_mount a -o session="$SHORT"
	echo one >"$A/d/f"
	inotify_start "$A/d"
	session=$(zkfs_status a session)
	zk_kill
	# by its own clock, or by the server's word when that is back
	zk_restart
	zkcli create /d/g x
	wait_until inotify_saw 'CREATE g'
	equals one cat "$A/d/f"
}

@test "Ctrl-C ends a command that waits for a silent server" {
	zkcli create -p /d/deep/er/f x
	zkfs_mount a -o timeout=1000
	zk_pause
	spawn env --default-signal=INT ls -l "$A/d/deep/er" >/dev/null 2>&1
	wait_until test "$(zkfs_status a outstanding)" != '' # .zkfs/status answers meanwhile
	wait_until outstanding a
	kill -s INT "$SPAWN"
	wait_until gone "$SPAWN"
	run wait "$SPAWN"
	spawn env --default-signal=INT mkdir "$A/d/x" >/dev/null 2>&1
	wait_until outstanding a
	kill -s INT "$SPAWN"
	wait_until gone "$SPAWN"
	zk_resume
	wait_until exists "$A/d/deep/er/f"
}

outstanding() { (($(zkfs_status "$1" outstanding) > 0)); }

@test "a command that waits for a silent server can be killed" {
	zkfs_mount a -o timeout=1000
	zk_pause
	spawn mkdir "$A/x"
	wait_until outstanding a
	kill -s KILL "$SPAWN"
	wait_until gone "$SPAWN"
	zk_resume
}

@test "a command that waits for a silent server fails with ETIMEDOUT after timeout=" {
	zkcli create -p /d/deep/er/f x
	zkfs_mount a -o timeout=1
	zk_pause
	fails_with 'Connection timed out' timeout "$DEADLINE" mkdir "$A/x"
	fails_with 'Connection timed out' timeout "$DEADLINE" bash --norc -c 'echo x >"$1"' bash "$A/f"
	zk_resume
	wait_until equals f ls "$A/d/deep/er"
}

@test "a write fails with ETIMEDOUT while the server is down, and works when it is back" {
	zkfs_mount a -o timeout=1
	echo one >"$A/f"
	zk_kill
	fails_with 'Connection timed out' sh 'echo two >"$1"' "$A/f"
	zk_restart
	wait_until sh 'echo three >"$1"' "$A/f"
	zk_data /f three
}

@test "what was read before can be read without a server for no longer than the session" {
	zkfs_mount a -o session="$SHORT",timeout=1
	echo one >"$A/f"
	equals one cat "$A/f"
	zk_kill
	equals one cat "$A/f"
	wait_until fails_with 'Connection timed out' cat "$A/f"
	zk_restart
	wait_until equals one cat "$A/f"
}

@test "the mount can be unmounted while the server is down" {
	zkfs_mount a
	echo one >"$A/f"
	zk_kill
	zkfs_umount a
	zk_restart
}

@test "SIGTERM ends the daemon while the server is down and a command waits" {
	zkfs_mount a
	zk_kill
	spawn mkdir "$A/x" 2>/dev/null
	wait_until outstanding a
	MOUNTS=(b)
	kill -s TERM "$DAEMON_a"
	zkfs_ended a
	wait_until gone "$SPAWN"
	zk_restart
}
