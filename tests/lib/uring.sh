# FUSE over io_uring for a while, after sh.sh: the kernel's parameter is set back at the end, and two
# scripts that set it wait for each other.
#
# shellcheck shell=bash

URING_PARAM=/sys/module/fuse/parameters/enable_uring

# True once the kernel offers it to new mounts.
uring_on()
{
	[ -w "$URING_PARAM" ] || return 1
	exec {URING_LOCK}>/run/lock/foliofs-test-uring || return 1
	timeout 900 flock "$URING_LOCK" || return 1
	URING_WAS=$(cat "$URING_PARAM")
	echo Y >"$URING_PARAM"
	trap 'uring_restore; t_exit' EXIT
}

uring_restore()
{
	[ -z "${URING_WAS:-}" ] || echo "$URING_WAS" >"$URING_PARAM"
	URING_WAS=
}
