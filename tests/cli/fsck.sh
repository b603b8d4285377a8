#!/bin/bash
# Goal: the exit codes and messages of fsck.foliofs on sound, damaged, foreign and busy images.
. "$(dirname "$0")/../lib/sh.sh"

cd "$T_DIR" || exit 1

fsck()
{
	timeout 60 "$FSCK" "$@" </dev/null
}

# damage FILE BYTE: one byte changes.
damage()
{
	printf X | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

make_image img 1100M
check 'a sound image is clean' fsck img
check_says '^img: clean, 1 inodes, [0-9]+/281600 sectors$' 'and its use is printed'
for option in -a -p -n -f '-f -v -t' '-C 1 -f' -aM '-A -T -M -n'; do
	# shellcheck disable=SC2086
	check "a sound image is clean with $option" fsck $option img
done
check 'progress goes to a descriptor' fsck -n -C 1 img
check_says '^4 2 2 img$' 'as pass, done, total, target'
check '-V prints the version' fsck -V
check '--help prints the options' fsck --help

# ---- damage ----
cp --sparse=always img bad
damage bad $((1024 + 200))
for option in -n -a -f; do
	check_fails 4 "a damaged superblock with $option is status 4" fsck $option bad
done
check_says '^bad: superblock: .*using the copy at sector 262144' 'and a copy is used'
check_says 'Repair is not available' 'and repair is said not to be there'
cp --sparse=always img bad
damage bad $((4096 + 300))
check_fails 4 'a damaged root sector is status 4' fsck -n bad
check_says 'root-sector' 'and named'
check_fails 4 'also when the clean mark is trusted' fsck -p bad
before=$(sha256sum <bad)
check_fails 16 '-y is refused' fsck -y bad
check_says 'repair is not supported' 'by name'
check_equal "$before" "$(sha256sum <bad)" 'none of them changed anything'
truncate -s 500M bad
check_fails 4 'an image that was cut short is status 4' fsck -n bad
make_image one 8M
damage one $((1024 + 200))
check_fails 12 'a damaged superblock without a copy is status 4 and 8' fsck -n one

# ---- what can't be checked ----
truncate -s 8M zero
check_fails 8 'an image without file system is status 8' fsck -n zero
check_says 'no FolioFS file system' 'and the message says so'
check_fails 8 'a file that is not there is status 8' fsck -n nothing
check_fails 8 'a directory is status 8' fsck -n .
check_fails 16 'no target is status 16' fsck -n
check_fails 16 'two targets are status 16' fsck -n img img
check_fails 16 'an unknown option is status 16' fsck --forse img
check_says "did you mean '--force'" 'and the nearest is named'
if command -v flock >/dev/null; then
	exec 9<img
	flock -n 9
	check_fails 8 'an image in use is status 8' fsck -n img
	check_says 'img: in use' 'and the message says so'
	exec 9<&-
else
	t_skip 'an image in use' 'no flock here'
fi

t_done
