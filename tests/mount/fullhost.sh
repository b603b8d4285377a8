#!/bin/bash
# A sparse image on a host without room: programs get ENOSPC, nothing is lost, nothing becomes
# read-only, and everything goes on when the host has room again.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
need_root
host=$T_DIR/host mnt=$T_DIR/mnt img=$T_DIR/host/img
mkdir "$host"
mount -t tmpfs -o size=128m tmpfs "$host" || t_skip_all 'no tmpfs here'

# The host gets full, but for so many KiB.
fill_host()
{
	local free
	free=$(df --output=avail -k "$host" | tail -n 1)
	fallocate -l $(((free - $1) * 1024)) "$host/filler"
}

# Files 0, 1, ... with data and a long name until one fails; how many are whole.
make_files()
{
	python3 - "$mnt/$1" "$2" <<'END'
import errno, os, sys
d, size = sys.argv[1], int(sys.argv[2])
n = 0
while n < 60000:
    try:
        fd = os.open('%s/%s%d' % (d, 'n' * 60, n), os.O_CREAT | os.O_WRONLY)
        try:
            os.write(fd, b'%08d' % n * (size // 8))
            os.fsync(fd) if n % 64 == 0 else None
        finally:
            os.close(fd)
    except OSError as e:
        print(n, errno.errorcode[e.errno])
        sys.exit()
    n += 1
print(n, 'none')
END
}

# What is there of the first N files is as it was written.
verify_files()
{
	python3 - "$mnt/$1" "$2" "$3" <<'END'
import sys
for i in range(int(sys.argv[2])):
    with open('%s/%s%d' % (sys.argv[1], 'n' * 60, i), 'rb') as f:
        assert f.read() == b'%08d' % i * (int(sys.argv[3]) // 8), i
END
}

for mode in daemon kernel; do
	check "cache=$mode: an image larger than its host" make_image "$img" 1G -J 1m -f || t_done
	check "cache=$mode: it mounts" mount_fs "$img" "$mnt" -o cache=$mode,commit=1,cache_size=16m || t_done
	mkdir "$mnt/small" "$mnt/large"
	fill_host 2048
	read -r large error <<<"$(make_files large 16384)"
	check_equal ENOSPC "$error" "cache=$mode: writing data ends with ENOSPC ($large files are made)"
	# Small files are metadata alone: their nodes find no room.
	read -r small error <<<"$(make_files small 800)"
	check_equal ENOSPC "$error" "cache=$mode: so does making small files ($small are made)"
	check_fails 1 "cache=$mode: nothing became read-only" grep -q 'read-only now' "$mnt.log"
	check "cache=$mode: the host has room again" rm "$host/filler"
	check "cache=$mode: then everything is written" wait_until 20 timeout 60 "$CTL" sync "$mnt"
	check "cache=$mode: a new file can be made and synced" sh -c "
		echo new >'$mnt/new' && sync '$mnt/new'"
	check "cache=$mode: all small files are whole" verify_files small "$small" 800
	check "cache=$mode: it unmounts without a loss" umount_fs "$mnt"
	check_fsck "cache=$mode: the image is consistent" "$img"
	check "cache=$mode: it mounts again" mount_fs "$img" "$mnt" -o cache=$mode || t_done
	check "cache=$mode: all small files are there" verify_files small "$small" 800
	check "cache=$mode: all large files are there" verify_files large "$large" 16384
	check "cache=$mode: it unmounts" umount_fs "$mnt"
	rm -f "$img"
done
# The daemon lets go of the image a moment after the mount has ended.
wait_until 10 umount "$host" 2>/dev/null
t_done
