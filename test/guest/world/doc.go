// Package world is what tests inside a guest share: the simulated appliance, exporting through the kernel's own NVMe/TCP
// target, with our controller in front of it (world.go), and the kernel's initiator as somebody sees it who writes to
// /dev/nvme-fabrics by hand (initiator.go). On the kernel that runs them, tests play one node only: a kernel connects to
// a subsystem as one host.
package world
