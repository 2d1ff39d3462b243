#!/usr/bin/env bats
# The queue of bash scripts on the mount

load helper
load queue

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	zkfs_mount a
	zkfs_mount b
}
teardown() { zkfs_umount_all; }

submit() { ZKFS_MOUNT=$A "$WORKERS_SH/zkq-submit" "$@" 3>&-; }

@test "a submitted task is executed, and its result and status come back" {
	queue_start 1 1
	ZKFS_MOUNT=$B spawn "$WORKERS_SH/zkq-worker" plain </dev/null >"$REC/plain.log" 2>&1
	WORKER_PID[plain]=$SPAWN
	queue_handler
	wait_until exists "$A/workers/plain"
	queue_kill w1 # only the plain one, which takes the payload for a command
	wait_until absent "$A/workers/w1"
	run -0 --separate-stderr submit echo hello
	assert_output hello
	assert_equal "$stderr" 'Created /tasks/task-0000000000'
	run -3 --separate-stderr submit 'echo oops; exit 3'
	assert_output oops
	run -0 --separate-stderr submit - <<<'echo from stdin'
	assert_output 'from stdin'
	equals '' zkcli ls /tasks
	queue_stop
}

@test "200 tasks, 4 workers on two mounts, two masters; the leader and two workers are killed in the middle" {
	local leader name

	queue_start 2 4
	queue_handler
	queue_submit 60
	# these two are in the middle of being executed when their workers are killed
	for name in a b; do
		ZKFS_MOUNT=$A "$WORKERS_SH/zkq-submit" --detach "block$name" >>"$REC/submitted" 2>/dev/null
	done
	wait_until equals 2 blocked_workers_count
	spawn queue_submit 138
	local submitter=$SPAWN
	wait_until queue_done 80
	leader=$(queue_leader)
	[[ $leader == m[12] ]]
	for name in $(blocked_workers); do
		queue_kill "$name"
	done
	queue_kill "$leader"
	wait_until gone "$submitter"
	wait_until queue_done 200
	queue_check 200
	[[ $(queue_leader) == m[12] && $(queue_leader) != "$leader" ]]
	queue_stop
}

# blocked_workers: the names of those who execute one of the tasks that block, by its owner file
blocked_workers() {
	local dir
	for dir in "$REC"/first.*; do
		[[ ! -p $dir/fifo ]] || cut -d ' ' -f 1 "$A/tasks/${dir##*first.}/owner"
	done
}
blocked_workers_count() { blocked_workers | sort -u | grep -c '^w'; }
