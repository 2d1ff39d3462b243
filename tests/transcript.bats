#!/usr/bin/env bats
# The master-worker example as it is typed into ZooKeeper's own shell, its parts played on either side

load helper

WORKER=worker1.example.com
TASK=task-0000000000

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	zkfs_mount a # the client's and the worker's host
	zkfs_mount b # the master's
	mkdir -p "$A/tasks" "$A/workers" "$A/assign"
	wait_until exists "$B/assign"
	wait_until exists "$B/workers"
	wait_until exists "$B/tasks"
}
teardown() { zkfs_umount_all; }

# ---- ZooKeeper's shell, as somebody sits at it ----

# shell_start ID: an interactive zkCli.sh, its root is this test's
shell_start() {
	mkfifo "$BATS_TEST_TMPDIR/shell.$1"
	JVMFLAGS='-Xmx64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData' \
		spawn setsid "$ZKCLI_SH" -server "127.0.0.1:$ZK_PORT$CHROOT" <>"$BATS_TEST_TMPDIR/shell.$1" >"$BATS_TEST_TMPDIR/shell.$1.out" 2>&1
	wait_until shell_saw "$1" 'state:SyncConnected'
}

# shell_type ID COMMAND
shell_type() { printf '%s\n' "$2" >"$BATS_TEST_TMPDIR/shell.$1"; }

# shell_saw ID TEXT
shell_saw() { grep -Fq -e "$2" "$BATS_TEST_TMPDIR/shell.$1.out"; }

# shell_told ID TYPE PATH
shell_told() { grep -q "^WatchedEvent .*type:$2 path:$3\$" "$BATS_TEST_TMPDIR/shell.$1.out"; }

# ---- what both see ----

# alike PATH: names, data and the Stat's fields are the same in ZooKeeper and on both mounts
alike() {
	local path=$1 mount name field value data

	zkcli get "$path" >"$BATS_TEST_TMPDIR/data"
	for mount in "$A" "$B"; do
		if [[ -d $mount$path ]]; then
			wait_until equals "$(zkcli ls "$path")" ls "$mount$path"
			data=$mount$path/.data
		else
			data=$mount$path
		fi
		if [[ $(zkcli isnull "$path") == null ]]; then
			absent "$data"
		else
			wait_until cmp "$data" "$BATS_TEST_TMPDIR/data"
		fi
		while IFS='=' read -r field value; do
			wait_until equals "$value" number "$mount$path" "$field"
		done < <(zkcli stat "$path")
	done
	while read -r name; do
		[[ -z $name ]] || alike "${path%/}/$name"
	done < <(zkcli ls "$path")
}

number() { printf %d "$(getfattr --absolute-names --only-values -n "user.zk.$2" -- "$1")"; }

# attribute NAME: of the task, as getfattr -d prints it
attribute() { getfattr --absolute-names -d "$A/tasks/$TASK" | sed -n "s/^user\.zk\.$1=\"\(.*\)\"$/\1/p"; }

# ---- the parts ----

master_on_mount() {
	hold master "$B/master"
	inotify_start -i tasks -b "$B" "$B/tasks"
	inotify_start -i workers -b "$B" "$B/workers"
}

worker_on_mount() {
	mkdir "$A/assign/$WORKER"
	inotify_start -i assign -b "$A" "$A/assign/$WORKER"
	hold worker "$A/workers/$WORKER"
}

master_on_mount_assigns() {
	wait_until inotify_saw -i workers "CREATE workers/$WORKER"
	wait_until inotify_saw -i tasks "CREATE,ISDIR tasks/$TASK"
	equals "$TASK" ls "$B/tasks"
	equals "$WORKER" ls "$B/workers"
	sh ': >"$1"' "$B/assign/$WORKER/$TASK"
}

worker_on_mount_works() {
	wait_until inotify_saw -i assign "CREATE assign/$WORKER/$TASK"
	equals "$TASK" ls "$A/assign/$WORKER"
	echo 'done' >"$A/tasks/$TASK/status"
}

client_on_mount_submits() {
	echo cmd >"$A/tasks/task-@me"
	equals "$TASK" readlink "$A/tasks/task-@me"
	inotify_start -i task -b "$A" "$A/tasks/$TASK"
	equals '' ls "$A/tasks/$TASK"
}

client_on_mount_reads() {
	wait_until inotify_saw -i task "CREATE tasks/$TASK/status"
	equals cmd cat "$A/tasks/$TASK/.data"
	equals 'done' cat "$A/tasks/$TASK/status"
	stat "$A/tasks/$TASK" "$A/tasks/$TASK/status" >/dev/null
	equals 0 attribute version
	equals 0x0 attribute ephemeralOwner
	equals 4 attribute dataLength
	equals 1 attribute numChildren
}

master_in_shell() {
	shell_start master
	shell_type master 'create -e /master "master1.example.com:2223"'
	wait_until shell_saw master 'Created /master'
	shell_type master 'ls /workers true'
	shell_type master 'ls /tasks true'
	wait_until shell_saw master '[]'
}

worker_in_shell() {
	shell_start worker
	shell_type worker "create -e /workers/$WORKER \"$WORKER:2224\""
	wait_until shell_saw worker "Created /workers/$WORKER"
	shell_type worker "create /assign/$WORKER \"\""
	wait_until shell_saw worker "Created /assign/$WORKER"
	shell_type worker "ls /assign/$WORKER true"
	wait_until shell_saw worker '[]'
}

