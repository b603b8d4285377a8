#!/bin/bash
# foliofsctl: commands, output formats, refusals and exit statuses.
. "$(dirname "$0")/../lib/sh.sh"

img=$T_DIR/img mnt=$T_DIR/mnt
make_image "$img" 32M -L thelabel || t_done

check '--help succeeds' "$CTL" --help
check_says 'stats' 'the help lists the commands'
check '--version succeeds' "$CTL" -V
check_fails 2 'no command is a mistake' "$CTL"
check_fails 2 'an unknown command is a mistake' "$CTL" stast "$mnt"
check_says "did you mean 'stats'" 'the nearest command is named'
check_fails 2 'stats without a mount is a mistake' "$CTL" stats
check_fails 2 'scrub without a mount is a mistake' "$CTL" scrub
check_fails 2 'scrub with a rate that is none is a mistake' "$CTL" scrub -r fast /
check_fails 2 'scrub with an unknown verb is a mistake' "$CTL" scrub begin /
check_fails 2 'scrub stop with a rate is a mistake' "$CTL" scrub -r 1m stop /
check_fails 2 'errors of two things is a mistake' "$CTL" errors / /
check_fails 2 'errors to be cleared and shown is a mistake' "$CTL" errors --clear --json "$img"
check_fails 1 'scrub of what is no FolioFS fails' "$CTL" scrub /
check_fails 2 'stats with an unknown option is a mistake' "$CTL" stats --jsno /
check_fails 2 'stats -i 0 is a mistake' "$CTL" stats -i 0 /
check_fails 1 'a folder that is not on FolioFS is refused' "$CTL" stats "$T_DIR"
check_says 'not on a mounted FolioFS' 'the message says so'
check_fails 1 'a folder that is not there is refused' "$CTL" sync "$T_DIR/none"

check 'info reads an image' "$CTL" info "$img"
check_says 'thelabel' 'info tells the label'
check 'info --json is JSON' sh -c "'$CTL' info --json '$img' | python3 -m json.tool"
for what in super groups 'tree inode' 'tree extent' 'inode 1' journal; do
	# shellcheck disable=SC2086
	check "dump $what prints" "$CTL" dump "$img" $what
	check "dump --json $what is JSON" \
		sh -c "'$CTL' dump --json '$img' $what | python3 -m json.tool"
done
check_fails 1 'dump of an inode that is not there fails' "$CTL" dump "$img" inode 999
check_fails 2 'dump of something unknown is a mistake' "$CTL" dump "$img" supre
check_says "did you mean 'super'" 'the nearest word is named'
truncate -s 32M "$T_DIR/empty"
check_fails 1 'info of something else fails' "$CTL" info "$T_DIR/empty"
check_says 'not a FolioFS file system' 'the message says what it is not'

if [ ! -w /dev/fuse ]; then
	t_skip 'commands for a mount' 'no access to /dev/fuse'
	t_done
