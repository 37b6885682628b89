#!/bin/bash
# Runs tiers of tests, one after the other, and ends with one line: N passed, N failed.
#
#   tools/test.sh TIER...     unit, lua, wire, idp, e2e, fault, fleet, soak
#
# LUAFN_BIN  the program under test (default build/luafn)
# UNIT_BIN   the unit test programs
# NODE       runs the black-box tiers (default: the one that tests/package.json brings)
# ONLY       black-box tiers: only files whose name contains this
# TEST_TIMEOUT  milliseconds that a test, and a whole file, may take (default 900000)
# CONCURRENCY  black-box test files at a time (default 3: they wait more than they compute). A file whose
#            first line is `// measures time` runs alone
set -u
cd "$(dirname "$0")/.." || exit 1

passed=0 failed=0 skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

count() { # count NAME PASSED FAILED SKIPPED
    passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
    printf '# %s: %d passed, %d failed, %d skipped\n' "$@"
}

# A program that prints TAP: counts its lines, shows them when something is wrong. What the plan
# promised and did not come is a failure, and so is a bad exit without a failed test.
tap() { # tap NAME COMMAND...
    local name=$1 ok bad skip plan status
    shift
    { "$@" >"$work/out" 2>&1 </dev/null; } 2>/dev/null
    status=$?
    # cmocka writes "not ok 2 # SKIP name" for what was skipped
    skip=$(grep -ciE '^(not )?ok [0-9]+.*# *skip' "$work/out")
    ok=$(grep -E '^ok [0-9]+' "$work/out" | grep -civ '# *skip')
    bad=$(grep -E '^not ok [0-9]+' "$work/out" | grep -civ '# *skip')
    plan=$(sed -n 's/^1\.\.\([0-9][0-9]*\).*/\1/p' "$work/out" | awk '{ n += $1 } END { print n + 0 }')
    if [ $((ok + bad + skip)) -lt "$plan" ]; then bad=$((plan - ok - skip)); fi
    if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$bad" -gt 0 ]; then
        cat "$work/out"
        echo "# $name ended with status $status"
    fi
    count "$name" "$ok" "$bad" "$skip"
}

unit() {
    local program
    if [ -z "${UNIT_BIN:-}" ]; then echo '# unit: no programs given'; return; fi
    for program in $UNIT_BIN; do
        tap "unit $(basename "$program" _test)" env CMOCKA_MESSAGE_OUTPUT=TAP ${WRAP:-} "$program"
    done
}

# Each file of tests/lua as the body of a function: `lua5.4` and `luafn invoke` must give the same.
lua() {
    local file name site=$work/lua bin ok=0 bad=0
    bin=$(realpath "${LUAFN_BIN:-build/luafn}")
    mkdir -p "$site/scripts"
    echo 'return { functions = "scripts", limits = { body = "6MB" } }' >"$site/functions.lua"
    for file in tests/lua/*.lua; do
        name=$(basename "$file" .lua)
        { printf 'return function() '; cat "$file"; printf '\nend\n'; } >"$site/scripts/$name.lua"
        (cd "$site" && lua5.4 -e "io.write((select(2, pcall(dofile('scripts/$name.lua')))))") >"$work/stock" 2>&1
        (cd "$site" && "$bin" invoke "$name") >"$work/ours" 2>"$work/status"
        if [ -s "$work/stock" ] && diff "$work/stock" "$work/ours" >"$work/diff"; then
            ok=$((ok + 1))
        else
            bad=$((bad + 1))
            echo "# lua $name: what lua5.4 gives (<) and what luafn does (>)"
            cut -c 1-500 "$work/diff" "$work/status"
        fi
    done
    count lua $ok $bad 0
}

node_files() { # node_files TIER FILES-AT-A-TIME FILE...
    local tier=$1 at_a_time=$2
    shift 2
    rm -f "$work/counts"
    COUNTS=$work/counts FILES=$# "$node" --test --test-timeout="${TEST_TIMEOUT:-900000}" \
        --test-concurrency="$at_a_time" --test-reporter=./tests/lib/reporter.mjs \
        "$@" </dev/null
    if [ -s "$work/counts" ]; then
        # shellcheck disable=SC2046
        count "$tier" $(cat "$work/counts")
    else
        count "$tier (the runner itself)" 0 1 0
    fi
}

node_tier() { # node_tier NAME
    local alone=() together=() file node=${NODE:-}
    for file in tests/"$1"/*.test.mjs; do
        [[ -e $file && $file == *"${ONLY:-}"* ]] || continue
        if [ "$(head -n 1 "$file")" = '// measures time' ]; then alone+=("$file"); else together+=("$file"); fi
    done
    if [ $((${#alone[@]} + ${#together[@]})) -eq 0 ]; then echo "# $1: no tests"; return; fi
    if [ -z "$node" ]; then
        for node in tests/node_modules/node-linux-*/bin/node; do [ -x "$node" ] && break; done
        [ -x "$node" ] || node=node
    fi
    [ ${#together[@]} -eq 0 ] || node_files "$1" "${CONCURRENCY:-3}" "${together[@]}"
    [ ${#alone[@]} -eq 0 ] || node_files "$1, alone" 1 "${alone[@]}"
}

# In a network of its own, where it may be made; else FLEET says why not. It is the only tier then.
fleet() {
    local why=''
    if [ -z "${FLEET:-}" ]; then
        command -v haproxy >/dev/null || why='haproxy is not installed'
        command -v ip >/dev/null || why='iproute2 is not installed'
        unshare -Urnpf --mount-proc true 2>/dev/null || why='namespaces may not be made here'
        if [ -z "$why" ]; then
            rm -rf "$work"
            # With its processes, so that none outlives a run that was ended.
            exec unshare -Urnpf --mount-proc --kill-child env FLEET=1 tools/test.sh fleet
        fi
        export FLEET=$why
    fi
    CONCURRENCY=1 node_tier fleet # its files are all in the same network
}

for tier in "$@"; do
    case $tier in
    unit) unit ;;
    lua) lua ;;
    wire | idp | e2e | fault | soak) node_tier "$tier" ;;
    fleet) fleet ;;
    *)
        echo "tools/test.sh: no tier '$tier'; there are unit, lua, wire, idp, e2e, fault, fleet, soak" >&2
        exit 2
        ;;
    esac
done

[ $skipped -eq 0 ] || echo "# $skipped skipped"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
