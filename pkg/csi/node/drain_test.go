package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// Used asks the test, by the time since the test began.
func (m *fakeMounts) Used(_ context.Context, devices []host.DeviceNumber) (map[host.DeviceNumber]bool, error) {
	used := map[host.DeviceNumber]bool{}
	if m.used == nil {
		return used, nil
	}
	inUse, err := m.used()
	for _, device := range devices {
		used[device] = inUse
	}
	return used, err
}

// A node plugin that is told to end stays for volumes that are about to be unstaged, until kubelet has reported them as not in
// use, and no longer.
func TestANodePluginStaysForVolumesThatAreAboutToBeUnstaged(t *testing.T) {
	const limit = 45 * time.Second
	const never = 10 * limit
	errUnseen := errors.New("not permitted")
	for name, c := range map[string]struct {
		// These are times after the process was told to end. A process uses the volume until usedUntil, and it can't be seen
		// whether one does until seenFrom. If againAt is set, the volume is staged again then.
		stagedAt, usedUntil, unstagedAt, againAt, seenFrom time.Duration
		// left is set if the volume is still to be unstaged when the time is over.
		want time.Duration
		left bool
	}{
		"no volume":                                {want: 0},
		"a volume of a pod that goes on":           {stagedAt: -time.Second, usedUntil: never, unstagedAt: never, want: settleTime},
		"no pod any more":                          {stagedAt: -time.Second, usedUntil: -1, unstagedAt: 3 * time.Second, want: 3*time.Second + reportTime},
		"unstaged late":                            {stagedAt: -time.Second, usedUntil: -1, unstagedAt: 30 * time.Second, want: 30*time.Second + reportTime},
		"unstaged too late for the report":         {stagedAt: -time.Second, usedUntil: -1, unstagedAt: 40 * time.Second, want: limit},
		"a pod that is ending":                     {stagedAt: -time.Second, usedUntil: 2 * time.Second, unstagedAt: 10 * time.Second, want: 10*time.Second + reportTime},
		"never unstaged":                           {stagedAt: -time.Second, usedUntil: -1, unstagedAt: never, want: limit, left: true},
		"unstaged just before":                     {stagedAt: -5 * time.Second, usedUntil: -5 * time.Second, unstagedAt: -4 * time.Second, want: reportTime - 4*time.Second},
		"unstaged long before":                     {stagedAt: -time.Minute, usedUntil: -time.Minute, unstagedAt: -time.Minute + time.Second, want: 0},
		"staged meanwhile, by a pod that begins":   {stagedAt: -5 * time.Second, unstagedAt: -4 * time.Second, againAt: 2 * time.Second, want: reportTime - 4*time.Second},
		"not seen for some time, and used":         {stagedAt: -time.Second, usedUntil: never, unstagedAt: never, seenFrom: 20 * time.Second, want: 20 * time.Second},
		"not seen for some time, and then removed": {stagedAt: -time.Second, usedUntil: -1, unstagedAt: 8 * time.Second, seenFrom: 6 * time.Second, want: 8*time.Second + reportTime},
		"never seen":                               {stagedAt: -time.Second, usedUntil: never, unstagedAt: never, seenFrom: never, want: limit, left: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				told := time.Now().Add(max(0, -c.stagedAt))
				var happened []time.Duration
				happen := func(at time.Duration, event func()) {
					if time.Since(told) >= at && !slices.Contains(happened, at) {
						happened = append(happened, at)
						event()
					}
				}
				stage := func() { w.mustStage(t, epochA) }
				// The one who drains looks at the connections.
				w.connector.onLook = func() {
					if c.stagedAt < 0 {
						happen(c.stagedAt, stage)
						happen(c.unstagedAt, func() {
							if err := w.unstage(t); err != nil {
								t.Error(err)
							}
						})
					}
					if c.againAt > 0 {
						happen(c.againAt, stage)
					}
				}
				w.mounts.used = func() (bool, error) {
					if time.Since(told) < c.seenFrom {
						return false, errUnseen
					}
					return time.Since(told) < c.usedUntil, nil
				}
				for ; time.Now().Before(told); <-time.After(time.Second) {
					w.connector.onLook()
				}
				bounded, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				err := w.Drain(bounded)
				if took := time.Since(told); took < c.want || took > c.want+drainPause {
					t.Errorf("it ended after %s, want %s", took, c.want)
				}
				if (err != nil) != c.left {
					t.Errorf("got %v, want an error: %t", err, c.left)
				}
				if c.left && c.seenFrom == 0 && err != nil && !strings.Contains(err.Error(), subsystemNQN(t, epochA)) {
					t.Errorf("%v doesn't name the volume", err)
				}
			})
		})
	}
}
