package search

import (
	"maps"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// backup is what Kubernetes had at one moment.
type backup struct {
	nodes               map[string]attach.Node
	csiNodes, machineOf map[string]string
	attachments         map[string]object
	pods                map[string]pod
}

func (s *apiServer) backup() *backup {
	taken := &backup{
		nodes: maps.Clone(s.nodes), csiNodes: maps.Clone(s.csiNodes), machineOf: maps.Clone(s.machineOf),
		attachments: map[string]object{}, pods: map[string]pod{},
	}
	for name, o := range s.attachments {
		taken.attachments[name] = *o
	}
	for name, p := range s.pods {
		taken.pods[name] = *p
	}
	return taken
}

// restore brings a backup back, with a revision that is higher than any, so that every watch has to list anew. What comes back
// is new to everybody.
func (s *apiServer) restore(taken *backup) {
	s.revision++
	s.restores++
	s.changed()
	for name, node := range taken.nodes {
		if now, found := s.nodes[name]; !found || now.Machine != node.Machine {
			s.nodeSince[name] = s.e.steps
		}
	}
	s.nodes, s.csiNodes = taken.nodes, taken.csiNodes
	maps.Copy(s.machineOf, taken.machineOf)
	before := s.attachments
	s.attachments = map[string]*object{}
	for name, o := range taken.attachments {
		o.revived = before[name] == nil || before[name].UID != o.UID || before[name].Detaching() && !o.Detaching() || before[name].revived
		s.attachments[name] = &o
	}
	pods := s.pods
	s.pods = map[string]*pod{}
	for name, p := range taken.pods {
		if now := pods[name]; now != nil {
			now.deleting = p.deleting
			s.pods[name] = now
			continue
		}
		p.bornAt = s.e.steps
		s.pods[name] = &p
	}
	for _, watch := range s.watches {
		watch.lose()
	}
}

// lose has every watch of a controller be lost.
func (c *cache) lose() {
	for _, s := range c.streams {
		s.lost = true
	}
	for _, watch := range c.pods {
		watch.lost = true
	}
}

// restoreEtcd has somebody restore a backup of etcd some time after it was taken. The components are restarted, as docs/holding.md
// says, or aren't. Kubelets go on, and report their machines again.
func (w *world) restoreEtcd() {
	if w.restoring {
		return
	}
	w.restoring = true
	w.e.spawn("etcd", func() {
		w.awaitRestore()
		taken := w.api.backup()
		w.e.log("etcd is backed up")
		w.awaitRestore()
		if w.calm {
			return
		}
		w.e.log("etcd goes back in time")
		w.reach(restoredEtcd)
		w.kubernetesWentBack = true
		for name, id := range w.api.machineOf {
			_, present := w.api.nodes[name]
			w.claims[name] = claim{id, present}
		}
		w.api.restore(taken)
		w.controller.restart = true
		w.truth.restored()
		if w.e.chance(2) {
			w.killController()
			w.killController()
		}
		w.restoring = false
	})
}

// awaitRestore waits for a while: for any time, or until a shared volume has got a second attachment, or has lost one.
func (w *world) awaitRestore() {
	if w.e.chance(2) {
		w.e.sleep(w.e.upTo(time.Minute))
		return
	}
	count := func() int {
		attached := 0
		for _, v := range w.volumes {
			for _, o := range w.api.attached(v) {
				if v.shared && o.Attached {
					attached++
				}
			}
		}
		return attached
	}
	before := count()
	w.e.await(time.Now().Add(time.Minute), func() bool { return count() != before })
}

// claim is the machine that a Node stood for last when etcd went back, and whether the Node was there then.
type claim struct {
	machine string
	present bool
}

// claim is what a kubelet does about a Node that etcd has forgotten, or has as it was: it reports its machine again.
func (m *machine) claim() {
	last := m.w.claims[m.node]
	if last.machine != m.id {
		return
	}
	delete(m.w.claims, m.node)
	if node, found := m.w.api.nodes[m.node]; found && node.Machine != m.reports() || !found && last.present {
		m.w.register(m)
	}
}

// othersLetIn are the attachments, as a controller's cache has them, that carry a volume's epoch although their node is no
// holder: their hosts are admitted by an epoch that was theirs before etcd went back in time. By UID.
func (c *cache) othersLetIn(v *volume, d disk) []string {
	var others []string
	for _, name := range c.CachedAttachments() {
		a := c.attachments[name]
		if a.Volume == v.handle && !a.Detaching() && a.Grant.SubsystemNQN == nqnOf(d) && !d.record.HeldBy(a.Grant.Node.String()) {
			others = append(others, a.UID)
		}
	}
	return others
}
