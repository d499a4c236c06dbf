package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the flags set.
type options struct {
	// targets are the addresses to scrape, host:port, and job is the name of their job.
	targets []string
	job     string
	// rules is the file with the rules, and want the names of the alerts that must fire.
	rules string
	want  []string
	// interval is the time between scrapes, and between evaluations.
	interval, timeout time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "rulecheck:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("rulecheck", flag.ContinueOnError)
	flags.Func("scrape", "`addresses` to scrape, host:port, separated by commas", list(&o.targets))
	flags.Func("want", "`names` of alerts that must fire, separated by commas", list(&o.want))
	flags.StringVar(&o.rules, "rules", "", "file with the rules: Prometheus' own format, or a PrometheusRule")
	flags.StringVar(&o.job, "job", "rds-csi/rds-csi-controller", "job of the targets; by default that of the controllers' PodMonitor")
	flags.DurationVar(&o.interval, "interval", time.Second, "time between scrapes, and between evaluations of the rules")
	flags.DurationVar(&o.timeout, "timeout", time.Minute, "how long the alerts may take to fire")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if len(o.targets) == 0 || len(o.want) == 0 || o.rules == "" {
		return errors.New("--scrape, --rules and --want are needed")
	}
	return watch(ctx, o, out)
}

func list(values *[]string) func(string) error {
	return func(value string) error {
		*values = append(*values, strings.Split(value, ",")...)
		return nil
	}
}

// watch returns nil when each wanted alert has been seen firing.
func watch(ctx context.Context, o options, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	folder, err := os.MkdirTemp("", "rulecheck-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	server, err := start(ctx, o, folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	missing := slices.Clone(o.want)
	for _, name := range missing {
		if !slices.Contains(server.alerts(), name) {
			return fmt.Errorf("%s has no alert %q", o.rules, name)
		}
	}
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	for len(missing) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not seen firing within %s: %s; %s", o.timeout, strings.Join(missing, ", "), server.state(missing))
		}
		firing := server.firing()
		missing = slices.DeleteFunc(missing, func(name string) bool {
			seen, fires := firing[name]
			if fires {
				_, _ = fmt.Fprintf(out, "%s fires: %s\n", name, seen)
			}
			return fires
		})
	}
	return nil
}
