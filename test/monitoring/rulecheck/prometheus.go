package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"

	"git.srvlab.io/whiskey/rds-csi-driver/test/monitoring/rulefile"
)

// prometheusServer is what a Prometheus is made of, but for its web pages and its ways to find targets.
type prometheusServer struct {
	database  *tsdb.DB
	scraper   *scrape.Manager
	evaluator *rules.Manager
	// scraped is closed when the scraper has ended.
	scraped chan struct{}
}

// start starts a Prometheus with its data in the folder. Its targets and rules are those of o.
func start(ctx context.Context, o options, folder string) (*prometheusServer, error) {
	s := &prometheusServer{scraped: make(chan struct{})}
	close(s.scraped)
	registry := prometheus.NewRegistry()
	var err error
	if s.database, err = tsdb.Open(filepath.Join(folder, "data"), promslog.NewNopLogger(), registry, tsdb.DefaultOptions(), nil); err != nil {
		return nil, fmt.Errorf("open a TSDB: %w", err)
	}
	if err := s.scrape(o, registry); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	if err := s.evaluate(ctx, o, folder, registry); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *prometheusServer) scrape(o options, registry prometheus.Registerer) error {
	configuration, err := config.Load(fmt.Sprintf(`
global: {scrape_interval: %[1]s, scrape_timeout: %[1]s}
scrape_configs: [{job_name: %[2]q}]
`, model.Duration(o.interval), o.job), promslog.NewNopLogger())
	if err != nil {
		return fmt.Errorf("configure the scrapes: %w", err)
	}
	soon := &scrape.Options{DiscoveryReloadInterval: model.Duration(10 * time.Millisecond)}
	if s.scraper, err = scrape.NewManager(soon, promslog.NewNopLogger(), nil, nil, s.database, registry); err != nil {
		return fmt.Errorf("make a scraper: %w", err)
	}
	if err := s.scraper.ApplyConfig(configuration); err != nil {
		return fmt.Errorf("configure the scraper: %w", err)
	}
	group := &targetgroup.Group{Source: o.job}
	for _, target := range o.targets {
		group.Targets = append(group.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(target)})
	}
	groups := make(chan map[string][]*targetgroup.Group, 1)
	groups <- map[string][]*targetgroup.Group{o.job: {group}}
	s.scraped = make(chan struct{})
	go func() {
		defer close(s.scraped)
		_ = s.scraper.Run(groups)
	}()
	return nil
}

func (s *prometheusServer) evaluate(ctx context.Context, o options, folder string, registry prometheus.Registerer) error {
	content, err := os.ReadFile(o.rules)
	if err != nil {
		return err
	}
	if content, err = rulefile.Plain(content); err != nil {
		return fmt.Errorf("%s: %w", o.rules, err)
	}
	file := filepath.Join(folder, "rules.yaml")
	if err := os.WriteFile(file, content, 0o600); err != nil { //nolint:gosec // a file in a folder that this process made
		return err
	}
	promQL := parser.NewParser(parser.Options{})
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: promslog.NewNopLogger(), MaxSamples: 1_000_000, Timeout: o.timeout, EnableAtModifier: true, EnableNegativeOffset: true, Parser: promQL,
	})
	evaluator := rules.NewManager(&rules.ManagerOptions{
		NameValidationScheme: model.UTF8Validation, ExternalURL: &url.URL{}, Context: context.WithoutCancel(ctx),
		QueryFunc: rules.EngineQueryFunc(engine, s.database), Queryable: s.database, AppendableV2: s.database,
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
		Logger:     promslog.NewNopLogger(), Registerer: registry, Parser: promQL,
	})
	if err := evaluator.Update(o.interval, []string{file}, labels.EmptyLabels(), "", nil); err != nil {
		return fmt.Errorf("load %s: %w", o.rules, err)
	}
	s.evaluator = evaluator
	go evaluator.Run()
	return nil
}

// stop returns when everything that start started has ended.
func (s *prometheusServer) stop() error {
	if s.evaluator != nil {
		s.evaluator.Stop()
	}
	if s.scraper != nil {
		s.scraper.Stop()
	}
	<-s.scraped
	return s.database.Close()
}

// alerts returns the names of the alerts in the rules file.
func (s *prometheusServer) alerts() []string {
	var names []string
	for _, rule := range s.evaluator.AlertingRules() {
		names = append(names, rule.Name())
	}
	return names
}

// firing returns what the alerts that fire say, by their names.
func (s *prometheusServer) firing() map[string]string {
	said := map[string]string{}
	for _, rule := range s.evaluator.AlertingRules() {
		for _, alert := range rule.ActiveAlerts() {
			if alert.State == rules.StateFiring {
				said[rule.Name()] = alert.Labels.String() + " " + alert.Annotations.Get("description")
			}
		}
	}
	return said
}

// state returns why alerts may not fire: their state, and targets that can't be scraped.
func (s *prometheusServer) state(names []string) string {
	var words []string
	for _, rule := range s.evaluator.AlertingRules() {
		if !slices.Contains(names, rule.Name()) {
			continue
		}
		word := fmt.Sprintf("%s is %s", rule.Name(), rule.State())
		if rule.State() == rules.StatePending {
			word += fmt.Sprintf(" (for %s)", rule.HoldDuration())
		}
		if rule.LastError() != nil {
			word += ": " + rule.LastError().Error()
		}
		words = append(words, word)
	}
	for _, targets := range s.scraper.TargetsAll() {
		for _, target := range targets {
			if err := target.LastError(); err != nil {
				words = append(words, fmt.Sprintf("%s can't be scraped: %s", target.URL().Host, err))
			}
		}
	}
	return strings.Join(words, "; ")
}
