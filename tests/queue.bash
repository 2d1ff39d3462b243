# shellcheck shell=bash
# queue.bash - a run of the queue with processes dying in the middle; load helper first
#
# Four workers and two masters on the mounts A and B. Each task notes locally that it runs, holding a local lock
# meanwhile, so that two executions at once are noticed whatever the workers think.

# queue_start MASTERS WORKERS: half on each mount; sets MASTER_PID and WORKER_PID by name (m1..., w1...)
queue_start() {
	local i mount mounts=("$B" "$A")

	REC=$BATS_TEST_TMPDIR/rec
	mkdir "$REC" "$REC/tmp"
	export TMPDIR=$REC/tmp
	declare -gA MASTER_PID WORKER_PID
	for ((i = 1; i <= $1 || i <= $2; i++)); do
		mount=${mounts[i % 2]}
		if ((i <= $1)); then queue_master "m$i" "$mount"; fi
		if ((i <= $2)); then queue_worker "w$i" "$mount"; fi
	done
	wait_until exists "$A/master"
	for ((i = 1; i <= $2; i++)); do
		wait_until exists "$A/workers/w$i"
	done
}

queue_master() {
	ZKFS_MOUNT=$2 spawn "$WORKERS_SH/zkq-master" </dev/null >"$REC/$1.log" 2>&1
	MASTER_PID[$1]=$SPAWN
}

queue_worker() {
	export REC # for the handler
	ZKFS_MOUNT=$2 spawn "$WORKERS_SH/zkq-worker" "$1" -- "$REC/handler" \
		</dev/null >"$REC/$1.log" 2>&1
	WORKER_PID[$1]=$SPAWN
}

# queue_handler: what a worker executes; the payload is a number. One that begins with "block" waits, at its
# first execution, until $REC/go is there.
queue_handler() {
	cat >"$REC/handler" <<-'END'
		#!/usr/bin/env bash
		read -r payload
		exec 8>"$REC/lock.$TASK"
		flock -n 8 || echo "$TASK" >>"$REC/twice"
		echo "$TASK $payload" >>"$REC/begun"
		if [[ $payload == block* ]] && mkdir "$REC/first.$TASK" 2>/dev/null; then
			mkfifo "$REC/first.$TASK/fifo"
			read -r -t 300 <>"$REC/first.$TASK/fifo"
		fi
		echo "result of $payload"
		echo "$TASK $payload" >>"$REC/ended"
	END
	chmod +x "$REC/handler"
}

# queue_submit COUNT: detached, half on each mount
queue_submit() {
	# shellcheck disable=SC2016 # expanded by that shell
	sh 'for ((i = 1; i <= $1; i++)); do
			ZKFS_MOUNT=$2 "$4/zkq-submit" --detach "$i" 2>&1 >>"$5/submitted" | grep -v ^Created
			((i++ < $1)) || break
			ZKFS_MOUNT=$3 "$4/zkq-submit" --detach "$i" 2>&1 >>"$5/submitted" | grep -v ^Created
		done
		true' "$1" "$A" "$B" "$WORKERS_SH" "$REC"
}

queue_statuses() { find "$A/tasks" -mindepth 2 -maxdepth 2 -name status | wc -l; }
# queue_done COUNT: that many tasks have a status
queue_done() { (($(queue_statuses) >= $1)); }

# queue_leader: the name of the master that leads, by the process id in its file
queue_leader() {
	local name
	for name in "${!MASTER_PID[@]}"; do
		! grep -qw "${MASTER_PID[$name]}" "$A/master" || echo "$name"
	done
}

# queue_kill NAME: SIGKILL, to that process alone
queue_kill() {
	local pid=${MASTER_PID[$1]:-${WORKER_PID[$1]:-}}
	kill -s KILL "$pid"
	wait_until gone "$pid"
}

# queue_check COUNT: each task has been done, has one status, and was never executed twice at once
queue_check() {
	equals "$1" bash -c 'sort -u "$1" | wc -l' bash "$REC/submitted"
	same statuses "$1" "$(zkcli tree /tasks | grep -c "/status 0 b'done..'$" || true)"
	same results "$1" "$(zkcli tree /tasks | grep -c '/result ' || true)"
	same tasks "$1" "$(zkcli ls /tasks | grep -c .)"
	same 'ended at least once' "$1" "$(sort -u "$REC/ended" | wc -l)"
	absent "$REC/twice"
	# ended again only what a dying worker had not reported
	(($(wc -l <"$REC/ended") <= $1 + 2))
	wait_until equals '' queue_assigned
}

queue_assigned() { find "$A/assign" -mindepth 2; }

# queue_stop: masters and workers end by themselves when asked to
queue_stop() {
	local name

	for name in "${!WORKER_PID[@]}"; do
		running "${WORKER_PID[$name]}" || continue
		end "${WORKER_PID[$name]}" || {
			printf '%s ended with %s\n' "$name" $? >&2
			cat "$REC/$name.log" >&2
			return 1
		}
	done
	for name in "${!MASTER_PID[@]}"; do
		! running "${MASTER_PID[$name]}" || end "${MASTER_PID[$name]}" || true
	done
}
