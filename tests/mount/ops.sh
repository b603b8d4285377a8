#!/bin/bash
# System calls on a mounted file system do what they should: ops.py, in one cache mode ($1), with
# mount options ($2) and with a size of blocks ($3,
# else as make_image).
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

mode=${1:-kernel} options=${2:-} block=${3:-${FOLIOFS_TEST_BLOCK:-4k}}
need_fuse
need_command python3 setfattr
make_image "$T_DIR/img" 256M -f -b "$block" || t_done
check "an image mounts with cache=$mode${options:+,$options}" \
	mount_fs "$T_DIR/img" "$T_DIR/mnt" -o "cache=$mode${options:+,$options}" || t_done

# bdi_is FILE VALUE: the setting of the mount in the kernel, if it can be seen and changed here.
bdi_is()
{
	local file now
	file=/sys/class/bdi/$(mountpoint -d "$T_DIR/mnt")/$1
	if [ "$(id -u)" != 0 ] || ! now=$(cat "$file" 2>/dev/null) ||
		! { echo "$now" >"$file"; } 2>/dev/null; then
		t_skip "the mount's $1 is $2" 'not permitted here, or not known to this kernel'
	else
		check "the mount's $1 is $2" [ "$now" = "$2" ]
	fi
}

bdi_is strict_limit 0
bdi_is max_ratio 100
[ "$mode" = daemon ] || bdi_is read_ahead_kb 8192
claims timeout 300 python3 "$(dirname "$0")/ops.py" "$mode" "$T_DIR/mnt"
(cd "$T_DIR/mnt" && find . -type f -print0 | sort -z | xargs -0 md5sum) >"$T_DIR/sums" 2>"$T_OUT"
check 'it unmounts cleanly' umount_fs "$T_DIR/mnt"
check_fsck 'the image is consistent' "$T_DIR/img"
check 'it mounts again' mount_fs "$T_DIR/img" "$T_DIR/mnt" -o "cache=$mode${options:+,$options}" ||
	t_done
check 'every file has the same contents after remount' \
	sh -c "cd '$T_DIR/mnt' && timeout 120 md5sum -c --quiet '$T_DIR/sums'"
"$CTL" stats "$T_DIR/mnt" | awk '/^cache_demotions / { n = $2 } END { print n + 0 }' >"$T_OUT"
if [ "$mode" = kernel ]; then
	check 'what the kernel has now is the first to go here' [ "$(cat "$T_OUT")" -gt 0 ]
else
	check 'what nobody else keeps is not demoted' [ "$(cat "$T_OUT")" = 0 ]
fi
check 'everything can be removed' find "$T_DIR/mnt" -mindepth 1 -delete
check 'it unmounts cleanly again' umount_fs "$T_DIR/mnt"
check_fsck 'the emptied image is consistent' "$T_DIR/img"
t_done
