package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	// boots is how often a guest is started whose test doesn't begin: QEMU's emulation sometimes crashes an early kernel.
	boots = 3
	// bootLimit is how long a test may take to begin. A boot takes some 10 s of an idle core.
	bootLimit = 3 * time.Minute
	// grace is how much longer than its own -test.timeout a test may run: it is to end itself and say where it stood.
	grace = 30 * time.Second
	// exitFailure is the exit code of a run that brought none.
	exitFailure = 125
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := start(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "vmrun: %v\n", err)
	}
	os.Exit(code)
}

// start runs the program in one guest, or in the first of a pair, and returns its exit code.
func start(ctx context.Context, args []string) (int, error) {
	pair := len(args) > 0 && args[0] == "--pair"
	if pair {
		args = args[1:]
	}
	if len(args) < 2 {
		return exitFailure, errors.New("usage: vmrun [--pair] FOLDER PROGRAM [ARGUMENT]")
	}
	work, err := os.MkdirTemp("", "vmrun-")
	if err != nil {
		return exitFailure, fmt.Errorf("make a folder for the guest: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	g := guest{folder: args[0], work: work, program: args[1], limit: limit(args[2:]), shown: os.Stdout}
	g.arguments, g.outputs = moveOutputs(args[2:])
	if !pair {
		return g.run(ctx)
	}
	return g.runBeside(ctx)
}

// run boots the guest until its program has begun, and returns the program's exit code.
func (g guest) run(ctx context.Context) (int, error) {
	if err := g.writeInitrd(); err != nil {
		return exitFailure, fmt.Errorf("make the initial RAM disk: %w", err)
	}
	for attempt := 1; ; attempt++ {
		code, err := g.boot(ctx)
		if !errors.Is(err, errNotBegun) || attempt == boots || ctx.Err() != nil {
			return code, err
		}
		fmt.Fprintf(os.Stderr, "vmrun: boot %d of at most %d: %v\n", attempt, boots, err)
	}
}

// limit is how long the program may run: what -test.timeout says, or ten minutes, and a grace.
func limit(args []string) time.Duration {
	allowed := 10 * time.Minute
	for _, arg := range args {
		value, found := strings.CutPrefix(arg, "-test.timeout=")
		if timeout, err := time.ParseDuration(value); found && err == nil && timeout > 0 {
			allowed = timeout
		}
	}
	return allowed + grace
}
