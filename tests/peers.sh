#!/bin/sh
# SPDX-License-Identifier: MIT
# peers.sh ASSAY SOURCE LIB.so...: the libraries of other engines. They need not keep a contract's
# every word (opt/peers/README.md says what they do not), but their numbers are right.
set -eu
assay=$1
cd "$2"
shift 2
failed=0
complain() {
    echo "$1"
    failed=1
}

libraries=
for library; do
    libraries="$libraries --kernels $library"
    names=$(nm -D --defined-only "$library" | awk '$2 ~ /[TDBRVWui]/ {print $3}')
    [ "$names" = assay_kernels ] || complain "$library exports $(echo $names | cut -c1-200)"
done

# Each library has its kernels and runs them, also beside the others.
# shellcheck disable=SC2086
listed=$("$assay" list $libraries | grep -c ' native .* runs$')
[ "$listed" -eq $(($# * 11)) ] || complain "$listed kernels run, not 11 of each library"

# must_pass NAME ARGS...
must_pass() {
    name=$1
    shift
    # shellcheck disable=SC2086
    if ! "$assay" check "$@" $libraries >"$out" 2>&1; then
        complain "$name:"
        grep -A3 -E '^(FAIL|CRASHED|TIMEOUT|MISTRUSTED|assay:)' "$out" | head -40 || true
    fi
}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
peers='/(ggml|ik).*:'
must_pass "one token" cases/peers -k "$peers" -c '( n=| tokens=1 ).*fill=model'
must_pass "rows that are not wanted" cases/smoke -k "$peers.*(default|q4_K)\$" \
    -c '^q4_K_ge.*routing=invalid.*fill=(exact|model)'
must_pass "dequant" cases/smoke/q4_K_dequant.json -k "$peers"

# More tokens: bits may depend on how many there are, or threads, but nothing else may be said.
# shellcheck disable=SC2086
"$assay" check cases/peers -k "$peers" -c 'fill=model' $libraries >"$out" 2>&1 || true
grep -q ' checks: ' "$out" || complain "the check of more tokens did not end"
others=$(grep -A1 -E '^(FAIL|CRASHED|TIMEOUT|MISTRUSTED)' "$out" | grep '^    ' |
    grep -v -E 'breaks the property|only with [0-9]+ threads, .* change$' || true)
[ -z "$others" ] || complain "more tokens: $others"
exit $failed
