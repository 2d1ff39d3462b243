#!/usr/bin/env bats
# The tools that people use on files

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() {
	zkfs_mount a
	zkfs_mount b
	SOURCE=$BATS_TEST_TMPDIR/source
	mkdir -p "$SOURCE/sub/empty"
	echo hello >"$SOURCE/one"
	seq 5000 >"$SOURCE/sub/two"
	: >"$SOURCE/sub/none"
	printf '\0\1\2' >"$SOURCE/sub/with space"
}
teardown() { zkfs_umount_all; }

@test "tail -F shows what another host appends, and goes on after a replacement" {
	echo one >"$A/f"
	wait_until exists "$B/f"
	spawn tail -F "$B/f" >"$BATS_TEST_TMPDIR/out" 2>/dev/null
	wait_until equals one cat "$BATS_TEST_TMPDIR/out"
	echo two >>"$A/f"
	wait_until equals $'one\ntwo' cat "$BATS_TEST_TMPDIR/out"
	rm "$A/f"
	echo three >"$A/f"
	wait_until includes three cat "$BATS_TEST_TMPDIR/out"
}

@test "find finds what there is, by kind, name, size and time" {
	cp -r "$SOURCE" "$A/d"
	same paths "$(cd "$SOURCE" && find . | sort)" "$(cd "$A/d" && find . | sort)"
	same files "$(cd "$SOURCE" && find . -type f | sort)" "$(cd "$A/d" && find . -type f | sort)"
	same empty "$(cd "$SOURCE" && find . -empty | sort)" "$(cd "$A/d" && find . -empty | sort)"
	same new '' "$(find "$A/d" -newermt tomorrow)"
	wait_until exists "$B/d/sub/with space"
	wait_until same paths "$(cd "$SOURCE" && find . | sort)" "$(cd "$B/d" && find . | sort)"
	find "$A/d" -depth -delete
	zk_absent /d
}

@test "cp -r to the mount and back gives the same" {
	cp -r "$SOURCE" "$A/d"
	cp -r "$A/d" "$BATS_TEST_TMPDIR/back"
	diff -r "$SOURCE" "$BATS_TEST_TMPDIR/back"
	diff -r "$SOURCE" "$A/d"
}

@test "cp -a to the mount and back gives the same" {
	cp -a "$SOURCE" "$A/d"
	cp -a "$A/d" "$BATS_TEST_TMPDIR/back"
	diff -r "$SOURCE" "$BATS_TEST_TMPDIR/back"
}

@test "cp -a takes .data with it" {
	mkdir "$A/d"
	echo hello >"$A/d/.data"
	echo world >"$A/d/f"
	cp -a "$A/d" "$A/e"
	zk_data /e hello
	zk_data /e/f world
	diff -r "$A/d" "$A/e"
}

@test "tar packs and unpacks" {
	mkdir "$A/d"
	tar -C "$SOURCE" -c . | tar -C "$A/d" --no-same-permissions -x
	diff -r "$SOURCE" "$A/d"
	mkdir "$BATS_TEST_TMPDIR/back"
	tar -C "$A/d" -c . | tar -C "$BATS_TEST_TMPDIR/back" -x
	diff -r "$SOURCE" "$BATS_TEST_TMPDIR/back"
}

@test "grep -r searches, .data too" {
	cp -r "$SOURCE" "$A/d"
	echo hello >"$A/d/sub/.data"
	same files "$A/d/one
$A/d/sub/.data" "$(grep -r -l hello "$A/d" | sort)"
}

@test "diff -r of two mounts" {
	cp -r "$SOURCE" "$A/d"
	wait_until diff -r "$A/d" "$B/d"
	echo other >"$A/d/one"
	wait_until not diff -r "$SOURCE" "$B/d"
}

@test "rsync -r copies, and copies nothing the second time" {
	command -v rsync >/dev/null || skip 'no rsync'
	rsync -r --checksum "$SOURCE/" "$A/d/"
	diff -r "$SOURCE" "$A/d"
	local version
	version=$(zkcli tree /)
	rsync -r --checksum "$SOURCE/" "$A/d/"
	equals "$version" zkcli tree /
	echo changed >"$SOURCE/one"
	rsync -r --checksum --inplace "$SOURCE/" "$A/d/"
	zk_data /d/one changed
}

@test "rsync -a copies with its usual options" {
	command -v rsync >/dev/null || skip 'no rsync'
	rsync -a --no-times --omit-dir-times "$SOURCE/" "$A/d/"
	diff -r "$SOURCE" "$A/d"
}

@test "sed -i edits in place" {
	echo 'hello world' >"$A/f"
	sed -i s/hello/goodbye/ "$A/f"
	zk_data /f 'goodbye world'
	equals f ls -A "$A"
}

@test "vim edits a file" {
	command -v vim >/dev/null || skip 'no vim'
	echo hello >"$A/f"
	vim -es -u NONE -c 's/hello/goodbye/' -c wq "$A/f"
	zk_data /f goodbye
	equals f ls -A "$A"
}

@test "tee, dd, install and split write" {
	echo hello | tee "$A/tee" >/dev/null
	zk_data /tee hello
	dd if="$SOURCE/sub/two" of="$A/dd" status=none
	cmp "$A/dd" "$SOURCE/sub/two"
	install -m 644 "$SOURCE/one" "$A/installed"
	zk_data /installed hello
	split -l 1000 "$SOURCE/sub/two" "$A/part."
	cat "$A"/part.* | cmp - "$SOURCE/sub/two"
}

@test "sort -o, wc, head, tail, cut, md5sum, cmp and du read" {
	cp "$SOURCE/sub/two" "$A/f"
	equals "5000 $A/f" wc -l "$A/f"
	equals 5000 tail -n 1 "$A/f"
	equals 1 head -n 1 "$A/f"
	same sum "$(md5sum <"$SOURCE/sub/two")" "$(md5sum <"$A/f")"
	sort -n -r -o "$A/f" "$A/f"
	equals 5000 head -n 1 "$A/f"
	du "$A" >/dev/null
}

@test "python reads, writes and lists" {
	python3 - "$A" <<-'END'
		import os, pathlib, shutil, sys
		root = pathlib.Path(sys.argv[1])
		(root / "d").mkdir()
		(root / "d" / "f").write_text("hello\n")
		assert (root / "d" / "f").read_text() == "hello\n"
		with open(root / "d" / "f", "a") as f:
		    f.write("world\n")
		assert sorted(os.listdir(root / "d")) == ["f"]
		assert (root / "d" / "f").stat().st_size == 12
		shutil.copytree(root / "d", root / "e")
		shutil.rmtree(root / "d")
		os.replace(root / "e" / "f", root / "g")
	END
	zk_data /g $'hello\nworld'
	zk_absent /d
}

@test "a script on the mount can be read by a shell" {
	echo 'echo "hello $1"' >"$A/script"
	equals 'hello you' bash --norc "$A/script" you
}
