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
    output=$(timeout 100 "$assay" "$@" --color never 2>&1)
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
    rm -f "$to"
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
env --ignore-signal=CHLD "$assay" check "$cases" -k mine -c 'n=17 k=256 ' --kernels "$dir/libbody.so" \
    2>&1 | grep -qF "past the end of x" || complain "a crash where SIGCHLD is ignored"
body '__builtin_abort();'
expect 1 "abort() was called" check "$cases" -k mine -c 'n=17 k=256 ' --kernels "$dir/libbody.so"
body 'for (volatile int i = 0; !i;) {}'
expect 1 "did not return within 0.5 s" check "$cases" -k 'mine|ref' -c 'n=17 k=256 ' \
    --timeout 0.5 --kernels "$dir/libbody.so"

# Everything that a library's functions can do wrong is that kernel's verdict: `ref` is still judged.
one='n=17 k=256 .*fill=exact'
judged() { # judged TEXT OPTION...: mine is at fault, ref passes
    text=$1
    shift
    expect 1 "$text" check "$cases" -k 'mine|/ref$' -c "$one" --kernels "$dir/libbody.so" "$@"
    has "1 passed, 1 failed, 0 skipped"
}
has() { # has TEXT: in the output of the last `expect`
    printf '%s\n' "$output" | grep -qF -- "$1" || complain "no \"$1\"" "$output"
}
asked() { # asked FUNCTION STATEMENT: a library in which that function does this
    parameter=
    [ "$1" = scratch_bytes ] && parameter=', int threads'
    case $1 in
    unsupported | depth) edit="/^static .*$1(const void/,/^}/s/^ .* \*s = /    $2\n&/" ;;
    *) edit="s/^static const struct assay_kernel gemv = {/static int64_t $1(const void *shape$parameter)\n\
{\n    (void)shape;\n    $2\n    return 0;\n}\n\n\
static void prepare(const void *s, const void *a, void *p, int t)\n{ (void)s, (void)a, (void)p, (void)t; }\n\n\
void *used = (void *)prepare;\n\n&\n    .$1 = $1,/"
        [ "$1" = prepared_bytes ] && edit="$edit; s/^    .run = run,/    .prepare = prepare,\n&/" ;;
    esac
    sed "$edit" "$source/tests/example/mine.c" >"$dir/body.c"
    compile "$dir/body.c" libbody.so
}
for function in unsupported depth prepared_bytes scratch_bytes; do
    asked $function '*(volatile int *)8 = 0;'
    judged "Segmentation fault in $function"
    asked $function 'for (volatile int i = 0; !i;) {}'
    judged "$function did not return within 0.3 s" --timeout 0.3
    asked $function 'extern void _exit(int); _exit(0);'
    judged "$function ended the process"
done
asked scratch_bytes 'return -5;'
judged "scratch_bytes returned -5"
asked prepared_bytes 'return -1;'
judged "prepared_bytes returned -1"
asked depth 'return 0;'
judged "declares a depth of 0"
for function in prepared_bytes scratch_bytes; do
    asked $function 'return INT64_MAX;'
    expect 0 "1 passed, 0 failed, 1 skipped" check "$cases" -k 'mine|/ref$' -c "$one" \
        --kernels "$dir/libbody.so"
    has "over the memory budget"
done
asked scratch_bytes 'return 64 << 20;'
expect 0 "over the memory budget" check "$cases" -k 'mine|/ref$' -c "$one" --memory 32M \
    --kernels "$dir/libbody.so"
expect 0 "2 passed" check "$cases" -k 'mine|/ref$' -c "$one" --memory 96M \
    --kernels "$dir/libbody.so"

# A kernel that always hangs costs three time limits, not one for every case.
body 'for (volatile int i = 0; !i;) {}'
expect 1 "mine:plain timed out 3 times before" check "$cases" -k 'mine|/ref$' --timeout 0.2 \
    --kernels "$dir/libbody.so"
has " 3 failed"

# One that returns when checked, but not when timed: the others are timed.
bench() { # bench TEXT STATEMENT: after 300 calls, more than a check makes
    body "static int calls; if (++calls > 300) { $2 }"
    expect 1 "$1" bench "$cases" -k 'mine|/ref$' -c "$one" --time 0.02 --timeout 2 \
        --kernels "$dir/libbody.so"
    has "  ref  "
    has "1 passed, 1 failed"
}
bench "when it was timed: Segmentation fault" '*(volatile int *)8 = 0;'
bench "when it was timed: ended the process" 'extern void _exit(int); _exit(0);'
bench "when it was timed: the time was up" 'for (volatile int i = 0; !i;) {}'

