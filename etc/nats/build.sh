#!/bin/sh
# Builds the consumer in Go, with Debian's packages golang-go and golang-github-nats-io-go-nats-dev,
# and installs the npm packages of the one in Node.js.
set -eu
cd "$(dirname "$0")"
mkdir -p build
GO111MODULE=off GOPATH=/usr/share/gocode go build -o build/consumer consumer.go
npm install --silent --no-audit --no-fund
