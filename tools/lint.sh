#!/bin/bash
# Static checks. Whatever is not installed is said and skipped. SRC: the C files;
# build/compile_commands.json says how they are compiled.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0
have() { command -v "$1" >/dev/null || { echo "lint: $1 skipped: not installed"; return 1; }; }
step() { echo "# lint: $1"; shift; "$@" || status=1; }

if have lua5.4; then step 'arrows between rooms' lua5.4 tools/layers.lua build/release; fi

if have clang-tidy; then
    tidy() {
        # Each file alone, so that both cores work; what is fine says nothing.
        # shellcheck disable=SC2086
        printf '%s\n' $SRC | xargs -P "$(nproc)" -I{} clang-tidy --quiet -p build {} 2> >(
            grep -vE 'warnings? (generated|treated)|^Suppressed|^Use -' >&2)
    }
    step clang-tidy tidy
fi
if have cppcheck; then
    # shellcheck disable=SC2086
    step cppcheck cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
        --error-exitcode=1 --suppressions-list=tools/cppcheck.txt --library=tools/cppcheck.cfg \
        -Ihost -I. -j "$(nproc)" $SRC
fi
mapfile -t scripts < <(git ls-files '*.lua')
if [ ${#scripts[@]} -gt 0 ]; then
    if have luacheck; then step luacheck luacheck -q "${scripts[@]}"; fi
    if have luac5.4; then
        # One by one: Debian's luac 5.4.4 crashes over several.
        syntax() { printf '%s\0' "${scripts[@]}" | xargs -0 -n1 luac5.4 -p; }
        step 'luac -p' syntax
    fi
fi
mapfile -t shell < <(git ls-files '*.sh' .ci/run)
if [ -f tools/docs.lua ] && have lua5.4; then step 'docs are up to date' lua5.4 tools/docs.lua --check; fi
for file in "${shell[@]}"; do step "bash -n $file" bash -n "$file"; done
exit $status
