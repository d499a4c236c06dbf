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
	// claims are what the cache has. onList is called when the API server is asked.
	claims     Claims
	onList     func()
	liveErr    error
	attachment Answer[Attachment]
	node       Answer[Node]
	refusal    error
	paused     bool
}

// with has something looked at or changed while nothing runs.
func (n *nobodysDisks) with(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do()
}

// errUnbounded is the error of a request that could take for ever.
var errUnbounded = errors.New("it is not bounded in time")

func (n *nobodysDisks) Inventory(ctx context.Context) (Inventory, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return Inventory{}, errUnbounded
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looks++
	n.asked = append(n.asked, "appliance")
	return Inventory{Pools: []string{"raid10"}, Disks: n.disks}, n.failed
}

func (n *nobodysDisks) RemoveVolume(ctx context.Context, volume string) error {
	if _, bounded := ctx.Deadline(); !bounded {
		return errUnbounded
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refusal == nil {
		n.removed = append(n.removed, volume)
	}
	n.onRemove()
	return n.refusal
}

func (n *nobodysDisks) RevokeAccess(_ context.Context, volume string, node NodeID) error {
	if n.refusal == nil {
		n.removed = append(n.removed, volume+" from "+node.Name)
	}
	return n.refusal
}

func (n *nobodysDisks) WaitForSync(ctx context.Context) error { return ctx.Err() }

func (n *nobodysDisks) CachedClaims() Claims {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, "cache")
	return n.claims
}

func (n *nobodysDisks) LiveClaims(ctx context.Context) (Claims, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return Claims{}, errUnbounded
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, "API server")
	n.onList()
	return Claims{}, n.liveErr
}

func (n *nobodysDisks) LiveNode(context.Context, string) Answer[Node] { return n.node }
func (n *nobodysDisks) LiveAttachment(context.Context, string) Answer[Attachment] {
	return n.attachment
}

func newNobodysDisks(t *testing.T, config AuditConfig) (*nobodysDisks, *Auditor) {
	t.Helper()
	world := &nobodysDisks{disks: []InventoryDisk{{Volume: "raid10/d/csi-1"}, {Volume: "raid10/d/csi-2"}}, onRemove: func() {}, onList: func() {}, counts: map[OrphanKind]int{}}
	config.Scope, config.Remove = auditScope(), true
	auditor, err := NewAuditor(config, world, world, AuditObserver{
		Count: func(kind OrphanKind, orphans int) { world.with(func() { world.counts[kind] = orphans }) },
		Note:  func(Note) {}, Paused: func() bool { return world.paused },
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
		<-time.After(time.Hour)
		cancel()
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
		OrphanVersion0: VolumeOfVersion0,
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

// Each thing that speaks against a removal keeps the orphan, and it stays counted.
func TestARemovalNeedsEverythingThatSpeaksForIt(t *testing.T) {
	refused := errors.New("refused")
	holder := NodeID{Name: "node-a", Machine: "m"}
	held := func(n *nobodysDisks, _ *Auditor) {
		n.disks = n.disks[:1]
		n.disks[0].Holders = []NodeID{holder}
		n.claims = Claims{Volumes: []PersistentVolume{{Name: "pv", Handle: n.disks[0].Volume}}}
	}
	const first = "raid10/d/csi-1"
	tests := map[string]struct {
		prepare func(*nobodysDisks, *Auditor)
		waits   time.Duration
		removed []string
		counted int
		fails   bool
	}{
		"a disk":                           {waits: time.Hour, removed: []string{first, "raid10/d/csi-2"}},
		"a disk, before the grace is over": {waits: time.Hour - 1, counted: 2},
		"a disk, beside one that was seen later": {prepare: func(n *nobodysDisks, _ *Auditor) {
			both := n.disks
			n.disks, n.onList = both[1:], func() { n.disks = both }
		}, waits: time.Hour, removed: []string{"raid10/d/csi-2"}, counted: 1},
		"a disk, not switched on": {prepare: func(_ *nobodysDisks, a *Auditor) { a.config.Remove = false }, waits: time.Hour, counted: 2},
		"a disk, paused":          {prepare: func(n *nobodysDisks, _ *Auditor) { n.paused = true }, waits: time.Hour, counted: 2},
		"a disk with a holder": {prepare: func(n *nobodysDisks, _ *Auditor) {
			n.disks[0].Holders = []NodeID{holder}
			n.attachment = Answer[Attachment]{Found: true}
		}, waits: time.Hour, removed: []string{"raid10/d/csi-2"}, counted: 2},
		"a disk, in the cache by the time of the removal": {prepare: func(n *nobodysDisks, _ *Auditor) {
			lists := 0
			n.onList = func() {
				if lists++; lists == 2 {
					n.claims = Claims{Volumes: []PersistentVolume{{Name: "pv", Handle: first}}}
				}
			}
		}, waits: time.Hour, removed: []string{"raid10/d/csi-2"}, counted: 1},
		"a disk, and the API server can't be read": {prepare: func(n *nobodysDisks, _ *Auditor) { n.liveErr = refused }, waits: time.Hour, fails: true},
		"a disk, and the appliance refuses":        {prepare: func(n *nobodysDisks, _ *Auditor) { n.refusal = refused }, waits: time.Hour, counted: 2, fails: true},
		"a holder":                                 {prepare: held, waits: time.Hour, removed: []string{first + " from node-a"}},
		"a holder that has an attachment by now": {prepare: func(n *nobodysDisks, a *Auditor) {
			held(n, a)
			n.attachment = Answer[Attachment]{Found: true}
		}, waits: time.Hour, counted: 1},
		"a holder whose attachment isn't known": {prepare: func(n *nobodysDisks, a *Auditor) { held(n, a); n.attachment.Err = refused }, waits: time.Hour, counted: 1, fails: true},
		"a holder whose node isn't known":       {prepare: func(n *nobodysDisks, a *Auditor) { held(n, a); n.node.Err = refused }, waits: time.Hour, counted: 1, fails: true},
		"a holder that uses the volume": {prepare: func(n *nobodysDisks, a *Auditor) {
			held(n, a)
			n.node = Answer[Node]{Found: true, Value: Node{VolumesInUse: []string{first}}}
		}, waits: time.Hour, counted: 1},
		"a holder that uses another volume": {prepare: func(n *nobodysDisks, a *Auditor) {
			held(n, a)
			n.node = Answer[Node]{Found: true, Value: Node{VolumesInUse: []string{"raid10/d/csi-2"}}}
		}, waits: time.Hour, removed: []string{first + " from node-a"}},
		"a holder, and the appliance refuses": {prepare: func(n *nobodysDisks, a *Auditor) { held(n, a); n.refusal = refused }, waits: time.Hour, counted: 1, fails: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			clock := start()
			world, auditor := newNobodysDisks(t, AuditConfig{Every: time.Minute, Grace: time.Hour, Now: func() time.Time { return clock }})
			if test.prepare != nil {
				test.prepare(world, auditor)
			}
			_ = auditor.Audit(t.Context())
			clock = clock.Add(test.waits)
			if err := auditor.Audit(t.Context()); (err != nil) != test.fails {
				t.Errorf("got %v, want an error: %t", err, test.fails)
			}
			if diff := cmp.Diff(test.removed, world.removed); diff != "" {
				t.Errorf("removed (-want +got):\n%s", diff)
			}
			if counted := world.counts[OrphanDisk] + world.counts[OrphanHolder]; counted != test.counted {
				t.Errorf("counts %d orphans, want %d: %v", counted, test.counted, world.counts)
			}
		})
	}
}
