package alerts

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	prometheusquery "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// classic is the format that Grafana's sidecar takes from ConfigMaps, and that every Grafana reads.
type classic = dashboard.Dashboard //nolint:staticcheck // its successor is for the API of Grafana 12

// readDashboard reads the dashboard by Grafana's schema. What the schema doesn't know is an error.
func readDashboard(t *testing.T) classic {
	t.Helper()
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheusquery.VariantConfig())
	var d classic
	for _, content := range render(t).configMaps[0].Data {
		// It returns an empty list of errors instead of nil, and takes that for an error itself: so it reads nothing.
		if err := new(classic).UnmarshalJSONStrict([]byte(content)); err != nil && err.Error() != "" {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(content), &d); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	return d
}

// panels returns the panels that show something.
func panels(d classic) []dashboard.Panel {
	var shown []dashboard.Panel
	for _, item := range d.Panels {
		if item.Panel != nil {
			shown = append(shown, *item.Panel)
		}
	}
	return shown
}

func TestTheDashboardHasARowForEachConcern(t *testing.T) {
	t.Parallel()
	var rows []string
	for _, item := range readDashboard(t).Panels {
		if item.RowPanel != nil {
			rows = append(rows, *item.RowPanel.Title)
		}
	}
	if want := []string{"Failover", "Attachments", "Appliance", "CSI calls", "Nodes"}; !slices.Equal(rows, want) {
		t.Errorf("got rows %v, want %v", rows, want)
	}
}

// query replaces what Grafana fills in.
func query(expression string) string {
	return strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$node", ".*").Replace(expression)
}

func TestEachQueryOfTheDashboardNamesWhatExists(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	check := newChecker(t, render(t))
	expressions := map[string][]string{}
	for _, panel := range panels(d) {
		letters := map[string]bool{}
		for _, target := range panel.Targets {
			q, is := target.(*prometheusquery.Dataquery)
			if !is || q.Expr == "" || q.RefId == nil || letters[*q.RefId] {
				t.Fatalf("%s: a target is no query of Prometheus, is empty, or has another one's letter: %#v", *panel.Title, target)
			}
			letters[*q.RefId] = true
			expressions[*panel.Title] = append(expressions[*panel.Title], q.Expr)
		}
		if len(panel.Targets) == 0 {
			t.Errorf("%s shows nothing", *panel.Title)
		}
	}
	for _, annotation := range d.Annotations.List {
		expressions[annotation.Name] = append(expressions[annotation.Name], *annotation.Expr)
	}
	for title, all := range expressions {
		for _, expression := range all {
			for _, problem := range check.problems(parse(t, query(expression))) {
				t.Errorf("%s: %v", title, problem)
			}
		}
	}
}

// Every metric of the driver but those that only describe the process is of use on the dashboard.
func TestTheDashboardShowsEveryMetricOfTheDriver(t *testing.T) {
	t.Parallel()
	content, err := json.Marshal(readDashboard(t))
	if err != nil {
		t.Fatal(err)
	}
	for name := range known(t) {
		if strings.HasPrefix(name, "rds_csi_") && name != "rds_csi_pod_restarter_leader" && name != "rds_csi_pod_restart_actions_total" && !strings.Contains(string(content), name) {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func TestPanelsHaveTheirOwnPlaceAndTheDatasourceOfTheVariable(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	type rectangle struct {
		title      string
		id         uint32
		x, y, w, h uint32
	}
	var placed []rectangle
	place := func(title *string, id *uint32, at *dashboard.GridPos) {
		if title == nil || id == nil || at == nil {
			t.Fatalf("a panel lacks a title, an ID or a place: %v, %v, %v", title, id, at)
		}
		placed = append(placed, rectangle{*title, *id, at.X, at.Y, at.W, at.H})
	}
	for _, item := range d.Panels {
		if row := item.RowPanel; row != nil {
			place(row.Title, &row.Id, row.GridPos)
			continue
		}
		place(item.Panel.Title, item.Panel.Id, item.Panel.GridPos)
		if source := item.Panel.Datasource; source == nil || source.Uid == nil || *source.Uid != "${datasource}" {
			t.Errorf("%s has a datasource of its own", *item.Panel.Title)
		}
	}
	for i, a := range placed {
		if a.x+a.w > 24 || a.w == 0 || a.h == 0 {
			t.Errorf("%s is wider than the page, or has no size", a.title)
		}
		for _, b := range placed[:i] {
			if a.id == b.id {
				t.Errorf("%s and %s have one ID", a.title, b.title)
			}
			if a.x < b.x+b.w && b.x < a.x+a.w && a.y < b.y+b.h && b.y < a.y+a.h {
				t.Errorf("%s lies over %s", a.title, b.title)
			}
		}
	}
	variables := []string{}
	for _, variable := range d.Templating.List {
		variables = append(variables, fmt.Sprint(variable.Type, " ", variable.Name))
	}
	if want := []string{"datasource datasource", "query node"}; !slices.Equal(variables, want) {
		t.Errorf("got variables %v, want %v", variables, want)
	}
}
