#!/bin/bash
# Random operations on the contents of files do what a model says, on a mount that is unmounted and
# mounted again now and then: mount.sh MODE [BLOCK [OPERATIONS [SEED]]]
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/../mount/lib.sh"

mode=${1:-daemon} block=${2:-${FOLIOFS_TEST_BLOCK:-4k}} ops=${3:-20000} seed=${4:-1}
img=$T_DIR/img mnt=$T_DIR/mnt
need_fuse
# Mapped pages and write(2) agree only where the kernel caches, and there a file that is open for
# writing can't be searched for holes: docs/POSIX.md.
limits=(--own-maps)
[ "$mode" != kernel ] || limits=(--without seek)

mount_it()
{
	mount_fs "$img" "$mnt" -o "cache=$mode,cache_size=16m"
}

serve_remount()
{
	umount_fs "$mnt" && mount_it
}

# shellcheck disable=SC2016 # the exerciser's shell expands it
exercise()
{
	served "$T_DIR/out" timeout 500 "$FOLIOFS_BUILD/tests/exercise/exercise_mount" --seed "$seed" \
		--ops "$ops" --files 3 --size 300000 "${limits[@]}" --save "$T_DIR/list" \
		--remount 'sh -c "$SERVE_CMD" - remount' "$mnt"
	local status=$?
	cat "$T_DIR/out" "$T_DIR/out.err"
	[ $status = 0 ] || cat "$T_DIR/list"
	return $status
}

make_image "$img" 128M -b "$block" || t_done
check "an image mounts with cache=$mode" mount_it || t_done
check "$ops operations (seed $seed) do what the model says" exercise
cat "$T_DIR/out"
check 'it unmounts cleanly' umount_fs "$mnt"
check_fsck 'the image is consistent' "$img"
t_done
