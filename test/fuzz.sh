#!/usr/bin/env bash
# fuzz.sh TIMES: runs every native fuzz target of the module TIMES, such as 1000x, one after the other as `go test` demands.
# A duration would do but for https://go.dev/issue/75804: its end is sometimes reported as a failure.
set -euo pipefail
grep -rl --include='*_test.go' '^func Fuzz' pkg test | sort | while read -r file; do
  sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$file" | while read -r target; do
    echo "-- $target in $(dirname "$file")"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "./$(dirname "$file")"
  done
done
