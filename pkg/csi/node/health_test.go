package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/volumehealth"
)

// reasons asks for the volume's health and gives the reasons it is told.
func (w *nodeWorld) reasons(t *testing.T) []string {
	t.Helper()
	response, err := w.NodeGetVolumeHealth(t.Context(), &csi.NodeGetVolumeHealthRequest{VolumeId: testVolume, StagingTargetPath: w.staging, VolumePublishPath: w.target})
	if err != nil {
		t.Fatalf("health: %v", err)
	}
	if got := response.GetVolumeHealth().GetVolumeId(); got != testVolume {
		t.Errorf("health of %q, want %q", got, testVolume)
	}
	var reasons []string
	for _, entry := range response.GetVolumeHealth().GetHealthStatuses() {
		if entry.GetMessage() == "" || entry.GetStatus() == csi.VolumeHealthErrorType_UNKNOWN_VOLUME_HEALTH_TYPE {
			t.Errorf("health says too little: %v", entry)
		}
		reasons = append(reasons, entry.GetReason())
	}
	slices.Sort(reasons)
	return reasons
}

func TestHealth(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*nodeWorld)
		want  []string
	}{
		"healthy":    {func(*nodeWorld) {}, nil},
		"connecting": {func(w *nodeWorld) { w.connector.states[subsystemNQN(w.t, epochA)] = "connecting" }, []string{volumehealth.ConnectionBroken}},
		"lost": {func(w *nodeWorld) {
			w.connector.lose(subsystemNQN(w.t, epochA))
			w.connector.admits = nil
		}, []string{volumehealth.ConnectionLost}},
		"replaced":              {func(w *nodeWorld) { w.reconnect() }, []string{volumehealth.DeviceReplaced}},
		"replaced by same name": {func(w *nodeWorld) { w.renumber() }, []string{volumehealth.DeviceReplaced}},
		"replaced by the same minor": {func(w *nodeWorld) {
			nqn := subsystemNQN(w.t, epochA)
			before := w.mounts.numbers[w.connector.devices[nqn]]
			w.reconnect()
			w.mounts.numbers[w.connector.devices[nqn]] = host.DeviceNumber(unix.Mkdev(unix.Major(uint64(before))+1, unix.Minor(uint64(before))))
		}, []string{volumehealth.DeviceReplaced}},
		"turned read only": {func(w *nodeWorld) { w.mounts.uses.writeFail = unix.EROFS }, []string{volumehealth.FilesystemReadOnly}},
		"ext4 shut down":   {func(w *nodeWorld) { w.mounts.uses.writeFail = unix.EIO }, []string{volumehealth.FilesystemShutDown}},
		"xfs shut down":    {func(w *nodeWorld) { w.mounts.uses.readFail = unix.EIO }, []string{volumehealth.FilesystemShutDown}},
		"shut down and replaced": {func(w *nodeWorld) {
			w.mounts.uses.writeFail = unix.EIO
			w.reconnect()
		}, []string{volumehealth.DeviceReplaced}},
		"shut down and connecting": {func(w *nodeWorld) {
			w.mounts.uses.writeFail = unix.EIO
			w.connector.states[subsystemNQN(w.t, epochA)] = "connecting"
		}, []string{volumehealth.ConnectionBroken}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			w.mustStage(t, epochA)
			w.mustPublish(t, epochA)
			synctest.Test(t, func(t *testing.T) {
				c.spoil(w)
				w.mounts.uses.tried = nil
				if got := w.reasons(t); !slices.Equal(got, c.want) {
					t.Errorf("health = %v, want %v", got, c.want)
				}
				if well := len(c.want) == 0 || strings.HasPrefix(c.want[0], "Filesystem"); len(w.mounts.uses.tried) > 0 != well {
					t.Errorf("tried the filesystem at %q, which may hang unless the connection is live", w.mounts.uses.tried)
				}
			})
		})
	}
}

