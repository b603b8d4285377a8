#!/bin/bash
# The block log of a real mount, replayed: at every flush the image is consistent, and what was synced
# before has its contents. A program of its own reads the log here, as foreign tools would.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
need_command python3
img=$T_DIR/img mnt=$T_DIR/mnt log=$T_DIR/log base=$T_DIR/base
export PYTHONPATH=$T_DIR

# Byte i of a file with this seed; tests/sim/replay.c knows the same rule.
cat >"$T_DIR/content.py" <<'PY'
def content(seed, size):
    return bytes((seed + i * 7 + (i >> 8)) & 0xff for i in range(size))
PY

cat >"$T_DIR/work.py" <<'PY'
import os, random, subprocess, sys
from content import content
mnt, ctl = sys.argv[1:]
rnd = random.Random(1)
root = os.open(mnt, os.O_RDONLY)
for n in range(30):
    name, seed = "f%d" % n, rnd.randrange(256)
    size = rnd.choice((100, 3000, 5000, 40000, 200000))
    fd = os.open(mnt + "/tmp", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    os.write(fd, content(seed, size))
    os.rename(mnt + "/tmp", mnt + "/" + name)
    if n % 3:
        os.fsync(fd)
        os.fsync(root)
        subprocess.run([ctl, "mark", mnt, "synced %s %d %d" % (name, size, seed)], check=True)
    os.close(fd)
    if n % 4 == 3:
        with open(mnt + "/junk%d" % (n % 3), "wb") as f:
            f.write(b"j" * rnd.randrange(100000))
PY

# replay.py LOG IMAGE NR: applies the log up to its flush number NR, prints the marks until then;
# without NR the number of flushes.
cat >"$T_DIR/replay.py" <<'PY'
import os, struct, sys
log = open(sys.argv[1], "rb")
magic, version, entries, unit = struct.unpack("<QQQI", log.read(28))
assert (magic, version) == (0x6a736677736872, 1), "no log"
image = os.open(sys.argv[2], os.O_RDWR) if len(sys.argv) > 3 else None
limit = int(sys.argv[3]) if image else 1 << 60
pos, flushes = unit, 0
for i in range(entries):
    log.seek(pos)
    sector, nr, flags, length = struct.unpack("<QQQQ", log.read(32))
    text, data = log.read(length), b""
    pos += unit
    if not flags & 4 and nr:
        log.seek(pos)
        data = log.read(nr * unit)
        assert len(data) == nr * unit, "short log"
        pos += len(data)
    if flags & 1:
        flushes += 1
    if image:
        if flags & 8:
            print(text.decode())
        os.pwrite(image, b"\0" * nr * unit if flags & 4 else data, sector * unit)
    if flushes == limit:
        break
if not image:
    print(flushes)
PY

# verify.py MOUNT: "synced NAME SIZE SEED" lines from standard input.
cat >"$T_DIR/verify.py" <<'PY'
import sys
from content import content
bad = 0
for line in sys.stdin:
    word = line.split()
    if word[0] == "synced":
        with open(sys.argv[1] + "/" + word[1], "rb") as f:
            if f.read() != content(int(word[3]), int(word[2])):
                print("other contents:", word[1])
                bad = 1
sys.exit(bad)
PY

make_image "$img" 64M
cp --sparse=always "$img" "$base"
echo 'dear diary' >"$T_DIR/letter"
check_fails 32 'a file that is no log is not written over' \
	timeout 20 "$FOLIOFS" -f "$img" "$mnt.no" -o "writelog=$T_DIR/letter"
mkdir -p "$mnt.no"
check_fails 32 'nor with a mount point that is there' \
	timeout 20 "$FOLIOFS" -f "$img" "$mnt.no" -o "writelog=$T_DIR/letter"
check_says 'not an older block log' 'and the message says why'
check 'a mount with a block log' mount_fs "$img" "$mnt" -o "writelog=$log,cache_size=16m"
check 'a workload runs' timeout 120 python3 "$T_DIR/work.py" "$mnt" "$CTL"
check 'it unmounts cleanly' umount_fs "$mnt"
check 'a mount without one' mount_fs "$img" "$mnt"
check_fails 1 'a mark without a log is refused' "$CTL" mark "$mnt" text
check 'it unmounts cleanly' umount_fs "$mnt"

flushes=$(python3 "$T_DIR/replay.py" "$log" "$base")
check 'there are flushes to replay' test "$flushes" -ge 30
good=0 mounted=0
for n in $(seq "$flushes"); do
	cp --sparse=always "$base" "$img.n"
	python3 "$T_DIR/replay.py" "$log" "$img.n" "$n" >"$T_DIR/marks" || break
	if ! timeout 60 "$FSCK" -n "$img.n" >"$T_OUT" 2>&1; then
		t_fail "flush $n: the image is consistent"
		break
	fi
	good=$n
	[ $((n % 8)) = 0 ] || [ "$n" = "$flushes" ] || continue
	check "flush $n: the image mounts" mount_fs "$img.n" "$mnt" || break
	check "flush $n: what was synced is there" \
		python3 "$T_DIR/verify.py" "$mnt" <"$T_DIR/marks"
	umount_fs "$mnt" || break
	mounted=$((mounted + 1))
done
check_equal "$flushes" "$good" "the image is consistent at each of $flushes flushes"
check_equal "$((flushes / 8 + (flushes % 8 > 0)))" "$mounted" 'and was mounted at every eighth'
check 'the simulator finds no crash image that breaks a promise' \
	timeout 300 "$FOLIOFS_BUILD/tests/sim/sim_replay" "$base" "$log"
check_says '[0-9]+ crash images' 'and it made some'

# The same where the log is written with writes that are durable by themselves.
make_image "$img" 64M -f
cp --sparse=always "$img" "$base"
check 'a mount with fua=on' mount_fs "$img" "$mnt" -o "fua=on,writelog=$log,cache_size=16m"
check 'the workload runs' timeout 120 python3 "$T_DIR/work.py" "$mnt" "$CTL"
"$CTL" stats "$mnt" | awk '/^disk_durable_writes / { d = $2 } /^disk_flushes / { f = $2 }
	END { print d + 0, f + 0 }' >"$T_DIR/counted"
read -r durable few <"$T_DIR/counted"
check 'most syncs are a write without a flush' [ "$durable" -ge 20 ]
check 'and fewer flushes than before' [ "$few" -lt "$flushes" ]
check 'it unmounts cleanly' umount_fs "$mnt"
check 'the simulator finds no crash image of it that breaks a promise' \
	timeout 300 "$FOLIOFS_BUILD/tests/sim/sim_replay" "$base" "$log"
check_says '[0-9]+ crash images' 'and it made some'
check_fails 1 'fua= takes its three words only' timeout 20 "$FOLIOFS" -f "$img" "$mnt" -o fua=yes
t_done
