package search

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// truth watches what really is, step by step, and says when a rule is broken.
type truth struct {
	w *world
	// since is the step from which on a holder has had a right to a volume without a break.
	since map[right]int
	// takeable is the step at which a holder last got one, having had none; far away as long as it has none.
	takeable map[right]int
	// before is each volume as the appliance had it at the last look.
	before map[*volume]disk
	// highest is the highest generation that there ever was before the present one.
	highest map[*volume]uint64
	broken  error
}

// right is a holder's to a volume.
type right struct {
	volume *volume
	node   string
}

func newTruth(w *world) *truth {
	return &truth{w: w, since: map[right]int{}, takeable: map[right]int{}, before: map[*volume]disk{}, highest: map[*volume]uint64{}}
}

// rightful tells whether a node has a right to a volume now: its machine has its Node, and an attachment stands.
func (t *truth) rightful(v *volume, id attach.NodeID) bool {
	node, found := t.w.api.nodes[id.Name]
	if !found || node.Machine != id.Machine {
		return false
	}
	a := t.w.api.attachments[v.attachment(id.Name)]
	return a != nil && !a.Detaching()
}

// look compares the appliance with how it was before, and says who was cut off or let in by whom. It is called after
// every statement.
func (t *truth) look() {
	t.w.provisioner.check()
	if t.w.neighbours != nil {
		t.w.neighbours.check()
	}
	for _, v := range t.w.volumes {
		now, found := t.w.storage.disk(v)
		if !found {
			t.breaks("%s has no record any more", v.pv)
			return
		}
		before, known := t.before[v]
		t.before[v] = now
		if known && before.record.Generation < now.record.Generation {
			t.highest[v] = max(t.highest[v], before.record.Generation)
		}
		if !known || before.Comment == now.Comment {
			continue
		}
		t.w.superseded.wrote(v, now)
		if op := t.w.history.current(); op != nil {
			op.wrote = now
			t.changed(op, v, before, now)
		}
	}
}

func (t *truth) changed(op *operation, v *volume, before, now disk) {
	t.w.e.log("record of %s: %v under %s, generation %d", v.pv, now.record.Holding.Holders, now.SubsystemNQN, now.record.Generation)
	for _, holder := range before.record.Holding.Holders {
		if t.wentBack(v, before) {
			break // what the record says is of the past
		}
		id, err := attach.ParseNodeID(holder)
		since, rightful := t.since[right{v, holder}]
		unpublished := op.kind == unpublishing && sameName(op.node, holder)
		if err == nil && rightful && since < op.begun && t.rightful(v, id) && !now.record.HeldBy(holder) && !unpublished {
			t.breaks("%s cut off %s, which had a right to %s since step %d; the operation began at %d", op.kind, holder, v.pv, since, op.begun)
		}
		if err == nil && op.kind == publishing && !now.record.HeldBy(holder) && t.inUseUnderOldName(v, id, op.begun) {
			t.breaks("publish cut off %s, which is in use: its machine only reports another identity by now", holder)
		}
	}
	if op.kind == publishing && !op.process.cache.Synced() {
		t.breaks("a controller whose caches were not filled published %s", v.pv)
	}
	if op.kind == publishing && !t.wentBack(v, before) && before.record.Held() && now.SubsystemNQN == before.SubsystemNQN && len(now.record.Holding.Holders) > len(before.record.Holding.Holders) {
		for _, uid := range op.process.cache.othersLetIn(v, before) {
			if slices.Contains(op.others, uid) {
				t.breaks("%s joined the holders of %s although another host is let in by attachment %s", op.node, v.pv, uid)
			}
		}
	}
	if op.kind == publishing && now.record.HeldBy(op.node) && !before.record.HeldBy(op.node) {
		for _, later := range t.w.history.operations {
			if later.kind == unpublishing && later.volume == v && later.node == op.node && later.ok && later.begun > op.ended {
				t.breaks("a publish to %s, given up at step %d, came through after it was unpublished at %d", op.node, op.ended, later.ended)
			}
		}
	}
}

// inUseUnderOldName tells whether a holder's machine is up and uses the volume, though its Node has shown another identity
// since before a step.
func (t *truth) inUseUnderOldName(v *volume, id attach.NodeID, step int) bool {
	node, found := t.w.api.nodes[id.Name]
	m := t.w.machines[t.w.api.machineOf[id.Name]]
	return found && m.alias != "" && m.renamed < step && t.w.without.identity(m.id) == id.Machine && node.Machine != id.Machine &&
		node.Uses(v.handle) && m.connected[v] != nil && m.connected[v].live()
}

// wentBack tells whether a record is older than one that there was.
func (t *truth) wentBack(v *volume, d disk) bool {
	return d.record.Generation < t.highest[v]
}

