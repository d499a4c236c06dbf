package alerts

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	csispec "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
)

// family is what is known of a metric.
type family struct {
	kind dto.MetricType
	// labels has the values of each label. A label without values may have any.
	labels map[string][]string
}

// pending are the driver's metrics that no registry has yet. As soon as one has, a test wants it out of here.
func pending() map[string]family {
	return map[string]family{}
}

// laterOnly are the metrics that are registered and have no series before something happens. A registry tells their names
// and labels, but not their types.
func laterOnly() map[string]family {
	pool := map[string][]string{"pool": nil}
	calls := map[string][]string{"driver_name": {csi.DriverName}}
	for _, service := range []grpc.ServiceDesc{csispec.Controller_ServiceDesc, csispec.Node_ServiceDesc, csispec.Identity_ServiceDesc} {
		for _, method := range service.Methods {
			calls["method_name"] = append(calls["method_name"], method.MethodName)
		}
	}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		calls["grpc_status_code"] = append(calls["grpc_status_code"], code.String())
	}
	return map[string]family{
		"csi_plugin_operations_seconds": {dto.MetricType_HISTOGRAM, calls},
		"rds_csi_build_info":            {dto.MetricType_GAUGE, map[string][]string{"version": nil, "goversion": nil}},
		"rds_csi_pool_size_bytes":       {dto.MetricType_GAUGE, pool},
		"rds_csi_pool_free_bytes":       {dto.MetricType_GAUGE, pool},
		"rds_csi_pool_mounted":          {dto.MetricType_GAUGE, pool},
		"rds_csi_pool_state":            {dto.MetricType_GAUGE, map[string][]string{"pool": nil, "state": nil}},
		"rds_csi_appliance_info":        {dto.MetricType_GAUGE, map[string][]string{"version": nil}},
		"rds_csi_appliance_up":          {kind: dto.MetricType_GAUGE},
	}
}

// others are the metrics that aren't the driver's: client-go's, which the driver serves beside its own, and Prometheus' own.
func others() map[string]family {
	queue := map[string][]string{"name": nil}
	return map[string]family{
		"up":                               {kind: dto.MetricType_GAUGE},
		"workqueue_depth":                  {dto.MetricType_GAUGE, queue},
		"workqueue_queue_duration_seconds": {dto.MetricType_HISTOGRAM, queue},
		"workqueue_retries_total":          {dto.MetricType_COUNTER, queue},
		"rest_client_requests_total":       {dto.MetricType_COUNTER, map[string][]string{"code": nil, "method": nil, "host": nil}},
	}
}

// targetLabels are those that each series has from its target, by the PodMonitors.
func targetLabels(s shipped) map[string][]string {
	return map[string][]string{"job": s.jobs(), "instance": nil, "namespace": {"rds-csi"}, "pod": nil, "container": nil, "endpoint": {"metrics"}, "node": nil}
}

// registries returns those of every process of the driver.
func registries() []*prometheus.Registry {
	return []*prometheus.Registry{metrics.NewController().Registry(), metrics.New().Registry(), metrics.NewRestarter().Registry()}
}

// known returns every metric that alerts, dashboard and runbooks may name.
func known(t *testing.T) map[string]family {
	t.Helper()
	all := map[string]family{}
	for _, list := range []map[string]family{pending(), laterOnly(), others()} {
		maps.Copy(all, list)
	}
	for _, registry := range registries() {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, gathered := range families {
			add(all, gathered)
		}
	}
	return all
}

func add(known map[string]family, gathered *dto.MetricFamily) {
	f, found := known[gathered.GetName()]
	if !found {
		f = family{gathered.GetType(), map[string][]string{}}
		known[gathered.GetName()] = f
	}
	for _, series := range gathered.GetMetric() {
		for _, label := range series.GetLabel() {
			if !slices.Contains(f.labels[label.GetName()], label.GetValue()) {
				f.labels[label.GetName()] = append(f.labels[label.GetName()], label.GetValue())
			}
		}
	}
}

var description = regexp.MustCompile(`fqName: "([^"]*)".*variableLabels: \{([^}]*)\}`)

