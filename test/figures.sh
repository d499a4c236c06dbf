#!/usr/bin/env bash
# figures.sh: prints how many commands over SSH each RPC of the controller takes. It fails if the test that counts them is gone.
set -euo pipefail
output=$(go test -race -count 1 -v -run TestExecsOfEachRPC ./pkg/csi/controller | grep -vE '^[IWE][0-9]{4} ')
echo "$output"
grep -q '^--- PASS: TestExecsOfEachRPC' <<<"$output"
