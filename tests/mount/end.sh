#!/bin/bash
# However a mount ends, what was written is on the image and the image is clean: umount, signals,
# with files open; and a daemon that dies leaves a mount that is recognised.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
img=$T_DIR/img mnt=$T_DIR/mnt
make_image "$img" 64M || t_done

verify()
{
	check_fsck "$1: the image is consistent" "$img"
	check "$1: the journal was left clean" sh -c "mkdir -p '$T_DIR/v' && '$CTL' info '$img'"
	check "$1: it mounts again" mount_fs "$img" "$mnt" || t_done
	check "$1: the log says that the image was clean" sh -c "tail -n 4 '$mnt.log' | grep -q 'journal: clean'"
	check_equal "$2" "$(cat "$mnt/f")" "$1: what was written last is there"
}

for mode in kernel daemon; do
	check "cache=$mode mounts" mount_fs "$img" "$mnt" -o cache=$mode || t_done
	for signal in TERM INT HUP; do
		echo "$mode $signal" >"$mnt/f"
		kill -$signal "$(fs_pid "$mnt")"
		check "SIG$signal ends the daemon with 0" reap_fs "$mnt"
		check_fails 1 "SIG$signal takes the mount away" is_mounted "$mnt"
		verify "SIG$signal, cache=$mode" "$mode $signal"
		umount_fs "$mnt"
		check "cache=$mode mounts again" mount_fs "$img" "$mnt" -o cache=$mode || t_done
	done
	exec 7>"$mnt/f"
	echo "$mode held open" >&7
	kill -TERM "$(fs_pid "$mnt")"
	check 'SIGTERM ends the daemon though a file is open' reap_fs "$mnt"
	exec 7>&-
	verify "SIGTERM with an open file, cache=$mode" "$mode held open"
	echo "$mode umount" >"$mnt/f"
	check 'umount takes the mount away' detach "$mnt"
	check 'umount ends the daemon with 0' reap_fs "$mnt"
	verify "umount, cache=$mode" "$mode umount"
	umount_fs "$mnt"
done

check 'it mounts in the background' timeout 30 "$FOLIOFS" "$img" "$mnt" || t_done
check 'the mount answers when the command returns' stat "$mnt/f"
echo ctl >"$mnt/f"
check 'foliofsctl umount unmounts' timeout 60 "$CTL" umount "$mnt"
check 'then the image is free at once' timeout 5 "$FSCK" -n "$img"
check 'it mounts right after umount, while the last daemon may still write' sh -c "
	timeout 30 '$FOLIOFS' '$img' '$mnt' && dd if=/dev/zero of='$mnt/z' bs=1M count=30 status=none &&
	umount '$mnt' && timeout 30 '$FOLIOFS' '$img' '$mnt'"
exec 8<"$mnt/f"
check_fails 1 'foliofsctl umount refuses a mount in use' timeout 60 "$CTL" umount "$mnt"
exec 8<&-
check 'and works when it is not' timeout 60 "$CTL" umount "$mnt"

check 'a daemon that is killed' mount_fs "$img" "$mnt"
kill -9 "$(fs_pid "$mnt")"
wait "$(fs_pid "$mnt")" 2>/dev/null
unset "T_PIDS[$mnt]"
check_fails 32 'leaves a dead mount, which is refused as a mount point' "$FOLIOFS" "$img" "$mnt"
check_says 'Transport endpoint is not connected' 'the message says what it is'
check_says "fusermount3 -uz $mnt" 'the message names the way out'
check_fails 1 'foliofsctl recognises it too' "$CTL" stats "$mnt"
check_says 'dead mount' 'and says so'
check 'replace_stale mounts over it' timeout 30 "$FOLIOFS" "$img" "$mnt" -o replace_stale
check_equal ctl "$(cat "$mnt/f")" 'what was there is there'
check 'and unmounts' timeout 60 "$CTL" umount "$mnt"

# A request that waits when the last descriptor of the connection is closed ends with another error
# than later ones.
in_statfs()
{
	read -r nr _ <"/proc/$1/syscall" && [ "$nr" = 137 ]
}

# All threads but the kernel's own workers.
stopped()
{
	! awk '/^Name:/ { name = $2 } /^State:/ { print name, $2 }' /proc/"$1"/task/*/status |
		grep -v '^iou-' | grep -qv ' T$'
}

killed_while_asked()
{
	local status asks daemon=${T_PIDS[$mnt]}
	kill -STOP "$daemon"
	wait_until 20 stopped "$daemon"
	"$@" &
	asks=$!
	wait_until 20 in_statfs $asks || echo 'it never asked'
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null
	unset "T_PIDS[$mnt]"
	wait $asks
	status=$?
	detach "$mnt"
	return $status
}

check 'it mounts again' mount_fs "$img" "$mnt"
check_fails 32 'a mount whose daemon ends while it is asked is refused as a dead one' \
	killed_while_asked "$FOLIOFS" "$img" "$mnt"
check_says 'Transport endpoint is not connected' 'and the message says so'
check 'and again' mount_fs "$img" "$mnt"
check_fails 1 'foliofsctl recognises a mount whose daemon ends while it is asked' \
	killed_while_asked "$CTL" stats "$mnt"
check_says 'dead mount' 'and says so'
t_done
