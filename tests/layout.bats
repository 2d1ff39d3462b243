#!/usr/bin/env bats
# What a znode looks like: directory or file, .data, names, stat, attributes

load helper

setup_file() { zk_start; }
teardown_file() { zk_stop; }

setup() { zkfs_mount a; }
teardown() { zkfs_umount_all; }

is_dir() { [[ -d $1 && ! -L $1 ]]; }
is_file() { [[ -f $1 && ! -L $1 ]]; }

# attr FILE NAME: the value of user.zk.NAME
attr() { getfattr --absolute-names --only-values -n "user.zk.$2" -- "$1"; }

# number FILE NAME: an attribute that is a number, in decimal
number() { printf %d "$(attr "$1" "$2")"; }

@test "a znode with data is a file with that data" {
	zkcli create /f 'some data'
	wait_until is_file "$A/f"
	equals 'some data' cat "$A/f"
}

@test "a znode with empty data is an empty file" {
	zkcli create /f ''
	wait_until is_file "$A/f"
	equals 0 stat -c %s "$A/f"
	equals '' cat "$A/f"
}

@test "a znode with NULL data is a directory" {
	zkcli create /d
	wait_until is_dir "$A/d"
	equals '' ls -A "$A/d"
}

@test "what zkCli makes without data is a directory, with empty data a file" {
	zk_shell create "$CHROOT/d"
	zk_shell create "$CHROOT/f" ''
	wait_until is_dir "$A/d"
	wait_until is_file "$A/f"
}

@test "a znode with data and children is a directory, its data is .data" {
	zkcli create /d hello
	zkcli create /d/f world
	wait_until is_dir "$A/d"
	equals hello cat "$A/d/.data"
	equals world cat "$A/d/f"
	equals $'.data\nf' ls -A "$A/d"
}

@test "a znode that ever had children is a directory" {
	zkcli create /d hello
	zkcli create /d/f world
	zkcli delete /d/f
	zkfs_mount b
	is_dir "$B/d"
	equals '.data' ls -A "$B/d"
	wait_until is_dir "$A/d"
}

@test "a znode in a place of dir= is a directory even with data" {
	zkcli create /tasks ''
	zkcli create /tasks/task-0000000000 cmd
	zkcli create /assign ''
	zkcli create /assign/w1 ''
	zkcli create /assign/w1/task-0000000000 ''
	wait_until is_dir "$A/tasks"
	wait_until is_dir "$A/tasks/task-0000000000"
	equals cmd cat "$A/tasks/task-0000000000/.data"
	equals '' cat "$A/tasks/.data"
	wait_until is_dir "$A/assign/w1"
	wait_until is_file "$A/assign/w1/task-0000000000"
}

@test "dir= chooses the places" {
	zkfs_mount b -o 'dir=/x/*'
	zkcli create /x ''
	zkcli create /x/y z
	zkcli create /tasks ''
	wait_until is_dir "$B/x/y"
	equals z cat "$B/x/y/.data"
	wait_until is_file "$B/tasks"
	wait_until is_dir "$A/tasks"
}

@test "an ephemeral znode is a file, with and without data" {
	zkcli create -e /e
	zkcli create -e /f hello
	wait_until is_file "$A/e"
	wait_until is_file "$A/f"
	equals '' cat "$A/e"
	equals hello cat "$A/f"
}

@test "an ephemeral znode in a place of dir= is a file" {
	zkcli create /tasks
	zkcli create -e /tasks/x hello
	wait_until is_file "$A/tasks/x"
}

@test ".data is absent while the data is NULL" {
	mkdir "$A/d"
	equals null zkcli isnull /d
	absent "$A/d/.data"
	equals '' ls -A "$A/d"
	run sh 'cat "$1"' "$A/d/.data"
	assert_failure
	assert_output --partial 'No such file or directory'
}

@test "writing .data sets the data of the directory, which stays a directory" {
	mkdir "$A/d"
	echo hello >"$A/d/.data"
	zk_data /d hello
	is_dir "$A/d"
	equals hello cat "$A/d/.data"
	equals .data ls -A "$A/d"
	zkfs_mount b
	is_dir "$B/d"
	equals hello cat "$B/d/.data"
	[[ $(zkcli_stat /d cversion) -gt 0 ]]
	equals '' zkcli ls /d
}

@test "writing .data again is one new version" {
	mkdir "$A/d"
	echo one >"$A/d/.data"
	local version
	version=$(zkcli_stat /d version)
	echo two >"$A/d/.data"
	zk_data /d two
	zk_version /d $((version + 1))
	echo three >>"$A/d/.data"
	zk_data /d $'two\nthree'
	zk_version /d $((version + 2))
}

