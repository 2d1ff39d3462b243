#!/usr/bin/env bats
# .zkfs/status and .zkfs/log

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() { zkfs_mount a; }
teardown() { zkfs_umount_all; }

@test "status has a line for every key" {
	local key

	run -0 cat "$A/.zkfs/status"
	for key in state server session timeout zxid nodes queue queue_age outstanding events_received events_injected \
		events_own events_unknown events_outdated resyncs expiries requests; do
		assert_line --regexp "^$key [^ ]"
	done
	refute_line --regexp '^[^ ]+$'
}

@test "status says which server and session it is" {
	zk_has_session "$(zkfs_status a session)"
	same server "127.0.0.1:$ZK_PORT" "$(zkfs_status a server)"
	same timeout 10 "$(zkfs_status a timeout)"
	same state connected "$(zkfs_status a state)"
}

@test "session= asks for a session timeout, timeout shows what the server grants" {
	zkfs_mount b -o session=3
	same timeout 3 "$(zkfs_status b timeout)"
	zkfs_mount c -o session=1000
	same timeout 10 "$(zkfs_status c timeout)"
}

@test "status says that the server is gone, without waiting for it" {
	expect_log '^zkfs: warn: '
	zk_kill
	wait_until not same state connected "$(zkfs_status a state)"
	wait_until not equals connected zkfs_status a state
	zk_restart
	wait_until equals connected zkfs_status a state
}

@test "status counts" {
	local received injected

	inotify_start "$A"
	received=$(zkfs_status a events_received)
	injected=$(zkfs_status a events_injected)
	zkcli creates / 10
	wait_until inotify_saw 'CLOSE_WRITE n9'
	(($(zkfs_status a events_received) >= received + 10))
	(($(zkfs_status a events_injected) >= injected + 10))
	(($(zkfs_status a nodes) >= 10))
	same queue 0 "$(zkfs_status a queue)"
	[[ $(zkfs_status a zxid) =~ ^(0x[0-9a-f]+|[0-9]+)$ ]]
	(($(zkfs_status a zxid) >= $(zkcli_stat /n9 czxid)))
}

@test "status is fresh at each reading" {
	local before

	before=$(zkfs_status a zxid)
	echo x >"$A/f"
	(($(zkfs_status a zxid) > before))
}

@test "status can't be written, and nothing be made or removed in .zkfs" {
	run sh 'echo x >"$1"' "$A/.zkfs/status"
	assert_failure
	run sh 'echo x >"$1"' "$A/.zkfs/x"
	assert_failure
	run mkdir "$A/.zkfs/x"
	assert_failure
	run rm -f "$A/.zkfs/status"
	assert_failure
	run rmdir "$A/.zkfs"
	assert_failure
	run mkdir "$A/.zkfs"
	assert_failure
	equals '' zkcli ls /
	grep -q '^state ' "$A/.zkfs/status"
}

@test ".zkfs lists what is in it" {
	includes status ls "$A/.zkfs"
	includes log ls "$A/.zkfs"
}

@test "log takes a level, and shows it" {
	equals info cat "$A/.zkfs/log"
	echo debug >"$A/.zkfs/log"
	equals debug cat "$A/.zkfs/log"
	mkdir "$A/d"
	wait_until grep -q '^zkfs: debug: ' "$A.log"
	printf error >"$A/.zkfs/log"
	equals error cat "$A/.zkfs/log"
}

@test "log refuses what is no level" {
	fails_with 'Invalid argument' sh 'echo florp >"$1"' "$A/.zkfs/log"
	equals info cat "$A/.zkfs/log"
}

@test "data never gets into the log" {
	echo debug >"$A/.zkfs/log"
	echo s3cret >"$A/f"
	zkcli set /f s3cret2
	wait_until equals s3cret2 cat "$A/f"
	not grep s3cret "$A.log"
}
