// Package restart deletes pods whose volume's device was given up, so that their controllers replace them. A device
// that the kernel gave up, or a filesystem that failed, stays so for the pods that have it mounted; only a new pod gets
// one that works. The package imports neither gRPC nor a client of the API server: facts come in as plain values or
// through the interface in cluster.go.
//
// Where to find what:
//
//   - decide.go        Decide: the pure function that answers for one pod
//   - pod.go           the values that decisions are made on
//   - replacements.go  the pods that were deleted and aren't replaced yet
//   - reconciler.go    Reconciler: the queue, workers and resync; work.go: the work on one workload
//   - cluster.go       the interface to Kubernetes; note.go: the events for people
//
// # Terms
//
// A workload is all pods of one controller: a ReplicaSet, StatefulSet, DaemonSet, Job or a controller of another kind. A
// pod without a controller is a workload of its own. A pod is lost if kubelet reports of one of its volumes, of this
// driver, that its device or filesystem was given up for good.
//
// # When a pod is deleted
//
// A lost pod is deleted if all of this holds, by the API server's own answer just before:
//
//   - It has a controller, isn't being deleted, hasn't ended, and isn't the mirror of a static pod.
//   - Its volumes were mounted for its containers. Otherwise kubelet still mounts them, and the driver gives a dead
//     device to nobody.
//   - No more than the share of its workload is being restarted, or nobody else of it is. Pods count as being restarted
//     that are being deleted, that aren't Ready although they aren't lost, and that were deleted and have no replacement
//     yet.
//
// The deletion carries UID and resourceVersion, so a pod that has changed since it was judged stays. The grace period is
// the pod's own. Deleting a pod asks no PodDisruptionBudget.
//
// Deletions without a replacement are remembered for replacedWithin, by the process that made them. A new leader knows
// only what the pods show.
package restart
