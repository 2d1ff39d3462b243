#!/usr/bin/env bats
# Reading: one open is one version; listings; what costs no request

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	zkfs_mount a
	zkfs_mount b
}
teardown() { zkfs_umount_all; }

requests() { zkfs_status a requests; }

@test "a file that is open keeps the version that it was opened with" {
	local text

	echo one >"$A/f"
	wait_until exists "$B/f"
	exec {fd}<"$B/f"
	echo two >"$A/f"
	wait_until equals two cat "$B/f"
	read -r -u "$fd" text
	exec {fd}<&-
	same text one "$text"
}

@test "the parts of a large file that are read before and after a change belong together" {
	head -c 500000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/x"
	head -c 400000 /dev/zero | tr '\0' y >"$BATS_TEST_TMPDIR/y"
	cp "$BATS_TEST_TMPDIR/x" "$A/f"
	wait_until equals 500000 stat -c %s "$B/f"
	exec {fd}<"$B/f"
	head -c 100000 <&"$fd" >"$BATS_TEST_TMPDIR/read"
	cp "$BATS_TEST_TMPDIR/y" "$A/f"
	wait_until cmp "$B/f" "$BATS_TEST_TMPDIR/y"
	cat <&"$fd" >>"$BATS_TEST_TMPDIR/read"
	exec {fd}<&-
	cmp "$BATS_TEST_TMPDIR/read" "$BATS_TEST_TMPDIR/x"
	equals 400000 stat -c %s "$B/f"
}

@test "a file that is deleted while it is open can still be read" {
	local text

	echo hello >"$A/f"
	wait_until exists "$B/f"
	exec {fd}<"$B/f"
	rm "$A/f"
	wait_until absent "$B/f"
	read -r -u "$fd" text
	exec {fd}<&-
	same text hello "$text"
}

@test "no read ever mixes two versions" {
	zkcli create /f x
	wait_until exists "$B/f"
	# the letter says the length; sizes go up and down while four processes read
	python3 - "$A/f" "$B/f" <<-'END'
		import os, sys, threading
		SIZES = {b"a": 1, b"b": 5000, b"c": 150000, b"d": 4096, b"e": 40000}
		done, wrong, reads = threading.Event(), [], [0] * 4

		def read(n):
		    while not done.is_set() or not reads[n]:
		        with open(sys.argv[1 + n % 2], "rb") as f:
		            data = f.read()
		        reads[n] += 1
		        if data != b"x" and data != data[:1] * SIZES.get(data[:1], -1):
		            wrong.append((data[:1], len(data)))

		readers = [threading.Thread(target=read, args=(n,)) for n in range(4)]
		for r in readers:
		    r.start()
		for i in range(150):
		    letter = list(SIZES)[i % len(SIZES)]
		    fd = os.open(sys.argv[1], os.O_WRONLY | os.O_TRUNC)
		    if os.write(fd, letter * SIZES[letter]) != SIZES[letter]:
		        wrong.append("short write")
		    os.close(fd)
		done.set()
		for r in readers:
		    r.join()
		sys.exit(f"mixed: {wrong[:5]}" if wrong else 0)
	END
}

