package apiserver

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/test/docs"
)

// What docs/install.md has people do, with the address of this appliance in the place of the page's. The API server only
// checks what is applied.
func TestTheInstallationAsThePageSays(t *testing.T) {
	makeDefaultAccount(t, metav1.NamespaceDefault)
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "manifests"), os.DirFS("../../manifests")); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(api.ApplianceSSH())
	if err != nil {
		t.Fatal(err)
	}
	script := strings.Join(docs.Blocks(t, "../..", "install.md", "sh"), "\n")
	here := strings.NewReplacer(
		"-p 22 192.0.2.10", "-p "+port+" "+host,
		"kubectl apply", "kubectl apply --dry-run=server",
		"kubectl get pod rds-example", "", "kubectl delete", "kubectl delete --dry-run=server --ignore-not-found",
	).Replace(script)
	out := follow(t, folder, here)
	for _, want := range []string{"deployment.apps/rds-csi-controller", "daemonset.apps/rds-csi-node", "persistentvolumeclaim/rds-example"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s wasn't applied:\n%s", want, out)
		}
	}
	known, err := os.ReadFile(filepath.Join(folder, "my-cluster", "known_hosts"))
	if err != nil || !strings.Contains(string(known), host) {
		t.Errorf("known_hosts: %q, %v", known, err)
	}
}

// The components need CustomResourceDefinitions, which this API server doesn't have: only what comes out is looked at.
func TestEveryOptionRenders(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "manifests"), os.DirFS("../../manifests")); err != nil {
		t.Fatal(err)
	}
	components, err := filepath.Glob(filepath.Join(folder, "manifests", "components", "*", "kustomization.yaml"))
	if err != nil || len(components) == 0 {
		t.Fatalf("components: %v, %v", components, err)
	}
	names := make([]string, len(components))
	for i, component := range components {
		names[i] = "../manifests/components/" + filepath.Base(filepath.Dir(component))
	}
	kustomization := "resources: [../manifests, ../manifests/pod-restarter]\ncomponents: [" + strings.Join(names, ", ") + "]\n"
	if err := os.MkdirAll(filepath.Join(folder, "all"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "all", "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		t.Fatal(err)
	}
	out := follow(t, folder, "kubectl kustomize all")
	for _, kind := range []string{"PodMonitor", "PrometheusRule", "StorageProfile", "Deployment", "DaemonSet"} {
		if !strings.Contains(out, "kind: "+kind+"\n") {
			t.Errorf("no %s is rendered", kind)
		}
	}
}
