// Package sanity holds one test: csi-sanity, the specification's own conformance suite, against controller and node service
// on the real appliance client and the simulator. Kubernetes isn't there, so the appliance's records alone decide.
//
// sanity_test.go runs the suite, nodes_test.go is what the node connects with: inside a guest (see test/guest) the kernel's
// initiator and target, elsewhere loop devices in their place (loops_test.go), which takes root. What is skipped, and why, is
// in docs/csi-sanity.md.
package sanity
