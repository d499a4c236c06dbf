package search

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	drivercsi "git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// rpcTimeout is external-attacher's default for one call.
const rpcTimeout = 15 * time.Second

// workTimeout is the reconciler's for its look at one attachment, and for reading every record.
const workTimeout = 30 * time.Second

// listTime is how long the first list of a resource may take.
const listTime = 8 * time.Second

// refreshRetry is the reconciler's pause before it tries again to read every record.
const refreshRetry = 10 * time.Second

// process is one controller pod: the driver, and external-attacher beside it, each with a cache of its own.
type process struct {
	w     *world
	name  string
	cache *cache
	// attachers is external-attacher's cache: each of the two may be behind the other.
	attachers  *cache
	kubernetes attacherView
	controller *controller.Service
	reconciler *attach.Reconciler
	queue      []string
	// again is when names are to be looked at anyway.
	again map[string]time.Time
	// backoff is when external-attacher looks at an attachment again after an error.
	backoff map[string]time.Time
	busy    map[string]bool
	actors  []*actor
}

// attacherView is all that the product asks of Kubernetes.
type attacherView interface {
	attach.PublishCluster
	attach.Cluster
}

func (w *world) newProcess(name, clusterID string) *process {
	p := &process{w: w, name: name, again: map[string]time.Time{}, backoff: map[string]time.Time{}, busy: map[string]bool{}}
	p.cache, p.attachers = newCache(w.api, p.enqueue, p.spawn), newLister(w.api)
	p.kubernetes = w.without.kubernetes(p.cache)
	client, err := rds.New(rds.Config{ClusterID: clusterID, Port: 4420, BootWindow: bootWindow}, &wire{storage: w.storage, alter: w.without.line})
	if err != nil {
		panic(err)
	}
	service, err := controller.New(controller.Config{
		ClusterID: clusterID, Directory: directory, Address: "192.0.2.1", Port: 4420, GracePeriod: 30 * time.Second,
		MaxWaiting: 2, Await: p.await,
	}, w.without.appliance(w, client), w.without.nodes(w, attach.NewNodes(drivercsi.DriverName, p.kubernetes, func() bool { return false })), controller.Observer{
		Decided:   func(attach.Verdict) {},
		HandedOff: func() {},
		Note:      func(note attach.Note) { w.e.log("note %s: %s", note.Reason, note.Message) },
		Restored:  func(attach.RestoreReason) {},
	})
	if err != nil {
		panic(err)
	}
	p.controller = service
	p.reconciler, err = attach.NewReconciler(attach.ReconcilerConfig{Resync: time.Hour, Workers: 1, StuckAfter: 5 * time.Minute}, p.kubernetes, w.without.records(service), attach.Observer{
		Done:       func(attach.Action, error, time.Duration) {},
		Note:       func(note attach.Note) { w.e.log("note %s: %s", note.Reason, note.Message) },
		PausedFor:  func() time.Duration { return 0 },
		Unfinished: func(attach.Unfinished) {},
		Phase:      func(attach.Phase, time.Duration) {},
	})
	if err != nil {
		panic(err)
	}
	return p
}

// context has the product's log written into the story.
func (p *process) context() context.Context {
	logger := logr.Discard()
	if !p.w.e.quiet {
		logger = funcr.New(func(_, line string) { p.w.e.log("%s", line) }, funcr.Options{Verbosity: 2})
	}
	return klog.NewContext(context.Background(), logger)
}

// start lets the process run.
func (p *process) start() {
	for _, s := range p.cache.streams {
		p.spawn("watch", func() { s.run(listTime) })
	}
	p.spawn("attacher's watch", func() { p.attachers.streams[0].run(listTime) })
	p.spawn("worker", p.work)
	p.spawn("resync", p.resync)
	p.spawn("attacher", p.attach)
	p.spawn("republish", p.republish)
}

// spawn starts an actor that ends with the process.
func (p *process) spawn(what string, run func()) {
	p.actors = append(p.actors, p.w.e.spawn(p.name+" "+what, run))
}

