# shellcheck shell=bash
# helper.bash - a real ZooKeeper server per file, a private mount per test, and a look at both
#
# setup_file/teardown_file: zk_start/zk_stop. In a test or its setup: zkfs_mount NAME sets a variable named
# like NAME in capitals to the mount's path. teardown: zkfs_umount_all, which also checks that nothing is left
# over. Every process is started with 3>&- (bats waits for it otherwise) and ended by its pid.
#
# Environment: ZKFS (the daemon), WORKERS_SH (folder of the queue's scripts), SAN (set when sanitised).

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

PROJECT=$(cd -- "${BASH_SOURCE[0]%/*}/.." && pwd)
ZKFS=$(realpath -m -- "${ZKFS:-$PROJECT/build/zkfs}")
WORKERS_SH=$(realpath -m -- "${WORKERS_SH:-$PROJECT/workers-sh}")
export ZKFS WORKERS_SH
DEADLINE=20 # seconds that anything may take
[[ -n ${SAN:-} ]] && DEADLINE=60
WATCHDOG=$((DEADLINE * 9)) # seconds after which a daemon that hangs is killed, so that its users can fail
ZKCLI_SH=/usr/share/zookeeper/bin/zkCli.sh

# ---- waiting and comparing ----

# wait_until CMD...: repeat until it succeeds, fail at the deadline with what it said last
wait_until() {
	local end=$((SECONDS + DEADLINE))

	until "$@" >/dev/null 2>&1; do
		if ((SECONDS >= end)); then
			printf 'not within %s s: %s\n' "$DEADLINE" "$*" >&2
			"$@" >&2 || true
			streams_show
			return 1
		fi
		sleep 0.02
	done
}

not() { ! "$@"; }
exists() { [[ -e $1 || -L $1 ]]; }
absent() { [[ ! -e $1 && ! -L $1 ]]; }

