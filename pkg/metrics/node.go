package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Node has the metrics of a node process. Its methods are safe for concurrent use and never block.
type Node struct {
	process
	calls           *prometheus.HistogramVec
	connectionsLost prometheus.Counter
	reconnects      *prometheus.CounterVec
}

// New returns the metrics of a node process. Calls appear when they are counted first: there may be thousands of node
// processes.
func New() *Node {
	m := &Node{process: newProcess()}
	register := m.register()
	m.calls = newCalls(register)
	m.connectionsLost = register.NewCounter(prometheus.CounterOpts{
		Name: "rds_csi_node_connections_lost_total", Help: "Staged volumes found without a connection, because the kernel had given it up.",
	})
	m.reconnects = register.NewCounterVec(prometheus.CounterOpts{
		Name: "rds_csi_node_reconnects_total", Help: "Attempts to reconnect staged volumes whose connection the kernel had given up, by result.",
	}, []string{"result"})
	for _, result := range []string{resultSuccess, resultError} {
		m.reconnects.WithLabelValues(result)
	}
	return m
}

// ObserveCall counts a finished CSI call.
func (m *Node) ObserveCall(method, code string, took time.Duration) {
	m.calls.WithLabelValues(driverName, method, code).Observe(took.Seconds())
}

// CountConnectionLost counts a staged volume whose connection the kernel had given up.
func (m *Node) CountConnectionLost() { m.connectionsLost.Inc() }

// CountReconnect counts an attempt to reconnect such a volume. err is nil if it succeeded.
func (m *Node) CountReconnect(err error) { m.reconnects.WithLabelValues(resultOf(err)).Inc() }
