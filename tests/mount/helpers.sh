#!/bin/bash
# mount(8), fsck(8), mkfs(8) and fstab with FolioFS installed: images and block devices. The helpers are put
# into /sbin in a name space of their own, so nothing is left behind.
if [ "$(id -u)" = 0 ] && [ -z "${OWN_SBIN:-}" ]; then
	OWN_SBIN=1 unshare -m --propagation private "$0" "$@"
	exit
fi
. "$(dirname "$0")/../lib/sh.sh"

need_fuse
need_root
need_command mount umount losetup
layers=$T_DIR/layers
mkdir "$layers"
mount -t tmpfs tmpfs "$layers" && mkdir "$layers/upper" "$layers/work" &&
	mount -t overlay overlay \
		-o "lowerdir=/usr/sbin,upperdir=$layers/upper,workdir=$layers/work" /usr/sbin \
		2>"$T_OUT" || t_skip_all 'no overlay over /usr/sbin'
for name in mount.foliofs mount.fuse.foliofs; do
	ln -s "$FOLIOFS" "/usr/sbin/$name"
done
for name in mkfs.foliofs fsck.foliofs; do
	ln -s "$FOLIOFS_BUILD/$name" "/usr/sbin/$name"
done
[ -x /sbin/mount.foliofs ] || t_skip_all '/sbin is not /usr/sbin here'

img=$T_DIR/img mnt=$T_DIR/mnt
mkdir "$mnt"
check 'mkfs -t foliofs formats' mkfs -t foliofs -q --size 128M "$img"
check 'mount -t foliofs mounts' timeout 30 mount -t foliofs "$img" "$mnt" || t_done
dd if=/dev/urandom of="$mnt/f" bs=1M count=40 status=none
sum=$(md5sum <"$mnt/f")
check 'umount unmounts' timeout 60 umount "$mnt"
check 'the image is free a moment later' wait_until 20 flock -n "$img" true
check 'fsck -t foliofs says that it is clean' fsck -t foliofs "$img" -- -n

cat >"$T_DIR/fstab" <<FSTAB
$img $mnt foliofs defaults,nofail,_netdev,noatime,x-systemd.automount,cache_size=16m 0 2
FSTAB
check 'a line of fstab mounts' timeout 30 mount -T "$T_DIR/fstab" "$mnt" || t_done
check_equal "$sum" "$(md5sum <"$mnt/f")" 'what was written is there'
echo old >"$mnt/kept"
check 'mount -o remount,ro makes it read-only' timeout 30 mount -o remount,ro "$mnt"
check_fails 1 'then nothing can be changed' rm -f "$mnt/kept"
check_says 'Read-only file system' 'and programs are told why'
check_equal old "$(cat "$mnt/kept")" 'it is still read'
check 'mount -o remount,rw makes it writable again' timeout 30 mount -o remount,rw "$mnt"
check 'then it can be changed' sh -c "echo new >'$mnt/kept'"
check 'flags that nobody named are as they were' grep -qE " $mnt [^ ]+ rw,nosuid,nodev" \
	/proc/self/mounts
check 'and unmounts' timeout 60 umount "$mnt"
check_fails 32 'mount fails with the status of the helper' mount -t foliofs "$T_DIR/none" "$mnt"
check_fails 1 'and for a wrong option with 1' mount -t foliofs "$img" "$mnt" -o cachesize=1

loop=$(losetup -f --show "$img" 2>/dev/null)
if [ -z "$loop" ]; then
	t_skip 'block devices' 'no loop device'
	t_done
fi
trap 'losetup -d "$loop"; t_exit' EXIT
check 'a block device mounts' timeout 30 mount -t foliofs "$loop" "$mnt" || t_done
check 'as fuseblk' grep -q "^$loop $mnt fuseblk.foliofs" /proc/self/mounts
check_equal "$sum" "$(md5sum <"$mnt/f")" 'with the same contents'
dd if=/dev/urandom of="$mnt/g" bs=1M count=10 status=none
before=$("$CTL" stats --json "$mnt" | sed -n 's/.*"commits": \([0-9]*\).*/\1/p')
check 'sync(1) succeeds' timeout 60 sync -f "$mnt"
after=$("$CTL" stats --json "$mnt" | sed -n 's/.*"commits": \([0-9]*\).*/\1/p')
check 'sync(1) reaches the daemon, which commits' test "$after" -gt "$before"
check_fails 32 'a second mount of the device is refused' mount -t foliofs "$loop" "$mnt"
check_fails 1 'mkfs of the mounted device is refused' "$MKFS" -f "$loop"
check 'umount unmounts' timeout 60 umount "$mnt"
check_fsck 'umount(2) of a device returned when all was written' "$loop"
check 'a signal ends the daemon of a device' sh -c "
	timeout 30 '$FOLIOFS' '$loop' '$mnt' && echo x >'$mnt/x' &&
	kill \$(pgrep -f '^$FOLIOFS $loop ')"
check 'the mount is gone then' wait_until 20 sh -c "! grep -q ' $mnt ' /proc/self/mounts"
check 'the device is free then' wait_until 20 "$FSCK" -n "$loop"
t_done