# the whole tree as it is when all has been done
finished() {
	same tree "/assign
/assign/$WORKER
/assign/$WORKER/$TASK
/master
/tasks
/tasks/$TASK
/tasks/$TASK/status
/workers
/workers/$WORKER" "$(zkcli tree / | sed 's/ .*//')"
	alike /tasks
	alike /workers
	alike /assign
	alike /master
}

@test "all parts on the mount" {
	master_on_mount
	worker_on_mount
	client_on_mount_submits
	master_on_mount_assigns
	worker_on_mount_works
	client_on_mount_reads
	finished
	same 'events of the client' "CREATE tasks/$TASK/status
MODIFY tasks/$TASK/status
CLOSE_WRITE tasks/$TASK/status" "$(inotify_stream -i task)"
	same 'events of the worker' "CREATE assign/$WORKER/$TASK
CLOSE_WRITE assign/$WORKER/$TASK" "$(inotify_stream -i assign)"
	same 'events of the master' "CREATE,ISDIR tasks/$TASK" "$(inotify_stream -i tasks)"
	same 'ZooKeeper shell' "$(printf 'cmd\n')" "$(zk_shell get "$CHROOT/tasks/$TASK")"
	release worker
	wait_until inotify_saw -i workers "DELETE workers/$WORKER"
}

@test "the client in ZooKeeper's shell, master and worker on the mount" {
	master_on_mount
	worker_on_mount
	shell_start client
	shell_type client 'create -s /tasks/task- "cmd"'
	wait_until shell_saw client "Created /tasks/$TASK"
	shell_type client "ls /tasks/$TASK true"
	wait_until shell_saw client '[]'
	master_on_mount_assigns
	worker_on_mount_works
	wait_until shell_told client NodeChildrenChanged "/tasks/$TASK"
	shell_type client "get -s /tasks/$TASK"
	wait_until shell_saw client 'numChildren = 1'
	shell_saw client cmd
	shell_saw client 'dataVersion = 0'
	shell_saw client 'ephemeralOwner = 0x0'
	shell_saw client 'dataLength = 3'
	shell_type client "get /tasks/$TASK/status"
	wait_until shell_saw client 'done'
	finished
	same 'events of the master' "CREATE,ISDIR tasks/$TASK" "$(inotify_stream -i tasks)"
	same 'events of the worker' "CREATE assign/$WORKER/$TASK
CLOSE_WRITE assign/$WORKER/$TASK" "$(inotify_stream -i assign)"
	# the attributes are what the shell has printed
	local field name
	for field in cZxid:czxid mZxid:mzxid pZxid:pzxid cversion:cversion dataVersion:version aclVersion:aversion \
		ephemeralOwner:ephemeralOwner dataLength:dataLength numChildren:numChildren; do
		name=${field#*:}
		shell_saw client "${field%:*} = $(attribute "$name")"
	done
}

@test "the client on the mount, master and worker in ZooKeeper's shell" {
	master_in_shell
	worker_in_shell
	wait_until shell_told master NodeChildrenChanged /workers
	client_on_mount_submits
	wait_until shell_told master NodeChildrenChanged /tasks
	shell_type master 'ls /tasks'
	wait_until shell_saw master "[$TASK]"
	shell_type master 'ls /workers'
	wait_until shell_saw master "[$WORKER]"
	shell_type master "create /assign/$WORKER/$TASK \"\""
	wait_until shell_saw master "Created /assign/$WORKER/$TASK"
	wait_until shell_told worker NodeChildrenChanged "/assign/$WORKER"
	shell_type worker "ls /assign/$WORKER"
	wait_until shell_saw worker "[$TASK]"
	shell_type worker "create /tasks/$TASK/status \"done\""
	client_on_mount_reads
	finished
	same 'events of the client' "CREATE tasks/$TASK/status
MODIFY tasks/$TASK/status
CLOSE_WRITE tasks/$TASK/status" "$(inotify_stream -i task)"
}

@test "a backup master on the mount takes over when the one in ZooKeeper's shell goes" {
	inotify_start -b "$B" "$B"
	shell_start master
	shell_type master 'create -e /master "master1.example.com:2223"'
	wait_until inotify_saw 'CREATE master'
	equals master1.example.com:2223 cat "$B/master"
	run sh 'set -C; exec 9>"$1"' "$B/master"
	assert_failure
	shell_type master quit
	wait_until inotify_saw 'DELETE master'
	hold master "$B/master"
	same owner "$(($(zkfs_status b session)))" "$(zkcli_stat /master ephemeralOwner)"
}

@test "a backup master in ZooKeeper's shell takes over when the one on the mount goes" {
	hold master "$B/master"
	shell_start backup
	shell_type backup 'create -e /master "master2.example.com:2223"'
	wait_until shell_saw backup 'Node already exists: /master'
	shell_type backup 'stat /master true'
	wait_until shell_saw backup 'numChildren = 0'
	kill -s KILL "$HOLD"
	wait_until shell_told backup NodeDeleted /master
	shell_type backup 'create -e /master "master2.example.com:2223"'
	wait_until shell_saw backup 'Created /master'
	wait_until equals master2.example.com:2223 cat "$A/master"
}
