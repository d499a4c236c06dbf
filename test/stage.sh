#!/usr/bin/env bash
# stage.sh NAME COMMAND...: runs one stage of a build or test and prints how many seconds it took.
set -uo pipefail
name=$1
shift
echo "== $name"
begin=$SECONDS
"$@"
code=$?
echo "== $name: $((SECONDS - begin)) s, exit code $code"
exit "$code"
