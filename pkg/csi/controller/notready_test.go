package controller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// While the appliance boots, a disk that isn't listed may come back with its export on. A detach that counted as done would
// leave its node admitted for ever.
func TestADetachIsNotDoneWhileTheApplianceBoots(t *testing.T) {
	for name, boot := range map[string]appliance.Boot{"pools unmounted": {}, "empty listings": {EmptyListings: true}} {
		for _, remembered := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", disk seen before: ", remembered), func(t *testing.T) {
				w := newControllerWorld(t)
				volume := w.create(t)
				w.mustPublish(t, volume, nodeA)
				w.setHolder(nodeA, attach.HolderAttached, time.Time{})
				if err := w.sim.Reboot(t.Context(), boot); err != nil {
					t.Fatal(err)
				}
				if !remembered {
					w.restart(t)
				}
				refused := 0
				for phase := w.sim.Phase(); ; phase = w.sim.NextPhase() {
					if _, err := w.client.Get(t.Context(), parsed(t, volume)); errors.Is(err, rds.ErrNotReady) || errors.Is(err, rds.ErrUnreachable) {
						refused++
						if err := w.unpublish(t, volume, nodeA); failure.Code(err) != codes.Unavailable {
							t.Errorf("%s: got %v, want UNAVAILABLE", phase, err)
						}
						if answer := w.Record(t.Context(), volume); answer.Err == nil || answer.Found {
							t.Errorf("%s: got the record %+v, want an error", phase, answer)
						}
					}
					if phase == appliance.Up {
						break
					}
				}
				if refused == 0 {
					t.Error("the appliance was ready all the time")
				}
				w.sim.Advance(time.Hour)
				if err := w.unpublish(t, volume, nodeA); err != nil || w.record(t, volume).Held() {
					t.Errorf("up for good: %v", err)
				}
			})
		}
	}
}

// unreadable is an appliance that doesn't tell whom a disk of another cluster admits.
type unreadable struct {
	Appliance
	err error
}

func (u unreadable) ForeignRecord(context.Context, rds.VolumeID) (rds.Record, error) {
	return rds.Record{}, u.err
}

func TestAVolumeThatIsNotOursIsNotDetachedUnseen(t *testing.T) {
	for _, unknown := range []error{rds.ErrNotReady, rds.ErrUnreachable, rds.ErrUnreadable, context.DeadlineExceeded} {
		w := newControllerWorld(t)
		volume := w.create(t)
		w.mustPublish(t, volume, nodeA)
		w.config.ClusterID = "cluster-2"
		w.restart(t)
		w.appliance = unreadable{w.appliance, unknown}
		if err := w.unpublish(t, volume, nodeA); !errors.Is(err, unknown) || w.noted(attach.ForeignVolumeDetached) {
			t.Errorf("got %v, want %v", err, unknown)
		}
	}
}
