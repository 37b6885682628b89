#!/bin/sh
# Makes the root of the container image: the program, the libraries that it wants, certificates, an account.
#
#   tools/image.sh PROGRAM FOLDER
set -eu
program=$1 root=$2
mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/srv/functions" "$root/srv/.luafn" "$root/tmp"
cp "$program" "$root/usr/bin/luafn"
case $program in */release/* | */build/luafn | build/luafn) strip "$root/usr/bin/luafn" ;; esac

# Under the names that the program and its loader look for them. The resolver's own parts are in libc.
ldd "$program" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\).*/\1/p' | while read -r file; do
    install -D -m755 "$(readlink -f "$file")" "$root$file"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
mkdir -p "$root/usr/lib/ssl" && ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs" # where libssl looks
ln -s certs/ca-certificates.crt "$root/etc/ssl/cert.pem"
ln -s /etc/ssl/cert.pem "$root/usr/lib/ssl/cert.pem"
echo 'luafn:x:65532:65532:luafn:/srv/.luafn:/usr/bin/luafn' >"$root/etc/passwd"
echo 'luafn:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

# functions.lua is reached by a link, so that `.luafn` lies beside it, where a volume can be.
ln -s functions "$root/srv/app"
cp -R scripts/lib "$root/srv/functions/"
cat >"$root/srv/functions/functions.lua" <<'LUA'
-- Mount your own deployment at /srv/functions, or copy it there.
return { functions = { hello = { script = "hello.lua", path = "/" } } }
LUA
cat >"$root/srv/functions/hello.lua" <<'LUA'
return function() return "luafn runs. Put your functions into /srv/functions.\n" end
LUA
chmod -R u=rwX,go=rX "$root"
chmod 1777 "$root/tmp"
if [ "$(id -u)" -eq 0 ]; then chown 65532:65532 "$root/srv/.luafn"; fi
