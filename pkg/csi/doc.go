// Package csi speaks the Container Storage Interface: it turns RPCs into questions to the appliance, to Kubernetes and
// to the node's kernel, and their answers into responses. It decides nothing about who may hold a volume (package
// attach does), and it sees the appliance, Kubernetes and the kernel only through the small interfaces it declares.
//
// Where to find what:
//
//   - server.go, interceptor.go   the gRPC server on its socket, one log line and one status code per call
//   - identity.go                 who we are
//   - controller.go               the controller service: what it needs, what it can do; one file per RPC:
//     create.go, delete.go, publish.go, unpublish.go, validate.go, list.go (ListVolumes, ControllerGetVolume), room.go
//     (GetCapacity), expand.go, volumehealth.go
//   - door.go                     publish requests that wait for a conflict to end, in order and bounded
//   - restore.go                  volumes of which the appliance forgot something
//   - nodes.go, records.go        what Kubernetes and the appliance say, in the words of package attach
//   - audit.go                    the appliance as attach.Auditor sees it
//   - node.go                     the node service: what it needs, what it can do; its RPCs: stage.go, unstage.go,
//     nodepublish.go, grow.go (NodeExpandVolume), stats.go, health.go
//   - staging.go, mountoptions.go what their requests ask for; restage.go judges which epoch is the living one
//   - filesystem.go, repair.go    formatting, checking, mounting; blank.go proves that a device is blank
//   - device.go                   a device that is held, so that its name stays its own
//   - kernel.go, mountpoint.go    devices by their numbers, and the mount table; remember.go connects lost volumes again
//   - capability.go, parameters.go, capacity.go   what a request may ask for
//   - publishcontext.go           what the controller tells the node, as both ends encode it
//   - errors.go                   the one place where errors become gRPC codes
//
// # Locks
//
// One lock per volume ID and service, taken by every RPC that changes anything; a second call for the same volume gets
// ABORTED instead of waiting, except for a publish, which may wait at the door without it. It only keeps one process tidy:
// what two controllers must not do to one volume is prevented by the conditions of package rds.
//
// # Verbosity
//
// Errors and decisions are always logged. 2: what was changed. 4: every call and its outcome. 5: every command and its
// reply, and Probe.
package csi
