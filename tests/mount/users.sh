#!/bin/bash
# Other users: permissions on a mount of root's, and mounts by somebody without privileges.
. "$(dirname "$0")/../lib/ownfuse.sh"
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
need_root
need_command setpriv
chmod 755 "$T_DIR"
img=$T_DIR/img mnt=$T_DIR/mnt
as_user()
{
	setpriv --reuid 65534 --regid 65534 --clear-groups env -u XDG_RUNTIME_DIR "$@"
}

make_image "$img" 64M || t_done
check 'root mounts' mount_fs "$img" "$mnt" || t_done
echo secret >"$mnt/secret"
chmod 600 "$mnt/secret"
echo open >"$mnt/open"
mkdir "$mnt/box"
chmod 1777 "$mnt/box"
check 'others may read what modes allow' as_user cat "$mnt/open"
check_fails 1 'others may not read what modes forbid' as_user cat "$mnt/secret"
check_fails 1 'others may not create where modes forbid' as_user touch "$mnt/new"
check 'others may create where modes allow' as_user touch "$mnt/box/mine"
check_equal 65534:65534 "$(stat -c %u:%g "$mnt/box/mine")" 'a new file belongs to who made it'
touch "$mnt/box/roots"
check_fails 1 'the sticky bit keeps files of others' as_user rm -f "$mnt/box/roots"
check_fails 1 'others may not change owners' as_user chown 0 "$mnt/box/mine"
check_fails 1 'others may not ask the daemon' as_user "$CTL" sync "$mnt"
setfattr -n trusted.t -v 1 "$mnt/open"
check 'root sees trusted attributes' getfattr -n trusted.t "$mnt/open"
as_user getfattr -m - "$mnt/open" >"$T_OUT" 2>&1
check_equal 0 "$(grep -c trusted "$T_OUT")" 'others do not see trusted attributes'
check 'it unmounts' umount_fs "$mnt"

check 'root mounts with noallow_other' mount_fs "$img" "$mnt" -o noallow_other || t_done
check_fails 1 'others may not use a mount with noallow_other' as_user cat "$mnt/open"
check 'that unmounts too' umount_fs "$mnt"

if ! as_user test -w /dev/fuse || [ ! -u "$(command -v fusermount3)" ]; then
	t_skip 'mounts without privileges' '/dev/fuse or fusermount3 is for root only'
	t_done
fi
user=$T_DIR/user
mkdir "$user" "$user/mnt"
chmod 711 "$T_DIR"
chown -R 65534:65534 "$user"
check 'a user formats' as_user "$MKFS" -q --size 64M "$user/img"
check 'a user mounts through fusermount3' as_user timeout 30 "$FOLIOFS" "$user/img" "$user/mnt"
check 'a user writes' as_user sh -c "echo mine >'$user/mnt/f' && sync '$user/mnt/f'"
check_fails 1 'even root stays out without allow_other' cat "$user/mnt/f"
check 'a user asks the daemon' as_user "$CTL" stats "$user/mnt"
check_says 'block_device' 'the answer names the block device'
check 'a user unmounts and waits' as_user timeout 60 "$CTL" umount "$user/mnt"
check_fsck 'the image is consistent' "$user/img"
chmod 444 "$user/img"
chown 0 "$user/img"
check 'a user mounts an image that may only be read' \
	as_user timeout 30 "$FOLIOFS" "$user/img" "$user/mnt"
check_says 'write-protected, mounting read-only' 'it says so'
check 'and reads it' as_user cat "$user/mnt/f"
check_fails 1 'but does not write' as_user touch "$user/mnt/g"
check 'and unmounts' as_user timeout 60 "$CTL" umount "$user/mnt"
t_done
