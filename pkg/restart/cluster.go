package restart

import (
	"context"
	"errors"
)

// Why a pod isn't deleted.
var (
	// ErrChanged: the pod has changed since it was judged, or another one has its name; it must be judged anew.
	ErrChanged = errors.New("it has changed since it was seen")
	// ErrGone: the pod doesn't exist any more.
	ErrGone = errors.New("it is gone")
)

// Cluster is what the reconciler needs of Kubernetes. *informers.Pods implements it. Methods named Cached… answer from
// informers, methods named Live… ask the API server. All methods are safe for concurrent use.
type Cluster interface {
	// WaitForSync returns once the caches have been filled, or with an error when ctx ends before that.
	WaitForSync(ctx context.Context) error
	// CachedWorkloads returns the workloads of which a pod has a report about any volume.
	CachedWorkloads() []string
	// CachedWorkload returns the pods of a workload. It may leave out those that have ended.
	CachedWorkload(workload string) []Pod
	// LivePod gets a pod. It returns ErrGone if there is none of that name.
	LivePod(ctx context.Context, namespace, name string) (Pod, error)
	// DeletePod deletes exactly the version of the pod that was read. It returns ErrChanged or ErrGone, and deletes
	// nothing, if the pod has changed or is gone.
	DeletePod(ctx context.Context, pod Pod) error
}
