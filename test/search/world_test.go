package search

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	drivercsi "git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// volume is a volume with its PersistentVolume.
type volume struct {
	pv, handle string
	// shared volumes are raw block for virtual machines that migrate; edited ones were, until somebody made their
	// PersistentVolume one for a single node, or the other way round.
	shared, edited, everEdited bool
	// replicas is how many pods use it, but for the time until idle, when it has none.
	replicas int
	idle     time.Time
	// names are its attachments' by node, which cost a hash each.
	names map[string]string
}

func (v *volume) attachment(nodeName string) string {
	if v.names[nodeName] == "" {
		v.names[nodeName] = attach.AttachmentName(v.handle, drivercsi.DriverName, nodeName)
	}
	return v.names[nodeName]
}

// mayShare tells whether Kubernetes would attach it twice, by the PersistentVolume as it is now.
func (v *volume) mayShare() bool { return v.shared != v.edited }

func (v *volume) capability() *csi.VolumeCapability {
	capability := &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
	if v.mayShare() {
		capability.AccessMode.Mode = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	}
	return capability
}

// world is a cluster and an appliance.
type world struct {
	e        *engine
	api      *apiServer
	storage  *storage
	history  *history
	without  without
	volumes  []*volume
	machines map[string]*machine
	// ids are those of the machines, in the order in which they came.
	ids []string
	// made counts the machines that ever were.
	made       int
	controller *attachDetach
	processes  []*process
	// leader is which process's external-attacher works; both do while it is split.
	leader      int
	split       bool
	truth       *truth
	provisioner *provisioner
	// neighbours is another cluster's, in some schedules.
	neighbours *provisioner
	// superseded knows which epochs have ended.
	superseded *superseded
	// calm says that nothing goes wrong any more.
	calm bool
	// changes counts what may matter to a rule; checked is how many there were at the last check.
	changes, checked int
	// republishes says that external-attacher compares what is attached with what the driver lists, as it does for drivers that
	// list it.
	republishes bool
	// wentBack says that the appliance lost something in this schedule.
	wentBack bool
	// kubernetesWentBack says that etcd did, and restoring that it is about to.
	kubernetesWentBack, restoring bool
	// claims are there from when etcd goes back until the machine's kubelet has reported again, by the Node's name.
	claims map[string]claim
	// reached is what this schedule came to of what is hard to come to.
	reached map[string]bool
}

// What is hard to come to, and yet has to be searched.
const (
	forcedDetach = "detached by force from a machine that stands still"
	wokeUpFenced = "such a machine woke up while another had its volume"
	// publishedAnew is the path on which kubelet doesn't stage.
	publishedAnew = "a newer epoch was published than the one that was staged"
	restoredEtcd  = "etcd went back in time"
	revivedWriter = "a host connected by an attachment that a backup brought back"
	foreignCall   = "another cluster's controller was asked about a volume of ours"
)

// rare lists all of that.
func rare() []string {
	return []string{forcedDetach, wokeUpFenced, publishedAnew, restoredEtcd, revivedWriter, foreignCall}
}

func (w *world) reach(what string) { w.reached[what] = true }

// newWorld makes a cluster of three machines with a volume for one node and one for migrations.
func newWorld(t *testing.T, e *engine, without without) *world {
	t.Helper()
	w := &world{e: e, api: newAPIServer(e), machines: map[string]*machine{}, without: without, republishes: e.chance(2), reached: map[string]bool{}, claims: map[string]claim{}}
	w.history = newHistory(e)
	w.storage = newStorage(t, e, newFolder(t))
	w.truth, w.superseded = newTruth(w), newSuperseded(w)
	w.storage.sent, w.storage.after = w.history.sent, w.truth.look
	w.provisioner = &provisioner{w: w, gone: map[string]bool{}, controllers: func() []*process { return w.processes }}
	w.storage.down = func(losing bool) {
		w.wentBack = w.wentBack || losing
		w.truth.forgive()
	}
	w.api.cleared = w.truth.cleared
	w.api.changed, w.storage.changed = w.change, w.change
	w.history.ended = func(op *operation) {
		w.truth.ended(op)
		if op.ok {
			w.superseded.acknowledged(op)
		}
	}
	w.controller = newAttachDetach(w)
	w.processes = []*process{w.newProcess("one", clusterID), w.newProcess("two", clusterID)}
	e.spawn("set-up", func() { w.create(t) })
	e.run(10000, time.Now().Add(time.Hour))
	if len(w.volumes) != 2 {
		t.Fatalf("no volumes: %s", e.story())
	}
	for _, name := range []string{"a", "b", "c"} {
		w.join(name)
	}
	e.spawn("attach-detach", w.controller.run)
	e.spawn("attach-detach watch", func() { w.controller.lister.streams[0].run(listTime) })
	e.spawn("pod-gc", w.collectPods)
	e.spawn("workloads", w.keepPods)
	for _, p := range w.processes {
		p.start()
	}
	if e.chance(4) {
		e.spawn("provisioner", w.provisioner.run)
		if e.chance(3) {
			e.spawn("neighbour", w.neighbour)
		}
	}
	e.check = w.check
	return w
}