// crash ends the process. What it sent to the appliance goes on.
func (p *process) crash() {
	p.w.e.log("%s crashes", p.name)
	p.w.e.kill(p.actors...)
	p.w.stopListening(p)
}

// stopListening ends a process's watches.
func (w *world) stopListening(p *process) {
	w.api.watches = slices.DeleteFunc(w.api.watches, func(c *cache) bool { return c == p.cache || c == p.attachers })
}

// await is how the product waits for a signal.
func (p *process) await(ctx context.Context, signal <-chan struct{}) error {
	closed := func() bool {
		select {
		case <-signal:
			return true
		default:
			return false
		}
	}
	p.w.e.await(time.Time{}, func() bool { return closed() || ctx.Err() != nil })
	if closed() {
		return nil
	}
	return ctx.Err()
}

func (p *process) enqueue(name string) {
	if !slices.Contains(p.queue, name) {
		p.queue = append(p.queue, name)
	}
}

// due is a name whose time has come.
func (p *process) due() string {
	if len(p.queue) > 0 {
		return p.queue[0]
	}
	first := ""
	for name, at := range p.again {
		if !time.Now().Before(at) && (first == "" || name < first) {
			first = name
		}
	}
	return first
}

// work is the reconciler's worker, on a model of its queue.
func (p *process) work() {
	ctx := p.context()
	if p.kubernetes.WaitForSync(ctx) != nil {
		return
	}
	for {
		limit := time.Time{}
		for _, at := range p.again {
			if limit.IsZero() || at.Before(limit) {
				limit = at
			}
		}
		if !p.w.e.await(limit, func() bool { return len(p.queue) > 0 }) && p.due() == "" {
			continue
		}
		name := p.due()
		p.queue = slices.DeleteFunc(p.queue, func(other string) bool { return other == name })
		delete(p.again, name)
		p.w.began(p)
		bounded, cancel := context.WithTimeout(ctx, workTimeout)
		result, err := p.reconciler.Work(bounded, name)
		cancel()
		switch {
		case err != nil:
			p.again[name] = time.Now().Add(2 * time.Second)
		case result.Again > 0:
			p.again[name] = time.Now().Add(result.Again)
		}
		if result.Action != attach.ActionNone && result.Action != attach.ActionSkip {
			p.w.e.log("worked on %s: %s %v", short(name), result.Action, err)
		}
		p.w.e.pause()
	}
}

// resync reads every record now and then, and when the connection to the appliance was lost, and has everything looked at.
func (p *process) resync() {
	var err error
	for {
		next, boots := time.Duration(10+p.w.e.random.IntN(50))*time.Second, p.w.storage.boots
		if err != nil {
			next = refreshRetry
		}
		p.w.e.await(time.Now().Add(next), func() bool { return p.w.storage.boots != boots })
		ctx, cancel := context.WithTimeout(p.context(), workTimeout)
		err = p.controller.Refresh(ctx)
		cancel()
		if err != nil {
			p.w.e.log("could not read the records: %v", err)
		}
		if p.cache.Synced() {
			for _, name := range p.cache.CachedAttachments() {
				p.enqueue(name)
			}
		}
	}
}

// call runs an RPC as an actor of its own, and waits for it as long as external-attacher does.
func (p *process) call(what string, run func(context.Context) error) error {
	e := p.w.e
	ctx, cancel := context.WithTimeout(p.context(), rpcTimeout)
	ended, failed := false, error(nil)
	p.spawn(what, func() {
		defer cancel()
		failed = run(ctx)
		ended = true
	})
	e.await(time.Time{}, func() bool { return ended || ctx.Err() != nil })
	if !ended {
		return context.DeadlineExceeded
	}
	return failed
}

