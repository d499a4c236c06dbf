#!/usr/bin/env bash
# figures.sh: prints how many commands over SSH each RPC of the controller takes. It fails if the test that counts them is gone.
set -euo pipefail
go test -race -count 1 -v -run TestExecsOfEachRPC ./pkg/csi/controller | grep -vE '^[IWE][0-9]{4} ' | tee /dev/stderr | grep '^--- PASS: TestExecsOfEachRPC' >/dev/null
