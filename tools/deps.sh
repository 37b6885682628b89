#!/bin/sh
# Installs what the project needs on Debian 12. Says and does nothing when everything is there.
#
#   tools/deps.sh            what a build needs
#   tools/deps.sh test       and what `make test` needs
#   tools/deps.sh check      and what `make check` needs
#   tools/deps.sh bench      and what `make bench` needs
#   tools/deps.sh cov        and what `make cov` needs
#   tools/deps.sh drill      and what `make slow-drill` needs
#   tools/deps.sh deb        and what `make deb-check` needs
set -eu

# curl and ca-certificates: README's commands, and issuers on the network.
want="curl ca-certificates gcc make libc6-dev pkg-config liblua5.4-dev libuv1-dev libjansson-dev libjwt-dev libssl-dev
      libcurl4-openssl-dev libnghttp2-dev libbrotli-dev libidn2-dev zlib1g-dev liblmdb-dev libhiredis-dev libseccomp-dev libpcre2-dev libpq-dev libsqlite3-dev node-llhttp"

# The tests bring a Node of their own (tests/package.json); this one only has to run npm. A newer
# Node from elsewhere carries its npm along and conflicts with Debian's package of that name.
node_and_npm() {
    major=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p')
    if [ "${major:-0}" -ge 20 ] && command -v npm >/dev/null; then return; fi
    echo nodejs npm
}

for_test="libcmocka-dev redis-tools lua5.4 $(node_and_npm)"
for_check="clang clang-format clang-tidy libclang-rt-14-dev cppcheck lua-check valgrind chromium nginx libnginx-mod-stream haproxy postgresql iproute2 libfaketime"
for_bench="wrk nghttp2-client util-linux openssl nginx libnginx-mod-http-lua apache2-bin libapache2-mod-oauth2 lua-resty-core lua-luaossl lua-cjson haproxy"

case ${1:-build} in
build) ;;
test) want="$want $for_test" ;;
check) want="$want $for_test $for_check" ;;
bench) want="$want $for_test $for_bench" ;;
cov) want="$want $for_test gcovr" ;;
drill) want="$want $for_test slowhttptest" ;;
deb) want="$want lintian debootstrap" ;;
*)
    echo "usage: tools/deps.sh [build|test|check|bench|cov|drill|deb]" >&2
    exit 2
    ;;
esac

missing=
for package in $want; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "tools/deps.sh: missing:$missing" >&2
        echo "tools/deps.sh: install them as root, or install sudo" >&2
        exit 1
    }
    as_root=sudo
fi
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@"
}

# What apt says, as one line that counts on a terminal, elsewhere as one a minute.
progress() {
    total='?' done=0 told=$(date +%s)
    while IFS= read -r line; do
        case $line in
        *' newly installed, '*) total=${line#*upgraded, } total=${total%% newly*} ;;
        'Setting up '*) done=$((done + 1)) ;;
        'E: '* | 'W: '*) echo "$line" >&2 ;;
        esac
        now=$(date +%s)
        if [ -t 1 ]; then
            printf '\r  package %s of %s  %-50.50s' "$done" "$total" "$line"
        elif [ $((now - told)) -ge 60 ]; then
            echo "  package $done of $total"
            told=$now
        fi
    done
    if [ -t 1 ]; then printf '\r%-78s\r' ''; fi
}

# The status of apt, which stands on the left of a pipe.
install() {
    # shellcheck disable=SC2086
    { apt install --no-install-recommends $missing </dev/null 2>&1 || echo 'E: failed' >"$failed"; } | progress 2>"$faults"
    [ ! -s "$failed" ]
}

# shellcheck disable=SC2086
echo "installing $(echo $missing | wc -w) packages and what they need, which takes a minute or two:$missing"
failed=$(mktemp) faults=$(mktemp)
trap 'rm -f "$failed" "$faults"' EXIT
# Without package lists, or with lists that have gone stale, one update and a second try.
if ! install; then
    : >"$failed"
    apt update </dev/null
    install || {
        cat "$faults" >&2
        exit 1
    }
fi
