package alerts

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

func promQL() parser.Parser { return parser.NewParser(parser.Options{}) }

func parse(t *testing.T, query string) parser.Expr {
	t.Helper()
	expression, err := promQL().ParseExpr(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return expression
}

// promtool runs promtool in the folder.
func promtool(t *testing.T, folder string, arguments ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), promtoolProgram, arguments...)
	command.Dir = folder
	out, err := command.CombinedOutput()
	return string(out), err
}

// try runs the alert's test file on the alert. Annotations are left out: promtool would want their text in each test.
func try(t *testing.T, alert rulefmt.Rule) (string, error) {
	t.Helper()
	folder := t.TempDir()
	alert.Annotations = nil
	rules, err := yaml.Marshal(rulefmt.RuleGroups{Groups: []rulefmt.RuleGroup{{Name: "alert", Rules: []rulefmt.Rule{alert}}}})
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(testFile(alert.Alert))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"rules.yaml": rules, "tests.yaml": tests} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return promtool(t, folder, "test", "rules", "tests.yaml")
}

func testFile(alert string) string { return filepath.Join("testdata", alert+".yaml") }

// cases are what these tests read of a test file of promtool.
type cases struct {
	Tests []struct {
		Name   string
		Alerts []struct {
			Name     string `yaml:"alertname"`
			Expected []struct {
				Labels map[string]string `yaml:"exp_labels"`
			} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

func readCases(t *testing.T, alert string) cases {
	t.Helper()
	content, err := os.ReadFile(testFile(alert))
	if err != nil {
		t.Fatal(err)
	}
	var c cases
	if err := yaml.Unmarshal(content, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheRulesSatisfyPromtool(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	rules, err := yaml.Marshal(render(t).groups(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "rules.yaml"), rules, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := promtool(t, folder, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAlertsFireAndKeepSilent(t *testing.T) {
	t.Parallel()
	for _, alert := range render(t).alerts(t) {
		t.Run(alert.Alert, func(t *testing.T) {
			t.Parallel()
			if out, err := try(t, alert); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestEachAlertHasATestThatFiresItAndOneThatKeepsItSilent(t *testing.T) {
	t.Parallel()
	files := map[string]bool{}
	for _, alert := range render(t).alerts(t) {
		files[testFile(alert.Alert)] = true
		fires, silent := 0, 0
		for _, test := range readCases(t, alert.Alert).Tests {
			expected := 0
			for _, check := range test.Alerts {
				if check.Name != alert.Alert {
					t.Errorf("%s: the test %q is about %s", alert.Alert, test.Name, check.Name)
				}
				expected += len(check.Expected)
			}
			if expected > 0 {
				fires++
			} else {
				silent++
			}
		}
		if fires == 0 || silent == 0 {
			t.Errorf("%s: %d tests fire it, and %d keep it silent throughout; want one of each", alert.Alert, fires, silent)
		}
	}
	found, err := filepath.Glob(testFile("*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		if !files[file] {
			t.Errorf("%s belongs to no alert", file)
		}
	}
}

// Each comparison, each operand of and, or and unless, each matcher, range and for is changed in turn.
func TestEachPartOfAnAlertIsHeldByItsTest(t *testing.T) {
	t.Parallel()
	for _, alert := range render(t).alerts(t) {
		for name, changed := range changes(t, alert) {
			t.Run(alert.Alert+"/"+name, func(t *testing.T) {
				t.Parallel()
				if out, err := try(t, changed); err == nil || !strings.Contains(out, "FAILED") {
					t.Errorf("the test is green (%v) for\n%s\nfor: %s\n%s", err, changed.Expr, changed.For, out)
				}
			})
		}
	}
}

// changes returns the alert with one part of it changed, by what was changed.
func changes(t *testing.T, alert rulefmt.Rule) map[string]rulefmt.Rule {
	t.Helper()
	changed := map[string]rulefmt.Rule{}
	duration := func(name string, d model.Duration) {
		other := alert
		other.For = d
		changed[name] = other
	}
	duration("for a day", alert.For+24*model.Duration(3600e9))
	if alert.For > 0 {
		duration("for no time", 0)
	}
	expression := parse(t, alert.Expr)
	add := func(format string, values ...any) {
		other := alert
		other.Expr = expression.String()
		changed[fmt.Sprintf("%s, %d", fmt.Sprintf(format, values...), len(changed))] = other
	}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.BinaryExpr:
			changeOperator(node, add)
		case *parser.VectorSelector:
			changeMatchers(node, add)
		case *parser.MatrixSelector:
			changeRange(&node.Range, add)
		case *parser.SubqueryExpr:
			changeRange(&node.Range, add)
		}
		return nil
	})
	return changed
}

// changeOperator calls add with each change of the expression, and takes it back.
func changeOperator(node *parser.BinaryExpr, add func(string, ...any)) {
	was := *node
	defer func() { *node = was }()
	switch {
	case node.Op.IsSetOperator():
		// "a or a" is a.
		*node = parser.BinaryExpr{Op: parser.LOR, LHS: was.LHS, RHS: was.LHS, VectorMatching: was.VectorMatching}
		add("only the left of %s", was.Op)
		*node = parser.BinaryExpr{Op: parser.LOR, LHS: was.RHS, RHS: was.RHS, VectorMatching: was.VectorMatching}
		add("only the right of %s", was.Op)
	case node.Op.IsComparisonOperator():
		node.Op, node.RHS = parser.GTE, &parser.NumberLiteral{Val: math.Inf(-1)}
		add("%s always", was.Op)
		node.RHS = &parser.NumberLiteral{Val: math.Inf(1)}
		add("%s never", was.Op)
	}
}

func changeRange(of *time.Duration, add func(string, ...any)) {
	was := *of
	*of = 10 * was
	add("range %s", was)
	*of = was
}

func changeMatchers(node *parser.VectorSelector, add func(string, ...any)) {
	was := node.LabelMatchers
	defer func() { node.LabelMatchers = was }()
	for i, matcher := range was {
		if matcher.Name != model.MetricNameLabel {
			node.LabelMatchers = slices.Delete(slices.Clone(was), i, i+1)
			add("no matcher %s", matcher)
		}
	}
}

var severities = []string{"info", "warning", "critical"}

// What an alert says is rendered on the labels that its tests expect, so a label that isn't there shows.
func TestAlertsSayWhatIsWrongAndWhere(t *testing.T) {
	t.Parallel()
	for _, alert := range render(t).alerts(t) {
		if !slices.Contains(severities, alert.Labels["severity"]) || len(alert.Labels) != 1 {
			t.Errorf("%s: labels %v, want a severity of %v", alert.Alert, alert.Labels, severities)
		}
		if len(alert.Annotations) != 3 {
			t.Errorf("%s: want summary, description and runbook_url, got %v", alert.Alert, alert.Annotations)
		}
		if summary := alert.Annotations["summary"]; summary == "" || strings.ContainsAny(summary, "{.\n") || len(summary) > 80 {
			t.Errorf("%s: summary %q, want one short line without a full stop or a label", alert.Alert, summary)
		}
		for _, test := range readCases(t, alert.Alert).Tests {
			for _, check := range test.Alerts {
				for _, expected := range check.Expected {
					said, err := fill(alert.Annotations["description"], expected.Labels)
					if err != nil || !strings.HasSuffix(said, ".") {
						t.Errorf("%s, %s: got %q, %v, want whole sentences", alert.Alert, test.Name, said, err)
					}
					for _, label := range []string{"pool", "node", "kind", "reason", "result", "method_name"} {
						if value, found := expected.Labels[label]; found && !strings.Contains(said, value) {
							t.Errorf("%s, %s: %q doesn't name %s %s", alert.Alert, test.Name, said, label, value)
						}
					}
				}
			}
		}
	}
}

var templateFunction = regexp.MustCompile(`humanize\w*`)

// fill renders a description with the labels. A label that isn't there is an error.
func fill(description string, labels map[string]string) (string, error) {
	// That the functions exist is checked by rulefmt.
	functions := template.FuncMap{}
	for _, name := range templateFunction.FindAllString(description, -1) {
		functions[name] = func(value float64) string { return fmt.Sprint(value) }
	}
	parsed, err := template.New("").Funcs(functions).Option("missingkey=error").Parse("{{$labels := .Labels}}{{$value := .Value}}" + description)
	if err != nil {
		return "", err
	}
	var said bytes.Buffer
	err = parsed.Execute(&said, map[string]any{"Labels": labels, "Value": 1.0})
	return said.String(), err
}
