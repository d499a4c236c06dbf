// Package attach decides which node gets a volume, and clears the attachments of nodes that are gone. It imports
// neither gRPC nor a client of the API server, and doesn't know RouterOS. Facts come in as plain values or through the
// interfaces in cluster.go and appliance.go.
//
// Where to find what:
//
//   - decide.go        Decide: the pure function that answers one publish request
//   - holder.go        Judge: the state of a holder, from live answers of the API server
//   - gone.go          when a machine counts as gone, and when it has provably stopped using a volume
//   - nodes.go         Nodes: what publishing asks about nodes; recordnodes.go: the same without Kubernetes
//   - reconciler.go    Reconciler: the queue, workers and resync that clear stale and dead attachments
//   - clear.go         one attachment: is its node gone? dead.go: its node lives, but is its grant still valid?
//   - progress.go      when this process saw what of them begin and end, for metrics alone
//   - valve.go         Valve: pauses clearing and take-over while too many nodes vanish at once
//   - audit.go         AuditScope: the pure comparison of the appliance's inventory with Kubernetes
//   - auditor.go       Auditor: the periodic audit; auditremove.go removes what is due, auditnote.go words its events
//   - cluster.go       the interfaces to Kubernetes; appliance.go: the interfaces to the appliance
//   - attachment.go, record.go, grant.go, nodeid.go: the values that decisions are made on
//   - version0.go      the handles of volumes that v0.x of this driver made
//   - machine.go       machine identities that prove nothing: placeholders, and one that several Nodes report
//   - note.go          the events for operators; errors.go: the errors for callers
//
// # Terms
//
// A holder is a node that the appliance's record of a volume names. It is detaching while its attachment is being
// deleted. A node is leaving while it is being deleted or out of service. An attachment is stale if its node is gone.
// It is dead if its node lives, but the appliance will never again admit the epoch that it carries.
//
// # When an attachment is cleared
//
// A stale attachment is deleted if all of this holds:
//
//   - Its Node doesn't exist any more, or another machine has taken the name. A Node at least as old as the attachment
//     that reports the volume as in use may be the same machine under a new identity; nothing is cleared then.
//   - The API server itself has just said so. A cache or a failed request proves nothing.
//   - No pod on that node uses the volume. Otherwise the attach-detach controller would create the attachment again.
//
// A dead attachment is deleted under the same rule about pods, once the API server and the appliance have confirmed it.
// Either the appliance doesn't have its epoch any more, or it was granted to an earlier machine of the node's name. In
// the second case, the node must also no longer report the volume as in use.
//
// The deletion carries UID and resourceVersion, so an attachment that has changed since it was judged stays.
// external-attacher then calls ControllerUnpublishVolume, which revokes the node's access like for any other detach.
//
// # When an orphan is removed
//
// Orphans are only reported unless removal is switched on. Then two kinds are removed:
//
//   - A disk whose record names this cluster, that has no holder, and whose slot no PersistentVolume names: neither in
//     the cache before the appliance was read, nor on the API server after that. Every audit of a grace period must
//     have found it, with the same record. It is deleted as by DeleteVolume.
//   - A holder without an attachment, if the API server confirms that once more and the node doesn't report the volume
//     as in use. Its access is revoked as by ControllerUnpublishVolume.
//
// Files and PersistentVolumes are never removed.
package attach
