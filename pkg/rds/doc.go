// Package rds talks to one MikroTik RouterOS appliance: file-backed disks, who holds them, and the NVMe/TCP
// export that lets a holder in. It knows neither Kubernetes nor CSI.
//
// Where to find what:
//
//   - client.go     Client: the operations, one file each: create.go, read.go, publish.go, unpublish.go, delete.go,
//     expand.go, capacity.go, health.go
//   - volumeid.go   VolumeID: the name of a volume, from which slot, backing file and subsystem NQN follow
//   - record.go     Record: who holds a volume, as it is written in the disk's comment (recordtext.go)
//   - command.go    the one place that quotes text for RouterOS and wraps statements so that their outcome can be told
//   - reply.go      what came back: the verdict on the statements and the appliance's state after them
//   - disk.go       Disk: a disk of ours as the appliance shows it
//   - transport.go  Transport: what this package needs of a connection; package transport below has the one over SSH
//   - survey.go     all pools at once: disks, and files without a disk
//   - config.go     Config; outcome.go names how commands ended, for metrics
//   - errors.go     what can go wrong, as types; callers never match text
//
// # Rules
//
// RouterOS prints errors on stdout and exits with status 0, so neither exit status nor stderr decides anything. Every
// statement that writes is wrapped in :onerror and reports under a random nonce; every exec ends by printing, as JSON,
// the state that matters, and by an end marker. What happened is judged by that state. Where the reply was lost, the
// state is read again before anything is said about the outcome.
//
// A write to a disk that may have a holder is conditional: its find matches the disk's whole comment, which carries a
// fresh random token since the write before. Of two writers who read the same comment, at most one matches.
//
// A disk is only believed absent if the same exec shows its pool mounted and the appliance up for longer than its
// boot window: RouterOS answers with empty lists while it boots.
package rds
