package search

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// machine is a computer that a Node stands for, or stood for: a kubelet with our node plugin, and a kernel that goes on by
// itself whatever becomes of them.
type machine struct {
	w    *world
	id   string
	node string
	// alias is another identity that the machine reports since the step renamed, or empty.
	alias   string
	renamed int
	// on is off after a crash; paused machines stand still, and go on later as if nothing had happened. Frozen ones do so for
	// long.
	on, paused, frozen bool
	// stubborn kernels try a refused subsystem for ever (6.1); others give up for good (6.12).
	stubborn bool
	// staged is what kubelet believes staged, and published are the pods that it gave their volume; connected is what the kernel
	// does about it.
	staged    map[*volume]bool
	published map[*pod]bool
	connected map[*volume]*link
}

// link is the kernel's connection to one subsystem, by what was granted: live, or being tried for again.
type link struct {
	grant   attach.Grant
	nqn     string
	host    string
	session *export.Session
	gaveUp  bool
	// revived says that the grant was in an attachment that a backup had brought back.
	revived bool
}

// reports is the identity that the machine's Node shows and its node process finds.
func (m *machine) reports() string {
	if m.alias != "" {
		return m.w.without.identity(m.alias)
	}
	return m.w.without.identity(m.id)
}

// host is the name under which the machine connects.
func (m *machine) host() string {
	if m.alias != "" {
		return nvme.HostOf(m.alias).NQN
	}
	return nvme.HostOf(m.id).NQN
}

// responds tells whether the machine's kubelet is seen to live.
func (m *machine) responds() bool { return m.on && !m.paused }

// live tells whether I/O on the link would arrive now.
func (l *link) live() bool {
	if l.session == nil {
		return false
	}
	select {
	case <-l.session.Revoked():
		return false
	case <-l.session.Lost():
		return false
	case <-l.session.Ended():
		return false
	default:
		return true
	}
}

// kernel keeps links alive: whatever broke is tried again under the same name.
func (m *machine) kernel() {
	for {
		m.w.e.sleep(time.Duration(300+m.w.e.random.IntN(4000)) * time.Millisecond)
		if !m.responds() {
			continue
		}
		for _, v := range m.w.volumes {
			l := m.connected[v]
			if l == nil || l.live() || l.gaveUp {
				continue
			}
			_ = m.connect(l)
		}
	}
}

// connect tries a link, whose session it replaces.
func (m *machine) connect(l *link) error {
	session, err := m.w.storage.exports.Connect(l.nqn, l.host)
	switch {
	case errors.Is(err, export.ErrRefused):
		if l.gaveUp = l.gaveUp || !m.stubborn; l.gaveUp {
			m.w.e.log("%s is refused for good: %v", m.id, err)
		}
	case err == nil:
		m.end(l)
		l.session = session
		m.w.change()
		m.w.e.log("%s is connected to %s", m.id, l.nqn)
	}
	return err
}

// end is the initiator's word that a session is over.
func (m *machine) end(l *link) {
	if l.session != nil {
		m.w.storage.exports.End(l.session.ID)
		l.session = nil
	}
}

// kubelet brings volumes to pods and takes them away again.
func (m *machine) kubelet() {
	for {
		m.w.e.sleep(time.Duration(300+m.w.e.random.IntN(3000)) * time.Millisecond)
		if !m.responds() {
			continue
		}
		m.claim()
		for _, v := range m.w.volumes {
			m.serve(v)
		}
	}
}

// mine tells whether the API server has a Node for this very machine.
func (m *machine) mine() bool {
	_, found := m.w.api.nodes[m.node]
	return found && m.w.api.machineOf[m.node] == m.id
}

func (m *machine) serve(v *volume) {
	var wanted []*pod
	if m.mine() {
		for _, pod := range m.w.api.podsOn(m.node, v.handle) {
			if !pod.deleting {
				wanted = append(wanted, pod)
			}
		}
	} else if pods := m.w.api.podsOn(m.node, v.handle); len(pods) > 0 {
		return // its Node is gone, and its pods aren't yet: they go on running here
	}
	if len(wanted) > 0 {
		m.bring(v, wanted)
		return
	}
	if m.staged[v] || m.connected[v] != nil {
		m.unstage(v)
	}
	if !m.mine() {
		return
	}
	if m.reported(v) {
		m.report(v)
	}
	for _, pod := range m.w.api.podsOn(m.node, v.handle) {
		if pod.deleting && m.responds() {
			m.w.api.deletePod(pod.name)
		}
	}
}

