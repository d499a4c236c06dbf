package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	cadvisorapi "github.com/google/cadvisor/lib/model"
	"go.opentelemetry.io/otel/trace/noop"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	remote "k8s.io/cri-client/pkg"
	fakeremote "k8s.io/cri-client/pkg/fake"
	"k8s.io/klog/v2"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/pkg/kubelet"
	cadvisortest "k8s.io/kubernetes/pkg/kubelet/cadvisor/testing"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
	probetest "k8s.io/kubernetes/pkg/kubelet/prober/testing"
	kubeletutil "k8s.io/kubernetes/pkg/kubelet/util"
	"k8s.io/kubernetes/pkg/util/oom"
	"k8s.io/kubernetes/pkg/volume/util/hostutil"
	"k8s.io/kubernetes/pkg/volume/util/subpath"
	"k8s.io/mount-utils"
)

const (
	runtimeWithin   = 15 * time.Second
	heartbeatWithin = 10 * time.Second
)

// machine answers the kubelet's questions about the hardware. The identity is the part that is ours: the driver tells
// two machines of one node name apart by it.
type machine struct {
	cadvisortest.Fake
	identity string
}

// MachineInfo describes a small machine under our identity.
func (m *machine) MachineInfo(logger klog.Logger) (*cadvisorapi.MachineInfo, error) {
	info, err := m.Fake.MachineInfo(logger)
	if err != nil {
		return nil, err
	}
	info.MachineID, info.SystemUUID = m.identity, m.identity
	return info, nil
}

// VersionInfo keeps the fake's ancient operating system from puzzling whoever lists nodes.
func (m *machine) VersionInfo() (*cadvisorapi.VersionInfo, error) {
	return &cadvisorapi.VersionInfo{KernelVersion: "fake", ContainerOsVersion: "fake (pods run no program)", DockerVersion: "fake"}, nil
}

// dependencies are the kubelet's: real ones for the API server, volumes and mounts, fake ones for containers. The
// function ends the fake runtime.
func (n *node) dependencies(ctx context.Context) (*kubelet.Dependencies, func(), error) {
	clients, err := n.clients()
	if err != nil {
		return nil, nil, err
	}
	plugins, err := kubeletapp.ProbeVolumePlugins(ctx, utilfeature.DefaultFeatureGate)
	if err != nil {
		return nil, nil, fmt.Errorf("list volume plugins: %w", err)
	}
	endpoint := "unix://" + filepath.Join(n.root, "cri.sock")
	runtime := fakeremote.NewFakeRemoteRuntime()
	if err := runtime.Start(endpoint); err != nil {
		return nil, nil, fmt.Errorf("start the fake container runtime: %w", err)
	}
	service, err := remote.NewRemoteRuntimeServiceBuilder().WithEndpoint(endpoint).WithConnectionTimeout(runtimeWithin).Build(ctx)
	if err != nil {
		runtime.Stop()
		return nil, nil, fmt.Errorf("reach the fake container runtime: %w", err)
	}
	mounter := mount.New("")
	return &kubelet.Dependencies{
		KubeClient:                clients.ordinary,
		HeartbeatClient:           clients.heartbeat,
		EventClient:               clients.ordinary.CoreV1(),
		VolumePlugins:             plugins,
		Mounter:                   mounter,
		Subpather:                 subpath.New(mounter),
		HostUtil:                  hostutil.NewHostUtil(),
		OSInterface:               kubecontainer.RealOS{},
		RemoteRuntimeService:      service,
		RemoteImageService:        runtime.ImageService,
		CAdvisorInterface:         &machine{Fake: cadvisortest.Fake{NodeName: n.name}, identity: n.machine},
		ContainerManager:          cm.NewStubContainerManager(),
		OOMAdjuster:               oom.NewFakeOOMAdjuster(),
		ProbeManager:              probetest.FakeManager{},
		PodStartupLatencyTracker:  kubeletutil.NewPodStartupLatencyTracker(),
		NodeStartupLatencyTracker: kubeletutil.NewNodeStartupLatencyTracker(klog.FromContext(ctx)),
		TracerProvider:            noop.NewTracerProvider(),
	}, runtime.Stop, nil
}

type clients struct{ ordinary, heartbeat *clientset.Clientset }

// clients are two because the lease that keeps the Node Ready must never queue behind other requests.
func (n *node) clients() (*clients, error) {
	config, err := clientcmd.BuildConfigFromFlags("", n.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", n.kubeconfig, err)
	}
	config.QPS, config.Burst = 50, 100
	ordinary, err := clientset.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	heartbeatConfig := rest.CopyConfig(config)
	heartbeatConfig.QPS, heartbeatConfig.Timeout = -1, heartbeatWithin
	heartbeat, err := clientset.NewForConfig(heartbeatConfig)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return &clients{ordinary: ordinary, heartbeat: heartbeat}, nil
}
