package search

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// errAPI is a request that the API server didn't answer.
var errAPI = errors.New("the API server is away")

// errConflict is a write on a version that isn't the current one, and errMissing one on nothing.
var (
	errConflict = errors.New("the object has been modified")
	errMissing  = errors.New("not found")
)

// apiServer is what is true in Kubernetes. Reads and writes are linearizable; watches tell of them later.
type apiServer struct {
	e        *engine
	revision int
	// failing makes requests fail, one in so many; 0 for none. While it is hanging, requests are taken and never answered.
	failing int
	hanging bool
	// restores counts how often a backup was restored. The API server was down then, so whoever was about to write something
	// begins anew.
	restores int
	nodes    map[string]attach.Node
	// csiNodes are the node IDs that kubelets registered; they go with their Node.
	csiNodes map[string]string
	// lastInUse is what a Node said was in use when it was deleted.
	lastInUse   map[string][]string
	attachments map[string]*object
	// lastDetach is when the deletion of an attachment of a volume was last asked for.
	lastDetach map[string]time.Time
	pods       map[string]*pod
	// volumes are the handles of PersistentVolumes.
	volumes map[string]string
	watches []*cache
	// machineOf is which machine a Node stands for, or stood for last, and nodeSince the step since when.
	machineOf map[string]string
	nodeSince map[string]int
	// changed is told of every change.
	changed func()
	// cleared is told of what a reconciler deletes.
	cleared func(attach.Attachment)
}

// object is a VolumeAttachment.
type object struct {
	attach.Attachment
	finalizer bool
	// revived says that it was gone, or about to be, until a backup brought it back.
	revived bool
}

// pod uses one volume on one node.
type pod struct {
	name, node string
	volume     *volume
	// deleting says that its deletion was asked for; its kubelet removes it, or the garbage collection.
	deleting bool
	// bornAt is the step at which it was made.
	bornAt int
}

// resource is a kind of object.
type resource int

const (
	aNode resource = iota
	anAttachment
	aVolume
	aPod
)

// event says what became of an object.
type event struct {
	about resource
	name  string
	gone  bool
	// node is a Node, or names that of a pod.
	node       attach.Node
	attachment attach.Attachment
	// handle is that of a PersistentVolume, or of a pod's volume.
	handle string
}

func podEvent(name, nodeName string, now *pod) event {
	told := event{about: aPod, name: name, gone: now == nil, node: attach.Node{Name: nodeName}}
	if now != nil {
		told.handle = now.volume.handle
	}
	return told
}

func newAPIServer(e *engine) *apiServer {
	return &apiServer{
		e: e, changed: func() {}, nodes: map[string]attach.Node{}, csiNodes: map[string]string{}, lastInUse: map[string][]string{},
		attachments: map[string]*object{}, pods: map[string]*pod{}, volumes: map[string]string{},
		lastDetach: map[string]time.Time{}, machineOf: map[string]string{}, nodeSince: map[string]int{},
	}
}

