package node

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/volumehealth"
)

// failedWorld has a staged filesystem that failed, as ext4 or as xfs does, and works again once it is unmounted.
func failedWorld(t *testing.T, spoil func(*fakeUses)) *nodeWorld {
	t.Helper()
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	spoil(&w.mounts.uses)
	w.mounts.onUnmount = func() {
		if len(w.mounts.table) == 1 && !w.mounts.uses.claimed {
			w.mounts.uses.readFail, w.mounts.uses.writeFail = nil, nil
		}
	}
	return w
}

// Staging and publishing check a filesystem that failed, and mount it again.
func TestAFailedFilesystemIsMountedAgain(t *testing.T) {
	for name, spoil := range map[string]func(*fakeUses){
		"read only": func(u *fakeUses) { u.writeFail = unix.EROFS },
		"ext4":      func(u *fakeUses) { u.writeFail = unix.EIO },
		"damaged":   func(u *fakeUses) { u.writeFail = unix.EUCLEAN },
		"xfs":       func(u *fakeUses) { u.readFail = unix.EIO },
	} {
		for call, do := range map[string]func(*nodeWorld, *testing.T, string){"stage": (*nodeWorld).mustStage, "publish": (*nodeWorld).mustPublish} {
			t.Run(name+"/"+call, func(t *testing.T) {
				w := failedWorld(t, spoil)
				before := w.commands.count("e2fsck")
				do(w, t, epochA)
				if got := w.mountedAt(w.staging); len(got) != 1 || w.commands.count("e2fsck") != before+1 {
					t.Errorf("staged %v, commands %q, want it checked and mounted once", got, w.commands.ran)
				}
				w.mustRemove(t)
			})
		}
	}
}

// While somebody still has it, it fails for the next pod as well.
func TestAFailedFilesystemThatIsUsedIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		use  func(*testing.T, *nodeWorld)
		want string
	}{
		"by a pod":        {func(t *testing.T, w *nodeWorld) { t.Helper(); w.mustPublish(t, epochA) }, "delete the pods"},
		"out of sight":    {func(_ *testing.T, w *nodeWorld) { w.mounts.uses.claimed = true }, "no process"},
		"through staging": {func(_ *testing.T, w *nodeWorld) { w.mounts.uses.claimed = true; w.mounts.table = nil }, "no process"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			w.mustStage(t, epochA)
			c.use(t, w)
			w.mounts.uses.writeFail = unix.EIO
			synctest.Test(t, func(t *testing.T) {
				for range 2 {
					_, err := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochA))
					if failure.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), c.want) {
						t.Errorf("stage: %v, want FailedPrecondition and %q", err, c.want)
					}
					_, err = w.NodePublishVolume(t.Context(), w.publishRequest(t, epochA))
					if failure.Code(err) != codes.FailedPrecondition {
						t.Errorf("publish: %v, want FailedPrecondition", err)
					}
				}
			})
			w.mounts.uses = fakeUses{}
			w.mustRemove(t)
		})
	}
}

// A filesystem that fails as soon as it is mounted isn't given to a pod.
func TestAFilesystemThatFailsAtOnceIsRefused(t *testing.T) {
	w := newNodeWorld(t)
	w.mounts.uses.writeFail = unix.EROFS
	if _, err := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochA)); failure.Code(err) != codes.FailedPrecondition || len(w.mounts.table) != 0 {
		t.Errorf("stage: %v, mounts %v, want FailedPrecondition and none", err, w.mounts.table)
	}
}

// Not to know whether a filesystem works keeps no pod from it.
func TestAFilesystemThatDoesNotSayIsStaged(t *testing.T) {
	w := newNodeWorld(t)
	w.mounts.uses.writeFail = unix.EOPNOTSUPP
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	w.mustRemove(t)
}

// A volume that is to be read only isn't asked for a change.
func TestAReadOnlyFilesystemIsOnlyRead(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	for i := range w.mounts.table {
		w.mounts.table[i].MountOptions = []string{"ro"}
	}
	w.mounts.uses.writeFail = unix.EROFS
	if got := w.reasons(t); len(got) != 0 {
		t.Errorf("health: %v, want nothing", got)
	}
	w.mounts.uses.readFail = unix.EIO
	if got := w.reasons(t); !slices.Equal(got, []string{volumehealth.FilesystemShutDown}) {
		t.Errorf("health: %v, want %s", got, volumehealth.FilesystemShutDown)
	}
}

// ext4 of Linux 6.12 says EROFS once and EIO from then on. Both looks at a volume's mounts must tell the same.
func TestWhatExt4SaysFirstIsNotItsLastWord(t *testing.T) {
	w := newNodeWorld(t)
	w.mustStage(t, epochA)
	w.mustPublish(t, epochA)
	w.mounts.uses.writeFail, w.mounts.uses.thenFail = unix.EROFS, unix.EIO
	for range 2 {
		if got := w.reasons(t); !slices.Equal(got, []string{volumehealth.FilesystemShutDown}) {
			t.Errorf("health: %v, want %s only", got, volumehealth.FilesystemShutDown)
		}
	}
}
