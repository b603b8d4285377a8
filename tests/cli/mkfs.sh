#!/bin/bash
# Goal: mkfs.foliofs makes what it is asked for, and refuses everything that somebody may want back.
. "$(dirname "$0")/../lib/sh.sh"

cd "$T_DIR" || exit 1

mkfs()
{
	timeout 60 "$MKFS" "$@" </dev/null
}

sum()
{
	sha256sum <"$1"
}

# refused CLAIM REGEX FILE ARGUMENT...: exit 1, one clear line, FILE as it was.
refused()
{
	local claim=$1 regex=$2 file=$3 before
	shift 3
	before=$(sum "$file")
	check_fails 1 "$claim is refused" mkfs "$@"
	check_says "$regex" "$claim: the message says why"
	check_equal "$before" "$(sum "$file")" "$claim: nothing was changed"
}

info()
{
	timeout 60 "$FSCK" -n -v "$1"
}

uuid=11111111-2222-4333-8444-555555555555

# ---- what works ----
check 'an image file is created with --size' mkfs --size 64M new.img
check_says '64 MiB, 4 KiB blocks' 'the summary tells size and block'
check_equal $((64 << 20)) "$(stat -c %s new.img)" 'the file has the size asked for'
check 'the new file system is sound' info new.img
for block in 4k 64k 2m; do
	check "blocks of $block" mkfs -q --size 64M -b $block "b$block.img"
	check "a file system with blocks of $block is sound" info b$block.img
done
check 'label and uuid are taken' mkfs --size 8M -L 'my label' -U $uuid l.img
check_says "label my label +uuid $uuid" 'and printed'
check 'the journal size is taken' mkfs --size 64M -J 2M j.img
check_says '2 MiB journal' 'and printed'
check 'long options are taken' mkfs --size=8M --label=x --block-size=8k --journal-size=1m \
	--quiet lo.img
check_equal '' "$(cat "$T_OUT")" 'quiet prints nothing'
truncate -s 16M plain.img
check 'an existing empty file needs no --size' mkfs plain.img
check 'a size in blocks after the target is taken' mkfs -f -b 8k plain.img 1024
check_says ' 8 MiB, 8 KiB blocks' 'and counts blocks of -b'
check '-N is accepted' mkfs --size 8M -N 1000 n.img
check_says 'inodes are not limited' 'and explained'
check '-O list prints features' mkfs -O list
check_says datasum 'checksums of data among them'
check '-O ^datasum leaves them out' mkfs -f -O ^datasum plain.img
check_says 'features none' 'and the summary says so'
check '-O datasum is the default' mkfs -f -O datasum plain.img
check_says 'features datasum' 'and is named, too'
check '-V prints the version' mkfs -V
check '--help prints the options' mkfs --help
check_says '--journal-size' 'all of them'
check 'a short image grows to --size' mkfs -f --size 32M plain.img
check_equal $((32 << 20)) "$(stat -c %s plain.img)" 'and has it'
check 'reproducible: first' env SOURCE_DATE_EPOCH=1 "$MKFS" --size 8M -U $uuid r1.img
check 'reproducible: second' env SOURCE_DATE_EPOCH=1 "$MKFS" --size 8M -U $uuid r2.img
check_equal "$(head -c 8192 r1.img | sha256sum)" "$(head -c 8192 r2.img | sha256sum)" \
	'the same superblock and root sector twice'

check 'an image of 1 TiB is formatted' mkfs --size 1T big.img
check_equal 1 $(($(stat -c %b big.img) * 512 < 2 << 30)) 'and takes less than 2 GiB of the host'
rm -f big.img

# ---- dry run ----
check '-n on a file that is not there' mkfs -n --size 8M none.img
check_says 'nothing was done' 'says so'
check_fails 1 'and does not make it' test -e none.img
before=$(sum plain.img)
check '-n -f on an image' mkfs -n -f plain.img
check_equal "$before" "$(sum plain.img)" 'changes nothing'
refused '-n on something that would be refused' 'already holds' plain.img -n plain.img

# ---- what is there already ----
refused 'a FolioFS' 'l.img already holds a FolioFS file system \(label .my label., uuid 111' \
	l.img l.img
check 'with --force it is formatted' mkfs --force -q l.img
cp l.img damaged.img
printf X | dd of=damaged.img bs=1 seek=1200 conv=notrunc status=none
refused 'a damaged FolioFS' 'FolioFS file system that is damaged' damaged.img damaged.img

signature()
{
	local name=$1
	shift
	if ! command -v "$1" >/dev/null; then
		t_skip "$name" "no $1 here"
		return
	fi
	rm -f other.img
	truncate -s 320M other.img
	"$@" other.img >/dev/null 2>&1 || { t_skip "$name" "$1 failed"; return; }
	refused "$name" "other.img already holds" other.img other.img
	check "$name: with -f it is formatted" mkfs -f -q other.img
	check "$name: the result is sound" info other.img
	check_equal '' "$(blkid -p -o value -s TYPE -s PTTYPE other.img)" \
		"$name: its signature is gone"
}

