# For the tests on mounts, after sh.sh.
#
# shellcheck shell=bash

# claims COMMAND...: runs a program that prints "ok: CLAIM", "FAILED: CLAIM: why" and
# "skipped: CLAIM (why)" lines, counts them, and fails if it ends otherwise than by its last line.
claims()
{
	local status out=$T_DIR/claims
	"$@" >"$out" 2>"$out.err"
	status=$?
	claims_count "$status" "$*"
}

claims_count()
{
	local line out=$T_DIR/claims
	cp "$out.err" "$T_OUT"
	while read -r line; do
		case $line in
		ok:*) t_pass "${line#ok: }" ;;
		FAILED:*) t_fail "${line#FAILED: }" ;;
		skipped:*) T_SKIPPED=$((T_SKIPPED + 1)) ;;
		esac
	done <"$out"
	if [ "$1" != 0 ] && ! grep -q '^FAILED' "$out"; then
		t_fail 'the claims were all looked at' "exit $1: $2"
	fi
}

# served OUTPUT COMMAND...: runs a command that may ask for things that only the script can do: it
# writes a word to $SERVE_ASK and reads "ok" or why not from $SERVE_ANSWER (also: sh -c
# "$SERVE_CMD" - WORD). For each WORD the script defines serve_WORD. The command's exit status.
served()
{
	local word pid out=$1
	shift
	export SERVE_ASK=$T_DIR/ask SERVE_ANSWER=$T_DIR/answer
	export SERVE_CMD='echo "$1" >"$SERVE_ASK" && read -r a <"$SERVE_ANSWER" && [ "$a" = ok ]'
	[ -p "$SERVE_ASK" ] || mkfifo -m 666 "$SERVE_ASK" "$SERVE_ANSWER"
	exec 8<>"$SERVE_ASK" 9<>"$SERVE_ANSWER"
	{
		"$@" >"$out" 2>"$out.err" 8>&- 9>&-
		echo $? >"$out.status"
		echo end >&8
	} &
	pid=$!
	while read -r -u 8 word && [ "$word" != end ]; do
		if "serve_$word" >"$T_DIR/serve.log" 2>&1; then
			echo ok >&9
		else
			echo "failed: $(tail -n 1 "$T_DIR/serve.log")" >&9
		fi
	done
	wait $pid
	exec 8>&- 9>&-
	return "$(cat "$out.status")"
}

claims_served()
{
	local status
	served "$T_DIR/claims" "$@"
	status=$?
	claims_count $status "$*"
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
