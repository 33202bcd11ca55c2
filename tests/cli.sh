#!/bin/sh
# SPDX-License-Identifier: MIT
# The program from outside: exit status, messages and files.
# Usage: cli.sh ASSAY SOURCE_DIR "TIERS THAT WERE BUILT"
assay=$1
tiers=${3-}
cd "$2" || exit 2
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' HUP INT TERM
unset SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_COUNT SLURM_ARRAY_TASK_MIN CI_NODE_INDEX CI_NODE_TOTAL

gemv=cases/smoke/q4_K_gemv.json
quantize=cases/smoke/q4_K_quantize.json # the quickest
checks=0
failures=0

# is CONDITION DESCRIPTION: a shell condition about $status, $tmp/out and $tmp/err.
is() {
    checks=$((checks + 1))
    if ! eval "$1"; then
        failures=$((failures + 1))
        echo "FAIL: $2: not so: $1"
        echo "  status $status"
        head -5 "$tmp/out" | sed 's/^/  stdout: /'
        head -5 "$tmp/err" | sed 's/^/  stderr: /'
    fi
}

run() {
    what="assay $*"
    "$assay" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
    status=$?
}

# passes ARGUMENTS...: exit status 0 and no complaint.
passes() {
    run "$@"
    is 'test $status -eq 0' "$what"
    is 'test ! -s "$tmp/err"' "$what"
}

# refuses MESSAGE ARGUMENTS...: exit status 2, and one line on stderr, which has the message.
refuses() {
    message=$1
    shift
    run "$@"
    is 'test $status -eq 2' "$what"
    is 'test $(wc -l <"$tmp/err") -eq 1' "$what"
    is 'grep -q "^assay: " "$tmp/err"' "$what"
    is 'grep -qF -e "$message" "$tmp/err"' "$what ($message)"
}

# says TEXT: on stdout.
says() {
    text=$1
    is 'grep -qF -e "$text" "$tmp/out"' "$what ($text)"
}

# ---- usage ----
passes --help
says '--shard=I/N'
passes --version
says 'assay '
refuses 'no command'
refuses 'unknown command "nosuch"' nosuch
for option in --nosuch -z; do # argp's own two lines
    run check "$gemv" "$option"
    is 'test $status -eq 2' "$what"
    is 'test -s "$tmp/err" && test ! -s "$tmp/out"' "$what"
done
refuses 'no case file or directory given' check
refuses 'no case file or directory given' bench
refuses 'no case key given' replay

# ---- option values ----
# values OPTION MESSAGE VALUE...
values() {
    option=$1
    prefix=$2
    shift 2
    for value; do
        refuses "$prefix \"$value\"" check "$quantize" "$option=$value"
    done
}
values --threads '--threads:' 0 -1 1025 x '' 1x 99999999999999999999
values --seed '--seed:' -1 9007199254740993 1.5 x ''
values --memory '--memory:' 0 -1 x 1X 1KK '' 99999999999999999999 9000000T
values --timeout '--timeout:' 0 -1 nan x '' 86401 1x
values --time '--time:' 0 -1 inf x
values --color '--color:' maybe '' Always
values --cpu '--cpu: unknown feature' nosuch
values --shard '--shard:' 1 x
refuses '--shard: "0" is not an integer from 1 to 3' check "$quantize" --shard 0/3
refuses '--shard: "4" is not an integer from 1 to 3' check "$quantize" --shard 4/3
refuses '--shard: "0" is not an integer from 1 to 1000000' check "$quantize" --shard 1/0
refuses '--shard: "x"' check "$quantize" --shard 1/x
refuses '--shard: ""' check "$quantize" --shard /3
refuses '--shard: "3/5"' check "$quantize" --shard 1/3/5
refuses '--shard auto' check "$quantize" --shard auto

