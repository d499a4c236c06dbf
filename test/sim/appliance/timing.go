package appliance

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// Timing is how long the appliance takes, as measured on an RDS2216. The zero
// value takes no time at all.
type Timing struct {
	// Scale multiplies every duration; 0 switches them off, 1 is real time.
	Scale float64
	// PerGiB is what it takes to allocate a GiB of a backing file, before
	// Scale; 35 ms if zero.
	PerGiB time.Duration
}

// defaultPerGiB makes 100 GiB take 3.5 s, the middle of what was claimed.
const defaultPerGiB = 35 * time.Millisecond

// Handshake is how long an SSH handshake is held up.
func (t Timing) Handshake() time.Duration { return t.between(200, 500) }

// between picks a number of milliseconds and scales it.
func (t Timing) between(low, high int) time.Duration {
	ms := low + rand.IntN(high-low) //nolint:gosec // a duration, not a secret
	return t.scaled(time.Duration(ms) * time.Millisecond)
}

func (t Timing) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * t.Scale) }

// command is how long a command takes.
func (t Timing) command(call script.Call) time.Duration {
	switch call.Command {
	case "print", "set":
		return t.between(50, 100) + t.allocation(call)
	case "add":
		return t.between(300, 400) + t.allocation(call)
	case "remove":
		return t.between(250, 300)
	default:
		return 0
	}
}

// allocation is what making a file of the given size adds.
func (t Timing) allocation(call script.Call) time.Duration {
	size, _ := parseSize(script.Format(call.Args["file-size"]))
	return t.writing(size)
}

// writing is what it takes to allocate or copy that many bytes.
func (t Timing) writing(size int64) time.Duration {
	perGiB := cmp.Or(t.PerGiB, defaultPerGiB)
	return t.scaled(time.Duration(float64(size) / GiB * float64(perGiB)))
}

// after has a command take its time once it is done and its lock is free:
// other lines go on meanwhile.
func (t Timing) after(wait func(context.Context), call script.Call) func(context.Context) {
	takes := t.command(call)
	if takes <= 0 {
		return wait
	}
	return func(ctx context.Context) {
		if wait != nil {
			wait(ctx)
		}
		pause(ctx, takes)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
