package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/kernel"
)

// exitUsage is the exit status for a bad command line.
const exitUsage = 2

func main() {
	os.Exit(start(os.Args[1:]))
}

// start runs the simulator until a signal ends it and returns the exit status.
func start(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	options, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = run(ctx, options)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "rds-sim: %v\n", err)
	if errors.Is(err, errUsage) || errors.Is(err, sim.ErrOptions) {
		return exitUsage
	}
	return 1
}

// run serves the command line's simulator, with the kernel's target if it is wanted.
func run(ctx context.Context, options config) error {
	if !options.nvmet.IsValid() {
		return serve(ctx, options.Options)
	}
	target, err := kernel.Open(options.nvmet, func(err error) {
		klog.FromContext(ctx).Error(err, "The kernel's target disagrees with the simulator")
	})
	if err != nil {
		return err
	}
	options.Exports.Kernel = target
	return errors.Join(serve(ctx, options.Options), target.Close())
}

func serve(ctx context.Context, options sim.Options) error {
	logger := klog.FromContext(ctx)
	options.Observe = func(e sim.Execution) {
		logger.Info("Exec", "user", e.User, "command", loggable(e.Command),
			"outputBytes", len(e.Output), "fault", e.Fault, "duration", e.Duration)
	}
	s, err := sim.Start(ctx, options)
	if err != nil {
		return err
	}
	logger.Info("Simulator is ready", "ssh", s.SSHAddr(), "target", s.TargetURL(), "knownHosts", s.KnownHosts())
	err = s.Wait()
	logger.Info("Simulator has stopped")
	return err
}

// loggable hides a command that may carry a secret.
func loggable(command string) string {
	if strings.Contains(command, "password") {
		return "(not shown: it names a password)"
	}
	return command
}
