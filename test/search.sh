#!/usr/bin/env bash
# search.sh SCHEDULES RACE: searches so many schedules, and so many with the race detector, and shows that the search finds
# out drivers that lack a protection. Memory is plenty here, and collecting it less often saves a fifth of the time.
set -euo pipefail
export GOGC=400
quiet() { grep -vE '^ *(=== |--- PASS)|^[IWE][0-9]{4} '; }
go test -timeout 60m -count 1 -v -run 'TestSearch$' ./test/search -schedules "$1" | quiet
go test -timeout 20m -count 1 -v -run 'TestProtections$' ./test/search | quiet
go test -race -timeout 20m -count 1 -v -run 'TestSearch$|TestASeedReplaysExactly' ./test/search -schedules "$2" | quiet
