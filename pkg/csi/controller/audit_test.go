package controller

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

func TestADiskIsRemovedOnlyIfEverythingSpeaksForIt(t *testing.T) {
	const removed, kept = "0 disks, 0 files", "1 disks, 1 files"
	// Each case is given a disk that no PersistentVolume refers to. It does what it changes, and audits.
	tests := map[string]struct {
		act  func(t *testing.T, w *auditWorld, volume string)
		want string
	}{
		"all speaks for it": {func(t *testing.T, w *auditWorld, _ string) {
			t.Helper()
			w.audit(t, 0)
			w.audit(t, auditGrace)
		}, removed},
		"audits in between change nothing": {func(t *testing.T, w *auditWorld, _ string) {
			t.Helper()
			for range 4 {
				w.audit(t, auditGrace/4)
			}
			w.audit(t, auditGrace/4)
		}, removed},
		"it is not switched on": {func(t *testing.T, w *auditWorld, _ string) {
			t.Helper()
			w.config.Remove = false
			w.begin(t)
			w.audit(t, 0)
			w.audit(t, 10*auditGrace)
		}, kept},
		"one audit only": {func(t *testing.T, w *auditWorld, _ string) {
			t.Helper()
			w.audit(t, 10*auditGrace)
		}, kept},
		"two audits less than the grace apart": {func(t *testing.T, w *auditWorld, _ string) {
			t.Helper()
			w.audit(t, 0)
			w.audit(t, auditGrace-1)
		}, kept},
		"the first audit ended less than the grace ago": {func(t *testing.T, w *auditWorld, _ string) {
			t.Helper()
			w.meanwhile = func() { w.clock = w.clock.Add(time.Minute) }
			w.audit(t, 0)
			w.audit(t, auditGrace-time.Minute)
		}, kept},
		"the clock went back": {func(t *testing.T, w *auditWorld, _ string) {
			t.Helper()
			w.audit(t, 0)
			w.audit(t, -10*auditGrace)
		}, kept},
		"it has a PersistentVolume": {func(t *testing.T, w *auditWorld, volume string) {
			t.Helper()
			w.claim(volume)
			w.audit(t, 0)
			w.audit(t, auditGrace)
		}, kept},
		"its PersistentVolume came after the appliance was listed": {func(t *testing.T, w *auditWorld, volume string) {
			t.Helper()
			w.audit(t, 0)
			w.meanwhile = func() { w.claim(volume); w.cached = attach.Claims{} }
			w.audit(t, auditGrace)
		}, kept},
		"its PersistentVolume is known to the cache by the time of the removal": {func(t *testing.T, w *auditWorld, volume string) {
			t.Helper()
			w.audit(t, 0)
			w.meanwhile = func() { w.claim(volume); w.live = attach.Claims{} }
			w.audit(t, auditGrace)
		}, kept},
		"another driver's PersistentVolume names its slot": {func(t *testing.T, w *auditWorld, volume string) {
			t.Helper()
			w.live.Volumes = []attach.PersistentVolume{{Name: "pv", UID: "1", Driver: "rds.example", Handle: "/" + volume + ".img"}}
			w.audit(t, 0)
			w.audit(t, auditGrace)
		}, kept},
		"it had a PersistentVolume in between": {func(t *testing.T, w *auditWorld, volume string) {
			t.Helper()
			w.audit(t, 0)
			w.claim(volume)
			w.audit(t, auditGrace/2)
			w.claim()
			w.audit(t, auditGrace/2)
			w.audit(t, auditGrace-1)
		}, kept},
		"it was gone in between": {func(t *testing.T, w *auditWorld, volume string) {
			t.Helper()
			w.audit(t, 0)
			if _, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: volume}); err != nil {
				t.Fatal(err)
			}
			w.audit(t, auditGrace/2)
			w.create(t)
			w.audit(t, auditGrace/2)
			w.audit(t, auditGrace-1)
		}, kept},
		"it was made anew between two audits": {func(t *testing.T, w *auditWorld, volume string) {
			t.Helper()
			w.audit(t, 0)
			if _, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: volume}); err != nil {
				t.Fatal(err)
			}
			w.create(t)
			w.audit(t, auditGrace)
		}, kept},
		"somebody held it in between": {func(t *testing.T, w *auditWorld, volume string) {
			t.Helper()
			w.audit(t, 0)
			w.mustPublish(t, volume, nodeA)
			if err := w.unpublish(t, volume, nodeA); err != nil {
				t.Fatal(err)
			}
			w.audit(t, auditGrace)
		}, kept},
		"somebody holds it": {func(t *testing.T, w *auditWorld, volume string) {
			t.Helper()
			w.mustPublish(t, volume, nodeA)
			w.attachTo(volume, "node-a")
			w.audit(t, 0)
			w.audit(t, auditGrace)
		}, kept},
		// The inventory is a moment old when a disk is removed.
		"somebody took it since the inventory": {func(t *testing.T, w *auditWorld, volume string) {
			t.Helper()
			w.audit(t, 0)
			w.setHolder(nodeA, attach.HolderAttached, time.Time{})
			w.meanwhile = func() { w.mustPublish(t, volume, nodeA) }
			w.clock = w.clock.Add(auditGrace)
			if err := w.Audit(t.Context()); !errors.Is(err, rds.ErrHeld) {
				t.Errorf("got %v, want ErrHeld", err)
			}
		}, kept},
		"it is another cluster's": {func(t *testing.T, w *auditWorld, _ string) {
			t.Helper()
			w.controllerWorld.config.ClusterID = "cluster-2"
			w.restart(t)
			w.begin(t)
			w.audit(t, 0)
			w.audit(t, auditGrace)
			if w.counts[attach.OrphanDisk] != 0 || len(w.notes) > 0 {
				t.Errorf("another cluster's disk is counted: %v, %+v", w.counts, w.notes)
			}
		}, kept},
		"its record can't be understood": {func(t *testing.T, w *auditWorld, volume string) {
			t.Helper()
			if _, err := w.sim.Exec(t.Context(), `/disk set [find where slot~"csi-"] comment="an operator was here"`); err != nil {
				t.Fatal(err)
			}
			w.audit(t, 0)
			w.audit(t, auditGrace)
			if w.counts[attach.OrphanDisk] != 0 || w.counts[attach.OrphanFile] != 0 || len(w.notes) > 0 {
				t.Errorf("somebody's disk is counted: %v, %+v", w.counts, w.notes)
			}
			w.claim(volume)
			w.audit(t, auditGrace)
			if w.counts[attach.OrphanVolume] != 0 {
				t.Error("a PersistentVolume is said to lack its disk, which is there and isn't ours")
			}
		}, kept},
		"so many nodes vanished that Kubernetes may be an old copy": {func(t *testing.T, w *auditWorld, _ string) {
			t.Helper()
			w.audit(t, 0)
			w.manyGone = true
			w.audit(t, auditGrace)
		}, kept},
		"the API server doesn't list everything": {func(t *testing.T, w *auditWorld, _ string) {
			t.Helper()
			w.audit(t, 0)
			w.liveErr = errors.New("refused")
			w.clock = w.clock.Add(auditGrace)
			if err := w.Audit(t.Context()); !errors.Is(err, w.liveErr) {
				t.Errorf("got %v, want the API server's error", err)
			}
			if w.counts[attach.OrphanDisk] != 1 {
				t.Errorf("what was found before was forgotten: %v", w.counts)
			}
		}, kept},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newAuditWorld(t)
			test.act(t, w, w.create(t))
			if got := w.left(t); got != test.want {
				t.Errorf("left %s, want %s", got, test.want)
			}
		})
	}
}

