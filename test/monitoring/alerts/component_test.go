package alerts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/rulefmt"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"git.srvlab.io/whiskey/rds-csi-driver/test/monitoring/rulefile"
)

const component = "../../../manifests/components/monitoring"

// shipped is what the component adds to a cluster.
type shipped struct {
	podMonitors []monitoring.PodMonitor
	rules       []monitoring.PrometheusRule
	configMaps  []core.ConfigMap
}

// render returns what a kustomization gets that has the component. Fields that the objects' types don't know are errors.
func render(t *testing.T) shipped {
	t.Helper()
	folder := t.TempDir()
	path, err := filepath.Abs(component)
	if err != nil {
		t.Fatal(err)
	}
	if path, err = filepath.Rel(folder, path); err != nil {
		t.Fatal(err)
	}
	content := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\ncomponents: [" + path + "]\n"
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	var s shipped
	for _, object := range objects.Resources() {
		content, err := object.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		switch object.GetKind() {
		case "PodMonitor":
			s.podMonitors = append(s.podMonitors, decode[monitoring.PodMonitor](t, content))
		case "PrometheusRule":
			s.rules = append(s.rules, decode[monitoring.PrometheusRule](t, content))
		case "ConfigMap":
			s.configMaps = append(s.configMaps, decode[core.ConfigMap](t, content))
		default:
			t.Errorf("the component has a %s, which this test doesn't know", object.GetKind())
		}
	}
	if len(s.rules) != 1 || len(s.configMaps) != 1 {
		t.Fatalf("got %d PrometheusRules and %d ConfigMaps, want one of each", len(s.rules), len(s.configMaps))
	}
	return s
}

func decode[T any](t *testing.T, content []byte) (object T) {
	t.Helper()
	if err := yaml.UnmarshalStrict(content, &object); err != nil {
		t.Errorf("%v, in\n%s", err, content)
	}
	return object
}

// groups returns the rules, read and checked as Prometheus does.
func (s shipped) groups(t *testing.T) *rulefmt.RuleGroups {
	t.Helper()
	object, err := yaml.Marshal(s.rules[0])
	if err != nil {
		t.Fatal(err)
	}
	content, err := rulefile.Plain(object)
	if err != nil {
		t.Fatal(err)
	}
	groups, problems := rulefmt.Parse(content, false, model.LegacyValidation, promQL(), promslog.NewNopLogger())
	for _, problem := range problems {
		t.Error(problem)
	}
	if t.Failed() {
		t.FailNow()
	}
	return groups
}

// alerts returns the alerts in the order of the file.
func (s shipped) alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	var alerts []rulefmt.Rule
	for _, group := range s.groups(t).Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || slices.ContainsFunc(alerts, func(other rulefmt.Rule) bool { return other.Alert == rule.Alert }) {
				t.Errorf("group %s: %q is a recording rule, or an alert's name is there twice", group.Name, rule.Alert+rule.Record)
			}
			alerts = append(alerts, rule)
		}
	}
	return alerts
}

// jobs returns the jobs that the PodMonitors make.
func (s shipped) jobs() []string {
	var jobs []string
	for _, monitor := range s.podMonitors {
		jobs = append(jobs, monitor.Namespace+"/"+monitor.Name)
	}
	return jobs
}

func TestEveryProcessIsScraped(t *testing.T) {
	t.Parallel()
	s := render(t)
	var components []string
	for _, monitor := range s.podMonitors {
		labels := monitor.Spec.Selector.MatchLabels
		components = append(components, labels["app.kubernetes.io/component"])
		if len(labels) != 2 || labels["app.kubernetes.io/name"] != "rds-csi" || monitor.Namespace != "rds-csi" {
			t.Errorf("%s: selects %v in %s, want a component of rds-csi in its namespace", monitor.Name, labels, monitor.Namespace)
		}
		if len(monitor.Spec.PodMetricsEndpoints) != 1 || *monitor.Spec.PodMetricsEndpoints[0].Port != "metrics" {
			t.Errorf("%s: want the port named metrics", monitor.Name)
		}
	}
	slices.Sort(components)
	if want := []string{"controller", "node", "pod-restarter"}; !slices.Equal(components, want) {
		t.Errorf("got PodMonitors for %v, want %v", components, want)
	}
}

// Grafana's sidecar finds a dashboard by its label. Its name has no hash, so that a new version replaces the old one.
func TestTheDashboardIsFoundByGrafana(t *testing.T) {
	t.Parallel()
	dashboard := render(t).configMaps[0]
	if dashboard.Name != "rds-csi-dashboard" || dashboard.Namespace != "rds-csi" || dashboard.Labels["grafana_dashboard"] != "1" {
		t.Errorf("got %s/%s with labels %v", dashboard.Namespace, dashboard.Name, dashboard.Labels)
	}
	for name := range dashboard.Data {
		if !strings.HasSuffix(name, ".json") || len(dashboard.Data) != 1 {
			t.Errorf("got file %s, want one that ends with .json", name)
		}
	}
}
