// Package attach decides who may hold a volume, and clears the attachments of nodes that are gone. It knows no gRPC, no
// RouterOS and no client of the API server: facts come in as plain values or through the Cluster interface.
//
// Where to find what:
//
//   - decide.go      Decide: the pure function that answers one publish request
//   - standing.go    what is known of a holder, judged from live answers of the API server
//   - reconciler.go  Reconciler: queue, workers and resync that clear stale attachments
//   - clear.go       what a worker does with one attachment: stale ones; dead.go: those whose node lives, but not their epoch
//   - record.go, grant.go   what the appliance says of a volume, and what Kubernetes remembers of what a node was given
//   - valve.go       Valve: holds clearing and take-over while too many nodes vanish at once
//   - audit.go       AuditScope: the pure comparison of what the appliance has with what Kubernetes has
//   - auditor.go     Auditor: audits over and over; auditremove.go removes what is due, auditnote.go says it to people
//   - note.go        what an operator is told in an Event
//   - nodeid.go, attachment.go, errors.go   the words all of that is said in
//
// # When an attachment is cleared
//
// Its Node doesn't exist any more, or another machine has taken the name and doesn't report the volume as in use (one that
// does may be the same, under a new identity); the API server itself said so just now (a cache or a failed request proves
// nothing); and no pod on that node uses the volume any more. Without the last rule
// Kubernetes' attach-detach controller would make the attachment again. The deletion carries UID and resourceVersion,
// so an attachment that changed since it was judged stays. An attachment whose node lives is cleared only if the appliance
// will never again admit what it stands for, or what it stands for was given to an earlier machine of the node's name, and under
// the same rule about pods. external-attacher then calls ControllerUnpublishVolume,
// which takes the node's access away at the appliance: one road for every detach.
//
// # When an orphan is removed
//
// Never, unless that is switched on. Then: a disk whose record names this cluster, that nobody holds, and whose slot no
// PersistentVolume names, neither in the cache before the appliance was looked at nor on the API server after it; found so
// by every audit of a grace period, under one record. It goes the way of DeleteVolume. A holder without an attachment goes
// the way of ControllerUnpublishVolume, if the API server denies the attachment once more and its node doesn't report the
// volume as in use. Files and PersistentVolumes are never touched.
package attach
