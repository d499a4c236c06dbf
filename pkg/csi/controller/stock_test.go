package controller

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/requests"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// Pages of any size, one after another, give every volume once and in order, also when volumes vanish in between.
func TestPagesGiveEveryVolumeOnce(t *testing.T) {
	w := newControllerWorld(t)
	var all []string
	for i := range 5 {
		response, err := w.CreateVolume(t.Context(), createRequest(fmt.Sprintf("pvc-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, response.GetVolume().GetVolumeId())
	}
	slices.Sort(all)
	for size := range int32(7) {
		var got []string
		request := &csi.ListVolumesRequest{MaxEntries: size}
		for {
			response, err := w.ListVolumes(t.Context(), request)
			if err != nil || size > 0 && len(response.GetEntries()) > int(size) {
				t.Fatalf("pages of %d: %v, %d entries", size, err, len(response.GetEntries()))
			}
			for _, entry := range response.GetEntries() {
				got = append(got, entry.GetVolume().GetVolumeId())
			}
			if request.StartingToken = response.GetNextToken(); request.GetStartingToken() == "" {
				break
			}
		}
		if !slices.Equal(got, all) {
			t.Errorf("pages of %d: %v, want %v", size, got, all)
		}
	}
	first, err := w.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: first.GetNextToken()}); err != nil {
		t.Fatal(err)
	}
	rest, err := w.ListVolumes(t.Context(), &csi.ListVolumesRequest{StartingToken: first.GetNextToken()})
	if err != nil || len(rest.GetEntries()) != 3 {
		t.Errorf("after the volume that a page ended with is gone: %v, %v, want the other three", rest, err)
	}
}

func TestRoom(t *testing.T) {
	w := newControllerWorld(t)
	room := func(request *csi.GetCapacityRequest) int64 {
		t.Helper()
		response, err := w.GetCapacity(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		return response.GetAvailableCapacity()
	}
	pool := &csi.GetCapacityRequest{Parameters: map[string]string{"pool": simtest.Pool}}
	before := room(pool)
	if all := room(&csi.GetCapacityRequest{}); all != before {
		t.Errorf("all pools have %d, the only one has %d", all, before)
	}
	w.create(t)
	if after := room(pool); before-after < 64*mebibyte {
		t.Errorf("%d before and %d after a volume of 64 MiB: what is promised isn't free", before, after)
	}
	request := &csi.GetCapacityRequest{Parameters: map[string]string{"pool": simtest.Pool, parameterFilesystem: "xfs"}}
	if response, err := w.GetCapacity(t.Context(), request); err != nil || response.GetMinimumVolumeSize().GetValue() != minimumXFS {
		t.Errorf("for xfs: %v, %v, want %d bytes at least", response, err, minimumXFS)
	}
	pool.VolumeCapabilities = []*csi.VolumeCapability{mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)}
	if none := room(pool); none != 0 {
		t.Errorf("%d bytes for volumes that can't be made", none)
	}
}

// Without parameters, all pools count; but a volume is on one of them.
func TestTheLargestVolumeFitsOnOnePool(t *testing.T) {
	simulator, config := simtest.Start(t, func(o *sim.Options) {
		o.Pools = append(o.Pools, appliance.Pool{Name: "raid5", Size: 4 * appliance.GiB})
	})
	w := &controllerWorld{nodes: &fakeNodes{}, sim: simulator, config: config}
	w.restart(t)
	// external-provisioner sends an empty topology for a driver without any.
	response, err := w.GetCapacity(t.Context(), &csi.GetCapacityRequest{AccessibleTopology: &csi.Topology{}})
	if err != nil || response.GetAvailableCapacity() != 14<<30 || response.GetMaximumVolumeSize().GetValue() != 10<<30 {
		t.Errorf("got %v, %v, want 14 GiB, 10 GiB of them in one piece", response, err)
	}
}

func (w *controllerWorld) expand(t *testing.T, volume string, required int64) (*csi.ControllerExpandVolumeResponse, error) {
	t.Helper()
	return w.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: volume, CapacityRange: &csi.CapacityRange{RequiredBytes: required}})
}

