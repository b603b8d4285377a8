#!/bin/bash
# foliofsctl freeze and thaw: an image that is copied meanwhile is consistent and complete; writers go
# on afterwards; nothing stays frozen for ever.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

img=$T_DIR/img mnt=$T_DIR/mnt copy=$T_DIR/copy there=$T_DIR/there
need_fuse

sum()
{
	sha256sum <"$img"
}

# Writers of every kind, until the file `stop` is there.
busy()
{
	local i=0
	while [ ! -e "$T_DIR/stop" ]; do
		i=$((i + 1))
		echo $i >"$mnt/new$((i % 50))"
		dd if=/dev/zero of="$mnt/big" bs=64k count=4 conv=notrunc,fsync status=none
		mv "$mnt/new$((i % 50))" "$mnt/moved"
	done
}

still_busy()
{
	kill -0 $writer 2>/dev/null
}

umount_frozen()
{
	wait_until 20 detach "$1" >/dev/null 2>&1 && reap_fs "$1"
}

for mode in daemon kernel; do
	make_image "$img" 64M -f
	check "cache=$mode mounts" mount_fs "$img" "$mnt" -o "cache=$mode,commit=1" || continue
	head -c 3000000 /dev/urandom >"$mnt/before"
	rm -f "$T_DIR/stop"
	busy &
	writer=$!
	wait_until 10 test -e "$mnt/moved"
	check 'a busy mount freezes' timeout 60 "$CTL" freeze -t 300 "$mnt"
	first=$(sum)
	check_fails 1 'freezing twice is refused' timeout 60 "$CTL" freeze "$mnt"
	check_fails 1 'sync is refused, not left waiting' timeout 60 "$CTL" sync "$mnt"
	check 'stats are still told' timeout 60 "$CTL" stats "$mnt"
	check 'files are still read' timeout 60 cmp "$mnt/before" "$mnt/before"
	check 'the image is copied' cp --sparse=always "$img" "$copy"
	# More than one commit interval.
	timeout 3 tail -f /dev/null
	check_equal "$first" "$(sum)" 'nothing was written meanwhile'
	check 'the writers are waiting, not broken' still_busy
	check 'it thaws' timeout 60 "$CTL" thaw "$mnt"
	check_fails 1 'thawing twice is refused' timeout 60 "$CTL" thaw "$mnt"
	touch "$T_DIR/stop"
	check 'the writers go on to their end' wait_until 60 daemon_ended $writer
	check 'the copy mounts' mount_fs "$copy" "$there"
	check 'and has all that was written before' cmp "$mnt/before" "$there/before"
	check 'it unmounts cleanly' umount_fs "$there"
	check_fsck 'the copy is consistent' "$copy"

	check 'it freezes for a second' timeout 60 "$CTL" freeze -t 1 "$mnt"
	echo x >"$mnt/late"
	check 'a sync that waits goes on by itself' timeout 60 sync "$mnt/late"
	check_fails 1 'thaw tells that the time was up' timeout 60 "$CTL" thaw "$mnt"
	check 'it freezes once more' timeout 60 "$CTL" freeze -t 300 "$mnt"
	echo y >"$mnt/last"
	check 'an unmount ends it' umount_frozen "$mnt"
	check_fsck 'the image is consistent' "$img"
done
t_done
