// Package target tests, inside a guest (see test/guest), that real initiators see of the simulator's disks what the
// controller published, and nothing else: volume_test.go through the controller, export_test.go the simulator's own
// exports, reboot_test.go an appliance that goes down and comes back.
package target
