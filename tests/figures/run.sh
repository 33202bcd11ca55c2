#!/bin/sh
# SPDX-License-Identifier: MIT
# The figures of our kernels beside their peers: checks, times, and writes reports/figures.md. Over twenty
# minutes on two cores, of which nobody else should want any.
#
#   run.sh [BUILD_DIR [PART...]]      only these parts, in this order; all: check prefill few decode
#                                     single layer sweep reference table
#
# Each part but the table writes a report of its own, so that its ceilings were measured shortly before.
set -u
cd "$(dirname "$0")/../.." || exit 2
build=${1-build/release}
[ $# = 0 ] || shift
[ $# != 0 ] || set -- check prefill few decode single layer sweep reference table
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

# bench PART KERNELS ARGUMENT...: blocks, so that few of them do not end the intervals too early
bench() {
    report=reports/figures-$1.json kernels=$2
    shift 2
    # shellcheck disable=SC2086
    step "$assay" bench -k "/($kernels)\$" $libraries --shrink 0 --json "$report" --blocks 6 "$@"
}

# What the table needs: each kernel more costs half a minute.
peers='usual:.*|ggml.*|ik.*R4'
model='cases/figures/Qwen3-30B-A3B.json --time 0.3'

part() {
    # shellcheck disable=SC2086
    case $1 in
    check)
        for seed in 1 2; do
            step "$assay" check cases/smoke cases/figures/shapes.json -k /avx --seed $seed \
                --json reports/figures-check-$seed.json
        done
        ;;
    prefill)
        bench prefill "avx2-i8.*|avx512vnni-(f32|i8-packed|i16-packed|i24-packed)|$peers" \
            $model -c '^q4_K_gemm_moe_id .* tokens=(302|512) '
        ;;
    few) bench few "avx512vnni-i8-packed|$peers" $model -c '^q4_K_gemm_moe_id .* tokens=(33|64|128) ' ;;
    decode) bench decode "avx512vnni-(i8|i24)-packed|$peers" $model -c '^q4_K_gemv_moe_id ' ;;
    single)
        bench single "avx512vnni(-f32|-i8-packed)?|ggml.*|$peers" \
            $model -c '^(q4_K_gemv|q4_K_dequant|moe_router_topk_softmax|moe_ids_tpe) '
        ;;
    layer) bench layer "avx512vnni-i8-packed|$peers" $model -c '^moe_ffn ' ;;
    sweep) bench sweep 'avx512vnni-i8-packed' cases/figures/sweep.json --time 0.1 --blocks 4 ;;
    reference) bench reference 'ref|avx2.*' cases/ab --threads 1 --time 0.1 ;;
    table)
        set --
        for name in prefill few decode single layer sweep reference; do
            [ ! -e reports/figures-$name.json ] || set -- "$@" reports/figures-$name.json
        done
        step "$assay" report "$@" -o reports/figures.html
        for seed in 1 2; do
            [ ! -e reports/figures-check-$seed.json ] || set -- "$@" reports/figures-check-$seed.json
        done
        step python3 tests/figures/table.py tests/figures/goals.json reports/figures.md "$@"
        echo "reports/figures.md"
        ;;
    *)
        echo "run.sh: $1: is no part" >&2
        exit 2
        ;;
    esac
}

for name; do
    part "$name"
done
exit $failed