func (w *world) create(t *testing.T) {
	t.Helper()
	for _, v := range []*volume{
		{pv: "disk", replicas: 1, names: map[string]string{}},
		{pv: "vm", shared: true, replicas: 1, names: map[string]string{}},
	} {
		response, err := w.processes[0].controller.CreateVolume(context.Background(), &csi.CreateVolumeRequest{
			Name: v.pv, Parameters: map[string]string{"pool": pool}, VolumeCapabilities: []*csi.VolumeCapability{v.capability()},
			CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 20},
		})
		if err != nil {
			w.e.log("create: %v", err)
			return
		}
		v.handle = response.GetVolume().GetVolumeId()
		w.volumes = append(w.volumes, v)
		w.api.putVolume(v)
	}
	w.storage.appliance.Advance(time.Hour)
}

func (w *world) volumeOf(handle string) *volume {
	return w.volumes[slices.IndexFunc(w.volumes, func(v *volume) bool { return v.handle == handle })]
}

// join brings a new machine into the cluster, under a name that may have been another's.
func (w *world) join(name string) {
	w.made++
	id := fmt.Sprintf("machine-%d", w.made)
	m := &machine{
		w: w, id: id, node: name, on: true, stubborn: w.e.chance(2),
		staged: map[*volume]bool{}, published: map[*pod]bool{}, connected: map[*volume]*link{},
	}
	w.machines[id] = m
	w.ids = append(w.ids, id)
	w.register(m)
	w.e.spawn("kernel of "+id, m.kernel)
	w.e.spawn("kubelet of "+id, m.kubelet)
}

// register makes the machine's Node.
func (w *world) register(m *machine) {
	w.e.log("node %s is machine %s now", m.node, m.id)
	node := attach.Node{Name: m.node, Machine: m.reports()}
	w.api.putNode(node, attach.NodeID{Name: m.node, Machine: node.Machine}.String())
	w.api.machineOf[m.node] = m.id
}

func (w *world) change() { w.changes++ }

// leads tells whether a process's external-attacher works now.
func (w *world) leads(p *process) bool { return w.split || w.processes[w.leader] == p }

// began notes that a process's worker took up an attachment.
func (w *world) began(p *process) { w.history.works(p) }

