#!/bin/sh
# SPDX-License-Identifier: MIT
# Kernel libraries as a user meets them: the examples, built against an installed tree, pass; with one
# line broken they fail and the report says where; faulty libraries are refused with their reason.
#
#   libraries.sh ASSAY BUILD_DIR SOURCE_DIR CC
set -u
assay=$1 build=$2 source=$3 cc=$4
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
failures=0

complain() {
    echo "FAILED: $1"
    [ -z "${2-}" ] || printf '%s\n' "$2" | sed 's/^/    /'
    failures=$((failures + 1))
}

# expect STATUS TEXT ARGUMENT...: the exit status, and a line of the output that holds TEXT.
expect() {
    status=$1 text=$2
    shift 2
    output=$("$assay" "$@" --color never 2>&1)
    got=$?
    [ $got = "$status" ] || complain "assay $*: exit $got, expected $status" "$output"
    printf '%s\n' "$output" | grep -qF -- "$text" || complain "assay $*: no \"$text\"" "$output"
}

cmake --install "$build" --prefix "$dir/installed" >"$dir/install.log" 2>&1 ||
    complain "cmake --install" "$(cat "$dir/install.log")"
include=$dir/installed/include/assay
cases=$source/cases/smoke/q4_K_gemv.json

compile() { # compile SOURCE NAME [COMPILER...]
    from=$1 to=$dir/$2
    shift 2
    "${@:-$cc}" -O2 -shared -fPIC -I"$include" -o "$to" "$from" 2>"$dir/compile.log" ||
        complain "compiling $from" "$(cat "$dir/compile.log")"
}

# The examples.
compile "$source/tests/example/mine.c" libmine.so
expect 0 "0 failed" check "$cases" -k mine --kernels "$dir/libmine.so"
expect 0 "mine:plain" bench "$source/cases/models" -c 'q4_K_gemv n=4096 k=4096' -k mine \
    --time 0.02 --kernels "$dir/libmine.so"
expect 2 "cannot open" list --kernels "$dir/nosuch.so"
if command -v c++ >/dev/null; then
    compile "$source/tests/example/mine.cpp" libminepp.so c++ -std=c++17
    expect 0 "0 failed" check "$cases" -k 'mine\+\+' --kernels "$dir/libminepp.so"
else
    echo "SKIPPED: the C++ example: no c++"
fi
if command -v rustc >/dev/null && rustc --edition 2021 -O --crate-type cdylib -o "$dir/libminers.so" \
    "$source/tests/example/mine.rs" 2>"$dir/rustc.log"; then
    expect 0 "0 failed" check "$cases" -k mine-rs --kernels "$dir/libminers.so"
else
    echo "SKIPPED: the Rust example: no rustc, or one before 1.77"
fi

# One line broken: the last row of a partial group of 16 is lost.
sed 's/r < s->n; r++/r < s->n - (s->n > 16 \&\& s->n % 16 == 1); r++/' \
    "$source/tests/example/mine.c" >"$dir/broken.c"
compile "$dir/broken.c" libbroken.so
expect 1 "The only unwritten element of 17 is in row 16 (the last)." check "$cases" -k mine \
    -c 'n=17 .*fill=exact' --kernels "$dir/libbroken.so"
expect 1 "first: y[0, 16], expected " check "$cases" -k mine -c 'n=17 .*fill=exact' \
    --kernels "$dir/libbroken.so"
expect 1 "smaller: assay replay 'q4_K_gemv n=17 k=256" check "$cases" -k mine \
    --kernels "$dir/libbroken.so"

# Within a bound made too wide, but wrong on the whole: no element is called wrong.
sed 's/a->y\[r\] = y;/a->y[r] = y * 1.001f;/; s/return 2 + Q4_K_BLOCK.*/(void)s; return 1 << 20;/' \
    "$source/tests/example/mine.c" >"$dir/wide.c"
compile "$dir/wide.c" libwide.so
expect 1 "largest error: y[" check "$cases" -k mine -c 'fill=model' --kernels "$dir/libwide.so"

# Libraries that crash or hang when a kernel is called: the others are still judged.
body() { # body STATEMENT: a library whose kernel does this
    sed "s/const char \*broken = rule_broken(s);/$1 const char *broken = rule_broken(s);/" \
        "$source/tests/example/mine.c" >"$dir/body.c"
    compile "$dir/body.c" libbody.so
}
body '*(volatile float *)(a->x + s->k) = 0;'
expect 1 "past the end of x" check "$cases" -k 'mine|avx|ref' -c 'n=17 k=256 ' \
    --kernels "$dir/libbody.so"
body '__builtin_abort();'
expect 1 "abort() was called" check "$cases" -k mine -c 'n=17 k=256 ' --kernels "$dir/libbody.so"
body 'for (volatile int i = 0; !i;) {}'
expect 1 "did not return within 0.5 s" check "$cases" -k 'mine|ref' -c 'n=17 k=256 ' \
    --timeout 0.5 --kernels "$dir/libbody.so"

# Libraries that cannot be used.
faulty() { # faulty TEXT SED-EXPRESSION: the example, edited
    sed "$2" "$source/tests/example/mine.c" >"$dir/faulty.c"
    cmp -s "$source/tests/example/mine.c" "$dir/faulty.c" && complain "no change by $2"
    compile "$dir/faulty.c" libfaulty.so
    expect 2 "$1" list --kernels "$dir/libfaulty.so"
}
faulty "its ABI version is 99" 's/{ASSAY_ABI_VERSION,/{99,/'
faulty "does not export assay_kernels" 's/assay_kernels(void)/other(void)/'
faulty 'unknown op "q5_K_gemv"' 's/"q4_K_gemv",/"q5_K_gemv",/'
faulty "has no run function" 's/\.run = run,//'
faulty "has no depth function" 's/\.depth = depth,//'
faulty "has no name" 's/\.name = "plain",//'
faulty "has an unknown numerics class" 's/ASSAY_F32,/77,/'
faulty "unknown op" 's/kernels\[\] = {&gemv}/kernels[] = {NULL}/'
faulty "its table has no kernels" 's/1, "mine", kernels}/0, "mine", kernels}/'
faulty "returns NULL" 's/return &table;/(void)table; return NULL;/'
constructor() { # constructor TEXT STATEMENT
    faulty "$1" "s/^enum { LANES/__attribute__((constructor)) static void start(void) { $2 }\n&/"
}
constructor "crashed while it was loaded: Segmentation fault" '*(volatile int *)8 = 0;'
constructor 'ended the process' 'extern void _exit(int); _exit(0);'
printf 'not a library\n' >"$dir/text.so"
expect 2 "text.so" list --kernels "$dir/text.so"

[ $failures = 0 ] && echo "kernel libraries: as they should be"
exit $((failures > 0))
