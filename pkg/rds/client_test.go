package rds_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mebibyte = int64(1) << 20

// rig is a client of a fresh simulator.
type rig struct {
	*rds.Client
	sim    *sim.Sim
	config simtest.Config
}

func newRig(t *testing.T, changes ...func(*sim.Options)) rig {
	t.Helper()
	simulator, config := simtest.Start(t, changes...)
	return rig{Client: simtest.Client(t, config), sim: simulator, config: config}
}

func volumeID(t *testing.T, name string) rds.VolumeID {
	t.Helper()
	id, err := rds.NewVolumeID(simtest.Pool, "rds-csi", simtest.ClusterID, name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (r rig) create(t *testing.T) rds.Disk {
	t.Helper()
	const name = "pvc-1"
	disk, err := r.Create(t.Context(), volumeID(t, name), rds.Size{Bytes: 64 * mebibyte}, rds.NewRecord(volumeID(t, name), name, "", ""))
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return disk
}

func (r rig) publish(t *testing.T, disk rds.Disk) rds.Disk {
	t.Helper()
	const node = "node-a/machine-a"
	disk, err := r.Publish(t.Context(), disk, disk.Record.Publish(node, "mount", "single-node-writer", false))
	if err != nil {
		t.Fatalf("publish to %s: %v", node, err)
	}
	return disk
}

func sameDisk() cmp.Option { return cmpopts.IgnoreUnexported(rds.Disk{}) }

func TestLifeOfAVolume(t *testing.T) {
	r := newRig(t)
	disk := r.create(t)
	if disk.Exported || disk.Record.Held() || disk.Size != 64*mebibyte {
		t.Errorf("a new disk: got %+v, want 64 MiB, not exported, not held", disk)
	}
	published := r.publish(t, disk)
	if !published.Exported || !published.Consistent() || !published.Record.HeldBy("node-a/machine-a") {
		t.Errorf("a published disk: got %+v, want it exported under the epoch of node-a", published)
	}
	got, err := r.Get(t.Context(), disk.ID)
	if diff := cmp.Diff(published, got, sameDisk(), cmp.AllowUnexported(rds.VolumeID{})); err != nil || diff != "" {
		t.Errorf("Get: %v, differs from what Publish returned (-want +got):\n%s", err, diff)
	}
	if err := r.Delete(t.Context(), disk.ID, 0); !errors.Is(err, rds.ErrHeld) {
		t.Errorf("delete a held volume: got %v, want ErrHeld", err)
	}
	released, err := r.Unpublish(t.Context(), published, published.Record.Unpublish("node-a/machine-a"))
	if err != nil || released.Exported || released.Record.Held() || released.SubsystemNQN == published.SubsystemNQN {
		t.Errorf("unpublish: got %+v, %v, want it not exported, not held, under an NQN that was never issued", released, err)
	}
	if err := r.Delete(t.Context(), disk.ID, 0); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := r.Get(t.Context(), disk.ID); !errors.Is(err, rds.ErrNotFound) {
		t.Errorf("get a deleted volume: got %v, want ErrNotFound", err)
	}
	if out := r.execute(t, `:put [:len [/file find where name~"csi-"]]`); out != "0" {
		t.Errorf("backing files after deletion: got %s, want 0 (RouterOS's remove leaves them)", out)
	}
}

func (r rig) execute(t *testing.T, line string) string {
	t.Helper()
	out, err := r.sim.Exec(t.Context(), line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(out)
}

func TestOperationsAreIdempotent(t *testing.T) {
	r := newRig(t)
	disk := r.create(t)
	if again := r.create(t); again.ID != disk.ID || again.Record.Token != disk.Record.Token {
		t.Errorf("create again: got %+v, want the disk that was there: %+v", again, disk)
	}
	for range 2 {
		if err := r.Delete(t.Context(), disk.ID, 0); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
}

// Of two writers that saw the same record, one must lose, and nothing of it may take effect.
func TestTheSecondWriterMisses(t *testing.T) {
	r := newRig(t)
	seen := r.create(t)
	other := simtest.Client(t, r.config)
	won, err := other.Publish(t.Context(), seen, seen.Record.Publish("node-b/machine-b", "mount", "single-node-writer", false))
	if err != nil {
		t.Fatal(err)
	}
	for name, lose := range map[string]func() (rds.Disk, error){
		"publish": func() (rds.Disk, error) {
			return r.Publish(t.Context(), seen, seen.Record.Publish("node-a/machine-a", "mount", "single-node-writer", false))
		},
		"unpublish": func() (rds.Disk, error) {
			return r.Unpublish(t.Context(), seen, seen.Record.Unpublish(""))
		},
	} {
		_, err := lose()
		changed := (*rds.ChangedError)(nil)
		if !errors.As(err, &changed) {
			t.Fatalf("%s on an old record: got %v, want a ChangedError", name, err)
		}
		if diff := cmp.Diff(won, changed.Now, sameDisk(), cmp.AllowUnexported(rds.VolumeID{})); diff != "" {
			t.Errorf("%s changed the disk (-want +got):\n%s", name, diff)
		}
	}
}

// A holder that stays must keep its connection: on recent kernels one refusal makes an initiator give up for good.
func TestUnpublishOfAnotherNodeLeavesTheExportAlone(t *testing.T) {
	r := newRig(t)
	held := r.publish(t, r.create(t))
	after, err := r.Unpublish(t.Context(), held, held.Record.Unpublish("node-z/machine-z"))
	if err != nil {
		t.Fatal(err)
	}
	if !after.Exported || after.SubsystemNQN != held.SubsystemNQN || after.Record.Generation <= held.Record.Generation || after.Record.Token == held.Record.Token {
		t.Errorf("got %+v, want the same export with a newer record than %+v", after, held)
	}
}

func TestCreateRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*sim.Options)
		before string
		pool   string
		size   int64
		want   error
	}{
		"no such pool":         {pool: "raid5", want: rds.ErrNoPool},
		"pool too small":       {size: 11 << 30, want: rds.ErrNoSpace},
		"foreign disk":         {before: `/file add name="raid10/other" type=directory; /disk add type=file slot="SLOT" file-path="/raid10/other/x.img" file-size=1048576`, want: rds.ErrNotOurs},
		"appliance is booting": {change: func(o *sim.Options) { o.Uptime = 0 }, size: 11 << 30, want: rds.ErrNotReady},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			change := test.change
			if change == nil {
				change = func(*sim.Options) {}
			}
			r := newRig(t, change)
			pool, size := simtest.Pool, 64*mebibyte
			if test.pool != "" {
				pool = test.pool
			}
			if test.size != 0 {
				size = test.size
			}
			id, err := rds.NewVolumeID(pool, "rds-csi", simtest.ClusterID, "pvc-1")
			if err != nil {
				t.Fatal(err)
			}
			if test.before != "" {
				if out := r.execute(t, strings.ReplaceAll(test.before, "SLOT", id.Slot())); out != "" {
					t.Fatalf("prepare: %s", out)
				}
			}
			if _, err := r.Create(t.Context(), id, rds.Size{Bytes: size}, rds.NewRecord(id, "pvc-1", "", "")); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if out := r.execute(t, `:put [:len [/disk find where comment~"rds-csi/2"]]`); out != "0" {
				t.Errorf("disks of ours after a refusal: got %s, want 0", out)
			}
		})
	}
}

