#!/usr/bin/env bash
# binary.sh VERSION FILE: builds rds-csi as it ships, for GOOS and GOARCH. It is static. The same sources and the same Go make
# the same bytes, wherever they are, so that the binary in an image is the one of the release. Git is not asked: an image is
# built without it.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 GOFLAGS=
go build -trimpath -buildvcs=false -ldflags "-s -w -X $(go list -m)/cmd/rds-csi/app.released=$1" -o "$2" ./cmd/rds-csi