fi
check 'an image mounts' mount_fs "$img" "$mnt" -o cache=daemon,cache_size=16m || t_done
dd if=/dev/urandom of="$mnt/f" bs=64k count=64 status=none
check 'stats prints' "$CTL" stats "$mnt"
check_says '^cache_size +16777216' 'stats tells the size of the cache'
check_says '^folios +order=0' 'stats tells folios by order'
check_says '^user_written +4194304' 'stats tells what was written'
check_says '^request_time +write +64' 'stats tells how many requests of each kind'
check 'stats works from within the mount' "$CTL" stats "$mnt/f"
check 'stats --json is JSON' sh -c "'$CTL' stats --json '$mnt' | python3 -m json.tool"
check_says 'user_written_bytes' 'the keys carry their units'
check 'stats --prometheus prints' "$CTL" stats --prometheus "$mnt"
check_says '^foliofs_user_written_bytes_total 4194304' 'the metrics carry a prefix'
timeout 3 "$CTL" stats -i 1 "$mnt" >"$T_OUT" 2>&1
check_says 'reads/s' 'stats -i prints a table'
check_equal 3 "$(wc -l <"$T_OUT")" 'stats -i prints a line every second'
check 'sync makes it durable' "$CTL" sync "$mnt"
sum=$(md5sum <"$mnt/f")
check 'drop drops a file' "$CTL" drop "$mnt/f"
check_says '^dropped 4 MiB' 'drop tells how much'
check 'drop drops a mount' "$CTL" drop "$mnt"
check_equal "$sum" "$(md5sum <"$mnt/f")" 'what was dropped is read again'
cat "$mnt/f" >/dev/null
check 'cache tells the state of a file' "$CTL" cache "$mnt/f"
check_says '^cached +4 MiB' 'what is cached'
check_says '^dirty +0 B' 'what is dirty'
check 'cache takes a range' "$CTL" cache "$mnt/f" 1m+1m
check_says '^cached +1 MiB' 'and tells of it only'
check 'drop takes a range' "$CTL" drop "$mnt" "$mnt/f" 0+2m
check_says '^dropped 2 MiB' 'and drops no more'
check 'set gives a budget and a priority' "$CTL" set "$mnt" "$mnt/f" budget=1m priority=high
check 'cache shows them' "$CTL" cache "$mnt/f"
check_says '^budget +1 MiB' 'the budget'
check_says '^priority +high' 'the priority'
cat "$mnt/f" >/dev/null
# What was still being read ahead could not go then; the next page that comes makes it.
budget_kept()
{
	dd if="$mnt/f" of=/dev/null bs=4k count=1 skip=$((RANDOM % 1024)) status=none
	"$CTL" cache "$mnt/f" | grep -qE '^cached +(1 MiB|[0-9]+ KiB)$'
}
check 'the budget is kept' wait_until 20 budget_kept
check 'set takes it back' "$CTL" set "$mnt/f" budget=none priority=normal
check_fails 2 'an unknown setting is refused' "$CTL" set "$mnt/f" budget=lots
check_says "bad setting 'budget=lots'" 'and named'
check_fails 2 'a range that is none is refused' "$CTL" drop "$mnt" "$mnt/f" x+y
check_fails 1 'the settings of a folder are refused' "$CTL" set "$mnt" budget=1m
check 'frag tells of a file' "$CTL" frag "$mnt/f"
check_says '^extents +1$' 'that was written in one go: one extent'
check 'frag tells of free space' "$CTL" frag "$mnt"
check_says '^longest' 'its longest run'
check 'trace prints' "$CTL" trace "$mnt"
check_says ' read [0-9]+ 0 [0-9]+$' 'what was read'
# Some of it comes while the command looks on, however late that begins.
read_for_a_while()
{
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		sleep 0.3
		cat "$mnt/f" >/dev/null
	done
}
read_for_a_while &
check 'trace -r records' "$CTL" trace -r -t 2 "$mnt"
check_says '^foliofs-trace 1$' 'a trace of cache use'
check_says '^r [0-9]+ 0 [0-9]+$' 'with what was read meanwhile'
wait $!
read_for_a_while &
check 'top prints' "$CTL" top -i 2 -c 1 "$mnt"
check_says "^ +$(stat -c %i "$mnt/f") " 'the file that is read'
wait $!
check 'info knows a mount by its folder' "$CTL" info "$mnt"
check_says 'mount.free_bytes' 'and tells how much is free'
check 'dump reads a mounted image' "$CTL" dump "$img" super
check_says 'is in use' 'and says that the daemon knows more'
exec 8<"$mnt/f"
check_fails 1 'umount of a mount in use fails' "$CTL" umount "$mnt"
check_says 'busy' 'the message says why'
exec 8<&-
check 'umount unmounts' "$CTL" umount "$mnt"
check 'when it returns the image is free' flock -n "$img" true
check 'and the daemon ends with 0' reap_fs "$mnt"

# The kernel gives the device number of a gone mount to the next one, whose socket has the same name.
check 'it mounts again' mount_fs "$img" "$mnt" || t_done
dir=/run/foliofs
[ "$(id -u)" = 0 ] || dir=${XDG_RUNTIME_DIR:-/tmp}/foliofs
socket=$dir/$(mountpoint -d "$mnt" | tr : -).sock
check 'its socket is named by the device number' test -S "$socket"
rm -f "$socket"
touch "$socket"
check 'it unmounts' umount_fs "$mnt"
check 'a daemon leaves the socket of a newer mount alone' test -e "$socket"
rm -f "$socket"
t_done
