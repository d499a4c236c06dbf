// Package fence tests, inside a pair of guests (see test/guest), the promise that everything else stands on: once a volume was
// published to another node, the old one can't write to it any more. The old node is the first guest's own kernel, told to
// reconnect for ever, with programs that write for ever; the new one is the second guest's, which connects, writes and reads
// back. What the old one still achieved is looked for in the backing file and by the new one. They need a kernel each: one
// kernel has one identity per subsystem, and refuses a second device that has the identity of another.
//
// writers_test.go are those programs, other_test.go is the new node, siege_test.go one take-over under their fire, variants_test.go what the old node
// is doing at the time, fence_test.go the test, and mutants_test.go shows that ways which are no fence are found out.
//
// -fence-rounds says how many take-overs there are.
package fence
