#!/bin/bash
# foliofs and mount.foliofs: command lines, refusals and their exit statuses. Nothing here needs a
# mount to succeed but the parts that say so.
. "$(dirname "$0")/../lib/sh.sh"

img=$T_DIR/img mnt=$T_DIR/mnt
mkdir "$mnt"
make_image "$img" 32M || t_done

check '--help succeeds' "$FOLIOFS" --help
check_says 'usage: foliofs \[OPTIONS\] IMAGE MOUNTPOINT' 'the help says how it is called'
check_says 'cache_size=SIZE' 'the help lists mount options'
check '--version succeeds' "$FOLIOFS" -V
check_says '^foliofs [0-9]' 'the version is told'

check_fails 1 'no arguments are refused' "$FOLIOFS"
check_says 'IMAGE and MOUNTPOINT are needed' 'the message says what is missing'
check_fails 1 'three names are refused' "$FOLIOFS" "$img" "$mnt" extra
check_fails 1 'an unknown switch is refused' "$FOLIOFS" --foregroud "$img" "$mnt"
check_says "did you mean '--foreground'" 'the nearest switch is named'
check_fails 1 'an unknown mount option is refused' "$FOLIOFS" "$img" "$mnt" -o cachesize=1g
check_says "unknown mount option 'cachesize' \(did you mean 'cache_size'\?\)" \
	'the nearest mount option is named'
for bad in cache_size=1k cache_size=x cache_size= cache_size cache=both commit=0 commit=x threads=0 poll=0 poll=x \
	max_folio=1k cache_policy=best ro=1 readahead=1; do
	check_fails 1 "-o $bad is refused" "$FOLIOFS" "$img" "$mnt" -o "$bad"
	check_says "bad value for mount option '${bad%%=*}'" "-o $bad: the message names the option"
done
for word in lazytime usrquota nobarrier barrier=0; do
	check_fails 1 "-o $word, which would be a false promise, is refused" \
		"$FOLIOFS" "$img" "$mnt" -o $word
	check_says "not supported: '${word%%=*}'" "-o $word: the message says so"
done

check_fails 32 'an image that is not there is refused' "$FOLIOFS" "$T_DIR/none" "$mnt"
check_says "$T_DIR/none: No such file" 'the message names it'
check_fails 32 'a mount point that is not there is refused' "$FOLIOFS" "$img" "$T_DIR/none"
check_says "$T_DIR/none: No such file" 'the message names the mount point'
check_fails 32 'a file as mount point is refused' "$FOLIOFS" "$img" "$img"
check_says 'not a directory' 'the message says why'
check_fails 32 'a directory as image is refused' "$FOLIOFS" "$T_DIR" "$mnt"
truncate -s 32M "$T_DIR/empty"
check_fails 32 'a file without file system is refused, in the background too' \
	"$FOLIOFS" "$T_DIR/empty" "$mnt"
check_says 'not a FolioFS file system' 'the message says what is wrong'
check_says 'mkfs.foliofs' 'the message says what to do'
check_fails 32 'the same in the foreground' "$FOLIOFS" -f "$T_DIR/empty" "$mnt"
check_equal 0 "$(od -An -tx1 -v "$T_DIR/empty" | tr -d ' 0\n' | wc -c)" \
	'a refused image is left as it was'

helper=$T_DIR/mount.foliofs
ln -s "$FOLIOFS" "$helper"
everything=rw,nosuid,nodev,relatime,nofail,_netdev,user,users,auto,noauto,defaults,owner,group
check 'the mount helper takes what mount(8) passes on' \
	"$helper" "$img" "$mnt" -f -n -v -t foliofs -o "$everything,x-systemd.automount,comment=hi"
check 'a fake mount mounts nothing' sh -c "! grep -q ' $mnt ' /proc/self/mounts"
check_fails 1 'the helper refuses unknown options' "$helper" "$img" "$mnt" -f -o cachesize=1
check 'with -s it ignores them, wherever -s stands' "$helper" "$img" "$mnt" -f -o cachesize=1 -s
check_fails 32 'the helper fails with 32' "$helper" "$T_DIR/none" "$mnt" -o ro

page=${FOLIOFS_SOURCE:-$(dirname "$0")/../..}/man/foliofs.5
if [ -e "$page" ]; then
	"$FOLIOFS" --help >"$T_DIR/help"
	sed -n '/^  -o/,/^$/s/^    \([a-z_]*\).*/\1/p' "$T_DIR/help" >"$T_DIR/options"
	check 'the help lists options' test -s "$T_DIR/options"
	while read -r option; do
		check "foliofs(5) describes $option" grep -q "^\.It Cm $option" "$page"
	done <"$T_DIR/options"
	sed -n 's/^\.It Cm \([a-z_]*\).*/\1/p' "$page" >"$T_DIR/paged"
	while read -r option; do
		check "the help lists what foliofs(5) describes: $option" \
			grep -qE "(^    | )$option( |=|\$)" "$T_DIR/help"
	done <"$T_DIR/paged"
fi

if [ ! -w /dev/fuse ]; then
	t_skip 'refusals of a mounted image' 'no access to /dev/fuse'
	t_done
fi
mkdir "$T_DIR/mnt2"
check 'an image mounts' mount_fs "$img" "$mnt" || t_done
check_fails 32 'a second mount of the image is refused' "$FOLIOFS" "$img" "$T_DIR/mnt2"
check_says "already mounted on $mnt" 'the message says where it is mounted'
check_fails 1 'mkfs of a mounted image is refused, even with --force' "$MKFS" -f "$img"
check_fails 8 'fsck of a mounted image is refused' "$FSCK" -n "$img"
check 'it unmounts' umount_fs "$mnt"
exec 9<"$img"
flock -x 9
check_fails 32 'an image that somebody has locked is refused' "$FOLIOFS" "$img" "$mnt"
check_says 'in use by' 'the message says so'
exec 9<&-
check 'ro mounts' mount_fs "$img" "$mnt" -o ro || t_done
check_fails 1 'ro refuses changes' touch "$mnt/f"
check 'ro unmounts' umount_fs "$mnt"
check 'an image in memory mounts without a file' mount_fs ram:64M "$mnt" || t_done
check 'and takes files' sh -c "echo hello >'$mnt/f' && cat '$mnt/f'"
check 'and unmounts' umount_fs "$mnt"
check 'noexec mounts' mount_fs "$img" "$mnt" -o noexec || t_done
cp /bin/true "$mnt/true"
check_fails 126 'noexec runs nothing' sh -c "'$mnt/true'"
check 'noexec unmounts' umount_fs "$mnt"
cp "$img" "$T_DIR/damaged"
dd if=/dev/urandom of="$T_DIR/damaged" bs=4096 count=4 seek=1 conv=notrunc status=none
dd if=/dev/urandom of="$T_DIR/damaged" bs=8 count=1 seek=20 conv=notrunc status=none
check_fails 32 'a damaged superblock is refused' "$FOLIOFS" "$T_DIR/damaged" "$mnt"
t_done
