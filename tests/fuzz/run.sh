#!/bin/sh
# tests/fuzz/run.sh PROGRAM RUNS CORPUS [OPTION...]: libFuzzer over the corpus and RUNS inputs made
# of it, always the same ones. What it finds new is not kept; an input that fails is left in
# $FUZZ_KEEP (default: the present folder). FUZZ_SECONDS=N: so long, with another seed each time, and
# new inputs go to $FUZZ_KEEP.
set -u

program=$1 runs=$2 corpus=$3
shift 3
found=$(mktemp -d) || exit 1
trap 'rm -rf "$found"' EXIT
keep=${FUZZ_KEEP:-$PWD}
if [ "${FUZZ_SECONDS:-0}" != 0 ]; then
	limit="-max_total_time=$FUZZ_SECONDS"
	found=$keep
	trap - EXIT
else
	limit="-runs=$runs -seed=1"
fi
# shellcheck disable=SC2086 # two options
if ! "$program" $limit -max_len=400 -timeout=60 -rss_limit_mb=1500 -malloc_limit_mb=600 \
	-artifact_prefix="$keep/$(basename "$program")-" "$@" "$found" "$corpus" >"$found.out" 2>&1; then
	grep -v '^#[0-9]*	' "$found.out" | tail -n 60
	echo "repeat: $program $keep/$(basename "$program")-..."
	echo '0 passed, 1 failed'
	rm -f "$found.out"
	exit 1
fi
tail -n 1 "$found.out"
rm -f "$found.out"
echo '1 passed, 0 failed'