func TestAVolumeGrowsWhileNobodyHasIt(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	for _, size := range []int64{100 * mebibyte, 100 * mebibyte, 80 * mebibyte} {
		if response, err := w.expand(t, volume, size); err != nil || response.GetCapacityBytes() != 100*mebibyte || !response.GetNodeExpansionRequired() {
			t.Errorf("expand to %d: %v, %v, want 100 MiB, and the filesystem still to grow", size, response, err)
		}
	}
	published := w.mustPublish(t, volume, nodeA)
	if _, err := w.expand(t, volume, 128*mebibyte); !errors.Is(err, failure.ErrInService) || failure.Code(err) != codes.FailedPrecondition {
		t.Errorf("expand while published: %v, want FAILED_PRECONDITION", err)
	}
	if response, err := w.expand(t, volume, 100*mebibyte); err != nil || response.GetCapacityBytes() != 100*mebibyte {
		t.Errorf("to the size that it has, while published: %v, %v", response, err)
	}
	w.Service.config.ExpandPublished = true
	if response, err := w.expand(t, volume, 128*mebibyte); err != nil || response.GetCapacityBytes() != 128*mebibyte {
		t.Errorf("online: %v, %v", response, err)
	}
	if again := w.mustPublish(t, volume, nodeA); again.Target != published.Target {
		t.Errorf("growing moved the volume from %v to %v", published, again)
	}
	if _, err := w.expand(t, volume, 64<<30); failure.Code(err) != codes.ResourceExhausted {
		t.Errorf("beyond the pool: %v, want RESOURCE_EXHAUSTED", err)
	}
}

// A detach that is under way is waited for, as a publish waits for it.
func TestGrowthWaitsForADetach(t *testing.T) {
	for _, leaving := range []attach.HolderState{attach.HolderDetaching, attach.HolderDetached} {
		w := newControllerWorld(t)
		volume := w.create(t)
		w.mustPublish(t, volume, nodeA)
		w.setHolder(nodeA, leaving, time.Now())
		w.nodes.changed = make(chan struct{})
		waiting := w.restartWaiting(t)
		done := make(chan error, 1)
		go func() {
			_, err := w.expand(t, volume, 100*mebibyte)
			done <- err
		}()
		select {
		case <-waiting:
		case err := <-done:
			t.Fatalf("%s: it didn't wait: %v", leaving, err)
		}
		if err := w.unpublish(t, volume, nodeA); err != nil {
			t.Fatal(err)
		}
		close(w.nodes.changed)
		if err := <-done; err != nil {
			t.Errorf("%s: got %v, want that it grows after the detach", leaving, err)
		}
	}
}

func TestTheAppliancesWordOnHealth(t *testing.T) {
	w := newControllerWorld(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	check := func(what string, want ...string) {
		t.Helper()
		one, err := w.ControllerGetVolumeHealth(t.Context(), &csi.ControllerGetVolumeHealthRequest{VolumeId: volume})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var got []string
		for _, status := range one.GetVolumeHealth().GetHealthStatuses() {
			got = append(got, status.GetReason())
		}
		all, err := w.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{})
		if err != nil || !slices.Equal(got, want) || len(all.GetEntries()) != min(1, len(want)) {
			t.Errorf("%s: %v, %v, listed %v, want %v", what, got, err, all.GetEntries(), want)
		}
	}
	check("all is well")
	for kind, want := range map[sim.FaultKind]string{sim.PoolDegraded: reasonPoolState, sim.PoolUnmounted: reasonPoolAway} {
		w.sim.Inject(sim.Fault{Kind: kind}, sim.When{})
		check(string(kind), want)
		w.sim.ClearFaults()
	}
	if _, err := w.sim.Exec(t.Context(), "/disk set [find where nvme-tcp-export=yes] nvme-tcp-export=no"); err != nil {
		t.Fatal(err)
	}
	check("somebody took the export away", reasonExportDiffer)
}

