#!/usr/bin/env bash
# figures.sh: prints how many commands over SSH each RPC of the controller takes.
set -euo pipefail
go test -race -count 1 -v -run TestExecsOfEachRPC ./pkg/csi | grep -vE '^[IWE][0-9]{4} '
