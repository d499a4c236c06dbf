package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// readFor is how long what was read of the appliance is shown. The leader reads it every 5 minutes, unless it is told
// otherwise; other processes don't, and what they read once would look like today's.
const readFor = 15 * time.Minute

// applianceState collects what the appliance itself says. Nothing is shown of an appliance that is away: the last read may
// not be true any more, and 0 never was.
type applianceState struct {
	up, size, free, mounted, state, info *prometheus.Desc

	mu sync.Mutex
	// asked is set once a command was tried, and reached if the last one arrived.
	asked, reached bool
	pools          map[string]pool
	version        string
	versionRead    time.Time
}

// pool is a pool that was seen mounted once. read is when it was heard of last; zero if that was before the appliance was
// away.
type pool struct {
	rds.Pool
	mounted bool
	read    time.Time
}

func newApplianceState(registry *prometheus.Registry) *applianceState {
	perPool := []string{"pool"}
	s := &applianceState{
		up:      prometheus.NewDesc("rds_csi_appliance_up", "1 if the last command reached the appliance, 0 if it couldn't; absent before the first.", nil, nil),
		size:    prometheus.NewDesc("rds_csi_pool_size_bytes", "The size of a mounted pool, as the appliance reports it. Like the other series of pools and rds_csi_appliance_info, it comes from reads that are made anyway, and is absent while the appliance is away, or 15 minutes after the last read.", perPool, nil),
		free:    prometheus.NewDesc("rds_csi_pool_free_bytes", "What is free on a mounted pool, as the appliance reports it.", perPool, nil),
		mounted: prometheus.NewDesc("rds_csi_pool_mounted", "1 while a pool is mounted, 0 if it isn't any more. Only of pools that this process has seen mounted.", perPool, nil),
		state:   prometheus.NewDesc("rds_csi_pool_state", "1 for the state of a mounted pool in RouterOS's own word, such as clean; absent where it has none.", []string{"pool", "state"}, nil),
		info:    prometheus.NewDesc("rds_csi_appliance_info", "1 for the RouterOS version of the appliance.", []string{"version"}, nil),
		pools:   map[string]pool{},
	}
	registry.MustRegister(s)
	return s
}

// Describe implements prometheus.Collector.
func (s *applianceState) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{s.up, s.size, s.free, s.mounted, s.state, s.info} {
		descriptions <- description
	}
}

// Collect implements prometheus.Collector.
func (s *applianceState) Collect(metrics chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	if s.asked {
		gauge(s.up, valueOf(s.reached))
	}
	for name, pool := range s.pools {
		if time.Since(pool.read) > readFor {
			continue
		}
		gauge(s.mounted, valueOf(pool.mounted), name)
		if pool.mounted {
			gauge(s.size, float64(pool.Size), name)
			gauge(s.free, float64(pool.Free), name)
			if pool.State != "" {
				gauge(s.state, 1, name, pool.State)
			}
		}
	}
	if s.version != "" && time.Since(s.versionRead) <= readFor {
		gauge(s.info, 1, s.version)
	}
}

// commanded records whether a command reached the appliance. What was read before it was away isn't shown after that.
func (s *applianceState) commanded(outcome rds.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if outcome == rds.OutcomeInvalid {
		return // it wasn't tried
	}
	s.asked, s.reached = true, outcome != rds.OutcomeUnreachable
	if s.reached {
		return
	}
	s.version = ""
	for name, pool := range s.pools {
		pool.read = time.Time{}
		s.pools[name] = pool
	}
}

// ObservePools records what a reply told of pools.
func (m *Controller) ObservePools(pools rds.Pools) {
	s := m.state
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if pools.All {
		for name := range s.pools {
			s.pools[name] = pool{read: now}
		}
	}
	for _, mounted := range pools.Mounted {
		s.pools[mounted.MountPoint] = pool{Pool: mounted, mounted: true, read: now}
	}
}

// ObserveVersion records RouterOS's version.
func (m *Controller) ObserveVersion(version string) {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	m.state.version, m.state.versionRead = version, time.Now()
}
