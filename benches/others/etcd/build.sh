#!/usr/bin/env bash
# Builds the Go side of benches/etcd.rs from Debian's packages golang-go and golang-etcd-server-dev.
#
#   bash benches/others/etcd/build.sh OUTPUT
set -euo pipefail
cd "$(dirname "$0")"
export GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="${GOCACHE:-$(dirname "$1")/go}"
exec go build -o "$1" main.go
