package app

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
)

// runAll runs the parts of a process concurrently. It returns when all have ended, with the first error; that ends the
// others.
func runAll(ctx context.Context, parts []func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range parts {
		group.Go(func() error { return run(ctx) })
	}
	return group.Wait()
}

// tryUntilDone calls try, at ever longer intervals of a minute at most, until it is done or ctx ends. Neither is an error
// of this process.
func tryUntilDone(ctx context.Context, try func(context.Context) (done bool, err error)) {
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 6, Cap: time.Minute}
	_ = backoff.DelayFunc().Until(ctx, true, true, try)
}
