// Package fence tests, inside a guest (see test/guest), the promise that everything else stands on: once a volume was
// published to another node, the old one can't write to it any more. The old node is the guest's own kernel, told to
// reconnect for ever, with programs that write for ever; what it still achieved is read from the backing file.
//
// writers_test.go are those programs, siege_test.go one take-over under their fire, variants_test.go what the old node
// is doing at the time, fence_test.go the test, and mutants_test.go shows that ways which are no fence are found out.
//
// -fence-rounds says how many take-overs there are.
package fence
