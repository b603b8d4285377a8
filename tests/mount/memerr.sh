#!/bin/bash
# The machine loses memory of the daemon's cache: clean data is read again, data that was not
# written is an error until it is rewritten, and the record of errors has both.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
img=$T_DIR/img mnt=$T_DIR/mnt
# The signal's layout is that of 64-bit little-endian machines.
lose() { python3 "$(dirname "$0")/memerr.py" "$(fs_pid "$mnt")" "$@"; }
stat_row() { "$CTL" stats "$mnt" | awk -v n="$1" '$1 == n { print $2 }'; }
is() { [ "$(stat_row "$1")" = "$2" ]; }

make_image "$img" 64M || t_done
check 'it mounts' mount_fs "$img" "$mnt" -o cache=daemon,cache_size=64m || t_done
head -c 1M /dev/urandom >"$T_DIR/a"
head -c 1M /dev/urandom >"$T_DIR/b"
cp "$T_DIR/a" "$mnt/a"
sync "$mnt/a"
lose "$T_DIR/a" 5
[ $? = 77 ] && t_skip_all 'the daemon can not be traced here'
check 'the error is dealt with' wait_until 20 is memory_replaced 1
check 'clean data is what it was' cmp "$T_DIR/a" "$mnt/a"
check 'an fsync has nothing to say' sync "$mnt/a"

cp "$T_DIR/b" "$mnt/b"
check 'data that was not written is hit' lose "$T_DIR/b" 7
check 'it is lost' wait_until 20 is memory_lost 1
check_fails 1 'reading it is an error' cat "$mnt/b"
check 'what lies before it is not' cmp -n 28672 "$T_DIR/b" "$mnt/b"
check_fails 1 'fsync says it' sync "$mnt/b"
check_fails 1 'and says it again' sync "$mnt/b"
check 'the record of errors is there' "$CTL" errors "$mnt"
check_says 'file data was lost before it was written, inode' 'and names the inode'
check_says 'a cached page was lost and read again, inode' 'also for what was read again'
check 'rewriting works' dd if="$T_DIR/b" of="$mnt/b" bs=4096 skip=7 seek=7 count=1 \
	conv=notrunc status=none
check 'fsync is content' sync "$mnt/b"
check 'and all is there' cmp "$T_DIR/b" "$mnt/b"
check 'it unmounts' umount_fs "$mnt"
check_fsck 'the image is clean' "$img"
check 'it mounts again' mount_fs "$img" "$mnt"
check 'with the first file' cmp "$T_DIR/a" "$mnt/a"
check 'and the second' cmp "$T_DIR/b" "$mnt/b"
check 'it unmounts again' umount_fs "$mnt"
t_done