@test "rm .data sets the data back to NULL" {
	mkdir "$A/d"
	echo hello >"$A/d/.data"
	rm "$A/d/.data"
	equals null zkcli isnull /d
	absent "$A/d/.data"
	equals '' ls -A "$A/d"
	is_dir "$A/d"
}

@test "the root has .data too" {
	zkcli create /x
	absent "$A/.data"
	echo hello >"$A/.data"
	zk_data / hello
	equals hello cat "$A/.data"
}

@test ".data alone does not keep a directory from being removed" {
	mkdir "$A/d"
	echo hello >"$A/d/.data"
	rmdir "$A/d"
	zk_absent /d
	mkdir "$A/d"
	echo hello >"$A/d/.data"
	rm -r "$A/d"
	zk_absent /d
}

@test "a znode that is called like a reserved name is shown with a percent sign" {
	zkcli create /d
	zkcli create /d/.data one
	zkcli create /d/%.data two
	zkcli create /d/%%.data three
	zkcli create /d/%x four
	zkcli create /d/.zkfs five
	zkcli create /.zkfs six
	zkcli create /%.zkfs seven
	wait_until equals seven cat "$A/%%.zkfs"
	equals $'%%%.data\n%%.data\n%.data\n%x\n.zkfs' env LC_ALL=C ls -A "$A/d"
	equals one cat "$A/d/%.data"
	equals two cat "$A/d/%%.data"
	equals three cat "$A/d/%%%.data"
	equals four cat "$A/d/%x"
	equals five cat "$A/d/.zkfs"
	equals six cat "$A/%.zkfs"
	absent "$A/d/.data"
}

@test "a reserved name with a percent sign makes the znode of that name" {
	mkdir "$A/d"
	echo one >"$A/d/%.data"
	echo two >"$A/d/%%.data"
	echo three >"$A/%.zkfs"
	mkdir "$A/%.data"
	equals $'%.data\n.data' zkcli ls /d
	zk_data /d/.data one
	zk_data /d/%.data two
	zk_data /.zkfs three
	zk_exists /.data
	equals null zkcli isnull /d
	rm "$A/d/%.data"
	equals '%.data' zkcli ls /d
}

@test ".zkfs can be looked up, but is not listed" {
	is_dir "$A/.zkfs"
	equals '' ls -A "$A"
	equals 0 bash -c 'find "$1" -mindepth 1 | wc -l' bash "$A"
}

@test "names of many kinds are the same on both sides" {
	local name

	for name in 'a b' ä日本 "it's" '"' '$x' '*' '-n' ... ..a 'a\b' '%' '%%' a%2Fb "$(printf 'n%.0s' {1..255})"; do
		printf '%s\n' "$name" >"$A/$name"
		zk_data "/$name" "$name"
	done
	equals "$(zkcli ls /)" env LC_ALL=C ls -A "$A"
}

@test "a name that ZooKeeper refuses gives EINVAL" {
	local name before

	before=$(zkcli tree /)
	for name in $'a\nb' $'\t' $'\x7f' $'\xc2\x80' 😀 $'\xef\xbf\xbd' $'\xee\x80\x80'; do
		run mkdir "$A/$name"
		assert_failure
		assert_output --partial 'Invalid argument'
		run sh 'echo x >"$1"' "$A/$name"
		assert_failure
		assert_output --partial 'Invalid argument'
		absent "$A/$name"
	done
	equals "$before" zkcli tree /
	equals '' ls -A "$A"
}

@test "a name that is too long gives ENAMETOOLONG" {
	local name

	printf -v name 'n%.0s' {1..256}
	fails_with 'File name too long' mkdir "$A/$name"
	fails_with 'File name too long' sh 'echo x >"$1"' "$A/$name"
	equals '' zkcli ls /
}

@test "/zookeeper is shown, and read-only" {
	local before

	ZKFS_CHROOT='' zkfs_mount b
	is_dir "$B/zookeeper"
	includes quota ls "$B/zookeeper"
	before=$(zkcli -R '' tree /zookeeper)
	run mkdir "$B/zookeeper/x"
	assert_failure
	run rmdir "$B/zookeeper/quota"
	assert_failure
	run sh 'echo x >"$1"' "$B/zookeeper/x"
	assert_failure
	run sh 'echo x >"$1"' "$B/zookeeper/quota/.data"
	assert_failure
	run rmdir "$B/zookeeper"
	assert_failure
	equals "$before" zkcli -R '' tree /zookeeper
	[[ ! -w $B/zookeeper ]]
}

@test "stat shows size, times, mode, owner and links" {
	local now

	zkcli create /d
	zkcli create /f hello
	wait_until exists "$A/f"
	equals "5 644 1 regular file $(id -u) $(id -g)" stat -c '%s %a %h %F %u %g' "$A/f"
	equals "0 755 1 directory $(id -u) $(id -g)" stat -c '%s %a %h %F %u %g' "$A/d"
	equals "$(zkcli_stat /f mtime)" file_ms "$A/f" Y
	zkcli set /f worlds
	wait_until equals 6 stat -c %s "$A/f"
	equals "$(zkcli_stat /f mtime)" file_ms "$A/f" Y
	now=$(date +%s)
	(($(stat -c %Y "$A/f") <= now && $(stat -c %Y "$A/f") > now - 2 * DEADLINE))
}

