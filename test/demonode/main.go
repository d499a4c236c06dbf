package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"git.srvlab.io/whiskey/rds-csi-driver/cmd/rds-csi/app"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// options are those of every node process, and where the simulator is.
type options struct {
	app.NodeOptions
	simulator string
	stateDir  string
}

func (o *options) AddFlags(flags *flag.FlagSet) {
	o.NodeOptions.AddFlags(flags)
	flags.StringVar(&o.simulator, "simulator", "", "URL of the simulator, such as http://127.0.0.1:8080 (required)")
	flags.StringVar(&o.stateDir, "state-dir", "", "folder for what is connected, one per node; default: the folder of --endpoint")
}

func (o *options) Validate() error {
	failures := []error{o.NodeOptions.Validate()}
	if u, err := url.Parse(o.simulator); err != nil || u.Scheme != "http" || u.Host == "" {
		failures = append(failures, fmt.Errorf("--simulator %q: want a URL such as http://127.0.0.1:8080", o.simulator))
	}
	return errors.Join(failures...)
}

func (o *options) stateFile() string {
	folder := o.stateDir
	if folder == "" {
		folder = filepath.Dir(strings.TrimPrefix(o.Endpoint, "unix://"))
	}
	return filepath.Join(folder, "connections.json")
}

func main() {
	var o options
	arguments := os.Args[1:]
	if len(arguments) > 0 && arguments[0] == "node" {
		arguments = arguments[1:] // it takes the arguments of "rds-csi node", as the manifests have them
	}
	os.Exit(app.Execute("demonode", arguments, &o, func(ctx context.Context) error { return run(ctx, o) }))
}

func run(ctx context.Context, o options) error {
	machine, err := o.MachineIdentity()
	if err != nil {
		return err
	}
	c, err := newConnector(newSimulator(o.simulator, nvme.HostOf(machine).NQN), o.stateFile())
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.Run(ctx) })
	group.Go(func() error { return app.RunNode(ctx, o.NodeOptions, c) })
	return group.Wait()
}
