#!/bin/sh
# SPDX-License-Identifier: MIT
# A bench's report: its parts, and what becomes of it when the run is interrupted or killed, or the
# disk is full. Nothing here depends on how fast anything is.
#
#   bench.sh ASSAY SOURCE_DIR
set -u
assay=$1 source=$2
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
failures=0
report=$dir/report.json
cases=$source/cases/smoke/silu_mul.json

complain() {
    echo "FAILED: $1"
    [ ! -s "$dir/out" ] || sed 's/^/    /' "$dir/out"
    failures=$((failures + 1))
}

bench() { # bench ARGUMENT...
    "$assay" bench "$cases" --color never "$@" >"$dir/out" 2>&1
}

# has WHAT TEXT: the report has it.
has() {
    grep -q -- "$2" "$report" || complain "$1: no $2 in the report"
}

valid() { # valid WHAT
    [ "$(head -c 1 "$report")" = '{' ] && [ "$(tail -c 2 "$report")" = '}' ] ||
        complain "$1: the report is not whole"
    if command -v python3 >/dev/null; then
        python3 -m json.tool "$report" >/dev/null || complain "$1: not JSON"
    fi
}

clean() { # clean WHAT: no file is left beside the report
    [ "$(ls "$dir" | grep -c '^report\.json\.')" = 0 ] || complain "$1: $(ls "$dir")"
}

one='silu_mul n=1 rows=1 fill=model'
bench -c "$one" --time 0.02 --blocks 3 --rounds 2 --json "$report" || complain "bench: exit $?"
valid bench
has bench '"assay_report": 2'
has bench '"complete": true'
has bench '"aa": true'
has bench '"pass": 1'
has bench '"gb_per_s"'
has bench '"aa_spread"'
has bench '"kind": "'
[ "$(grep -c '"pass": 1' "$report")" -ge 6 ] || complain "bench: too few blocks in the second pass"
grep -q 'A/A: ' "$dir/out" || complain "bench: no A/A arm is printed"
[ "$(wc -L <"$dir/out")" -le 125 ] || complain "bench: lines of $(wc -L <"$dir/out") columns"
bench -c "$one" --blocks 1 && complain "--blocks 1 is accepted"
cp "$report" "$dir/before"

# Interrupted: a valid report of what there is, and the signal's own exit status.
for signal in INT TERM; do
    env --default-signal=INT "$assay" bench "$cases" --time 20 --json "$report" --color never \
        >"$dir/out" 2>&1 &
    pid=$!
    sleep 8 # ceilings take five
    kill -$signal $pid
    wait $pid
    status=$?
    [ $signal = INT ] && expected=130 || expected=143
    [ $status = $expected ] || complain "SIG$signal: exit $status, expected $expected"
    grep -q "partial report: $report" "$dir/out" || complain "SIG$signal: does not say so"
    valid "SIG$signal"
    has "SIG$signal" '"complete": false'
    has "SIG$signal" '"verdict": "PASS"'
    clean "SIG$signal"
done

# Killed, or without room for the report: the old one stays.
cp "$dir/before" "$report"
"$assay" bench "$cases" --time 20 --json "$report" >"$dir/out" 2>&1 &
pid=$!
sleep 7
kill -KILL $pid
wait $pid 2>/dev/null
cmp -s "$report" "$dir/before" || complain "SIGKILL: the report changed"
clean SIGKILL
(
    trap '' XFSZ
    # Blocks of 512 bytes: less than a report, more than LLVM's OpenMP puts into shared memory.
    ulimit -f 4
    "$assay" bench "$cases" -c "$one" --time 0.02 --json "$report" 2>"$dir/full" >/dev/null
    echo $? >"$dir/status"
)
[ "$(cat "$dir/status")" = 2 ] || complain "full disk: exit $(cat "$dir/status")"
grep -q 'cannot write: ' "$dir/full" || complain "full disk: $(cat "$dir/full")"
cmp -s "$report" "$dir/before" || complain "full disk: the report changed"
clean "full disk"

[ $failures = 0 ] && echo "all as it should be"
[ $failures = 0 ]
