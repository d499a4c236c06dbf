package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/test/requests"
)

func (w *nodeWorld) unstage(t *testing.T) error {
	t.Helper()
	_, err := w.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: testVolume, StagingTargetPath: w.staging})
	return err
}

func (w *nodeWorld) unpublish(t *testing.T) error {
	t.Helper()
	_, err := w.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: testVolume, TargetPath: w.target})
	return err
}

func TestWholeLifeTwice(t *testing.T) {
	w := newNodeWorld(t)
	for range 2 {
		for range 2 {
			w.mustStage(t, epochA)
		}
		for range 2 {
			w.mustPublish(t, epochA)
		}
		if staged, published := w.mountedAt(w.staging), w.mountedAt(w.target); len(staged) != 1 || !cmp.Equal(staged, published) {
			t.Fatalf("mounted: staged %v, published %v, want one and the same device once", staged, published)
		}
		w.mustRemove(t)
	}
	if got := w.commands.count("mkfs"); got != 1 {
		t.Errorf("formatted %d times, want once: %v", got, w.commands.ran)
	}
}

func TestStageOptions(t *testing.T) {
	for name, c := range map[string]struct {
		capability *csi.VolumeCapability
		want       []string
		wantKind   string
	}{
		"default": {requests.Writer(""), nil, "ext4"},
		"flags":   {requests.Writer("ext4", "noatime", "commit=30,nodev"), []string{"noatime", "commit=30", "nodev"}, "ext4"},
		"xfs":     {requests.Writer("xfs"), []string{"nouuid"}, "xfs"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			request := w.stageRequest(t, epochA)
			request.VolumeCapability = c.capability
			if _, err := w.NodeStageVolume(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			got := w.mounts.table[0]
			if got.FsType != c.wantKind || !slices.Equal(got.MountOptions, c.want) {
				t.Errorf("mounted as %s with %q, want %s with %q", got.FsType, got.MountOptions, c.wantKind, c.want)
			}
		})
	}
}

func TestReadOnly(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	request := w.publishRequest(t, epochA)
	request.Readonly = true
	for range 2 {
		if _, err := w.NodePublishVolume(t.Context(), request); err != nil {
			t.Fatalf("publish read only: %v", err)
		}
	}
	if got := w.mounts.table[1].MountOptions; !slices.Equal(got, []string{"bind", "ro"}) {
		t.Errorf("published with %q, want a read-only bind mount", got)
	}
	_, err := w.NodePublishVolume(t.Context(), w.publishRequest(t, epochA))
	if got := failure.Code(err); got != codes.AlreadyExists {
		t.Errorf("publish writable where it is read only: %v (%v), want AlreadyExists", got, err)
	}
}

// A pod that has the device itself could write to it.
func TestStagingFailsIfTheDeviceCannotBeWriteProtected(t *testing.T) {
	for _, mode := range []csi.VolumeCapability_AccessMode_Mode{csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY, oneWriter} {
		w := newNodeWorld(t)
		w.mustStage(t, epochA)
		if err := w.unstage(t); err != nil {
			t.Fatal(err)
		}
		w.mounts.protectFails = unix.EPERM
		request := w.stageRequest(t, epochA)
		request.VolumeCapability.AccessMode.Mode = mode
		if _, err := w.NodeStageVolume(t.Context(), request); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: got %v, want the kernel's error", mode, err)
		}
		w.mounts.protectFails = nil
		if _, err := w.NodeStageVolume(t.Context(), request); err != nil {
			t.Errorf("%s: again: %v", mode, err)
		}
	}
}

func TestReadOnlyVolumeIsNotFormatted(t *testing.T) {
	w := newNodeWorld(t)
	request := w.stageRequest(t, epochA)
	request.VolumeCapability.AccessMode.Mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
	_, err := w.NodeStageVolume(t.Context(), request)
	if got := failure.Code(err); got != codes.FailedPrecondition || w.commands.count("mkfs") != 0 {
		t.Errorf("stage of a blank volume to read: %v (%v), commands %v, want FailedPrecondition and no mkfs", got, err, w.commands.ran)
	}
}

// What is staged stays as it is, and isn't passed off for what was asked for.
func TestStageInAnotherWayIsIncompatible(t *testing.T) {
	readOnly := func(request *csi.NodeStageVolumeRequest) {
		request.VolumeCapability.AccessMode.Mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
	}
	asBefore := func(*csi.NodeStageVolumeRequest) {}
	for name, c := range map[string]struct {
		first, second func(*csi.NodeStageVolumeRequest)
	}{
		"as another filesystem":    {asBefore, func(request *csi.NodeStageVolumeRequest) { request.VolumeCapability = requests.Writer("xfs") }},
		"read only, was writable":  {asBefore, readOnly},
		"writable, was read only":  {readOnly, asBefore},
		"read only by mount flags": {asBefore, func(request *csi.NodeStageVolumeRequest) { request.VolumeCapability = requests.Writer("ext4", "ro") }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			w.mustStage(t, epochA) // formats it
			if err := w.unstage(t); err != nil {
				t.Fatal(err)
			}
			first, second := w.stageRequest(t, epochA), w.stageRequest(t, epochA)
			c.first(first)
			c.second(second)
			if _, err := w.NodeStageVolume(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			staged := slices.Clone(w.mounts.table)
			if _, err := w.NodeStageVolume(t.Context(), second); failure.Code(err) != codes.AlreadyExists {
				t.Errorf("got %v, want AlreadyExists", err)
			}
			if !cmp.Equal(w.mounts.table, staged) {
				t.Errorf("mounts %v, want them as they were: %v", w.mounts.table, staged)
			}
		})
	}
}