signature 'an ext4 file system' mkfs.ext4 -F -q
signature 'an xfs file system' mkfs.xfs -q
signature 'a btrfs file system' mkfs.btrfs -q
signature 'swap space' mkswap
# One partition of type 83 from sector 2048 on: a table as fdisk makes it.
dos_table()
{
	printf '\0\040\041\0\203\0\0\0\0\010\0\0\0\0\001\0' |
		dd of="$1" bs=1 seek=446 conv=notrunc status=none
	printf '\125\252' | dd of="$1" bs=1 seek=510 conv=notrunc status=none
}
signature 'a partition table' dos_table
gpt_table()
{
	printf 'label: gpt\n,,\n' | sfdisk -q "$1"
}
if command -v sfdisk >/dev/null; then
	signature 'a gpt partition table' gpt_table
else
	t_skip 'a gpt partition table' 'no sfdisk here'
fi

# ---- what can't be a target ----
check_fails 1 'a target that is not there, without --size, is refused' mkfs none.img
check_says 'none.img: there is no such file. Give --size' 'and --size is named'
check_fails 1 'a directory is refused' mkfs .
check_says 'is a directory' 'by name'
check_fails 1 'a character device is refused' mkfs --size 8M /dev/null
check_says 'neither a regular file nor a block device' 'by name'
check_fails 1 'a folder that is not there is refused' mkfs --size 8M no/such/dir.img
truncate -s 1M small.img
refused 'a file that is too small' 'too small: 1 MiB, these options need at least 2 MiB' \
	small.img small.img
truncate -s 0 empty.img
refused 'an empty file' 'too small: 0 B' empty.img empty.img
refused 'a small file for large blocks' 'too small: 1 MiB.*need at least' small.img -b 2m small.img
check_fails 1 'an image too small is not created' mkfs --size 1M tiny.img
check_fails 1 'really not' test -e tiny.img
refused 'a size beyond the file' 'has 32 MiB, less than the 1 GiB asked for' plain.img \
	-f plain.img 262144
refused 'a journal that does not fit' 'journal of that size does not fit' plain.img \
	-f -J 30M plain.img
refused 'a journal below 1 MiB' 'journal of that size does not fit' plain.img -f -J 64k plain.img
refused 'a block size that is no power of two' 'must be a power of two' plain.img \
	-f -b 5000 plain.img
refused 'a block size too small' 'must be 4 KiB to 2 MiB' plain.img -f -b 2k plain.img
refused 'a block size too large' 'must be 4 KiB to 2 MiB' plain.img -f -b 4m plain.img
refused 'a block size that is no number' 'not a size' plain.img -f -b big plain.img
refused 'a label too long' 'at most 63 bytes' plain.img -f -L "$(printf %64s x)" plain.img
refused 'a uuid that is none' 'not a UUID' plain.img -f -U 1234 plain.img
refused 'an unknown feature' 'unknown feature' plain.img -f -O fancy plain.img
check_fails 1 'no target is refused' mkfs
check_fails 1 'one argument too many is refused' mkfs -f plain.img 1024 x
refused 'an unknown option' "did you mean '--label'" plain.img --lable=x plain.img
refused 'an unknown letter' "unknown option '-Z'" plain.img -Z plain.img
refused 'an option without its value' 'needs a value' plain.img plain.img -b

# ---- in use ----
if command -v flock >/dev/null; then
	exec 9<plain.img
	flock -n 9
	refused 'an image that somebody holds' 'plain.img: in use' plain.img -f plain.img
	exec 9<&-
else
	t_skip 'an image that somebody holds' 'no flock here'
fi
if [ "$(id -u)" != 0 ]; then
	chmod 400 plain.img
	refused 'a file that can not be written' "can't be" plain.img -f plain.img
	chmod 600 plain.img
else
	t_skip 'a file that can not be written' 'root may write it'
fi

# ---- the blocks of the log ----
mkfs -q --size 64M log.img >/dev/null
if command -v filefrag >/dev/null && [ "$(stat -f -c %T .)" = ext2/ext3 ]; then
	# The log lies behind the superblock: what comes first in the image is written and is long.
	check 'the log starts on written blocks' sh -c "filefrag -v -b4096 log.img |
		awk '\$1 == \"0:\" { n = \$6 + 0; if (/unwritten/) n = 0 } END { exit n < 1000 }'"
else
	t_skip 'the log starts on written blocks' 'the host is not ext4, or no filefrag'
fi

# ---- a host that is full, and read-only ----
if [ "$(id -u)" = 0 ] && mkdir host && mount -t tmpfs -o size=16m tmpfs host 2>/dev/null; then
	check_fails 1 'a full host is refused' mkfs --size 1G host/full.img
	check_says 'no space on the host.*The file was removed' 'and the message says so'
	check_fails 1 'the file is gone' test -e host/full.img
	check 'a small image fits' mkfs -q --size 12M host/keep.img
	dd if=/dev/zero of=host/fill bs=1M status=none 2>/dev/null
	before=$(sum host/keep.img)
	check_fails 1 'an image that does not fit any more is refused' \
		mkfs -f --size 1G host/keep.img
	check_equal "$before" "$(sum host/keep.img)" 'and is as it was, size included'
	# The kernel lets go of the files of a ring a little after its program has ended.
	wait_until 10 mount -o remount,ro host 2>/dev/null
	check_fails 1 'a read-only host is refused' mkfs -f host/keep.img
	check_says 'read-only' 'by name'
	umount host
else
	t_skip 'a full and a read-only host' 'no tmpfs can be mounted'
fi

t_done
