#!/usr/bin/env bats
# Many tasks, with workers and masters dying all the time

load ../helper
load ../queue

TASKS=${TASKS:-10000}

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	DEADLINE=3600 WATCHDOG=7200
	zkfs_mount a
	zkfs_mount b
}
teardown() { zkfs_umount_all; }

resident() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"; }

@test "10,000 tasks while workers and masters are killed and replaced: none is lost or done twice at once" {
	local killed=0 leader name before

	queue_start 2 4
	queue_handler
	spawn queue_submit "$TASKS"
	local submitter=$SPAWN
	wait_until queue_done $((TASKS / 10))
	before=$(resident "$DAEMON_a")
	for ((at = 2; at <= 9; at++)); do
		wait_until queue_done $((TASKS * at / 10))
		name=w$((at % 4 + 1))
		queue_kill "$name"
		killed=$((killed + 1))
		wait_until absent "$A/workers/$name"
		queue_worker "$name" "$B"
		leader=$(queue_leader)
		[[ -z $leader ]] || {
			queue_kill "$leader"
			queue_master "$leader" "$A"
		}
	done
	wait_until gone "$submitter"
	wait_until queue_done "$TASKS"
	equals "$TASKS" bash -c 'sort -u "$1" | wc -l' bash "$REC/submitted"
	same statuses "$TASKS" "$(zkcli tree /tasks | grep -c "/status 0 b'done..'$")"
	same 'ended at least once' "$TASKS" "$(sort -u "$REC/ended" | wc -l)"
	absent "$REC/twice"
	(($(wc -l <"$REC/ended") <= TASKS + killed))
	queue_stop
	# memory is for what is there: ten times the tasks are no ten times the memory
	(($(resident "$DAEMON_a") < before + 200 * 1024))
}
