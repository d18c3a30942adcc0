#!/usr/bin/env bash
# Installs what the clients of clients/ need, and builds those that are built:
# tests/languages/provision.sh [LANGUAGE…], all when none is named.
# Debian, root. Idempotent.
set -euo pipefail
cd "$(dirname "$0")/../.."
export DEBIAN_FRONTEND=noninteractive

packages() { apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }

# A function for each language.

bash() { packages curl jq; }

java() {
    packages default-jdk-headless libzmq-java libmsgpack-java libgoogle-gson-java
    clients/java/build.sh
}

c() {
    packages gcc make pkg-config libc6-dev libzmq3-dev libmsgpack-dev libjansson-dev
    make -s -C clients/c
}

go() {
    packages golang-go golang-github-vmihailenco-msgpack.v5-dev libzmq3-dev pkg-config gcc libc6-dev
    clients/go/build.sh
}

php() { packages php-cli php-mbstring php-zmq php-msgpack; }

ruby() { packages ruby ruby-ffi-rzmq ruby-msgpack; }

perl() {
    packages perl make libzmq-ffi-perl libzmq5
    (cd clients/perl && command perl Makefile.PL && make) >/dev/null
}

node() {
    [ "$(type -P npm)" ] || packages nodejs npm
    npm ci --prefix clients/node --silent
}

rust() {
    packages cargo rustc librust-zmq-dev librust-rmp-serde-dev librust-serde-dev librust-serde-derive-dev librust-log-dev \
        librust-serde-json-dev libzmq3-dev pkg-config
    # Debian has the crates as source: what crates.io would give comes from that directory.
    (cd clients/rust && cargo build --release --examples --quiet --offline \
        --config 'source.crates-io.replace-with="debian"' --config 'source.debian.directory="/usr/share/cargo/registry"')
}

if [ $# = 0 ]; then
    mapfile -t all < <(compgen -A function | grep -vx packages)
    set -- "${all[@]}"
fi
for language in "$@"; do
    "$language"
done
