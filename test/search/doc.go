// Package search looks for an order of events that breaks one of the driver's promises. It holds tests only.
//
// The product's own code runs here: the CSI controller, attach.Decide, the work of the reconciler on one attachment, and the
// client of the appliance, on the simulator's state machine. Everything around it is a model. One actor runs at a time, and
// pauses wherever it calls the appliance, the API server, a cache or the clock; which one goes on is drawn from a seed. So a
// seed is a schedule, and replays exactly.
//
// Where to find what:
//
//   - engine_test.go        actors, their order, and the clock
//   - world_test.go         the cluster of a schedule, and what goes wrong in it (chaos): each schedule draws some of it
//   - apiserver_test.go     what is true in Kubernetes; cache_test.go: what a controller's informers know of it, late;
//     stream_test.go: the watch of one resource
//   - process_test.go       a controller pod: the driver with its work queue, and external-attacher
//   - attachdetach_test.go  the attach-detach controller, the collection of pods, and what makes pods
//   - provision_test.go     external-provisioner, with volumes that come and go
//   - restore_test.go       etcd goes back in time; neighbour_test.go: another cluster on the same appliance
//   - machine_test.go       machines: kubelet with the node plugin's rules, and the kernel's connections
//   - appliance_test.go     the way to the simulated appliance, statement by statement, with its faults and reboots
//   - checks_test.go        the rules, held after every step against the appliance's target and the API server, and at the
//     end when everything has calmed down; superseded_test.go: that nobody writes under an epoch which has ended
//   - history_test.go       the history of publishes and unpublishes against a sequential model
//   - mutants_test.go       drivers that lack a protection: each has to be found out
//   - search_test.go        the tests; -schedules and -seed say how many and from where
//
// # When a seed fails
//
// The failure prints its timeline and the command that replays it. Either the driver is wrong, or a model is: the models
// follow Kubernetes 1.37 and csi-attacher 4.13.
package search
