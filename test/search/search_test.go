package search

import (
	"flag"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	schedules = flag.Int("schedules", 200, "how many schedules to search")
	seed      = flag.Uint64("seed", 0, "the first seed; with -schedules 1 it replays one schedule and prints it")
)

// outcome is what came of one schedule.
type outcome struct {
	violation error
	story     string
	steps     int
	// reached is what the schedule came to of what is rare.
	reached map[string]bool
}

// chaosTime is how long a schedule goes wrong, and chaosSteps how many steps at most.
const (
	chaosTime  = 3 * time.Minute
	chaosSteps = 4000
)

// search runs one schedule without telling its story.
func search(t *testing.T, seed uint64, without without) outcome {
	t.Helper()
	e := newEngine(seed)
	e.quiet = true
	return schedule(t, e, without)
}

// replay runs a schedule again, to tell its story.
func replay(t *testing.T, seed uint64, without without) outcome {
	t.Helper()
	return schedule(t, newEngine(seed), without)
}

func schedule(t *testing.T, e *engine, without without) outcome {
	t.Helper()
	var result outcome
	synctest.Test(t, func(t *testing.T) {
		e.start = time.Now()
		defer e.end()
		w := newWorld(t, e, without)
		e.spawn("chaos", w.chaos)
		e.run(chaosSteps, time.Now().Add(chaosTime))
		if e.violation == nil {
			e.violation = w.settle()
		}
		for _, v := range w.volumes {
			if e.violation == nil && !w.wentBack && !w.kubernetesWentBack && !v.everEdited {
				e.violation = w.linearizable(v)
			}
		}
		result = outcome{e.violation, e.story() + "\n" + w.api.String() + w.controller.String(), e.steps, w.reached}
	})
	return result
}

func TestSearch(t *testing.T) {
	var next, steps, failures atomic.Int64
	reached := map[string]*atomic.Int64{}
	for _, what := range rare() {
		reached[what] = &atomic.Int64{}
	}
	start := time.Now()
	t.Run("schedules", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(worker), func(t *testing.T) {
				t.Parallel()
				for failures.Load() == 0 {
					i := next.Add(1) - 1
					if i >= int64(*schedules) {
						return
					}
					seed := *seed + uint64(i)
					result := search(t, seed, nothing())
					steps.Add(int64(result.steps))
					for what := range result.reached {
						reached[what].Add(1)
					}
					if result.violation != nil && failures.Add(1) == 1 {
						t.Errorf("%s\nseed %d: %v\nreplay it: go test ./test/search -run TestSearch -seed %d -schedules 1", replay(t, seed, nothing()).story, seed, result.violation, seed)
					} else if *schedules == 1 {
						fmt.Println(replay(t, seed, nothing()).story)
					}
				}
			})
		}
	})
	fmt.Printf("search: %d schedules, %d steps, %s\n", min(next.Load(), int64(*schedules)), steps.Load(), time.Since(start).Round(time.Second))
	for _, what := range rare() {
		fmt.Printf("search: %5d schedules: %s\n", reached[what].Load(), what)
		if *schedules >= enough && failures.Load() == 0 && reached[what].Load() == 0 {
			t.Errorf("no schedule came to: %s", what)
		}
	}
}

// epochs are drawn at random, and differ from run to run; nothing else may. A long line may end within one.
func withoutEpochs(story string) string {
	return regexp.MustCompile(`[0-9a-f]{16}|[:-][0-9a-f]{1,15}\n`).ReplaceAllString(story, "…")
}

func TestASeedReplaysExactly(t *testing.T) {
	for seed := range uint64(20) {
		first, second := replay(t, seed, nothing()), replay(t, seed, nothing())
		if diff := cmp.Diff(withoutEpochs(first.story), withoutEpochs(second.story)); diff != "" || first.steps != second.steps {
			t.Fatalf("seed %d took %d steps, then %d (-first +second):\n%s", seed, first.steps, second.steps, diff)
		}
		if quiet := search(t, seed, nothing()); quiet.steps != first.steps {
			t.Fatalf("seed %d takes %d steps when nobody listens, and %d otherwise", seed, quiet.steps, first.steps)
		}
	}
}
