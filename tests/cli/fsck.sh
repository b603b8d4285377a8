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
before=$(sha256sum <bad)
check_fails 4 'a damaged superblock with -n is status 4' fsck -n bad
check_says '^bad: superblock: .*using the copy at sector 1$' 'and a copy is used'
check_says 'Nothing was changed' 'and it says that nothing was changed'
check_equal "$before" "$(sha256sum <bad)" 'and nothing was'
for option in -a -f -y; do
	cp --sparse=always img bad
	damage bad $((1024 + 200))
	check_fails 1 "with $option it is written again: status 1" fsck $option bad
	check_says '^bad: superblock: .*: written again$' 'and that is said'
	check "and then it is clean" fsck -n bad
	check_equal "$(sha256sum <img | cut -c-64)" \
		"$(sha256sum <bad | cut -c-64)" 'and as it was, byte for byte'
done
cp --sparse=always img bad
damage bad $((4096 + 300))
damage bad $((4096 + 400))
check_fails 4 'a damaged root sector is status 4' fsck -n bad
check_says 'root-sector' 'and named'
check_fails 4 'also when the clean mark is trusted' fsck -p bad
check_says 'left: something would be lost' 'and what -p may not do is left'
check_fails 1 '-y makes it again' fsck -y bad
check 'and then it is clean' fsck -f bad
cp --sparse=always img bad
truncate -s 500M bad
check_fails 4 'an image that was cut short is status 4' fsck -n bad
check_fails 4 'and -y leaves it' fsck -y bad
make_image one 8M
damage one $((1024 + 200))
damage one $((4096 + 3584 + 200))
check_fails 12 'a damaged superblock without a copy is status 4 and 8' fsck -n one
check_fails 12 'also with -y' fsck -y one
for options in '-n -y' '-p -y' '-a -n'; do
	# shellcheck disable=SC2086
	check_fails 16 "$options exclude each other" fsck $options img
done
check 'all data is read with -c' fsck -c -v img
check_says 'data sectors verified 0' 'and counted'

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
