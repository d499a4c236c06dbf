package search

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// syncPeriod is how often the attach-detach controller compares what it believes with the VolumeAttachments.
	syncPeriod = time.Minute
	// maxUnmountWait is how long it waits for a node that isn't healthy to unmount, before it detaches by force. That is longer
	// than a schedule goes wrong, so in some of them the wait is shortUnmountWait.
	maxUnmountWait   = 6 * time.Minute
	shortUnmountWait = 40 * time.Second
)

// attachDetach is Kubernetes' attach-detach controller: it makes VolumeAttachments for the volumes that pods need and asks
// for their deletion afterwards. It never looks at what becomes of them but at its sync, and waits for what it asked for by
// looking at its lister, which hears of them late.
type attachDetach struct {
	w      *world
	lister *cache
	// believed are the attachments it believes in, by name.
	believed map[string]*belief
	restart  bool
	// unmountWait is how long it waits in this schedule.
	unmountWait time.Duration
	// forced are the machines that stood still when a volume was detached from their node by force.
	forced map[*machine]*volume
}

func newAttachDetach(w *world) *attachDetach {
	c := &attachDetach{w: w, lister: newLister(w.api), believed: map[string]*belief{}, unmountWait: maxUnmountWait, forced: map[*machine]*volume{}}
	if w.e.chance(3) {
		c.unmountWait = shortUnmountWait
	}
	return c
}

// belief is an attachment that the controller believes in.
type belief struct {
	volume   *volume
	node     string
	attached bool
	// uncertain ones, found after a restart, don't keep another node from being given the volume.
	uncertain bool
	// unwanted is since when no pod needs it.
	unwanted time.Time
	// asked says that its deletion was asked for.
	asked bool
}

func (c *attachDetach) run() {
	next := time.Now().Add(syncPeriod)
	for {
		c.w.e.sleep(time.Duration(200+c.w.e.random.IntN(1500)) * time.Millisecond)
		if c.restart {
			c.forget()
		}
		if !time.Now().Before(next) {
			c.sync()
			next = time.Now().Add(syncPeriod)
		}
		c.detach()
		c.attach()
	}
}

// forget is what a restart does: what is attached is listed anew, but isn't trusted.
func (c *attachDetach) forget() {
	c.restart = false
	c.lister.streams[0].relist()
	c.believed = map[string]*belief{}
	for _, name := range c.lister.CachedAttachments() {
		a := c.lister.attachments[name]
		c.believed[name] = &belief{volume: c.w.volumeOf(a.Volume), node: a.NodeName, attached: a.Attached, uncertain: true}
	}
	c.w.e.log("restarted")
}

// sync drops what turns out not to be attached. What the lister lacks is asked for, and any error stands for its absence.
func (c *attachDetach) sync() {
	for _, name := range slices.Sorted(maps.Keys(c.believed)) {
		believed := c.believed[name]
		if !believed.attached || believed.uncertain {
			continue
		}
		a, listed := c.lister.attachments[name]
		if !listed && c.w.api.request(context.Background()) == nil {
			a = c.w.api.attachmentNow(name).attachment
		}
		if !a.Attached {
			c.w.e.log("sync: %s isn't attached to %s any more", believed.volume.pv, believed.node)
			delete(c.believed, name)
		}
	}
}

func (c *attachDetach) String() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c.believed)) {
		b := c.believed[name]
		fmt.Fprintf(&text, "  believed: %s on %s, attached %t, uncertain %t, asked %t\n", b.volume.pv, b.node, b.attached, b.uncertain, b.asked)
	}
	return text.String()
}

func (c *attachDetach) wanted(believed *belief) bool {
	return len(c.w.api.podsOn(believed.node, believed.volume.handle)) > 0
}

// detach asks for the deletion of what no pod needs, once the node has unmounted it or was waited for long enough.
func (c *attachDetach) detach() {
	for _, name := range slices.Sorted(maps.Keys(c.believed)) {
		believed := c.believed[name]
		a, listed := c.lister.attachments[name]
		if a.Attached && !a.Detaching() {
			believed.attached = true
		}
		if believed.asked && !listed {
			delete(c.believed, name)
			continue
		}
		if c.wanted(believed) {
			believed.unwanted = time.Time{}
			continue
		}
		if believed.asked {
			continue
		}
		if believed.unwanted.IsZero() {
			believed.unwanted = time.Now()
		}
		if c.mounted(believed) && !c.w.api.nodes[believed.node].Leaving && (c.healthy(believed.node) || time.Since(believed.unwanted) < c.unmountWait) {
			continue
		}
		if c.w.api.request(context.Background()) == nil {
			c.w.e.log("detaches %s from %s", believed.volume.pv, believed.node)
			c.noteForced(believed)
			_ = c.w.api.delete(name, "", "")
			believed.asked = true
		}
	}
}

