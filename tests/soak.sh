#!/bin/sh
# SPDX-License-Identifier: MIT
# False alarms: checks the project's kernels, which are right, under many seeds; none may fail. With
# N shards each seed does one N-th of the cases, in turn.
#
#   soak.sh ASSAY CASES FIRST_SEED LAST_SEED [SHARDS]
set -u
assay=$1 cases=$2 seed=$3 last=$4 shards=${5:-1}
log=$(mktemp) || exit 2
trap 'rm -f "$log"' EXIT
seeds=0 checks=0 alarms=0
while [ "$seed" -le "$last" ]; do
    "$assay" check "$cases" --seed "$seed" --shard $((seed % shards + 1))/"$shards" \
        --timeout 600 --color never >"$log" 2>&1
    case $? in
    0) ;;
    1)
        alarms=$((alarms + 1))
        grep -vE '^(kernel|q4_K|moe_|affine_)' "$log"
        ;;
    *)
        cat "$log"
        exit 2
        ;;
    esac
    checks=$((checks + $(sed -n 's/.* \([0-9]*\) checks:.*/\1/p' "$log")))
    seeds=$((seeds + 1))
    seed=$((seed + 1))
done
echo "$seeds seeds, $checks checks, $alarms seeds with a false alarm"
[ "$alarms" = 0 ]
