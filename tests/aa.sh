#!/bin/sh
# SPDX-License-Identifier: MIT
# How often `assay ab` is right: compares two libraries again and again, and counts the verdicts of
# every kernel and mode. Identical libraries must never be FASTER or SLOWER; tests/slower.c makes
# libraries that truly are. With a neighbour, a process keeps one core busy meanwhile.
#
#   aa.sh RUNS calm|busy ASSAY OLD.so NEW.so [ARGUMENT...]
set -u
runs=$1 neighbour=$2 assay=$3 old=$4 new=$5
shift 5
log=$(mktemp) || exit 2
busy= run=0 start=$(date +%s)
trap 'summary; rm -f "$log"; [ -z "$busy" ] || kill "$busy"' EXIT
trap 'exit 130' INT TERM

summary() {
    echo "$run comparisons of $old and $new, $neighbour, in $(($(date +%s) - start)) s"
    awk '
        /^[a-z].* seed=[0-9]/ { op = $1 }
        $2 == "hot" || $2 == "cold" {
            name = op "/" $1 " " $2
            if (!(name in runs))
                names[++n] = name
            runs[name]++
            ratio[name] += log($8)
            for (i = 9; i <= NF; i++)
                if ($i ~ /^(FASTER|SLOWER|SAME|UNCLEAR)$/) {
                    count[name, $i]++
                    break
                }
        }
        END {
            printf "%-52s %6s %6s %6s %7s  %s\n", "", "FASTER", "SLOWER", "SAME", "UNCLEAR", "new/old"
            for (i = 1; i <= n; i++)
                printf "%-52s %6d %6d %6d %7d  %.4f\n", names[i], count[names[i], "FASTER"],
                    count[names[i], "SLOWER"], count[names[i], "SAME"], count[names[i], "UNCLEAR"],
                    exp(ratio[names[i]] / runs[names[i]])
        }' "$log"
}

if [ "$neighbour" = busy ]; then
    sh -c 'while :; do :; done' &
    busy=$!
fi
while [ "$run" -lt "$runs" ]; do
    "$assay" ab "$old" "$new" --color never "$@" >>"$log" 2>&1
    case $? in
    0 | 3 | 4) ;;
    *)
        tail -n 20 "$log"
        exit 2
        ;;
    esac
    run=$((run + 1))
done
