package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// subcommand is one of the processes that the binary can be.
type subcommand struct {
	// name is what follows "rds-csi" on the command line: one word, or two.
	name, about string
	// plugin tells that it is there as a plugin of kubectl, too.
	plugin bool
	// process returns the flags, and what runs with them.
	process func() (Options, func(context.Context) error)
}

// subcommands are all of them. docs/configuration.md has a section for each.
func subcommands() []subcommand {
	return []subcommand{
		{"controller", "serve the controller service and clear stale attachments", false, process(RunController)},
		{"node", "serve the node service on one node", false, process(connectAndServe)},
		{"pod-restarter", "delete pods whose volume's device is lost, so that their controllers replace them", false, process(runPodRestarter)},
		{
			"appliance check", "check on probe disks whether an appliance is fit for the driver, and whether it fences", false,
			process(func(ctx context.Context, options *applianceCheckOptions) error {
				return checkAppliance(ctx, options, os.Stdout)
			}),
		},
		{
			"appliance mend", "write a volume's damaged record anew", false,
			process(func(ctx context.Context, options *applianceMendOptions) error {
				return mendRecord(ctx, options, os.Stdout)
			}),
		},
		{
			"status", "show volumes, attachments and nodes, what is stuck, why, and what to do", true,
			process(func(ctx context.Context, options *statusOptions) error {
				return showStatus(ctx, options, os.Stdout)
			}),
		},
	}
}

// process returns what makes the flags of a process, each at its default, and runs it with them.
func process[O any, P interface {
	*O
	Options
}](run func(context.Context, P) error) func() (Options, func(context.Context) error) {
	return func() (Options, func(context.Context) error) {
		options := P(new(O))
		return options, func(ctx context.Context) error { return run(ctx, options) }
	}
}

// pluginName is the name under which kubectl finds this program, and calls it as "kubectl rds".
const pluginName = "kubectl-rds"

// program is the name that people call this program by, and what it can do under that name.
type program struct {
	name        string
	subcommands []subcommand
}

// programOf returns the program of that path: a plugin of kubectl has fewer subcommands.
func programOf(path string) program {
	all := subcommands()
	if filepath.Base(path) != pluginName {
		return program{"rds-csi", all}
	}
	return program{"kubectl rds", slices.DeleteFunc(all, func(s subcommand) bool { return !s.plugin })}
}

// Main runs the subcommand that the arguments name, and returns the exit code of the process. path is what the process was
// called by.
func Main(path string, arguments []string) int {
	program := programOf(path)
	for _, subcommand := range program.subcommands {
		if words := strings.Fields(subcommand.name); len(arguments) >= len(words) && subcommand.name == strings.Join(arguments[:len(words)], " ") {
			options, run := subcommand.process()
			return Execute(program.name+" "+subcommand.name, arguments[len(words):], options, run)
		}
	}
	switch {
	case len(arguments) == 0:
		return program.printUsage(os.Stderr, exitUsage)
	case arguments[0] == "version":
		fmt.Println(version())
		return exitOK
	case strings.TrimLeft(arguments[0], "-") == "help", arguments[0] == "-h":
		return program.printUsage(os.Stdout, exitOK)
	default:
		fmt.Fprintf(os.Stderr, "%s: unknown subcommand %q\n\n", program.name, strings.Join(arguments[:min(2, len(arguments))], " "))
		return program.printUsage(os.Stderr, exitUsage)
	}
}

func (p program) printUsage(out io.Writer, code int) int {
	_, _ = io.WriteString(out, "rds-csi is a CSI driver for MikroTik RouterOS storage.\n\nUsage:\n")
	for _, subcommand := range p.subcommands {
		_, _ = fmt.Fprintf(out, "  %s %-18s %s\n", p.name, subcommand.name, subcommand.about)
	}
	_, _ = fmt.Fprintf(out, "  %s %-18s print the version\n\nWith --help, each of them lists its flags.\n", p.name, "version")
	return code
}
