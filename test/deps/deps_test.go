package deps

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "git.srvlab.io/whiskey/rds-csi-driver/"

// rule forbids the packages below from (itself included) to depend, directly or not, on those below any of to.
type rule struct {
	from string
	to   []string
	why  string
}

// alone ends the from of a rule that is about one package, without those below it.
const alone = "."

func (r rule) about(importPath string) bool {
	if from, found := strings.CutSuffix(r.from, alone); found {
		return importPath == module+from
	}
	return below(importPath, module+r.from)
}

func rules() []rule {
	clients := []string{"k8s.io/client-go/kubernetes", "k8s.io/client-go/informers", "k8s.io/client-go/rest"}
	grpc := []string{"google.golang.org/grpc", "github.com/container-storage-interface"}
	return []rule{
		{"pkg/attach", []string{module}, "attach decides on plain values and stands on nothing of ours"},
		{"pkg/attach", slices.Concat(grpc, clients), "attach sees the cluster through attach.Cluster only"},
		{"pkg/restart", slices.Concat(grpc, clients, []string{"k8s.io/api", module + "pkg/rds", module + "pkg/csi", module + "pkg/attach", module + "pkg/informers", module + "pkg/metrics"}), "restart sees the cluster through restart.Cluster only, and stands on the words of a volume's health alone"},
		{"pkg/rds", []string{module}, "rds stands on nothing of ours"},
		{"pkg/rds", slices.Concat(grpc, []string{"k8s.io/client-go", "k8s.io/api", "github.com/prometheus"}), "rds knows RouterOS and nothing else"},
		{"pkg/rds/transport", []string{module}, "transport carries text and knows no disk"},
		{"pkg/nvme", []string{module}, "nvme stands on nothing of ours"},
		{"pkg/nvme", slices.Concat(grpc, clients), "nvme knows the kernel and nothing else"},
		{"pkg/volumehealth", slices.Concat(grpc, clients, []string{module, "k8s.io/api"}), "who reports a reason and who acts on it share the word, and nothing else"},
		{"pkg/status", slices.Concat(grpc, clients, []string{"k8s.io/api", module + "pkg/rds", module + "pkg/csi", module + "pkg/informers", module + "pkg/metrics"}), "status judges plain values, as attach does, and reads nothing itself"},
		{"pkg/metrics", []string{module + "pkg/csi", module + "pkg/informers", module + "pkg/nvme"}, "metrics knows the values of its labels, and nobody who counts"},
		{"pkg/csi", slices.Concat(clients, []string{"k8s.io/api", module + "pkg/informers", module + "pkg/metrics"}), "csi sees the cluster through attach.Nodes only"},
		{"pkg/csi" + alone, []string{module + "pkg/csi/controller", module + "pkg/csi/node"}, "what each CSI process has knows neither service"},
		{"pkg/csi/controller", []string{module + "pkg/csi/node", "k8s.io/mount-utils"}, "the controller knows nothing of nodes' kernels"},
		{"pkg/csi/node", []string{module + "pkg/csi/controller"}, "the node knows nothing of the controller"},
		{"pkg/csi/internal", []string{module + "pkg/csi/controller", module + "pkg/csi/node"}, "what both services speak knows neither"},
		{"pkg/csi/node/host", []string{"github.com/container-storage-interface"}, "what a host does to devices and mounts knows no CSI message"},
		{"pkg/informers", slices.Concat(grpc, []string{module + "pkg/rds", module + "pkg/csi", module + "pkg/metrics"}), "informers knows Kubernetes and attach's words"},
		{"test/sim", []string{module + "pkg"}, "a simulator that shares our parser shares its bugs"},
		{"pkg", []string{module + "test", module + "cmd"}, "the product doesn't depend on its tests or mains"},
		{"cmd/rds-csi", []string{module + "test"}, "no test code is compiled into the shipped binary"},
	}
}

// importRule forbids the packages below from, apart from those below except, to import any of to themselves.
type importRule struct {
	from, except string
	to           []string
	why          string
}

func importRules() []importRule {
	return []importRule{
		{"pkg/rds", "pkg/rds/transport", []string{"golang.org/x/crypto/ssh", "github.com/pkg/sftp"}, "what knows disks doesn't know SSH"},
	}
}

type goPackage struct {
	ImportPath    string
	Imports, Deps []string
}

func TestDependencyDirection(t *testing.T) {
	packages := list(t)
	for _, rule := range rules() {
		if !slices.ContainsFunc(packages, func(p goPackage) bool { return rule.about(p.ImportPath) }) {
			t.Errorf("a rule is about %s, which doesn't exist", rule.from)
		}
	}
	for _, p := range packages {
		for _, rule := range rules() {
			if !rule.about(p.ImportPath) {
				continue
			}
			for _, dependency := range p.Deps {
				// What stands below the same folder is one thing.
				if forbidden(dependency, rule.to) && !below(dependency, module+rule.from) {
					t.Errorf("%s depends on %s: %s", p.ImportPath, dependency, rule.why)
				}
			}
		}
	}
}

func TestDirectImports(t *testing.T) {
	packages := list(t)
	for _, rule := range importRules() {
		imports := func(p goPackage) []string {
			return slices.DeleteFunc(slices.Clone(p.Imports), func(path string) bool { return !forbidden(path, rule.to) })
		}
		if !slices.ContainsFunc(packages, func(p goPackage) bool { return below(p.ImportPath, module+rule.except) && len(imports(p)) > 0 }) {
			t.Errorf("a rule excepts %s, which doesn't import any of %v", rule.except, rule.to)
		}
		for _, p := range packages {
			if found := imports(p); below(p.ImportPath, module+rule.from) && !below(p.ImportPath, module+rule.except) && len(found) > 0 {
				t.Errorf("%s imports %v: %s", p.ImportPath, found, rule.why)
			}
		}
	}
}

func list(t *testing.T) []goPackage {
	t.Helper()
	// What go list reads is none of what go test sees this test read. Reading it here keeps an old result from being taken
	// for today's.
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(entry.Name(), ".go") {
			return err
		}
		_, err = os.Stat(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", "../../...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("read go list's output: %v", err)
		}
		packages = append(packages, p)
	}
}

func forbidden(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return below(path, strings.TrimSuffix(prefix, "/")) })
}

func below(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }
