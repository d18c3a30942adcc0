#!/usr/bin/env bash
# Installs real Asterisks for the tests: one root directory per version, from Debian's own packages.
#
#   tests/asterisk/provision.sh [22] [16]      (both when none is named)
#
# Root and a Debian host are needed. Each lands in $AMID_ASTERISK_ROOT/<version>
# (default /var/cache/amid-asterisk) and is kept: a second run finds it and does nothing.
# A directory that did not finish is thrown away and made anew.
set -euo pipefail

root=${AMID_ASTERISK_ROOT:-/var/cache/amid-asterisk}
declare -A suites=([22]=forky [16]=bullseye)

say() { printf 'provision: %s\n' "$*"; }
die() { printf 'provision: %s\n' "$*" >&2; exit 1; }

host_tools() {
    command -v debootstrap >/dev/null && return
    say "installing debootstrap"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
}

# An older debootstrap does not know the newer suites by name; all share one script.
suite_script() {
    local suite=$1 scripts=/usr/share/debootstrap/scripts
    if [ -e "$scripts/$suite" ]; then echo "$scripts/$suite"; else echo "$scripts/sid"; fi
}

install_version() {
    local version=$1 suite=${suites[$1]:-} dir=$root/$1
    [ -n "$suite" ] || die "no Debian suite is known for Asterisk $version (known: ${!suites[*]})"
    if [ -e "$dir/.complete" ]; then
        say "Asterisk $version is already in $dir: $(cat "$dir/.complete")"
        return
    fi
    say "Asterisk $version from Debian $suite into $dir"
    rm -rf "$dir"
    mkdir -p "$dir"
    # "" takes debootstrap's default mirror; the script must be named where the suite is unknown to it.
    debootstrap --variant=minbase "$suite" "$dir" "" "$(suite_script "$suite")" >"$root/$version.log" 2>&1 ||
        { tail -n 20 "$root/$version.log" >&2; die "debootstrap failed; the whole log is $root/$version.log"; }
    # Nothing inside may start a service on this machine.
    printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d"
    chmod +x "$dir/usr/sbin/policy-rc.d"
    DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$dir" \
        apt-get install -y --no-install-recommends asterisk >>"$root/$version.log" 2>&1 ||
        { tail -n 20 "$root/$version.log" >&2; die "installing asterisk failed; the whole log is $root/$version.log"; }
    chroot "$dir" apt-get clean
    LC_ALL=C chroot "$dir" asterisk -V >"$dir/.complete.new"
    mv "$dir/.complete.new" "$dir/.complete"
    say "$(cat "$dir/.complete") is ready"
}

[ "$(id -u)" = 0 ] || die "root is needed (debootstrap and chroot)"
[ -e /etc/debian_version ] || die "a Debian machine is needed"
mkdir -p "$root"
host_tools
[ $# -gt 0 ] || set -- 22 16
for version in "$@"; do
    install_version "$version"
done
