#!/bin/bash
# A scrub of a file system in use: it ends, it can be slowed down and stopped, it finds what is damaged,
# and the record of errors tells of it while mounted and afterwards.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
img=$T_DIR/img mnt=$T_DIR/mnt
make_image "$img" 64M || t_done
check 'it mounts' mount_fs "$img" "$mnt" -o commit=1 || t_done
for i in 1 2 3 4 5 6; do
	mkdir "$mnt/d$i"
	head -c 300000 /dev/urandom >"$mnt/d$i/file"
	echo small >"$mnt/d$i/small"
done
sync -f "$mnt"
check 'everything is durable' "$CTL" sync "$mnt"
check 'a scrub finds nothing wrong' timeout 60 "$CTL" scrub "$mnt"
check_says '^state finished$' 'and it says that it is finished'
check_says '^data_errors 0$' 'and counts no errors'
check 'nothing is recorded' "$CTL" errors "$mnt"
check_says '^0 errors noted$' 'and that is said'

check 'a slow one starts' "$CTL" scrub -r 20k start "$mnt"
check_fails 1 'a second one is refused meanwhile' "$CTL" scrub start "$mnt"
check 'its state can be asked for' "$CTL" scrub status "$mnt"
check_says '^state running$' 'and it runs'
echo more >"$mnt/d1/small"
check 'it can be stopped' timeout 20 "$CTL" scrub stop "$mnt"
check 'and then' "$CTL" scrub status "$mnt"
check_says '^state stopped$' 'it is stopped'
check 'one that runs does not hold up the unmount' "$CTL" scrub -r 20k start "$mnt"
check 'it unmounts' umount_fs "$mnt"

# The copy of the superblock is where nobody looks but fsck and scrub: the last half KiB of sector 1
# stands in the root sector, whose checksum it breaks.
cp --sparse=always "$img" "$T_DIR/bad"
printf XY | dd of="$T_DIR/bad" bs=1 seek=1100 conv=notrunc status=none
check 'an image with a damaged superblock mounts by its copy' mount_fs "$T_DIR/bad" "$mnt" || t_done
check_fails 1 'a scrub finds it' timeout 60 "$CTL" scrub "$mnt"
check_says '^damage superblock at sector 0: damaged$' 'and names it'
check_says '^metadata_errors 1$' 'and counts it once'
check 'it is recorded' "$CTL" errors "$mnt"
check_says 'superblock: wrong checksum, sector 0, [0-9]+ times?$' 'with reason and place'

check 'it unmounts again' umount_fs "$mnt"
check 'the record is in the image' "$CTL" errors "$T_DIR/bad"
check_says 'superblock: wrong checksum, sector 0' 'and says the same'
check 'it can be cleared there' "$CTL" errors --clear "$T_DIR/bad"
check 'and then' "$CTL" errors "$T_DIR/bad"
check_says '^0 errors noted$' 'it is empty'
t_done
