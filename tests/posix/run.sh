#!/bin/bash
# Rules of POSIX and of the Linux manual pages, checked on a real mount.
#
#	run.sh [-t foliofs|ext4|xfs] [-m daemon|kernel] [-b SIZE] [-u root|user|alone]
#	       [-o OPTIONS] [-k WORD] [PROGRAM...]
#
#	-t  the file system; ext4 and xfs on a loop device show that the tests themselves are right
#	-m  FolioFS: whose page cache serves
#	-b  size of blocks; FolioFS: else that of FOLIOFS_TEST_BLOCK, else 4k
#	-u  who makes the calls: root; an ordinary user on a mount made by root; "alone": that user
#	    runs the daemon, too, through fusermount3
#	-o  more mount options; with transport=uring the kernel offers that to new mounts meanwhile
#	-k  only rules whose name has this word
#	PROGRAM  names in this folder; all test_*.py when there is none
#
# How to add a test: a function in a test_TOPIC.py here, marked @rule and named as the rule that it
# checks (rules.py says what else there is). It is called in an empty directory of its own on the
# mount and fails by assert or by an exception. It must pass on ext4 and XFS, too:
#
#	for t in foliofs ext4 xfs; do tests/posix/run.sh -t $t -k name_of_rule test_topic.py; done
#
# A rule that one of the others does not keep says so: @rule(only="foliofs", why="..."). What FUSE
# forbids is no exception in a test but a row in docs/POSIX.md, and a rule of its own name that
# shows it. meson.build has the list of runs; new programs need no line there.
[[ " $* " != *" alone "* ]] || . "$(dirname "$0")/../lib/ownfuse.sh"
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/../mount/lib.sh"

type=foliofs mode=daemon block='' user=root options='' word=''
here=$(cd "$(dirname "$0")" && pwd)
all=("$@")
while getopts t:m:b:u:o:k: opt; do
	case $opt in
	t) type=$OPTARG ;;
	m) mode=$OPTARG ;;
	b) block=$OPTARG ;;
	u) user=$OPTARG ;;
	o) options=,$OPTARG ;;
	k) word=$OPTARG ;;
	*) t_skip_all 'a wrong option' ;;
	esac
done
shift $((OPTIND - 1))
if [ -z "$block" ]; then
	block=4k
	[ $type != foliofs ] || block=${FOLIOFS_TEST_BLOCK:-4k}
fi
programs=("$@")
if [ ${#programs[@]} = 0 ]; then
	programs=("$here"/test_*.py)
	programs=("${programs[@]##*/}")
fi
uid=65534 special=,dev,suid
[ "$user" != alone ] || special=
img=$T_DIR/img mnt=$T_DIR/mnt

need_command python3 setpriv
if [ "$user" = alone ] && [ "$(id -u)" = 0 ]; then
	rmdir "$T_DIR"
	trap - EXIT
	exec setpriv --reuid $uid --regid $uid --clear-groups "$here/run.sh" "${all[@]}"
fi
[ "$user" = alone ] || need_root

mount_loop()
{
	mkdir -p "$mnt"
	timeout 60 mount -o "loop$options" "$img" "$mnt"
}

mount_it()
{
	case $type in
	foliofs) mount_fs "$img" "$mnt" -o "cache=$mode$special$options" ;;
	*) mount_loop ;;
	esac
}

umount_it()
{
	case $type in
	foliofs) umount_fs "$mnt" ;;
	*) timeout 60 umount "$mnt" ;;
	esac
}

make_it()
{
	truncate -s 512M "$img"
	case $type in
	foliofs) make_image "$img" 512M -f -b "$block" ;;
	ext4) mkfs.ext4 -q -F -I 256 "$img" ;;
	xfs) mkfs.xfs -q -f -b "size=$block" "$img" ;;
	esac
}

# What a program may ask for (rules.py: remount, crash, reformat).
serve_remount()
{
	umount_it && mount_it
}

serve_format()
{
	umount_it && make_it && mount_it && chmod 1777 "$mnt"
}

serve_crash()
{
	[ "$type" = foliofs ] || return 1
	kill_fs "$mnt" && mount_it
}

if [[ $options = *transport=uring* ]]; then
	. "$here/../lib/uring.sh"
	uring_on || t_skip_all "FUSE over io_uring can't be switched on here"
fi
case $type in
foliofs) need_fuse ;;
ext4 | xfs) need_command "mkfs.$type" ;;
*) t_skip_all "no file system $type" ;;
esac
make_it >"$T_OUT" 2>&1 || t_skip_all "no $type here: $(tail -n 1 "$T_OUT")"
if [ "$type" = foliofs ]; then
	check 'the file system mounts' mount_it || t_done
elif ! mount_it >"$T_OUT" 2>&1; then
	t_skip_all "$type can't be mounted: $(tail -n 1 "$T_OUT")"
fi
chmod 755 "$T_DIR"
[ "$user" = alone ] || chmod 1777 "$mnt"
export POSIX_FS=$type POSIX_MODE=$mode POSIX_BLOCK=$block POSIX_USER=$user POSIX_DIR=$mnt
export POSIX_IMAGE=$img POSIX_WORD=$word PYTHONDONTWRITEBYTECODE=1 POSIX_OPTIONS=$options
as=()
[ "$user" != user ] || as=(setpriv --reuid "$uid" --regid "$uid" --clear-groups)
for program in "${programs[@]}"; do
	[ "$type" != foliofs ] || export POSIX_PID=${T_PIDS[$mnt]:-}
	claims_served "${as[@]}" timeout 300 python3 "$here/$program"
done
check 'it unmounts cleanly' umount_it
[ "$type" != foliofs ] || check_fsck 'the image is consistent' "$img"
t_done
