#!/bin/bash
# Folder = layer: fails when a file includes what its folder may not see (docs/architecture.md), or a
# library's header that belongs to another place.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
fault() { echo "$1: $2"; bad=1; }

# room -> rooms whose headers it may include, beside its own and base
declare -A sees=(
    [host/base]='' [host/shared]='' [host/json]='' [host/http]='' [host/store]=''
    [host/auth]='shared json http' [host/lua]='json' [host/client]='http'
    [host/issuer]='json http auth client' [host/server]='http' [host/options]='json http auth lua'
    [host/config]='json http auth lua options server store'
    [host/run]='shared json http auth lua options'
    [bindings]='shared json http auth lua options run client issuer store bindings'
    [host/app]='shared json http auth store lua client issuer server options config run bindings'
    [host/process]='shared json http auth store lua client issuer server options config run app bindings'
    [host/cli]='*' [host]='*'
)

# system headers that belong to one place, as "header-regex:files-regex"
owned=(
    '^llhttp\.h$:^host/http/parser\.c$'
    '^jwt\.h$:^host/auth/'
    '^openssl/:^(host/auth/|host/shared/replay\.c$|bindings/crypto\.c$|host/server/tls\.[ch]$|host/client/client_socket\.c$|host/cli/|host/main\.c$)'
    '^lmdb\.h$:^host/store/'
    '^hiredis/:^host/store/redis'
    '^(zlib\.h$|brotli/):^host/http/(en|de)coding\.c$'
    '^idn2\.h$:^host/http/host_name\.c$'
    '^nghttp2/:^host/server/h2[a-z_]*\.[ch]$'
    '^curl/:^(host/client/|host/cli/|host/main\.c$)'
    '^(lua|lauxlib|lualib)\.h$:^(host/(lua|options|config|run|app|cli|main)[/.]|bindings/)'
    '^uv\.h$:^(host/(server|lua|client|issuer|store|run|app|process|cli|main)[/.]|bindings/)'
)

check_project_header() { # check_project_header PLACE FOLDER NAME
    local target=${3%%/*} allowed=${sees[$2]-}
    if [[ $3 == app/app.h && $2 != host/app && $2 != host/process && $2 != host/cli && $2 != host ]]; then
        fault "$1" 'includes app/app.h, which nobody below may'
    elif [[ $allowed == '*' ]]; then
        return
    elif [[ $3 != */* ]]; then
        fault "$1" "$2 may not see $3, which lies above it"
    elif [[ " base $allowed ${2#host/} " != *" $target "* ]]; then
        fault "$1" "$2 may not see $3 (it sees: base $allowed)"
    fi
}

while IFS= read -r file; do
    folder=$(dirname "$file")
    if [ -z "${sees[$folder]+known}" ]; then fault "$file" 'is in no room of docs/architecture.md'; continue; fi
    while IFS= read -r line; do
        number=${line%%:*}
        name=$(sed -E 's/^[0-9]+:[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]+)[>"].*/\1/' <<<"$line")
        if [[ $line == *'"'* ]]; then
            check_project_header "$file:$number" "$folder" "$name"
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
