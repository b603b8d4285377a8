#!/bin/bash
# Random operations on names in four processes at once, on a mount; then a walk over what is there,
# before and after a remount, and fsck: names.sh MODE [OPERATIONS [SEED [OPTIONS]]]
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/../mount/lib.sh"

mode=${1:-daemon} ops=${2:-3000} seed=${3:-$RANDOM} options=${4:-}
here=$(cd "$(dirname "$0")" && pwd)
img=$T_DIR/img mnt=$T_DIR/mnt
need_fuse
need_command python3

mount_it()
{
	mount_fs "$img" "$mnt" -o "cache=$mode,cache_size=16m,commit=1${options:+,$options}"
}

# The tree as a list, sorted: names, types, links, targets.
tree()
{
	(cd "$mnt" && find . -printf '%p %y %i %n %m %l\n' | sort)
}

make_image "$img" 64M || t_done
check "an image mounts with cache=$mode" mount_it || t_done
claims timeout 500 "$here/names.py" "$mnt" 0 4 "$seed" "$ops"
head -n 1 "$T_DIR/claims"
tree >"$T_DIR/before"
check 'it unmounts cleanly' umount_fs "$mnt"
check_fsck 'the image is consistent' "$img"
check 'it mounts again' mount_it || t_done
tree >"$T_DIR/after"
check 'everything is as it was' cmp "$T_DIR/before" "$T_DIR/after"
check 'all of it can be removed' rm -rf "$mnt/shared" "$mnt"/own*
check 'it unmounts cleanly' umount_fs "$mnt"
check_fsck 'the image is consistent' "$img"
t_done
