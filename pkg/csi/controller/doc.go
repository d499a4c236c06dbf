// Package controller is the CSI controller service: it makes, publishes, expands and deletes volumes on the appliance.
// It doesn't decide which node may have a volume: package attach does. It sees the appliance only through Appliance,
// and the cluster only through Nodes.
//
// Where to find what:
//
//   - controller.go    Service: its configuration, what it needs, what it can do
//   - one file per RPC: create.go, delete.go, publish.go, unpublish.go, expand.go, validate.go, capacity.go, list.go
//     (ListVolumes, ControllerGetVolume), health.go (ControllerGetVolumeHealth, ControllerListVolumeHealth)
//   - publishqueue.go  publish requests that wait for a conflict to end, in order and bounded
//   - refusal.go       the error of a publish request that is refused
//   - change.go        a conditional write to a disk, again if the disk was written to meanwhile
//   - fencedelay.go    answers that are held back after access was revoked
//   - restore.go       volumes whose record went back in time, or whose export was lost
//   - record.go        a disk's record as package attach has it
//   - audit.go         the appliance as the audit sees it
//   - parameters.go    the parameters of a StorageClass; size.go the sizes of volumes
//
// # Locks
//
// Each volume has a lock, which is keyed by its ID. Every operation that writes to a disk locks the volume. A second
// one for the same volume gets ABORTED, except for a publish request, which waits in the queue without the lock. The
// lock only saves work within one process: two controllers are kept apart by the conditions of package rds.
//
// # Order of reading
//
// A record proves that the appliance went back in time only if its generation is lower than one that was granted before
// the disk was read. So what was granted is read first.
package controller