// The lists above stand for what can't be gathered. They neither lack a metric of the driver nor have one for good.
func TestTheListsOfMetricsAreRight(t *testing.T) {
	t.Parallel()
	all, described := known(t), map[string][]string{}
	for _, registry := range registries() {
		descriptions := make(chan *prometheus.Desc)
		go func() {
			defer close(descriptions)
			registry.Describe(descriptions)
		}()
		for one := range descriptions {
			found := description.FindStringSubmatch(one.String())
			described[found[1]] = strings.FieldsFunc(found[2], func(r rune) bool { return r == ',' })
			if _, isKnown := all[found[1]]; !isKnown && !strings.HasPrefix(found[1], "go_") && !strings.HasPrefix(found[1], "process_") {
				t.Errorf("%s is registered, and isn't gathered: add it to laterOnly", found[1])
			}
		}
	}
	for name := range pending() {
		if _, registered := described[name]; registered {
			t.Errorf("%s is registered: take it out of pending, and add it to laterOnly if it has no series at first", name)
		}
	}
	for name, f := range laterOnly() {
		if got, want := slices.Sorted(slices.Values(described[name])), slices.Sorted(maps.Keys(f.labels)); !slices.Equal(got, want) {
			t.Errorf("%s has the labels %v in laterOnly, and %v in the registry", name, want, got)
		}
	}
}

// find returns the metric that a series belongs to, and the end of the series' name: _bucket, _sum, _count or nothing.
func find(known map[string]family, series string) (found family, end string, err error) {
	if f, found := known[series]; found && f.kind != dto.MetricType_HISTOGRAM {
		return f, "", nil
	}
	for _, end := range []string{"_bucket", "_sum", "_count"} {
		if f, found := known[strings.TrimSuffix(series, end)]; found && strings.HasSuffix(series, end) && f.kind == dto.MetricType_HISTOGRAM {
			return f, end, nil
		}
	}
	return family{}, "", fmt.Errorf("no process of the driver has the series %s", series)
}

// checker checks the series of expressions.
type checker struct {
	known  map[string]family
	target map[string][]string
}

func newChecker(t *testing.T, s shipped) checker {
	t.Helper()
	return checker{known(t), targetLabels(s)}
}

// problems returns what of the expression doesn't exist: metrics, labels, values of labels; and rates of what is no counter.
func (c checker) problems(expression parser.Expr) []error {
	var problems []error
	usable := maps.Clone(c.target)
	usable["le"] = nil
	parser.Inspect(expression, func(node parser.Node, path []parser.Node) error {
		selector, is := node.(*parser.VectorSelector)
		if !is {
			return nil
		}
		f, end, err := find(c.known, selector.Name)
		if err != nil {
			problems = append(problems, err)
			return nil
		}
		maps.Copy(usable, f.labels)
		problems = append(problems, c.matchers(selector, f)...)
		if of := functionAround(path); (of == "rate" || of == "increase" || of == "irate") && f.kind != dto.MetricType_COUNTER && end == "" {
			problems = append(problems, fmt.Errorf("%s(%s): that is no counter", of, selector.Name))
		}
		return nil
	})
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		var names []string
		switch node := node.(type) {
		case *parser.AggregateExpr:
			names = node.Grouping
		case *parser.BinaryExpr:
			if node.VectorMatching != nil {
				names = node.VectorMatching.MatchingLabels
			}
		}
		for _, name := range names {
			if _, found := usable[name]; !found {
				problems = append(problems, fmt.Errorf("%s: no series in it has the label %s", node, name))
			}
		}
		return nil
	})
	return problems
}

func functionAround(path []parser.Node) string {
	for _, node := range slices.Backward(path) {
		if call, is := node.(*parser.Call); is {
			return call.Func.Name
		}
	}
	return ""
}

// matchers returns which of the selector's matchers name labels or values that don't exist.
func (c checker) matchers(selector *parser.VectorSelector, f family) []error {
	var problems []error
	for _, matcher := range selector.LabelMatchers {
		if matcher.Name == model.MetricNameLabel {
			continue
		}
		values, found := f.labels[matcher.Name]
		if !found {
			values, found = c.target[matcher.Name]
		}
		switch {
		case !found:
			problems = append(problems, fmt.Errorf("%s has no label %s", selector.Name, matcher.Name))
		case len(values) > 0 && !matchesKnown(matcher, values):
			problems = append(problems, fmt.Errorf("%s: %s names a value that isn't one of %v", selector.Name, matcher, values))
		}
	}
	return problems
}

