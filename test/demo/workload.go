package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

//go:embed workload.yaml
var workloadYAML []byte

const (
	runningWithin = 4 * time.Minute
	lookEvery     = 250 * time.Millisecond
)

var errNotRunning = errors.New("the pod isn't running")

// place is where a running pod's volume is.
type place struct {
	namespace, pod, uid, node string
	volume                    string // name of the PersistentVolume
}

// createWorkload makes the workload and returns where its pod runs.
func createWorkload(ctx context.Context, client kubernetes.Interface) (place, error) {
	var workload appsv1.StatefulSet
	if err := yaml.UnmarshalStrict(workloadYAML, &workload); err != nil {
		return place{}, fmt.Errorf("read workload.yaml: %w", err)
	}
	if _, err := client.AppsV1().StatefulSets(workload.Namespace).Create(ctx, &workload, metav1.CreateOptions{}); err != nil {
		return place{}, fmt.Errorf("create the workload: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, runningWithin)
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		where, err := findWorkload(ctx, client, place{namespace: workload.Namespace, pod: workload.Name + "-0"})
		if err == nil {
			return where, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return place{}, fmt.Errorf("wait for the workload: %w: %w", context.Cause(ctx), err)
		}
	}
}

// findWorkload returns where the pod of that name runs now.
func findWorkload(ctx context.Context, client kubernetes.Interface, known place) (place, error) {
	namespace, name := known.namespace, known.pod
	pod, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return place{}, fmt.Errorf("look at pod %s: %w", name, err)
	}
	if pod.Status.Phase != corev1.PodRunning {
		return place{}, fmt.Errorf("%w: %s is %s on node %q", errNotRunning, name, pod.Status.Phase, pod.Spec.NodeName)
	}
	claim, err := client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, pod.Spec.Volumes[0].PersistentVolumeClaim.ClaimName, metav1.GetOptions{})
	if err != nil {
		return place{}, fmt.Errorf("look at the claim of pod %s: %w", name, err)
	}
	return place{namespace: namespace, pod: name, uid: string(pod.UID), node: pod.Spec.NodeName, volume: claim.Spec.VolumeName}, nil
}
