#!/bin/sh
# SPDX-License-Identifier: MIT
# `assay ab`: two libraries, two commits, what it prints and writes, its exit statuses, and that
# nothing is left behind. Nothing here depends on how fast anything is, but for a kernel that
# takes ten times its time.
#
#   ab.sh ASSAY BUILD_DIR SOURCE_DIR CC
set -u
assay=$1 build=$2 source=$3 cc=$4
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
failures=0
slower0=$build/tests/slower0.so rounding=$build/tests/rounding.so tenfold=$build/tests/slower900.so
cases=$source/tests/aa.json

complain() {
    echo "FAILED: $1"
    [ -z "${2-}" ] || printf '%s\n' "$2" | sed 's/^/    /'
    failures=$((failures + 1))
}

# expect STATUS TEXT ARGUMENT...: the exit status, and a line of the output that holds TEXT.
expect() {
    status=$1 text=$2
    shift 2
    output=$(timeout 300 "$assay" ab "$@" --color never 2>&1)
    got=$?
    [ $got = "$status" ] || complain "assay ab $*: exit $got, expected $status" "$output"
    printf '%s\n' "$output" | grep -qF -- "$text" || complain "assay ab $*: no \"$text\"" "$output"
}

# The library has one symbol to offer.
symbols=$(nm -D --defined-only "$build/libassay_kernels.so" | awk '{print $3}')
[ "$symbols" = assay_kernels ] || complain "libassay_kernels.so exports" "$symbols"

# A library and itself.
expect 0 'silu_mul n=768' "$slower0" "$slower0" "$cases" -c silu --time 0.01 --fail-on slower \
    --json "$dir/ab.json" --markdown "$dir/ab.md"
grep -q '"assay_comparison"' "$dir/ab.json" || complain "--json" "$(cat "$dir/ab.json")"
if command -v python3 >/dev/null; then
    python3 -m json.tool "$dir/ab.json" >/dev/null || complain "--json is not JSON"
fi
grep -q silu_mul "$dir/ab.md" || complain "--markdown" "$(cat "$dir/ab.md")"
expect 0 '  ref ' "$slower0" "$slower0" "$cases" -c silu -k '/ref$' --time 0.01 --fail-on none
[ "$("$assay" ab "$slower0" "$slower0" "$cases" -c silu -k '/ref$' --time 0.01 --fail-on none \
    --json - 2>/dev/null | head -c 1)" = '{' ] || complain "--json -: something else is printed"

# What cannot be written is refused before hours of timing.
expect 2 'x.json: cannot write' "$slower0" "$slower0" "$cases" --time 3600 --json "$dir/no/x.json"
echo mine >"$dir/mine.md"
expect 2 'exists and is something else' "$slower0" "$slower0" "$cases" --time 3600 \
    --markdown "$dir/mine.md"

# Ten times the work; one rounding.
expect 3 SLOWER "$slower0" "$tenfold" "$cases" -c silu -k '/ref$' --time 10
expect 0 FASTER "$tenfold" "$slower0" "$cases" -c silu -k '/ref$' --time 10
expect 1 'output changed' "$slower0" "$rounding" "$cases" -c gemv -k 'gemv/ref$' --time 0.01 \
    --fail-on accuracy
expect 1 'PASS -> FAIL' "$slower0" "$rounding" "$cases" -c router -k '/ref$' --time 0.01 \
    --fail-on none

# What is asked wrongly.
expect 2 'name two kernel libraries' "$slower0"
expect 2 'cannot open' "$slower0" "$dir/missing.so"
"$cc" -shared -fPIC -I "$source" -o "$dir/mine.so" "$source/tests/example/mine.c" ||
    complain "mine.c does not compile"
expect 2 'no kernel that both' "$slower0" "$dir/mine.so" "$cases"
expect 2 'is for list, check and bench' "$slower0" "$slower0" --gguf x
expect 2 "fail-on" "$slower0" "$slower0" --fail-on faster

# Commits of a repository with a library of its own.
git init -q "$dir/repository" && cd "$dir/repository" || exit 2
git config user.name t && git config user.email t@example.com
export TMPDIR="$dir/tmp" ASSAY_WAIT=0
mkdir "$TMPDIR"
commit() {
    git add -A && git commit -qm "$1" && git tag "$1"
}
echo nothing >README && commit no_target
cp "$source/tests/example/mine.c" mine.c
cat >CMakeLists.txt <<EOF
cmake_minimum_required(VERSION 3.20)
project(mine C)
add_library(assay_kernels MODULE mine.c)
target_include_directories(assay_kernels PRIVATE $source)
EOF
cat >cases.json <<EOF
{ "schema": 1, "cases": [ { "name": "gemv", "op": "q4_K_gemv", "fill": "model",
  "shape": { "n": 33, "k": 512 } } ] }
EOF
commit good
sed -i 's/float d = q4_K_f16(block->d)/float d = 1.0000001f * q4_K_f16(block->d)/' mine.c
commit rounding
echo 'this is no C' >>mine.c && commit broken
git revert -n HEAD && commit again
sed -i 's/^add_library/execute_process(COMMAND sleep 97)\n&/' CMakeLists.txt && commit waits

left() { # left WHAT: nothing is
    [ -z "$(ls -A "$TMPDIR")" ] || complain "$1: left in TMPDIR" "$(ls -A "$TMPDIR")"
    [ "$(git worktree list | wc -l)" = 1 ] || complain "$1: worktrees" "$(git worktree list)"
}
expect 1 'output changed' --rev good rounding cases.json --time 0.01 --fail-on accuracy
left "two commits"
git checkout -q rounding
expect 0 'working tree' --rev rounding cases.json --time 0.01 --fail-on accuracy
left "the working tree"
expect 2 'there is no commit "nosuch"' --rev nosuch
expect 2 'there is no commit "nosuch"' --rev good nosuch cases.json
expect 2 'does not build' --rev good broken cases.json
expect 2 'this is no C' --rev good broken cases.json
expect 2 'cannot configure' --rev no_target good cases.json
left "failed builds"

# Told to end while it builds: the build ends too, and nothing is left.
env --default-signal=INT "$assay" ab --rev waits good cases.json >"$dir/out" 2>&1 &
pid=$!
sleep 3
kill -INT $pid
wait $pid
status=$?
[ $status = 130 ] || complain "SIGINT while it builds: exit $status" "$(cat "$dir/out")"
left SIGINT
ps -eo args | grep -q '^sleep 97$' && complain "SIGINT: the build goes on"
cd /
expect 2 'no git repository' --rev good

[ $failures = 0 ] && echo "all as it should be"
[ $failures = 0 ]
