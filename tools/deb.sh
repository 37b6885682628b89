#!/bin/sh
# Makes luafn_VERSION_ARCH.deb in a folder, from what `make install` installs: the same input gives the same bytes.
#
#   tools/deb.sh FOLDER      needs dpkg-deb alone
set -eu
out=$1
version=$(cat VERSION)
arch=$(dpkg --print-architecture)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
root=$tree/root
make --no-print-directory install PREFIX=/usr DESTDIR="$root" >/dev/null
strip --remove-section=.comment "$root/usr/bin/luafn"
gzip -9n "$root"/usr/share/man/man1/luafn.1
install -D -m644 LICENSE "$root/usr/share/doc/luafn/copyright"
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1)}"
maintainer='luafn <nobody@luafn.invalid>'
cat >"$root/usr/share/doc/luafn/changelog" <<END
luafn ($version) stable; urgency=medium

  * Built from the source of this version; see the repository's history.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
END
gzip -9n "$root/usr/share/doc/luafn/changelog"

# The packages that have the libraries which the program names itself; merged /usr has two names for each.
depends=$(objdump -p "$root/usr/bin/luafn" | sed -n 's/.*NEEDED *//p' | while read -r name; do
    file=$(ldd "$root/usr/bin/luafn" | sed -n "s|.*$name => \(/[^ ]*\).*|\1|p")
    [ -n "$file" ] || continue
    { dpkg-query -S "$file" || dpkg-query -S "/usr$file"; } 2>/dev/null | sed -n 's/:.*//p' | head -1
done | sort -u | paste -sd, | sed 's/,/, /g')

mkdir -p "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<END
Package: luafn
Version: $version
Architecture: $arch
Maintainer: $maintainer
Section: httpd
Priority: optional
Depends: $depends, ca-certificates
Installed-Size: $(du -sk --apparent-size "$root/usr" | cut -f 1)
Description: host for functions written in Lua
 Serves handlers written in Lua 5.4 over HTTP, one script a route, reloaded
 when it changes. Tokens are verified, scopes and webhooks judged before a
 script runs. Brings a systemd unit, luafn.service, which is not enabled.
END
# The unit wants a deployment in /srv/luafn, so nothing is started; a running one is the administrator's to restart.
for script in postinst postrm; do
    printf '#!/bin/sh\nset -e\nif [ -d /run/systemd/system ]; then systemctl daemon-reload; fi\n' >"$root/DEBIAN/$script"
    chmod 755 "$root/DEBIAN/$script"
done
find "$root" -type d -exec chmod 755 {} +
(cd "$root" && find usr -type f | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums && chmod 644 DEBIAN/md5sums)
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/luafn_${version}_$arch.deb"
