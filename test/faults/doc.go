// Package faults holds one test: every operation that changes the appliance, under every fault that the simulator knows,
// once and twice in a row, at the first command and at the first that writes. The cases are generated.
//
// After each case, whatever the operation returned, the appliance must be sane: no second disk, nothing exported that
// nobody holds, no record lost, no orphan file. If the operation returned success after being retried as its callers
// do, what was wanted must be there.
//
//   - matrix_test.go     the cases, and how one is run
//   - mutations_test.go  the operations: what comes before, what is wanted afterwards
//   - world_test.go      driver and simulator for one case, and what must hold in any case
package faults
