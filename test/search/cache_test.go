package search

import (
	"context"
	"maps"
	"slices"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// cache is one controller's informers, as a model: a stream for each resource, and what was heard of each. It begins with
// nothing. It also is that controller's way to the API server.
type cache struct {
	api         *apiServer
	streams     []*stream
	nodes       map[string]attach.Node
	attachments map[string]attach.Attachment
	// volumes are the handles of PersistentVolumes.
	volumes map[string]string
	// pods are the watches of the pods of one node each, for as long as an attachment waits for them.
	pods map[string]*podWatch
	// unheard are pods that an answer about them lacked, since their watch was behind.
	unheard map[string]bool
	// signals are closed at the next event about a volume.
	signals map[string]chan struct{}
	enqueue func(attachmentName string)
	// spawn starts what ends with the controller.
	spawn func(name string, run func())
}

// podWatch is a watch of one node's pods.
type podWatch struct {
	*stream
	// known are the handles of the volumes that pods use, by pod, and waiting the attachments that the watch is for.
	known   map[string]string
	waiting map[string]bool
}

// newLister is a cache of VolumeAttachments alone.
func newLister(api *apiServer) *cache {
	c := &cache{
		api: api, nodes: map[string]attach.Node{}, attachments: map[string]attach.Attachment{}, volumes: map[string]string{},
		pods: map[string]*podWatch{}, signals: map[string]chan struct{}{}, unheard: map[string]bool{}, enqueue: func(string) {},
	}
	c.streams = []*stream{{e: api.e, fits: func(told event) bool { return told.about == anAttachment }, list: c.listAttachments, apply: c.applyAttachment}}
	api.watches = append(api.watches, c)
	return c
}

func newCache(api *apiServer, enqueue func(string), spawn func(string, func())) *cache {
	c := newLister(api)
	c.enqueue, c.spawn = enqueue, spawn
	c.streams = append(c.streams,
		&stream{e: api.e, fits: func(told event) bool { return told.about == aNode }, list: c.listNodes, apply: c.applyNode},
		&stream{e: api.e, fits: func(told event) bool { return told.about == aVolume }, list: c.listVolumes, apply: c.applyVolume})
	return c
}

// tell has every stream hear of something, in its own time.
func (c *cache) tell(told event) {
	for _, s := range c.streams {
		s.tell(told)
	}
	if watch := c.pods[told.node.Name]; watch != nil {
		watch.tell(told)
	}
}

func (c *cache) listNodes() []event {
	var all []event
	for _, name := range union(c.nodes, c.api.nodes) {
		node, found := c.api.nodes[name]
		all = append(all, event{about: aNode, name: name, gone: !found, node: node})
	}
	return all
}

func (c *cache) listAttachments() []event {
	var all []event
	for _, name := range union(c.attachments, c.api.attachments) {
		all = append(all, c.api.attachmentNow(name))
	}
	return all
}

func (c *cache) listVolumes() []event {
	var all []event
	for _, pv := range union(c.volumes, c.api.volumes) {
		handle, found := c.api.volumes[pv]
		all = append(all, event{about: aVolume, name: pv, gone: !found, handle: handle})
	}
	return all
}

// applyNode wakes those who wait for a volume that is attached to the node only where its machine isn't the one it was.
func (c *cache) applyNode(told event) {
	before, known := c.nodes[told.name]
	delete(c.nodes, told.name)
	if !told.gone {
		c.nodes[told.name] = told.node
	}
	if !known {
		c.stopPods(told.name)
	}
	for _, name := range c.CachedAttachments() {
		if c.attachments[name].NodeName != told.name {
			continue
		}
		c.enqueue(name)
		if known && (told.gone || before.Machine != told.node.Machine) {
			c.signal(c.attachments[name].Volume)
		}
	}
}

func (c *cache) applyAttachment(told event) {
	handle := c.attachments[told.name].Volume
	delete(c.attachments, told.name)
	if told.gone {
		c.release(told.name)
	} else {
		c.attachments[told.name] = told.attachment
		handle = told.attachment.Volume
	}
	c.signal(handle)
	c.enqueue(told.name)
}

func (c *cache) applyVolume(told event) {
	delete(c.volumes, told.name)
	if told.gone {
		return
	}
	c.volumes[told.name] = told.handle
	for _, name := range c.CachedAttachments() {
		if c.attachments[name].PV == told.name {
			c.enqueue(name)
		}
	}
}

func (c *cache) signal(handle string) {
	if signal := c.signals[handle]; signal != nil {
		close(signal)
		delete(c.signals, handle)
	}
}

// stands tells whether any of it hears nothing for now.
func (c *cache) stands() bool { return slices.ContainsFunc(c.streams, (*stream).stands) }

// known is an attachment with the handle of its volume, if its PersistentVolume was heard of.
func (c *cache) known(attachment attach.Attachment) attach.Attachment {
	attachment.Volume = c.volumes[attachment.PV]
	return attachment
}

func (c *cache) Synced() bool {
	return !slices.ContainsFunc(c.streams, func(s *stream) bool { return !s.listed })
}

func (c *cache) WaitForSync(context.Context) error {
	c.api.e.await(time.Time{}, c.Synced)
	return nil
}

func (c *cache) CachedNode(name string) (attach.Node, bool) {
	node, found := c.nodes[name]
	return node, found
}

func (c *cache) CachedAttachments() []string { return slices.Sorted(maps.Keys(c.attachments)) }

func (c *cache) CachedAttachment(name string) (attach.Attachment, bool) {
	attachment, found := c.attachments[name]
	return c.known(attachment), found
}

func (c *cache) CachedAttachmentsOf(handle string) []attach.Attachment {
	var found []attach.Attachment
	for _, name := range c.CachedAttachments() {
		if attachment, _ := c.CachedAttachment(name); attachment.Volume == handle {
			found = append(found, attachment)
		}
	}
	return found
}

func (c *cache) CachedNodesOfMachine(machine string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
		if c.nodes[name].Machine == machine {
			names = append(names, name)
		}
	}
	return names
}

