// Package fence tests, inside a pair of guests (see test/guest), the promise that everything else stands on: once a volume was
// published to another node, the old one can't write to it any more. The old node, A, is a kernel that was told to reconnect
// for ever, with programs that write for ever; the new one, B, is the other guest's, which connects, writes and reads back.
// What A still achieved is looked for in the backing file and by B. They need a kernel each: one kernel has one identity per
// subsystem, and refuses a second device that has the identity of another.
//
// The appliance is always in the first guest, which runs the tests. A is there too, but where A's kernel is to be frozen
// or may hang. To be frozen, the second guest stops as a whole, with what its kernel has queued.
//
// writers_test.go are A's programs, machine_test.go is what either guest does as A and as B, monitor_test.go freezes the other
// one and reads its memory meanwhile, siege_test.go is one take-over under fire, variants_test.go what A is doing at the time,
// fence_test.go the test, and mutants_test.go shows that ways which are no fence are found out.
//
// -fence-rounds says how many take-overs there are.
package fence
