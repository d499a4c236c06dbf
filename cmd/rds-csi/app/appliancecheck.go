package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// checkClusterID is the cluster ID in the record of the probe disk. No cluster has it.
const checkClusterID = "appliance-check"

// applianceCheckOptions are the flags of "rds-csi appliance check".
type applianceCheckOptions struct {
	appliance applianceOptions
	pool      string
}

// AddFlags registers the flags with their defaults.
func (o *applianceCheckOptions) AddFlags(flags *flag.FlagSet) {
	o.appliance.addFlags(flags)
	flags.StringVar(&o.pool, "pool", "", "mount point of the RouterOS filesystem to check, as in the StorageClass")
}

// Validate returns an error that names every invalid flag.
func (o *applianceCheckOptions) Validate() error {
	o.appliance.config.ClusterID = checkClusterID
	o.appliance.config.Port = defaultNVMePort
	return errors.Join(o.appliance.validate(), failures([]check{
		{o.pool != "", errors.New("--pool: want the mount point of a RouterOS filesystem, such as raid10")},
	}))
}

// checkAppliance prints its findings as a table. It returns an error if the driver can't work with the appliance.
func checkAppliance(ctx context.Context, options *applianceCheckOptions, out io.Writer) error {
	client, err := options.appliance.connect()
	if err != nil {
		return err
	}
	defer client.Close()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	checker, err := rds.NewChecker(client, options.pool, options.appliance.directory, func(finding rds.Finding) {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", finding.Check, finding.Result, finding.Detail)
	})
	if err != nil {
		return err
	}
	err = checker.Run(ctx)
	return errors.Join(err, table.Flush())
}
