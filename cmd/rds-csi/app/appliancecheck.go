package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"text/tabwriter"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/tcp"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// checkClusterID is the cluster ID in the record of the probe disks. No cluster has it.
const checkClusterID = "appliance-check"

// applianceCheckOptions are the flags of "rds-csi appliance check".
type applianceCheckOptions struct {
	appliance applianceOptions
	target    targetOptions
	pool      string
	json      bool
}

// AddFlags registers the flags with their defaults.
func (o *applianceCheckOptions) AddFlags(flags *flag.FlagSet) {
	o.appliance.addFlags(flags)
	o.target.addFlags(flags, "; default: the host of --rds-address")
	flags.StringVar(&o.pool, "pool", "", "mount point of the RouterOS filesystem to check, as in the StorageClass")
	flags.BoolVar(&o.json, "json", false, "print the findings as JSON, to send them in with a report")
}

// Validate returns an error that names every invalid flag.
func (o *applianceCheckOptions) Validate() error {
	host, _, _ := net.SplitHostPort(o.appliance.ssh.Address)
	o.target.address = cmp.Or(o.target.address, host)
	o.appliance.config.ClusterID = checkClusterID
	o.appliance.config.Port = o.target.number()
	return errors.Join(o.appliance.validate(), failures(append(o.target.checks(),
		check{o.pool != "", errors.New("--pool: want the mount point of a RouterOS filesystem, such as raid10")},
	)))
}

// report is what the check prints with --json.
type report struct {
	Version  string        `json:"version"`
	Fit      bool          `json:"fit"`
	Findings []rds.Finding `json:"findings"`
}

// checkAppliance prints its findings as a table, or as JSON. It returns an error if the driver can't work with the appliance.
func checkAppliance(ctx context.Context, options *applianceCheckOptions, out io.Writer) error {
	client, err := options.appliance.connect()
	if err != nil {
		return err
	}
	defer client.Close()
	result := report{Version: version()}
	checker, err := rds.NewChecker(client, rds.Check{
		Pool: options.pool, Directory: options.appliance.directory, Connect: options.target.connect,
		Report: func(finding rds.Finding) { result.Findings = append(result.Findings, finding) },
	})
	if err != nil {
		return err
	}
	err = checker.Run(ctx)
	result.Fit = err == nil
	write := result.table
	if options.json {
		write = result.json
	}
	return errors.Join(err, write(out))
}

func (r report) json(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

func (r report) table(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, finding := range r.Findings {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", finding.Check, finding.Result, finding.Detail)
	}
	return table.Flush()
}

// connect connects to the target as a node would, without a kernel.
func (o *targetOptions) connect(ctx context.Context, subsystemNQN, hostNQN string) (rds.Connection, error) {
	connection, err := tcp.Connect(ctx, net.JoinHostPort(o.address, strconv.FormatUint(uint64(o.port), 10)), subsystemNQN, hostNQN)
	if _, refused := errors.AsType[*tcp.RefusedError](err); refused {
		return nil, fmt.Errorf("%w: %w", rds.ErrRefused, err)
	}
	if err != nil {
		return nil, err
	}
	return connection, nil
}
