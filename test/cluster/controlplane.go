package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	serviceRange   = "10.96.0.0/16"
	firstServiceIP = "10.96.0.1"
	// featureGates: kubelets write what NodeGetVolumeHealth answers into pods' status, and the API server keeps it there.
	// The harness' kubelet switches it on, too.
	featureGates = "CSIVolumeHealth=true"
)

// names of the kubeconfig files and of the processes that use them
const (
	adminUser         = "admin"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
)

// startControlPlane brings up etcd, the API server, the controller manager and the scheduler. The controller manager
// keeps its usual timers: they are what an outage lasts in people's clusters.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	return c.take(ctx, (*Cluster).writeKeys, (*Cluster).startEtcd, (*Cluster).startAPIServer, (*Cluster).startControllerManager, (*Cluster).startScheduler)
}

// writeKeys makes the run's authority, its certificates, and the kubeconfigs of everybody who shows a certificate.
func (c *Cluster) writeKeys(context.Context) error {
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	server, err := authority.server()
	if err != nil {
		return err
	}
	if err := writeSigningKey(c.folder.path("pki"), "accounts"); err != nil {
		return err
	}
	err = writeFiles(c.folder.path("pki"), map[string][]byte{
		"ca.crt": authority.pem, "server.crt": server.certificate, "server.key": server.key, "audit.yaml": []byte(auditPolicy),
	})
	if err != nil {
		return err
	}
	c.identities = &identities{folder: c.folder, authority: authority, server: "https://" + c.addresses.api}
	if err := c.identities.certified(adminUser, adminUser, "system:masters"); err != nil {
		return err
	}
	for _, user := range []string{controllerManager, scheduler} {
		if err := c.identities.certified(user, "system:"+user); err != nil {
			return err
		}
	}
	for _, node := range c.nodes {
		if err := c.identities.certified(node.process("kubelet"), "system:node:"+node.Name, "system:nodes"); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) startEtcd(ctx context.Context) error {
	client, peer := "http://"+c.addresses.etcd, "http://"+c.addresses.etcdPeer
	etcd, err := c.folder.start(ctx, command{name: "etcd", path: c.harness("etcd"), args: []string{
		"--data-dir", c.folder.path("etcd"), "--unsafe-no-fsync", "--log-level", "warn",
		// As kubeadm sets it: this is how the API server learns that nothing happened, for its watch bookmarks.
		"--watch-progress-notify-interval", "5s",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
	}})
	if err != nil {
		return err
	}
	if err := etcd.await(ctx, answers(http.DefaultClient, client+"/health")); err != nil {
		return err
	}
	c.progress("etcd answers")
	return nil
}

// RestartAPIServer ends the API server with SIGKILL, and returns when a new one is ready at the same address.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	if err := c.kill(apiServer); err != nil {
		return err
	}
	return c.startAPIServer(ctx)
}

func (c *Cluster) startAPIServer(ctx context.Context) error {
	host, port, err := net.SplitHostPort(c.addresses.api)
	if err != nil {
		return fmt.Errorf("API server address: %w", err)
	}
	args := append([]string{
		apiServer,
		"--bind-address", host, "--advertise-address", host, "--secure-port", port, "--endpoint-reconciler-type", "none",
		"--etcd-servers", "http://" + c.addresses.etcd, "--service-cluster-ip-range", serviceRange,
		"--client-ca-file", c.folder.path("pki", "ca.crt"),
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-signing-key-file", c.folder.path("pki", "accounts.key"), "--service-account-key-file", c.folder.path("pki", "accounts.pub"),
		"--audit-policy-file", c.folder.path("pki", "audit.yaml"), "--audit-log-path", c.auditLog(), "--audit-log-mode", "blocking",
		// Kubelets and ServiceAccounts may do what they may in a real cluster, and no more.
		"--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction", "--allow-privileged",
		"--feature-gates", featureGates,
	}, c.serving()...)
	server, err := c.folder.start(ctx, command{name: apiServer, path: c.harness("controlplane"), args: args})
	if err != nil {
		return err
	}
	if c.client, err = newClient(c.Kubeconfig()); err != nil {
		return err
	}
	if err := server.await(ctx, func(ctx context.Context) error {
		return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}); err != nil {
		return err
	}
	c.progress("API server is ready at https://%s", c.addresses.api)
	return nil
}

func (c *Cluster) startControllerManager(ctx context.Context) error {
	args := append(c.component(controllerManager, c.addresses.controllerManager),
		"--service-account-private-key-file", c.folder.path("pki", "accounts.key"), "--root-ca-file", c.folder.path("pki", "ca.crt"),
		"--use-service-account-credentials",
		// How the attach-detach controller and pod garbage collection decide can be read in the log.
		"--vmodule=reconciler=5,attach_detach_controller=4,operation_generator=4,csi_attacher=4,gc_controller=4")
	manager, err := c.folder.start(ctx, command{name: controllerManager, path: c.harness("controlplane"), args: args})
	if err != nil {
		return err
	}
	// Pods of a namespace can't be made before its default ServiceAccount is.
	if err := manager.await(ctx, func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	}); err != nil {
		return err
	}
	c.progress("controller manager works")
	return nil
}

func (c *Cluster) startScheduler(ctx context.Context) error {
	process, err := c.folder.start(ctx, command{name: scheduler, path: c.harness("controlplane"), args: c.component(scheduler, c.addresses.scheduler)})
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.identities.authority.certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	if err := process.await(ctx, answers(&http.Client{Transport: transport}, "https://"+c.addresses.scheduler+"/healthz")); err != nil {
		return err
	}
	c.progress("scheduler answers")
	return nil
}

// component is the command line that the controller manager and the scheduler share.
func (c *Cluster) component(name, address string) []string {
	host, port, _ := net.SplitHostPort(address) // made by freeAddresses
	kubeconfig := c.identities.file(name)
	return append([]string{
		name, "--kubeconfig", kubeconfig, "--authentication-kubeconfig", kubeconfig, "--authorization-kubeconfig", kubeconfig,
		"--leader-elect=false", "--bind-address", host, "--secure-port", port, "--v=2", "--feature-gates", featureGates,
	}, c.serving()...)
}

func (c *Cluster) serving() []string {
	return []string{"--tls-cert-file", c.folder.path("pki", "server.crt"), "--tls-private-key-file", c.folder.path("pki", "server.key")}
}