# Whatever a library says is printed and reported in printable characters.
escape=$(printf '\033')
for function in unsupported run; do
    statement='return \"bad\\033[31m\\n\\377\";'
    if [ $function = run ]; then body "$statement" && status=1; else asked $function "$statement" && status=0; fi
    rm -f "$dir/report.json"
    expect $status 'bad\x1b[31m\x0a\xff' check "$cases" -k 'mine|/ref$' -c "$one" \
        --kernels "$dir/libbody.so" --json "$dir/report.json"
    has "report: "
    grep -qF 'bad\\x1b[31m\\x0a\\xff"' "$dir/report.json" || complain "not in the report"
    printf '%s' "$output" | grep -qF "$escape" && complain "an escape character in the output" "$output"
done
asked unsupported 'return \"\";'
expect 0 "does not say why" check "$cases" -k 'mine|/ref$' -c "$one" --kernels "$dir/libbody.so"

# What it prints does not mix with the results.
body 'extern int puts(const char *); puts(\"noise\");'
"$assay" check "$cases" -k mine -c "$one" --kernels "$dir/libbody.so" >"$dir/out" 2>"$dir/err" ||
    complain "a kernel that prints" "$(cat "$dir/out" "$dir/err")"
grep -q noise "$dir/out" && complain "a kernel's output is on stdout" "$(cat "$dir/out")"
grep -q noise "$dir/err" || complain "a kernel's output is lost"

# Threads that a call leaves behind end with its process.
body 'extern int pthread_create(unsigned long *, const void *, void *(*)(void *), void *), pause(void); \
unsigned long t; pthread_create(\&t, 0, (void *(*)(void *))pause, 0);'
expect 0 "1 passed" check "$cases" -k mine -c "$one" --kernels "$dir/libbody.so"

# The replay line and the report's command are what a shell reads back.
compile "$dir/broken.c" libbroken.so
mv "$dir/libbroken.so" "$dir/it's mine.so"
rm -f "$dir/report.json"
expect 1 "    replay: assay replay 'q4_K_gemv" check "$cases" -k mine -c "$one" --shrink 0 \
    --kernels "$dir/it's mine.so" --json "$dir/report.json"
replay=$(printf '%s\n' "$output" | sed -n 's/^    replay: assay //p')
output=$(eval "\"\$assay\" $replay" 2>&1)
[ $? = 1 ] || complain "the replay line" "$replay
$output"
command=$(sed -n 's/^ "command": "\(.*\)",$/\1/p' "$dir/report.json" | sed 's/\\\\/\\/g')
output=$(eval "$command" 2>&1)
[ $? = 1 ] || complain "the report's command" "$command
$output"

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
constructor 'starts threads when it is loaded' 'extern int pthread_create(unsigned long *, const \
void *, void *(*)(void *), void *), pause(void); unsigned long t; \
pthread_create(\&t, 0, (void *(*)(void *))pause, 0);'
plain_cc=$cc cc=$dir/cc-openmp
printf '#!/bin/sh\nexec "%s" -fopenmp "$@"\n' "$plain_cc" >"$cc" && chmod +x "$cc"
constructor 'starts threads when it is loaded' \
    'int n = 0;\n_Pragma(\"omp parallel num_threads(2) reduction(+:n)\")\nn++;'
cc=$plain_cc
for name in 'pl ain' "pl'ain" 'pl\\\\ain' 'plain\\033[31m' "$(printf '%65s' | tr ' ' x)"; do
    faulty 'has a name that is not' "s/\.name = \"plain\"/.name = \"$name\"/"
    faulty 'the library has a name that is not' "s/1, \"mine\", kernels}/1, \"$name\", kernels}/"
done
printf '%s' "$output" | grep -qF "$escape" && complain "an escape character in the output" "$output"
faulty 'has a tier that is not' 's/\.tier = "c"/.tier = "c\\n"/'
faulty 'unknown op "q4\x1b"' 's/"q4_K_gemv",/"q4\\033",/'

# Libraries that change the process that loads them.
started() { # started KIND STATEMENT
    sed "s/^#include <string.h>/#include <fenv.h>\n#include <stdio.h>\n&/; s/^enum { LANES/\
__attribute__(($1)) static void start(void) { $2 }\n&/; s/const char \*broken = rule_broken(s);/\
if (fegetround() != FE_TONEAREST) return \"rounds otherwise\"; &/" "$source/tests/example/mine.c" \
        >"$dir/body.c"
    compile "$dir/body.c" libbody.so
    output=$("$assay" check "$cases" -k mine -c "$one" --kernels "$dir/libbody.so" 2>"$dir/err") ||
        complain "$1 $2: exit $?" "$output"
    printf '%s\n' "$output" | grep -q noise && complain "$1 $2: on stdout" "$output"
}
started constructor 'fesetround(FE_UPWARD);'
started constructor 'puts(\"noise\"); fflush(stdout);'
started destructor '*(volatile int *)8 = 0;'
started destructor 'puts(\"noise\"); fflush(stdout);'
printf 'not a library\n' >"$dir/text.so"
expect 2 "text.so" list --kernels "$dir/text.so"

[ $failures = 0 ] && echo "kernel libraries: as they should be"
exit $((failures > 0))