// matchesKnown is true if each value that the matcher names is known, or a pattern matches a known one.
func matchesKnown(matcher *labels.Matcher, values []string) bool {
	if matcher.Type == labels.MatchEqual || matcher.Type == labels.MatchNotEqual {
		return slices.Contains(values, matcher.Value)
	}
	pattern := labels.MustNewMatcher(labels.MatchRegexp, matcher.Name, matcher.Value)
	if named := pattern.SetMatches(); len(named) > 0 {
		return !slices.ContainsFunc(named, func(value string) bool { return !slices.Contains(values, value) })
	}
	return slices.ContainsFunc(values, pattern.Matches)
}

func TestAlertsNameWhatExists(t *testing.T) {
	t.Parallel()
	s := render(t)
	check := newChecker(t, s)
	for _, alert := range s.alerts(t) {
		for _, problem := range check.problems(parse(t, alert.Expr)) {
			t.Errorf("%s: %v", alert.Alert, problem)
		}
	}
}

// The series of the alerts' own tests exist as well: a test on a series that nobody serves proves nothing.
func TestTheTestsOfAlertsNameWhatExists(t *testing.T) {
	t.Parallel()
	s := render(t)
	check := newChecker(t, s)
	// What other jobs and drivers serve is in the tests, to show that it doesn't count.
	check.target["job"] = append(check.target["job"], "kubelet")
	driver := check.known["csi_plugin_operations_seconds"].labels
	driver["driver_name"] = append(driver["driver_name"], "ebs.csi.aws.com")
	for _, alert := range s.alerts(t) {
		content, err := os.ReadFile(testFile(alert.Alert))
		if err != nil {
			t.Fatal(err)
		}
		for _, series := range regexp.MustCompile(`series: '([^']*)'`).FindAllStringSubmatch(string(content), -1) {
			for _, problem := range check.problems(parse(t, series[1])) {
				t.Errorf("%s: %v", testFile(alert.Alert), problem)
			}
		}
	}
}

func TestTheCheckOfSeriesFindsWhatDoesNotExist(t *testing.T) {
	t.Parallel()
	check := newChecker(t, render(t))
	for query, want := range map[string]string{
		`rds_csi_leader == 1`:                                                                 "",
		`rds_csi_no_such_metric`:                                                              "no process",
		`rds_csi_leader_total`:                                                                "no process",
		`rds_csi_leader{colour="1"}`:                                                          "no label colour",
		`sum by (colour) (rds_csi_orphans{kind="disk_without_pv"})`:                           "the label colour",
		`rds_csi_orphans and on (colour) rds_csi_leader`:                                      "the label colour",
		`rds_csi_orphans{kind="disk_without_pw"}`:                                             "isn't one of",
		`rds_csi_orphans{kind!="disk_without_pw"}`:                                            "isn't one of",
		`rds_csi_orphans{kind=~"disk_without_pv|no_such_kind"}`:                               "isn't one of",
		`rds_csi_orphans{kind=~"disk.+"}`:                                                     "",
		`rds_csi_orphans{kind=~"disc.+"}`:                                                     "isn't one of",
		`up{job="rds-csi/rds-csi-nodes"}`:                                                     "isn't one of",
		`csi_plugin_operations_seconds_count{grpc_status_code="unavailable"}`:                 "isn't one of",
		`csi_plugin_operations_seconds_count{method_name="ControllerAttach"}`:                 "isn't one of",
		`csi_plugin_operations_seconds`:                                                       "no process",
		`rate(csi_plugin_operations_seconds_bucket{grpc_status_code="OK"}[5m])`:               "",
		`increase(rds_csi_leader[5m])`:                                                        "no counter",
		`histogram_quantile(0.9, sum by (le, command) (rate(rds_csi_leader[5m])))`:            "no counter",
		`rate(rds_csi_stale_attachments_cleared_total[5m]) * on (node) group_left () go_info`: "",
	} {
		problems := check.problems(parse(t, query))
		if (len(problems) == 0) != (want == "") || want != "" && !strings.Contains(fmt.Sprint(problems), want) {
			t.Errorf("%s: got %v, want %q", query, problems, want)
		}
	}
}
