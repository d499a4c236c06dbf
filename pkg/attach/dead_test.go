package attach

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// fakeAppliance has one volume, v, and may remember another record of it than it has.
type fakeAppliance struct {
	mu           sync.Mutex
	record, seen *Record
	failed       error
	notRestored  error
	onRefresh    func()
	asked        int
	restored     []string
	refreshed    int
}

func (f *fakeAppliance) Refresh(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refreshed++
	if f.onRefresh != nil {
		f.onRefresh()
	}
	return f.failed
}

func (f *fakeAppliance) SeenRecord(string) (Record, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		return Record{}, false
	}
	return *f.seen, true
}

func (f *fakeAppliance) Record(context.Context, string) Answer[Record] {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.record == nil || f.failed != nil {
		return Answer[Record]{Err: f.failed}
	}
	return Answer[Record]{Value: *f.record, Found: true}
}

func (f *fakeAppliance) Restore(_ context.Context, volume string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.notRestored == nil {
		f.restored = append(f.restored, volume)
	}
	return f.notRestored
}

// a is attached under the NQN and generation of grantOf.
func grantedOnA() Attachment {
	attachment := attachmentOnA()
	attachment.Grant = Grant{Node: nodeA(), SubsystemNQN: "nqn-7", Generation: 7, Access: "mount", Mode: "single-node-writer"}
	return attachment
}

func recordOf(nqn string, generation uint64, holders ...NodeID) *Record {
	return &Record{SubsystemNQN: nqn, Reachable: true, Generation: generation, Holders: holders}
}

