#!/bin/bash
# Proves the README's two commands on a machine that has nothing but make and git: a bare Debian 12
# in a folder, made by debootstrap, with the committed state of this repository cloned into it.
# Needs root and curl. Package sources, CA certificates and npm's settings are the host's.
#
#   tools/fresh.sh [deps|run|walk|deb|all]  deps: only the installation of packages; run: only `make run`;
#                  walk: ten minutes of a stranger, each step timed (tools/walk.mjs; needs Node);
#                  deb: build/luafn_*.deb instead, from its installation to its purge
#   FRESH_KEEP=1                   leave the folder behind
set -eu
cd "$(dirname "$0")/.."
what=${1:-all}
[ "$(id -u)" -eq 0 ] || { echo 'tools/fresh.sh: needs root (debootstrap and chroot)' >&2; exit 1; }
command -v debootstrap >/dev/null || { echo 'tools/fresh.sh: apt-get install debootstrap' >&2; exit 1; }

root=$(mktemp -d /var/tmp/luafn-fresh.XXXXXX)
chmod 755 "$root" # it becomes /, which everybody may enter
server=
end_server() {
    kill -- "-$server" 2>/dev/null || true # the whole group: make and the host stand behind it
    for _ in $(seq 100); do kill -0 -- "-$server" 2>/dev/null || break; sleep 0.1; done
    kill -KILL -- "-$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}
finish() {
    status=$?
    set +e
    if [ -n "$server" ]; then end_server; fi
    for mount in dev/shm dev/pts dev sys proc; do
        mountpoint -q "$root/$mount" && umount "$root/$mount"
    done
    # Nothing is removed while anything of the host is still mounted inside.
    if grep -q " $root/" /proc/mounts; then
        echo "tools/fresh.sh: still mounted under $root, left alone" >&2
    elif [ -z "${FRESH_KEEP:-}" ]; then
        rm -rf --one-file-system "$root"
    fi
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n### %s (%ss)\n' "$1" "$SECONDS"; }

say 'a bare Debian 12'
# The first source of the host that has Debian proper, whatever form it is written in.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null | head -1)
include=ca-certificates
if [ "$what" != deb ]; then include=$include,git,make; fi
debootstrap --variant=minbase --include="$include" bookworm "$root" \
    "${mirror:-http://deb.debian.org/debian}" >"$root.log" 2>&1 || { tail -20 "$root.log"; exit 1; }
rm -f "$root.log"

# Sources and settings of the host: only Debian's own, or a foreign Node would come along.
rm -f "$root/etc/apt/sources.list"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if [ -f "$file" ] && grep -q bookworm "$file" && ! grep -q nodesource "$file"; then
        install -D -m644 "$file" "$root$file"
    fi
done
for file in /etc/apt/apt.conf.d/*proxy* /etc/apt/apt.conf.d/*registry* /etc/apt/auth.conf.d/* /etc/apt/apt.conf; do
    if [ -f "$file" ]; then install -D -m644 "$file" "$root$file"; fi
done
for file in /etc/hosts /etc/resolv.conf; do cp -L "$file" "$root$file"; done
cp -rL /usr/share/keyrings/. "$root/usr/share/keyrings/"
cp -rL /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
for file in "$(npm config get globalconfig 2>/dev/null || true)" "$HOME/.npmrc"; do
    if [ -f "$file" ]; then cat "$file"; echo; fi
done | grep -v '^nodedir' >"$root/root/.npmrc"
grep -q '^cafile' "$root/root/.npmrc" || echo 'cafile=/etc/ssl/certs/ca-certificates.crt' >>"$root/root/.npmrc"

mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --bind /dev "$root/dev"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
mount -t tmpfs tmpfs "$root/dev/shm"

mkdir "$root/root/luafn"
if [ "$what" != deb ]; then
    say 'the repository'
    git clone -q . "$root/root/luafn"
fi

inside() {
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        ${no_proxy:+no_proxy="$no_proxy"} ${npm_config_registry:+npm_config_registry="$npm_config_registry"} \
        chroot "$root" sh -c "cd /root/luafn && $1" </dev/null
}

if [ "$what" = deps ]; then
    say 'make deps-test'
    inside 'make deps-test'
    say 'a second time: nothing to do'
    inside 'make deps deps-test'
    say 'done'
    exit 0
fi

if [ "$what" = walk ]; then
    say "a stranger's ten minutes ($(nproc) cores, load $(cut -d ' ' -f 1 /proc/loadavg))"
    node=$(ls tests/node_modules/node-linux-*/bin/node 2>/dev/null || echo node)
    "$node" tools/walk.mjs "$root"
    say "done, load $(cut -d ' ' -f 1 /proc/loadavg)"
    exit 0
fi

if [ "$what" = all ]; then
    say 'make test'
    inside 'make test'
fi

# A command inside, in the background; its port, when it listens.
log=$root/run.log
begin() {
    set -m # a process group of its own
    inside "exec $1" >"$log" 2>&1 &
    server=$!
    set +m
    for _ in $(seq 3000); do # a build may come first, on whatever machine this is
        if grep -q 'listening on http://' "$log"; then break; fi
        kill -0 $server 2>/dev/null || { cat "$log"; exit 1; }
        sleep 0.1
    done
    port=$(sed -n 's|.*listening on http://[^:]*:\([0-9]*\).*|\1|p' "$log" | head -1)
    [ -n "$port" ] || { cat "$log"; echo "it does not listen" >&2; exit 1; }
}

expect() { # expect STATUS PATH
    got=$(curl --noproxy '*' -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port$2")
    echo "GET $2: $got"
    [ "$got" = "$1" ] || { echo "wanted $1"; cat "$log"; exit 1; }
}

if [ "$what" = deb ]; then
    there() { (cd "$root" && find etc opt srv usr var/lib -xdev ! -path 'var/lib/apt/*' ! -path 'var/lib/dpkg/*' | LC_ALL=C sort); }
    cp build/luafn_*.deb "$root/root/luafn/luafn.deb"
    there >"$root/before"
    say 'install'
    inside 'apt-get -q update >/dev/null && apt-get -q -y install --no-install-recommends ./luafn.deb' | tail -2
    say 'new, check, serve'
    inside 'cp luafn.deb /root/; luafn new hello && luafn check && luafn --version | head -1'
    begin 'luafn serve --listen 127.0.0.1:0'
    expect 200 /.netlify/functions/hello
    expect 404 /.netlify/functions/none
    end_server
    say 'pack: the file alone in a folder'
    inside 'luafn pack -o /srv/shop && luafn pack --verify /srv/shop && mkdir /srv/empty'
    begin 'sh -c "cd /srv/empty && exec ../shop --listen 127.0.0.1:0"'
    expect 200 /.netlify/functions/hello
    end_server
    say 'purge'
    inside 'rm -r /srv/shop /srv/empty; apt-get -q -y purge --autoremove luafn' | tail -1
    there >"$root/after"
    diff "$root/before" "$root/after"
    [ -z "$(ls -A "$root/tmp")" ] || { ls -A "$root/tmp"; exit 1; }
    say 'done: nothing is left'
    exit 0
fi

say 'make run'
begin 'make run'
expect 302 / # to the dashboard
expect 401 /.netlify/functions/me
curl --noproxy '*' -sL "http://127.0.0.1:$port/" | grep -qi '<html'

say 'done'
