#!/bin/bash
# Runs black-box test files again and again beside a load that keeps every core busy: what fails once in
# fifty runs is a fault of the test, or of the program.
#
#   tools/flake.sh PART-OF-A-FILE-NAME [TIMES] [TIER]
set -u
cd "$(dirname "$0")/.." || exit 1
part=${1:?usage: tools/flake.sh PART-OF-A-FILE-NAME [TIMES] [TIER]} times=${2:-10} tier=${3:-wire}

busy=()
end_load() { kill "${busy[@]}" 2>/dev/null; }
trap end_load EXIT
for _ in $(seq "$(nproc)"); do
    while :; do :; done &
    busy+=($!)
done

failed=0
out=$(mktemp)
for run in $(seq "$times"); do
    if ONLY=$part tools/test.sh "$tier" >"$out" 2>&1; then
        echo "run $run: $(tail -n 1 "$out")"
    else
        failed=$((failed + 1))
        echo "run $run failed:"
        grep -v '^ok' "$out"
    fi
done
rm -f "$out"
echo "$((times - failed)) passed, $failed failed"
[ $failed -eq 0 ]
