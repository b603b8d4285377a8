#!/bin/bash
# The kernel asks the daemon no more often than it has to, in either cache mode.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
need_command python3
img=$T_DIR/img mnt=$T_DIR/mnt
make_image "$img" 64M || t_done
for mode in daemon kernel; do
	check "cache=$mode mounts" mount_fs "$img" "$mnt" -o cache=$mode,cache_size=16m || t_done
	mkdir "$mnt/$mode"
	claims timeout 100 python3 "$(dirname "$0")/roundtrips.py" "$mnt/$mode" $mode "$CTL"
	check "cache=$mode unmounts" umount_fs "$mnt"
done
# A kernel that does not know directories without OPENDIR, nor truncation by OPEN.
export FOLIOFS_FUSE_MASK=$((1 << 24 | 1 << 3))
check 'a kernel without NO_OPENDIR_SUPPORT and ATOMIC_O_TRUNC mounts' mount_fs "$img" "$mnt" || t_done
unset FOLIOFS_FUSE_MASK
check 'directories are listed there' sh -c "ls '$mnt/daemon' | grep -q c19"
check 'files are truncated by an open' sh -c "echo more >'$mnt/kernel/c1' && [ \$(cat '$mnt/kernel/c1') = more ]"
check 'a removed directory that is open can still be listed' sh -c "
	mkdir '$mnt/gone' && cd '$mnt/gone' && rmdir '$mnt/gone' && ls -a"
check 'it unmounts' umount_fs "$mnt"
check_fsck 'the image is consistent' "$img"
t_done
