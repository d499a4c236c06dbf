package informers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/restart"
)

// The names of the indexes of pods by their workload: of all pods, and of those with a report about any volume.
const (
	indexByWorkload = "workload"
	indexReported   = "reported"
)

// Pods implements the interface of package restart to Kubernetes. It has informers of its own, and shares nothing with a
// Cluster, which needs other rights. It is safe for concurrent use.
type Pods struct {
	client  kubernetes.Interface
	driver  string
	running []informers.SharedInformerFactory
	pods    coreinformers.PodIndexInformer
	claims  coreinformers.PersistentVolumeClaimInformer
	volumes coreinformers.PersistentVolumeInformer
	enqueue func(workload string)
}

// NewPods returns Pods. driver is the CSI driver's name. It sends no request before Run.
func NewPods(client kubernetes.Interface, driver string) (*Pods, error) {
	trimmed := informers.WithTransform(trim{driver: driver}.lost)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, trimmed)
	// Pods that have ended are many, and nobody restarts them.
	unended := informers.NewSharedInformerFactoryWithOptions(client, 0, trimmed, informers.WithTweakListOptions(func(options *metav1.ListOptions) {
		options.FieldSelector = fields.AndSelectors(
			fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
			fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
		).String()
	}))
	p := &Pods{
		client: client, driver: driver, running: []informers.SharedInformerFactory{factory, unended},
		pods:   unended.Core().V1().Pods().TypedInformer(),
		claims: factory.Core().V1().PersistentVolumeClaims(), volumes: factory.Core().V1().PersistentVolumes(),
		enqueue: func(string) {},
	}
	// An informer that nobody asked for isn't started.
	p.claims.Informer()
	p.volumes.Informer()
	if err := p.pods.AddTypedIndexers(cache.TypedIndexers[*corev1.Pod]{
		indexByWorkload: func(pod *corev1.Pod) ([]string, error) { return []string{workloadOf(pod)}, nil },
		indexReported: func(pod *corev1.Pod) ([]string, error) {
			if len(pod.Status.VolumeHealth) == 0 {
				return nil, nil
			}
			return []string{workloadOf(pod)}, nil
		},
	}); err != nil {
		return nil, fmt.Errorf("index pods: %w", err)
	}
	if _, err := p.pods.AddTypedEventHandler(coreinformers.PodHandlerFuncs{
		AddFunc:    p.changed,
		UpdateFunc: func(_, pod *corev1.Pod) { p.changed(pod) },
		DeleteFunc: func(deleted coreinformers.DeletedPod) {
			if deleted.OptionalObj != nil {
				p.changed(deleted.OptionalObj)
			}
		},
	}); err != nil {
		return nil, fmt.Errorf("handle pod events: %w", err)
	}
	return p, nil
}

// OnWorkloads has enqueue called with the workload of a pod after every event about it, if a pod of the workload has a
// report about any volume. enqueue must not block. OnWorkloads must be called before Run.
func (p *Pods) OnWorkloads(enqueue func(workload string)) { p.enqueue = enqueue }

func (p *Pods) changed(pod *corev1.Pod) {
	workload := workloadOf(pod)
	if reported, _ := p.pods.GetTypedIndexer().IndexKeys(indexReported, workload); len(reported) > 0 {
		p.enqueue(workload)
	}
}

// Run keeps the caches up to date until ctx ends, and returns nil when everything that it started has ended. It is
// called once.
func (p *Pods) Run(ctx context.Context) error {
	for _, factory := range p.running {
		factory.StartWithContext(ctx)
	}
	<-ctx.Done()
	for _, factory := range p.running {
		factory.Shutdown()
	}
	return nil
}

// WaitForSync returns once the caches have been filled, or with an error when ctx ends before that.
func (p *Pods) WaitForSync(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), p.Synced) {
		return fmt.Errorf("%w: %w", errNotSynced, ctx.Err())
	}
	return nil
}

// Synced reports whether the caches have been filled.
func (p *Pods) Synced() bool {
	return p.pods.HasSynced() && p.claims.Informer().HasSynced() && p.volumes.Informer().HasSynced()
}

