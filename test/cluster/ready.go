package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	// readyWithin bounds every wait for a program. It is long since it only matters when the run fails: two cores start an
	// API server in 2 seconds, and with forty processes to run in 50.
	readyWithin = 4 * time.Minute
	askEvery    = 100 * time.Millisecond
	askWithin   = 10 * time.Second
	tailLines   = 15
	longestLine = 250 // bytes of a log line that are shown
)

var (
	errEnded    = errors.New("the process ended")
	errNotReady = errors.New("not ready")
)

// await asks probe again and again until it has no error to report, the process has ended, the context is cancelled,
// or readyWithin has passed. The error then shows the end of the process' log.
func (p *process) await(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, fmt.Errorf("%w after %s", errNotReady, readyWithin))
	defer cancel()
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		err := ask(ctx, probe)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-p.ended:
			return p.failed(errEnded)
		case <-ctx.Done():
			return p.failed(fmt.Errorf("%w; last answer: %w", context.Cause(ctx), err))
		}
	}
}

func ask(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return probe(ctx)
}

func (p *process) failed(err error) error {
	return fmt.Errorf("%s (pid %d): %w; its log %s ends:\n%s", p.Name, p.PID, err, p.log, Tail(p.log, tailLines))
}

// Tail returns the last lines of a file, long ones cut, or a line that says why there are none.
func Tail(path string, lines int) string {
	content, err := os.ReadFile(path) //nolint:gosec // showing the caller's file is what it is for
	if err != nil {
		return "(" + err.Error() + ")"
	}
	content = bytes.TrimRight(content, "\n")
	all := strings.Split(string(content), "\n")
	last := all[max(0, len(all)-lines):]
	for i, line := range last {
		if len(line) > longestLine {
			last[i] = line[:longestLine] + "…"
		}
	}
	return strings.Join(last, "\n")
}

// answers returns a probe: a GET of url is answered with 200.
func answers(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return fmt.Errorf("ask %s: %w", url, err)
		}
		response, err := client.Do(request)
		if err != nil {
			return fmt.Errorf("ask %s: %w", url, err)
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
			return fmt.Errorf("%w: %s: %s: %s", errNotReady, url, response.Status, body)
		}
		return nil
	}
}
