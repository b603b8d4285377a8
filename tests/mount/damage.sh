#!/bin/bash
# What a program comes upon that is damaged is told with operation, inode, address and reason: in
# the log, and in the record of errors, while mounted and afterwards.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
img=$T_DIR/img mnt=$T_DIR/mnt
damage() { python3 "$(dirname "$0")/damage.py" "$@"; }
logged() { grep -qE -- "$1" "$mnt.log"; }
# Where the first sector of this inode is on the disk.
disk_of() { "$CTL" dump "$img" inode "$1" | sed -n 's/.*file_sector=0 disk_sector=\([0-9]*\).*/\1/p'; }

make_image "$img" 64M || t_done
check 'it mounts' mount_fs "$img" "$mnt" || t_done
head -c 100000 /dev/urandom >"$T_DIR/data"
cp "$T_DIR/data" "$mnt/data"
mkdir "$mnt/dir"
for i in {1..400}; do echo >"$mnt/dir/a-name-long-enough-to-fill-nodes-$i"; done
file=$(stat -c %i "$mnt/data") dir=$(stat -c %i "$mnt/dir")
check 'it unmounts' umount_fs "$mnt"

sector=$(($(disk_of "$file") + 5))
read -r node name < <(damage leaf "$img" "$dir")
: >"$T_OUT"
check 'a bit of data flips' damage flip "$img" $((sector * 4096 + 77))
check 'and one of the names' damage flip "$img" $((node * 4096 + 9000))
check 'it mounts all the same' mount_fs "$img" "$mnt" || t_done
check_fails 1 'the file can not be read to its end' cat "$mnt/data"
check 'but up to the damage' cmp -n 20480 "$T_DIR/data" "$mnt/data"
check_fails 1 'a name in the node can not be looked up' stat "$mnt/dir/$name"

read_says="read of inode $file: file sector 5, sector $sector: file data: wrong checksum"
look_says="lookup of inode $dir: sector $node: metadata header: wrong checksum"
check 'the log tells of the read, with inode and address' logged "corruption: $read_says"
check 'and of the lookup' logged "corruption: $look_says"

says()
{
	check_says "  read +file data: wrong checksum, inode $file, sector $sector, [0-9]+ time" \
		"$1 the read, with inode and address"
	check_says "  lookup +metadata header: wrong checksum, inode $dir, sector $node, [0-9]+ time" \
		"$1 the lookup"
}

check 'the record of errors can be asked for' "$CTL" errors "$mnt"
says 'it has'
check 'also as JSON' "$CTL" errors --json "$mnt"
python3 - "$T_OUT" "$file" "$sector" "$dir" "$node" >"$T_DIR/json" 2>&1 <<'PY'
import json, sys
record = json.load(open(sys.argv[1]))
got = {(e['operation'], e['operation_number'], e['inode'], e['sector']) for e in record['errors']}
file, sector, directory, node = map(int, sys.argv[2:])
assert got == {('read', 29, file, sector), ('lookup', 16, directory, node)}, got
assert record['total'] == sum(e['count'] for e in record['errors'])
PY
check_equal '' "$(cat "$T_DIR/json")" 'which says the same'
check 'it unmounts again' umount_fs "$mnt"
check 'the record is in the image' "$CTL" errors "$img"
says 'it has kept'
check 'and can be had from there as JSON' "$CTL" errors --json "$img"
check_says '"operation": "lookup", "operation_number": 16, "reason":' 'with the numbers'
t_done