// CachedWorkloads returns the workloads of which a pod has a report about any volume.
func (p *Pods) CachedWorkloads() []string {
	return p.pods.GetTypedIndexer().ListIndexFuncValues(indexReported)
}

// CachedWorkload returns the pods of a workload that haven't ended.
func (p *Pods) CachedWorkload(workload string) []restart.Pod {
	var pods []restart.Pod
	cached, _ := p.pods.GetTypedIndexer().ByTypedIndex(indexByWorkload, workload) // only an unknown index is an error
	for _, pod := range cached {
		pods = append(pods, p.podOf(pod))
	}
	return pods
}

// LivePod gets a pod from the API server itself. It returns restart.ErrGone if there is none of that name.
func (p *Pods) LivePod(ctx context.Context, namespace, name string) (restart.Pod, error) {
	pod, err := p.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return restart.Pod{}, fmt.Errorf("get pod %s/%s: %w", namespace, name, restart.ErrGone)
	case err != nil:
		return restart.Pod{}, fmt.Errorf("get pod %s/%s: %w", namespace, name, err)
	}
	return p.podOf(pod), nil
}

// DeletePod deletes exactly the version of the pod that was read, with the pod's own grace period.
func (p *Pods) DeletePod(ctx context.Context, pod restart.Pod) error {
	uid := types.UID(pod.UID)
	err := p.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &pod.ResourceVersion},
	})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("delete pod %s/%s: %w", pod.Namespace, pod.Name, restart.ErrGone)
	case apierrors.IsConflict(err):
		return fmt.Errorf("delete pod %s/%s: %w: %w", pod.Namespace, pod.Name, restart.ErrChanged, err)
	case err != nil:
		return fmt.Errorf("delete pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// podOf converts a Pod, with the reports about volumes of this driver.
func (p *Pods) podOf(pod *corev1.Pod) restart.Pod {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	result := restart.Pod{
		Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID), ResourceVersion: pod.ResourceVersion,
		Controller:  controllerOf(pod),
		Mirror:      mirror,
		Ended:       pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed,
		Terminating: pod.DeletionTimestamp != nil,
		// kubelet makes the sandbox only after it has mounted all volumes.
		Mounted: isTrue(pod, corev1.PodReadyToStartContainers),
		Ready:   isTrue(pod, corev1.PodReady),
	}
	for _, volume := range pod.Status.VolumeHealth {
		claim := p.ourClaim(pod, volume.Name)
		if claim == "" {
			continue
		}
		for _, condition := range volume.HealthConditions {
			result.Reports = append(result.Reports, restart.Report{Volume: volume.Name, Claim: claim, Reason: condition.Reason})
		}
	}
	return result
}

// ourClaim returns the claim of one of a pod's volumes if the claim is bound to a PersistentVolume of this driver, else
// "". What the caches don't have isn't ours.
func (p *Pods) ourClaim(pod *corev1.Pod, name string) string {
	i := slices.IndexFunc(pod.Spec.Volumes, func(volume corev1.Volume) bool { return volume.Name == name })
	if i < 0 {
		return ""
	}
	claimName := claimOf(pod, pod.Spec.Volumes[i])
	claim, err := p.claims.Lister().PersistentVolumeClaims(pod.Namespace).Get(claimName)
	if err != nil {
		return ""
	}
	volume, err := p.volumes.Lister().Get(claim.Spec.VolumeName)
	if err != nil || volume.Spec.CSI == nil || volume.Spec.CSI.Driver != p.driver {
		return ""
	}
	return claimName
}

func workloadOf(pod *corev1.Pod) string {
	return restart.Pod{Namespace: pod.Namespace, UID: string(pod.UID), Controller: controllerOf(pod)}.Workload()
}

func controllerOf(pod *corev1.Pod) restart.Controller {
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil {
		return restart.Controller{}
	}
	return restart.Controller{Kind: owner.Kind, Name: owner.Name, UID: string(owner.UID)}
}

func isTrue(pod *corev1.Pod, condition corev1.PodConditionType) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == condition && c.Status == corev1.ConditionTrue
	})
}