func TestAHolderIsReleasedOnlyIfEverythingSpeaksForIt(t *testing.T) {
	tests := map[string]struct {
		act      func(t *testing.T, w *auditWorld, volume string)
		released bool
	}{
		"its node is gone": {func(*testing.T, *auditWorld, string) {}, true},
		"its node has let go": {func(_ *testing.T, w *auditWorld, _ string) {
			w.liveNodes["node-a"] = attach.Node{Name: "node-a", Machine: "machine-a"}
		}, true},
		"it isn't switched on": {func(t *testing.T, w *auditWorld, _ string) { t.Helper(); w.config.Remove = false; w.begin(t) }, false},
		"its node uses the volume": {func(_ *testing.T, w *auditWorld, volume string) {
			w.liveNodes["node-a"] = attach.Node{Name: "node-a", Machine: "machine-a", VolumesInUse: []string{volume}}
		}, false},
		"its node changed its identity while it uses the volume": {func(_ *testing.T, w *auditWorld, volume string) {
			w.liveNodes["node-a"] = attach.Node{Name: "node-a", Machine: "machine-z", VolumesInUse: []string{volume}}
		}, false},
		"it has an attachment": {func(_ *testing.T, w *auditWorld, volume string) { w.attachTo(volume, "node-a") }, false},
		"it has got an attachment since the list": {func(_ *testing.T, w *auditWorld, volume string) {
			w.attachTo(volume, "node-a")
			w.cached.Attachments, w.live.Attachments = nil, nil
		}, false},
		"its attachment can't be asked for": {func(_ *testing.T, w *auditWorld, _ string) { w.attErr = errors.New("refused") }, false},
		"its node can't be asked for":       {func(_ *testing.T, w *auditWorld, _ string) { w.nodeErr = errors.New("refused") }, false},
		"too many nodes vanished":           {func(_ *testing.T, w *auditWorld, _ string) { w.manyGone = true }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newAuditWorld(t)
			volume := w.create(t)
			published := w.mustPublish(t, volume, nodeA)
			w.claim(volume)
			test.act(t, w, volume)
			w.audit(t, 0)
			w.clock = w.clock.Add(auditGrace - 1)
			_ = w.Audit(t.Context())
			if w.reachable() != published.Target.SubsystemNQN {
				t.Error("released before the grace was over")
			}
			w.clock = w.clock.Add(1)
			err := w.Audit(t.Context())
			if failed := errors.Join(w.attErr, w.nodeErr); failed != nil && !errors.Is(err, errors.Join(w.attErr, w.nodeErr)) && !strings.Contains(err.Error(), failed.Error()) {
				t.Errorf("got %v, want %v", err, failed)
			}
			if released := w.reachable() == ""; released != test.released {
				t.Errorf("released %t (%v), want %t", released, err, test.released)
			}
			want := map[bool]int{false: 1}[test.released]
			if _, attached := w.liveAttachments[attach.AttachmentName(volume, testDriver, "node-a")]; attached && len(w.live.Attachments) > 0 {
				want = 0
			}
			if got := w.counts[attach.OrphanHolder]; got != want {
				t.Errorf("counted %d holders without attachment, want %d", got, want)
			}
			if w.left(t) != "1 disks, 1 files" {
				t.Error("the volume is gone")
			}
		})
	}
}