// What was asked to be read only isn't ill.
func TestReadOnlyVolumeIsHealthy(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	request := w.publishRequest(t, epochA)
	request.Readonly = true
	if _, err := w.NodePublishVolume(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if got := w.reasons(t); len(got) != 0 {
		t.Errorf("health = %v, want nothing", got)
	}
	for i := range w.mounts.table {
		w.mounts.table[i].MountOptions, w.mounts.table[i].SuperOptions = []string{"ro"}, []string{"ro"}
	}
	if got := w.reasons(t); len(got) != 0 {
		t.Errorf("health of a volume that was staged read only = %v, want nothing", got)
	}
}

func TestHealthOfWhatIsNotHere(t *testing.T) {
	w := newNodeWorld(t)
	for want, id := range map[codes.Code]string{codes.NotFound: testVolume, codes.InvalidArgument: ""} {
		if _, err := w.NodeGetVolumeHealth(t.Context(), &csi.NodeGetVolumeHealthRequest{VolumeId: id}); failure.Code(err) != want {
			t.Errorf("health of %q: %v, want %v", id, err, want)
		}
	}
	if _, err := w.NodeGetVolumeHealth(t.Context(), &csi.NodeGetVolumeHealthRequest{VolumeId: "vol-1"}); failure.Code(err) != codes.NotFound {
		t.Errorf("health of somebody else's volume: %v, want NotFound", err)
	}
	if _, err := w.NodeGetVolumeHealth(t.Context(), &csi.NodeGetVolumeHealthRequest{VolumeId: testVolume, StagingTargetPath: "a"}); failure.Code(err) != codes.InvalidArgument {
		t.Errorf("health at a relative path: %v, want InvalidArgument", err)
	}
}

// The appliance came back before its exports did, and the kernel gave up. Kubelet's next look restores the connection,
// says so once, and leaves every mount as it is; publishing mends those.
func TestLostConnectionIsNoticedAndRestored(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	stats := &csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: w.target}
	synctest.Test(t, func(t *testing.T) {
		before := slices.Clone(w.mounts.table)
		w.connector.lose(subsystemNQN(t, epochA))
		w.connector.admits = nil
		look := func() {
			if _, err := w.NodeGetVolumeStats(t.Context(), stats); err != nil {
				t.Errorf("stats: %v", err)
			}
			synctest.Wait()
		}
		look()
		look()
		if *w.observer != (fakeNodeObserver{lost: 1, failed: 2}) {
			t.Errorf("while the target refuses: %+v, want one loss and two failures", *w.observer)
		}
		w.connector.admits = map[string]bool{subsystemNQN(t, epochA): true}
		look()
		if w.observer.reconnected != 1 || len(w.connector.devices) != 1 {
			t.Errorf("when it admits again: %+v, connections %v, want one connection", *w.observer, w.connector.devices)
		}
		if !slices.EqualFunc(w.mounts.table, before, sameMount) || w.commands.count("umount") != 0 {
			t.Errorf("mounts %v, want them as they were: %v", w.mounts.table, before)
		}
		w.connector.lose(subsystemNQN(t, epochA))
		look()
		if w.observer.lost != 2 || w.observer.reconnected != 2 {
			t.Errorf("lost once more: %+v, want that counted", *w.observer)
		}
	})
	w.mustPublish(t, epochA)
	if got := w.reasons(t); len(got) != 0 {
		t.Errorf("health after the next publish: %v, want nothing", got)
	}
}

// A look takes a moment, and connecting may take longer: it goes on when the look has ended, but not for ever.
func TestReconnectingOutlivesTheLookThatBeganIt(t *testing.T) {
	for name, c := range map[string]struct {
		silent bool
		want   fakeNodeObserver
	}{"the target answers": {false, fakeNodeObserver{lost: 1, reconnected: 1}}, "the target is silent": {true, fakeNodeObserver{lost: 1, failed: 1}}} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			w.mustStage(t, epochA)
			synctest.Test(t, func(t *testing.T) {
				w.connector.lose(subsystemNQN(t, epochA))
				w.connector.connecting, w.connector.silent = make(chan struct{}), c.silent
				ctx, end := context.WithCancel(t.Context())
				if _, err := w.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: w.staging}); err != nil {
					t.Error(err)
				}
				end()
				synctest.Wait()
				close(w.connector.connecting)
				<-time.After(reconnectLimit)
				synctest.Wait()
				if *w.observer != c.want {
					t.Errorf("got %+v, want %+v", *w.observer, c.want)
				}
				w.connector.silent = false
				w.mustStage(t, epochA)
			})
		})
	}
}

func TestUnstagedVolumeIsNotConnectedAgain(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	if err := w.unstage(t); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		_, err := w.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: w.staging})
		synctest.Wait()
		if failure.Code(err) != codes.NotFound || w.connector.connects != 1 {
			t.Errorf("stats of an unstaged volume: %v, connected %d times, want NotFound and once", err, w.connector.connects)
		}
	})
}