// A file without its disk may be all that is left of a volume: it is given its disk back, whole.
func TestCreateKeepsWhatIsInAnExistingFile(t *testing.T) {
	for _, existing := range []appliance.ExistingFile{appliance.ReuseFile, appliance.RefuseFile, appliance.TruncateFile} {
		r := newRig(t, func(o *sim.Options) { o.Unknowns.ExistingFile = existing })
		disk := r.create(t)
		file := r.sim.Disks()[0].File
		if err := os.WriteFile(file, bytes.Repeat([]byte("data"), 1<<18), 0o600); err != nil {
			t.Fatal(err)
		}
		r.execute(t, `/disk remove [find where slot="`+disk.ID.Slot()+`"]`)
		again := r.create(t)
		if again.Size != 64*mebibyte || again.Exported || again.Record.Held() {
			t.Errorf("got %+v, want the whole size, not exported, not held", again)
		}
		if content, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(content, bytes.Repeat([]byte("data"), 1<<18)) {
			t.Errorf("the content is gone: %v, %d bytes", err, len(content))
		}
	}
}

// An appliance that boots answers with empty lists. Its silence must not pass for absence.
func TestAbsenceNeedsProof(t *testing.T) {
	r := newRig(t, func(o *sim.Options) { o.Uptime = 0 })
	id := volumeID(t, "pvc-1")
	if _, err := r.Get(t.Context(), id); !errors.Is(err, rds.ErrNotReady) {
		t.Errorf("get just after boot: got %v, want ErrNotReady", err)
	}
	if err := r.Delete(t.Context(), id, 0); !errors.Is(err, rds.ErrNotReady) {
		t.Errorf("delete just after boot: got %v, want ErrNotReady", err)
	}
	if _, err := r.List(t.Context()); !errors.Is(err, rds.ErrNotReady) {
		t.Errorf("list just after boot: got %v, want ErrNotReady", err)
	}
	if _, err := r.Health(t.Context()); !errors.Is(err, rds.ErrNotReady) {
		t.Errorf("health just after boot: got %v, want ErrNotReady", err)
	}
	if _, err := r.Capacity(t.Context(), "raid5"); !errors.Is(err, rds.ErrNotReady) {
		t.Errorf("capacity of a pool that isn't mounted just after boot: got %v, want ErrNotReady", err)
	}
	if _, err := r.Capacity(t.Context(), ""); err != nil {
		t.Errorf("capacity of the pools that are mounted: %v", err)
	}
}