func (c *cache) AwaitAttachment(ctx context.Context, name string) (attach.Attachment, bool) {
	c.api.e.await(time.Now().Add(3*time.Second), func() bool {
		_, found := c.attachments[name]
		return found || ctx.Err() != nil
	})
	return c.CachedAttachment(name)
}

func (c *cache) AttachmentsChanged(_ context.Context, handle string) <-chan struct{} {
	if c.signals[handle] == nil {
		c.signals[handle] = make(chan struct{})
	}
	return c.signals[handle]
}

func (c *cache) LiveNode(ctx context.Context, name string) attach.Answer[attach.Node] {
	if err := c.api.request(ctx); err != nil {
		return attach.Answer[attach.Node]{Err: err}
	}
	node, found := c.api.nodes[name]
	return attach.Answer[attach.Node]{Value: node, Found: found}
}

func (c *cache) LiveAttachment(ctx context.Context, name string) attach.Answer[attach.Attachment] {
	if err := c.api.request(ctx); err != nil {
		return attach.Answer[attach.Attachment]{Err: err}
	}
	if current := c.api.attachments[name]; current != nil {
		return attach.Answer[attach.Attachment]{Value: c.known(current.Attachment), Found: true}
	}
	return attach.Answer[attach.Attachment]{}
}

func (c *cache) LiveAttachmentsOf(ctx context.Context, handle string) ([]attach.Attachment, error) {
	if err := c.api.request(ctx); err != nil {
		return nil, err
	}
	var found []attach.Attachment
	for _, name := range slices.Sorted(maps.Keys(c.api.attachments)) {
		attachment := c.api.attachments[name].Attachment
		if c.api.volumes[attachment.PV] == handle {
			attachment.Volume = handle
			found = append(found, attachment)
		}
	}
	return found, nil
}

// PodsUsing looks at a watch of the node's pods, which it begins if there is none.
func (c *cache) PodsUsing(ctx context.Context, attachment attach.Attachment) ([]string, error) {
	watch := c.watchPods(attachment.NodeName)
	watch.waiting[attachment.Name] = true
	c.api.e.await(time.Time{}, func() bool { return watch.listed || ctx.Err() != nil })
	if !watch.listed {
		return nil, ctx.Err()
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(watch.known)) {
		if watch.known[name] == c.api.volumes[attachment.PV] {
			names = append(names, name)
		}
	}
	for _, pod := range c.api.podsOn(attachment.NodeName, attachment.Volume) {
		if watch.known[pod.name] == "" {
			c.unheard[pod.name] = true
		}
	}
	if len(names) == 0 {
		c.release(attachment.Name)
	}
	return names, nil
}

// watchPods gives the watch of a node's pods.
func (c *cache) watchPods(nodeName string) *podWatch {
	if watch := c.pods[nodeName]; watch != nil {
		return watch
	}
	watch := &podWatch{known: map[string]string{}, waiting: map[string]bool{}}
	c.pods[nodeName] = watch
	watch.stream = &stream{
		e: c.api.e, fits: func(told event) bool { return told.about == aPod },
		list: func() []event {
			now := map[string]*pod{}
			for _, pod := range c.api.podsOn(nodeName, "") {
				now[pod.name] = pod
			}
			var all []event
			for _, name := range union(watch.known, now) {
				all = append(all, podEvent(name, nodeName, now[name]))
			}
			return all
		},
		apply: func(told event) {
			delete(watch.known, told.name)
			if !told.gone {
				watch.known[told.name] = told.handle
				return
			}
			for _, name := range slices.Sorted(maps.Keys(watch.waiting)) {
				c.enqueue(name)
			}
		},
	}
	c.spawn("watch of the pods on "+nodeName, func() { watch.run(time.Second) })
	return watch
}

// release ends the watches that nothing waits for without the attachment.
func (c *cache) release(attachmentName string) {
	for nodeName, watch := range c.pods {
		if delete(watch.waiting, attachmentName); len(watch.waiting) == 0 {
			c.stopPods(nodeName)
		}
	}
}

func (c *cache) stopPods(nodeName string) {
	if watch := c.pods[nodeName]; watch != nil {
		watch.ended = true
		delete(c.pods, nodeName)
	}
}

func (c *cache) DeleteAttachment(ctx context.Context, attachment attach.Attachment) error {
	return c.deleteExactly(ctx, attachment.Name, attachment.UID, attachment.ResourceVersion)
}

func (c *cache) deleteExactly(ctx context.Context, name, uid, version string) error {
	if err := c.api.request(ctx); err != nil {
		return err
	}
	current := c.api.attachments[name]
	if current == nil {
		return attach.ErrChanged
	}
	deleted := current.Attachment
	if c.api.delete(name, uid, version) != nil {
		return attach.ErrChanged
	}
	c.api.cleared(deleted)
	return nil
}