// A backing file that is gone shows by the disk's flag, and on some versions perhaps by RouterOS's own words.
func TestADiskThatIsNotWell(t *testing.T) {
	for name, test := range map[string]struct {
		tells bool
		// state, unless empty, is put into the appliance's word on the disk.
		state string
		lost  bool
		says  string
	}{
		"file gone, silently":     {lost: true, says: "backing file"},
		"file gone, and said so":  {tells: true, lost: true, says: "no such file"},
		"words about it":          {state: `"about":"slow"`, says: "slow"},
		"a state of its own":      {state: `"state":"failed"`, says: "failed"},
		"a state that is no news": {state: `"state":"clean"`},
	} {
		t.Run(name, func(t *testing.T) {
			simulator, config := simtest.Start(t, func(o *sim.Options) { o.Unknowns.TellsOfLostFiles = test.tells })
			w := &controllerWorld{nodes: &fakeNodes{}, sim: simulator, config: config}
			w.restart(t)
			volume := w.create(t)
			if test.lost {
				if _, err := w.sim.Exec(t.Context(), `/file remove [find where name="`+volume+`.img"]`); err != nil {
					t.Fatal(err)
				}
			}
			w.appliance = simtest.ClientOver(t, config.Config, simtest.Console{Sim: simulator, Change: strings.NewReplacer(`"type":"file"`, `"type":"file",`+cmp.Or(test.state, `"x":0`))})
			response, err := w.ControllerGetVolumeHealth(t.Context(), &csi.ControllerGetVolumeHealthRequest{VolumeId: volume})
			if err != nil {
				t.Fatal(err)
			}
			statuses := response.GetVolumeHealth().GetHealthStatuses()
			if test.says == "" {
				if len(statuses) > 0 {
					t.Errorf("got %v, want nothing", statuses)
				}
				return
			}
			if len(statuses) != 1 || statuses[0].GetReason() != reasonDisk || !strings.Contains(statuses[0].GetMessage(), test.says) {
				t.Errorf("got %v, want %s that says %q", statuses, reasonDisk, test.says)
			}
		})
	}
}

// restricted is a controller that lets in the holder's host only.
func restricted(t *testing.T, w *controllerWorld) {
	t.Helper()
	w.config.HostNQN = func(nodeID string) string {
		id, err := attach.ParseNodeID(nodeID)
		if err != nil {
			t.Errorf("holder %q: %v", nodeID, err)
		}
		return nvme.HostOf(id.Machine).NQN
	}
	w.restart(t)
}

// allowed is the host that the appliance admits to the volume.
func (w *controllerWorld) allowed(t *testing.T, volume string) string {
	t.Helper()
	return w.disk(t, volume).AllowedHost
}

func TestOnlyTheHoldersHostIsAllowed(t *testing.T) {
	w := newControllerWorld(t)
	restricted(t, w)
	volume := w.create(t)
	a, b := nvme.HostOf("machine-a").NQN, nvme.HostOf("machine-b").NQN
	check := func(what, want string) {
		t.Helper()
		if got := w.allowed(t, volume); got != want {
			t.Errorf("%s: allowed is %q, want %q", what, got, want)
		}
	}
	join := func(node string) {
		t.Helper()
		w.setHolder(nodeA, attach.HolderAttached, time.Time{})
		if _, err := w.publishAs(t, volume, node, sharedBlock()); err != nil {
			t.Fatal(err)
		}
	}
	leave := func(node string) {
		t.Helper()
		if err := w.unpublish(t, volume, node); err != nil {
			t.Fatal(err)
		}
	}
	check("nobody holds it", "")
	join(nodeA)
	check("one holds it", a)
	join(nodeB)
	check("two hold it", "")
	leave(nodeA)
	check("the first left", b)
	if _, err := w.sim.Exec(t.Context(), `/disk set [find where nvme-tcp-export=yes] nvme-tcp-server-allow-host-name=""`); err != nil {
		t.Fatal(err)
	}
	if _, err := w.publishAs(t, volume, nodeB, sharedBlock()); err != nil {
		t.Fatal(err)
	}
	check("somebody lifted it, and the holder was published again", b)
	w.config.HostNQN = nil
	w.restart(t)
	if _, err := w.publishAs(t, volume, nodeB, sharedBlock()); err != nil {
		t.Fatal(err)
	}
	check("switched off, and the holder was published again", "")
	restricted(t, w)
	leave(nodeB)
	check("nobody holds it any more", "")
}

