package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/cluster"
)

const usage = `usage: demo run|up|down [flags]
  run   a node dies, and its volume runs elsewhere: start a cluster, show it, stop the cluster
  up    start the same cluster and leave it running
  down  stop it
`

var (
	// errUsage says that the command line can't be followed.
	errUsage = errors.New("wrong usage")
	// errTimeout says that the whole run took too long.
	errTimeout = errors.New("out of time")
)

// settings are the flags.
type settings struct {
	options cluster.Options
	timeout time.Duration
}

func parse(args []string) (*settings, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's folder: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find the cache folder: %w", err)
	}
	s := &settings{options: cluster.Options{Nodes: []string{"demo-a", "demo-b"}}}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.StringVar(&s.options.Folder, "folder", filepath.Join(os.TempDir(), "rds-csi-demo"), "folder of the run: keys, data, sockets, logs, mounts")
	flags.StringVar(&s.options.Harness, "harness", filepath.Join(cache, "rds-csi-driver", "bin"), "folder of the programs that test/harness/build.sh built")
	flags.StringVar(&s.options.Programs, "programs", filepath.Dir(executable), "folder of rds-csi, rds-sim and demonode")
	flags.StringVar(&s.options.Manifests, "manifests", "manifests", "folder of the driver's kustomization")
	flags.DurationVar(&s.timeout, "timeout", 15*time.Minute, "longest time for run and for up to start")
	if err := flags.Parse(args); err != nil {
		return nil, errors.Join(errUsage, err)
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%w: unexpected %q", errUsage, flags.Args())
	}
	return s, nil
}

func main() {
	err := command(os.Args[1:], printTo(os.Stdout))
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "demo: %v\n%s", err, usage)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func command(args []string, show printer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: no command", errUsage)
	}
	s, err := parse(args[1:])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("%w: --timeout %s", errTimeout, s.timeout))
	defer cancel()
	s.options.Progress = stamped(show)
	switch args[0] {
	case "run":
		return run(ctx, s.options, show)
	case "up":
		return up(ctx, s.options, show)
	case "down":
		return down(s.options, show)
	}
	return fmt.Errorf("%w: unknown command %q", errUsage, args[0])
}

// printer shows text to whoever runs the demo.
type printer func(format string, values ...any)

func printTo(output io.Writer) printer {
	return func(format string, values ...any) {
		_, _ = fmt.Fprintf(output, format, values...) // nothing else can be told to somebody who doesn't listen
	}
}

// stamped prints lines with the seconds since now.
func stamped(show printer) printer {
	start := time.Now()
	return func(format string, values ...any) {
		show("[%6.1f s] %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, values...))
	}
}
