# For tests that are shell scripts (tests/cli, tests/mount): source it first.
#
#	. "$(dirname "$0")/../lib/sh.sh"
#	need_fuse
#	make_image "$T_DIR/img" 64M             blocks of FOLIOFS_TEST_BLOCK (4k), or: -b 64k
#	check 'a fresh image mounts' mount_fs "$T_DIR/img" "$T_DIR/mnt" -o cache_size=16m
#	check_fails 1 'a second mount is refused' "$FOLIOFS" "$T_DIR/img" "$T_DIR/mnt2"
#	check 'it unmounts cleanly' umount_fs "$T_DIR/mnt"
#	t_done
#
# A check is named as a claim. Each test has a folder of its own, T_DIR. However the script ends,
# the daemons that it started are ended by their pid, its mounts are detached, the folder is removed.
# A daemon runs in the foreground as a child, so that its exit status (and what a sanitizer says) is
# part of umount_fs. T_KEEP=1 keeps the folder.
#
# shellcheck shell=bash

set -u

FOLIOFS_BUILD=${FOLIOFS_BUILD:-$(cd "$(dirname "$0")/../.." && pwd)/build/test}
FOLIOFS=$FOLIOFS_BUILD/foliofs
MKFS=$FOLIOFS_BUILD/mkfs.foliofs
FSCK=$FOLIOFS_BUILD/fsck.foliofs
CTL=$FOLIOFS_BUILD/foliofsctl
export FOLIOFS_BUILD FOLIOFS MKFS FSCK CTL
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}

T_DIR=$(mktemp -d "${TMPDIR:-/tmp}/foliofs-test.XXXXXX") || exit 1
T_OUT=$T_DIR/output # what the last checked command printed, both streams
T_PASSED=0 T_FAILED=0 T_SKIPPED=0 T_ENDED=
declare -A T_PIDS=() # mount point -> pid of its daemon

t_pass()
{
	T_PASSED=$((T_PASSED + 1))
	echo "ok: $1"
}

t_fail()
{
	T_FAILED=$((T_FAILED + 1))
	echo "FAILED: $1${2:+ ($2)}"
	[ ! -s "$T_OUT" ] || sed 's/^/    /' "$T_OUT" | tail -n 20
}

t_skip()
{
	T_SKIPPED=$((T_SKIPPED + 1))
	echo "skipped: $1 ($2)"
}

# The whole script can't run here.
t_skip_all()
{
	t_skip 'all of it' "$1"
	t_done
}

t_done()
{
	T_ENDED=1
	exit
}

# check CLAIM COMMAND...: the command succeeds. Its output is in $T_OUT.
check()
{
	local claim=$1 status
	shift
	"$@" >"$T_OUT" 2>&1
	status=$?
	if [ $status = 0 ]; then
		t_pass "$claim"
	else
		t_fail "$claim" "exit $status: $*"
	fi
	return $status
}

# check_fails STATUS CLAIM COMMAND...: the command exits with just this status.
check_fails()
{
	local want=$1 claim=$2 status
	shift 2
	"$@" >"$T_OUT" 2>&1
	status=$?
	if [ $status = "$want" ]; then
		t_pass "$claim"
	else
		t_fail "$claim" "exit $status instead of $want: $*"
	fi
}

# check_says REGEX CLAIM: the output of the last checked command has a line like this.
check_says()
{
	if grep -qE -- "$1" "$T_OUT"; then
		t_pass "$2"
	else
		t_fail "$2" "no line like /$1/"
	fi
}

# check_equal WANT GOT CLAIM
check_equal()
{
	: >"$T_OUT"
	if [ "$1" = "$2" ]; then
		t_pass "$3"
	else
		t_fail "$3" "wanted '$1', got '$2'"
	fi
}

need_command()
{
	local c
	for c in "$@"; do
		command -v "$c" >/dev/null || t_skip_all "no $c here"
	done
}

need_fuse()
{
	if [ ! -r /dev/fuse ] || [ ! -w /dev/fuse ]; then
		t_skip_all 'no access to /dev/fuse'
	fi
	need_command fusermount3
}

need_root()
{
	[ "$(id -u)" = 0 ] || t_skip_all 'needs root'
}

# make_image FILE SIZE [MKFS-OPTION...]
make_image()
{
	local image=$1 size=$2
	shift 2
	timeout 60 "$MKFS" -q -b "${FOLIOFS_TEST_BLOCK:-4k}" --size "$size" "$@" "$image"
}

