// Package host is what a node does to a block device and to mounts, with the kernel and the tools of the machine. It
// knows no CSI message.
//
//   - host.go        Host: the kernel, a mounter, and commands
//   - kernel.go      system calls; devices are told apart by their numbers
//   - tools.go       the commands that all of it takes
//   - capability.go  the Linux capabilities that all of it takes
//   - device.go      a device that is kept open, so that its name stays its own
//   - blank.go       the proof that a device is blank
//   - format.go      what is on a device, and mkfs
//   - fsck.go        e2fsck before an ext4 is mounted
//   - mount.go       mounting a filesystem, and showing it in another place
//   - grow.go        a filesystem as large as its device
//   - mounttable.go  what is mounted where
//   - shared.go      whether what is mounted here shows up on the host, and its devices here
//   - failed.go      whether a mounted filesystem still works
//   - inuse.go       whether somebody uses a device, in whatever mount namespace
//   - users.go       who uses it, as far as /proc and /sys tell
//   - used.go        which devices processes use, as far as /proc tells
//   - unmount.go     unmounting, and taking a dead device's mounts away
//   - mountpoint.go  the directories and files that are mounted on
package host