# running PID, gone PID: one that has ended and not been waited for is gone
running() {
	local stat
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null && [[ ${stat##*) } != [ZX]* ]]
}
gone() { ! running "$1"; }

# equals EXPECTED CMD...: its output is that
equals() {
	local expected=$1 actual
	shift
	actual=$("$@" 2>&1)
	[[ $actual == "$expected" ]] || {
		printf -- '-- expected: %s\n%s\n-- actual:\n%s\n' "$*" "$expected" "$actual" >&2
		return 1
	}
}

# includes LINE CMD...: one line of its output is that
includes() {
	local line=$1 actual
	shift
	actual=$("$@" 2>&1)
	grep -Fxq -e "$line" <<<"$actual" || {
		printf -- '-- expected line of: %s\n%s\n-- actual:\n%s\n' "$*" "$line" "$actual" >&2
		return 1
	}
}

# same WHAT EXPECTED ACTUAL
same() {
	[[ $2 == "$3" ]] || {
		printf -- '-- %s, expected:\n%s\n-- actual:\n%s\n' "$1" "$2" "$3" >&2
		diff <(printf '%s\n' "$2") <(printf '%s\n' "$3") >&2
		return 1
	}
}

# fails_with TEXT CMD...: exit status not 0, one line on stderr at most, and it has that text
fails_with() {
	local text=$1 actual status=0
	shift
	actual=$(LC_ALL=C "$@" 2>&1 3>&-) || status=$?
	[[ $status -ne 0 && $actual == *"$text"* && $actual != *$'\n'* ]] || {
		printf -- '-- expected to fail with one line: %s\n%s\n-- actual, status %s:\n%s\n' \
			"$*" "$text" "$status" "$actual" >&2
		return 1
	}
}

# sh CMD [ARG...]: a shell like the user's, so that tests use its redirections and see its messages
sh() { LC_ALL=C bash --norc -c "$1" bash "${@:2}" 3>&-; }

# ---- processes ----

SPAWNED=() # pids to end in teardown

# spawn CMD...: in the background, ended in teardown; SPAWN is its pid
spawn() {
	"$@" <&0 3>&- & # bash would give it /dev/null otherwise
	SPAWN=$!
	SPAWNED+=("$SPAWN")
}

# end PID [SIGNAL]: and wait for it; its status is the result
end() {
	kill -s "${2:-TERM}" "$1" 2>/dev/null || true
	wait_until gone "$1" || return 1
	wait "$1" 2>/dev/null
}

spawned_end() {
	local pid

	for pid in "${SPAWNED[@]}"; do
		# with all its processes, where it was started by setsid
		kill -s TERM -- "-$pid" 2>/dev/null || kill -s TERM "$pid" 2>/dev/null || continue
		kill -s CONT "$pid" 2>/dev/null || true
	done
	for pid in "${SPAWNED[@]}"; do
		wait_until gone "$pid" || kill -s KILL "$pid" 2>/dev/null || true
	done
	SPAWNED=()
}

# hold NAME FILE [>|>>|<]: a process that has FILE open until `release NAME`; HOLD is its pid
hold() {
	mkfifo "$BATS_TEST_TMPDIR/hold.$1"
	# shellcheck disable=SC2016 # expanded by that shell
	spawn bash --norc -c 'case $3 in ">") exec 9>"$1" ;; ">>") exec 9>>"$1" ;; *) exec 9<"$1" ;; esac
		: >"$2.open"; read -r <"$2"' bash "$2" "$BATS_TEST_TMPDIR/hold.$1" "${3:->}"
	HOLD=$SPAWN
	printf -v "HOLD_$1" %s "$HOLD"
	wait_until exists "$BATS_TEST_TMPDIR/hold.$1.open"
}

release() {
	local pid=HOLD_$1
	echo >"$BATS_TEST_TMPDIR/hold.$1"
	wait_until gone "${!pid}"
}

# ---- the server ----

zk_port_free() { ! (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# zk_4lw WORD: a four-letter command's answer
zk_4lw() {
	(
		exec {fd}<>"/dev/tcp/127.0.0.1/$ZK_PORT" || exit
		printf %s "$1" >&"$fd"
		timeout 5 cat <&"$fd"
	) 2>/dev/null
}

zk_up() { [[ $(zk_4lw ruok) == imok && $(zk_4lw conf) == *"dataDir=$ZK_DIR/"* ]]; }
zk_pid() { printf %s "$(<"$ZK_DIR/pid")"; }
zk_up_or_gone() { gone "$(zk_pid)" || zk_up; }

# zk_launch: the server on ZK_PORT with the data in ZK_DIR; fails when the port turns out to be taken
zk_launch() {
	cat >"$ZK_DIR/zoo.cfg" <<-END
		tickTime=500
		dataDir=$ZK_DIR
		clientPort=$ZK_PORT
		clientPortAddress=127.0.0.1
		admin.enableServer=false
		4lw.commands.whitelist=*
		extendedTypesEnabled=true
		maxClientCnxns=0
		forceSync=no
		preAllocSize=1024
	END
	env -u BATS_TEST_TMPDIR java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData \
		-cp /usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar \
		org.apache.zookeeper.server.quorum.QuorumPeerMain "$ZK_DIR/zoo.cfg" \
		</dev/null >>"$ZK_DIR/log" 2>&1 3>&- &
	printf %s $! >"$ZK_DIR/pid"
	disown
	wait_until zk_up_or_gone && zk_up
}

# zk_start: once per file
zk_start() {
	local shm=/dev/shm try

	[[ $(stat -f -c %T $shm 2>/dev/null) == tmpfs && -w $shm ]] || shm=${TMPDIR:-/tmp}
	ZK_DIR=$(mktemp -d "$shm/zkfs-test.XXXXXX")
	export ZK_DIR ZK_PORT ZKCLI_PORT
	for ((try = 0; ; try++)); do
		ZK_PORT=$((20000 + (RANDOM * 32768 + RANDOM) % 12000)) # below the ports that the kernel gives out
		zk_port_free "$ZK_PORT" || continue
		zk_launch && break
		((try < 20)) || return 1
	done
	/usr/bin/python3 "$PROJECT/tests/client.py" "127.0.0.1:$ZK_PORT" \
		</dev/null >"$ZK_DIR/client.port" 2>"$ZK_DIR/client.log" 3>&- &
	printf %s $! >"$ZK_DIR/client.pid"
	disown
	wait_until test -s "$ZK_DIR/client.port" || cat "$ZK_DIR/client.log" >&2
	ZKCLI_PORT=$(<"$ZK_DIR/client.port")
}

zk_stop() {
	local pid

	for pid in "$(<"$ZK_DIR/client.pid")" "$(zk_pid)"; do
		kill -s KILL "$pid" 2>/dev/null || continue # it keeps nothing
		wait_until gone "$pid"
	done
	rm -rf "$ZK_DIR"
}

# zk_pause, zk_resume: it is silent, its connections stay
zk_pause() { kill -s STOP "$(zk_pid)"; }
zk_resume() { kill -s CONT "$(zk_pid)"; }

# zk_kill, zk_restart: it crashes, and comes again with its data
zk_kill() {
	kill -s KILL "$(zk_pid)"
	wait_until gone "$(zk_pid)"
}
zk_restart() {
	gone "$(zk_pid)" || zk_kill
	zk_launch
}

zk_has_session() { zk_4lw dump | grep -Fwq -e "$1"; }
zk_lacks_session() {
	local dump
	dump=$(zk_4lw dump)
	[[ $dump == *SessionTracker* ]] && ! grep -Fwq -e "$1" <<<"$dump"
}

# proxy_start NAME: a way to the server that can be closed; sets ZKFS_SERVER for the next zkfs_mount
proxy_start() {
	local port

	until
		port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
		zk_port_free "$port"
	do :; done
	printf -v "PROXY_PORT_$1" %s "$port"
	proxy_open "$1"
	ZKFS_SERVER=127.0.0.1:$port
}

# proxy_open NAME, proxy_close NAME: in a session of its own, so that its connections end with it
proxy_open() {
	local port=PROXY_PORT_$1
	spawn setsid socat "TCP-LISTEN:${!port},bind=127.0.0.1,reuseaddr,fork" "TCP:127.0.0.1:$ZK_PORT" \
		</dev/null >/dev/null 2>&1
	printf -v "PROXY_$1" %s "$SPAWN"
	wait_until not zk_port_free "${!port}"
}
proxy_close() {
	local pid=PROXY_$1
	kill -s TERM -- "-${!pid}"
	wait_until gone "${!pid}"
}

# zk_expire NAME: the session of that mount runs out; the daemon is stopped meanwhile
zk_expire() {
	local id pid=DAEMON_$1

	id=$(zkfs_status "$1" session)
	[[ $id == 0x* ]]
	# Not by processes of this shell: one that ends closes what the shell has open on the mount, and would wait for it.
	zkcli expire "${!pid}" "$id"
}

# ---- ZooKeeper seen by others ----

# stays_directory PATH: it has had a child, so that it is a directory whatever its data
stays_directory() {
	zkcli create "$1/child" ''
	zkcli delete "$1/child"
}

# zkcli [-S SESSION] [-R ROOT] CMD ARG...: see client.py; paths are below this test's chroot unless ROOT is given
zkcli() {
	local session=main root=$CHROOT status fd

	while [[ ${1:-} == -[SR] ]]; do
		if [[ $1 == -S ]]; then session=$2; else root=$2; fi
		shift 2
	done
	exec {fd}<>"/dev/tcp/127.0.0.1/$ZKCLI_PORT"
	printf '%s\0' "$session" "$root" "$@" $'\1' >&"$fd"
	read -r -u "$fd" status
	cat <&"$fd"
	exec {fd}>&-
	return "$status"
}

# zkcli_stat PATH FIELD: one number of the Stat
zkcli_stat() { zkcli stat "$1" | sed -n "s/^$2=//p"; }

# zk_shell CMD ARG...: the real zkCli.sh, one command, paths from the real root
zk_shell() {
	JVMFLAGS='-Xmx64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData' \
		"$ZKCLI_SH" -server "127.0.0.1:$ZK_PORT" "$@" 2>&1 3>&- |
		sed -e '/^SLF4J:/d; /^Connecting to/d; /^WATCHER::/d; /^WatchedEvent/d; /^$/d'
}

# zk_data PATH TEXT: that znode's data is that text and a newline
zk_data() { same "data of $1" "$2" "$(zkcli get "$1")"; }
zk_version() { same "version of $1" "$2" "$(zkcli_stat "$1" version)"; }
zk_exists() { [[ $(zkcli exists "$1") == yes ]]; }
zk_absent() { [[ $(zkcli exists "$1") == no ]]; }

# ---- mounts ----

MOUNTS=()  # names
ALLOWED=() # what a log may say beyond the usual
CHROOT=/t${BATS_TEST_NUMBER:-0}

# expect_log REGEX: warnings and errors that match are part of this test
expect_log() { ALLOWED+=("$1"); }

# zkfs_mount NAME [ARG...]: the daemon in the foreground with these further arguments, e.g. -o ro; waits until the
# mount answers. Sets DAEMON_NAME too, to the daemon's pid. ZKFS_SERVER: another address, e.g. of a proxy.
zkfs_mount() {
	local name=$1 mount=$BATS_TEST_TMPDIR/$1 fifo=$BATS_TEST_TMPDIR/$1.watchdog pid
	shift

	mkdir "$mount"
	setpriv --pdeathsig TERM "$ZKFS" -f -o mkroot "$@" \
		"${ZKFS_SERVER:-127.0.0.1:$ZK_PORT}${ZKFS_CHROOT-$CHROOT}" "$mount" \
		</dev/null >"$mount.log" 2>&1 3>&- &
	pid=$!
	printf -v "${name^^}" %s "$mount"
	printf -v "DAEMON_$name" %s "$pid"
	MOUNTS+=("$name")
	mkfifo "$fifo"
	# shellcheck disable=SC2016 # expanded by that shell
	bash --norc -c 'read -r -t "$1" <>"$2"; kill -s ABRT "$3"' bash "$WATCHDOG" "$fifo" "$pid" \
		</dev/null >/dev/null 2>&1 3>&- &
	printf -v "WATCHDOG_$name" %s $!
	wait_until zkfs_answers_or_gone "$mount" "$pid"
	zkfs_answers "$mount" || {
		cat "$mount.log" >&2
		return 1
	}
}

zkfs_answers() { [[ -e $1/.zkfs/status ]]; }
zkfs_answers_or_gone() { gone "$2" || zkfs_answers "$1"; }
mounted() { grep -Fq " $1 " /proc/self/mountinfo; }
unmounted() { ! mounted "$1"; }

# zkfs_status NAME KEY: one value of .zkfs/status
zkfs_status() { sed -n "s/^$2 //p" "$BATS_TEST_TMPDIR/$1/.zkfs/status"; }

# zkfs_ended NAME [STATUS]: the daemon ends by itself, with that status, and has left nothing
zkfs_ended() {
	local name=$1 mount=$BATS_TEST_TMPDIR/$1 pid=DAEMON_$1 watchdog=WATCHDOG_$1 status=0 bad=0 lines

	wait_until gone "${!pid}" || {
		kill -s ABRT "${!pid}"
		bad=1
	}
	wait "${!pid}" || status=$?
	kill "${!watchdog}" 2>/dev/null
	wait "${!watchdog}" 2>/dev/null || true
	[[ $status == "${2:-0}" ]] || {
		printf 'daemon of %s: exit status %s\n' "$name" "$status" >&2
		bad=1
	}
	lines=$(log_unexpected "$mount.log")
	[[ -z $lines ]] || {
		printf 'unexpected in the log of %s:\n%s\n' "$name" "$lines" >&2
		bad=1
	}
	if mounted "$mount"; then
		printf 'still mounted: %s\n' "$mount" >&2
		umount -l "$mount" || true
		bad=1
	fi
	rmdir "$mount" || {
		ls -la "$mount" >&2
		bad=1
	}
	((bad == 0)) || tail -n 30 "$mount.log" >&2
	return "$bad"
}

# log_unexpected FILE: lines that are no part of a quiet life
log_unexpected() {
	local regex

	regex=$(printf '%s\n' '^zkfs: \(info\|debug\): ' "${ALLOWED[@]}")
	grep -v -e "$regex" -- "$1" || true
}

# zkfs_umount NAME
zkfs_umount() {
	local i bad=0

	for i in "${!MOUNTS[@]}"; do
		[[ ${MOUNTS[i]} != "$1" ]] || unset "MOUNTS[i]"
	done
	if mounted "$BATS_TEST_TMPDIR/$1"; then
		umount "$BATS_TEST_TMPDIR/$1" || {
			umount -l "$BATS_TEST_TMPDIR/$1"
			bad=1
		}
	fi
	zkfs_ended "$1" && return "$bad"
}

# left_running: processes that this test has started, by their environment
left_running() {
	local file pid found=1

	while read -r file; do
		pid=${file//[^0-9]/}
		if [[ $pid == "$$" || $pid == "$BASHPID" ]] || gone "$pid"; then
			continue
		fi
		printf 'left running: %s ' "$pid" && tr '\0' ' ' <"/proc/$pid/cmdline" && echo
		found=0
	done < <(grep -l -s -z -F -x -e "BATS_TEST_TMPDIR=$BATS_TEST_TMPDIR" /proc/[0-9]*/environ) 2>/dev/null
	return "$found"
}

# zkfs_umount_all: everything that the test started is ended, and nothing is left over
zkfs_umount_all() {
	local name pid bad=0

	gone "$(zk_pid)" || zk_resume
	for name in "${MOUNTS[@]}"; do
		pid=DAEMON_$name
		kill -s CONT "${!pid}" 2>/dev/null || true
	done
	spawned_end
	for name in "${MOUNTS[@]}"; do
		zkfs_umount "$name" || bad=1
	done
	if grep -F "$BATS_TEST_TMPDIR/" /proc/self/mountinfo >&2; then
		printf 'left mounted\n' >&2
		bad=1
	fi
	wait_until not left_running || {
		bad=1
		for pid in $(left_running | sed 's/^left running: \([0-9]*\) .*/\1/'); do
			kill -s KILL "$pid"
		done
	}
	return "$bad"
}

# ---- inotify ----

# inotify_start [-i ID] [-b BASE] [-a] [-r] PATH...: records events until teardown. Without -a only those that tell
# of a change, not those of a look. Names are relative to BASE, by default the first PATH.
inotify_start() {
	local id=events base='' args=(-e 'create,modify,attrib,close_write,delete,delete_self,move,move_self') file

	while [[ $1 == -* ]]; do
		case $1 in
		-i) id=$2 && shift ;;
		-b) base=$2 && shift ;;
		-a) args=() ;;
		-r) args+=(-r) ;;
		esac
		shift
	done
	file=$BATS_TEST_TMPDIR/inotify.$id
	printf %s "${base:-$1}" >"$file.base"
	spawn inotifywait -m "${args[@]}" --format '%e|%w|%f' -- "$@" </dev/null >"$file" 2>"$file.err"
	printf -v "INOTIFY_$id" %s "$SPAWN"
	wait_until grep -q '^Watches established' "$file.err"
}

# inotify_stream [-i ID]: a line per event so far, "CREATE,ISDIR tasks/task-1"; of the watched thing itself
# "DELETE_SELF" and, where that isn't BASE, its name
inotify_stream() {
	local id=events
	[[ ${1:-} == -i ]] && id=$2
	awk -F'|' -v base="$(<"$BATS_TEST_TMPDIR/inotify.$id.base")" '
		$1 ~ /^(IGNORED|UNMOUNT)/ { next }
		{
			name = $2 $3
			if (index(name, base) == 1)
				name = substr(name, length(base) + 1)
			gsub(/^\/|\/$/, "", name)
			sub(/,CLOSE$/, "", $1)
			print $1 (name == "" ? "" : " " name)
		}' "$BATS_TEST_TMPDIR/inotify.$id"
}

# inotify_saw [-i ID] 'EVENT name'
inotify_saw() {
	local id=events
	[[ $1 == -i ]] && id=$2 && shift 2
	inotify_stream -i "$id" | grep -Fxq -e "$1"
}

# inotify_count [-i ID] 'EVENT name'
inotify_count() {
	local id=events
	[[ $1 == -i ]] && id=$2 && shift 2
	inotify_stream -i "$id" | grep -Fxc -e "$1" || true
}

inotify_stop() {
	local pid=INOTIFY_${1:-events}
	end "${!pid}" || true
}

streams_show() {
	local file
	for file in "$BATS_TEST_TMPDIR"/inotify.*.base; do
		[[ -e $file ]] || continue
		file=${file%.base}
		printf -- '-- events %s:\n' "${file##*.}" >&2
		inotify_stream -i "${file##*.}" | tail -n 30 >&2
	done
}
