package attach

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// nobodysDisks is an appliance with disks that Kubernetes knows nothing of, and the Kubernetes that knows nothing.
type nobodysDisks struct {
	mu       sync.Mutex
	counts   map[OrphanKind]int
	disks    []InventoryDisk
	failed   error
	looks    int
	removed  []string
	onRemove func()
	asked    []string
}

// with has something looked at or changed while nothing runs.
func (n *nobodysDisks) with(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do()
}

func (n *nobodysDisks) Inventory(context.Context) (Inventory, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looks++
	n.asked = append(n.asked, "appliance")
	return Inventory{Pools: []string{"raid10"}, Disks: n.disks}, n.failed
}

func (n *nobodysDisks) RemoveVolume(ctx context.Context, volume string) error {
	if _, bounded := ctx.Deadline(); !bounded {
		return errors.New("it is not bounded in time")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removed = append(n.removed, volume)
	n.onRemove()
	return nil
}

func (n *nobodysDisks) RevokeAccess(context.Context, string, NodeID) error { return nil }
func (n *nobodysDisks) WaitForSync(ctx context.Context) error              { return ctx.Err() }

func (n *nobodysDisks) CachedClaims() Claims {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, "cache")
	return Claims{}
}

func (n *nobodysDisks) LiveClaims(context.Context) (Claims, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, "API server")
	return Claims{}, nil
}

func (n *nobodysDisks) LiveNode(context.Context, string) Answer[Node] { return Answer[Node]{} }
func (n *nobodysDisks) LiveAttachment(context.Context, string) Answer[Attachment] {
	return Answer[Attachment]{}
}

func newNobodysDisks(t *testing.T, config AuditConfig) (*nobodysDisks, *Auditor) {
	t.Helper()
	world := &nobodysDisks{disks: []InventoryDisk{{Volume: "raid10/d/csi-1"}, {Volume: "raid10/d/csi-2"}}, onRemove: func() {}, counts: map[OrphanKind]int{}}
	config.Scope, config.Remove = auditScope(), true
	auditor, err := NewAuditor(config, world, world, AuditObserver{
		Count: func(kind OrphanKind, orphans int) { world.with(func() { world.counts[kind] = orphans }) },
		Note:  func(Note) {}, Paused: func() bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	return world, auditor
}

func (n *nobodysDisks) expect(t *testing.T, when string, looks, disks int) {
	t.Helper()
	synctest.Wait()
	n.with(func() {
		if n.looks != looks || n.counts[OrphanDisk] != disks {
			t.Errorf("%s: looked %d times and counts %d disks, want %d looks and %d disks", when, n.looks, n.counts[OrphanDisk], looks, disks)
		}
	})
}

func TestAuditorRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world, auditor := newNobodysDisks(t, AuditConfig{Every: 5 * time.Minute, Grace: 12 * time.Minute})
		start := func() (done chan error, cancel context.CancelFunc) {
			done = make(chan error)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { done <- auditor.Run(ctx) }()
			return done, cancel
		}
		// Two runs that are each too short: what the first saw doesn't count for the second.
		for run := range 2 {
			done, cancel := start()
			<-time.After(11 * time.Minute)
			world.expect(t, "while it runs", 3*(run+1), 2)
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			world.expect(t, "when it has ended", 3*(run+1), 0)
		}
		// A look that fails takes nothing back, and the next one comes in time.
		done, cancel := start()
		world.expect(t, "again", 7, 2)
		world.with(func() { world.failed = errors.New("not ready") })
		<-time.After(12 * time.Minute)
		world.expect(t, "while it can't look", 9, 2)
		// It is asked to end while it removes: the rest stays.
		world.with(func() { world.failed, world.onRemove = nil, cancel })
		if err := <-done; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"raid10/d/csi-1"}, world.removed); diff != "" {
			t.Errorf("removed (-want +got):\n%s", diff)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if err := auditor.Run(stopped); err != nil {
			t.Error(err)
		}
		world.expect(t, "asked to end before it began", 10, 0)
	})
}

// Everything rests on this order: a PersistentVolume is only missing if it was asked for after the disk was seen.
func TestTheOrderOfAnAudit(t *testing.T) {
	world, auditor := newNobodysDisks(t, AuditConfig{Every: time.Minute, Grace: time.Hour})
	if err := auditor.Audit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"cache", "appliance", "API server"}, world.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestAuditConfiguration(t *testing.T) {
	for name, config := range map[string]AuditConfig{"no interval": {Grace: time.Hour}, "no grace": {Every: time.Hour}, "negative": {Every: time.Hour, Grace: -1}} {
		if _, err := NewAuditor(config, nil, nil, AuditObserver{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOrphansAreTold(t *testing.T) {
	node := NodeID{Name: "node-a", Machine: "m"}
	for kind, reason := range map[OrphanKind]Reason{
		OrphanDisk: OrphanedDisk, OrphanVolume: MissingDisk, OrphanFile: OrphanedFile, OrphanHolder: HolderWithoutAttachment,
	} {
		orphan := Orphan{Kind: kind, Volume: "raid10/d/csi-1", PV: "pv-1"}
		if kind == OrphanHolder {
			orphan.Node = node
		}
		note := orphan.Note()
		if note.Reason != reason || !note.Warning || note.Volume != orphan.Volume || note.PV != "pv-1" || note.Node != orphan.Node.Name ||
			!strings.Contains(note.Message, orphan.Volume) || !strings.Contains(note.Message, "docs/orphans.md") {
			t.Errorf("%s: %+v", kind, note)
		}
		if !slices.Contains(OrphanKinds(), kind) {
			t.Errorf("%s isn't listed", kind)
		}
	}
}