# wait_until SECONDS COMMAND...: polls; false when time is up.
wait_until()
{
	local end=$((SECONDS + $1 + 1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

is_mounted()
{
	grep -qF " $1 fuse" /proc/self/mounts
}

daemon_ended()
{
	! kill -0 "$1" 2>/dev/null
}

# How many daemons of a mount point have said that they are there.
ups_of()
{
	grep -c '^foliofs: mounted on ' "$1.log"
}

up_or_ended()
{
	[ "$(ups_of "$1")" -gt "$3" ] || daemon_ended "$2"
}

# mount_fs IMAGE MOUNTPOINT [OPTION...]: true once the mount answers and all is set up (a daemon in the
# foreground answers a little before that). Its messages are in MOUNTPOINT.log.
mount_fs()
{
	local image=$1 mnt=$2 pid ups
	shift 2
	mkdir -p "$mnt"
	: >>"$mnt.log"
	ups=$(ups_of "$mnt")
	"$FOLIOFS" -f "$image" "$mnt" "$@" >>"$mnt.log" 2>&1 </dev/null &
	pid=$!
	T_PIDS[$mnt]=$pid
	wait_until 60 up_or_ended "$mnt" $pid "$ups"
	if is_mounted "$mnt" && timeout 60 stat "$mnt" >/dev/null; then
		return 0
	fi
	tail -n 20 "$mnt.log"
	kill -9 $pid 2>/dev/null
	wait $pid 2>/dev/null
	unset "T_PIDS[$mnt]"
	return 1
}

fs_pid()
{
	echo "${T_PIDS[$1]}"
}

# The exit status of the daemon at MOUNTPOINT, which must end within 120 s.
reap_fs()
{
	local mnt=$1 status
	local pid=${T_PIDS[$mnt]}
	if ! wait_until 120 daemon_ended "$pid"; then
		echo "the daemon at $mnt did not end"
		kill -9 "$pid"
	fi
	wait "$pid" 2>/dev/null
	status=$?
	unset "T_PIDS[$mnt]"
	[ $status = 0 ] || tail -n 40 "$mnt.log"
	return $status
}

detach()
{
	fusermount3 -u "$1" 2>/dev/null || umount "$1"
}

# umount_fs MOUNTPOINT: unmounts and waits for the daemon; false unless it ends with 0.
umount_fs()
{
	[ -n "${T_PIDS[$1]:-}" ] || return 1
	timeout 120 sync -f "$1" 2>/dev/null
	wait_until 20 detach "$1" >/dev/null 2>&1 || return 1
	reap_fs "$1"
}

# kill_fs MOUNTPOINT: the daemon dies at once, as in a crash; the dead mount is removed.
kill_fs()
{
	[ -n "${T_PIDS[$1]:-}" ] || return 1
	kill -9 "${T_PIDS[$1]}"
	wait "${T_PIDS[$1]}" 2>/dev/null
	unset "T_PIDS[$1]"
	detach_dead "$1"
}

detach_dead()
{
	fusermount3 -uz "$1" 2>/dev/null || umount -l "$1" 2>/dev/null
}

check_fsck()
{
	check "$1" timeout 300 "$FSCK" -n "$2"
}

t_cleanup()
{
	local mnt pid
	for mnt in "${!T_PIDS[@]}"; do
		pid=${T_PIDS[$mnt]}
		kill "$pid" 2>/dev/null
		wait_until 10 daemon_ended "$pid" || kill -9 "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	# Also what a test mounted in the background by itself.
	awk -v dir="$T_DIR/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r |
		while read -r mnt; do
			detach_dead "$mnt"
		done
	cd /
	if [ -z "${T_KEEP:-}" ] && ! grep -qF " $T_DIR/" /proc/self/mounts; then
		rm -rf --one-file-system "$T_DIR"
	fi
}

t_exit()
{
	t_cleanup
	if [ -z "$T_ENDED" ]; then
		T_FAILED=$((T_FAILED + 1))
		echo "FAILED: the script ended early"
	fi
	echo "$T_PASSED passed, $T_FAILED failed, $T_SKIPPED skipped"
	[ $T_FAILED = 0 ] || exit 1
	[ $T_PASSED != 0 ] || exit 77
	exit 0
}

trap t_exit EXIT
trap 'exit 130' INT TERM HUP
