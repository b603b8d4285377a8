#!/bin/bash
# The daemon is killed with SIGKILL in the middle of work, again and again: what was synced before is
# there after the next mount, and the image is consistent.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

rounds=${1:-12}
need_fuse
need_command python3
img=$T_DIR/img mnt=$T_DIR/mnt synced=$T_DIR/synced
: >"$synced"

# Writes files of random sizes; after fsync of file and directory the name and sum go to the list,
# in the order in which that became true. Also unlinks, renames and overwrites for unrest.
cat >"$T_DIR/writer.py" <<'PY'
import hashlib, os, random, sys
mnt, synced, seed = sys.argv[1], open(sys.argv[2], "a", buffering=1), int(sys.argv[3])
rnd = random.Random(seed)
root = os.open(mnt, os.O_RDONLY)
if not os.path.ismount(mnt):
    sys.exit(0)  # killed before this began: below is the host's folder
n = 0
try:
    os.close(os.open(mnt + "/started-%d" % seed, os.O_CREAT | os.O_WRONLY))
    while os.path.ismount(mnt):
        name = "s%d-%d" % (seed, n)
        data = rnd.randbytes(rnd.choice((10, 3000, 5000, 70000, 1 << 20)))
        fd = os.open(mnt + "/tmp-" + name, os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, data)
        if n % 3 == 0:
            os.fsync(fd)
        os.rename(mnt + "/tmp-" + name, mnt + "/" + name)
        os.fsync(fd)
        os.fsync(root)
        os.close(fd)
        synced.write("%s  %s\n" % (hashlib.md5(data).hexdigest(), name))
        junk = mnt + "/junk-%d" % rnd.randrange(20)
        with open(junk, "wb") as f:
            f.write(rnd.randbytes(rnd.randrange(300000)))
        if n % 5 == 0:
            os.unlink(junk)
        n += 1
except OSError:
    pass
PY

make_image "$img" 1G || t_done
for round in $(seq "$rounds"); do
	mode=daemon
	[ $((round % 2)) = 0 ] && mode=kernel
	if ! mount_fs "$img" "$mnt" -o "cache=$mode,cache_size=32m" >"$T_OUT" 2>&1; then
		t_fail "round $round: the image mounts after a kill"
		t_done
	fi
	[ ! -s "$synced" ] || check "round $round: what was synced before the kill is there" \
		sh -c "cd '$mnt' && timeout 300 md5sum -c --quiet '$synced'" || t_done
	[ $((round % 4)) != 0 ] || rm -f "$mnt"/junk-*
	# A long run must not end on a full disk.
	[ $((round % 20)) != 0 ] || { : >"$synced" && rm -f "$mnt"/s*; }
	python3 "$T_DIR/writer.py" "$mnt" "$synced" "$round" &
	writer=$!
	wait_until 20 test -e "$mnt/started-$round"
	sleep "0.$((round * 37 % 90 + 10))"
	kill_fs "$mnt"
	wait $writer
	cp --sparse=always "$img" "$img.copy"
	check_fsck "round $round: the image of the killed daemon is consistent" "$img.copy" || t_done
done
check 'the image mounts after the last kill' mount_fs "$img" "$mnt"
check 'everything that was ever synced is there' \
	sh -c "cd '$mnt' && timeout 300 md5sum -c --quiet '$synced'"
check 'something was synced' test -s "$synced"
check 'it unmounts cleanly' umount_fs "$mnt"
check_fsck 'the image is consistent' "$img"
t_done