// request is a round trip: others may come first, and it may fail, or last until the caller gives up.
func (s *apiServer) request(ctx context.Context) error {
	s.e.pause()
	// The components that are modelled here don't hang with it: what a real one does then isn't known.
	if deadline, bounded := ctx.Deadline(); bounded && s.hanging {
		s.e.await(deadline, func() bool { return !s.hanging || ctx.Err() != nil })
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if s.failing > 0 && s.e.chance(s.failing) {
		return errAPI
	}
	return nil
}

func (s *apiServer) version() string {
	s.revision++
	return strconv.Itoa(s.revision)
}

func (s *apiServer) putNode(node attach.Node, csiNodeID string) {
	s.revision++
	node.VolumesInUse = slices.Clone(node.VolumesInUse)
	if old, found := s.nodes[node.Name]; !found || old.Machine != node.Machine {
		s.nodeSince[node.Name] = s.e.steps
	}
	if _, found := s.nodes[node.Name]; !found {
		node.Since = time.Now().Truncate(time.Second)
	}
	s.nodes[node.Name], s.csiNodes[node.Name] = node, csiNodeID
	s.tell(event{about: aNode, name: node.Name, node: node})
}

func (s *apiServer) deleteNode(name string) {
	if node, found := s.nodes[name]; found {
		s.revision++
		s.lastInUse[name] = node.VolumesInUse
		delete(s.nodes, name)
		delete(s.csiNodes, name)
		s.tell(event{about: aNode, name: name, gone: true, node: node})
	}
}

// create makes a VolumeAttachment, unless there is one of the name.
func (s *apiServer) create(v *volume, nodeName string) error {
	name := v.attachment(nodeName)
	if s.attachments[name] != nil {
		return errConflict
	}
	version := s.version()
	s.attachments[name] = &object{Attachment: attach.Attachment{
		Name: name, UID: "uid-" + version, ResourceVersion: version, NodeName: nodeName, PV: v.pv, Volume: v.handle,
		Since: time.Now().Truncate(time.Second),
	}}
	s.tellAttachment(name)
	return nil
}

// update changes the version of a VolumeAttachment that was read, if it is still the current one.
func (s *apiServer) update(read attach.Attachment, change func(*object)) error {
	current := s.attachments[read.Name]
	switch {
	case current == nil:
		return errMissing
	case current.UID != read.UID || current.ResourceVersion != read.ResourceVersion:
		return errConflict
	}
	change(current)
	current.ResourceVersion = s.version()
	s.tellAttachment(read.Name)
	return nil
}

// delete asks for the deletion of a VolumeAttachment, of any version where uid and version are empty.
func (s *apiServer) delete(name, uid, version string) error {
	current := s.attachments[name]
	switch {
	case current == nil:
		return errMissing
	case uid != "" && current.UID != uid || version != "" && current.ResourceVersion != version:
		return errConflict
	case current.finalizer && !current.Detaching():
		s.lastDetach[current.Volume] = time.Now()
		current.DetachingSince, current.ResourceVersion = time.Now(), s.version()
	case !current.finalizer:
		s.revision++
		delete(s.attachments, name)
	}
	s.tellAttachment(name)
	return nil
}

// finalize takes the finalizer away: what is being deleted is gone then.
func (s *apiServer) finalize(read attach.Attachment) error {
	err := s.update(read, func(current *object) { current.finalizer = false })
	if current := s.attachments[read.Name]; err == nil && current.Detaching() {
		delete(s.attachments, read.Name)
		s.tellAttachment(read.Name)
	}
	return err
}

func (s *apiServer) tellAttachment(name string) { s.tell(s.attachmentNow(name)) }

// attachmentNow says what has become of an attachment.
func (s *apiServer) attachmentNow(name string) event {
	told := event{about: anAttachment, name: name, gone: s.attachments[name] == nil}
	if !told.gone {
		told.attachment = s.attachments[name].Attachment
	}
	return told
}

func (s *apiServer) tell(told event) {
	s.changed()
	for _, watch := range s.watches {
		watch.tell(told)
	}
}

// putVolume makes a PersistentVolume.
func (s *apiServer) putVolume(v *volume) {
	s.volumes[v.pv] = v.handle
	s.tell(event{about: aVolume, name: v.pv, handle: v.handle})
}

// putPod makes a pod.
func (s *apiServer) putPod(made *pod) {
	s.pods[made.name] = made
	s.e.log("pod %s is placed on %s", made.name, made.node)
	s.tell(podEvent(made.name, made.node, made))
}

// attached lists the attachments of a volume, in order.
func (s *apiServer) attached(v *volume) []*object {
	var found []*object
	for _, name := range slices.Sorted(maps.Keys(s.attachments)) {
		if s.attachments[name].Volume == v.handle {
			found = append(found, s.attachments[name])
		}
	}
	return found
}

// podsOn lists the pods on a node that use a volume and haven't ended, in order.
func (s *apiServer) podsOn(nodeName, handle string) []*pod {
	var found []*pod
	for _, name := range slices.Sorted(maps.Keys(s.pods)) {
		if pod := s.pods[name]; pod.node == nodeName && (handle == "" || pod.volume.handle == handle) {
			found = append(found, pod)
		}
	}
	return found
}

// deletePod removes a pod for good.
func (s *apiServer) deletePod(name string) {
	pod := s.pods[name]
	delete(s.pods, name)
	s.e.log("pod %s on %s is gone", name, pod.node)
	s.tell(podEvent(name, pod.node, nil))
}

func (s *apiServer) String() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.attachments)) {
		a := s.attachments[name]
		fmt.Fprintf(&text, "  attachment of %s to %s (%s): attached %t, detaching %t, %s at %d\n", a.PV, a.NodeName, a.NodeID, a.Attached, a.Detaching(), a.Grant.SubsystemNQN, a.Grant.Generation)
	}
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		fmt.Fprintf(&text, "  node %s is machine %s, uses %v\n", name, s.nodes[name].Machine, s.nodes[name].VolumesInUse)
	}
	for _, name := range slices.Sorted(maps.Keys(s.pods)) {
		fmt.Fprintf(&text, "  pod %s of %s on %s, deleting %t\n", name, s.pods[name].volume.pv, s.pods[name].node, s.pods[name].deleting)
	}
	return text.String()
}