// pickMachine gives any machine that fits, or nil.
func (w *world) pickMachine(fits func(*machine) bool) *machine {
	var fit []*machine
	for _, id := range w.ids {
		if m := w.machines[id]; fits(m) {
			fit = append(fit, m)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[w.e.random.IntN(len(fit))]
}

// chaos does to the world what happens to clusters.
func (w *world) chaos() {
	acts := []func(){
		w.crashMachine, w.pauseMachine, w.resumeMachine, w.resumeMachine, w.freeze, w.outage, w.deleteNode, w.deleteNode, w.replaceNode, w.replaceNode,
		w.reregister, w.reregister, w.movePod, w.movePod, w.movePod, w.hang, w.hang, w.scale, w.scale, w.killController, w.switchLeader, w.stallWatch, w.stallWatch, w.breakAPI, w.hangAPI,
		w.breakAppliance, w.breakAppliance, w.restartAttachDetach, w.editVolume,
		func() { w.powerCut(appliance.Boot{PowerCut: true}) }, func() { w.powerCut(appliance.Boot{}) },
		func() { w.powerCut(appliance.Boot{ExportsOff: true}) }, w.taintNode, w.untaintNode, w.rename,
	}
	if w.e.chance(3) {
		acts = append(acts, w.restoreEtcd, w.restoreEtcd)
	}
	acts = some(w.e, acts)
	for {
		w.e.sleep(time.Duration(200+w.e.random.IntN(9000)) * time.Millisecond)
		if w.calm {
			return
		}
		acts[w.e.random.IntN(len(acts))]()
	}
}

// some draws what a schedule knows of what may happen: where everything happens, nothing happens often enough.
func some[T any](e *engine, all []T) []T {
	known := slices.DeleteFunc(slices.Clone(all), func(T) bool { return e.chance(2) })
	if len(known) == 0 {
		return all
	}
	return known
}

func (w *world) crashMachine() {
	if m := w.pickMachine(func(m *machine) bool { return m.on }); m != nil && w.e.chance(2) {
		m.crash()
	}
}

func (w *world) pauseMachine() {
	if m := w.pickMachine(func(m *machine) bool { return m.responds() }); m != nil {
		w.e.log("machine %s (%s) stands still", m.id, m.node)
		m.paused = true
	}
}

func (w *world) resumeMachine() {
	if m := w.pickMachine(func(m *machine) bool { return m.paused && !m.frozen }); m != nil {
		w.goOn(m)
	}
}

// goOn wakes a machine up, which knows nothing of what happened meanwhile.
func (w *world) goOn(m *machine) {
	w.e.log("machine %s (%s) goes on", m.id, m.node)
	m.paused, m.frozen = false, false
	v := w.controller.forced[m]
	if v == nil || m.connected[v] == nil {
		return
	}
	if d, found := w.storage.disk(v); found && d.record.Held() && d.SubsystemNQN != m.connected[v].nqn {
		w.reach(wokeUpFenced)
	}
}

func (w *world) deleteNode() {
	names := slices.Sorted(maps.Keys(w.api.nodes))
	if len(names) > 1 {
		name := names[w.e.random.IntN(len(names))]
		w.e.log("node %s is deleted", name)
		w.api.deleteNode(name)
	}
}

// replaceNode makes another machine under a name that was somebody's, who may be running still.
func (w *world) replaceNode() {
	for _, name := range []string{"a", "b", "c"} {
		if _, found := w.api.nodes[name]; !found {
			w.join(name)
			return
		}
	}
	if w.e.chance(3) {
		w.deleteNode()
		w.replaceNode()
	}
}

// reregister has a machine whose Node was deleted come back as it was.
func (w *world) reregister() {
	m := w.pickMachine(func(m *machine) bool {
		_, taken := w.api.nodes[m.node]
		return m.responds() && !taken
	})
	if m != nil {
		w.register(m)
	}
}

func (w *world) movePod() {
	names := slices.Sorted(maps.Keys(w.api.pods))
	if len(names) == 0 {
		return
	}
	pod := w.api.pods[names[w.e.random.IntN(len(names))]]
	pod.deleting = true
	w.e.log("pod %s on %s is being deleted", pod.name, pod.node)
	if w.e.chance(4) {
		w.api.deletePod(pod.name) // by force: its kubelet wasn't asked
	}
}

// hang has the appliance take long over the next write, and those who wait for their volume give up meanwhile.
func (w *world) hang() {
	w.storage.hangs = true
	w.e.spawn("people", func() {
		w.e.sleep(w.e.upTo(time.Minute))
		w.giveUp()
	})
}

// giveUp has somebody delete pods that wait for their volume, and leave it alone for a while: one doesn't wait for ever, least
// of all while the appliance is in trouble.
func (w *world) giveUp() {
	for _, name := range slices.Sorted(maps.Keys(w.api.attachments)) {
		waiting := w.api.attachments[name]
		if waiting.Attached || waiting.Detaching() {
			continue
		}
		w.volumeOf(waiting.Volume).idle = time.Now().Add(w.e.upTo(2 * time.Minute))
		for _, pod := range w.api.podsOn(waiting.NodeName, waiting.Volume) {
			w.e.log("somebody gives up waiting for pod %s on %s", pod.name, pod.node)
			w.api.deletePod(pod.name)
		}
	}
}

// scale has a second pod want a volume, or no more than one: a virtual machine migrates, or a workload is rolled out
// although its volume is for one node at a time.
func (w *world) scale() {
	v := w.volumes[w.e.random.IntN(len(w.volumes))]
	v.replicas = 3 - v.replicas
}

func (w *world) killController() {
	i := w.e.random.IntN(len(w.processes))
	w.processes[i].crash()
	w.processes[i] = w.newProcess(strings.TrimRight(w.processes[i].name, "'")+"'", clusterID)
	w.processes[i].start()
}

func (w *world) switchLeader() {
	w.leader, w.split = 1-w.leader, w.e.chance(2)
}

// stallWatch has a controller, the external-attacher beside it, or the attach-detach controller hear nothing of something for
// a while.
func (w *world) stallWatch() {
	p := w.processes[w.e.random.IntN(len(w.processes))]
	streams := slices.Concat(p.cache.streams, p.attachers.streams, w.controller.lister.streams)
	streams[w.e.random.IntN(len(streams))].stalled = time.Now().Add(time.Duration(w.e.random.IntN(40)) * time.Second)
}

func (w *world) breakAPI() {
	w.api.failing = []int{0, 0, 10, 3}[w.e.random.IntN(4)]
}

// hangAPI has the API server take requests and answer none, for a while.
func (w *world) hangAPI() {
	if w.api.hanging {
		return
	}
	w.e.log("the API server hangs")
	w.api.hanging = true
	w.e.spawn("API server", func() {
		w.e.sleep(time.Minute + w.e.upTo(2*time.Minute))
		w.api.hanging = false
	})
}

func (w *world) breakAppliance() {
	w.storage.trouble = []int{0, 0, 12, 4, 2}[w.e.random.IntN(5)]
}

func (w *world) restartAttachDetach() { w.controller.restart = true }

func (w *world) editVolume() {
	if w.e.chance(4) {
		v := w.volumes[w.e.random.IntN(len(w.volumes))]
		v.edited, v.everEdited = !v.edited, true
		w.e.log("%s may be shared now: %t", v.pv, v.mayShare())
	}
}

func (w *world) powerCut(boot appliance.Boot) {
	if w.storage.appliance.Phase() == appliance.Up && w.e.chance(2) {
		w.e.spawn("boot", func() { w.storage.reboot(boot) })
	}
}