// noteForced notes that a volume is detached from a machine that stands still, though its Node is there and has it in use.
func (c *attachDetach) noteForced(believed *belief) {
	node, found := c.w.api.nodes[believed.node]
	m := c.w.machines[c.w.api.machineOf[believed.node]]
	if found && !node.Leaving && m.paused && c.mounted(believed) {
		c.w.reach(forcedDetach)
		c.forced[m] = believed.volume
	}
}

func (c *attachDetach) mounted(believed *belief) bool {
	inUse := c.w.api.lastInUse[believed.node]
	if node, found := c.w.api.nodes[believed.node]; found {
		inUse = node.VolumesInUse
	}
	return slices.Contains(inUse, believed.volume.handle)
}

func (c *attachDetach) healthy(nodeName string) bool {
	_, found := c.w.api.nodes[nodeName]
	return found && c.w.machines[c.w.api.machineOf[nodeName]].responds()
}

// attach makes VolumeAttachments for pods, one at a time for volumes that can't be shared.
func (c *attachDetach) attach() {
	for _, name := range slices.Sorted(maps.Keys(c.w.api.pods)) {
		pod := c.w.api.pods[name]
		if pod == nil || pod.node == "" || c.w.api.nodes[pod.node].Name == "" && c.w.e.random.IntN(4) > 0 {
			continue
		}
		attachment := pod.volume.attachment(pod.node)
		if c.settled(attachment) || !pod.volume.mayShare() && c.elsewhere(pod) {
			continue
		}
		seen, listed := c.lister.attachments[attachment]
		if seen.Detaching() || !listed && c.w.api.request(context.Background()) != nil {
			continue
		}
		if !listed && c.w.api.create(pod.volume, pod.node) == nil {
			c.w.e.log("attaches %s to %s", pod.volume.pv, pod.node)
		}
		// Whether it is made anew or was there: from here on it is believed in.
		c.believed[attachment] = &belief{volume: pod.volume, node: pod.node}
	}
}

// settled tells whether there is nothing to do about an attachment that is wanted. Waiting for one that vanished before it
// was attached fails, and is tried again.
func (c *attachDetach) settled(attachment string) bool {
	believed := c.believed[attachment]
	_, listed := c.lister.attachments[attachment]
	return believed != nil && !believed.asked && !believed.uncertain && (believed.attached || listed)
}

// elsewhere is the guard against attaching one volume twice.
func (c *attachDetach) elsewhere(p *pod) bool {
	for _, name := range slices.Sorted(maps.Keys(c.believed)) {
		believed := c.believed[name]
		if believed.volume == p.volume && believed.node != p.node && !believed.uncertain {
			return true
		}
	}
	return false
}

// collectPods is the garbage collection of pods whose Node is gone.
func (w *world) collectPods() {
	orphaned := map[string]time.Time{}
	for {
		w.e.sleep(20 * time.Second)
		for _, name := range slices.Sorted(maps.Keys(w.api.pods)) {
			pod := w.api.pods[name]
			if _, found := w.api.nodes[pod.node]; found || pod.node == "" {
				delete(orphaned, name)
				continue
			}
			since, known := orphaned[name]
			switch {
			case !known:
				orphaned[name] = time.Now()
			case time.Since(since) >= 40*time.Second:
				delete(orphaned, name)
				w.api.deletePod(name)
			}
		}
	}
}

// keepPods is what makes pods anew: one for every volume, or two while a virtual machine migrates.
func (w *world) keepPods() {
	made := 0
	for {
		w.e.sleep(time.Duration(500+w.e.random.IntN(3000)) * time.Millisecond)
		for _, v := range w.volumes {
			if w.countPods(v) >= v.replicas || time.Now().Before(v.idle) {
				continue
			}
			node := w.pickNode(v)
			if node == "" {
				continue
			}
			made++
			name := v.pv + "-" + string(rune('a'+made%26)) + time.Now().Format("150405.000")
			w.api.putPod(&pod{name: name, node: node, volume: v, bornAt: w.e.steps})
		}
	}
}

func (w *world) countPods(v *volume) int {
	count := 0
	for _, pod := range w.api.pods {
		if pod.volume == v && (!pod.deleting || !v.shared) {
			count++
		}
	}
	return count
}

// pickNode is the scheduler: any node of which nobody knows anything bad, and another one for each end of a migration.
func (w *world) pickNode(v *volume) string {
	var fit []string
	for _, name := range slices.Sorted(maps.Keys(w.api.nodes)) {
		if w.machines[w.api.machineOf[name]].responds() && !w.api.nodes[name].Leaving && len(w.api.podsOn(name, v.handle)) == 0 {
			fit = append(fit, name)
		}
	}
	if len(fit) == 0 {
		return ""
	}
	return fit[w.e.random.IntN(len(fit))]
}