// cleared judges the deletion of a VolumeAttachment by a reconciler.
func (t *truth) cleared(a attach.Attachment) {
	op := t.w.history.current()
	t.w.e.log("cleared the attachment of %s to %s", a.PV, a.NodeName)
	id, err := attach.ParseNodeID(a.NodeID)
	node, found := t.w.api.nodes[a.NodeName]
	if err != nil || !found || node.Machine != id.Machine || t.w.api.nodeSince[a.NodeName] >= op.begun {
		return
	}
	v := t.w.volumeOf(a.Volume)
	d, _ := t.w.storage.disk(v)
	// A record of the past admits whom a later one, which the worker may have read, had shut out.
	if !a.Attached || a.Grant.SubsystemNQN == nqnOf(d) && d.record.HeldBy(a.NodeID) && !t.wentBack(v, d) {
		t.breaks("cleared the attachment of %s to %s, whose machine lives and which is admitted", v.pv, a.NodeName)
	}
	for _, pod := range t.w.api.podsOn(a.NodeName, a.Volume) {
		if pod.bornAt < op.begun && !op.process.cache.unheard[pod.name] {
			t.breaks("cleared the attachment of %s to %s, which pod %s uses", v.pv, a.NodeName, pod.name)
		}
	}
}

func (t *truth) breaks(format string, args ...any) {
	if t.broken == nil {
		t.broken = fmt.Errorf(format, args...)
	}
}

// restored forgets who had a right to what: etcd says otherwise now.
func (t *truth) restored() {
	clear(t.since)
	clear(t.takeable)
}

// forgive forgets what was, since the appliance is about to.
func (t *truth) forgive() {
	for v, before := range t.before {
		t.highest[v] = max(t.highest[v], before.record.Generation)
	}
	clear(t.before)
}

// keepRights notes who has a right to what.
func (t *truth) keepRights() {
	for _, v := range t.w.volumes {
		for _, holder := range t.holders(v) {
			id, err := attach.ParseNodeID(holder)
			key := right{v, holder}
			if _, had := t.since[key]; err == nil && t.rightful(v, id) {
				if !had {
					t.since[key] = t.w.e.steps
					if _, was := t.takeable[key]; was {
						t.takeable[key] = t.w.e.steps
					}
				}
				continue
			}
			delete(t.since, key)
			t.takeable[key] = math.MaxInt
		}
	}
}

// holders are all that the record names or that a call is about.
func (t *truth) holders(v *volume) []string {
	names := slices.Clone(t.before[v].record.Holding.Holders)
	for key := range t.since {
		if key.volume == v && !slices.Contains(names, key.node) {
			names = append(names, key.node)
		}
	}
	slices.Sort(names)
	return names
}

// check is what must hold after every step.
func (w *world) check() error {
	if err := w.superseded.check(); err != nil {
		return err
	}
	if w.changes == w.checked {
		return nil
	}
	w.checked = w.changes
	w.truth.keepRights()
	if w.truth.broken != nil {
		return w.truth.broken
	}
	for _, v := range w.volumes {
		if err := w.checkVolume(v); err != nil {
			return err
		}
	}
	return nil
}

// ended notes from whom an operation that is over might have taken its volume.
func (t *truth) ended(op *operation) {
	t.keepRights()
	op.takeable = nil
	for key, step := range t.takeable {
		if key.volume == op.volume && step >= op.begun {
			op.takeable = append(op.takeable, key.node)
		}
	}
	slices.Sort(op.takeable)
}

func (w *world) checkVolume(v *volume) error {
	writers := w.writers(v)
	w.superseded.look(v, writers)
	if v.shared || v.everEdited {
		// What a backup brought back can't be kept from a valid epoch, see docs/holding.md.
		writers = slices.DeleteFunc(writers, func(m *machine) bool { return m.connected[v].revived })
	}
	limit := 1
	if !slices.ContainsFunc(writers, func(m *machine) bool { return !attach.Shared(m.connected[v].grant.Access, m.connected[v].grant.Mode) }) {
		if limit = 2; w.wentBack {
			limit = 3 // who departed from the epoch may have been forgotten, see docs/holding.md
		}
	}
	if len(writers) > limit {
		var names []string
		for _, m := range writers {
			names = append(names, fmt.Sprintf("%s (%s) under %s", m.id, m.node, m.connected[v].nqn))
		}
		return fmt.Errorf("%s can be written by %v", v.pv, names)
	}
	if w.storage.running > 0 {
		return nil
	}
	if d, found := w.storage.disk(v); found && d.Exported && (!d.record.Held() || d.SubsystemNQN != nqnOf(d)) {
		return fmt.Errorf("%s is exported under %s, which its record doesn't say: %s", v.pv, d.SubsystemNQN, d.Comment)
	}
	return nil
}

// nqnOf is the subsystem NQN that a disk's record stands for.
func nqnOf(d disk) string {
	return "nqn.2026-11.io.srvlab.csi.rds:" + d.Slot + ":" + d.record.Holding.Epoch
}

