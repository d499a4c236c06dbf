package rds_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds/transport"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// journal is everything that a client told its observers, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// take returns the lines since the last time.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer func() { j.lines = nil }()
	return j.lines
}

func (j *journal) attach(config *simtest.Config) {
	config.Observe = func(kind rds.Kind, outcome rds.Outcome, took time.Duration) {
		if took < 0 {
			j.add("negative duration")
		}
		j.add(fmt.Sprintf("%s %s", kind, outcome))
	}
	config.SSH.ObserveConnect = func(result transport.ConnectResult) { j.add("connect " + string(result)) }
	config.SSH.ObserveConnected = func(connected bool) { j.add(fmt.Sprintf("connected %t", connected)) }
}

func TestObserversAreTold(t *testing.T) {
	simulator, config := simtest.Start(t)
	var told journal
	told.attach(&config)
	client := simtest.Client(t, config)
	steps := []struct {
		name  string
		fault sim.FaultKind
		want  []string
	}{
		{"at first", sim.NoFault, []string{"connect done", "connected true", "list done"}},
		{"again", sim.NoFault, []string{"list done"}},
		{"reply lost", sim.ReplyLost, []string{"connected false", "list lost"}},
		{"refused", sim.Reject, []string{"connect done", "connected true", "list refused"}},
		{"channel rejected", sim.ChannelRejected, []string{"connected false", "list unreachable"}},
		{"auth refused", sim.AuthRefused, []string{"connect permission", "list unreachable"}},
		{"host key", sim.HostKeyChanged, []string{"connect host_key", "list unreachable"}},
		{"at last", sim.NoFault, []string{"connect done", "connected true", "list done"}},
	}
	for _, step := range steps {
		if step.fault != sim.NoFault {
			simulator.Inject(sim.Fault{Kind: step.fault, Line: "bad command name foo (line 1 column 1)"}, sim.Once())
		}
		_, _ = client.List(t.Context())
		simulator.ClearFaults()
		got := told.take()
		// A lost connection may be noticed just before or after the command is told of.
		slices.Sort(got)
		slices.Sort(step.want)
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	client.Close()
	if diff := cmp.Diff([]string{"connected false"}, told.take()); diff != "" {
		t.Errorf("close (-want +got):\n%s", diff)
	}
}

// What metrics declare at zero has to be all that is ever told.
func TestEveryWordIsDeclared(t *testing.T) {
	r := newRig(t)
	var unknown []string
	var mu sync.Mutex
	r.config.Observe = func(kind rds.Kind, outcome rds.Outcome, _ time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(rds.Kinds(), kind) || !slices.Contains(rds.Outcomes(), outcome) {
			unknown = append(unknown, fmt.Sprintf("%s %s", kind, outcome))
		}
	}
	r.Client = simtest.Client(t, r.config)
	if _, err := checked(t.Context(), t, r); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(unknown) > 0 {
		t.Errorf("undeclared: %v", unknown)
	}
}
