#!/usr/bin/env bash
# fuzz.sh TIME: runs every native fuzz target of the module for TIME, one after the other as `go test` demands.
set -euo pipefail
grep -rl --include='*_test.go' '^func Fuzz' pkg test | sort | while read -r file; do
  sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$file" | while read -r target; do
    echo "-- $target in $(dirname "$file")"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "./$(dirname "$file")"
  done
done