// linearizable checks the history of a volume. An operation that failed may come true at any time after it began.
func (w *world) linearizable(v *volume) error {
	for _, op := range w.history.operations {
		if !op.ok {
			w.truth.ended(op)
		}
	}
	return w.history.linearizable(v)
}

// settle ends all trouble, and gives everybody time to come to rest.
func (w *world) settle() error {
	w.calm = true
	w.api.failing, w.api.hanging, w.storage.trouble, w.storage.hangs, w.split = 0, false, 0, false, false
	w.e.log("-- everything calms down --")
	w.untaintNode()
	for _, id := range w.ids {
		m := w.machines[id]
		if m.paused {
			w.goOn(m)
		}
		if !m.on && w.api.machineOf[m.node] == m.id {
			w.api.deleteNode(m.node)
		}
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(w.api.nodes)), func(name string) bool { return w.machines[w.api.machineOf[name]].responds() }) {
		w.join("d")
	}
	var wrong error
	for range 15 {
		w.e.run(20000, time.Now().Add(2*time.Minute))
		if w.e.violation != nil {
			return w.e.violation
		}
		if wrong = w.restless(); wrong == nil {
			return nil
		}
		w.heed()
	}
	return fmt.Errorf("no rest is found: %w", wrong)
}

// unserved says that a volume is wanted on nodes that live, and none of them has it. A second end of a migration may have
// to wait for the first to end.
func (w *world) unserved(v *volume) error {
	var waiting error
	for _, name := range slices.Sorted(maps.Keys(w.api.pods)) {
		pod := w.api.pods[name]
		m := w.machines[w.api.machineOf[pod.node]]
		if _, found := w.api.nodes[pod.node]; !found || !m.responds() || pod.deleting || pod.volume != v {
			continue
		}
		if l := m.connected[v]; l != nil && l.live() {
			return nil
		}
		waiting = fmt.Errorf("pod %s on %s has no access to its volume", name, pod.node)
	}
	return waiting
}

// heed does what the driver's events ask an operator to do: pods that were bound to a machine which has been replaced, or
// whose access has ended, are deleted and kept away for a while.
func (w *world) heed() {
	for _, name := range slices.Sorted(maps.Keys(w.api.pods)) {
		pod := w.api.pods[name]
		node, found := w.api.nodes[pod.node]
		a := w.api.attachments[pod.volume.attachment(pod.node)]
		d, _ := w.storage.disk(pod.volume)
		otherWay := pod.volume.everEdited && a != nil && !a.Attached // it may be held in the way that was asked for before
		dead := otherWay || a != nil && a.Attached && a.Grant.SubsystemNQN != d.SubsystemNQN
		if l := w.machines[w.api.machineOf[pod.node]].connected[pod.volume]; l != nil && a != nil && a.Attached {
			// The pod was given an epoch that has ended, and isn't given another: its volume shows as abnormal.
			dead = dead || !l.live() && l.nqn != a.Grant.SubsystemNQN
		}
		before := dead || found && a != nil && (a.Machine() != "" && a.Machine() != node.Machine || a.Attached && a.Grant.Node.Machine != node.Machine)
		for _, holder := range d.record.Holding.Holders {
			id, err := attach.ParseNodeID(holder)
			before = before || found && err == nil && id.Name == pod.node && id.Machine != node.Machine
		}
		if before {
			w.e.log("the operator deletes pod %s", name)
			pod.deleting = true
			// A new pod on the same node would have its Node go on reporting the volume as in use.
			pod.volume.idle = time.Now().Add(time.Minute)
		}
	}
}

// restless says what isn't as it should be in the end.
func (w *world) restless() error {
	var wrong []error
	if w.storage.appliance.Phase() != appliance.Up {
		wrong = append(wrong, errors.New("the appliance is still booting"))
	}
	for _, name := range slices.Sorted(maps.Keys(w.api.attachments)) {
		a := w.api.attachments[name]
		if node, found := w.api.nodes[a.NodeName]; !found || a.Machine() != "" && node.Machine != a.Machine() {
			wrong = append(wrong, fmt.Errorf("the attachment of %s to %s is stale", a.PV, a.NodeName))
		}
	}
	for _, v := range w.volumes {
		if err := w.unserved(v); err != nil {
			wrong = append(wrong, err)
		}
		d, _ := w.storage.disk(v)
		for _, m := range w.writers(v) {
			id := m.connected[v].grant.Node.String()
			if departed := d.record.Holding.Departed; slices.Contains(departed, id) || slices.Contains(departed, "unknown/unknown") {
				continue // it left a shared epoch unseen, and stays named until there is a new one
			}
			a := w.api.attachments[v.attachment(m.node)]
			if a == nil || !a.Attached || a.Grant.SubsystemNQN != m.connected[v].nqn || a.Machine() != m.reports() {
				wrong = append(wrong, fmt.Errorf("%s (%s) can write to %s without an attachment", m.id, m.node, v.pv))
			}
		}
	}
	return errors.Join(wrong...)
}
