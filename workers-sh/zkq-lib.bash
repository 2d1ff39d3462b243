# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# zkq-lib.bash - what the zkq-* scripts share
#
# $root is where the tree is mounted. No script makes it its working directory, or it would keep
# the file system from being unmounted while it waits.
#
# Each waits in one place, the read in next_event, on the output of one long-lived inotifywait.
# The rule is everywhere the same: subscribe, list when the line "Watches established." comes,
# then wait. A line is only a hint that something may have changed: what is done about it is
# decided by what the directories say then, so a late, doubled or stale line harms nobody, and
# when lines may have been lost (the queue overflowed, inotifywait was killed) listing again
# mends it.
#
# Descriptor 9 is the one ephemeral file that a script holds (master, workers/NAME, owner). It
# stands for the life of that process, so no child may inherit it: they are started with 9>&-.

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit "${exit_trouble:-1}"
}

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# now VAR: microseconds since the epoch.
now() { printf -v "$1" '%d' "${EPOCHREALTIME/[.,]/}"; }

is_number() { [[ $1 =~ ^[1-9][0-9]{0,8}$ ]]; }

is_task() { [[ $1 =~ ^task-[0-9]{10}$ ]]; }

is_worker() { [[ $1 =~ ^[A-Za-z0-9_][A-Za-z0-9_.:@+-]*$ ]]; }

# Leads a command line: the kernel kills what follows when this script dies, however it dies.
mortal=()
if command -v setpriv >/dev/null; then
	mortal=(setpriv --pdeathsig KILL --)
fi

