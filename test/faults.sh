#!/usr/bin/env bash
# faults.sh: runs the fault matrix and prints its size and what failed, but not the hundreds of cases that passed.
set -euo pipefail
go test -race -timeout 10m -count 1 -parallel 8 -v -run TestFaultMatrix ./test/faults | grep -vE '^ *(=== |--- PASS)|^[IWE][0-9]{4} '
