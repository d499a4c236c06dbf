// Package rds makes, exports and removes file-backed disks on one MikroTik RouterOS appliance, and records on each disk
// which nodes have it. It knows neither Kubernetes nor CSI, nor SSH: package transport below it does.
//
// Where to find what:
//
//   - client.go       Client: the operations, one file each: create.go, read.go, publish.go, delete.go, expand.go,
//     capacity.go, health.go, probe.go, survey.go
//   - listing.go      how thousands of items are read in pages
//   - volumeid.go     VolumeID: the name of a volume, from which slot, backing file and subsystem NQN follow
//   - subsystemnqn.go the subsystem NQN: how it is formed and taken apart
//   - filepath.go     the paths of files, which /disk and /file spell differently
//   - record.go       Record: who holds a volume, under which epoch; token.go makes epochs and tokens
//   - comment.go      the record as the disk's comment; mend.go writes a damaged one anew
//   - disk.go         Disk: a disk of this driver as the appliance shows it; number.go reads its sizes
//   - command.go      the one place that quotes text for RouterOS, and wraps statements so that they report their outcome
//   - reply.go        what came back: the verdict on the statements, and the appliance's state after them (state.go);
//     items.go reads lists of items one by one
//   - pools.go        what replies tell of pools besides, for metrics
//   - keeper.go       the export that keeps the target's port open
//   - files.go        directories and backing files
//   - transport.go    Transport: what this package needs of a connection; package transport has the one over SSH
//   - check.go        the check of an appliance by an operator; its steps are in checksteps.go, checkguards.go,
//     checkcontent.go and checkfence.go, and checkcleanup.go removes what they made
//   - config.go       Config; outcome.go names how commands ended, and fence.go how access was revoked, for metrics
//   - errors.go       what can go wrong, as types; callers never match text
//
// # Rules
//
// RouterOS prints errors on stdout and exits with status 0, so neither exit status nor stderr decides anything. Every
// statement that writes is wrapped in :onerror and reports under a random nonce. Every exec ends by printing the state that
// matters, as JSON, and an end marker. That state decides what happened. Where the reply was lost, the state is read again
// before anything is said about the outcome. A reply is lost as well if a marker is missing, or if a list is shorter than
// its count: silence is never taken for absence.
//
// A write to a disk that may have a holder is conditional: its find matches the disk's whole comment, which has a random
// token of its own since the write before. Of two writers who read the same comment, at most one matches.
//
// A disk counts as absent only if the same exec shows its pool mounted and the appliance up for longer than its boot
// window: RouterOS answers with empty lists while it boots.
package rds
