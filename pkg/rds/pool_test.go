package rds_test

import (
	"errors"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

func TestProbe(t *testing.T) {
	tests := map[string]struct {
		change func(*sim.Options)
		want   error
	}{
		"current":          {func(o *sim.Options) { o.Version = "7.24.4" }, nil},
		"oldest supported": {func(o *sim.Options) { o.Version = "7.21" }, nil},
		"no chosen NQN":    {func(o *sim.Options) { o.Version = "7.20.8" }, rds.ErrUnsupported},
		"no package":       {func(o *sim.Options) { o.WithoutRose = true }, rds.ErrUnsupported},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			version, err := newRig(t, test.change).Probe(t.Context())
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if version.Text == "" {
				t.Error("the version that was found isn't told")
			}
		})
	}
}

// A filesystem that allocates late shows space that has been promised already.
func TestCapacityIsTheWorseOfBoth(t *testing.T) {
	for name, thin := range map[string]bool{"allocated at once": false, "allocated late": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *sim.Options) { o.Unknowns.ThinFiles = thin })
			r.create(t)
			r.execute(t, `/disk add type=file slot="operator" file-path="/raid10/operator.img" file-size=1073741824`)
			got, err := r.Capacity(t.Context(), simtest.Pool)
			if err != nil {
				t.Fatal(err)
			}
			if want := 64*mebibyte + 1<<30; got.Promised != want || got.Available != got.Size-want {
				t.Errorf("got %+v (available %d), want %d promised", got, got.Available, want)
			}
		})
	}
	r := newRig(t)
	if _, err := r.Capacity(t.Context(), "raid5"); !errors.Is(err, rds.ErrNoPool) {
		t.Errorf("a pool that isn't: got %v, want ErrNoPool", err)
	}
	var field *rds.FieldError
	if _, err := r.Capacity(t.Context(), `x"; /disk remove [find]`); !errors.As(err, &field) {
		t.Errorf("a pool that is a command: got %v, want a FieldError", err)
	}
}

// A pool that is misspelt, one that isn't mounted and one of an appliance that boots are three different troubles.
func TestAPoolThatIsNotThereSaysWhy(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*sim.Options)
		fault  sim.FaultKind
		pool   string
		want   error
		says   string
	}{
		"misspelt":    {nil, "", "raid01", rds.ErrNoPool, "parameter pool of the StorageClass"},
		"not mounted": {nil, sim.PoolUnmounted, simtest.Pool, rds.ErrNotReady, "isn't mounted"},
		"booting":     {func(o *sim.Options) { o.Uptime = 0 }, "", simtest.Pool, rds.ErrNotReady, "to boot"},
	} {
		t.Run(name, func(t *testing.T) {
			changes := []func(*sim.Options){}
			if test.change != nil {
				changes = append(changes, test.change)
			}
			r := newRig(t, changes...)
			if test.fault != "" {
				r.sim.Inject(sim.Fault{Kind: test.fault}, sim.When{})
			}
			id, err := rds.NewVolumeID(test.pool, "rds-csi", simtest.ClusterID, "pvc-1")
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Create(t.Context(), id, rds.Size{Bytes: mebibyte}, rds.NewRecord(id, "pvc-1", "", ""))
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %v with %q", err, test.want, test.says)
			}
		})
	}
}

// A pool that isn't mounted proves nothing and offers no room, however it is shown: with its mount point, or with another
// pool mounted in its place.
func TestAPoolThatIsNotMountedProvesNothing(t *testing.T) {
	unmounted := func(t *testing.T, r rig) rig {
		t.Helper()
		r.sim.Inject(sim.Fault{Kind: sim.PoolUnmounted}, sim.When{})
		return r
	}
	for name, c := range map[string]struct {
		shown bool
		begin func(t *testing.T, r rig) rig
	}{
		"with its mount point":    {true, unmounted},
		"without its mount point": {false, unmounted},
		"mounted elsewhere": {false, func(t *testing.T, r rig) rig {
			t.Helper()
			return r.through(t, `"mount-point":"raid10"`, `"mount-point":"raid11"`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *sim.Options) { o.Unknowns.UnmountedKeepsMountPoint = c.shown })
			disk, absent := r.create(t), volumeID(t, "pvc-2")
			seen := c.begin(t, r)
			for what, err := range map[string]error{
				"get":                      second(seen.Get(t.Context(), absent)),
				"delete":                   seen.Delete(t.Context(), absent, 0),
				"delete what it can't see": seen.Delete(t.Context(), disk.ID, 0),
			} {
				if !errors.Is(err, rds.ErrNotReady) {
					t.Errorf("%s: got %v, want ErrNotReady", what, err)
				}
			}
			if got, err := seen.Capacity(t.Context(), simtest.Pool); !errors.Is(err, rds.ErrNoPool) || got.Available != 0 {
				t.Errorf("capacity: got %+v, %v, want ErrNoPool", got, err)
			}
			if got, err := seen.Health(t.Context()); err != nil || len(got) != 1 || got[0].PoolMounted {
				t.Errorf("health: got %+v, %v, want that the pool isn't mounted", got, err)
			}
			if name != "mounted elsewhere" {
				if _, err := seen.Create(t.Context(), absent, rds.Size{Bytes: mebibyte}, rds.NewRecord(absent, "pvc-2", "", "")); !errors.Is(err, rds.ErrNotReady) {
					t.Errorf("create: got %v, want ErrNotReady", err)
				}
			}
			if disks := r.sim.Disks(); len(disks) != 1 {
				t.Errorf("got the disks %+v, want the one that there was", disks)
			}
		})
	}
}

