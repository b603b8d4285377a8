#!/bin/bash
# What the daemon remembers of inodes: as many as the kernel knows, in bounded memory, and nothing of
# those that the kernel has forgotten. inodes.sh [NUMBER]
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

nr=${1:-10000}
# foliofs(5), MEMORY
bytes_known=48 cached_max=8192
need_root
need_fuse
need_command python3
img=$T_DIR/img mnt=$T_DIR/mnt

gauge()
{
	timeout 20 "$CTL" stats --json "$mnt" | python3 -c "import json,sys; print(json.load(sys.stdin)['$1'])"
}

# Dentries and inodes that nobody uses: the kernel forgets them.
all_forgotten()
{
	echo 2 >/proc/sys/vm/drop_caches
	[ "$(gauge inodes_known)" -le 1 ]
}

for mode in daemon kernel; do
	make_image "$img" 512M -f || t_done
	check "cache=$mode mounts" mount_fs "$img" "$mnt" -o "cache=$mode,cache_size=32m" || t_done
	start=$(gauge memory_inodes_bytes)
	check "cache=$mode: $nr files are made and listed" timeout 600 python3 -c "
import os
for d in range($nr // 1000):
    os.mkdir('$mnt/d%d' % d)
    for i in range(1000):
        os.close(os.open('$mnt/d%d/f%d' % (d, i), os.O_CREAT | os.O_WRONLY))
n = sum(e.stat().st_size == 0 for d in os.scandir('$mnt') for e in os.scandir(d.path))
assert n == $nr, n"
	known=$(gauge inodes_known) cached=$(gauge inodes_cached) bytes=$(gauge memory_inodes_bytes)
	check "cache=$mode: what the kernel knows is counted ($known)" \
		test "$known" -ge "$nr" -a "$known" -le $((nr + nr / 1000))
	check "cache=$mode: few of them are kept in memory ($cached)" \
		test "$cached" -le $((cached_max + 300))
	: "${start:?}" "${known:?}" "${cached:?}" "${bytes:?}"
	room=$((cached * 832 + known * bytes_known))
	check "cache=$mode: they take at most $bytes_known bytes each ($((bytes - start)) in all)" \
		test $((bytes - start)) -le $room
	check "cache=$mode: what the kernel forgets is forgotten, to the last inode" \
		wait_until 60 all_forgotten
	check "cache=$mode: a file is found again" test -e "$mnt/d1/f1"
	check "cache=$mode: it unmounts" umount_fs "$mnt"
	check_fsck "cache=$mode: the image is consistent" "$img"
done
t_done
