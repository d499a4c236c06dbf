// Package node is the CSI node service: it connects volumes to this machine, formats and mounts them, and removes them
// again. It sees NVMe/TCP only through Connector, and the machine's devices and mounts only through package host.
//
// Where to find what:
//
//   - node.go       Service: its configuration, what it can do, and run, which runs one operation on a volume
//   - one file per RPC: stage.go, publish.go, unpublish.go, unstage.go, expand.go (NodeExpandVolume), stats.go
//     (NodeGetVolumeStats), health.go (NodeGetVolumeHealth)
//   - request.go    what requests ask for, and which are refused
//   - connect.go    connecting a volume, and removing what earlier epochs of it left
//   - failed.go     mounting a filesystem again that failed
//   - reserve.go    what must hold before a volume is disconnected: nobody uses it, and everything is on the target
//   - drain.go      whether volumes are about to be unstaged when the process is to end
//   - reconnect.go  volumes that this process staged; reconnecting one that lost its connection
//   - host          formatting, checking, mounting, and the mount table
//
// # Epochs
//
// Each time the controller publishes a volume to a new holder, the volume gets a new epoch, and with it a new subsystem
// NQN. The kernel may still have connections and mounts of an earlier epoch. They are dead: the target doesn't serve
// them any more. Staging and publishing remove them, but only after the target has accepted this node under the
// requested NQN.
//
// # Locks
//
// A volume has two locks, each keyed by the volume ID of the request. One is locked by everything that changes
// connections or mounts, including a reconnect; the other one by NodeGetVolumeStats and NodeGetVolumeHealth. A second
// call for a locked volume gets ABORTED, except for NodeUnstageVolume, which waits. A volume stays locked until its
// operation really ends, even if the call has already returned because its context ended.
//
// A device is kept open while a command gets its path, so that the kernel can't give the path to another volume.
package node