// What is free on one pool is no room for what another one has promised.
func TestCapacityOfAllPoolsIsThatOfEach(t *testing.T) {
	r := newRig(t, func(o *sim.Options) {
		o.Pools = append(o.Pools, appliance.Pool{Name: "raid5", Size: 5 * appliance.GiB})
	})
	const gib = 1 << 30
	// Of raid10's 10 GiB, 8 are promised and 4 used. Of raid5's 5 GiB, none are promised and 4 used.
	for _, line := range []string{
		`/disk add type=file slot="one" file-path="/raid10/shared.img" file-size=4294967296`,
		`/disk add type=file slot="two" file-path="/raid10/shared.img"`,
		`/disk add type=file slot="left" file-path="/raid5/left.img" file-size=4294967296`,
		`/disk remove [find where slot="left"]`,
	} {
		if out := r.execute(t, line); out != "" {
			t.Fatalf("%s: %s", line, out)
		}
	}
	got, err := r.Capacity(t.Context(), "")
	if err != nil || got.Available != 3*gib || got.Largest != 2*gib {
		t.Errorf("got %+v, %v, want 3 GiB available and 2 of them in one piece", got, err)
	}
	if got.Size != 15*gib || got.Free != 7*gib || got.Promised != 8*gib {
		t.Errorf("got %+v, want the sums of 15 GiB, 7 free and 8 promised", got)
	}
}

// A disk that isn't ours may have any size that a person can think of.
func TestOneOddDiskDoesNotHideTheRoom(t *testing.T) {
	r := newRig(t)
	r.create(t)
	r.execute(t, `/disk add type=file slot="operator" file-path="/raid10/operator.img" file-size=1073741824`)
	odd := simtest.ClientOver(t, r.config.Config, simtest.Console{Sim: r.sim, Change: strings.NewReplacer(`"file-size":1073741824`, `"file-size":"auto"`, `"size":1073741824,`, `"size":"",`)})
	got, err := odd.Capacity(t.Context(), simtest.Pool)
	if err != nil || got.Promised != 64*mebibyte {
		t.Errorf("got %+v, %v, want 64 MiB promised, and the odd one left out", got, err)
	}
}

func TestExpand(t *testing.T) {
	r := newRig(t)
	held := r.publish(t, r.create(t))
	grown, err := r.Expand(t.Context(), held, 128*mebibyte)
	if err != nil {
		t.Fatal(err)
	}
	if grown.Size != 128*mebibyte || grown.SubsystemNQN != held.SubsystemNQN || !grown.Exported || !grown.Record.HeldBy("node-a/machine-a") {
		t.Errorf("got %+v, want 128 MiB and everything else as it was: %+v", grown, held)
	}
	if again, err := r.Expand(t.Context(), grown, 100*mebibyte); err != nil || again.Size != 128*mebibyte {
		t.Errorf("a smaller size: got %+v, %v, want the disk unchanged", again, err)
	}
	// Somebody who decided on the old size must not shrink what was grown since.
	changed := (*rds.ChangedError)(nil)
	if _, err := r.Expand(t.Context(), held, 96*mebibyte); !errors.As(err, &changed) || changed.Now.Size != 128*mebibyte {
		t.Errorf("on an old record: got %v, want a ChangedError that shows 128 MiB", err)
	}
	if _, err := r.Expand(t.Context(), grown, 11<<30); !errors.Is(err, rds.ErrNoSpace) {
		t.Errorf("more than the pool has: got %v, want ErrNoSpace", err)
	}
}
