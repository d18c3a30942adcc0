#!/usr/bin/env bash
# Installs public AMI clients, unmodified, into a directory of their own: tests/listener/provision.sh
# Debian, root. Idempotent. AMID_AMI_CLIENTS names another directory.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

target=${AMID_AMI_CLIENTS:-/var/cache/amid-ami-clients}
mkdir -p "$target"

packages() { apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }

[ "$(type -P npm)" ] || packages nodejs npm
packages perl libtelephony-asterisk-ami-perl php-cli ruby ruby-ami python3-venv

[ -x "$target/venv/bin/python" ] || python3 -m venv "$target/venv"
"$target/venv/bin/pip" install -q 'panoramisk==1.4' 'pystrix==1.3.0' 'pyst2==0.5.1' 'asterisk-ami==0.1.7' 'py-Asterisk==0.6.0'
npm install --silent --no-audit --no-fund --prefix "$target" asterisk-manager@0.2.0 yana@0.3.0 nami@0.7.2 ami-io@1.2.1 asterisk-ami-client@1.1.5
touch "$target/.complete"