func (p *process) publish(v *volume, nodeID string) (attach.Grant, error) {
	var grant attach.Grant
	capability := v.capability()
	begun := p.w.history.begin(p, publishing, v, nodeID)
	err := p.call(fmt.Sprintf("publish %s to %s", v.pv, nodeID), func(ctx context.Context) error {
		p.w.history.runs(begun)
		response, err := p.controller.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{VolumeId: v.handle, NodeId: nodeID, VolumeCapability: capability})
		if err == nil {
			grant, _ = attach.ParseGrant(response.GetPublishContext())
		}
		p.w.e.log("published: %s %v", grant.SubsystemNQN, err)
		return err
	})
	p.w.history.end(begun, err)
	return grant, err
}

func (p *process) unpublish(v *volume, nodeID string) error {
	begun := p.w.history.begin(p, unpublishing, v, nodeID)
	err := p.call(fmt.Sprintf("unpublish %s from %s", v.pv, nodeID), func(ctx context.Context) error {
		p.w.history.runs(begun)
		_, err := p.controller.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: v.handle, NodeId: nodeID})
		p.w.e.log("unpublished: %v", err)
		return err
	})
	p.w.history.end(begun, err)
	return err
}

// attach is external-attacher: one attachment at a time each, several side by side, only while it leads.
func (p *process) attach() {
	for {
		p.w.e.sleep(time.Duration(50+p.w.e.random.IntN(500)) * time.Millisecond)
		if !p.w.leads(p) {
			continue
		}
		for _, name := range p.attachers.CachedAttachments() {
			seen := p.attachers.attachments[name]
			idle := seen.Attached && !seen.Detaching()
			if idle || p.busy[name] || time.Now().Before(p.backoff[name]) {
				continue
			}
			p.handle(name, seen)
		}
	}
}

// handle has one of external-attacher's workers deal with an attachment.
func (p *process) handle(name string, seen attach.Attachment) {
	p.busy[name] = true
	p.spawn("attacher of "+seen.PV+" to "+seen.NodeName, func() {
		defer delete(p.busy, name)
		if err := p.sync(seen); err != nil {
			// After several errors in a row the real one waits for minutes.
			p.backoff[name] = time.Now().Add(time.Second << p.w.e.random.IntN(6))
		}
	})
}

// sync does what one attachment asks for, as it was seen.
func (p *process) sync(seen attach.Attachment) error {
	v := p.w.volumeOf(seen.Volume)
	if seen.Detaching() {
		return p.detach(v, seen)
	}
	nodeID := p.w.api.csiNodes[seen.NodeName]
	if nodeID == "" {
		return errMissing
	}
	if err := p.w.api.request(p.context()); err != nil {
		return err
	}
	err := p.w.api.update(seen, func(current *object) { current.finalizer, current.NodeID = true, nodeID })
	if err != nil {
		return err
	}
	current, restores := p.w.api.attachments[seen.Name].Attachment, p.w.api.restores
	grant, err := p.publish(v, nodeID)
	if err != nil {
		return err
	}
	if err := p.w.api.request(p.context()); err != nil {
		return err
	}
	if p.w.api.restores != restores {
		return errAPI
	}
	// The status is patched without a precondition on the version.
	if now := p.w.api.attachments[seen.Name]; now != nil && now.UID == current.UID {
		current = now.Attachment
	}
	return p.w.api.update(current, func(o *object) { o.Attached, o.Grant = true, grant })
}

func (p *process) detach(v *volume, seen attach.Attachment) error {
	current := p.w.api.attachments[seen.Name]
	if current == nil || current.UID != seen.UID || !current.finalizer {
		return nil
	}
	nodeID := p.w.api.csiNodes[seen.NodeName]
	if nodeID == "" {
		nodeID = current.NodeID
	}
	if nodeID == "" {
		return errMissing
	}
	restores := p.w.api.restores
	if err := p.unpublish(v, nodeID); err != nil {
		return err
	}
	if err := p.w.api.request(p.context()); err != nil {
		return err
	}
	if p.w.api.restores != restores {
		return errAPI
	}
	current = p.w.api.attachments[seen.Name]
	if current == nil || current.UID != seen.UID {
		return nil
	}
	return p.w.api.finalize(current.Attachment)
}

func short(name string) string { return name[:min(len(name), 12)] }
