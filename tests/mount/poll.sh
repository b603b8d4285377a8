#!/bin/bash
# An idle daemon wakes nobody; CPUs are kept awake only while requests flow, at idle priority, and
# not at all with poll=off, under a CPU quota, or where sessions are groups of the scheduler.
. "$(dirname "$0")/../lib/sh.sh"
. "$(dirname "$0")/lib.sh"

need_fuse
need_command dd
img=$T_DIR/img mnt=$T_DIR/mnt
autogroup=/proc/sys/kernel/sched_autogroup_enabled
exec 9>/run/lock/foliofs-test-autogroup && timeout 300 flock 9
was_grouped=$(cat $autogroup 2>/dev/null)

# Where it can't be set, checks that depend on it are skipped by what the log says.
group_sessions()
{
	[ -z "$was_grouped" ] || echo "$1" 2>/dev/null >$autogroup
}
make_image "$img" 64M || t_done

# Changes of thread that the threads of the daemon have made, a line for each. The kernel's own
# workers of io_uring (iou-wrk) look around every 5 s for as long as they live.
switches()
{
	local t
	for t in "/proc/$1/task/"*; do
		grep -q '^iou-wrk' "$t/comm" ||
			echo "$(cat "$t/comm") $(grep ctxt_switches "$t/status" | tr -s '\n\t' '  ')"
	done
}

# Processor time of the threads that keep CPUs awake, in ticks.
awake_ticks()
{
	cat "/proc/$1/task/"*/stat | grep '(folio-awake)' | awk '{ n += $14 + $15 } END { print n + 0 }'
}

awake_threads()
{
	cat "/proc/$1/task/"*/comm | grep -c folio-awake
}

requests()
{
	timeout 60 dd if="$mnt/f" of=/dev/null bs=4k count=8192 iflag=direct status=none
}

still()
{
	local before=$1 after
	after=$(switches "$2")
	[ "$before" = "$after" ] || diff <(echo "$before") <(echo "$after")
}

settled()
{
	local before
	before=$(switches "$1")
	sleep 1.5
	[ "$before" = "$(switches "$1")" ]
}

trap 'group_sessions "$was_grouped"; t_exit' EXIT
group_sessions 0
check 'it mounts with poll=auto' mount_fs "$img" "$mnt" -o cache=daemon,cache_size=64m,commit=1 || t_done
pid=$(fs_pid "$mnt")
check 'a file is written' dd if=/dev/zero of="$mnt/f" bs=1M count=32 conv=fsync status=none
check 'requests flow' requests
want=$(nproc)
want=$((want > 4 ? 3 : want - 1))
if grep -q 'CPUs are not kept awake' "$mnt.log"; then
	t_skip 'threads keep CPUs awake' 'the groups of the scheduler here forbid it'
else
	check_equal $want "$(awake_threads "$pid")" 'one thread for each CPU but one keeps it awake'
	check_equal $((want * 5)) "$(for t in "/proc/$pid/task/"*; do
		! grep -q folio-awake "$t/comm" || awk '{ print $41 }' "$t/stat"
	done | awk '{ n += $1 } END { print n + 0 }')" 'they have idle priority (SCHED_IDLE)'
fi
# The last commit and writes have to be over: with commit=1 both timers of it end within 1 s.
check 'the daemon comes to rest' wait_until 30 settled "$pid"
before=$(switches "$pid") ticks=$(awake_ticks "$pid")
sleep 10
check 'an idle daemon: no thread woke in 10 s' still "$before" "$pid"
check_equal "$ticks" "$(awake_ticks "$pid")" 'no CPU is kept awake at rest'
check 'it unmounts' umount_fs "$mnt"

check 'it mounts with poll=off' mount_fs "$img" "$mnt" -o cache=daemon,poll=off || t_done
check 'requests flow with poll=off' requests
check_equal 0 "$(awake_threads "$(fs_pid "$mnt")")" 'poll=off keeps no CPU awake'
check 'it unmounts' umount_fs "$mnt"

check 'it mounts with poll=50' mount_fs "$img" "$mnt" -o cache=daemon,poll=50 || t_done
check 'requests flow with poll=50' requests
check 'it unmounts' umount_fs "$mnt"

if group_sessions 1 && [ "$(cat $autogroup 2>/dev/null)" = 1 ]; then
	check 'it mounts where sessions are groups' mount_fs "$img" "$mnt" -o cache=daemon || t_done
	check 'requests flow there' requests
	check_equal 0 "$(awake_threads "$(fs_pid "$mnt")")" 'no CPU is kept awake for a group'
	check 'the log says why' grep 'CPUs are not kept awake' "$mnt.log"
	check 'it unmounts' umount_fs "$mnt"
else
	t_skip 'no CPU is kept awake for a group' 'sessions can not be grouped here'
fi
group_sessions 0

# A quota, where the machine lets us set one.
quota_group()
{
	if [ -f /sys/fs/cgroup/cgroup.subtree_control ]; then
		grep -qw cpu /sys/fs/cgroup/cgroup.subtree_control || return 1
		group=/sys/fs/cgroup/foliofs-test-$$ file=cpu.max
	else
		group=/sys/fs/cgroup/cpu/foliofs-test-$$ file=cpu.cfs_quota_us
	fi
	mkdir "$group" 2>/dev/null && echo 100000 >"$group/$file"
}

if quota_group; then
	cat >"$T_DIR/limited" <<-END
		#!/bin/sh
		echo \$\$ >"$group/cgroup.procs" && exec "$FOLIOFS" "\$@"
	END
	chmod +x "$T_DIR/limited"
	FOLIOFS=$T_DIR/limited
	check 'it mounts under a quota' mount_fs "$img" "$mnt" -o cache=daemon || t_done
	check 'requests flow under a quota' requests
	check_equal 0 "$(awake_threads "$(fs_pid "$mnt")")" 'no CPU is kept awake under a CPU quota'
	check 'the log says why' grep 'CPU quota' "$mnt.log"
	check 'it unmounts' umount_fs "$mnt"
	rmdir "$group"
else
	t_skip 'no CPU is kept awake under a CPU quota' 'can not set one here'
fi
t_done
