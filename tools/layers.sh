#!/bin/bash
# Folder = layer: fails when a file includes what its folder may not see (docs/style.md).
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
fault() { echo "$1: $2"; bad=1; }

# folder -> project folders whose headers it may include
declare -A sees=(
    [host/base]='base' [host/http]='base http' [host/auth]='base http auth'
    [host/store]='base store'
    [host/net]='base http auth net' [host/run]='base http auth run'
    [bindings]='base http auth net run store bindings' [host/cli]='*' [host]='*'
)

# system headers that belong to one place, as "header-regex:files-regex"
owned=(
    '^llhttp\.h$:^host/http/parser\.c$'
    '^jwt\.h$:^host/auth/'
    '^openssl/:^(host/auth/|bindings/crypto\.c$|host/net/tls\.[ch]$|host/cli/|host/main\.c$)'
    '^lmdb\.h$:^host/store/'
    '^hiredis/:^host/store/redis'
    '^(zlib\.h$|brotli/):^host/http/encoding\.c$'
    '^nghttp2/:^host/net/h2[a-z_]*\.[ch]$'
    '^curl/:^(host/net/client[a-z_]*\.[ch]$|host/cli/|host/main\.c$)'
    '^(lua|lauxlib|lualib)\.h$:^(host/run/|bindings/|host/[a-z_]+\.[ch]$|host/cli/)'
    '^uv\.h$:^(host/net/|host/run/|host/store/|bindings/|host/[a-z_]+\.[ch]$|host/cli/)'
)

while IFS= read -r file; do
    folder=$(dirname "$file")
    allowed=${sees[$folder]-}
    if [ -z "$allowed" ]; then continue; fi
    while IFS= read -r line; do
        number=${line%%:*}
        name=$(sed -E 's/^[0-9]+:[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]+)[>"].*/\1/' <<<"$line")
        if [[ $line == *'"'* ]]; then
            target=${name%%/*}
            if [[ $name == app.h && $file != host/app*.[ch] && $file != host/worker.[ch] &&
                $file != host/cli/* && $file != host/main.c ]]; then
                fault "$file:$number" 'includes app.h, which nobody may'
            elif [[ $name == */* && $allowed != '*' && " $allowed " != *" $target "* ]]; then
                fault "$file:$number" "$folder may not see $name (it sees: $allowed)"
            elif [[ $name != */* && $allowed != '*' && $name != limits.h ]]; then
                fault "$file:$number" "$folder may not see $name, which lies above it"
            fi
            continue
        fi
        for rule in "${owned[@]}"; do
            if [[ $name =~ ${rule%%:*} && ! $file =~ ${rule#*:} ]]; then
                fault "$file:$number" "<$name> belongs to ${rule#*:}"
            fi
        done
    done < <(grep -nE '^[[:space:]]*#[[:space:]]*include' "$file")
done < <(git ls-files 'host/*.[ch]' 'bindings/*.[ch]')

exit $bad