// A bind mount is made read only in a second step. If that one fails, the writable first one must not stay.
func TestFailedPublishLeavesNoMount(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mounts.mountFails = errors.New("remount failed")
	if _, err := w.NodePublishVolume(t.Context(), w.publishRequest(t, epochA)); err == nil {
		t.Error("publish with a failing mount = success, want an error")
	}
	if got := w.mountedAt(w.target); len(got) != 0 {
		t.Errorf("mounted at the target after failure: %v, want nothing", got)
	}
}

// A mount table that can't be read proves nothing (a peer took it for "not mounted" and removed user data).
func TestUnreadableMountTableChangesNothing(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	keep := filepath.Join(w.target, "data")
	if err := os.WriteFile(keep, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(w.mounts.table)
	w.mounts.listFails = errors.New("no mount table")
	_, stage := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochA))
	_, publish := w.NodePublishVolume(t.Context(), w.publishRequest(t, epochA))
	for name, err := range map[string]error{"unpublish": w.unpublish(t), "unstage": w.unstage(t), "stage": stage, "publish": publish} {
		if err == nil {
			t.Errorf("%s without a mount table = success, want an error", name)
		}
	}
	if !cmp.Equal(w.mounts.table, before) || len(w.connector.devices) != 1 {
		t.Errorf("mounts %v, connections %v, want them as they were", w.mounts.table, w.connector.devices)
	}
	if _, err := os.Stat(keep); err != nil {
		t.Errorf("the data: %v, want it kept", err)
	}
}

func TestUnpublishNeverRemovesData(t *testing.T) {
	w := newNodeWorld(t)
	if err := os.Mkdir(w.target, 0o750); err != nil {
		t.Fatal(err)
	}
	keep := filepath.Join(w.target, "data")
	if err := os.WriteFile(keep, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.unpublish(t); err == nil {
		t.Error("unpublish of a directory with data = success, want an error")
	}
	if _, err := os.Stat(keep); err != nil {
		t.Errorf("the data: %v, want it kept", err)
	}
}

func TestUnstageTakesEveryLayerAndEveryEpoch(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	for _, nqn := range []string{subsystemNQN(t, epochB), "nqn.2026-11.io.srvlab.csi.rds:csi-ffffffffffffffffffffffffffff:cccc"} {
		if _, err := w.connector.attach(nqn); err != nil {
			t.Fatal(err)
		}
	}
	w.mounts.table = append(w.mounts.table, w.mounts.table[0])
	if err := w.unstage(t); err != nil {
		t.Fatal(err)
	}
	if got := w.mountedAt(w.staging); len(got) != 0 {
		t.Errorf("still staged: %v", got)
	}
	slices.Sort(w.connector.disconnected)
	if want := []string{subsystemNQN(t, epochA), subsystemNQN(t, epochB)}; !cmp.Equal(w.connector.disconnected, want) {
		t.Errorf("disconnected %v, want %v and nobody else's", w.connector.disconnected, want)
	}
}

func TestUnstageDoesNotCutAPod(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	if got := failure.Code(w.unstage(t)); got != codes.FailedPrecondition {
		t.Errorf("unstage under a pod: %v, want FailedPrecondition", got)
	}
	if len(w.mounts.table) != 2 || len(w.connector.devices) != 1 {
		t.Errorf("mounts %v, connections %v, want them as they were", w.mounts.table, w.connector.devices)
	}
}

func TestUnstageWithoutKnowingConnectionsIsUnavailable(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.connector.fails = errors.New("sysfs gone")
	if got := failure.Code(w.unstage(t)); got != codes.Unavailable {
		t.Errorf("unstage: %v, want Unavailable", got)
	}
}

func TestForeignVolumeIDIsUnmountedAnyway(t *testing.T) {
	for what, foreign := range map[string]string{"unknown": "vol-1", "of v0.x": "pvc-ccdecfad-a8bf-572e-9120-464c4d99f12f"} {
		t.Run(what, func(t *testing.T) { unmountedAnyway(t, foreign) })
	}
}

func unmountedAnyway(t *testing.T, foreign string) {
	t.Helper()
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	if _, err := w.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: foreign, TargetPath: w.target}); err != nil {
		t.Errorf("unpublish: %v", err)
	}
	if _, err := w.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: foreign, StagingTargetPath: w.staging}); err != nil {
		t.Errorf("unstage: %v", err)
	}
	if len(w.mounts.table) != 0 || len(w.connector.devices) != 1 {
		t.Errorf("mounts %v, connections %v, want no mount and the connection kept", w.mounts.table, w.connector.devices)
	}
}

func TestSymbolicLinkInPath(t *testing.T) {
	w := newNodeWorld(t)
	link := filepath.Join(w.folder, "kubelet")
	real := filepath.Join(w.folder, "data")
	if err := errors.Join(os.MkdirAll(filepath.Join(real, "globalmount"), 0o750), os.Symlink(real, link)); err != nil {
		t.Fatal(err)
	}
	w.staging = filepath.Join(link, "globalmount")
	w.mustStage(t, epochA)
	w.mustStage(t, epochA)
	if got := w.mountedAt(filepath.Join(real, "globalmount")); len(got) != 1 {
		t.Errorf("mounted through a symbolic link: %v, want once", got)
	}
	if err := w.unstage(t); err != nil || len(w.mounts.table) != 0 {
		t.Errorf("unstage: %v, mounts left %v", err, w.mounts.table)
	}
}