# find_mount: sets root, to ZKFS_MOUNT or to the only mounted zkfs, and pulse, to its session
# timeout in microseconds (to nothing where an ordinary directory plays the mount).
find_mount() {
	local mount=${ZKFS_MOUNT-} dir type key value
	if [[ ! $mount ]]; then
		while read -r _ dir type _; do
			[[ $type == fuse.zkfs ]] || continue
			[[ ! $mount ]] || die "several zkfs are mounted, ZKFS_MOUNT must say which to use"
			printf -v mount %b "$dir"
		done </proc/mounts
		[[ $mount ]] || die "no zkfs is mounted"
	fi
	[[ $mount == /* ]] || mount=$PWD/$mount
	[[ -d $mount ]] || die "$mount is not a directory that can be used"
	root=${mount%/} pulse=''
	[[ -e $root/.zkfs/status ]] || return 0
	while read -r key value; do
		[[ $key != timeout ]] || ! is_number "$value" || pulse=$((value * 1000000))
	done <"$root/.zkfs/status"
}

# A zkfs that was killed tells nobody, so all that waits looks after it now and then.
look_after_mount() {
	{ read -r _ <"$root/.zkfs/status"; } 2>/dev/null || die "the mount is dead"
}

# watch EVENTS DIR...: starts the inotifywait that next_event reads, in place of the one before.
# DIR is below root, or absolute.
watch() {
	local dir dirs=()
	for dir in "${@:2}"; do
		[[ $dir == /* ]] || dir=$root/$dir
		dirs+=("$dir")
	done
	unwatch
	exec {watch_fd}< <(exec "${mortal[@]}" inotifywait -m -e "$1,q_overflow,unmount" \
		--format '%e %w%f' -- "${dirs[@]}" 2>&1 9>&-)
	watch_pid=$!
	watch_part=''
}

unwatch() {
	[[ ${watch_pid-} ]] || return 0
	kill -- "$watch_pid" 2>/dev/null || :
	exec {watch_fd}<&-
	watch_pid=''
}

# next_event: waits for one line and leaves it in event and path.
#   CREATE,ISDIR tasks/task-0000000042   and so on: as inotifywait gives it, but below root
#   ESTABLISHED                          the watch stands, or lost lines: list now
#   GONE                                 inotifywait is not there any more: watch anew
next_event() {
	until next_event_within "$pulse"; do
		look_after_mount
	done
}

# next_event_within MICROSECONDS: returns 1 when the time was over first.
next_event_within() {
	local line seconds within=() rc=0
	if [[ $1 ]]; then
		(($1 > 0)) || return 1
		printf -v seconds '%d.%06d' $(($1 / 1000000)) $(($1 % 1000000))
		within=(-t "$seconds")
	fi
	IFS= read -r "${within[@]}" -u "$watch_fd" line || rc=$?
	line=$watch_part$line
	watch_part=''
	if ((rc > 128)); then
		watch_part=$line
		return 1
	elif ((rc)); then
		# One that ends before it stood says why: too many watches, a directory that is gone.
		((++watch_failed < 5)) || die "inotifywait: ${watch_said:-it ends at once}"
		event=GONE path=''
		return 0
	fi
	event=${line%% *} path=${line#* }
	path=${path#"$root/"}
	case $line in
	'Watches established.') event=ESTABLISHED path='' watch_failed=0 ;;
	Q_OVERFLOW*) event=ESTABLISHED path='' ;;
	UNMOUNT*) die "the file system was unmounted" ;;
	'Setting up'*) ;;
	[!A-Z]* | [A-Z][a-z]*) watch_said=$line ;;
	esac
}
watch_failed=0 watch_said=''

# more_events: is another line there already? (After the last one the end of the pipe is.)
more_events() { [[ $event != GONE ]] && read -r -t 0 -u "$watch_fd"; }

# take FILE: creates it as descriptor 9, and fails when it is there: of all processes in the
# cluster that try, one succeeds.
take() {
	local rc=0
	set -C
	{ exec 9>"$1"; } 2>/dev/null || rc=$?
	set +C
	return "$rc"
}

release() { exec 9>&-; }

# is_mine FILE LINE: does FILE (still) begin with LINE? It is how the holder of an ephemeral
# file finds out whether that was deleted, because the session ended or by hand.
is_mine() {
	local line=''
	{ IFS= read -r line <"$1"; } 2>/dev/null || :
	[[ $line == "$2" ]]
}

# persist COMMAND...: runs it till it succeeds. A failure that took long was the mount waiting
# for a server: try again. A quick one may mean that somebody was faster, and this mount shows
# it a moment later: bring it up to date, try again. Many of them are no matter of time:
# returns 1.
persist() {
	local quick=0 from to
	while :; do
		now from
		"$@" && return
		now to
		((quick = to - from < 500000 ? quick + 1 : 0))
		((quick < 10)) || return 1
		sync -- "$root" 2>/dev/null || :
	done
}

make_dirs() { persist mkdir -p -- "$@" 2>/dev/null || die "can't make $*"; }

# task_name ARG: task-0000000042 of /tasks/task-0000000042 and the like, in the variable task.
task_name() {
	task=${1%/}
	task=${task##*/}
	is_task "$task" || die "$1 is not the name of a task"
}

# task_worn TASK MAX: has it been begun MAX times, and never ended? Sets attempts.
task_worn() {
	attempts=0
	[[ ! -e $root/tasks/$1/status ]] || return 1
	{ read -r attempts <"$root/tasks/$1/attempts"; } 2>/dev/null || :
	is_number "$attempts" || attempts=0
	((attempts >= $2))
}

# task_give_up TASK: the status of one that is worn. Only with its owner file taken.
task_give_up() { echo "failed: lost $attempts workers" >"$root/tasks/$1/status"; }

# task_remove TASK: removes it, and the data first, because a task without data is none: so
# nobody who looks at it half removed will take it for one that waits.
task_remove() {
	rm -rf -- "$root/tasks/$1/.data" "$root/tasks/$1" 2>/dev/null || [[ ! -d $root/tasks/$1 ]]
}

watch_task() { watch create,modify,moved_to,delete,delete_self "tasks/$1"; }

# task_end TASK: waits for the task's status, prints the result, removes the task, and returns
# the exit status that stands for its status.
task_end() {
	local dir=$root/tasks/$1 status=''
	watch_task "$1"
	while [[ ! $status ]]; do
		next_event
		case $event:$path in
		GONE:* | DELETE_SELF:*)
			[[ -d $dir ]] || die "$1 was removed"
			[[ $event != GONE ]] || watch_task "$1"
			;;
		ESTABLISHED:* | *:tasks/*/status)
			{ read -r status <"$dir/status"; } 2>/dev/null || :
			;;
		esac
	done
	[[ ! -s $dir/result ]] || cat -- "$dir/result" || die "the result of $1 can't be read"
	# Its worker is about to let go of the owner file, and that may get in the way of the first try.
	until task_remove "$1"; do
		next_event
		[[ $event != GONE ]] || watch_task "$1"
	done
	unwatch
	case $status in
	done) return 0 ;;
	'failed: exit '*) is_number "${status##* }" && return "${status##* }" ;;
	'failed: signal '*) is_number "${status##* }" && return $((128 + ${status##* })) ;;
	'failed: timeout')
		say "$1: time limit exceeded"
		return 124
		;;
	esac
	say "$1: $status"
	return 1
}
