package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubetypes "k8s.io/kubernetes/pkg/kubelet/types"
)

// configuration is the kubelet's own, with everything kept below the root folder, nothing listening, and no control
// groups, which the fake runtime has no use for. It makes the folders.
func (n *node) configuration() (*options.KubeletFlags, *kubeletconfig.KubeletConfiguration, error) {
	for _, folder := range []string{"static-pods", "pod-logs", "container-logs", "pki"} {
		if err := os.MkdirAll(filepath.Join(n.root, folder), 0o750); err != nil {
			return nil, nil, fmt.Errorf("make the kubelet's folders: %w", err)
		}
	}
	kubelet.ContainerLogsDir = filepath.Join(n.root, "container-logs")

	flags := options.NewKubeletFlags()
	flags.RootDirectory = n.root
	flags.CertDirectory = filepath.Join(n.root, "pki")
	flags.HostnameOverride = n.name
	flags.NodeIP = "127.0.0.1"
	flags.MinimumGCAge = metav1.Duration{Duration: time.Minute}
	flags.MaxContainerCount, flags.MaxPerPodContainerCount = 100, 2

	configuration, err := options.NewKubeletConfiguration()
	if err != nil {
		return nil, nil, fmt.Errorf("make the kubelet's configuration: %w", err)
	}
	configuration.Address = "127.0.0.1"
	configuration.EnableServer = false
	configuration.ReadOnlyPort, configuration.HealthzPort = 0, 0
	configuration.StaticPodPath = filepath.Join(n.root, "static-pods")
	configuration.PodLogsDir = filepath.Join(n.root, "pod-logs")
	configuration.RegisterNode = true
	configuration.ProviderID = "demo://" + n.name
	configuration.EnableControllerAttachDetach = true
	configuration.CgroupsPerQOS, configuration.CgroupRoot = false, ""
	configuration.HairpinMode = kubeletconfig.HairpinVeth
	configuration.ResolverConfig = kubetypes.ResolvConfDefault
	// The fake runtime has no file systems to run out of.
	configuration.EvictionHard, configuration.LocalStorageCapacityIsolation = map[string]string{}, false
	// Nobody answers there. Without an address every pod would get a warning.
	configuration.ClusterDNS = []string{"127.0.0.1"}
	// The default of a million may lie above what this process is allowed.
	configuration.MaxOpenFiles = 65536
	// A node's changes show within seconds; the lease that keeps it Ready has its usual timing.
	configuration.NodeStatusUpdateFrequency.Duration = 10 * time.Second
	configuration.SyncFrequency.Duration = 10 * time.Second
	return flags, configuration, nil
}
