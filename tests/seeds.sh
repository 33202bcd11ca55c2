#!/bin/sh
# SPDX-License-Identifier: MIT
# Every command that ref/SEEDS.md and README.md show in a table or a sentence selects kernels and cases,
# and an eighth of these passes: the tests smoke.* check them all.
# Usage: seeds.sh ASSAY SOURCE_DIR
program=$1
cd "$2" || exit 2
assay() {
    "$program" "$@" --shard 1/8 --shrink 0
}

commands=$(grep -oh '`assay check [^`]*`' ref/SEEDS.md README.md | tr -d '`' | sort -u)
count=$(printf '%s\n' "$commands" | wc -l)
failures=0 skipped=0
while read -r command; do
    output=$(eval "$command" </dev/null 2>&1) && continue
    case $output in
        *"every selected kernel was skipped"*) skipped=$((skipped + 1)) ;;
        *) failures=$((failures + 1)) ;;
    esac
    printf 'NOT PASSED: %s\n' "$command"
    printf '%s\n' "$output" | tail -5 | sed 's/^/  /'
done <<END
$commands
END
echo "$count commands, $failures failures, $skipped skipped"
test $failures -eq 0 && test "$count" -ge 19 || exit 1
test $skipped -eq 0 || exit 77
