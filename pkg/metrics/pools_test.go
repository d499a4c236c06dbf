package metrics

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// What isn't known isn't shown: an alert on a full pool must not fire because the appliance reboots.
func TestNothingIsShownOfAnApplianceThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewController()
		expect := func(when string, series ...string) {
			t.Helper()
			got := []string{}
			families, err := m.Registry().Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range families {
				name, found := strings.CutPrefix(family.GetName(), "rds_csi_")
				if !found || !strings.HasPrefix(name, "pool_") && name != "appliance_up" && name != "appliance_info" {
					continue
				}
				for _, metric := range family.GetMetric() {
					words := []string{name}
					for _, label := range metric.GetLabel() {
						words = append(words, label.GetValue())
					}
					got = append(got, fmt.Sprintf("%s %g", strings.Join(words, " "), metric.GetGauge().GetValue()))
				}
			}
			if !slices.Equal(got, series) {
				t.Errorf("%s: got %q, want %q", when, got, series)
			}
		}
		command := func(outcome rds.Outcome) { m.ObserveCommand(rds.KindInventory, outcome, time.Second) }
		fast := rds.Pool{MountPoint: "fast", Size: 100, Free: 40, State: "clean"}
		slow := rds.Pool{MountPoint: "slow", Size: 200, Free: 0}

		expect("before the first command", []string{}...)
		command(rds.OutcomeInvalid)
		expect("a command that isn't tried", []string{}...)
		command(rds.OutcomeUnreachable)
		expect("away from the start", "appliance_up 0")
		command(rds.OutcomeRefused)
		expect("it refused", "appliance_up 1")
		m.ObserveVersion("7.24")
		m.ObservePools(rds.Pools{Mounted: []rds.Pool{fast, slow}, All: true})
		command(rds.OutcomeDone)
		expect("read", "appliance_info 7.24 1", "appliance_up 1", "pool_free_bytes fast 40", "pool_free_bytes slow 0",
			"pool_mounted fast 1", "pool_mounted slow 1", "pool_size_bytes fast 100", "pool_size_bytes slow 200", "pool_state fast clean 1")
		command(rds.OutcomeUnreachable)
		expect("away", "appliance_up 0")
		command(rds.OutcomeLost)
		expect("back, and not read yet", "appliance_up 1")
		fast.Free, fast.State = 30, "degraded"
		m.ObservePools(rds.Pools{Mounted: []rds.Pool{fast}})
		expect("one is read", "appliance_up 1", "pool_free_bytes fast 30", "pool_mounted fast 1", "pool_size_bytes fast 100", "pool_state fast degraded 1")
		m.ObserveVersion("7.25")
		m.ObservePools(rds.Pools{Mounted: []rds.Pool{fast}, All: true})
		expect("all are read, and one isn't mounted any more", "appliance_info 7.25 1", "appliance_up 1", "pool_free_bytes fast 30",
			"pool_mounted fast 1", "pool_mounted slow 0", "pool_size_bytes fast 100", "pool_state fast degraded 1")
		<-time.After(readFor + time.Second)
		expect("not read again", "appliance_up 1")
		problems, err := testutil.GatherAndLint(m.Registry())
		if err != nil || len(problems) != 0 {
			t.Errorf("against Prometheus' conventions: %v, %v", problems, err)
		}
	})
}