# ---- cases and kernels ----
refuses "$tmp/missing.json: cannot be read" check "$tmp/missing.json"
refuses "$tmp/missing: cannot be read" list "$tmp/missing"
mkdir "$tmp/empty"
refuses "$tmp/empty: there is no *.json file below it" check "$tmp/empty"
mkdir "$tmp/loop"
ln -s . "$tmp/loop/self"
refuses "$tmp/loop: there is no *.json file below it" check "$tmp/loop"
cp "$quantize" "$tmp/loop"
passes list "$tmp/loop"
is 'test $(wc -l <"$tmp/out") -eq $("$assay" list "$quantize" | wc -l)' 'a loop is not followed'
ln -s ring "$tmp/ring"
refuses "$tmp/ring: cannot be read: Too many levels of symbolic links" check "$tmp/ring"
refuses "a?31mb?c?d: cannot be read" check "$(printf 'a\302\23331mb\342\200\256c\342\201\246d')"
refuses 'käse: cannot be read' check 'käse'
refuses 'tests/bad_cases/duplicate_key.json' check tests/bad_cases/duplicate_key.json
refuses "$(cat tests/bad_cases/dim_unknown.expected)" check tests/bad_cases/dim_unknown.json
refuses "$(cat tests/bad_cases/dim_unknown.expected)" check "$quantize" \
    tests/bad_cases/dim_unknown.json
refuses 'no case is selected' check "$quantize" -c nosuch
refuses 'no case is selected' check "$quantize" --tag nosuch
refuses 'no case is selected' list "$quantize" -c nosuch
refuses 'no kernel is selected' check "$quantize" -k nosuch
refuses 'no kernel is selected' list -k nosuch
refuses 'none of the selected kernels computes the op' check "$quantize" -k '^q4_K_gemv/'
refuses "$tmp/none.so: cannot open" list --kernels "$tmp/none.so"
echo 'no library' >"$tmp/text.so"
refuses "$tmp/text.so" check "$quantize" --kernels "$tmp/text.so"
refuses 'kernel expression "("' check "$quantize" -k '('
refuses 'kernel expression "("' list -k '('
refuses 'regular expression "("' check "$quantize" -c '('
refuses 'over the memory budget' check "$gemv" --memory 1K
is 'grep -q "$gemv: cases\[[0-9]*\]" "$tmp/err"' "$what"
refuses 'over the memory budget' bench "$gemv" --memory 1K -k '/ref$'

# ---- list ----
passes list
says 'q4_K_gemv/ref-i8'
for tier in ref $tiers; do
    is 'awk "\$2 == \"$tier\" && \$4 == \"runs\" || \$2 == \"$tier\" && \$4 == \"cannot\" { n++ }
        END { exit n == 0 }" "$tmp/out"' "list ($tier)"
done
passes list --cpu none
for tier in $tiers; do
    is 'grep -q " $tier .*cannot run: no avx2\$" "$tmp/out"' "list --cpu none ($tier)"
    is '! grep -q " $tier .*runs" "$tmp/out"' "list --cpu none ($tier)"
done
is 'test $(grep -c " ref .*runs\$" "$tmp/out") -ge 6' "$what"
passes list --schema
is 'cmp -s cases/schema.json "$tmp/out"' "$what"
passes list "$gemv" --seed 5
is '! grep -qv " seed=5\$" "$tmp/out"' "$what"
passes list cases/smoke
all=$(wc -l <"$tmp/out")
sort "$tmp/out" >"$tmp/all"
: >"$tmp/parts"
for part in 1 2 3; do
    passes list cases/smoke --shard $part/3
    is 'test $(wc -l <"$tmp/out") -ge $((all / 3))' "$what"
    cat "$tmp/out" >>"$tmp/parts"
done
is 'sort "$tmp/parts" | cmp -s - "$tmp/all"' 'three shards are a partition'
is 'test $all -ge 100' 'there are cases'
cp "$tmp/out" "$tmp/third"
passes list cases/smoke -c 'fill=edge'
sort "$tmp/out" >"$tmp/all"
: >"$tmp/parts"
for part in 1 2 3; do # of what the filter leaves, not of all
    passes list cases/smoke -c 'fill=edge' --shard $part/3
    is 'test $(wc -l <"$tmp/out") -ge $(($(wc -l <"$tmp/all") / 3))' "$what"
    cat "$tmp/out" >>"$tmp/parts"
done
is 'sort "$tmp/parts" | cmp -s - "$tmp/all"' 'three shards of a selection are a partition'
SLURM_ARRAY_TASK_ID=12 SLURM_ARRAY_TASK_MIN=10 SLURM_ARRAY_TASK_COUNT=3
export SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_MIN SLURM_ARRAY_TASK_COUNT
passes list cases/smoke --shard auto
is 'cmp -s "$tmp/out" "$tmp/third"' "$what, Slurm"
unset SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_MIN SLURM_ARRAY_TASK_COUNT
CI_NODE_INDEX=3 CI_NODE_TOTAL=3
export CI_NODE_INDEX CI_NODE_TOTAL
passes list cases/smoke --shard auto
is 'cmp -s "$tmp/out" "$tmp/third"' "$what, GitLab"
unset CI_NODE_INDEX CI_NODE_TOTAL

