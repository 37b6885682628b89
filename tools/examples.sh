#!/bin/bash
# Builds the front ends of examples/ for the browser tests, each in a folder of its own.
#
#   tools/examples.sh NAME...     into build/examples/NAME/public
#
# What is up to date is left alone. Where the npm registry is out of reach it says so, and builds
# nothing; the tests then say that they skip.
set -eu
cd "$(dirname "$0")/.."

# The issuer of the tests (tests/lib/front-end.mjs).
DOMAIN=http://127.0.0.1:18431
export AUTH0_DOMAIN=$DOMAIN GATSBY_AUTH0_DOMAIN=$DOMAIN GATSBY_TELEMETRY_DISABLED=1 CI=1

# The files that a build is made from, as names in that folder.
sources() { # sources FOLDER
    (cd "$1" && find . \( -name node_modules -o -name public -o -name '.cache' -o -name '.luafn' \) -prune -o -type f -print) |
        LC_ALL=C sort
}

hash_of() { # hash_of FOLDER: of the named files on stdin
    (cd "$1" && xargs sha256sum | sha256sum)
}

is_same() { # is_same FILE TEXT
    [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]
}

install() { # install FOLDER
    local lock
    lock=$(printf '%s\n' package-lock.json package.json | hash_of "$1")
    ! is_same "$1/.installed" "$lock" || return 0
    (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    echo "$lock" >"$1/.installed"
}

build() { # build NAME
    local from=examples/$1 to=build/examples/$1 hash begun=$SECONDS
    hash=$(sources "$from" | hash_of "$from")
    ! is_same "$to/.built" "$hash" || return 0
    if ! npm ping --registry="$(npm config get registry)" --fetch-retries=0 --fetch-timeout=10000 >/dev/null 2>&1; then
        echo "# examples/$1 is skipped: the npm registry is out of reach"
        return 0
    fi
    mkdir -p "$to"
    rm -rf "$to/.built" "$to/src" "$to/public"
    sources "$from" | tar cf - -C "$from" -T - | tar xf - -C "$to"
    install "$to"
    (cd "$to" && npm run build) >"$to/log" 2>&1 || { tail -40 "$to/log"; exit 1; }
    echo "$hash" >"$to/.built"
    echo "# examples/$1: built in $((SECONDS - begun)) s"
}

for name in "$@"; do
    build "$name"
done
