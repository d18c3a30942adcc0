#!/usr/bin/env bash
# Makes what the package is built and tried in: a root directory for each Debian release, with systemd and Python and nothing of ours.
#
#   tests/packages/provision.sh [bookworm] [trixie]      (both when none is named)
#
# Root and a Debian host are needed. Each lands in $AMID_PACKAGES_ROOT/<release> (default /var/cache/amid-packages) and is kept:
# the tests write to an overlay that goes with them. A directory that did not finish is thrown away and made anew.
set -euo pipefail

root=${AMID_PACKAGES_ROOT:-/var/cache/amid-packages}

say() { printf 'provision: %s\n' "$*"; }
die() { printf 'provision: %s\n' "$*" >&2; exit 1; }

host_tools() {
    command -v debootstrap >/dev/null && command -v systemd-nspawn >/dev/null && command -v buildah >/dev/null && return
    say "installing debootstrap, systemd-container and buildah"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap systemd-container buildah >/dev/null
}

make_release() {
    local release=$1 dir=$root/$1 script=/usr/share/debootstrap/scripts/$1
    [ ! -e "$dir/.complete" ] || return 0
    [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
    say "Debian $release into $dir"
    rm -rf "$dir"
    mkdir -p "$dir"
    # "" takes debootstrap's default mirror; the script must be named where the release is unknown to it.
    debootstrap --variant=minbase --include=systemd,systemd-sysv,python3 "$release" "$dir" "" "$script" >"$root/$release.log" 2>&1 ||
        { tail -n 20 "$root/$release.log" >&2; die "debootstrap failed; the whole log is $root/$release.log"; }
    touch "$dir/.complete"
}

[ "$(id -u)" = 0 ] || die "root is needed (debootstrap)"
[ -e /etc/debian_version ] || die "a Debian machine is needed"
mkdir -p "$root"
host_tools
[ $# -gt 0 ] || set -- bookworm trixie
jobs=()
for release in "$@"; do
    make_release "$release" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do
    wait "$job"
done
