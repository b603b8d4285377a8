#!/bin/bash
# Both transports: what is asked for is used and named, what can't be had is told, and however a
# mount or a program ends, nothing hangs.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/../lib/uring.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
need_command python3 dd
img=$T_DIR/img mnt=$T_DIR/mnt
make_image "$img" 256M || t_done
here=$(dirname "$0")

# The connection of the mount in /sys/fs/fuse/connections: its device's minor number.
connection()
{
	awk -v m="$mnt" '$5 == m { split($3, d, ":"); print d[2] }' /proc/self/mountinfo
}

# Programs that read, write and sync as fast as they can, until they are killed or fail.
busy_programs()
{
	local i
	for i in 1 2 3 4; do
		python3 "$here/busy.py" "$mnt/busy$i" &
		busy="$busy $!"
	done
	for i in 1 2 3 4; do
		wait_until 20 test -s "$mnt/busy$i" || return 1
	done
}

all_ended()
{
	local p
	for p in $busy; do
		! kill -0 "$p" 2>/dev/null || return 1
	done
}

endings()
{
	local t=$1
	busy=
	check "$t: it mounts" mount_fs "$img" "$mnt" -o "cache=daemon,transport=$t" || t_done
	check "$t: programs run" busy_programs
	# shellcheck disable=SC2086
	kill -9 $busy
	check "$t: programs that are killed with requests under way end" wait_until 20 all_ended
	check "$t: and the mount still answers" timeout 20 ls "$mnt"
	rm -f "$mnt"/busy*
	check "$t: it unmounts and the daemon ends" umount_fs "$mnt"
	check_fsck "$t: the image is consistent" "$img"

	busy=
	check "$t: it mounts again" mount_fs "$img" "$mnt" -o "cache=kernel,transport=$t" || t_done
	check "$t: programs run again" busy_programs
	kill -TERM "$(fs_pid "$mnt")"
	check "$t: SIGTERM under load ends the daemon" reap_fs "$mnt"
	check "$t: and with it the programs" wait_until 20 all_ended
	detach_dead "$mnt"
	check_fsck "$t: the image is consistent after SIGTERM" "$img"

	busy=
	check "$t: it mounts after that" mount_fs "$img" "$mnt" -o "cache=daemon,transport=$t" || t_done
	check "$t: programs run once more" busy_programs
	kill -9 "$(fs_pid "$mnt")"
	check "$t: programs end when the daemon is killed" wait_until 20 all_ended
	kill_fs "$mnt" 2>/dev/null

	if [ -d /sys/fs/fuse/connections ] && [ "$(id -u)" = 0 ]; then
		busy=
		check "$t: it mounts after a kill" mount_fs "$img" "$mnt" -o "transport=$t" || t_done
		check "$t: programs run on it" busy_programs
		mountpoint -q /sys/fs/fuse/connections || mount -t fusectl fusectl /sys/fs/fuse/connections
		echo 1 >"/sys/fs/fuse/connections/$(connection)/abort"
		check "$t: programs end when the connection is aborted" wait_until 20 all_ended
		check "$t: the daemon ends when the connection is aborted" reap_fs "$mnt"
		detach_dead "$mnt"
		check_fsck "$t: the image is consistent after an abort" "$img"
	else
		t_skip "$t: nothing hangs after an abort" 'needs root and fusectl'
	fi
}

check 'transport=dev mounts' mount_fs "$img" "$mnt" -o transport=dev || t_done
check 'the log names /dev/fuse' grep 'transport /dev/fuse' "$mnt.log"
check 'a file is written' dd if=/dev/zero of="$mnt/f" bs=64k count=4 conv=fsync status=none
"$CTL" stats "$mnt" >"$T_OUT"
check_says 'requests_received +transport=dev +[1-9]' 'foliofsctl stats names the transport'
check 'it unmounts' umount_fs "$mnt"
endings dev

FOLIOFS_FUSE_MASK=$((1 << 41))
export FOLIOFS_FUSE_MASK
check 'a kernel without FUSE over io_uring mounts' mount_fs "$img" "$mnt" -o transport=uring || t_done
check 'the log says why it is /dev/fuse' grep 'transport: /dev/fuse instead of io_uring: ' "$mnt.log"
check 'it unmounts' umount_fs "$mnt"
unset FOLIOFS_FUSE_MASK

if ! uring_on; then
	t_skip 'transport=uring' 'fuse.enable_uring can not be set here'
	t_done
fi
: >"$mnt.log"
check 'transport=uring mounts' mount_fs "$img" "$mnt" -o transport=uring || t_done
if grep -q 'transport io_uring' "$mnt.log"; then
	t_pass 'the log names io_uring'
	dd if=/dev/zero of="$mnt/f" bs=64k count=64 conv=fsync status=none
	"$CTL" stats "$mnt" >"$T_OUT"
	check_says 'requests_received +transport=uring +[1-9]' 'foliofsctl stats names the transport'
	check_says 'memory_buffers +[1-9]' 'and the memory of its entries'
	check 'it unmounts' umount_fs "$mnt"
	export FOLIOFS_RING=off
	check 'without io_uring for the daemon it mounts' \
		mount_fs "$img" "$mnt" -o transport=uring || t_done
	check 'by /dev/fuse, and says why' grep 'transport: /dev/fuse instead of io_uring' "$mnt.log"
	check 'it unmounts' umount_fs "$mnt"
	unset FOLIOFS_RING
	endings uring
else
	check 'it unmounts' umount_fs "$mnt"
	t_skip 'requests through io_uring' "$(grep 'transport: ' "$mnt.log")"
fi
t_done