func TestStats(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	w.mounts.fullness = func(string) (unix.Statfs_t, error) {
		return unix.Statfs_t{Bsize: 4096, Blocks: 100, Bfree: 40, Bavail: 30, Files: 10, Ffree: 4}, nil
	}
	for _, path := range []string{w.staging, w.target} {
		response, err := w.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: path})
		if err != nil || len(response.GetUsage()) != 2 {
			t.Fatalf("stats: %v, %v, want bytes and inodes", response, err)
		}
		bytes, inodes := response.GetUsage()[0], response.GetUsage()[1]
		if bytes.GetUnit() != csi.VolumeUsage_BYTES || bytes.GetTotal() != 409600 || bytes.GetUsed() != 245760 || bytes.GetAvailable() != 122880 {
			t.Errorf("bytes: %v", bytes)
		}
		if inodes.GetUnit() != csi.VolumeUsage_INODES || inodes.GetTotal() != 10 || inodes.GetUsed() != 6 || inodes.GetAvailable() != 4 {
			t.Errorf("inodes: %v", inodes)
		}
	}
	w.mounts.fullness = func(string) (unix.Statfs_t, error) { return unix.Statfs_t{}, errors.New("input/output error") }
	if _, err := w.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: w.target}); err == nil {
		t.Error("stats of what can't be read = success, want an error")
	}
}

func TestStatsOfABlockVolume(t *testing.T) {
	w := newNodeWorld(t)
	w.mustBlock(t)
	w.mounts.sizes[w.target] = 4 << 20
	response, err := w.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: w.target})
	if err != nil || len(response.GetUsage()) != 1 || response.GetUsage()[0].GetTotal() != 4<<20 || response.GetUsage()[0].GetUnit() != csi.VolumeUsage_BYTES {
		t.Errorf("stats: %v, %v, want the size in bytes", response, err)
	}
}

// A dead mount hangs whoever looks at it. The caller is told in time, one look at most hangs, and others aren't kept
// from unpublishing.
func TestStatsOfADeadMountEnd(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int32
		hang := make(chan struct{})
		w.mounts.fullness = func(string) (unix.Statfs_t, error) {
			looks.Add(1)
			<-hang
			return unix.Statfs_t{}, nil
		}
		for _, want := range []codes.Code{codes.DeadlineExceeded, codes.Aborted, codes.Aborted} {
			start := time.Now()
			_, err := w.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: w.target})
			if failure.Code(err) != want || time.Since(start) > lookLimit {
				t.Errorf("stats: %v after %v, want %v within %v", err, time.Since(start), want, lookLimit)
			}
		}
		if err := w.unpublish(t); err != nil || looks.Load() != 1 {
			t.Errorf("unpublish: %v, looks: %d, want success and one look", err, looks.Load())
		}
		close(hang)
	})
}

// Each pod of a volume is asked about, at the same time if it comes to that.
func TestStatsOfOneVolumeWaitForEachOther(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	synctest.Test(t, func(t *testing.T) {
		w.mounts.fullness = func(string) (unix.Statfs_t, error) {
			<-time.After(time.Second)
			return unix.Statfs_t{}, nil
		}
		failed := make(chan error, 4)
		for range cap(failed) {
			go func() {
				_, err := w.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: w.target})
				failed <- err
			}()
		}
		for range cap(failed) {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
	})
}

// A bug that shows on one volume must not end the process, nor keep the volume locked.
func TestAPanicOnANodeEndsItsCallOnly(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	w.mounts.fullness = func(string) (unix.Statfs_t, error) { panic("nobody foresaw this") }
	for range 2 {
		_, err := w.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: testVolume, VolumePath: w.target})
		if failure.Code(err) != codes.Internal {
			t.Errorf("stats: %v, want Internal", err)
		}
	}
	if err := w.unpublish(t); err != nil {
		t.Errorf("unpublish: %v", err)
	}
}

// What goes on in the background of a call has nobody else to recover for it.
func TestAPanicInTheBackgroundEndsItsWorkOnly(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	synctest.Test(t, func(t *testing.T) {
		w.mounts.onUnmount = func() { panic("nobody foresaw this") }
		if err := w.unstage(t); failure.Code(err) != codes.Internal {
			t.Errorf("unstage: %v, want Internal", err)
		}
		w.mounts.onUnmount = nil
		w.connector.lose(subsystemNQN(t, epochA))
		w.connector.onConnect = func() { panic("nobody foresaw this") }
		if got := w.reasons(t); !slices.Equal(got, []string{volumehealth.ConnectionLost}) {
			t.Errorf("health: %v, want the loss", got)
		}
		synctest.Wait()
		if w.observer.failed != 1 {
			t.Errorf("attempts to connect again: %+v, want one that failed", *w.observer)
		}
		if err := w.unstage(t); err != nil {
			t.Errorf("unstage: %v", err)
		}
	})
}
