package appliance_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is an appliance with the pool raid10 of 10 GiB, and its target.
type bench struct {
	*appliance.Appliance
	exports  *export.Registry
	stateDir string
	policies appliance.Policies
}

func open(t *testing.T, change func(*appliance.Options)) *bench {
	t.Helper()
	options := appliance.Options{
		StateDir: t.TempDir(),
		Pools:    []appliance.Pool{{Name: "raid10", Size: 10 * appliance.GiB}},
		Uptime:   24 * time.Hour,
		Exports:  export.New(export.Options{RevokeWait: 50 * time.Millisecond}),
	}
	if change != nil {
		change(&options)
	}
	a, err := appliance.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &bench{Appliance: a, exports: options.Exports, stateDir: options.StateDir, policies: appliance.AllPolicies()}
}

// run executes a line and returns what it printed.
func (b *bench) run(t *testing.T, line string) string {
	t.Helper()
	out, err := b.Exec(t.Context(), b.policies, line, nil)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return out
}

// want runs a line and compares what it printed.
func (b *bench) want(t *testing.T, line, want string) {
	t.Helper()
	if got := b.run(t, line); got != want {
		t.Errorf("%s\ngot  %q\nwant %q", line, got, want)
	}
}

const (
	add     = `/disk add type=file slot="x" file-path="/raid10/x.img" file-size=1073741824 nvme-tcp-server-nqn="nqn:x" `
	exportX = `/disk set [find where slot="x"] nvme-tcp-export=yes`
)
