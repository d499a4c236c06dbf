#!/usr/bin/env bash
# deadcode.sh "COMMAND": fails if the product has a function that no program of ours reaches, or if the rest has one that
# neither a program nor a test reaches.
set -euo pipefail
module=$(go list -m)
dead=$($1 -filter "^$module/(pkg|cmd)/" ./cmd/... ./test/demo ./test/demonode; $1 -test -filter "^$module/test/" ./...)
[ -z "$dead" ] || { echo "$dead"; exit 1; }
