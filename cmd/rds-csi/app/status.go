package app

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/status"
)

// statusAgent is what the command calls itself in its requests to the API server.
const statusAgent = "rds-csi-status"

// statusTimeout bounds all that "rds-csi status" reads.
const statusTimeout = time.Minute

// The forms that "rds-csi status" writes its report in.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// statusOptions are the flags of "rds-csi status".
type statusOptions struct {
	kubeconfig, context, output string
	appliance                   applianceOptions
}

// AddFlags registers the flags with their defaults.
func (o *statusOptions) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file; default: what kubectl uses. It must allow to list nodes, persistentvolumes, volumeattachments, csinodes and pods; with --rds-address, to get the namespace kube-system, too. Nothing is changed")
	flags.StringVar(&o.context, "context", "", "context of the kubeconfig; default: its current one")
	flags.StringVar(&o.output, "o", outputTable, "output: table or json")
	o.appliance.addFlags(flags)
	flags.Lookup("rds-address").Usage += "; empty shows what Kubernetes knows, and asks no appliance"
	flags.StringVar(&o.appliance.config.ClusterID, "cluster-id", "", "the controller's --cluster-id; default: the UID of namespace kube-system")
}

// Validate returns an error that names every invalid flag.
func (o *statusOptions) Validate() error {
	err := failures([]check{{o.output == outputTable || o.output == outputJSON, fmt.Errorf("-o %q: want table or json", o.output)}})
	if o.appliance.ssh.Address != "" {
		o.appliance.config.Port = defaultNVMePort
		err = errors.Join(err, o.appliance.validate())
	}
	return err
}

// client returns a client of the API server that kubectl would ask.
func (o *statusOptions) client() (kubernetes.Interface, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig %q, --context %q: %w", o.kubeconfig, o.context, err)
	}
	config.UserAgent = statusAgent + "/" + version()
	return kubernetes.NewForConfig(config)
}

// showStatus reads the cluster and, if its address is given, the appliance, and prints the report. An appliance that can't
// be reached is part of the report, and no error.
func showStatus(ctx context.Context, options *statusOptions, out io.Writer) error {
	client, err := options.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	seen, err := informers.Overview(ctx, client, csi.DriverName)
	if err != nil {
		return err
	}
	if options.appliance.ssh.Address != "" {
		if seen.Appliance, err = readAppliance(ctx, &options.appliance, client); err != nil {
			return err
		}
	}
	seen.Now = time.Now()
	report := status.Of(seen)
	if options.output == outputJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	return writeStatus(out, report, seen.Now)
}

// readAppliance reads the records of this cluster's disks, and compares them with what Kubernetes has, as the audit does.
func readAppliance(ctx context.Context, options *applianceOptions, client kubernetes.Interface) (*status.Appliance, error) {
	if err := defaultClusterID(ctx, client, &options.config.ClusterID); err != nil {
		return nil, err
	}
	appliance, err := options.connect()
	if err != nil {
		return nil, err
	}
	defer appliance.Close()
	cluster, err := informers.New(client, csi.DriverName)
	if err != nil {
		return nil, err
	}
	before, err := cluster.LiveClaims(ctx)
	if err != nil {
		return nil, err
	}
	survey, err := appliance.Survey(ctx, options.directory)
	if err != nil {
		return &status.Appliance{Err: err}, nil
	}
	after, err := cluster.LiveClaims(ctx)
	if err != nil {
		return nil, err
	}
	return &status.Appliance{
		Records: recordsOf(survey.Disks),
		Orphans: controller.AuditScope(csi.DriverName).Audit(before, controller.InventoryOf(ctx, survey), after).Orphans,
	}, nil
}

// recordsOf returns the records of disks by handle. It leaves out those with a holder that can't be parsed.
func recordsOf(disks []rds.Disk) map[string]status.Record {
	records := map[string]status.Record{}
	for _, disk := range disks {
		if record, err := controller.RecordOf(disk); err == nil {
			records[disk.ID.String()] = status.Record{Record: record, Epoch: disk.Record.Holding.Epoch}
		}
	}
	return records
}

// writeStatus prints the report for people.
func writeStatus(out io.Writer, report status.Report, now time.Time) error {
	age := func(since time.Time) string { return status.Age(now.Sub(since)) }
	yesNo := map[bool]string{true: "yes", false: "no"}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(table, strings.Join(cells, "\t")) }
	line("PERSISTENTVOLUME", "CLAIM", "SIZE", "PHASE", "ATTACHED TO", "HELD BY", "EPOCH")
	for _, volume := range report.Volumes {
		line(volume.PV, orDash(volume.Claim), volume.Size, volume.Phase, orDash(strings.Join(volume.Nodes, ",")), holders(volume), orDash(volume.Epoch))
	}
	line()
	line("ATTACHMENT OF", "NODE", "NODE EXISTS", "STATE", "FOR")
	for _, attachment := range report.Attachments {
		line(attachment.PV, attachment.Node, yesNo[attachment.NodeExists], string(attachment.State), age(attachment.Since))
	}
	line()
	line("NODE", "READY", "DRIVER", "VOLUMES", "MACHINE")
	for _, node := range report.Nodes {
		volumes := strconv.Itoa(node.Volumes)
		if node.Most > 0 {
			volumes = fmt.Sprintf("%d of %d", node.Volumes, node.Most)
		}
		line(node.Name, node.Ready, yesNo[node.Registered], volumes, orDash(node.Machine))
	}
	line()
	if len(report.Problems) == 0 {
		line("Nothing is stuck.")
	}
	for _, problem := range report.Problems {
		line(fmt.Sprintf("%s\n  why: %s\n  do:  %s", problem.About, problem.Why, problem.Do))
	}
	return table.Flush()
}

// holders returns the holders in a volume's record: "?" if the appliance wasn't asked or has none.
func holders(volume status.VolumeRow) string {
	switch {
	case volume.Exported == nil:
		return "?"
	case len(volume.Holders) > 0 && !*volume.Exported:
		return strings.Join(volume.Holders, ",") + " (not exported)"
	default:
		return orDash(strings.Join(volume.Holders, ","))
	}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