# file_ms FILE Y|Z: mtime or ctime in milliseconds since 1970
file_ms() {
	local time
	time=$(stat -c %.3"$2" "$1")
	echo "${time/./}"
}

@test "the mtime of a directory moves when its list of children changes" {
	local before

	mkdir "$A/d"
	before=$(file_ms "$A/d" Y)
	wait_until later_than "$before"
	echo x >"$A/d/f"
	(($(file_ms "$A/d" Y) > before))
	before=$(file_ms "$A/d" Y)
	wait_until later_than "$before"
	zkcli create /d/g x
	wait_until exists "$A/d/g"
	(($(file_ms "$A/d" Y) > before))
}

later_than() { (($(date +%s%3N) > $1)); }

@test "umask=, uid= and gid= are what stat shows" {
	zkfs_mount b -o umask=027,uid=12,gid=34
	zkcli create /d
	zkcli create /f x
	wait_until exists "$B/f"
	equals '640 12 34' stat -c '%a %u %g' "$B/f"
	equals '750 12 34' stat -c '%a %u %g' "$B/d"
}

@test "the inode number stays for the life of a znode, and is another for the next of that name" {
	local ino

	zkcli create /f one
	zkcli create /d
	wait_until exists "$A/d"
	ino=$(stat -c %i "$A/f")
	[[ $ino != $(stat -c %i "$A/d") ]]
	zkcli set /f two
	wait_until equals two cat "$A/f"
	equals "$ino" stat -c %i "$A/f"
	zkfs_mount b
	equals "$ino" stat -c %i "$B/f"
	zkcli delete /f
	zkcli create /f three
	wait_until equals three cat "$A/f"
	not equals "$ino" stat -c %i "$A/f"
}

@test "the attributes are ZooKeeper's Stat, ACL and path" {
	local file field value

	zkcli create /d
	zkcli create /f hello
	zkcli create /d/g world
	zkcli set /f hello2
	zkcli set /f hello3
	zkcli create -e /e x
	zkcli setacl /f 'world:anyone:rwa'
	wait_until equals hello3 cat "$A/f"
	wait_until exists "$A/e"
	for file in /f /d /d/g /e; do
		while IFS='=' read -r field value; do
			wait_until equals "$value" number "$A$file" "$field"
		done < <(zkcli stat "$file")
		equals "$(zkcli getacl "$file")" attr "$A$file" acl
		[[ $(attr "$A$file" path) == *"$file" ]]
	done
}

@test "getfattr -d lists all attributes" {
	local name

	zkcli create /f hello
	wait_until exists "$A/f"
	run -0 getfattr --absolute-names -d "$A/f"
	for name in czxid mzxid pzxid ctime mtime version cversion aversion ephemeralOwner dataLength numChildren acl path; do
		assert_line --regexp "^user\.zk\.$name="
	done
	assert_line 'user.zk.dataLength="5"'
	assert_line 'user.zk.version="0"'
	assert_line 'user.zk.acl="world:anyone:cdrwa"'
}

@test "an attribute that does not exist gives ENODATA, other namespaces are refused" {
	zkcli create /f hello
	wait_until exists "$A/f"
	run getfattr --absolute-names -n user.zk.florp "$A/f"
	assert_failure
	assert_output --partial 'No such attribute'
	run getfattr --absolute-names -n user.florp "$A/f"
	assert_failure
	run setfattr -n user.florp -v x "$A/f"
	assert_failure
	run setfattr -n user.zk.version -v 7 "$A/f"
	assert_failure
	equals hello cat "$A/f"
	zk_version /f 0
}

@test "a file that gains its first child becomes a directory" {
	zkcli create /f hello
	wait_until is_file "$A/f"
	zkcli create /f/g world
	wait_until is_dir "$A/f"
	equals hello cat "$A/f/.data"
	equals world cat "$A/f/g"
	zkcli delete /f/g
	wait_until absent "$A/f/g"
	is_dir "$A/f"
	equals hello cat "$A/f/.data"
}

@test "replacing a file by a directory by hand" {
	echo x >"$A/hosts"
	rm "$A/hosts"
	mkdir "$A/hosts"
	is_dir "$A/hosts"
	equals null zkcli isnull /hosts
}

@test "statfs is answered" {
	run -0 stat -f -c '%t %l' "$A"
	df "$A"
	zk_pause
	timeout "$DEADLINE" stat -f "$A" >/dev/null
	zk_resume
}