// The node lives; what it was granted may not.
func TestDeadAttachments(t *testing.T) {
	valid, passedOn := recordOf("nqn-7", 7, nodeA()), recordOf("nqn-8", 8, nodeB())
	cutOff := recordOf("nqn-7", 7, nodeA())
	cutOff.Reachable = false
	failed := errors.New("connection refused")
	tests := map[string]struct {
		seen, record *Record
		prepare      func(*fakeCluster, *fakeAppliance)
		want         Action
		asked        int
	}{
		"all is well":                          {seen: valid, record: valid, want: ActionNone},
		"nothing is remembered":                {record: passedOn, want: ActionNone},
		"held by another":                      {seen: passedOn, record: passedOn, want: ActionClearDead, asked: 1},
		"held by nobody":                       {seen: recordOf("nqn-idle", 8), record: recordOf("nqn-idle", 8), want: ActionClearDead, asked: 1},
		"held by the node under another epoch": {seen: recordOf("nqn-9", 9, nodeA()), record: recordOf("nqn-9", 9, nodeA()), want: ActionClearDead, asked: 1},
		"another holder of the same epoch":     {seen: recordOf("nqn-7", 9, nodeB()), record: recordOf("nqn-7", 9, nodeB()), want: ActionClearDead, asked: 1},
		"only the memory is behind":            {seen: recordOf("nqn-6", 6), record: valid, want: ActionNone, asked: 1},
		"the volume has no disk":               {seen: passedOn, want: ActionNone, asked: 1},
		"the appliance went back in time":      {seen: recordOf("nqn-5", 5, nodeB()), record: recordOf("nqn-5", 5, nodeB()), want: ActionRestore, asked: 1},
		"the same, and it can't be restored":   {seen: recordOf("nqn-5", 5, nodeB()), record: recordOf("nqn-5", 5, nodeB()), prepare: func(_ *fakeCluster, a *fakeAppliance) { a.notRestored = failed }, want: ActionError, asked: 1},
		"the export was lost":                  {seen: cutOff, record: cutOff, want: ActionRestore, asked: 1},
		"the export was only seen lost":        {seen: cutOff, record: valid, want: ActionNone, asked: 1},
		"the appliance can't be asked":         {seen: passedOn, record: passedOn, prepare: func(_ *fakeCluster, a *fakeAppliance) { a.failed = failed }, want: ActionError, asked: 1},
		"the API server can't be asked":        {seen: passedOn, record: passedOn, prepare: func(c *fakeCluster, _ *fakeAppliance) { c.liveErr = failed }, want: ActionError},
		"a pod uses it":                        {seen: passedOn, record: passedOn, prepare: func(c *fakeCluster, _ *fakeAppliance) { c.pods = []string{"default/p"} }, want: ActionWaitForPods, asked: 1},
		"it is attached anew by now":           {seen: passedOn, record: passedOn, prepare: liveInstead(func(a *Attachment) { a.UID = "another" }), want: ActionRecheck},
		"it was granted anew by now":           {seen: passedOn, record: passedOn, prepare: liveInstead(func(a *Attachment) { a.Grant.SubsystemNQN = "nqn-8" }), want: ActionRecheck},
		"it is being detached by now":          {seen: passedOn, record: passedOn, prepare: liveInstead(func(a *Attachment) { a.DetachingSince = time.Unix(1, 0) }), want: ActionRecheck},
		"it is gone by now":                    {seen: passedOn, record: passedOn, prepare: func(c *fakeCluster, _ *fakeAppliance) { c.liveAttachments = map[string]Attachment{} }, want: ActionRecheck},
		"it was written to by now":             {seen: passedOn, record: passedOn, prepare: liveInstead(func(a *Attachment) { a.ResourceVersion = "8" }), want: ActionClearDead, asked: 1},
		"given to another machine":             {seen: valid, record: valid, prepare: renamed, want: ActionClearDead, asked: 1},
		"the same, and a pod uses it":          {seen: valid, record: valid, prepare: func(c *fakeCluster, a *fakeAppliance) { renamed(c, a); c.pods = []string{"default/p"} }, want: ActionWaitForPods, asked: 1},
		"the same, and the node uses it": {seen: valid, record: valid, prepare: func(c *fakeCluster, a *fakeAppliance) {
			renamed(c, a)
			c.liveNodes["a"] = Node{Name: "a", Machine: "machine-x", VolumesInUse: []string{"v"}}
		}, want: ActionInUse, asked: 1},
		"the same, and the node can't be asked for": {seen: valid, record: valid, prepare: func(c *fakeCluster, a *fakeAppliance) { renamed(c, a); c.nodeErr = failed }, want: ActionError, asked: 1},
		"the same, and the export was lost":         {seen: cutOff, record: cutOff, prepare: renamed, want: ActionClearDead, asked: 1},
		"the same, and the appliance went back":     {seen: recordOf("nqn-7", 5, nodeA()), record: recordOf("nqn-7", 5, nodeA()), prepare: renamed, want: ActionRestore, asked: 1},
		"another machine only in the cache": {seen: valid, record: valid, prepare: func(c *fakeCluster, a *fakeAppliance) {
			renamed(c, a)
			liveInstead(func(*Attachment) {})(c, a)
		}, want: ActionRecheck},
		"it isn't attached yet":              {seen: passedOn, record: passedOn, prepare: cachedInstead(func(a *Attachment) { a.Attached = false }), want: ActionNone},
		"its metadata can't be read":         {seen: passedOn, record: passedOn, prepare: cachedInstead(func(a *Attachment) { a.Grant = Grant{} }), want: ActionNone},
		"its machine's identity isn't known": {seen: valid, record: valid, prepare: cachedInstead(func(a *Attachment) { a.NodeID = "" }), want: ActionNone},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := clusterWith(grantedOnA())
			cluster.cachedNodes["a"] = Node{Name: "a", Machine: "machine-a"}
			cluster.liveNodes["a"] = cluster.cachedNodes["a"]
			appliance := &fakeAppliance{seen: test.seen, record: test.record}
			if test.prepare != nil {
				test.prepare(cluster, appliance)
			}
			r, seen := reconcilerOf(t, cluster, appliance)
			got, err := r.Work(t.Context(), "va")
			if got.Action != test.want || (err != nil) != (test.want == ActionError) || appliance.asked != test.asked {
				t.Errorf("got %+v, %v after %d questions to the appliance, want %s after %d", got, err, appliance.asked, test.want, test.asked)
			}
			if want := map[Action]time.Duration{ActionRecheck: recheckAfter, ActionRestore: recheckAfter}[test.want]; got.Again != want {
				t.Errorf("to be checked again after %s, want %s", got.Again, want)
			}
			if deleted := len(cluster.deleted) > 0; deleted != (test.want == ActionClearDead) {
				t.Errorf("deleted: %t", deleted)
			} else if confirmed, instead := cluster.liveAttachments["va"]; deleted && instead && cluster.deleted[0] != confirmed {
				t.Errorf("deleted %+v, want exactly the version that was confirmed", cluster.deleted[0])
			}
			if restored := len(appliance.restored) > 0; restored != (test.want == ActionRestore) {
				t.Errorf("restored: %t", restored)
			}
			reported := map[Action]Reason{ActionClearDead: DeadAttachmentCleared, ActionWaitForPods: AttachmentDead, ActionInUse: AttachmentDead}[test.want]
			if reported == "" && len(seen.notes) > 0 || reported != "" && (len(seen.notes) != 1 || seen.notes[0].Reason != reported) {
				t.Errorf("reported %+v, want %q", seen.notes, reported)
			}
		})
	}
}