# ---- models ----
model=tests/golden/moe.gguf
passes list --gguf $model
says 'GGUF version 3, 34 keys, 15 tensors'
says 'blk.1.ffn_down_exps.weight, q4_K [256, 512, 8], 0.56 MiB: q4_K_dequant q4_K_gemm_moe_id q4_K_gemv_moe_id moe_ffn'
says 'blk.0.attn_output.weight, bf16 [512, 8], 0.01 MiB: no op takes bf16'
says 'output.weight, q6_K [512, 8], 0.00 MiB: no op takes q6_K'
says 'token_embd.weight, f16 [512, 8], 0.01 MiB: no op takes f16'
is 'test $(wc -l <"$tmp/out") -eq 16' "$what"
for layer in 0 1; do
    passes check --gguf $model --layer $layer
    says ' 0 failed,'
    says "skipped blk.$layer.ffn_norm.weight, f32 [512]: no op takes f32"
    is 'grep -q "^moe_ffn/ref  *f32  *2  *0  *0 " "$tmp/out"' "$what"
    is 'test $(grep -c "^skipped" "$tmp/out") -eq $((2 - layer))' "$what"
done
passes list --gguf $model --layer 0 --tokens 1,7,40
is 'test $(grep -c " tokens=7 .*router:blk.0.ffn_gate_inp.weight" "$tmp/out") -ge 3' "$what"
is 'test $(grep -c "^moe_ffn .* tokens=7 .*router:blk.0.ffn_gate_inp.weight" "$tmp/out") -eq 1' "$what"
is 'test $(grep -c "^q4_K_gemv_moe_id " "$tmp/out") -eq 3' "$what"
passes list --gguf $model --layer 1 -c '^q4_K_gemm_moe_id.*ffn_down_exps'
key=$(tail -1 "$tmp/out")
passes replay "$key" -k '/ref$'
says "PASS q4_K_gemm_moe_id/ref  $key"
mkdir "$tmp/a dir"
cp $model "$tmp/a dir/it's 100%.gguf"
for tensors in blk.0.ffn_gate_exps gate=blk.0.ffn_gate_exps; do
    passes list --gguf "$tmp/a dir/it's 100%.gguf" --layer 0 -c ":$tensors.* seed=1$"
    key=$(tail -1 "$tmp/out")
    is 'case $key in *"/a%20dir/it%27s%20100%25.gguf:$tensors"*) ;; *) false ;; esac' "$what: $key"
    passes replay "$key" -k '/ref$'
done
rm -r "$tmp/a dir"
refuses 'no layer 2: no tensor'"'"'s name begins with "blk.2."' check --gguf $model --layer 2
refuses '--gguf needs --layer N' check --gguf $model
refuses '--gguf needs --layer N' bench --gguf $model
refuses '--layer needs --gguf FILE' check --layer 1
refuses '--gguf is for list, check and bench' replay --gguf $model --layer 1 "$key"
refuses "$tmp/none.gguf: cannot be read" list --gguf "$tmp/none.gguf"
refuses "README.md: byte 0: does not begin with \"GGUF\"" check --gguf README.md --layer 0
head -c 3000000 $model >"$tmp/cut.gguf"
refuses 'tensor "blk.1.ffn_up_exps.weight": its data is not inside the file' \
    check --gguf "$tmp/cut.gguf" --layer 0
refuses '--tokens: "0" is not an integer' list --gguf $model --layer 0 --tokens 0
refuses '--tokens: "" is not an integer' list --gguf $model --layer 0 --tokens 1,
refuses '--tokens: more than 16 numbers' list --gguf $model --layer 0 \
    --tokens 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17
refuses '--layer: "-1" is not an integer' list --gguf $model --layer -1
refuses 'over the memory budget' check --gguf $model --layer 0 --memory 100K

