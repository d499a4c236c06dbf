package controller

import (
	"context"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// auditWorld is an auditor of a simulated appliance, with the real client and the real controller between them, and of
// a cluster that a test makes up.
type auditWorld struct {
	*controllerWorld
	*attach.Auditor
	config attach.AuditConfig
	clock  time.Time
	counts map[attach.OrphanKind]int
	notes  []attach.Note
	// cached and live are what Kubernetes has, before and after the appliance is looked at; meanwhile happens in between.
	cached, live attach.Claims
	meanwhile    func()
	liveErr      error
	// Per object: nodes and attachments that are there, and what asking for them fails with.
	liveNodes       map[string]attach.Node
	liveAttachments map[string]attach.Attachment
	nodeErr, attErr error
	manyGone        bool
}

func (w *auditWorld) WaitForSync(context.Context) error { return nil }
func (w *auditWorld) CachedClaims() attach.Claims       { return w.cached }
func (w *auditWorld) LiveClaims(context.Context) (attach.Claims, error) {
	w.meanwhile()
	return w.live, w.liveErr
}

func (w *auditWorld) LiveNode(_ context.Context, name string) attach.Answer[attach.Node] {
	node, found := w.liveNodes[name]
	return attach.Answer[attach.Node]{Value: node, Found: found, Err: w.nodeErr}
}

func (w *auditWorld) LiveAttachment(_ context.Context, name string) attach.Answer[attach.Attachment] {
	attachment, found := w.liveAttachments[name]
	return attach.Answer[attach.Attachment]{Value: attachment, Found: found, Err: w.attErr}
}

const (
	testDriver = "rds.csi.example.com"
	auditGrace = time.Hour
)

func newAuditWorld(t *testing.T) *auditWorld {
	t.Helper()
	simulator, config := simtest.Start(t)
	w := &auditWorld{
		controllerWorld: &controllerWorld{nodes: &fakeNodes{holderStates: map[string]attach.Holder{}}, sim: simulator, config: config},
		clock:           time.Unix(1_700_000_000, 0), counts: map[attach.OrphanKind]int{}, meanwhile: func() {},
		liveNodes: map[string]attach.Node{}, liveAttachments: map[string]attach.Attachment{},
	}
	w.restart(t)
	w.config = attach.AuditConfig{Scope: AuditScope(testDriver), Every: time.Minute, Remove: true, Grace: auditGrace, Now: func() time.Time { return w.clock }}
	w.begin(t)
	return w
}

// begin makes an auditor that remembers nothing.
func (w *auditWorld) begin(t *testing.T) {
	t.Helper()
	var err error
	w.Auditor, err = attach.NewAuditor(w.config, w.Service, w, attach.AuditObserver{
		Count:  func(kind attach.OrphanKind, orphans int) { w.counts[kind] = orphans },
		Note:   func(note attach.Note) { w.notes = append(w.notes, note) },
		Paused: func() bool { return w.manyGone },
	})
	if err != nil {
		t.Fatal(err)
	}
}

// audit audits after some time, and expects no error.
func (w *auditWorld) audit(t *testing.T, after time.Duration) {
	t.Helper()
	w.clock = w.clock.Add(after)
	if err := w.Audit(t.Context()); err != nil {
		t.Errorf("audit: %v", err)
	}
}

// claim has Kubernetes know a PersistentVolume of the volume for as long as it is looked.
func (w *auditWorld) claim(volumes ...string) {
	var claims attach.Claims
	for _, volume := range volumes {
		claims.Volumes = append(claims.Volumes, attach.PersistentVolume{Name: "pv-of-" + volume, UID: "uid-" + volume, Driver: testDriver, Handle: volume})
	}
	w.cached, w.live = claims, claims
}

// left tells which of disk and file of volumes the appliance has.
func (w *auditWorld) left(t *testing.T) string {
	t.Helper()
	out, err := w.sim.Exec(t.Context(), `:put ([:len [/disk find where slot~"csi-"]] . " disks, " . [:len [/file find where name~"csi-.*img"]] . " files")`)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// attachTo has Kubernetes know an attachment, of a PersistentVolume that is gone.
func (w *auditWorld) attachTo(volume, node string) {
	attachment := attach.Attachment{Name: attach.AttachmentName(volume, testDriver, node), NodeName: node}
	w.cached.Attachments, w.live.Attachments = append(w.cached.Attachments, attachment), append(w.live.Attachments, attachment)
	w.liveAttachments[attachment.Name] = attachment
}
