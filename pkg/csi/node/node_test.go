package node

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// A machine that is made anew finds pods bound to its name, and the attachment of its predecessor, who may be writing
// still.
func TestAnotherMachinesGrantIsNotUsed(t *testing.T) {
	w := newNodeWorld(t)
	stage, publish := w.stageRequest(t, epochA), w.publishRequest(t, epochA)
	stage.PublishContext["nodeID"], publish.PublishContext["nodeID"] = "worker-1/machine-0", "worker-1/machine-0"
	_, err := w.NodeStageVolume(t.Context(), stage)
	_, errPublish := w.NodePublishVolume(t.Context(), publish)
	if failure.Code(err) != codes.FailedPrecondition || failure.Code(errPublish) != codes.FailedPrecondition || len(w.connector.devices) > 0 {
		t.Errorf("stage: %v, publish: %v, connected: %v", err, errPublish, w.connector.devices)
	}
}

func TestNewNodeRefusesWhatMakesNoNodeID(t *testing.T) {
	for name, config := range map[string]Config{
		"no name":             {MachineIdentity: "m"},
		"no identity":         {NodeName: "n"},
		"slash in name":       {NodeName: "a/b", MachineIdentity: "m"},
		"slash in identity":   {NodeName: "n", MachineIdentity: "m/x"},
		"space in identity":   {NodeName: "n", MachineIdentity: "a b"},
		"newline in identity": {NodeName: "n", MachineIdentity: "a\n"},
		"too long":            {NodeName: strings.Repeat("n", 200), MachineIdentity: strings.Repeat("m", 56)},
	} {
		t.Run(name, func(t *testing.T) {
			config.MaxVolumes = 1
			if _, err := New(config, &fakeConnector{}, newFakeMounts(), &fakeCommands{}, &fakeNodeObserver{}); err == nil {
				t.Errorf("New(%+v) = nil error, want one", config)
			}
		})
	}
	longest := Config{NodeName: strings.Repeat("n", 200), MachineIdentity: strings.Repeat("m", 55), MaxVolumes: 1}
	if _, err := New(longest, &fakeConnector{}, newFakeMounts(), &fakeCommands{}, &fakeNodeObserver{}); err != nil {
		t.Errorf("256 bytes: %v, want success", err)
	}
	longest.MaxVolumes = 0
	if _, err := New(longest, &fakeConnector{}, newFakeMounts(), &fakeCommands{}, &fakeNodeObserver{}); err == nil {
		t.Error("no volumes at all: success, want an error")
	}
}

func TestNodeSaysWhoItIs(t *testing.T) {
	w := newNodeWorld(t)
	info, err := w.NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	if err != nil || info.GetNodeId() != "worker-1/machine-1" || info.GetMaxVolumesPerNode() != 7 || info.GetAccessibleTopology() != nil {
		t.Errorf("node info = %v, %v, want worker-1/machine-1, 7 volumes and no topology", info, err)
	}
	response, err := w.NodeGetCapabilities(t.Context(), &csi.NodeGetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, capability := range response.GetCapabilities() {
		got = append(got, capability.GetRpc().GetType().String())
	}
	slices.Sort(got)
	if want := []string{"EXPAND_VOLUME", "GET_VOLUME_HEALTH", "GET_VOLUME_STATS", "SINGLE_NODE_MULTI_WRITER", "STAGE_UNSTAGE_VOLUME"}; !slices.Equal(got, want) {
		t.Errorf("capabilities = %v, want %v", got, want)
	}
}

// A device that went away must not hang its caller, and must not let a second operation start beside the first.
func TestCallOnDeadDeviceEndsAndKeepsTheLock(t *testing.T) {
	w := newNodeWorld(t)
	request := w.stageRequest(t, epochA)
	synctest.Test(t, func(t *testing.T) {
		w.connector.connecting = make(chan struct{})
		_, err := w.NodeStageVolume(t.Context(), request)
		if got := failure.Code(err); got != codes.DeadlineExceeded {
			t.Errorf("stage while the kernel hangs: %v (%v), want DeadlineExceeded", got, err)
		}
		_, err = w.NodeStageVolume(t.Context(), request)
		if got := failure.Code(err); got != codes.Aborted {
			t.Errorf("stage beside a hanging one: %v (%v), want Aborted", got, err)
		}
		close(w.connector.connecting)
		synctest.Wait()
		if got := w.mountedAt(w.staging); len(got) != 0 {
			t.Errorf("mounts made after the caller gave up: %v, want none", got)
		}
		if _, err := w.NodeStageVolume(t.Context(), request); err != nil {
			t.Errorf("stage after the kernel came back: %v, want success", err)
		}
	})
}

var _ Connector = (*fakeConnector)(nil)
