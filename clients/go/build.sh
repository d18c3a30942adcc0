#!/bin/sh
# Builds the harness and the example into build/ with Debian's packages: golang-go, libzmq3-dev, pkg-config and
# golang-github-vmihailenco-msgpack.v5-dev, whose source stands in for a module proxy. With one, `go build ./...` does.
set -eu
cd "$(dirname "$0")"
source=/usr/share/gocode/src/github.com/vmihailenco
mkdir -p vendor/github.com/vmihailenco/msgpack vendor/github.com/vmihailenco/tagparser build
cp -rL "$source/msgpack/v5" vendor/github.com/vmihailenco/msgpack/
cp -rL "$source/tagparser/v2" vendor/github.com/vmihailenco/tagparser/
cat >vendor/modules.txt <<'END'
# github.com/vmihailenco/msgpack/v5 v5.3.5
## explicit; go 1.11
github.com/vmihailenco/msgpack/v5
github.com/vmihailenco/msgpack/v5/msgpcode
# github.com/vmihailenco/tagparser/v2 v2.0.0
## explicit; go 1.15
github.com/vmihailenco/tagparser/v2
github.com/vmihailenco/tagparser/v2/internal
github.com/vmihailenco/tagparser/v2/internal/parser
END
GOFLAGS=-mod=vendor GOPROXY=off go build -o build/ ./cmd/...
