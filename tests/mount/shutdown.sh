#!/bin/bash
# A shutdown, by foliofsctl or by the ioctl that programs know from XFS and ext4, is a power cut:
# everything fails at once, unmounting works, and the next mount has what was synced.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
need_command python3
img=$T_DIR/img mnt=$T_DIR/mnt

cat >"$T_DIR/ioctl.py" <<'PY'
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, 0x8004587d, (2).to_bytes(4, "little"))
PY

# Synced, not synced (a commit for want of room may still take it), and a writer that goes on.
cat >"$T_DIR/work.py" <<'PY'
import os, sys
mnt = sys.argv[1]
with open(mnt + "/synced", "wb") as f:
    f.write(b"s" * 300000)
    f.flush()
    os.fsync(f.fileno())
fd = os.open(mnt, os.O_RDONLY)
os.fsync(fd)
os.mkdir(mnt + "/dir")
open(mnt + "/ready", "wb").close()
try:
    with open(mnt + "/stream", "wb", buffering=0) as f:
        while True:
            for i in range(200):
                f.write(b"x" * 100000)
            # Only fsync hears of what the kernel could not write.
            if sys.argv[2] == "kernel":
                os.fsync(f.fileno())
            f.seek(0)
except OSError as e:
    print(e, file=sys.stderr)
    sys.exit(0 if e.errno == 5 else 1)
PY

fails_with_eio()
{
	! timeout 20 "$@" >"$T_OUT.eio" 2>&1 && grep -q 'Input/output error' "$T_OUT.eio"
}

# one_way NAME MODE COMMAND...: the command shuts down.
one_way()
{
	local name=$1 mode=$2 writer
	shift 2
	make_image "$img" 256M -f
	check "$name: it mounts" mount_fs "$img" "$mnt" -o "cache=$mode,cache_size=16m,commit=300"
	python3 "$T_DIR/work.py" "$mnt" "$mode" &
	writer=$!
	wait_until 30 test -e "$mnt/ready"
	check "$name: the shutdown is accepted" timeout 20 "$@"
	check "$name: a program that writes gets EIO" timeout 60 tail --pid=$writer -f /dev/null
	kill $writer 2>/dev/null
	wait $writer
	check_equal 0 $? "$name: and nothing else"
	check "$name: creating fails with EIO" fails_with_eio touch "$mnt/new"
	check "$name: removing fails with EIO" fails_with_eio rmdir "$mnt/dir"
	check "$name: listing fails with EIO" fails_with_eio ls "$mnt"
	check "$name: it unmounts" umount_fs "$mnt"
	cp --sparse=always "$img" "$img.copy"
	check_fsck "$name: the image is consistent" "$img.copy"
	check "$name: it mounts again" mount_fs "$img" "$mnt"
	check "$name: what was synced is there" \
		sh -c "head -c 300000 /dev/zero | tr '\\0' s | cmp - '$mnt/synced'"
	check "$name: it unmounts cleanly" umount_fs "$mnt"
	check_fsck "$name: the image is clean" "$img"
}

one_way 'foliofsctl, daemon' daemon "$CTL" shutdown "$mnt"
one_way 'ioctl, daemon' daemon python3 "$T_DIR/ioctl.py" "$mnt"
one_way 'foliofsctl, kernel' kernel "$CTL" shutdown "$mnt"

make_image "$img" 64M -f
check 'it mounts' mount_fs "$img" "$mnt"
mkdir "$mnt/dir"
check_fails 1 'the ioctl is refused on another directory' python3 "$T_DIR/ioctl.py" "$mnt/dir"
check_fails 2 'shutdown without a mount is refused' "$CTL" shutdown
check 'it unmounts cleanly' umount_fs "$mnt"
t_done
