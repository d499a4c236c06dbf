// Command demo shows, on this machine alone, what the driver is for: a node dies, its Node object is deleted, and a
// minute or two later the same volume with the same data runs on another node, while the dead one was shut out at the
// appliance first.
//
//	demo run    the whole story, with a timeline; exits 0 only if all of it happened
//	demo up     the same cluster, left running to be played with
//	demo down   stops what up, or an interrupted run, left
//
// The cluster itself is test/cluster. main.go has the commands and flags, story.go the steps of run, timeline.go and
// watch.go what is seen after the node's deletion and when, evidence.go the checks at the end. workload.yaml is the
// workload, volume.go what is read and written in its volume, deadwriter.go
// the dead node that doesn't stop writing, appliance.go the simulator's view.
package main
