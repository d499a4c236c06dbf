package volumehealth

// The reasons. They are stored in the status of pods, so they must not change.
const (
	// ConnectionLost: the kernel gave up the connection, and the device with it.
	ConnectionLost = "ConnectionLost"
	// ConnectionBroken: the kernel tries to restore the connection, and I/O waits.
	ConnectionBroken = "ConnectionBroken"
	// DeviceReplaced: what is mounted is a device that was given up; the volume has another one by now.
	DeviceReplaced = "DeviceReplaced"
	// FilesystemShutDown: the filesystem failed, and neither reads nor writes.
	FilesystemShutDown = "FilesystemShutDown"
	// FilesystemReadOnly: the filesystem failed, and only reads.
	FilesystemReadOnly = "FilesystemReadOnly"
)

// Lost returns the reasons of a device or a filesystem that was given up for good: it stays so for the pods that have it
// mounted, and a pod that mounts the volume anew gets one that works. ConnectionBroken isn't among them: that I/O may go
// on.
func Lost() []string {
	return []string{ConnectionLost, DeviceReplaced, FilesystemShutDown, FilesystemReadOnly}
}
