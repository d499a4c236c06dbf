package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

// ErrMissing says that a rendering lacks something that its own objects or the caller refer to.
var ErrMissing = errors.New("the manifests have no")

// Rendered are the objects of a kustomization. It isn't changed after [Parse].
type Rendered struct {
	// Others are all objects but those that make pods, in YAML.
	Others []byte
	// Workloads are the objects that make pods, in YAML.
	Workloads []byte

	pods       map[string]Pod
	configMaps map[string]corev1.ConfigMap
	secrets    map[string]corev1.Secret
}

// Pod is what a Deployment or DaemonSet makes.
type Pod struct {
	corev1.PodTemplateSpec
	// Namespace is where the pods are.
	Namespace string
	// Replicas is how many a Deployment makes, and 0 for a DaemonSet: one a node.
	Replicas int
}

// Parse reads what "kubectl kustomize" prints. A field of a workload, ConfigMap or Secret that Kubernetes doesn't know is an
// error.
func Parse(rendering []byte) (*Rendered, error) {
	r := &Rendered{pods: map[string]Pod{}, configMaps: map[string]corev1.ConfigMap{}, secrets: map[string]corev1.Secret{}}
	for documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(rendering))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err == nil {
			err = r.add(document)
		}
		if err != nil {
			return nil, fmt.Errorf("read the rendered manifests: %w", err)
		}
	}
}

func (r *Rendered) add(document []byte) error {
	var meta metav1.PartialObjectMetadata
	if err := strict.Unmarshal(document, &meta); err != nil {
		return err
	}
	kept := &r.Others
	var err error
	switch meta.Kind {
	case "Deployment":
		kept = &r.Workloads
		var object appsv1.Deployment
		err = strict.UnmarshalStrict(document, &object)
		replicas := 1
		if object.Spec.Replicas != nil {
			replicas = int(*object.Spec.Replicas)
		}
		r.pods[meta.Name] = Pod{PodTemplateSpec: object.Spec.Template, Namespace: meta.Namespace, Replicas: replicas}
	case "DaemonSet":
		kept = &r.Workloads
		var object appsv1.DaemonSet
		err = strict.UnmarshalStrict(document, &object)
		r.pods[meta.Name] = Pod{PodTemplateSpec: object.Spec.Template, Namespace: meta.Namespace}
	case "ConfigMap":
		var object corev1.ConfigMap
		err = strict.UnmarshalStrict(document, &object)
		r.configMaps[meta.Name] = object
	case "Secret":
		var object corev1.Secret
		err = strict.UnmarshalStrict(document, &object)
		r.secrets[meta.Name] = object
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", meta.Kind, meta.Name, err)
	}
	*kept = append(append(*kept, document...), "\n---\n"...)
	return nil
}

// Pod returns what the Deployment or DaemonSet of this name makes, or ErrMissing.
func (r *Rendered) Pod(workload string) (Pod, error) {
	pod, found := r.pods[workload]
	if !found {
		return Pod{}, fmt.Errorf("%w workload %s", ErrMissing, workload)
	}
	return pod, nil
}

// Accounts returns the ServiceAccounts of the pods that talk to the API server, each once.
func (r *Rendered) Accounts() []string {
	var accounts []string
	for _, pod := range r.pods {
		if mounts := pod.Spec.AutomountServiceAccountToken; mounts == nil || *mounts {
			accounts = append(accounts, pod.Spec.ServiceAccountName)
		}
	}
	slices.Sort(accounts)
	return slices.Compact(accounts)
}

// Container returns a container or sidecar of the pod, or ErrMissing.
func (p *Pod) Container(name string) (corev1.Container, error) {
	for _, container := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		if container.Name == name {
			return container, nil
		}
	}
	return corev1.Container{}, fmt.Errorf("%w container %s", ErrMissing, name)
}

// Files returns the files of a volume that is a Secret, by name, or nil if it is another volume.
func (r *Rendered) Files(volume corev1.Volume) (map[string][]byte, error) {
	if volume.Secret == nil {
		return nil, nil
	}
	secret, found := r.secrets[volume.Secret.SecretName]
	if !found {
		return nil, fmt.Errorf("%w Secret %s", ErrMissing, volume.Secret.SecretName)
	}
	return secret.Data, nil
}