@test "private mmap works, shared mmap gives ENODEV" {
	seq 3000 >"$BATS_TEST_TMPDIR/seq"
	cp "$BATS_TEST_TMPDIR/seq" "$A/f"
	python3 - "$A/f" "$BATS_TEST_TMPDIR/seq" <<-'END'
		import errno, mmap, sys
		with open(sys.argv[1], "rb") as f:
		    m = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
		    if m[:] != open(sys.argv[2], "rb").read():
		        sys.exit("private mmap shows other data")
		    try:
		        mmap.mmap(f.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
		        sys.exit("shared mmap works")
		    except OSError as e:
		        if e.errno != errno.ENODEV:
		            raise
	END
}

@test "a file can be read at any offset" {
	seq 20000 >"$BATS_TEST_TMPDIR/seq"
	cp "$BATS_TEST_TMPDIR/seq" "$A/f"
	cmp <(tail -c 1000 "$A/f") <(tail -c 1000 "$BATS_TEST_TMPDIR/seq")
	cmp <(dd if="$A/f" bs=777 skip=50 count=3 status=none) \
		<(dd if="$BATS_TEST_TMPDIR/seq" bs=777 skip=50 count=3 status=none)
	equals '' tail -c +200000 "$A/f"
}

@test "a directory of 5,000 is listed whole" {
	zkcli create /d
	zkcli creates /d 5000
	wait_until equals 5000 bash -c 'ls -f "$1" | grep -c "^n"' bash "$B/d"
	zkcli ls /d >"$BATS_TEST_TMPDIR/expected"
	LC_ALL=C ls -A "$B/d" >"$BATS_TEST_TMPDIR/actual"
	LC_ALL=C sort "$BATS_TEST_TMPDIR/expected" | cmp - "$BATS_TEST_TMPDIR/actual"
	equals 5000 bash -c 'find "$1" -mindepth 1 -type f | wc -l' bash "$A/d"
	equals 5000 bash -c 'ls -l "$1" | grep -c "^-rw-r--r-- 1 "' bash "$B/d"
	same 'sum of all data' 12497500 "$(cat "$B"/d/* | sed 's/$/ /' | grep -c . >/dev/null && sum_of "$B/d")"
}

# sum_of DIR: of the numbers in its files
sum_of() { for_each_file "$1" | awk '{ s += $1 } END { print s }'; }
for_each_file() { find "$1" -type f -exec awk 1 {} +; }

@test "a listing that is under way is not disturbed by changes" {
	zkcli create /d
	zkcli creates /d 2000
	wait_until equals 2000 bash -c 'ls -f "$1" | grep -c "^n"' bash "$B/d"
	python3 - "$B/d" "$A/d" <<-'END'
		import os, sys
		with os.scandir(sys.argv[1]) as it:
		    seen = [next(it).name for _ in range(10)]
		    for i in range(1000, 1100):
		        os.unlink(f"{sys.argv[2]}/n{i}")
		        open(f"{sys.argv[2]}/m{i}", "w").close()
		    seen += [e.name for e in it]
		lasting = {f"n{i}" for i in range(2000) if not 1000 <= i < 1100}
		if len(seen) != len(set(seen)) or not lasting <= set(seen):
		    sys.exit(f"twice: {len(seen) - len(set(seen))}, missing: {len(lasting - set(seen))}")
	END
}

@test "what has been seen is listed, looked up and read again without a request" {
	local before

	mkdir "$A/d"
	echo hello >"$A/d/f"
	sh 'ls -l "$1" && cat "$1/f" && stat "$1/f" "$1" && [[ ! -e $1/none ]]' "$A/d" >/dev/null
	before=$(requests)
	sh 'for i in {1..20}; do
			ls -l "$1" && cat "$1/f" && stat "$1/f" "$1" && [[ ! -e $1/none ]] || exit
		done' "$A/d" >/dev/null
	same requests "$before" "$(requests)"
}

@test "what has been seen can be read while the server is silent" {
	mkdir "$A/d"
	echo hello >"$A/d/f"
	sh 'ls -l "$1" && cat "$1/f" && [[ ! -e $1/none ]]' "$A/d" >/dev/null
	zk_pause
	# shellcheck disable=SC2016 # expanded by that shell
	run -0 timeout "$DEADLINE" bash --norc -c 'ls "$1" && cat "$1/f" && [[ ! -e $1/none ]]' bash "$A/d" 3>&-
	zk_resume
	assert_output $'f\nhello'
}

@test "reading needs no newline at the end and no end at all" {
	printf hello >"$A/f"
	wait_until equals hello cat "$B/f"
	run sh 'read -r text <"$1"; echo "$? $text"' "$B/f"
	assert_output '1 hello'
	equals 5 stat -c %s "$B/f"
}
