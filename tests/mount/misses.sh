#!/bin/bash
# Reads that wait for the disk beside everything else that their thread serves: nothing wrong is read,
# a bad sector costs itself alone, and nobody is left without an answer.
#
#	misses.sh daemon|kernel
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
need_command python3
img=$T_DIR/img mnt=$T_DIR/mnt
mode=${1:-daemon}
make_image "$img" 256M || t_done

misses()
{
	claims timeout 200 python3 "$(dirname "$0")/misses.py" "$1" "$mnt" "$img" "$CTL"
}

check 'it mounts' mount_fs "$img" "$mnt" -o "cache=$mode,cache_size=24m,threads=3" || t_done
misses mix
misses mark
check 'it unmounts' umount_fs "$mnt"
check_fsck 'the image is consistent' "$img"

misses damage
check 'it mounts again' mount_fs "$img" "$mnt" -o "cache=$mode,threads=3" || t_done
misses damaged

# A reader is killed again and again while its reads are under way.
kill_readers()
{
	local pid
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		python3 "$(dirname "$0")/misses.py" forever "$mnt" "$img" "$CTL" >"$T_DIR/killed" 2>&1 &
		pid=$!
		sleep 0.3
		kill -9 $pid
		wait $pid
	done
}
kill_readers 2>/dev/null &
killer=$!
misses mix
wait $killer
check 'it serves after readers were killed' timeout 20 stat "$mnt/marked"
check 'it unmounts in the end' umount_fs "$mnt"
t_done
