#!/bin/sh
# SPDX-License-Identifier: MIT
# The figures of the kernels beside their peers: checks, times, and writes reports/figures.md. Twenty
# minutes on two cores, of which nobody else should want any.
#
#   run.sh [BUILD_DIR] [ARGUMENT...]      e.g. build/release --time 0.1; arguments are those of `assay bench`
set -u
cd "$(dirname "$0")/../.." || exit 2
build=${1-build/release}
[ $# = 0 ] || shift
assay=$build/assay
[ -x "$assay" ] || {
    echo "run.sh: $assay: is not there; build first" >&2
    exit 2
}
libraries="--kernels $build/opt/usual/assay_usual.so"
for peer in ggml ik; do
    library=$build/opt/peers/assay_$peer.so
    if [ -e "$library" ]; then
        libraries="$libraries --kernels $library"
    else
        echo "run.sh: without $peer: $library is not there (opt/peers/README.md)" >&2
    fi
done
failed=0

# step COMMAND...: a kernel that fails is said in the table; all else ends here.
step() {
    "$@"
    status=$?
    [ $status -le 1 ] || exit $status
    [ $status = 0 ] || failed=1
}

# bench REPORT TAG-OR-PATH KERNELS ARGUMENT...
bench() {
    report=reports/$1 cases=$2 kernels=$3
    shift 3
    # shellcheck disable=SC2086
    step "$assay" bench $cases -k "$kernels" $libraries --shrink 0 --json "$report" "$@"
}

for seed in 1 2; do
    step "$assay" check cases/smoke cases/figures/shapes.json -k '/(avx|usual:)' --seed $seed \
        --kernels "$build/opt/usual/assay_usual.so" --json reports/figures-check-$seed.json
done

# What the table needs, op by op: each kernel more costs half a minute.
tiers='avx2-i8(-packed)?|avx512vnni-(f32|i8-packed|i16-packed|i24-packed)'
peers='usual:.*|ggml.*|ik.*R4'
bench figures.json 'cases/figures --tag figures' \
    "^q4_K_ge.*/($tiers|$peers)\$|^q4_K_dequant/(avx|ggml)|^moe_(router|ids).*/(avx|usual:)|^moe_ffn/(avx.*i8.*|$peers)\$" \
    --blocks 6 --time 0.3 "$@"
bench figures-sweep.json cases/figures/sweep.json '/avx512vnni-i8-packed$' --blocks 4 --time 0.1 "$@"
bench figures-reference.json 'cases/ab --threads 1' '/(ref|avx2.*)$' --blocks 6 --time 0.1 "$@"

timed='reports/figures.json reports/figures-sweep.json reports/figures-reference.json'
# shellcheck disable=SC2086
step "$assay" report $timed -o reports/figures.html
# shellcheck disable=SC2086
step python3 tests/figures/table.py tests/figures/goals.json reports/figures.md \
    reports/figures-check-1.json reports/figures-check-2.json $timed
echo "reports/figures.md"
exit $failed
