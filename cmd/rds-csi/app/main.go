package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const usage = `rds-csi is a CSI driver for MikroTik RouterOS storage.

Usage:
  rds-csi controller [flags]   serve the controller service and clear stale attachments
  rds-csi appliance check      check on probe disks whether an appliance is fit for the driver, and whether it fences
  rds-csi appliance mend       write a volume's damaged record anew
  rds-csi node [flags]         serve the node service on one node
  rds-csi status               show volumes, attachments and nodes, what is stuck, why, and what to do
  rds-csi pod-restarter        delete pods whose volume's device is lost, so that their controllers replace them
  rds-csi version              print the version

With --help, each of them lists its flags.
`

// pluginName is the name under which kubectl finds this program, and calls it as "kubectl rds".
const pluginName = "kubectl-rds"

const pluginUsage = `kubectl rds shows how the volumes of the CSI driver rds-csi are.

Usage:
  kubectl rds status    show volumes, attachments and nodes, what is stuck, why, and what to do
  kubectl rds version   print the version

With --help, status lists its flags.
`

// Main runs the subcommand that the arguments name, and returns the exit code of the process. program is the name that the
// process was called by: as a plugin of kubectl it has fewer subcommands.
func Main(program string, arguments []string) int {
	if filepath.Base(program) == pluginName {
		return runPlugin(arguments)
	}
	if len(arguments) == 0 {
		return printUsage(os.Stderr, usage, exitUsage)
	}
	switch subcommand, rest := arguments[0], arguments[1:]; subcommand {
	case "controller":
		options := &ControllerOptions{}
		return Execute("rds-csi controller", rest, options, func(ctx context.Context) error { return RunController(ctx, options) })
	case "appliance":
		return runAppliance(rest)
	case "node":
		options := &NodeOptions{}
		return Execute("rds-csi node", rest, options, func(ctx context.Context) error { return connectAndServe(ctx, options) })
	case "status":
		return runStatus("rds-csi status", rest)
	case "pod-restarter":
		options := &podRestarterOptions{}
		return Execute("rds-csi pod-restarter", rest, options, func(ctx context.Context) error { return runPodRestarter(ctx, options) })
	case "version":
		fmt.Println(version())
		return exitOK
	case "help", "-h", "-help", "--help":
		return printUsage(os.Stdout, usage, exitOK)
	default:
		fmt.Fprintf(os.Stderr, "rds-csi: unknown subcommand %q\n\n", subcommand)
		return printUsage(os.Stderr, usage, exitUsage)
	}
}

// runPlugin runs the subcommand of "kubectl rds" that the arguments name.
func runPlugin(arguments []string) int {
	subcommand := ""
	if len(arguments) > 0 {
		subcommand, arguments = arguments[0], arguments[1:]
	}
	switch subcommand {
	case "status":
		return runStatus("kubectl rds status", arguments)
	case "version":
		fmt.Println(version())
		return exitOK
	case "help", "-h", "-help", "--help":
		return printUsage(os.Stdout, pluginUsage, exitOK)
	default:
		return printUsage(os.Stderr, pluginUsage, exitUsage)
	}
}

// runAppliance runs the subcommand of "rds-csi appliance" that the arguments name.
func runAppliance(arguments []string) int {
	name := ""
	if len(arguments) > 0 {
		name, arguments = arguments[0], arguments[1:]
	}
	switch name {
	case "check":
		options := &applianceCheckOptions{}
		return Execute("rds-csi appliance check", arguments, options, func(ctx context.Context) error { return checkAppliance(ctx, options, os.Stdout) })
	case "mend":
		options := &applianceMendOptions{}
		return Execute("rds-csi appliance mend", arguments, options, func(ctx context.Context) error { return mendRecord(ctx, options, os.Stdout) })
	default:
		return fail("rds-csi appliance", exitUsage, errors.New(`want "check" or "mend"`))
	}
}

func printUsage(out io.Writer, text string, code int) int {
	_, _ = io.WriteString(out, text)
	return code
}
