// Package node tests, inside a guest (see test/guest), the node service on a real kernel: the kernel's initiator, connected by
// package nvme, real file systems and mounts, and the kernel's target as the simulated appliance's exports.
//
// rig_test.go is a node with what it needs, use_test.go the life of volumes, inuse_test.go those who keep a volume,
// health_test.go what is wrong with volumes, trouble_test.go appliances that go and come back, many_test.go many
// volumes at once, and capability_test.go what root must be allowed to do; process_test.go is a node plugin in a process
// of its own, start_test.go the driver's own program, drain_test.go its end, and namespace_test.go why it needs the host's network.
package node
