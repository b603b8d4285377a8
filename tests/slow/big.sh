#!/bin/bash
# Sizes: a file of 4 GiB with a cache of 64 MiB, and a directory of 100,000 files.
. "$(dirname "$0")/../lib/sh.sh"

need_fuse
need_command python3
img=$T_DIR/img mnt=$T_DIR/mnt
free_kib=$(df -Pk "$T_DIR" | awk 'NR == 2 { print $4 }')
[ "$free_kib" -gt $((6 << 20)) ] || t_skip_all "less than 6 GiB free in $T_DIR"

# 4 GiB of numbered blocks, so that any that is misplaced, lost or old shows.
cat >"$T_DIR/blocks.py" <<'PY'
import os, struct, sys
how, path, total = sys.argv[1], sys.argv[2], 4 << 30
step, body = 1 << 20, os.urandom(4096 - 16)
if how == "write":
    open(path + ".key", "wb").write(body)
else:
    body = open(path + ".key", "rb").read()
fd = os.open(path, os.O_RDWR | os.O_CREAT)
for at in range(0, total, step):
    want = b"".join(struct.pack("<QQ", at + i, ~(at + i) & (2**64 - 1)) + body
                    for i in range(0, step, 4096))
    if how == "write":
        assert os.pwrite(fd, want, at) == step
    else:
        got = os.pread(fd, step, at)
        assert got == want, "wrong contents near %d" % at
if how == "write":
    os.fsync(fd)
os.close(fd)
PY

for mode in daemon kernel; do
	make_image "$img" 5G || t_done
	check "cache=$mode mounts" mount_fs "$img" "$mnt" -o cache=$mode,cache_size=64m || t_done
	check "cache=$mode: a file of 4 GiB is written with a cache of 64 MiB" \
		timeout 600 python3 "$T_DIR/blocks.py" write "$mnt/big"
	check "cache=$mode: every block reads back" \
		timeout 600 python3 "$T_DIR/blocks.py" read "$mnt/big"
	check "cache=$mode: it unmounts" umount_fs "$mnt"
	check_fsck "cache=$mode: the image is consistent" "$img"
	check "cache=$mode mounts again" mount_fs "$img" "$mnt" -o cache=$mode,cache_size=64m || t_done
	check "cache=$mode: every block reads back after remount" \
		timeout 600 python3 "$T_DIR/blocks.py" read "$mnt/big"
	check "cache=$mode: it can be removed" rm "$mnt/big"
	check "cache=$mode: it unmounts again" umount_fs "$mnt"
	rm -f "$img"
done

check 'one hundred thousand files are remembered in bounded memory, and forgotten' \
	"$(dirname "$0")/../mount/inodes.sh" 100000
make_image "$img" 2G || t_done
check 'a cache of 64 MiB mounts' mount_fs "$img" "$mnt" -o cache_size=64m || t_done
mkdir "$mnt/d"
check '100,000 files are made in one directory' timeout 300 python3 -c "
import os
for i in range(100000): os.close(os.open('$mnt/d/file-%06d' % i, os.O_CREAT | os.O_WRONLY))"
check_equal 100000 "$(find "$mnt/d" -type f | wc -l)" 'each is listed once'
check 'each is found by name' timeout 300 python3 -c "
import os
for i in range(99999, -1, -1): os.stat('$mnt/d/file-%06d' % i)"
check 'it unmounts' umount_fs "$mnt"
check_fsck 'the image is consistent' "$img"
check 'it mounts again' mount_fs "$img" "$mnt" -o cache_size=64m || t_done
check_equal 100000 "$(find "$mnt/d" -type f | sort -u | wc -l)" 'each is listed after remount'
check 'the directory can be removed' timeout 300 rm -r "$mnt/d"
check 'it unmounts again' umount_fs "$mnt"
check_fsck 'the emptied image is consistent' "$img"
t_done
