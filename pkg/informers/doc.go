// Package informers is this driver's view of the Kubernetes cluster. It has shared informers on Nodes,
// VolumeAttachments and PersistentVolumes, trimmed to the fields that are read, and the few live requests to the API
// server. It returns the types of packages attach, restart and status, and decides nothing.
//
// Where to find what:
//
//   - cluster.go    Cluster: the caches, their indexes, and lookups in them
//   - handlers.go   what happens on which event
//   - live.go       the get requests to the API server, and the one deletion
//   - claims.go     all PersistentVolumes and attachments at once, cached or live, for the audit
//   - trim.go       the fields that are cached, and the conversion to the types of package attach
//   - waiters.go    waiting for events about an attachment
//   - podsusing.go  the pods that use a volume
//   - podwatch.go   watches of the pods of single nodes, each only while an attachment waits for them
//   - recorder.go   Recorder: Kubernetes Events on claims, volumes and nodes; eventwriter.go: how they are written
//   - overview.go   what "rds-csi status" shows of the cluster, all of it live
//   - pods.go       Pods: what the pod-restarter knows and does; podrecorder.go: its Events on pods
//
// The controller's ServiceAccount needs these permissions: get, list and watch on nodes and persistentvolumes; get, list,
// watch and delete on volumeattachments; list and watch on pods; create and patch on events (of the core group, in
// every namespace); get on the namespace kube-system.
//
// "rds-csi status" runs with the rights of who calls it: list on nodes, persistentvolumes, volumeattachments, csinodes and
// pods.
//
// The pod-restarter's needs get, list, watch and delete on pods; get, list and watch on persistentvolumeclaims and
// persistentvolumes; create and patch on events.
package informers