# ---- check ----
mkdir "$tmp/reports"
report=$tmp/reports/report.json
passes check "$quantize" --json "$report"
says ' 0 failed'
says "report: $report"
is 'test "$(ls -A "$tmp/reports")" = report.json' 'nothing but the report is left'
if command -v python3 >/dev/null; then
    is 'python3 -m json.tool "$report" >/dev/null' 'the report is JSON'
fi
is 'grep -q "\"verdict\": \"PASS\"" "$report"' 'the report has verdicts'
passes check "$quantize" -v
says 'PASS q4_K_quantize/ref'
passes check "$quantize" --color always
is 'grep -q "$(printf "\\033")" "$tmp/out"' "$what"
for when in auto never; do
    passes check "$quantize" --color $when
    is '! grep -q "$(printf "\\033")" "$tmp/out"' "$what"
done
# A kernel that fails: here by a time limit that it cannot keep.
run replay 'q4_K_gemv n=4096 k=8192 fill=model' -k '/ref$' --timeout 0.001
is 'test $status -eq 1' "$what"
is 'test ! -s "$tmp/err"' "$what"
says TIMEOUT
says 'replay: assay replay'
for tier in $tiers; do
    refuses 'every selected kernel was skipped' check cases/smoke/q4_K_dequant.json --cpu none \
        -k "/$tier"
done

# ---- replay ----
"$assay" list "$gemv" | while read -r key; do
    case $key in *' n=1 '*) echo "$key" ;; esac
done | head -1 >"$tmp/key"
key=$(cat "$tmp/key")
is 'test -n "$key"' 'there is a key'
passes replay "$key" -k '/ref'
says "PASS q4_K_gemv/ref  $key"
says '1 cases, 4 checks'
passes replay 'q4_K_gemv n=3 k=256 fill=exact' -k '/ref$'
says 'q4_K_gemv n=3 k=256 fill=exact seed=1'
refuses 'key: unknown op "nosuch"' replay 'nosuch n=1'
refuses 'key: shape: dimension "k" is missing' replay 'q4_K_gemv n=1 fill=exact'
refuses 'key: n: too big integer "99999999999999999999"' replay \
    'q4_K_gemv n=99999999999999999999 k=256 fill=exact'
refuses 'key: shape.n: must be an integer, not a string' replay 'q4_K_gemv n=9x k=256 fill=exact'
refuses 'key: unknown token' replay "$key fast"

# ---- reports that cannot be written ----
refuses "$tmp/none/report.json: cannot write" check "$quantize" --json "$tmp/none/report.json"
is 'test ! -e "$tmp/none"' "$what"
is 'test ! -s "$tmp/out"' "$what: before anything is run"
mkdir "$tmp/reports/directory.json"
refuses 'is not a regular file' check "$quantize" --json "$tmp/reports/directory.json"
is 'test -z "$(ls -A "$tmp/reports/directory.json")"' "$what"
rmdir "$tmp/reports/directory.json"
is 'test "$(ls -A "$tmp/reports")" = report.json' 'failed reports leave nothing'

# An old report outlives a run that does not come to an end.
echo old >"$report"
refuses 'no kernel is selected' check "$quantize" -k nosuch --json "$report"
refuses 'over the memory budget' check "$gemv" --memory 1K --json "$report"
refuses 'tests/bad_cases/dim_unknown.json' check tests/bad_cases/dim_unknown.json --json "$report"
is 'test "$(cat "$report")" = old' 'an old report survives'
is 'test "$(ls -A "$tmp/reports")" = report.json' 'failed runs leave nothing'

# ---- standard output that cannot be written ----
# to_nowhere ARGUMENTS...: with stdout on a full device, and closed.
to_nowhere() {
    what="assay $* >/dev/full"
    : >"$tmp/out"
    "$assay" "$@" >/dev/full 2>"$tmp/err"
    status=$?
    is 'test $status -eq 2' "$what"
    is 'test $(wc -l <"$tmp/err") -eq 1' "$what"
    what="assay $* >&-"
    "$assay" "$@" >&- 2>"$tmp/err"
    status=$?
    is 'test $status -eq 2' "$what"
    is 'test $(wc -l <"$tmp/err") -eq 1' "$what"
}
if test -c /dev/full; then
    to_nowhere list
    to_nowhere list cases/smoke
    to_nowhere list --schema
    to_nowhere check "$quantize"
fi

echo "$checks checks, $failures failures"
test $failures -eq 0 && test $checks -gt 250
