#!/usr/bin/env bats
# When an event arrives, what it tells of can be read

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	zkfs_mount a
	zkfs_mount b
	zkcli create /d
	wait_until exists "$A/d"
	wait_until exists "$B/d"
}
teardown() { zkfs_umount_all; }

# on_event DIR COUNT SCRIPT: for each event that tells of a change, SCRIPT with $event and $name, until it has
# counted COUNT with `((++n))`; ready once DIR.ready is there
# (modify is asked for since the kernel merges an event with an equal one before it that nobody has read yet)
on_event() {
	# shellcheck disable=SC2016 # expanded by that shell
	spawn bash --norc -c 'cd "$1" || exit
		exec 3< <(exec inotifywait -m -e create,modify,close_write,delete --format "%e %f" . 2>&1)
		watcher=$!
		trap "kill $watcher" EXIT
		until [[ $line == Watches* ]]; do read -r -u 3 line || exit 1; done
		: >"$3/ready"
		n=0
		while ((n < $2)); do
			read -r -u 3 event name || exit 1
			event=${event%,CLOSE}
			'"$3"'
		done' bash "$1" "$2" "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/wrong" 2>&1
	wait_until exists "$BATS_TEST_TMPDIR/ready"
}

all_right() {
	wait_until gone "$SPAWN"
	wait "$SPAWN"
	same 'what was wrong when the event came' '' "$(<"$BATS_TEST_TMPDIR/wrong")"
}

@test "a new file can be read when its event comes" {
	# shellcheck disable=SC2016 # expanded by that shell
	on_event "$A/d" 200 '[[ $event == CREATE ]] || continue
		((++n))
		[[ -f $name ]] || echo "$name: is not there"
		[[ $(<"$name") == "${name#n}" ]] || echo "$name: $(<"$name")"'
	zkcli creates /d 200
	all_right
}

@test "a listing has the new file when its event comes" {
	# shellcheck disable=SC2016 # expanded by that shell
	on_event "$A/d" 100 '[[ $event == CREATE ]] || continue
		((++n))
		files=(*)
		[[ " ${files[*]} " == *" $name "* ]] || echo "$name: is not listed"'
	zkcli creates /d 100
	all_right
}

@test "a name that was looked up in vain is there when its event comes" {
	sh 'cd "$1"; for i in {0..99}; do [[ ! -e n$i ]] || exit 1; done' "$A/d"
	# shellcheck disable=SC2016 # expanded by that shell
	on_event "$A/d" 100 '[[ $event == CREATE ]] || continue
		((++n))
		[[ -e $name ]] || echo "$name: is still not there"'
	zkcli creates /d 100
	all_right
}

@test "size and data are those of the change when its event comes" {
	local i

	zkcli create /d/f ''
	wait_until exists "$A/d/f"
	# each change is one byte longer than the one before; what is seen may be newer than the event, never older
	# shellcheck disable=SC2016 # expanded by that shell
	on_event "$A/d" 60 '[[ $event == CLOSE_WRITE && $name == f ]] || continue
		((++n))
		size=$(stat -c %s f) text=$(<f)
		((size >= n)) || echo "event $n: size is $size"
		((${#text} >= n)) || echo "event $n: $text"'
	for ((i = 1; i <= 60; i++)); do
		zkcli set /d/f "$(printf 'x%.0s' $(seq "$i"))"
	done
	all_right
}

@test "data of the same size is that of the change when its event comes" {
	local i

	zkcli create /d/f 000
	wait_until exists "$A/d/f"
	cat "$A/d/f"
	# shellcheck disable=SC2016 # expanded by that shell
	on_event "$A/d" 60 '[[ $event == CLOSE_WRITE && $name == f ]] || continue
		((++n))
		text=$(<f)
		((10#$text >= n)) || echo "event $n: $text"'
	for ((i = 1; i <= 60; i++)); do
		zkcli set /d/f "$(printf %03d "$i")"
	done
	all_right
}

@test "a deleted file is neither there nor listed when its event comes" {
	zkcli creates /d 100
	wait_until exists "$A/d/n99"
	sh 'cd "$1" && ls -l && cat n*' "$A/d" >/dev/null
	# shellcheck disable=SC2016 # expanded by that shell
	on_event "$A/d" 100 '[[ $event == DELETE ]] || continue
		((++n))
		[[ ! -e $name ]] || echo "$name: is still there"
		files=(*)
		[[ " ${files[*]} " != *" $name "* ]] || echo "$name: is still listed"'
	sh 'cd "$1" && rm n*' "$B/d"
	all_right
}

@test "the data of a directory can be read when its event comes" {
	# shellcheck disable=SC2016 # expanded by that shell
	on_event "$A/d" 2 '[[ $name == .data ]] || continue
		case $event in
		CREATE) [[ $(<.data) == hello ]] || echo "not there" ;;
		CLOSE_WRITE) ((++n)); [[ $(<.data) == hello || $(<.data) == world ]] || echo "$(<.data)" ;;
		esac'
	stays_directory /d
	zkcli set /d hello
	wait_until equals hello cat "$B/d/.data"
	wait_until equals hello cat "$A/d/.data"
	zkcli set /d world
	wait_until equals world cat "$A/d/.data"
	all_right
}

@test "a change that was made here is seen here at once" {
	# shellcheck disable=SC2016 # expanded by that shell
	sh 'cd "$1" || exit
		for i in {1..100}; do
			echo "$i" >f
			[[ $(<f) == "$i" && $(stat -c %s f) == $((${#i} + 1)) ]] || exit 1
			mkdir "d$i"
			[[ -d d$i ]] || exit 2
			rmdir "d$i"
			[[ ! -e d$i ]] || exit 3
			echo "$i" >>g
			[[ $(wc -l <g) == "$i" ]] || exit 4
			: >h
			[[ -e h ]] || exit 5
			rm h
			[[ ! -e h ]] || exit 6
		done' "$A/d"
}

@test "a change that another client has just made does not undo what was seen" {
	# the value only ever goes up, on every mount, whoever makes it
	zkcli create /d/f 0
	wait_until exists "$A/d/f"
	wait_until exists "$B/d/f"
	# shellcheck disable=SC2016 # expanded by that shell
	spawn bash --norc -c 'look() {
			text=$(<"$1/d/f")
			((text >= seen[$2])) || echo "$text after ${seen[$2]} on $1"
			seen[$2]=$text
		}
		seen=(0 0)
		until ((seen[0] == 500 && seen[1] == 500)); do
			look "$1" 0
			look "$2" 1
		done' bash "$A" "$B" >"$BATS_TEST_TMPDIR/wrong" 2>&1
	zkcli sets /d/f 500
	all_right
}
