package search

import (
	"context"
	"maps"
	"slices"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// cache is one controller's informers, as a model: it hears of what happened one event at a time and late, it may lose its
// watch and list again, and it begins with nothing. It also is that controller's way to the API server.
type cache struct {
	api    *apiServer
	synced bool
	// stalled is until when nothing is heard, without the watch being lost.
	stalled     time.Time
	pending     []event
	nodes       map[string]attach.Node
	attachments map[string]attach.Attachment
	// signals are closed at the next event about a volume.
	signals map[string]chan struct{}
	enqueue func(attachmentName string)
}

func newCache(api *apiServer, enqueue func(string)) *cache {
	c := &cache{api: api, nodes: map[string]attach.Node{}, attachments: map[string]attach.Attachment{}, signals: map[string]chan struct{}{}, enqueue: enqueue}
	api.watches = append(api.watches, c)
	return c
}

// run keeps the cache up to date.
func (c *cache) run() {
	e := c.api.e
	// The lists come one by one, and only with the last of them is the cache filled.
	e.sleep(time.Duration(e.random.IntN(3000)) * time.Millisecond)
	c.listAttachments()
	e.sleep(time.Duration(e.random.IntN(5000)) * time.Millisecond)
	c.relist()
	c.synced = true
	for {
		e.await(time.Time{}, func() bool { return len(c.pending) > 0 })
		switch {
		case time.Now().Before(c.stalled):
			e.sleep(time.Until(c.stalled))
		case e.chance(30):
			// The watch is dropped, and what happened meanwhile is only seen by its outcome.
			e.log("lost its watch")
			e.sleep(time.Duration(e.random.IntN(5000)) * time.Millisecond)
			c.relist()
		default:
			next := c.pending[0]
			c.pending = c.pending[1:]
			c.apply(next)
		}
	}
}

func (c *cache) relist() {
	c.pending = nil
	for _, name := range union(c.nodes, c.api.nodes) {
		told := event{name: name, isNode: true}
		if node, found := c.api.nodes[name]; found {
			told.node = &node
		}
		c.apply(told)
	}
	c.listAttachments()
}

func (c *cache) listAttachments() {
	for _, name := range union(c.attachments, c.api.attachments) {
		told := event{name: name}
		if current := c.api.attachments[name]; current != nil {
			copied := current.Attachment
			told.attachment = &copied
		}
		c.apply(told)
	}
}

func union[A, B any](a map[string]A, b map[string]B) []string {
	names := slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *cache) apply(told event) {
	if told.isNode {
		if told.node == nil {
			delete(c.nodes, told.name)
		} else {
			c.nodes[told.name] = *told.node
		}
		c.podsChanged(told.name)
		return
	}
	handle := c.attachments[told.name].Volume
	if told.attachment == nil {
		delete(c.attachments, told.name)
	} else {
		c.attachments[told.name] = *told.attachment
		handle = told.attachment.Volume
	}
	if signal := c.signals[handle]; signal != nil {
		close(signal)
		delete(c.signals, handle)
	}
	c.enqueue(told.name)
}

// podsChanged has the attachments on a node looked at.
func (c *cache) podsChanged(nodeName string) {
	for _, name := range slices.Sorted(maps.Keys(c.attachments)) {
		if c.attachments[name].NodeName == nodeName {
			c.enqueue(name)
		}
	}
}

func (c *cache) Synced() bool { return c.synced }

func (c *cache) WaitForSync(context.Context) error {
	c.api.e.await(time.Time{}, func() bool { return c.synced })
	return nil
}

func (c *cache) CachedNode(name string) (attach.Node, bool) {
	node, found := c.nodes[name]
	return node, found
}

func (c *cache) CachedAttachments() []string { return slices.Sorted(maps.Keys(c.attachments)) }

func (c *cache) CachedAttachment(name string) (attach.Attachment, bool) {
	attachment, found := c.attachments[name]
	return attachment, found
}

func (c *cache) CachedAttachmentsOf(handle string) []attach.Attachment {
	var found []attach.Attachment
	for _, name := range c.CachedAttachments() {
		if attachment := c.attachments[name]; attachment.Volume == handle {
			found = append(found, attachment)
		}
	}
	return found
}

func (c *cache) AwaitAttachment(ctx context.Context, name string) (attach.Attachment, bool) {
	c.api.e.await(time.Now().Add(3*time.Second), func() bool {
		_, found := c.attachments[name]
		return found || ctx.Err() != nil
	})
	return c.CachedAttachment(name)
}

func (c *cache) AttachmentsChanged(handle string) <-chan struct{} {
	if c.signals[handle] == nil {
		c.signals[handle] = make(chan struct{})
	}
	return c.signals[handle]
}

func (c *cache) LiveNode(_ context.Context, name string) attach.Answer[attach.Node] {
	if err := c.api.request(); err != nil {
		return attach.Answer[attach.Node]{Err: err}
	}
	node, found := c.api.nodes[name]
	return attach.Answer[attach.Node]{Value: node, Found: found}
}

func (c *cache) LiveAttachment(_ context.Context, name string) attach.Answer[attach.Attachment] {
	if err := c.api.request(); err != nil {
		return attach.Answer[attach.Attachment]{Err: err}
	}
	if current := c.api.attachments[name]; current != nil {
		return attach.Answer[attach.Attachment]{Value: current.Attachment, Found: true}
	}
	return attach.Answer[attach.Attachment]{}
}

func (c *cache) PodsUsing(_ context.Context, attachment attach.Attachment) ([]string, error) {
	if err := c.api.request(); err != nil {
		return nil, err
	}
	var names []string
	for _, pod := range c.api.podsOn(attachment.NodeName, attachment.Volume) {
		names = append(names, pod.name)
	}
	return names, nil
}

func (c *cache) DeleteAttachment(_ context.Context, attachment attach.Attachment) error {
	return c.deleteExactly(attachment.Name, attachment.UID, attachment.ResourceVersion)
}

func (c *cache) deleteExactly(name, uid, version string) error {
	if err := c.api.request(); err != nil {
		return err
	}
	current := c.api.attachments[name]
	if current == nil {
		return nil
	}
	deleted := current.Attachment
	if c.api.delete(name, uid, version) != nil {
		return attach.ErrChanged
	}
	c.api.cleared(deleted)
	return nil
}