// Switching --restrict-hosts on or off must not cut anybody off, and volumes are well all the while.
func TestRestrictingHostsLeavesConnectionsAlone(t *testing.T) {
	withdrawn := 0
	simulator, config := simtest.Start(t, func(o *sim.Options) {
		o.Observe = func(done sim.Execution) {
			if strings.Contains(done.Command, "nvme-tcp-export=no") {
				withdrawn++
			}
		}
	})
	w := &controllerWorld{nodes: &fakeNodes{}, sim: simulator, config: config}
	w.restart(t)
	volume := w.create(t)
	w.mustPublish(t, volume, nodeA)
	withdrawn = 0
	restricted(t, w)
	response, err := w.ControllerGetVolumeHealth(t.Context(), &csi.ControllerGetVolumeHealthRequest{VolumeId: volume})
	if err != nil || len(response.GetVolumeHealth().GetHealthStatuses()) != 0 {
		t.Errorf("health: %v, %v, want nothing wrong", response, err)
	}
	w.mustPublish(t, volume, nodeA)
	if got, want := w.allowed(t, volume), nvme.HostOf("machine-a").NQN; got != want {
		t.Errorf("switched on: allowed is %q, want %q", got, want)
	}
	if len(w.restored) > 0 {
		t.Errorf("switched on: counted %q, though nothing was lost", w.restored)
	}
	w.config.HostNQN = nil
	w.restart(t)
	w.mustPublish(t, volume, nodeA)
	if got := w.allowed(t, volume); got != "" {
		t.Errorf("switched off: allowed is %q, want any", got)
	}
	if withdrawn != 0 {
		t.Errorf("the export was taken away %d times", withdrawn)
	}
}

// How many execs each RPC takes where nothing stands in the way; the first four have a limit.
func TestExecsOfEachRPC(t *testing.T) {
	execs := 0
	simulator, config := simtest.Start(t, func(o *sim.Options) { o.Observe = func(sim.Execution) { execs++ } })
	w := &controllerWorld{nodes: &fakeNodes{}, sim: simulator, config: config}
	w.restart(t)
	volume := w.create(t)
	calls := w.calls(volume)
	if _, err := w.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: volume}); err != nil {
		t.Fatal(err)
	}
	calls["expand"] = requests.CallOf(&csi.ControllerExpandVolumeRequest{VolumeId: volume, CapacityRange: &csi.CapacityRange{RequiredBytes: 128 * mebibyte}}, w.ControllerExpandVolume)
	limits := map[string]int{"create": 3, "publish": 1, "unpublish": 1, "delete": 3}
	for _, rpc := range []string{"create", "publish", "unpublish", "validate", "expand", "get", "health", "list", "unwell", "room", "delete"} {
		execs = 0
		if err := calls[rpc].Do(t.Context(), calls[rpc].Good); err != nil {
			t.Fatalf("%s: %v", rpc, err)
		}
		t.Logf("%-9s %d execs", rpc, execs)
		if limit, limited := limits[rpc]; limited && execs > limit {
			t.Errorf("%s took %d execs, want at most %d", rpc, execs, limit)
		}
	}
}
