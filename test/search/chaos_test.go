package search

import (
	"maps"
	"slices"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// taintNode has an operator declare a node out of service, rightly or not: the pods there are deleted by force, and nobody
// waits for its kubelet to unmount anything. Or its Node is being deleted while a finalizer keeps it.
func (w *world) taintNode() {
	names := slices.Sorted(maps.Keys(w.api.nodes))
	if len(names) < 2 {
		return
	}
	node := w.api.nodes[names[w.e.random.IntN(len(names))]]
	node.Leaving = true
	w.e.log("node %s is out of service now", node.Name)
	w.api.putNode(node, w.api.csiNodes[node.Name])
	if w.e.chance(3) {
		return
	}
	for _, pod := range w.api.podsOn(node.Name, "") {
		w.api.deletePod(pod.name)
	}
}

// untaintNode takes that back.
func (w *world) untaintNode() {
	for _, name := range slices.Sorted(maps.Keys(w.api.nodes)) {
		if node := w.api.nodes[name]; node.Leaving {
			node.Leaving = false
			w.e.log("node %s is in service again", name)
			w.api.putNode(node, w.api.csiNodes[name])
		}
	}
}

// rename has a machine report another identity from now on, while it runs: firmware was updated, or a file was edited. Its
// kubelet and node process restart with it; its kernel goes on with what it has.
func (w *world) rename() {
	m := w.pickMachine(func(m *machine) bool { return m.responds() && m.mine() && m.alias == "" })
	if m == nil {
		return
	}
	m.alias, m.renamed = m.id+"-renamed", w.e.steps
	node := w.api.nodes[m.node]
	node.Machine = w.without.identity(m.alias)
	w.e.log("machine %s (%s) says it is %s from now on", m.id, m.node, m.alias)
	w.api.putNode(node, attach.NodeID{Name: m.node, Machine: node.Machine}.String())
}

// republish is external-attacher's comparison of what is attached with what the driver lists as published. Where the two
// differ, it publishes what counts as attached already.
func (p *process) republish() {
	for {
		p.w.e.sleep(time.Minute)
		if !p.w.republishes || !p.w.leads(p) {
			continue
		}
		for _, name := range p.attachers.CachedAttachments() {
			seen := p.attachers.attachments[name]
			record, known := p.controller.SeenRecord(seen.Volume)
			listed := known && record.Admits(seen.Grant)
			if !seen.Attached || seen.Detaching() || p.busy[name] || listed && !p.w.e.chance(8) {
				continue
			}
			p.w.e.log("publishes %s to %s again", seen.PV, seen.NodeName)
			p.handle(name, seen)
		}
	}
}

// freeze has a machine that uses a volume stand still for minutes, while its Node stays. People delete its pods by force.
func (w *world) freeze() {
	m := w.pickMachine(func(m *machine) bool { return m.responds() && m.mine() && len(m.connected) > 0 })
	if m == nil {
		return
	}
	w.e.log("machine %s (%s) stands still for long", m.id, m.node)
	m.paused, m.frozen = true, true
	w.e.spawn("people", func() {
		w.e.sleep(w.e.upTo(20 * time.Second))
		for _, pod := range w.api.podsOn(m.node, "") {
			w.api.deletePod(pod.name)
		}
		w.e.sleep(time.Minute + w.e.upTo(time.Minute))
		if m.frozen {
			w.goOn(m)
		}
	})
}

// outage has a machine that uses a volume stand still, an operator give it up for lost, and the appliance lose its power when the
// volume has been detached. Then the machine goes on, and for a while nobody else wants the volume.
func (w *world) outage() {
	m := w.pickMachine(func(m *machine) bool { return m.responds() && m.mine() && len(m.connected) > 0 })
	if m == nil {
		return
	}
	w.e.log("machine %s (%s) stands still, and the appliance will go down", m.id, m.node)
	m.paused, m.frozen = true, true
	node := w.api.nodes[m.node]
	node.Leaving = true
	w.api.putNode(node, w.api.csiNodes[m.node])
	for _, pod := range w.api.podsOn(m.node, "") {
		pod.volume.idle = time.Now().Add(3 * time.Minute)
		w.api.deletePod(pod.name)
	}
	w.e.spawn("outage", func() {
		w.e.sleep(5*time.Second + w.e.upTo(15*time.Second))
		if w.storage.appliance.Phase() == appliance.Up {
			if w.e.chance(3) {
				w.hangAPI() // what takes the appliance's power may take the control plane's storage, too
			}
			w.storage.reboot(appliance.Boot{PowerCut: true})
		}
		if m.frozen {
			w.goOn(m)
		}
	})
}