// reported tells whether the Node's status has a volume in use.
func (m *machine) reported(v *volume) bool {
	return slices.Contains(m.w.api.nodes[m.node].VolumesInUse, v.handle)
}

// report changes whether the Node's status has a volume in use.
func (m *machine) report(v *volume) {
	node := m.w.api.nodes[m.node]
	before := len(node.VolumesInUse)
	node.VolumesInUse = slices.DeleteFunc(slices.Clone(node.VolumesInUse), func(handle string) bool { return handle == v.handle })
	if len(node.VolumesInUse) == before {
		node.VolumesInUse = append(node.VolumesInUse, v.handle)
	}
	m.w.api.putNode(node, m.w.api.csiNodes[m.node])
}

// bring stages a volume and publishes it to pods, as soon as its attachment counts as attached. What kubelet believes staged
// isn't staged again: then publish alone compares what is connected with what was granted. A pod that has its volume isn't
// given it again, whatever becomes of the attachment; only what was connected is tried again.
func (m *machine) bring(v *volume, pods []*pod) {
	if !m.reported(v) {
		m.report(v)
	}
	if !m.staged[v] {
		m.staged[v] = m.attempt(v)
	}
	for _, pod := range pods {
		switch l := m.connected[v]; {
		case !m.staged[v]:
			return
		case !m.published[pod]:
			m.published[pod] = m.attempt(v)
			if l != nil && m.connected[v] != nil && m.connected[v].nqn != l.nqn {
				m.w.reach(publishedAnew)
			}
		case l != nil && !l.live() && m.responds():
			_ = m.reach(v, l.grant)
		}
	}
}

// attempt is a call of the node plugin, to stage or to publish, with the context that the attachment has by then.
func (m *machine) attempt(v *volume) bool {
	if m.w.api.request(context.Background()) != nil || !m.responds() {
		return false
	}
	attachment := m.w.api.attachments[v.attachment(m.node)]
	if attachment == nil || !attachment.Attached || attachment.Detaching() {
		return false
	}
	grant := attachment.Grant
	if !m.w.without.anyGrant && grant.Node != (attach.NodeID{Name: m.node, Machine: m.reports()}) {
		return false // it was made for another machine of this name, and our node plugin refuses it
	}
	m.w.e.pause()
	if !m.responds() || !m.reach(v, grant) {
		return false
	}
	if attachment.revived {
		m.connected[v].revived = true
		m.w.reach(revivedWriter)
	}
	return true
}

// reach has the volume connected by a grant. The target judges: where that connects, what was connected before is dead, and
// where it doesn't, nothing of the old is touched.
func (m *machine) reach(v *volume, grant attach.Grant) bool {
	l := m.connected[v]
	if l != nil && l.nqn == grant.SubsystemNQN && l.live() {
		return true
	}
	m.w.change()
	fresh := &link{grant: grant, nqn: grant.SubsystemNQN, host: m.host()}
	if m.connect(fresh) != nil {
		return false
	}
	if l != nil && l.nqn != fresh.nqn {
		m.end(l)
	}
	m.connected[v] = fresh
	m.w.change()
	return true
}

func (m *machine) unstage(v *volume) {
	if l := m.connected[v]; l != nil {
		m.end(l)
		m.w.e.log("%s is disconnected from %s", m.id, l.nqn)
	}
	delete(m.connected, v)
	delete(m.staged, v)
	maps.DeleteFunc(m.published, func(pod *pod, _ bool) bool { return pod.volume == v })
}

// crash takes the power away: the kernel's connections are gone, and what was staged is forgotten.
func (m *machine) crash() {
	m.w.e.log("machine %s (%s) crashes", m.id, m.node)
	m.on = false
	for _, v := range m.w.volumes {
		m.unstage(v)
	}
}

// writers lists the machines that can write to a volume, or could as soon as they tried, in order.
func (w *world) writers(v *volume) []*machine {
	var writers []*machine
	d, found := w.storage.disk(v)
	for _, id := range w.ids {
		m := w.machines[id]
		l := m.connected[v]
		if !m.on || l == nil {
			continue
		}
		reachable := found && d.Exported && d.SubsystemNQN == l.nqn && !l.gaveUp
		if l.live() || reachable {
			writers = append(writers, m)
		}
	}
	return writers
}
