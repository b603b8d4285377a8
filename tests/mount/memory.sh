#!/bin/bash
# Memory: the daemon stays within cache_size and a constant (foliofs(5), MEMORY), and cache, journal
# and device may all be full at once.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

# foliofs(5): cache_size, plus this, plus 4 MiB for each GiB of cache.
beyond_kib=$((40 * 1024))
need_fuse
need_command dd md5sum
case $(file -L "$FOLIOFS" 2>/dev/null; ldd "$FOLIOFS" 2>/dev/null) in
*libasan* | *libtsan*) bound=no ;;
*) bound=yes ;;
esac

for mode in daemon kernel; do
	img=$T_DIR/img-$mode mnt=$T_DIR/mnt-$mode
	make_image "$img" 1200M || t_done
	check "cache=$mode mounts with a cache of 16 MiB" \
		mount_fs "$img" "$mnt" -o "cache=$mode,cache_size=16m" || t_done
	dd if=/dev/urandom of="$T_DIR/data" bs=1M count=200 status=none
	check "cache=$mode: a file of 200 MiB is written" \
		timeout 200 dd if="$T_DIR/data" of="$mnt/big" bs=1M conv=fsync status=none
	copies=
	for i in 1 2 3 4; do
		timeout 200 cp "$mnt/big" "$mnt/copy$i" &
		copies="$copies $!"
	done
	# shellcheck disable=SC2086
	wait $copies
	for i in 1 2 3 4; do
		check "cache=$mode: copy $i made beside three others is right" \
			timeout 200 cmp "$T_DIR/data" "$mnt/copy$i"
	done
	peak=$(peak_kib "$(fs_pid "$mnt")")
	if [ $bound = yes ]; then
		check "cache=$mode: at most cache_size + $beyond_kib KiB was resident ($peak KiB)" \
			test "$peak" -le $((16 * 1024 + beyond_kib))
	else
		t_skip "cache=$mode: the resident size is bounded" 'not meaningful with sanitizers'
	fi
	check "cache=$mode: it unmounts" umount_fs "$mnt"
	check_fsck "cache=$mode: the image is consistent" "$img"
	rm -f "$img"
done

# All full: 16 MiB of cache, the smallest journal, a device that writers fill up.
img=$T_DIR/full mnt=$T_DIR/mnt-full
make_image "$img" 96M -J 1M || make_image "$img" 96M || t_done
check 'a small device mounts' mount_fs "$img" "$mnt" -o cache=daemon,cache_size=16m || t_done
fill()
{
	local n=0
	while dd if="$T_DIR/data" of="$mnt/w$1-$n" bs=64k count=32 conv=fsync status=none; do
		n=$((n + 1))
	done
	for i in $(seq 300); do
		echo "$1 $i" >"$mnt/small-$1-$i" || break
	done
}
workers=()
for i in 1 2 3 4; do
	fill $i >>"$T_DIR/fill.log" 2>&1 &
	workers+=($!)
done
writers_end()
{
	local pid
	for pid in "${workers[@]}"; do
		kill -0 "$pid" 2>/dev/null && return 1
	done
	return 0
}
check 'four writers fill it and end' wait_until 200 writers_end
kill "${workers[@]}" 2>/dev/null
wait "${workers[@]}"
check 'they were told that there is no space' grep -q 'No space left' "$T_DIR/fill.log"
check 'on a full device a file can be overwritten' \
	dd if="$T_DIR/data" of="$mnt/w1-0" bs=64k count=16 conv=notrunc,fsync status=none
check 'on a full device a file can be removed' rm "$mnt/w1-0"
check 'on a full device a file can be shortened' truncate -s 0 "$mnt/w2-0"
check 'on a full device a file can be renamed' mv "$mnt/w3-0" "$mnt/renamed"
check 'then there is space again' \
	timeout 60 dd if="$T_DIR/data" of="$mnt/again" bs=64k count=16 conv=fsync status=none
check 'what was written is right' cmp -n 1048576 "$T_DIR/data" "$mnt/again"
check 'the full device unmounts' umount_fs "$mnt"
check_fsck 'the full image is consistent' "$img"
t_done
