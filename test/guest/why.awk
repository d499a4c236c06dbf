# why.awk: of the output of `go test`, given twice, the lines that tell why it failed: what failed tests logged, panics with
# a few lines around them, and what vmrun says. It prints the first 40.
FNR == 1 { pass++; test = ""; before = ""; after = 0; logged = 0 }

/^ *--- (FAIL|PASS|SKIP): / { name = $3 }
/^=== (RUN|CONT|NAME) / { name = $3 }
name != "" { test = name; name = "" }

pass == 1 {
  if (/^ *--- FAIL: |^panic: |^fatal error: /) failed[test]
  next
}

# say takes a line once, and leaves it out when there were enough.
function say(line) { if (++said <= 40) print line }

/^panic: |^fatal error: |^runtime: / && !after { if (before != "") say(before); after = 12 }
{
  if (/^ +[^ ]+\.go:[0-9]+: /) logged = test in failed
  else if (!/^        /) logged = 0
  if (logged || after || /^ *--- FAIL: / || (/^vmrun: / && !/^vmrun: (booted in|[0-9.]+ s in all)/)) { say($0); before = "" }
  else before = $0
  if (after) after--
}

END { if (said > 40) print "... and " said - 40 " more lines" }
