#!/bin/bash
# The helpers of tests/lib/sh.sh never take a failure for a success, and clean up after themselves.
. "$(dirname "$0")/../lib/sh.sh"

lib=$(cd "$(dirname "$0")/../lib" && pwd)/sh.sh

# inner TEXT: runs a test script of this text; its output is in $T_DIR/inner.out.
inner()
{
	printf '. "%s"\n%s\n' "$lib" "$1" >"$T_DIR/inner.sh"
	TMPDIR=$T_DIR bash "$T_DIR/inner.sh" >"$T_DIR/inner.out" 2>&1
}

last_line()
{
	tail -n 1 "$T_DIR/inner.out"
}

inner 'check a true; check_fails 3 b bash -c "exit 3"; check_equal x x c; t_done'
check_equal "0:3 passed, 0 failed, 0 skipped" "$?:$(last_line)" 'passed checks are counted'

inner 'check a true; check b false; t_done'
check_equal "1:1 passed, 1 failed, 0 skipped" "$?:$(last_line)" 'a failed check fails the script'

inner 'check_fails 1 a true; check_fails 1 b bash -c "exit 2"; t_done'
check_equal "1:0 passed, 2 failed, 0 skipped" "$?:$(last_line)" 'another exit status is a failure'

inner 'check a echo hello; check_says "^hel+o$" b; check_says nothing c; t_done'
check_equal "1:2 passed, 1 failed, 0 skipped" "$?:$(last_line)" 'what a command says is matched'

inner 'check a true; exit 0'
check_equal "1:1 passed, 1 failed, 0 skipped" "$?:$(last_line)" 'a script without t_done fails'

inner 't_skip_all reason'
check_equal "77:0 passed, 0 failed, 1 skipped" "$?:$(last_line)" 'a script that skips all exits 77'

inner 'check a true; sleep 1000 & T_PIDS[/nowhere]=$!; echo $! >"$TMPDIR/pid"; t_done'
kill -0 "$(cat "$T_DIR/pid")" 2>/dev/null
check_equal 1 $? 'a daemon that a test started is ended'

check_equal '' "$(find "$T_DIR" -mindepth 1 -name 'foliofs-test.*')" 'the folder of a test is removed'

t_done
