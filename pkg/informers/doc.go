// Package informers holds what this driver knows of the cluster: shared informers on Nodes, VolumeAttachments and
// PersistentVolumes, trimmed to what is read, and the few live questions to the API server. It answers in the words of
// package attach, and decides nothing.
//
// Where to find what:
//
//   - cluster.go    Cluster: what is cached and how it is looked up
//   - live.go       the questions that go to the API server itself, and the one deletion
//   - watch.go      which event has which attachment looked at
//   - nodefeed.go   which nodes appear and vanish, and which of them attachments name
//   - claims.go     all PersistentVolumes and attachments at once, cached or live, for the audit
//   - trim.go       what of each object is kept, and how it reads in the words of package attach
//   - waiters.go    waiting for an attachment to appear in the cache
//   - recorder.go   Recorder: what people should know, as Events on claims, volumes and nodes
//   - podwatch.go   the pods of a node that is gone: watched only while one of its attachments waits for them
//
// It needs these permissions: get, list and watch on nodes and persistentvolumes; get, list, watch and delete on
// volumeattachments; list and watch on pods; create and patch on events (of the core group, in every namespace); get on the
// namespace kube-system.
package informers