// A disk that somebody holds is first taken from him, and counts as an orphan anew from then on.
func TestAHeldDiskTakesTwoGraces(t *testing.T) {
	w := newAuditWorld(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	w.setHolder(nodeA, attach.HolderGone, time.Time{})
	w.audit(t, 0)
	w.audit(t, auditGrace)
	if w.reachable() != "" || w.left(t) != "1 disks, 1 files" {
		t.Errorf("after one grace: exported %q, left %s, want it released and kept", w.reachable(), w.left(t))
	}
	w.audit(t, time.Second)
	w.audit(t, auditGrace)
	if got := w.left(t); got != "0 disks, 0 files" {
		t.Errorf("after two graces: left %s, want nothing", got)
	}
}

// What is made between the looks at appliance and API server is nobody's orphan, on either side.
func TestAVolumeMadeMeanwhileIsNoOrphan(t *testing.T) {
	w := newAuditWorld(t)
	w.meanwhile = func() {
		w.claim(w.create(t))
		w.cached = attach.Claims{}
	}
	w.audit(t, 0)
	if diff := cmp.Diff(map[attach.OrphanKind]int{attach.OrphanDisk: 0, attach.OrphanVolume: 0, attach.OrphanFile: 0, attach.OrphanHolder: 0, attach.OrphanVersion0: 0}, w.counts); diff != "" || len(w.notes) > 0 {
		t.Errorf("orphans (-want +got):\n%s\nnotes: %+v", diff, w.notes)
	}
}

func TestFilesAndVolumesAreOnlyEverReported(t *testing.T) {
	w := newAuditWorld(t)
	lostDisk, kept := w.create(t), w.createNamed(t, "pvc-2")
	missing := w.createNamed(t, "pvc-3")
	w.claim(kept, missing, "other:"+missing)
	w.live.Volumes = append(w.live.Volumes, attach.PersistentVolume{Name: "other", UID: "2", Driver: "other.example", Handle: "vol-1"},
		attach.PersistentVolume{Name: "odd", UID: "3", Driver: testDriver, Handle: "vol-2"})
	slot := func(volume string) string { return volume[strings.LastIndex(volume, "/")+1:] }
	for _, line := range []string{
		fmt.Sprintf(`/disk remove [find where slot=%q]`, slot(lostDisk)),
		fmt.Sprintf(`/disk remove [find where slot=%q]; /file remove [find where name=%q]`, slot(missing), missing+".img"),
	} {
		if _, err := w.sim.Exec(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		w.audit(t, 2*auditGrace)
		if got := w.left(t); got != "1 disks, 2 files" {
			t.Errorf("left %s, want one disk and two files", got)
		}
		if diff := cmp.Diff(map[attach.OrphanKind]int{attach.OrphanDisk: 0, attach.OrphanVolume: 1, attach.OrphanFile: 1, attach.OrphanHolder: 0, attach.OrphanVersion0: 0}, w.counts); diff != "" {
			t.Errorf("orphans (-want +got):\n%s", diff)
		}
	}
	type told struct {
		Reason     attach.Reason
		Volume, PV string
	}
	var got []told
	for _, note := range w.notes {
		got = append(got, told{note.Reason, note.Volume, note.PV})
	}
	slices.SortFunc(got, func(a, b told) int { return strings.Compare(string(a.Reason), string(b.Reason)) })
	want := []told{{attach.MissingDisk, missing, "pv-of-" + missing}, {attach.OrphanedFile, lostDisk + ".img", ""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("told once each (-want +got):\n%s", diff)
	}
}

// After a power cut the appliance lists nothing for a while. That must neither be reported nor count as a break.
func TestAnApplianceThatIsNotReadyProvesNothing(t *testing.T) {
	for name, boot := range map[string]appliance.Boot{"pools unmounted": {}, "empty listings": {EmptyListings: true}} {
		t.Run(name, func(t *testing.T) {
			w := newAuditWorld(t)
			w.create(t)
			kept := w.createNamed(t, "pvc-2")
			w.claim(kept)
			w.audit(t, 0)
			if err := w.sim.Reboot(t.Context(), boot); err != nil {
				t.Fatal(err)
			}
			w.notes = nil
			for phase := w.sim.Phase(); ; phase = w.sim.NextPhase() {
				w.clock = w.clock.Add(auditGrace)
				if err := w.Audit(t.Context()); !errors.Is(err, rds.ErrNotReady) && !errors.Is(err, rds.ErrUnreachable) {
					t.Errorf("%s: got %v, want ErrNotReady or ErrUnreachable", phase, err)
				}
				if phase == appliance.Up {
					break
				}
			}
			if w.counts[attach.OrphanDisk] != 1 || w.counts[attach.OrphanVolume] != 0 || len(w.notes) > 0 {
				t.Errorf("meanwhile: %v, notes %+v", w.counts, w.notes)
			}
			w.sim.Advance(time.Hour)
			w.audit(t, 0)
			if got := w.left(t); got != "1 disks, 1 files" {
				t.Errorf("up for good: left %s, want the orphan removed", got)
			}
		})
	}
}

// Where holders can't be understood nobody can be judged: the disk stays, and stays held.
func TestHoldersThatCanNotBeUnderstoodAreLeftAlone(t *testing.T) {
	w := newAuditWorld(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	spoilt := strings.Replace(w.sim.Disks()[0].Comment, nodeA, "nobody-knows-who", 1)
	if out, err := w.sim.Exec(t.Context(), fmt.Sprintf(`/disk set [find where slot~"csi-"] comment=%q`, spoilt)); err != nil || strings.TrimSpace(out) != "" {
		t.Fatalf("spoil the record: %q, %v", out, err)
	}
	w.audit(t, 0)
	w.clock = w.clock.Add(auditGrace)
	if err := w.Audit(t.Context()); err == nil || w.left(t) != "1 disks, 1 files" || w.reachable() == "" {
		t.Errorf("got %v, left %s, exported %q", err, w.left(t), w.reachable())
	}
}