func TestListLeavesOutWhatIsNotOurs(t *testing.T) {
	r := newRig(t)
	mine := r.create(t)
	theirs := r.ofCluster(t, "cluster-2").createOn(t, simtest.Pool, "rds-csi", "pvc-1")
	r.execute(t, `/disk add type=file slot="operator" file-path="/raid10/operator.img" file-size=1048576 comment="mine"`)
	disks, err := r.List(t.Context())
	if err != nil || len(disks) != 1 || disks[0].ID != mine.ID {
		t.Errorf("list: got %+v, %v, want only %s", disks, err, mine.ID)
	}
	if _, err := r.Get(t.Context(), theirs.ID); !errors.Is(err, rds.ErrNotOurs) {
		t.Errorf("get another cluster's disk: got %v, want ErrNotOurs", err)
	}
	if err := r.Delete(t.Context(), theirs.ID, 0); !errors.Is(err, rds.ErrNotOurs) {
		t.Errorf("delete another cluster's disk: got %v, want ErrNotOurs", err)
	}
}

// To look for a volume of another appliance here would tell nothing, not even that it is gone.
func TestAVolumeOnAnotherApplianceIsNotLookedFor(t *testing.T) {
	r := newRig(t)
	here := r.publish(t, r.create(t))
	id, err := rds.ParseVolumeID("other:" + here.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	moved := here
	moved.ID = id
	asked := r.sim.Inject(sim.Fault{Kind: sim.Garbage}, sim.When{})
	for what, err := range map[string]error{
		"create":         second(r.Create(t.Context(), id, rds.Size{Bytes: mebibyte}, here.Record)),
		"get":            second(r.Get(t.Context(), id)),
		"foreign record": second(r.ForeignRecord(t.Context(), id)),
		"publish":        second(r.Publish(t.Context(), moved, moved.Record)),
		"unpublish":      second(r.Unpublish(t.Context(), moved, moved.Record.Unpublish(""))),
		"withdraw":       second(r.Withdraw(t.Context(), moved)),
		"expand":         second(r.Expand(t.Context(), moved, 2*moved.Size)),
		"mend":           second(r.Mend(t.Context(), id, "pvc-1")),
		"delete":         r.Delete(t.Context(), id, 0),
	} {
		if !errors.Is(err, rds.ErrNotOurs) || !strings.Contains(err.Error(), `the driver that serves "other"`) {
			t.Errorf("%s: got %v, want ErrNotOurs that says which driver to use", what, err)
		}
	}
	if execs := asked.Strikes(); execs > 0 {
		t.Errorf("the appliance was asked %d times", execs)
	}
	if got, err := r.Get(t.Context(), here.ID); err != nil || !got.Exported {
		t.Errorf("the disk in its slot: got %+v, %v, want it as it was", got, err)
	}
}

// Whatever happens to the reply, the operation must end in the wanted state or say that it doesn't know.
func TestLostRepliesAreReadBack(t *testing.T) {
	faults := map[string]sim.Fault{
		"dropped before":  {Kind: sim.DropBefore},
		"reply lost":      {Kind: sim.ReplyLost},
		"dropped midway":  {Kind: sim.DropAfter, Statements: 1},
		"reply truncated": {Kind: sim.Truncate, Keep: 20},
		"garbage first":   {Kind: sim.Garbage, Line: "login banner: all is well"},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.failNext(fault)
			disk := r.create(t)
			r.failNext(fault)
			held := r.publish(t, disk)
			r.failNext(fault)
			free, err := r.Unpublish(t.Context(), held, held.Record.Unpublish(""))
			if err != nil || free.Exported || free.Record.Held() {
				t.Errorf("unpublish: got %+v, %v", free, err)
			}
			if _, err := r.Get(t.Context(), disk.ID); err != nil {
				t.Fatal(err)
			}
			r.failWrites(fault)
			if err := r.Delete(t.Context(), disk.ID, 0); err != nil {
				t.Errorf("delete: %v", err)
			}
		})
	}
}

// failNext has the fault happen to the next exec only.
func (r rig) failNext(fault sim.Fault) {
	r.sim.SetFault(once(fault, ""))
}

// failWrites has the fault happen to the next exec that removes something.
func (r rig) failWrites(fault sim.Fault) {
	r.sim.SetFault(once(fault, "/disk remove"))
}

func once(fault sim.Fault, containing string) func(string) sim.Fault {
	done := make(chan struct{}, 1)
	return func(command string) sim.Fault {
		if !strings.Contains(command, containing) {
			return sim.Fault{}
		}
		select {
		case done <- struct{}{}:
			return fault
		default:
			return sim.Fault{}
		}
	}
}

// A channel that never answers must cost the caller its own deadline, no more, and must not leave a goroutine behind.
func TestAHangingAppliance(t *testing.T) {
	r := newRig(t)
	disk := r.create(t)
	r.sim.SetFault(func(string) sim.Fault { return sim.Fault{Kind: sim.Hang} })
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := r.Publish(ctx, disk, disk.Record.Publish("node-a/machine-a", "mount", "single-node-writer", false))
		result <- err
	}()
	cancel()
	if err := <-result; !errors.Is(err, rds.ErrUnknownOutcome) && !errors.Is(err, rds.ErrUnreachable) {
		t.Errorf("publish: got %v, want ErrUnknownOutcome or ErrUnreachable", err)
	}
	r.sim.SetFault(nil)
	if _, err := r.Get(t.Context(), disk.ID); err != nil {
		t.Errorf("get once it answers again: %v", err)
	}
}
