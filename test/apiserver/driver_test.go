package apiserver

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
)

// account gives a client with the rights of the driver's ServiceAccount, and no others. wrap may change its transport.
func account(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) kubernetes.Interface {
	t.Helper()
	config := must[*rest.Config](t)(clientcmd.BuildConfigFromFlags("", api.ControllerKubeconfig()))
	config.QPS, config.Burst = 50, 100
	if wrap != nil {
		config.Wrap(wrap)
	}
	return must[*kubernetes.Clientset](t)(kubernetes.NewForConfig(config))
}

// listener is the driver's view of the cluster, running, with the attachments that it wanted looked at.
type listener struct {
	*informers.Cluster
	mu    sync.Mutex
	names []string
}

// listen runs the driver's informers until the test ends, and returns when their caches are filled.
func listen(t *testing.T, client kubernetes.Interface) *listener {
	t.Helper()
	l := &listener{Cluster: must[*informers.Cluster](t)(informers.New(client, driver))}
	l.OnAttachments(l.enqueue)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = l.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	synced, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err := l.WaitForSync(synced); err != nil {
		t.Fatalf("is a right missing? %v", err)
	}
	return l
}

func (l *listener) enqueue(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = append(l.names, name)
}

// forget makes enqueued tell only of what comes from now on.
func (l *listener) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = nil
}

func (l *listener) enqueued(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.names, name)
}

// makeNode makes a Node whose machine has that identity. It is gone when the test ends.
func makeNode(t *testing.T, name, machine string) *corev1.Node {
	t.Helper()
	node := must[*corev1.Node](t)(admin().CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))
	t.Cleanup(func() {
		ignoreGone(t, admin().CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}))
	})
	node.Status.NodeInfo.SystemUUID = machine
	return must[*corev1.Node](t)(admin().CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}))
}

func deleteNode(t *testing.T, name string) {
	t.Helper()
	if err := admin().CoreV1().Nodes().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// makeVolume makes a PersistentVolume of the driver that is bound to a claim of the same name. It is gone when the test ends.
func makeVolume(t *testing.T, name string) *corev1.PersistentVolume {
	t.Helper()
	return makeVolumeOf(t, name, driver)
}

// makeVolumeOf makes a PersistentVolume as makeVolume does, of any driver.
func makeVolumeOf(t *testing.T, name, driver string) *corev1.PersistentVolume {
	t.Helper()
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
		AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "default", Name: name, UID: "uid-of-the-claim"},
		PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: "raid10/rds-csi/" + name}},
	}}
	volume = must[*corev1.PersistentVolume](t)(admin().CoreV1().PersistentVolumes().Create(t.Context(), volume, metav1.CreateOptions{}))
	t.Cleanup(func() {
		ignoreGone(t, admin().CoreV1().PersistentVolumes().Delete(context.Background(), name, metav1.DeleteOptions{}))
	})
	return volume
}

// makeAttachment makes the attachment of a volume to a node, as attached. It is gone when the test ends.
func makeAttachment(t *testing.T, name, volume, node, machine string) *storagev1.VolumeAttachment {
	t.Helper()
	attachment := &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"csi.alpha.kubernetes.io/node-id": node + "/" + machine}},
		Spec:       storagev1.VolumeAttachmentSpec{Attacher: driver, NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &volume}},
	}
	attachment = must[*storagev1.VolumeAttachment](t)(admin().StorageV1().VolumeAttachments().Create(t.Context(), attachment, metav1.CreateOptions{}))
	t.Cleanup(func() {
		ignoreGone(t, admin().StorageV1().VolumeAttachments().Delete(context.Background(), name, metav1.DeleteOptions{}))
	})
	attachment.Status.Attached = true
	return must[*storagev1.VolumeAttachment](t)(admin().StorageV1().VolumeAttachments().UpdateStatus(t.Context(), attachment, metav1.UpdateOptions{}))
}

func ignoreGone(t *testing.T, err error) {
	t.Helper()
	if err != nil && !apierrors.IsNotFound(err) {
		t.Errorf("clean up: %v", err)
	}
}
