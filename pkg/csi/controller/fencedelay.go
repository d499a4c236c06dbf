package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// fenceDelay holds back the answers about a volume whose access was revoked just now. It is for an appliance that ends
// connections a little later than it says: until then the fenced node can still write, so no other node may be told that
// it has the volume. The appliance's reply doesn't show that.
type fenceDelay struct {
	delay time.Duration
	sleep func(context.Context, time.Duration) error

	mu sync.Mutex
	// revoked is when access was revoked last, for volumes where less than delay has passed or nobody has waited since.
	revoked map[rds.VolumeID]time.Time
}

func newFenceDelay(delay time.Duration) *fenceDelay {
	return &fenceDelay{delay: delay, sleep: sleep, revoked: map[rds.VolumeID]time.Time{}}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin notes that access to the volume was revoked.
func (f *fenceDelay) begin(id rds.VolumeID) {
	if f.delay == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked[id] = time.Now()
}

// wait returns once the delay since the last revocation is over, or an error if ctx ends before that. A request that is
// repeated waits for what is left.
func (f *fenceDelay) wait(ctx context.Context, id rds.VolumeID) error {
	f.mu.Lock()
	revoked, found := f.revoked[id]
	f.mu.Unlock()
	if !found {
		return nil
	}
	if err := f.sleep(ctx, time.Until(revoked.Add(f.delay))); err != nil {
		return fmt.Errorf("volume %s: wait until the appliance has ended the revoked connections (--fence-delay %s): %w", id, f.delay, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.revoked[id].Equal(revoked) {
		delete(f.revoked, id)
	}
	return nil
}