// renamed has another machine take the node's name, and the attachment be for that one, though it was given to its
// predecessor.
func renamed(c *fakeCluster, _ *fakeAppliance) {
	attachment := grantedOnA()
	attachment.NodeID = "a/machine-x"
	c.attachments["va"] = attachment
	c.cachedNodes["a"] = Node{Name: "a", Machine: "machine-x"}
	c.liveNodes["a"] = c.cachedNodes["a"]
}

func liveInstead(change func(*Attachment)) func(*fakeCluster, *fakeAppliance) {
	return func(c *fakeCluster, _ *fakeAppliance) {
		attachment := grantedOnA()
		change(&attachment)
		c.liveAttachments = map[string]Attachment{"va": attachment}
	}
}

func cachedInstead(change func(*Attachment)) func(*fakeCluster, *fakeAppliance) {
	return func(c *fakeCluster, _ *fakeAppliance) {
		attachment := grantedOnA()
		change(&attachment)
		c.attachments["va"] = attachment
	}
}

// While too many nodes vanished at once, nothing is cleared.
func TestAMassDeletionPausesClearing(t *testing.T) {
	cluster := clusterWith(attachmentOnA())
	r, seen := reconcilerOf(t, cluster, &fakeAppliance{})
	seen.pausedFor = time.Minute
	got, err := r.Work(t.Context(), "va")
	if got != (Result{Action: ActionPaused, Again: time.Minute}) || err != nil || len(cluster.deleted) > 0 {
		t.Errorf("got %+v, %v with %d deletions, want to be back in a minute", got, err, len(cluster.deleted))
	}
}

func TestADetachIsWatched(t *testing.T) {
	attachment := attachmentOnA()
	attachment.DetachingSince = time.Now().Add(-time.Minute)
	cluster := clusterWith(attachment)
	r, seen := reconcilerOf(t, cluster, &fakeAppliance{})
	got, err := r.Work(t.Context(), "va")
	if left := testConfig().StuckAfter - time.Minute; err != nil || got.Again <= 0 || got.Again > left {
		t.Errorf("got %+v, %v, want to look again in %s at most", got, err, left)
	}
	// A clock that goes back must not put the next look off for longer than the period itself.
	attachment.DetachingSince = time.Now().Add(24 * time.Hour)
	cluster.change(func() { cluster.attachments["va"] = attachment })
	if got, _ := r.Work(t.Context(), "va"); got.Again > testConfig().StuckAfter {
		t.Errorf("with a clock that went back: got %+v", got)
	}
	if len(seen.notes) > 0 || len(cluster.deleted) > 0 {
		t.Errorf("notes %+v, deleted %+v", seen.notes, cluster.deleted)
	}
}

func TestGrantsSurviveThePublishContext(t *testing.T) {
	for _, grant := range []Grant{grantedOnA().Grant, {Node: nodeB(), SubsystemNQN: "n", Generation: 1 << 63, Access: "block", Mode: ModeMultiWriter, ReadOnly: true}} {
		values := map[string]string{}
		grant.Encode(values)
		if got, ok := ParseGrant(values); !ok || got != grant {
			t.Errorf("got %+v, %t, want %+v", got, ok, grant)
		}
		for key := range values {
			broken := map[string]string{}
			grant.Encode(broken)
			delete(broken, key)
			if got, ok := ParseGrant(broken); ok {
				t.Errorf("without %s: got %+v", key, got)
			}
		}
	}
	for _, generation := range []string{"0", "-1", "x", ""} {
		values := map[string]string{}
		grantedOnA().Grant.Encode(values)
		values["generation"] = generation
		if _, ok := ParseGrant(values); ok {
			t.Errorf("generation %q was accepted", generation)
		}
	}
}
