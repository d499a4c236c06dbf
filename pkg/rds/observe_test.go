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

// Reads that are made anyway tell of pools and version. That a pool isn't mounted is told only by a reply that has all.
func TestReadsTellOfPoolsAndVersion(t *testing.T) {
	simulator, config := simtest.Start(t)
	var told journal
	config.ObservePools = func(pools rds.Pools) {
		names := []string{}
		for _, pool := range pools.Mounted {
			names = append(names, pool.MountPoint)
			if pool.Size <= 0 || pool.Free <= 0 || pool.Free > pool.Size {
				t.Errorf("got %+v, want its size and what is free", pool)
			}
		}
		told.add(fmt.Sprintf("%v all=%t", names, pools.All))
	}
	config.ObserveVersion = told.add
	client := simtest.Client(t, config)
	read := func(name string, read func() error, fault sim.FaultKind, want ...string) {
		t.Helper()
		if fault != sim.NoFault {
			simulator.Inject(sim.Fault{Kind: fault}, sim.When{})
			defer simulator.ClearFaults()
		}
		err := read()
		if got := told.take(); !slices.Equal(slices.Compact(got), want) {
			t.Errorf("%s: told of %q, want %q (%v)", name, got, want, err)
		}
	}
	survey := func() error {
		_, err := client.Survey(t.Context(), "rds-csi")
		return err
	}
	list := func() error {
		_, err := client.List(t.Context())
		return err
	}
	capacity := func(pool string) func() error {
		return func() error {
			_, err := client.Capacity(t.Context(), pool)
			return err
		}
	}
	health := func() error {
		_, err := client.Health(t.Context())
		return err
	}
	probe := func() error {
		version, err := client.Probe(t.Context())
		told.add("probed " + version.Text)
		return err
	}
	const version = "7.24.4 (stable)"
	read("a probe", probe, sim.NoFault, version, "probed "+version)
	read("a list", list, sim.NoFault)
	read("capacity of one", capacity(simtest.Pool), sim.NoFault, "["+simtest.Pool+"] all=false")
	read("capacity of all", capacity(""), sim.NoFault, "["+simtest.Pool+"] all=true")
	read("health", health, sim.NoFault, "["+simtest.Pool+"] all=true")
	// A survey reads twice.
	read("a survey", survey, sim.NoFault, version, "["+simtest.Pool+"] all=true", version, "["+simtest.Pool+"] all=true")
	read("a pool that isn't mounted", health, sim.PoolUnmounted, "[] all=true")
	read("one that isn't mounted and is asked for", capacity(simtest.Pool), sim.PoolUnmounted)
	_, booting := simtest.Start(t, func(o *sim.Options) { o.Uptime = 0 })
	booting.ObservePools = config.ObservePools
	client = simtest.Client(t, booting)
	read("an appliance that boots", health, sim.NoFault, "["+simtest.Pool+"] all=false")
}
