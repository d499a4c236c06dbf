package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/klog/v2"
)

// The exit codes of every process.
const (
	exitOK     = 0
	exitFailed = 1
	// exitUsage: the arguments are invalid, so a restart with the same ones is useless.
	exitUsage = 2
)

// Options are the flags of one process.
type Options interface {
	AddFlags(flags *flag.FlagSet)
	// Validate returns an error that names every invalid flag and says what was expected.
	Validate() error
}

// Execute parses the flags of one process, calls run, and returns the exit code of the process. SIGTERM and SIGINT end
// the ctx of run. An error is printed on stderr in one line that begins with name,
// or logged if lines of the log are objects.
func Execute(name string, arguments []string, options Options, run func(ctx context.Context) error) int {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	options.AddFlags(flags)
	var log logOptions
	log.addFlags(flags)
	// It would print an error above the usage, which has more lines than a screen.
	flags.SetOutput(io.Discard)
	switch err := flags.Parse(arguments); {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(os.Stderr)
		flags.Usage()
		return exitOK
	case err != nil:
		return fail(name, exitUsage, fmt.Errorf("%w; --help lists the flags", err))
	}
	if flags.NArg() > 0 {
		return fail(name, exitUsage, fmt.Errorf("unexpected argument %q: flags only", flags.Arg(0)))
	}
	if err := options.Validate(); err != nil {
		return fail(name, exitUsage, err)
	}
	if err := log.apply(); err != nil {
		return fail(name, exitUsage, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	defer klog.Flush()
	switch err := run(klog.NewContext(ctx, klog.Background())); {
	case err != nil && log.json():
		klog.Background().Error(err, "The process has failed", "process", name)
		return exitFailed
	case err != nil:
		return fail(name, exitFailed, err)
	default:
		return exitOK
	}
}

// fail prints err on stderr, in one line: Kubernetes shows the last lines of a container that ended. It returns code.
func fail(name string, code int, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
	return code
}
