#!/bin/bash
# All I/O on the image goes through io_uring: under load the daemon makes no read or write call on
# it; and the ways around io_uring work too.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
need_command strace dd
img=$T_DIR/img mnt=$T_DIR/mnt

load()
{
	timeout 100 dd if=/dev/urandom of="$mnt/f" bs=1M count=64 conv=fsync status=none &&
		timeout 100 dd if=/dev/urandom of="$mnt/f" bs=4k count=500 seek=99 conv=notrunc,fsync \
			status=none &&
		"$CTL" drop "$mnt" >/dev/null && timeout 100 md5sum "$mnt/f" >/dev/null &&
		mkdir -p "$mnt/d" && (cd "$mnt/d" && seq 500 | xargs touch) && rm -r "$mnt/d" &&
		"$CTL" sync "$mnt"
}

make_image "$img" 256M || t_done
check 'an image mounts' mount_fs "$img" "$mnt" -o cache_size=16m || t_done
if grep -q 'device: uring' "$mnt.log"; then
	strace -f -y -qq -e trace=read,write,pread64,pwrite64,preadv,pwritev,preadv2,pwritev2,readv,writev \
		-o "$T_DIR/trace" -p "$(fs_pid "$mnt")" 2>"$T_DIR/strace.err" &
	tracer=$!
	if wait_until 5 grep -q . "/proc/$tracer/task/$tracer/children" || true; then
		sleep 0.5
	fi
	check 'the load runs' load
	kill -INT $tracer
	wait $tracer 2>/dev/null
	if [ -s "$T_DIR/trace" ]; then
		check_equal 0 "$(grep -c "<$img>" "$T_DIR/trace")" \
			'no read or write call was made on the image'
	else
		t_skip 'no read or write call was made on the image' "strace: $(head -1 "$T_DIR/strace.err")"
	fi
else
	t_skip 'no read or write call on the image' 'no io_uring here'
fi
check 'it unmounts' umount_fs "$mnt"
check_fsck 'the image is consistent' "$img"

for way in off no-fixed no-clone no-vector no-files plain-setup; do
	export FOLIOFS_RING=$way
	if mount_fs "$img" "$mnt-$way" -o cache_size=16m >"$T_OUT" 2>&1; then
		mnt=$mnt-$way
		check "$way: the load runs" load
		grep -h '^foliofs: device:' "$mnt.log"
		check "$way: it unmounts" umount_fs "$mnt"
		check_fsck "$way: the image is consistent" "$img"
		mnt=$T_DIR/mnt
	else
		t_fail "$way: the image mounts"
	fi
	unset FOLIOFS_RING
done
t_done
