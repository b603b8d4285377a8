#!/bin/bash
# A request is as long as the kernel lets it be: the sysctl fs.fuse.max_pages_limit, up to 2 MiB.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/../lib/uring.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
need_command python3
img=$T_DIR/img mnt=$T_DIR/mnt
limit=/proc/sys/fs/fuse/max_pages_limit
[ -w $limit ] || t_skip_all 'fs.fuse.max_pages_limit can not be set here'
make_image "$img" 128M || t_done
was=$(cat $limit)
transports=dev
! uring_on || transports='dev uring'
trap 'echo "$was" >$limit; uring_restore; t_exit' EXIT

for transport in $transports; do
	for pages in 64 256 512 2048; do
		echo $pages >$limit
		check "$transport, $pages pages: it mounts" \
			mount_fs "$img" "$mnt" -o "cache=daemon,transport=$transport" || t_done
		claims timeout 60 python3 "$(dirname "$0")/large.py" "$mnt" $pages "$CTL"
		check "$transport, $pages pages: it unmounts" umount_fs "$mnt"
	done
done
check_fsck 'the image is consistent' "$img"
t_done
