# For the tests on mounts, after sh.sh.
#
# claims COMMAND...: runs a program that prints "ok: CLAIM" and "FAILED: CLAIM: why" lines, counts
# them, and fails if it ends otherwise than by its last line.
#
# shellcheck shell=bash

claims()
{
	local line status out=$T_DIR/claims
	"$@" >"$out" 2>"$out.err"
	status=$?
	cp "$out.err" "$T_OUT"
	while read -r line; do
		case $line in
		ok:*) t_pass "${line#ok: }" ;;
		FAILED:*) t_fail "${line#FAILED: }" ;;
		esac
	done <"$out"
	if [ $status != 0 ] && ! grep -q '^FAILED' "$out"; then
		t_fail 'the claims were all looked at' "exit $status: $*"
	fi
}

# rss_kib PID: memory of a process that is resident now, and the most that ever was.
rss_kib()
{
	awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"
}

peak_kib()
{
	awk '/^VmHWM:/ { print $2 }' "/proc/$1/status"
}
