package cluster

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/test/manifests"
)

// kubeletFolder is kubelet's folder in the manifests.
const kubeletFolder = "/var/lib/kubelet"

// runningPod is a pod of the manifests whose containers run as processes of this machine.
type runningPod struct {
	cluster  *Cluster
	rendered *manifests.Rendered
	pod      manifests.Pod
	place    manifests.Place
}

// newPod prepares a place for a pod: folders for its volumes, with the files of Secrets in them, and an address for each of
// its ports. The pod's kubelet has its folder under root; it is empty for a pod that needs none.
func (c *Cluster) newPod(ctx context.Context, workload, name, node, root string) (*runningPod, error) {
	rendered, pod, err := c.pod(workload)
	if err != nil {
		return nil, err
	}
	p := &runningPod{cluster: c, rendered: rendered, pod: pod, place: manifests.Place{
		Name: name, Node: node, Folders: map[string]string{}, Addresses: map[int32]string{},
	}}
	for _, volume := range pod.Spec.Volumes {
		if p.place.Folders[volume.Name], err = p.folder(volume, root); err != nil {
			return nil, fmt.Errorf("volume %s of pod %s: %w", volume.Name, name, err)
		}
	}
	for _, container := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		for _, port := range container.Ports {
			address, err := freeAddresses(ctx, 1)
			if err != nil {
				return nil, err
			}
			p.place.Addresses[port.ContainerPort] = address[0]
		}
	}
	return p, nil
}

func (p *runningPod) folder(volume corev1.Volume, root string) (string, error) {
	if host := volume.HostPath; host != nil {
		below, found := strings.CutPrefix(host.Path, kubeletFolder)
		if !found {
			return host.Path, nil
		}
		return filepath.Join(root, below), os.MkdirAll(filepath.Join(root, below), 0o700)
	}
	folder := p.cluster.folder.path("pods", p.place.Name, volume.Name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	files, err := p.rendered.Files(volume)
	if err != nil {
		return "", err
	}
	return folder, writeFiles(folder, files)
}

// start runs a container's program, with the arguments of the manifests and these flags on top, under the pod's host name:
// sidecars tell each other apart by it.
func (p *runningPod) start(ctx context.Context, container, process, program string, flags ...string) (*process, error) {
	arguments, err := p.rendered.Arguments(p.pod, container, p.place)
	if err != nil {
		return nil, err
	}
	inPod := []string{"--uts", "sh", "-c", `hostname "$0" && exec "$@"`, p.place.Name, program}
	return p.cluster.folder.start(ctx, command{name: process, path: "/usr/bin/unshare", args: append(append(inPod, arguments...), flags...)})
}

// asAccount are the flags by which a process talks to the API server as its pod's ServiceAccount.
func (p *runningPod) asAccount() []string {
	return []string{"--kubeconfig", p.cluster.AccountKubeconfig(p.pod.Spec.ServiceAccountName), "--v=4"}
}

// url is where the container serves HTTP, on its first port.
func (p *runningPod) url(container string) (string, error) {
	c, err := p.pod.Container(container)
	if err != nil {
		return "", err
	}
	if len(c.Ports) == 0 {
		return "", fmt.Errorf("container %s: %w port", container, manifests.ErrMissing)
	}
	return "http://" + p.place.Addresses[c.Ports[0].ContainerPort], nil
}

// await returns when the container is ready by its readiness probe, and alive by its liveness probe.
func (p *runningPod) await(ctx context.Context, container string, started *process) error {
	c, err := p.pod.Container(container)
	if err != nil {
		return err
	}
	url, err := p.url(container)
	if err != nil {
		return err
	}
	for _, probe := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe} {
		if probe != nil && probe.HTTPGet != nil {
			if err := started.await(ctx, answers(http.DefaultClient, url+probe.HTTPGet.Path)); err != nil {
				return err
			}
		}
	}
	return nil
}
